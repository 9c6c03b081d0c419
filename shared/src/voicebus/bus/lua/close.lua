-- Ends a session: nobody works for it any more, its log stays readable for a while, its speech for a minute at most.
-- KEYS: 1 session, 2 log, 3 deadlines, 4 ready:stt, 5 ready:agent, 6 ready:tts, 7 mail:stt, 8 mail:agent, 9 mail:tts,
--       10 speech, 11 journal, 12 history, 13 seen, 14 spoken, 15 ended: [id, owner, members] by when it is gone
-- ARGV: 3 log_max, 4 body of session_end, 5 keep_ms, 6 'idle': only if the deadline has passed, else ''
-- Replies: {'ended', seq} | {'gone'} | {'alive'}
local SPEECH_KEPT_MS = 60000
begin_at_memory_limit()
local sid = get('sid')
if not sid then
  return { 'gone' }
end
if get('status') == 'ended' then return { 'ended', number('seq') } end
if ARGV[6] == 'idle' and number('deadline') > clock() then
  redis.call('ZADD', KEYS[3], number('deadline'), sid)
  return { 'alive' }
end
stamp()
set('status', 'ended')
for i, stage in ipairs({ 'stt', 'agent', 'tts' }) do
  if get(stage .. '.state') == 'leased' then wake(stage, 'end') end
  redis.call('HDEL', session, stage .. '.token', stage .. '.state')
  redis.call('ZREM', KEYS[3 + i], sid)
  redis.call('DEL', KEYS[6 + i])
end
redis.call('ZREM', KEYS[3], sid)
redis.call('DEL', KEYS[14])
local seq = append(KEYS[2], ARGV[4])
for _, key in ipairs({ KEYS[1], KEYS[2], KEYS[11], KEYS[12], KEYS[13] }) do
  redis.call('PEXPIRE', key, ARGV[5])
end
redis.call('PEXPIRE', KEYS[10], math.min(SPEECH_KEPT_MS, tonumber(ARGV[5])))
redis.call('ZADD', KEYS[15], clock() + ARGV[5], cjson.encode({ sid, get('owner'), get('members') }))
return { 'ended', seq }
