-- Gives a stage to whoever comes next, without waiting for the lease's expiry.
-- KEYS: 1 session, 2 ready
-- ARGV: 3 stage, 4 token, 5 'failed' if the mail that it worked at shall count as tried, else ''
-- Replies: {'ok'} | {'stale'}
begin_at_memory_limit()
local stage = ARGV[3]
if not fenced(stage, ARGV[4]) or get(stage .. '.state') ~= 'leased' then return { 'stale' } end
if ARGV[5] == '' and get(stage .. '.tried_by') == ARGV[4] then
  redis.call('HINCRBY', session, stage .. '.attempts', -1)
end
set(stage .. '.state', 'queued')
redis.call('ZADD', KEYS[2], 'XX', 0, get('sid'))
publish(KEYS[2] .. ':bell', get('sid'))
return { 'ok' }
