-- A worker's write: applied once, in order, by the stage's owner only, and not for a cancelled turn.
-- KEYS: 1 session, 2 log, 3 speech, 4 own mailbox, 5 mail:agent, 6 mail:tts, 7 ready:agent, 8 ready:tts, 9 journal,
--       10 history
-- ARGV: 3 log_max, 4 stage, 5 token, 6 number, 7 turn (0: of no turn), 8 response id ('' none), then operations:
--       event BODY · ephemeral BODY · begin · restart BODY · open STT USER MAIL · sentence MAIL
--       · speech HEAD TAIL AUDIO SEGMENT MS · journal STEP · history ENTRY KEEP · answered TURN · cursor ID · note TEXT
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

local function abandon_response(body)
  local cut = get('response')
  append(log, body)
  if cut then
    withdraw(KEYS[6], turn, cut)
    withdraw(speech, turn, cut)
    note('abandoned', cut, 64)
  end
  redis.call('HDEL', session, 'response', 'response_from')
end

local function open_turn(stt, user, body)
  local opened = redis.call('HINCRBY', session, 'turn', 1)
  append(log, stt, opened)
  append(log, user, opened)
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

-- Playback of a turn is thought to begin with its first chunk, behind what is still audible.
local function note_audible(time, ms)
  local ends = number('audible_from') + number('audible_ms')
  if get('audible') ~= turn then
    set('audible', turn, 'audible_from', math.max(time, ends), 'audible_ms', ms)
  else
    set('audible_ms', number('audible_ms') + ms)
  end
end

local function speak(head, tail, audio, segment, ms)
  local time, n, seq = clock(), redis.call('HINCRBY', session, 'n', 1), get('seq')
  if n % 8 == 0 then trim_speech(time) end
  if redis.call('EXISTS', speech) == 0 then set('speech_gone', n - 1) end
  local header = head .. '"n":' .. n .. ',"after_seq":' .. seq .. ',' .. tail
  redis.call('XADD', speech, n .. '-0', 's', seq, 't', turn, 'r', response, 'g', segment, 'ms', ms, 'at', time,
    'h', header, 'a', audio)
  note_audible(time, tonumber(ms))
  local playback_ends = number('audible_from') + number('audible_ms')
  redis.call('PEXPIRE', speech, math.ceil(math.max(playback_ends - time, 0)) + SPEECH_KEPT_MS)
  publish(session .. ':live', 's|' .. epoch() .. '|' .. seq .. '|' .. n .. '|' .. #header .. '|' .. header .. audio)
end

local function answered(finished)
  set('answered', finished, 'active_turn', '')
  redis.call('DEL', KEYS[9])
  redis.call('HDEL', session, 'response', 'response_from')
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
  else
    error('unknown operation ' .. op)
  end
end
local seq = number('seq')
set(stage .. '.number', this, stage .. '.result', seq)
return { 'ok', seq, first_after(mailbox, get(stage .. '.cursor') or '0-0') and 1 or 0 }
