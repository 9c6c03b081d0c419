-- Appends bytes to open microphone streams, of several sessions at once; what was sent before is dropped.
-- KEYS: of each: session, mail:stt, ready:stt, deadlines
-- ARGV: 3 most entries that may wait for STT, 4 most bytes; of each: connection, stream, offset, bytes
-- Replies: of each {'ok', offset up to which all is safe} | {'gap', expected} | {'taken'} | {'closed'}
--          | {'full', expected} | {'gone'} | {'ended'}
local ENTRY_BYTES = 131072 -- that one may have
local time = clock()

local function is_full(mailbox)
  local entries, most, most_bytes = redis.call('XLEN', mailbox), tonumber(ARGV[3]), tonumber(ARGV[4])
  if entries * ENTRY_BYTES < most_bytes then return entries >= most end
  return entries >= most or (redis.call('MEMORY', 'USAGE', mailbox, 'SAMPLES', 0) or 0) >= most_bytes
end

local function hear(mailbox, ready, deadlines, connection, stream, offset, bytes)
  local status, open, owner, safe, state, ttl, deadline = unpack(redis.call('HMGET', session,
    'status', 'audio.stream', 'audio.owner', 'audio.offset', 'stt.state', 'ttl_ms', 'deadline'))
  local no = refusal_by(status)
  if no then return no end
  if open ~= stream then return { 'closed' } end
  if owner ~= connection then return { 'taken' } end
  safe = safe or '0'
  local expected, skip = tonumber(safe), safe - offset
  if skip < 0 then return { 'gap', expected } end
  if skip >= #bytes then return { 'ok', expected } end
  if is_full(mailbox) then return { 'full', expected } end
  if skip > 0 then bytes = string.sub(bytes, skip + 1) end
  if state == 'queued' or state == 'leased' then -- nearly always, and nobody is to be told
    redis.call('XADD', mailbox, '*', 'k', 'audio', 's', stream, 'o', safe, 'd', bytes)
  else
    post('stt', mailbox, ready, 'k', 'audio', 's', stream, 'o', safe, 'd', bytes)
  end
  local behind = expected + #bytes
  set('audio.offset', string.format('%d', behind), 'audio.at', string.format('%d', time))
  move_end(deadlines, time, ttl, deadline)
  return { 'ok', behind }
end

local replies = {}
for k = 1, #KEYS, 4 do
  session = KEYS[k]
  local i = k + 4
  replies[#replies + 1] = hear(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return replies
