-- A worker says that it lives. Those that were silent for too long are forgotten.
-- KEYS: 1 workers by the ms since 1970 when they said so, 2 hash: what each says of itself
-- ARGV: 3 name, 4 what it says ('': it leaves), 5 ms after which one is forgotten, 6 most workers
-- Replies: {'ok'} | {'full'}
local now = clock()
-- The first write needs no memory, so that workers are seen at the memory limit, too.
redis.call('HDEL', KEYS[2], '')
for _, silent in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now - ARGV[5], 'BYSCORE', 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], silent)
  redis.call('HDEL', KEYS[2], silent)
end
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[1], ARGV[3])
  redis.call('HDEL', KEYS[2], ARGV[3])
  return { 'ok' }
end
if not redis.call('ZSCORE', KEYS[1], ARGV[3]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then
  return { 'full' }
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return { 'ok' }
