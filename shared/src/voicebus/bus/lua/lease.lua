-- Gives a worker a session's stage: a compare-and-set on the ready set's score.
-- KEYS: 1 session, 2 ready
-- ARGV: 3 stage, 4 the worker's channel, 5 nonce of this attempt, 6 lease_ms
-- Replies: {'ok', token, cursor, note of the last owner, what is to be joined, 'late' if that one never gave it back}
--          | {'taken'} | {'gone'}
begin_at_memory_limit()
local stage, sid = ARGV[3], get('sid')
if get('status') ~= 'open' then
  -- The session's name is the end of its hash's key.
  redis.call('ZREM', KEYS[2], sid or string.match(session, ':s:(.*)$'))
  return { 'gone' }
end
-- A token of another epoch is void: whoever had the stage can't write any more.
local held = get(stage .. '.state') == 'leased' and fenced(stage, get(stage .. '.token'))
local score = redis.call('ZSCORE', KEYS[2], sid)
local time = clock()
if held and get(stage .. '.nonce') == ARGV[5] then
  return { 'ok', get(stage .. '.token'), get(stage .. '.cursor') or '0-0', get(stage .. '.note') or '',
    string.match(get('joined') or '', '|(.*)$') or '', '' }
end
if not score or (held and tonumber(score) > time) then return { 'taken' } end
redis.call('ZADD', KEYS[2], time + tonumber(ARGV[6]), sid)
local late = get(stage .. '.state') == 'leased' and 'late' or ''
local token = redis.call('HINCRBY', session, stage .. '.leases', 1) .. '.' .. epoch()
set(stage .. '.state', 'leased', stage .. '.owner', ARGV[4], stage .. '.token', token,
  stage .. '.nonce', ARGV[5], stage .. '.number', 0)
return { 'ok', token, get(stage .. '.cursor') or '0-0', get(stage .. '.note') or '',
    string.match(get('joined') or '', '|(.*)$') or '', late }
