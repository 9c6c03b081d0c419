-- Gives a stage to whoever comes next, without waiting for the lease's expiry.
-- KEYS: 1 session, 2 ready
-- ARGV: 3 stage, 4 token
-- Replies: {'ok'} | {'stale'}
begin_at_memory_limit()
local stage = ARGV[3]
if not fenced(stage, ARGV[4]) or get(stage .. '.state') ~= 'leased' then return { 'stale' } end
set(stage .. '.state', 'queued')
redis.call('ZADD', KEYS[2], 'XX', 0, get('sid'))
publish(KEYS[2] .. ':bell', get('sid'))
return { 'ok' }
