-- Cuts turns short. Put in front of the scripts that do it, behind playback.lua.

-- `keys`: log, speech, tts and agent (mailboxes), history. Cuts the turn that is named, else ('') all that are being
-- answered, spoken or heard. `played` ms were heard (nil: an estimate); `opening` is the event's body up to its data.
-- With `joins`, what the user said to open a turn that reached nobody is returned.
-- Returns nil if there is nothing to cut, else {seq of the last event, first turn, text}.
local function cut_short(keys, named, played, opening, joins)
  local time, answered, playing = clock(), number('answered'), playbacks()
  -- The turn that is being answered, or will be next: one that was cut before may not be wound up yet.
  local active = get('active_turn') or ''
  local from = '-'
  while active == '' or listed('cancelled', active) do
    local head = redis.call('XRANGE', keys.agent, from, '+', 'COUNT', 1)[1]
    if not head then break end
    active, from = field(head[2], 't'), '(' .. head[1]
  end

  -- The turns that go on, as a set: being answered, with sentences that wait to be spoken, or still heard.
  local going = {}
  if active ~= '' then going[active] = true end
  for _, entry in ipairs(redis.call('XRANGE', keys.tts, '-', '+')) do going[field(entry[2], 't')] = true end
  for _, playback in ipairs(playing) do
    if playback.from + playback.ms > time then going[playback.turn] = true end
  end

  local turns = {}
  if named == '' then
    for turn in pairs(going) do
      if not listed('cancelled', turn) then turns[#turns + 1] = tonumber(turn) end
    end
    table.sort(turns)
  else
    local turn = tonumber(named)
    local waits = turn > answered and turn <= number('turn')
    if (waits or going[named]) and not listed('cancelled', named) then turns[1] = turn end
  end
  if #turns == 0 then return nil end

  -- What was heard of a turn: its sentences until `played`, the last one in proportion to its words.
  local function heard(turn, played)
    local texts = {}
    for _, said in ipairs(said_before(turn)) do texts[#texts + 1] = { said[1], said[2] } end
    for _, sentence in ipairs(sentences_of(keys.speech, turn)) do
      if played <= 0 then break end
      local words = {}
      for word in string.gmatch(sentence.text, '%S+') do words[#words + 1] = word end
      local count = sentence.ms > 0 and math.floor(#words * math.min(1, played / sentence.ms)) or #words
      texts[#texts + 1] = { sentence.segment, table.concat(words, ' ', 1, count) }
      played = played - sentence.ms
    end
    table.sort(texts, function(a, b) return a[1] < b[1] end)
    local spoken = {}
    for _, text in ipairs(texts) do
      if text[2] ~= '' then spoken[#spoken + 1] = text[2] end
    end
    return table.concat(spoken, ' ')
  end

  local function heard_of(turn)
    for _, playback in ipairs(playing) do
      if playback.turn == turn and playback.from < time then return true end
    end
    return #said_before(turn) > 0
  end

  -- Whether nothing of the answer has reached the user: what is said then goes on with the question.
  local function untold(turn)
    if get('mode') ~= 'voice' and (get('response') or tonumber(turn) <= answered) then return false end
    return not heard_of(turn)
  end

  -- What the user said to open the turn. Events that open one begin with its number and their type.
  local function question(turn)
    local before = '+'
    while true do
      local page = redis.call('XREVRANGE', keys.log, before, '-', 'COUNT', 64)
      for _, entry in ipairs(page) do
        local opened = tonumber(string.match(entry[2][2], '^{"seq":%d+,"turn":(%d+),"type":"user"'))
        if opened == tonumber(turn) then return cjson.decode(entry[2][2]).data.content end
        if opened and opened < tonumber(turn) then return '' end
        before = '(' .. entry[1]
      end
      if #page < 64 then return '' end
    end
  end

  local function cut(turn, text, joined)
    note('cancelled', turn, 128)
    withdraw(keys.tts, turn)
    withdraw(keys.speech, turn)
    if turn == active then redis.call('HDEL', session, 'approvals') end
    for i = #playing, 1, -1 do
      if playing[i].turn == turn then table.remove(playing, i) end
    end
    local told = '"heard":' .. cjson.encode(text) .. (joined and ',"joined":true' or '')
    local data = '"data":{"turn":' .. turn .. ',' .. told .. ',"speech_next":' .. (number('n') + 1) .. '}}'
    local seq = append(keys.log, opening .. ',' .. data, turn)
    if tonumber(turn) <= answered then
      redis.call('RPUSH', keys.history, '{"cut":' .. turn .. ',' .. told .. '}')
    else
      set('cut:' .. turn % 8, turn .. ':' .. '{' .. told .. '}')
    end
    for _, stage in ipairs({ 'agent', 'tts' }) do
      if get(stage .. '.state') == 'leased' then wake(stage, 'cancel:' .. turn) end
    end
    return seq
  end

  -- What is read and may fail comes before the first write.
  local plan, questions = {}, {}
  for i, turn in ipairs(turns) do
    turn = tostring(turn)
    local text = heard(turn, played or played_of(turn, playing, time))
    if played and heard_of(turn) then played = 0 end
    local asked = joins and untold(turn) and question(turn) or ''
    if asked ~= '' then questions[#questions + 1] = asked end
    plan[i] = { turn, text, asked ~= '' }
  end

  stamp()
  local seq
  for _, step in ipairs(plan) do seq = cut(unpack(step)) end
  local free = time
  for _, playback in ipairs(playing) do
    if playback.from > time then playback.from = free end
    free = math.max(time, playback.from + playback.ms)
  end
  keep_playbacks(playing)
  return { seq, turns[1], table.concat(questions, ' ') }
end
