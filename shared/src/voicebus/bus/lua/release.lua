-- Gives a stage back that has nothing to do; refused if mail waits behind the cursor.
-- KEYS: 1 session, 2 ready, 3 mailbox
-- ARGV: 3 stage, 4 token
-- Replies: {'ok'} | {'more'} | {'stale'}
begin_at_memory_limit()
local stage = ARGV[3]
if not fenced(stage, ARGV[4]) or get(stage .. '.state') ~= 'leased' then return { 'stale' } end
if first_after(KEYS[3], get(stage .. '.cursor') or '0-0') then return { 'more' } end
set(stage .. '.state', 'idle')
redis.call('ZREM', KEYS[2], get('sid'))
return { 'ok' }
