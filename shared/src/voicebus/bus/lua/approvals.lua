-- The tool calls that wait, or waited, for a person's word, as their turn's owner sees them. What is still pending at
-- its expiry, by the clock of this answer, stays so: `approve` asks the same clock.
-- KEYS: 1 session
-- ARGV: 3 token of the agent stage
-- Replies: {'ok', the field `approvals`, now in ms since 1970} | {'stale'}
if not fenced('agent', ARGV[3]) then return { 'stale' } end
return { 'ok', get('approvals') or '{}', clock() }
