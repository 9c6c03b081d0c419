-- What is heard of a session's turns, as far as Redis can know. Put in front of the scripts that need it.
-- The field `playback` lists the last turns with speech, oldest first, as 'turn:begins_ms:duration_ms,'. A turn is
-- thought to be heard from its first chunk on, or from where the turn before it ends. The list `spoken` holds their
-- sentences in the order of their speech, as JSON: turn, response, segment, ms, text, whole (its last chunk is out),
-- first and last (n of its chunks), said (its response was abandoned after the sentence had been heard to its end).
local PLAYBACKS = 8
local REPORTED_MS = 5000 -- so long after its last report a client is thought to play on

local function playbacks()
  local turns = {}
  for turn, from, ms in string.gmatch(get('playback') or '', '(%d+):([%d.]+):([%d.]+),') do
    turns[#turns + 1] = { turn = turn, from = tonumber(from), ms = tonumber(ms) }
  end
  return turns
end

local function keep_playbacks(turns)
  local kept = {}
  for i = math.max(1, #turns - PLAYBACKS + 1), #turns do
    kept[#kept + 1] = string.format('%s:%.3f:%.3f,', turns[i].turn, turns[i].from, turns[i].ms)
  end
  set('playback', table.concat(kept))
end

local function playback_of(turn, turns)
  for _, playback in ipairs(turns) do
    if playback.turn == turn then return playback end
  end
end

-- Whether there is something of it left to be heard: by the clock, or by a client that plays more slowly than that.
local function is_playing(playback, time)
  if playback.from + playback.ms > time then return true end
  local reported = get('played_turn') == playback.turn and time - number('played_at') < REPORTED_MS
  return reported and number('played_ms') < playback.ms
end

-- Milliseconds of a turn's speech that were heard: as a client reported, else by the clock.
local function played_of(turn, turns, time)
  if get('played_turn') == turn then return number('played_ms') end
  local playback = playback_of(turn, turns)
  return playback and math.max(0, time - playback.from) or 0
end

-- A turn's sentences in the order of its speech, each with its index in the list. Of responses that were abandoned
-- only those that had been heard are left.
local function sentences_of(spoken, turn)
  local sentences = {}
  for i, raw in ipairs(redis.call('LRANGE', spoken, 0, -1)) do
    local sentence = cjson.decode(raw)
    if sentence.turn == turn and (sentence.said or not listed('abandoned', sentence.response)) then
      sentence.index = i - 1
      sentences[#sentences + 1] = sentence
    end
  end
  return sentences
end

-- Takes the speech of these sentences back.
local function unspeak(speech, sentences)
  for _, sentence in ipairs(sentences) do
    local ids = {}
    for n = sentence.first, sentence.last do ids[#ids + 1] = n .. '-0' end
    redis.call('XDEL', speech, unpack(ids))
  end
end
