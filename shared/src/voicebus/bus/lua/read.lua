-- Log and speech from a position on, in one look.
-- KEYS: 1 session, 2 log, 3 speech
-- ARGV: 3 the reader's epoch ('' = this one), 4 its seq, 5 its n, 6 most events, 7 most chunks
-- Replies: {epoch, head seq, head n, last seq that is valid for the reader, the same of n, n up to which speech is
--           gone, {seq, event, …}, {n, after_seq, header, audio, …}} | {'gone'}
begin_at_memory_limit()
if not get('sid') then return { 'gone' } end
stamp()
local head, head_n = number('seq'), number('n')
local valid, valid_n = head, head_n
if ARGV[3] ~= '' then
  local found = false
  valid, valid_n = 0, 0
  for name, seq, n in string.gmatch(get('epochs') or '', '(%x+):(%d+):(%d+),') do
    if found then
      valid, valid_n = math.min(valid, tonumber(seq) - 1), math.min(valid_n, tonumber(n) - 1)
    end
    if name == ARGV[3] then found, valid, valid_n = true, head, head_n end
  end
end
local after, after_n = tonumber(ARGV[4]), tonumber(ARGV[5])
local events, chunks = {}, {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. math.min(after, valid) .. '-0', '+', 'COUNT', ARGV[6])) do
  events[#events + 1] = string.match(entry[1], '^%d+')
  events[#events + 1] = entry[2][2]
end
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. math.min(after_n, valid_n) .. '-0', '+', 'COUNT', ARGV[7])) do
  local fields = entry[2]
  chunks[#chunks + 1] = string.match(entry[1], '^%d+')
  chunks[#chunks + 1] = field(fields, 's')
  chunks[#chunks + 1] = field(fields, 'h')
  chunks[#chunks + 1] = field(fields, 'a')
end
local speech_gone = redis.call('EXISTS', KEYS[3]) == 1 and number('speech_gone') or head_n
return { epoch(), head, head_n, valid, valid_n, speech_gone, events, chunks }
