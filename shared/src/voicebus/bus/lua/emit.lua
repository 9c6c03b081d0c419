-- A worker's write: applied once, in order, by the stage's owner only, and not for a cancelled turn.
-- KEYS: 1 session, 2 log, 3 speech, 4 own mailbox, 5 mail:agent, 6 mail:tts, 7 ready:agent, 8 ready:tts, 9 journal,
--       10 history, 11 spoken
-- ARGV: 3 log_max, 4 stage, 5 token, 6 number, 7 turn (0: of no turn), 8 response id ('' none), then operations:
--       event BODY · ephemeral BODY · begin · restart BODY · open STT ('' none) USER MAIL · sentence MAIL
--       · speech HEAD TAIL AUDIO SEGMENT MS TEXT ('' as before) IS_LAST (1 or 0) · journal STEP · history ENTRY KEEP
--       · answered TURN · cursor ID · note TEXT · ask TOOL_CALL_ID EXPIRES_IN_MS REQUEST · settle TOOL_CALL_ID
-- Replies: {'ok', seq, 1 if mail waits behind the cursor, else 0} | {'repeated', seq, 1}
--          | {'gap', last number} | {'stale'} | {'cancelled'}
local log, speech, mailbox, spoken = KEYS[2], KEYS[3], KEYS[4], KEYS[11]
local stage, turn, response = ARGV[4], ARGV[7], ARGV[8]
local SPEECH_KEPT_MS, SPEECH_KEPT = 60000, 4096
local SPOKEN_KEPT_MS = 3600000 -- longer than a turn may take

trim_log(log, ARGV[3])
local no = begin_write(ARGV[5], ARGV[6], turn, response)
if no then return no end

local function begin_response()
  set('response', response, 'response_from', number('seq') + 1)
end

-- Takes back the speech of the response that was cut. Its sentences that were heard to their end stay noted: they are
-- not spoken again.
local function take_back(cut)
  local time, turns, taken, left = clock(), playbacks(), {}, 0
  local playback = playback_of(turn, turns)
  local played = played_of(playback, time)
  for _, sentence in ipairs(sentences_of(spoken, turn)) do
    if not sentence.said then
      played = played - sentence.ms
      if sentence.response == cut then
        sentence.said = sentence.whole and sentence.ms > 0 and played >= 0
        taken[#taken + 1] = sentence
      else
        left = left + sentence.ms
      end
    end
  end
  unspeak(speech, taken)
  for _, sentence in ipairs(taken) do
    local raw = sentence.raw
    sentence.raw = nil
    if sentence.said then redis.call('LINSERT', spoken, 'BEFORE', raw, cjson.encode(sentence)) end
    redis.call('LREM', spoken, 1, raw)
  end
  if not playback then return end
  playback.begun = was_heard(playback, time)
  playback.ms, playback.played = left, math.min(playback.played, left)
  keep_playbacks(turns, time)
end

local function abandon_response(body)
  local cut = get('response')
  append(log, body)
  if cut then
    take_back(cut)
    withdraw(KEYS[6], turn, cut)
    note('abandoned', cut, 64)
  end
  redis.call('HDEL', session, 'response', 'response_from')
end

local function open_turn(stt, user, body)
  local opened = redis.call('HINCRBY', session, 'turn', 1)
  if stt ~= '' then append(log, stt, opened) end
  append(log, user, opened)
  redis.call('HDEL', session, 'joined')
  bring('agent', KEYS[5], KEYS[7], KEYS[9], KEYS[10], 'k', 'user', 't', opened, 'd', body)
end

-- Speech older than a minute goes; what is gone is remembered, so that it is never a silent hole.
local function trim_speech(time)
  local excess = redis.call('XLEN', speech) - SPEECH_KEPT
  for i, entry in ipairs(redis.call('XRANGE', speech, '-', '+', 'COUNT', 16)) do
    if i > excess and time - tonumber(field(entry[2], 'at')) < SPEECH_KEPT_MS then return end
    set('speech_gone', string.match(entry[1], '^%d+'))
    redis.call('XDEL', speech, entry[1])
  end
end

-- When the playback of this turn ends, now that so many ms were added to its speech.
local function extend_playback(time, ms)
  local turns = playbacks()
  local last = turns[#turns]
  if not last or last.turn ~= turn then
    local from = math.max(time, last and last.from + last.ms or 0)
    last = { turn = turn, from = from, ms = 0, played = -1, at = 0, begun = false }
    turns[#turns + 1] = last
  end
  last.from = math.max(last.from, time - last.ms) -- whoever had heard all of it waited for more
  last.ms = last.ms + ms
  keep_playbacks(turns, time)
  return last.from + last.ms
end

-- Notes what was added to the last sentence, or the next one; those of turns that nobody hears any more go.
local function note_spoken(n, time, segment, ms, text, whole)
  local newest = redis.call('LINDEX', spoken, -1)
  local last = newest and cjson.decode(newest)
  if last and last.turn == turn and last.response == response and last.segment == segment then
    last.ms, last.text, last.whole, last.last = last.ms + ms, text ~= '' and text or last.text, whole, n
    redis.call('LSET', spoken, -1, cjson.encode(last))
    return
  end
  local sentence = { turn = turn, response = response, segment = segment, text = text, whole = whole }
  sentence.at, sentence.ms, sentence.first, sentence.last = time, ms, n, n
  redis.call('RPUSH', spoken, cjson.encode(sentence))
  redis.call('LTRIM', spoken, -SPEECH_KEPT, -1)
  local turns = playbacks()
  while not playback_of(cjson.decode(redis.call('LINDEX', spoken, 0)).turn, turns) do redis.call('LPOP', spoken) end
end

local function speak(head, tail, audio, segment, ms, text, is_last)
  local time, n, seq = clock(), redis.call('HINCRBY', session, 'n', 1), get('seq')
  if n % 8 == 0 then trim_speech(time) end
  if redis.call('EXISTS', speech) == 0 then set('speech_gone', n - 1) end
  local header = head .. '"n":' .. n .. ',"after_seq":' .. seq .. ',' .. tail
  redis.call('XADD', speech, n .. '-0', 's', seq, 't', turn, 'r', response, 'g', segment, 'ms', ms, 'at', time,
    'h', header, 'a', audio)
  local left_ms = extend_playback(time, tonumber(ms)) - time
  note_spoken(n, time, tonumber(segment), tonumber(ms), text, is_last == '1')
  redis.call('PEXPIRE', speech, math.ceil(left_ms) + SPEECH_KEPT_MS)
  redis.call('PEXPIRE', spoken, math.ceil(left_ms) + SPOKEN_KEPT_MS)
  publish(session .. ':live', 's|' .. epoch() .. '|' .. seq .. '|' .. n .. '|' .. #header .. '|' .. header .. audio)
end

local function answered(finished)
  set('answered', finished, 'active_turn', '')
  redis.call('DEL', KEYS[9])
  redis.call('HDEL', session, 'response', 'response_from', 'approvals', 'cut:' .. finished)
end

-- The request stays text: read as a table and written again, it would lose digits and empty lists.
local function ask(call, expires_in_ms, request)
  local asked = cjson.decode(get('approvals') or '{}')
  asked[call] = { state = 'pending', turn = turn, expires_ms = clock() + tonumber(expires_in_ms), request = request }
  set('approvals', cjson.encode(asked))
end

local function settle(call)
  local asked = cjson.decode(get('approvals') or '{}')
  asked[call] = nil
  if next(asked) then
    set('approvals', cjson.encode(asked))
  else
    redis.call('HDEL', session, 'approvals')
  end
end

local i = 9
local function arg()
  i = i + 1
  return ARGV[i - 1]
end

while i <= #ARGV do
  local op = arg()
  if op == 'event' then
    append(log, arg())
  elseif op == 'speech' then
    speak(arg(), arg(), arg(), arg(), arg(), arg(), arg())
  elseif op == 'ephemeral' then
    publish(session .. ':live', 'p|' .. epoch() .. '|' .. number('seq') .. '|{' .. arg())
  elseif op == 'cursor' then
    move_cursor(stage, mailbox, arg())
  elseif op == 'note' then
    set(stage .. '.note', arg())
  elseif op == 'sentence' then
    bring('tts', KEYS[6], KEYS[8], nil, nil, 'k', 'sentence', 't', turn, 'r', response, 'd', arg())
  elseif op == 'begin' then
    begin_response()
  elseif op == 'journal' then
    redis.call('RPUSH', KEYS[9], arg())
  elseif op == 'open' then
    open_turn(arg(), arg(), arg())
  elseif op == 'history' then
    redis.call('RPUSH', KEYS[10], arg())
    redis.call('LTRIM', KEYS[10], -tonumber(arg()), -1)
  elseif op == 'answered' then
    answered(arg())
  elseif op == 'restart' then
    abandon_response(arg())
  elseif op == 'ask' then
    ask(arg(), arg(), arg())
  elseif op == 'settle' then
    settle(arg())
  else
    error('unknown operation ' .. op)
  end
end
local seq = number('seq')
set(stage .. '.number', ARGV[6], stage .. '.result', seq)
return { 'ok', seq, first_after(mailbox, get(stage .. '.cursor') or '0-0') and 1 or 0 }
