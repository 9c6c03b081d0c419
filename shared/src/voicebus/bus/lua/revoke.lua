-- Makes tokens that were issued up to now void, and tells every gateway. Forgets what is older than any token.
-- KEYS: 1 sorted set: `user|<sub>` or `login|<sid>` by seconds since 1970
-- ARGV: 3 the field, 4 how long to keep in seconds, 5 channel
-- Replies: {'ok', seconds since 1970}
local now = math.floor(clock() / 1000)
-- A first write that needs no memory: so it runs to its end at the memory limit.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now - ARGV[4])
redis.call('ZADD', KEYS[1], now, ARGV[3])
publish(ARGV[5], ARGV[3] .. '|' .. now)
return { 'ok', now }
