-- Appends bytes to the open microphone stream; what was sent before is dropped.
-- KEYS: 1 session, 2 mail:stt, 3 ready:stt, 4 deadlines
-- ARGV: 3 connection, 4 stream, 5 offset, 6 bytes, 7 most entries that may wait for STT, 8 most bytes
-- Replies: {'ok', offset up to which all is safe} | {'gap', expected} | {'taken'} | {'closed'} | {'full', expected}
--          | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
if get('audio.stream') ~= ARGV[4] then return { 'closed' } end
if get('audio.owner') ~= ARGV[3] then return { 'taken' } end
local expected, offset, bytes = number('audio.offset'), tonumber(ARGV[5]), ARGV[6]
if offset > expected then return { 'gap', expected } end
if offset + #bytes <= expected then return { 'ok', expected } end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[7])
  or (redis.call('MEMORY', 'USAGE', KEYS[2], 'SAMPLES', 0) or 0) >= tonumber(ARGV[8]) then
  return { 'full', expected }
end
bytes = string.sub(bytes, expected - offset + 1)
set('audio.offset', expected + #bytes, 'audio.at', clock())
keep_alive(KEYS[4])
post('stt', KEYS[2], KEYS[3], 'k', 'audio', 's', ARGV[4], 'o', expected, 'd', bytes)
return { 'ok', expected + #bytes }
