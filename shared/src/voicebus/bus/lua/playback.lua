-- What is heard of a session's turns, as far as Redis can know. Put in front of the scripts that need it.
-- The field `playback` lists the turns with speech, oldest first, as 'turn:from:ms:played:at:begun,': it is thought to
-- be heard from `from` on, which is its first chunk's time or when the turn before it ends; `ms` of it are out;
-- `played` of them were heard as a client said `at` that time (-1: no client has); `begun` is 1 if something was heard
-- of a response that was taken back. Turns that are over go, but for the last ones.
-- The list `spoken` holds their sentences in the order of their speech, as JSON: turn, response, segment, at (of the
-- first chunk), ms, text, whole (the last chunk is out), first and last (n of its chunks), said (its response was
-- taken back after the sentence had been heard to its end).
local PLAYBACKS, MOST_PLAYBACKS = 8, 128
local REPORTED_MS = 5000 -- so long after its last report a client is thought to play on

local function playbacks()
  local turns = {}
  local entry = '(%d+):([%d.]+):([%d.]+):(-?[%d.]+):(%d+):(%d),'
  for turn, from, ms, played, at, begun in string.gmatch(get('playback') or '', entry) do
    turns[#turns + 1] = {
      turn = turn, from = tonumber(from), ms = tonumber(ms), played = tonumber(played), at = tonumber(at),
      begun = begun == '1',
    }
  end
  return turns
end

-- Whether there is something of it left to be heard: by the clock, or by a client that plays more slowly than that.
local function is_playing(playback, time)
  if playback.played >= playback.ms then return false end
  if playback.from + playback.ms > time then return true end
  return playback.played >= 0 and time - playback.at < REPORTED_MS
end

local function keep_playbacks(turns, time)
  while #turns > MOST_PLAYBACKS or #turns > PLAYBACKS and not is_playing(turns[1], time) do table.remove(turns, 1) end
  local kept = {}
  for i, p in ipairs(turns) do
    local begun = p.begun and 1 or 0
    kept[i] = string.format('%s:%.3f:%.3f:%.3f:%.0f:%d,', p.turn, p.from, p.ms, p.played, p.at, begun)
  end
  set('playback', table.concat(kept))
end

local function playback_of(turn, turns)
  for _, playback in ipairs(turns) do
    if playback.turn == turn then return playback end
  end
end

-- Milliseconds of a turn's speech that were heard: as a client reported, else by the clock.
local function played_of(playback, time)
  if not playback then return 0 end
  return playback.played >= 0 and playback.played or math.max(0, time - playback.from)
end

-- Whether something of a turn was heard.
local function was_heard(playback, time)
  if not playback then return false end
  return playback.begun or playback.played > 0 or playback.ms > 0 and playback.from <= time
end

-- A turn's sentences in the order of its speech, each with its text in the list as `raw`.
local function sentences_of(spoken, turn)
  local sentences = {}
  for _, raw in ipairs(redis.call('LRANGE', spoken, 0, -1)) do
    if string.find(raw, '"turn":"' .. turn .. '"', 1, true) then
      local sentence = cjson.decode(raw)
      if sentence.turn == turn then
        sentence.raw = raw
        sentences[#sentences + 1] = sentence
      end
    end
  end
  return sentences
end

-- Takes the speech of these sentences back.
local function unspeak(speech, sentences)
  for _, sentence in ipairs(sentences) do
    for n = sentence.first, sentence.last do redis.call('XDEL', speech, n .. '-0') end
  end
end
