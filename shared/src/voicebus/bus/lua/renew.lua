-- Moves a lease's expiry, and tells its owner what a lost wake-up would have told.
-- KEYS: 1 session, 2 ready, 3 mailbox
-- ARGV: 3 stage, 4 token, 5 lease_ms
-- Replies: {'ok', id of the last mail, last applied number, cancelled turns} | {'stale'}
begin_at_memory_limit()
local stage = ARGV[3]
if not fenced(stage, ARGV[4]) or get(stage .. '.state') ~= 'leased' then return { 'stale' } end
redis.call('ZADD', KEYS[2], 'XX', clock() + tonumber(ARGV[5]), get('sid'))
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
return { 'ok', last and last[1] or '0-0', number(stage .. '.number'), get('cancelled') or '' }
