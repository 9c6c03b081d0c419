-- Ends the open microphone stream. Never refused for what waits: there is one stop for each start.
-- KEYS: 1 session, 2 mail:stt, 3 ready:stt, 4 seen
-- ARGV: 3 message id, 4 its digest, 5 connection, 6 stream, 7 offset at which it ends ('' = wherever it is)
-- Replies: {'ok', seq} | {'repeated', seq} | {'conflict', seq} | {'gap', expected} | {'taken'} | {'closed'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[4], ARGV[3], ARGV[4])
if known then return known end
if get('audio.stream') ~= ARGV[6] then
  if get('audio.closed') == ARGV[6] then return { 'ok', number('seq') } end
  return { 'closed' }
end
if get('audio.owner') ~= ARGV[5] then return { 'taken' } end
if ARGV[7] ~= '' and number('audio.offset') < tonumber(ARGV[7]) then return { 'gap', number('audio.offset') } end
set('audio.stream', '', 'audio.closed', ARGV[6])
local stop = cjson.encode({ kind = 'stop', stream = ARGV[6], offset = number('audio.offset') })
local _, owned = post('stt', KEYS[2], KEYS[3], 'k', 'stop', 'd', stop)
if owned then
  -- The last mails go along: a worker that has read those before them needs not ask.
  local tail = cmsgpack.pack(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 4))
  if #tail <= BROUGHT_MOST then wake('stt', 'tail', get('stt.token') .. '|' .. tail) else wake('stt', 'wake') end
end
remember(KEYS[4], ARGV[3], ARGV[4], number('seq'))
return { 'ok', number('seq') }
