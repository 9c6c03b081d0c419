-- Cuts a turn short: by default the one that is being answered, else the one that is still heard.
-- KEYS: 1 session, 2 log, 3 speech, 4 mail:tts, 5 seen
-- ARGV: 3 log_max, 4 message id, 5 its digest, 6 turn ('' = the default), 7 played_ms ('' = an estimate),
--       8 body of the event up to its data
-- Replies: {'ok', seq, turn} | {'nothing', seq} | {'repeated', seq} | {'conflict', seq} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[5], ARGV[4], ARGV[5])
if known then return known end
trim_log(KEYS[2], ARGV[3])

local time = clock()
local audible = get('audible')
if audible and number('audible_from') + number('audible_ms') <= time then audible = nil end

local turn = ARGV[6]
if turn == '' then
  local active = get('active_turn') or ''
  turn = active ~= '' and active or audible or '0'
end
local over = tonumber(turn) <= number('answered') and audible ~= turn
if turn == '0' or tonumber(turn) > number('turn') or listed('cancelled', turn) or over then
  remember(KEYS[5], ARGV[4], ARGV[5], number('seq'))
  return { 'nothing', number('seq') }
end

-- What was heard of the turn: the sentences whose playback had begun, the last one in proportion to its words.
local function heard(played)
  local segments, order = {}, {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', '+')) do
    if field(entry[2], 't') == turn then
      local name = field(entry[2], 'g')
      local segment = segments[name]
      if not segment then
        segment = { ms = 0, text = cjson.decode(field(entry[2], 'h')).data.text or '' }
        segments[name] = segment
        order[#order + 1] = segment
      end
      segment.ms = segment.ms + tonumber(field(entry[2], 'ms'))
    end
  end
  local texts = {}
  for _, segment in ipairs(order) do
    if played <= 0 then break end
    local words = {}
    for word in string.gmatch(segment.text, '%S+') do words[#words + 1] = word end
    local count = segment.ms > 0 and math.floor(#words * math.min(1, played / segment.ms)) or #words
    texts[#texts + 1] = table.concat(words, ' ', 1, count)
    played = played - segment.ms
  end
  return table.concat(texts, ' ')
end

local played = tonumber(ARGV[7])
if not played then
  local reported = get('played_turn') == turn and number('played_ms')
  played = reported or (get('audible') == turn and time - number('audible_from') or 0)
end
local text = heard(played)

stamp()
note('cancelled', turn, 128)
withdraw(KEYS[4], turn)
withdraw(KEYS[3], turn)
if get('audible') == turn then set('audible_ms', 0) end
local data = '"data":{"turn":' .. turn .. ',"heard":' .. cjson.encode(text) .. ',"speech_next":' .. (number('n') + 1) .. '}}'
local seq = append(KEYS[2], ARGV[8] .. ',' .. data, turn)
set('heard:' .. turn % 8, turn .. ':' .. text)
remember(KEYS[5], ARGV[4], ARGV[5], seq)
for _, stage in ipairs({ 'agent', 'tts' }) do
  if get(stage .. '.state') == 'leased' then wake(stage, 'cancel:' .. turn) end
end
return { 'ok', seq, tonumber(turn) }
