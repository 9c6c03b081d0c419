-- Cuts turns short. Put in front of the scripts that do it, behind playback.lua.
-- `keys`: log, speech, spoken, tts and agent (mailboxes), history. `turns` are the playbacks.

-- The turn that is being answered, or will be next; '' if none. One that was cut before and is not wound up yet is
-- looked past only for somebody who speaks: what that cuts is joined, and not lost.
local function being_answered(keys, joins)
  local active, from = get('active_turn') or '', '-'
  while active == '' or joins and listed('cancelled', active) do
    local head = redis.call('XRANGE', keys.agent, from, '+', 'COUNT', 1)[1]
    if not head then return '' end
    active, from = field(head[2], 't'), '(' .. head[1]
  end
  return active
end

-- The turns that go on, as a set: being answered, with sentences that wait to be spoken, or still heard.
local function going_on(keys, active, turns, time)
  local going = {}
  if active ~= '' then going[active] = true end
  for _, entry in ipairs(redis.call('XRANGE', keys.tts, '-', '+')) do going[field(entry[2], 't')] = true end
  for _, playback in ipairs(turns) do
    if is_playing(playback, time) then going[playback.turn] = true end
  end
  return going
end

-- Of those, the ones to be cut, in their order: the one that is named, else ('') all.
local function chosen(going, named, played, turns)
  local numbers = {}
  if named == '' then
    for turn in pairs(going) do
      if not listed('cancelled', turn) then numbers[#numbers + 1] = tonumber(turn) end
    end
    table.sort(numbers)
  elseif not listed('cancelled', named) then
    local turn, playback = tonumber(named), playback_of(named, turns)
    local waits = turn > number('answered') and turn <= number('turn')
    local unheard = played and playback and played < playback.ms
    if waits or going[named] or unheard then numbers[1] = turn end
  end
  return numbers
end

-- The first part of a text, in proportion to its words. A word so long that its script may have no spaces is cut, too.
local LONG_WORD = 24 -- bytes
local function beginning(text, share)
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  local count = math.floor(#words * share)
  local kept, next_word = table.concat(words, ' ', 1, count), words[count + 1]
  if next_word and #next_word > LONG_WORD then
    local characters = {}
    for character in string.gmatch(next_word, '[^\128-\191][\128-\191]*') do
      characters[#characters + 1] = character
    end
    local part = table.concat(characters, '', 1, math.floor(#characters * (#words * share - count)))
    return kept .. (kept ~= '' and part ~= '' and ' ' or '') .. part
  end
  return kept
end

-- What was heard of a turn: its sentences until `played`. Of one whose speech is not all out yet, the rest is taken to
-- last as long as usual speech. One that was thought to be heard to its end was not, where one before it was not.
local MS_PER_BYTE = 60
local ROUNDING_MS = 1
local function heard(sentences, played)
  local texts = {}
  for _, sentence in ipairs(sentences) do
    local share = played > -ROUNDING_MS and 1 or 0
    if not sentence.said then
      local all_ms = sentence.whole and sentence.ms or math.max(sentence.ms, MS_PER_BYTE * #sentence.text)
      share = sentence.ms > 0 and math.max(0, math.min(1, math.min(played, sentence.ms) / all_ms)) or 0
      played = played - sentence.ms
    end
    local text = beginning(sentence.text, share)
    if text ~= '' then texts[#texts + 1] = text end
  end
  return table.concat(texts, ' ')
end

-- Whether nothing of the answer has reached the user: what is said then goes on with the question.
local function untold(turn, playback, time)
  local begun = get('response') and get('active_turn') == turn
  if get('mode') ~= 'voice' and (begun or tonumber(turn) <= number('answered')) then return false end
  return not was_heard(playback, time)
end

-- What the user said to open the turn. Events that open one begin with its number and their type.
local function question(log, turn)
  local before = '+'
  while true do
    local page = redis.call('XREVRANGE', log, before, '-', 'COUNT', 64)
    for _, entry in ipairs(page) do
      local opened = tonumber(string.match(entry[2][2], '^{"seq":%d+,"turn":(%d+),"type":"user"'))
      if opened == tonumber(turn) then return cjson.decode(entry[2][2]).data.content end
      if opened and opened < tonumber(turn) then return '' end
      before = '(' .. entry[1]
    end
    if #page < 64 then return '' end
  end
end

-- Notes in a complete turn's entry of the history what was heard. The entry stays text: read as a table and written
-- again, it would lose digits and empty lists.
local function correct(history, turn, told)
  for i = -1, -redis.call('LLEN', history), -1 do
    local entry = redis.call('LINDEX', history, i)
    local of = tonumber(string.match(entry, '^{"turn":(%d+),'))
    if of == tonumber(turn) then
      redis.call('LSET', history, i, string.sub(entry, 1, -2) .. ',"cut":{' .. told .. '}}')
      return
    end
    if of and of < tonumber(turn) then return end
  end
end

-- Its speech is void below the number behind its last chunk.
local function cut(keys, turns, opening, step)
  local turn, told = step.turn, '"heard":' .. cjson.encode(step.heard) .. (step.joined and ',"joined":true' or '')
  note('cancelled', turn, 128)
  withdraw(keys.tts, turn)
  unspeak(keys.speech, step.sentences)
  if turn == get('active_turn') then redis.call('HDEL', session, 'approvals') end
  for i = #turns, 1, -1 do
    if turns[i].turn == turn then table.remove(turns, i) end
  end
  local newest = step.sentences[#step.sentences]
  local void = ',"speech_next":' .. (newest and newest.last + 1 or 1)
  local data = '"data":{"turn":' .. turn .. ',' .. told .. void .. '}}'
  local seq = append(keys.log, opening .. ',' .. data, turn)
  if tonumber(turn) <= number('answered') then
    correct(keys.history, turn, told)
  else
    set('cut:' .. turn, '{' .. told .. '}')
  end
  for _, stage in ipairs({ 'agent', 'tts' }) do
    if get(stage .. '.state') == 'leased' then wake(stage, 'cancel:' .. turn) end
  end
  return seq
end

-- Cuts the turn that is named, else ('') all that are being answered, spoken or heard. `played` ms were heard (nil: an
-- estimate) of the first of them that was heard at all; `opening` is the event's body up to its data. With `joins`,
-- what the user said to open a turn that reached nobody is returned.
-- Returns nil if there is nothing to cut, else {seq of the last event, first turn, text}.
local function cut_short(keys, named, played, opening, joins)
  local time, turns, active = clock(), playbacks(), being_answered(keys, joins)
  local numbers = chosen(going_on(keys, active, turns, time), named, played, turns)
  if #numbers == 0 then return nil end

  -- What is read and may fail comes before the first write.
  local plan, questions = {}, {}
  for i, number_of in ipairs(numbers) do
    local turn = tostring(number_of)
    local sentences, playback = sentences_of(keys.spoken, turn), playback_of(turn, turns)
    local text = heard(sentences, played or played_of(playback, time))
    if played and was_heard(playback, time) then played = 0 end
    local asked = joins and untold(turn, playback, time) and question(keys.log, turn) or ''
    if asked ~= '' then questions[#questions + 1] = asked end
    plan[i] = { turn = turn, sentences = sentences, heard = text, joined = asked ~= '' }
  end

  stamp()
  local seq
  for _, step in ipairs(plan) do seq = cut(keys, turns, opening, step) end
  local free = time
  for _, playback in ipairs(turns) do
    if playback.from > time then playback.from = free end
    free = math.max(time, playback.from + playback.ms)
  end
  keep_playbacks(turns, time)
  return { seq, numbers[1], table.concat(questions, ' ') }
end
