-- Log and speech from a position on, in one look.
-- KEYS: 1 session, 2 log, 3 speech
-- ARGV: 3 the reader's epoch ('' = this one), 4 its seq, 5 its n, 6 most events, 7 most chunks
-- Replies: {epoch, head seq, head n, last seq that is valid for the reader, the same of n, n up to which speech is
--           gone, {seq, event, …}, {n, after_seq, header, audio, …}, 1 if there may be more events, the same for
--           chunks} | {'gone'}
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
-- What follows a position, oldest first: no more than `most` entries and MOST_BYTES (but for the first one).
local MOST_BYTES = 1048576
local function after(stream, position, most, take)
  local from, left, bytes = '(' .. position .. '-0', most, 0
  while left > 0 do
    local asked = math.min(left, 32)
    local page = redis.call('XRANGE', stream, from, '+', 'COUNT', asked)
    for _, entry in ipairs(page) do
      if bytes > MOST_BYTES then return 1 end
      bytes = bytes + take(string.match(entry[1], '^%d+'), entry[2])
      from, left = '(' .. entry[1], left - 1
    end
    if #page < asked then return 0 end
  end
  return 1
end

local events, chunks = {}, {}
local more_events = after(KEYS[2], math.min(tonumber(ARGV[4]), valid), tonumber(ARGV[6]), function(seq, fields)
  events[#events + 1], events[#events + 2] = seq, fields[2]
  return #fields[2]
end)
local more_chunks = after(KEYS[3], math.min(tonumber(ARGV[5]), valid_n), tonumber(ARGV[7]), function(n, fields)
  for _, part in ipairs({ n, field(fields, 's'), field(fields, 'h'), field(fields, 'a') }) do
    chunks[#chunks + 1] = part
  end
  return #chunks[#chunks]
end)
local speech_gone = redis.call('EXISTS', KEYS[3]) == 1 and number('speech_gone') or head_n
return { epoch(), head, head_n, valid, valid_n, speech_gone, events, chunks, more_events, more_chunks }
