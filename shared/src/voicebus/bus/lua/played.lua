-- Notes how much of a turn's speech was heard, and when that was said; the furthest report counts. No more was heard
-- of a sentence than there is; where others were taken back, no more than may have been heard since it was spoken: a
-- late report means one of those.
-- KEYS: 1 session, 2 spoken
-- ARGV: 3 turn, 4 segment, 5 ms within the segment
-- Replies: {'ok'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local turns, time = playbacks(), clock()
local playback, segment = playback_of(ARGV[3], turns), tonumber(ARGV[4])
if not playback then return { 'ok' } end

local before, within = 0, nil
for _, sentence in ipairs(sentences_of(KEYS[2], ARGV[3])) do
  if not sentence.said then
    if sentence.segment < segment then before = before + sentence.ms end
    if sentence.segment == segment then
      local since = playback.begun and time - sentence.at or sentence.ms
      within = math.min(tonumber(ARGV[5]), sentence.ms, since)
    end
  end
end
if not within then return { 'ok' } end
playback.played, playback.at = math.max(playback.played, before + within), time
keep_playbacks(turns, time)
return { 'ok' }
