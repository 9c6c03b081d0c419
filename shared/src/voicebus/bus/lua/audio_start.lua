-- Opens the session's microphone stream, or takes it over on another connection.
-- KEYS: 1 session, 2 mail:stt, 3 ready:stt, 4 seen, 5 deadlines
-- ARGV: 3 message id, 4 its digest, 5 connection, 6 stream, 7 offset, 8 the mail, 9 ms after which a silent stream is
--       given up, 10 how its bytes are to be read, 11 most entries that may wait for STT, 12 most bytes
-- Replies: {'ok', offset that is expected, seq} | {'done', 0, seq}: it was opened and ended before | {'busy'}
--          | {'gap', expected} | {'conflict', seq}: the message, or how the open stream is read, was another one
--          | {'taken'}: a late copy from a connection that another one took the stream from
--          | {'closed'}: it was opened before and replaced when it fell silent | {'full'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[4], ARGV[3], ARGV[4])
if known and known[1] == 'conflict' then return known end
local open, offset = get('audio.stream') or '', tonumber(ARGV[7])
if known and open ~= ARGV[6] then
  if listed('audio.replaced', ARGV[6]) then return { 'closed' } end
  return { 'done', 0, known[2] }
end
if open ~= ARGV[6] then
  if open ~= '' and clock() - number('audio.at') < tonumber(ARGV[9]) then return { 'busy' } end
  if offset > 0 then return { 'gap', 0 } end
  if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[11])
    or (redis.call('MEMORY', 'USAGE', KEYS[2], 'SAMPLES', 0) or 0) >= tonumber(ARGV[12]) then
    return { 'full' }
  end
  if open ~= '' then
    note('audio.replaced', open, 64)
    local stop = cjson.encode({ kind = 'stop', stream = open, offset = number('audio.offset') })
    mail('stt', KEYS[2], KEYS[3], 'k', 'stop', 'd', stop)
  end
  redis.call('HINCRBY', session, 'audio.number', 1)
  set('audio.stream', ARGV[6], 'audio.offset', offset, 'audio.spec', ARGV[10], 'audio.left', '', 'audio.owner', '')
  mail('stt', KEYS[2], KEYS[3], 'k', 'start', 'd', ARGV[8])
elseif get('audio.spec') ~= ARGV[10] then
  return { 'conflict', number('seq') }
elseif offset > number('audio.offset') then
  return { 'gap', number('audio.offset') }
elseif known and listed('audio.left', ARGV[5]) then
  return { 'taken' } -- a late copy: its connection has lost the stream since
end
local owner = get('audio.owner') or ''
if owner ~= ARGV[5] then
  set('audio.left', (string.gsub(get('audio.left') or '', ARGV[5] .. ',', '')))
  if owner ~= '' then note('audio.left', owner, 16) end
end
set('audio.owner', ARGV[5], 'audio.at', clock())
keep_alive(KEYS[5])
remember(KEYS[4], ARGV[3], ARGV[4], number('seq'))
return { 'ok', number('audio.offset'), number('seq') }
