-- A worker's write: applied once, in order, by the stage's owner only, and not for a cancelled turn.
-- KEYS: 1 session, 2 log, 3 speech, 4 own mailbox, 5 mail:agent, 6 mail:tts, 7 ready:agent, 8 ready:tts, 9 journal,
--       10 history
-- ARGV: 3 log_max, 4 stage, 5 token, 6 number, 7 turn (0: of no turn), 8 response id ('' none), then operations:
--       event BODY · ephemeral BODY · begin · restart BODY · open STT ('' none) USER MAIL · sentence MAIL
--       · speech HEAD TAIL AUDIO SEGMENT MS · journal STEP · history ENTRY KEEP · answered TURN · cursor ID · note TEXT
--       · ask TOOL_CALL_ID PATIENCE_MS REQUEST · settle TOOL_CALL_ID
-- Replies: {'ok', seq, 1 if mail waits behind the cursor, else 0} | {'repeated', seq, 1}
--          | {'gap', last number} | {'stale'} | {'cancelled'}
local log, speech, mailbox = KEYS[2], KEYS[3], KEYS[4]
local stage, token, this, turn, response = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8]
local SPEECH_KEPT_MS, SPEECH_KEPT = 60000, 4096

trim_log(log, ARGV[3])
if not fenced(stage, token) then return { 'stale' } end
local last = number(stage .. '.number')
if this <= last then return { 'repeated', tonumber(get(stage .. '.result') or '0'), 1 } end
if this ~= last + 1 then return { 'gap', last } end
if turn ~= '0' and listed('cancelled', turn) or listed('abandoned', response) then return { 'cancelled' } end
stamp()

local function begin_response()
  set('response', response, 'response_from', number('seq') + 1)
end

-- Sentences of the response that was cut that were heard to their end are remembered: they are not spoken again.
local function note_said(cut)
  local said, turns, left = said_before(turn), playbacks(), 0
  local played = played_of(turn, turns, clock())
  for _, sentence in ipairs(sentences_of(speech, turn)) do
    played = played - sentence.ms
    if sentence.response ~= cut then
      left = left + sentence.ms
    elseif sentence.whole and played >= 0 then
      said[#said + 1] = { sentence.segment, sentence.text }
    end
  end
  if #said > 0 then set('said', turn .. ':' .. cjson.encode(said)) end
  for i = #turns, 1, -1 do
    if turns[i].turn == turn then turns[i].ms = left end
    if turns[i].ms == 0 then table.remove(turns, i) end
  end
  keep_playbacks(turns)
  if get('played_turn') == turn then
    set('played_ms', math.min(number('played_ms'), left), 'played_segment', 0, 'played_before', 0, 'played_from', '-')
  end
end

local function abandon_response(body)
  local cut = get('response')
  append(log, body)
  if cut then
    note_said(cut)
    withdraw(KEYS[6], turn, cut)
    withdraw(speech, turn, cut)
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
    last = { turn = turn, from = math.max(time, last and last.from + last.ms or 0), ms = 0 }
    turns[#turns + 1] = last
  end
  last.from = math.max(last.from, time - last.ms) -- whoever had heard all of it waited for more
  last.ms = last.ms + ms
  keep_playbacks(turns)
  return last.from + last.ms
end

local function speak(head, tail, audio, segment, ms)
  local time, n, seq = clock(), redis.call('HINCRBY', session, 'n', 1), get('seq')
  if n % 8 == 0 then trim_speech(time) end
  if redis.call('EXISTS', speech) == 0 then set('speech_gone', n - 1) end
  local header = head .. '"n":' .. n .. ',"after_seq":' .. seq .. ',' .. tail
  redis.call('XADD', speech, n .. '-0', 's', seq, 't', turn, 'r', response, 'g', segment, 'ms', ms, 'at', time,
    'h', header, 'a', audio)
  local left_ms = extend_playback(time, tonumber(ms)) - time
  redis.call('PEXPIRE', speech, math.ceil(left_ms) + SPEECH_KEPT_MS)
  publish(session .. ':live', 's|' .. epoch() .. '|' .. seq .. '|' .. n .. '|' .. #header .. '|' .. header .. audio)
end

local function answered(finished)
  set('answered', finished, 'active_turn', '')
  redis.call('DEL', KEYS[9])
  redis.call('HDEL', session, 'response', 'response_from', 'approvals')
end

-- The request stays text: read as a table and written again, it would lose digits and empty lists.
local function ask(call, patience_ms, request)
  local asked = cjson.decode(get('approvals') or '{}')
  asked[call] = { state = 'pending', turn = turn, expires_ms = clock() + tonumber(patience_ms), request = request }
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
    speak(arg(), arg(), arg(), arg(), arg())
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
set(stage .. '.number', this, stage .. '.result', seq)
return { 'ok', seq, first_after(mailbox, get(stage .. '.cursor') or '0-0') and 1 or 0 }
