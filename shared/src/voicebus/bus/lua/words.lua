-- What `emit` does with the operations that most writes are made of, for several sessions at once: to call a script
-- costs more than such a write.
-- KEYS: of each write: session, log
-- ARGV: 3 log_max, 4 stage; of each write: token, number, turn, response id, how many operations, and these:
--       event BODY · ephemeral BODY · note TEXT
-- Replies: of each write {'ok', seq}, or why not, as of `emit`
begin_at_memory_limit()
local PUBLISH, LOG_MAX = ARGV[1], ARGV[3]
local NUMBER, RESULT, NOTE = ARGV[4] .. '.number', ARGV[4] .. '.result', ARGV[4] .. '.note'

local function apply(log, token, this, turn, response, first, last)
  local no, seq = begin_write(token, this, turn, response)
  if no then return no end
  local live = session .. ':live'
  for i = first, last, 2 do
    local op, value = ARGV[i], ARGV[i + 1]
    if op == 'event' then
      seq = string.format('%d', seq + 1) -- text, since Redis takes longest to make text of a number
      local event = '{"seq":' .. seq .. ',' .. value
      redis.call('XADD', log, 'MAXLEN', '~', LOG_MAX, seq .. '-0', 'e', event)
      redis.call(PUBLISH, live, 'e|' .. epoch() .. '|' .. seq .. '|' .. event)
    elseif op == 'ephemeral' then
      redis.call(PUBLISH, live, 'p|' .. epoch() .. '|' .. seq .. '|{' .. value)
    elseif op == 'note' then
      set(NOTE, value)
    else
      error('unknown operation ' .. op)
    end
  end
  redis.call('HSET', session, 'seq', seq, NUMBER, this, RESULT, seq)
  return { 'ok', tonumber(seq) }
end

local replies, i = {}, 5
for k = 1, #KEYS, 2 do
  session = KEYS[k]
  local last = i + 4 + 2 * ARGV[i + 4]
  replies[#replies + 1] = apply(KEYS[k + 1], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], i + 5, last)
  i = last + 1
end
return replies
