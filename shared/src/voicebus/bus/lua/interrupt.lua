-- Cuts turns short: the one that is named, else all that are being answered, spoken or heard.
-- KEYS: 1 session, 2 log, 3 speech, 4 mail:tts, 5 seen, 6 mail:agent, 7 history, 8 spoken
-- ARGV: 3 log_max, 4 message id, 5 its digest, 6 turn ('' = as above), 7 played_ms ('' = an estimate),
--       8 body of the event up to its data, 9 token of the stt stage that heard somebody speak ('' = a client's word)
-- Replies: {'ok', seq, first turn, text} | {'nothing', seq, text} | {'repeated', seq, text} | {'conflict', seq} | {'stale'}
--          | {'gone'} | {'ended'}; `text` is what the user said and is to be joined with what is being said, else ''
local no = refusal()
if no then return no end
local id, token = ARGV[4], ARGV[9]
if token ~= '' and not fenced('stt', token) then return { 'stale' } end
local known = seen(KEYS[5], id, ARGV[5])
if known then
  local by, text = string.match(get('joined') or '', '^([^|]*)|(.*)$')
  known[3] = by == id and text or ''
  return known
end
trim_log(KEYS[2], ARGV[3])

local keys = {
  log = KEYS[2], speech = KEYS[3], tts = KEYS[4], agent = KEYS[6], history = KEYS[7], spoken = KEYS[8],
}
local done = cut_short(keys, ARGV[6], tonumber(ARGV[7]), ARGV[8], token ~= '')
local seq, text = done and done[1] or number('seq'), done and done[3] or ''
if token ~= '' then
  -- Speech before this one, whose audio was given up, may have left a question.
  local left = string.match(get('joined') or '', '|(.*)$') or ''
  text = left .. (left ~= '' and text ~= '' and ' ' or '') .. text
  if text ~= '' then set('joined', id .. '|' .. text) end
end
remember(KEYS[5], id, ARGV[5], seq)
if not done then return { 'nothing', seq, text } end
return { 'ok', seq, done[2], text }
