-- Notes how much of a turn's speech was heard: up to the furthest report, and when the last one came.
-- KEYS: 1 session, 2 spoken
-- ARGV: 3 turn, 4 segment, 5 ms within the segment
-- Replies: {'ok'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local turn, segment, within = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if tonumber(turn) < number('played_turn') then return { 'ok' } end

local ms, known = 0, false
for _, sentence in ipairs(sentences_of(KEYS[2], turn)) do
  if not sentence.said then
    known = true
    if sentence.segment < segment then ms = ms + sentence.ms end
    if sentence.segment == segment then ms = ms + math.min(within, sentence.ms) end
  end
end
if not known then return { 'ok' } end
if get('played_turn') == turn then ms = math.max(ms, number('played_ms')) end
set('played_turn', turn, 'played_ms', ms, 'played_at', clock())
return { 'ok' }
