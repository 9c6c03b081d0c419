-- Notes how much of a turn's speech was heard; the furthest report counts.
-- KEYS: 1 session, 2 speech
-- ARGV: 3 turn, 4 segment, 5 ms within the segment
-- Replies: {'ok'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local before = 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  if field(entry[2], 't') == ARGV[3] and tonumber(field(entry[2], 'g')) < tonumber(ARGV[4]) then
    before = before + tonumber(field(entry[2], 'ms'))
  end
end
local ms = before + tonumber(ARGV[5])
if get('played_turn') ~= ARGV[3] then
  if tonumber(ARGV[3]) > number('played_turn') then set('played_turn', ARGV[3], 'played_ms', ms) end
elseif ms > number('played_ms') then
  set('played_ms', ms)
end
return { 'ok' }
