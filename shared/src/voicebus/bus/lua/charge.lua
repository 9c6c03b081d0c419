-- Takes a stream's audio out of an allowance, which fills up again as time goes by. What was taken before costs nothing.
-- KEYS: 1 hash: `full_at`, when the allowance is full again, in ms since 1970, and for each session
--       `<stream>|<ms of it that are paid for>`; 2 usage, where it is kept
-- ARGV: 3 session id, 4 stream, 5 from, 6 to, in ms of the stream, 7 the allowance in ms of audio,
--       8 ms in which it fills up, 9 the usage's field, 10 how long usage is kept in seconds
-- Replies: {'ok', ms of audio left} | {'limit', ms until there is enough}
local now, from, to = clock(), tonumber(ARGV[5]), tonumber(ARGV[6])
local most, period = tonumber(ARGV[7]), tonumber(ARGV[8])
local stream, paid = string.match(redis.call('HGET', KEYS[1], ARGV[3]) or '', '^(.*)|(%d+)$')
if stream == ARGV[4] then from = math.max(from, tonumber(paid)) end
local cost = math.max(0, to - from)
local full_at = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'full_at') or '0')) + cost * period / most
local wait = math.ceil(full_at - now - period)
if cost > 0 and wait > 0 then return { 'limit', wait } end
if redis.call('HLEN', KEYS[1]) > 64 then redis.call('DEL', KEYS[1]) end -- many sessions: one or two pay again
redis.call('HSET', KEYS[1], 'full_at', string.format('%.0f', full_at), ARGV[3], ARGV[4] .. '|' .. math.max(from, to))
redis.call('PEXPIRE', KEYS[1], 2 * period)
if cost > 0 and KEYS[2] then
  redis.call('HINCRBY', KEYS[2], ARGV[9], cost)
  redis.call('EXPIRE', KEYS[2], ARGV[10])
end
return { 'ok', math.floor((period - (full_at - now)) * most / period) }
