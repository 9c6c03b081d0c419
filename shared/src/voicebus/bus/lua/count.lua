-- Counts a name among others, each for some time: messages of a minute, open connections. A name counts once.
-- KEYS: 1 sorted set: names by the ms since 1970 until which they count, 2 usage, where it is kept
-- ARGV: 3 the name, 4 most, 5 how long it counts in ms, 6 'renewed': its time begins anew ('': it goes on),
--       7 the usage's field, 8 how long usage is kept in seconds
-- Replies: {'ok', how many count; 0 if the name did already} | {'limit', ms until one of them doesn't}
local now, most = clock(), tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known, count = redis.call('ZSCORE', KEYS[1], ARGV[3]), redis.call('ZCARD', KEYS[1])
if not known and count >= most then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return { 'limit', (first[2] or now + ARGV[5]) - now }
end
if not known or ARGV[6] ~= '' then
  redis.call('ZADD', KEYS[1], now + ARGV[5], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
if not known and KEYS[2] then
  redis.call('HINCRBY', KEYS[2], ARGV[7], 1)
  redis.call('EXPIRE', KEYS[2], ARGV[8])
end
return { 'ok', known and 0 or count + 1 }
