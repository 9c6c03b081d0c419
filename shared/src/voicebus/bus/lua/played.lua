-- Notes how much of a turn's speech was heard; the furthest report counts.
-- KEYS: 1 session, 2 speech
-- ARGV: 3 turn, 4 segment, 5 ms within the segment
-- Replies: {'ok'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local turn, segment = tonumber(ARGV[3]), tonumber(ARGV[4])
local last_turn, last_segment = number('played_turn'), number('played_segment')
if turn > number('turn') or turn < last_turn or turn == last_turn and segment < last_segment then return { 'ok' } end

-- Speech holds audio, so it is read from the segment of the last report on, and no further than needed.
local from, before = '-', 0
if turn == last_turn then
  from, before = get('played_from'), number('played_before')
else
  last_segment = 0
end

local function look()
  while true do
    local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 16)
    for _, entry in ipairs(page) do
      local of = field(entry[2], 't') == ARGV[3] and tonumber(field(entry[2], 'g'))
      if of and of >= segment then
        from = entry[1]
        return
      end
      if of and of >= last_segment then before = before + tonumber(field(entry[2], 'ms')) end
      from = '(' .. entry[1]
    end
    if #page < 16 then return end
  end
end

look()
local ms = before + tonumber(ARGV[5])
if turn == last_turn then ms = math.max(ms, number('played_ms')) end
set('played_turn', turn, 'played_ms', ms, 'played_segment', segment, 'played_before', before, 'played_from', from)
return { 'ok' }
