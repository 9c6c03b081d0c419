-- What is heard of a session's turns, as far as Redis can know. Put in front of the scripts that need it.
-- The field `playback` lists the last turns with speech, oldest first, as 'turn:begins_ms:duration_ms,'. A turn is
-- thought to be heard from its first chunk on, or from where the turn before it ends.
local PLAYBACKS = 8

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

-- Milliseconds of a turn's speech that were heard: as a client reported, else by the clock.
local function played_of(turn, turns, time)
  if get('played_turn') == turn then return number('played_ms') end
  for _, playback in ipairs(turns) do
    if playback.turn == turn then return math.max(0, time - playback.from) end
  end
  return 0
end

-- A turn's sentences in the order of its speech: {name, response, ms, text, whole}.
local function sentences_of(speech, turn)
  local sentences, named = {}, {}
  for _, entry in ipairs(redis.call('XRANGE', speech, '-', '+')) do
    if field(entry[2], 't') == turn then
      local name = field(entry[2], 'g') .. ':' .. field(entry[2], 'r')
      local data = cjson.decode(field(entry[2], 'h')).data
      local sentence = named[name]
      if not sentence then
        sentence = { segment = tonumber(field(entry[2], 'g')), response = field(entry[2], 'r'), ms = 0, text = '' }
        named[name] = sentence
        sentences[#sentences + 1] = sentence
      end
      sentence.ms = sentence.ms + tonumber(field(entry[2], 'ms'))
      sentence.text = data.text or sentence.text
      sentence.whole = data.is_last
    end
  end
  return sentences
end

-- Sentences that were heard of responses that were abandoned: the turn, and a list of {segment, text}.
local function said_before(turn)
  local of, list = string.match(get('said') or '', '^(%d+):(.*)$')
  return of == turn and cjson.decode(list) or {}
end
