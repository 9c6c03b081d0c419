-- Makes tokens that were issued up to now void, and tells every gateway. Forgets what is older than any token.
-- KEYS: 1 hash: `user|<sub>` or `login|<sid>` to seconds since 1970
-- ARGV: 3 the field, 4 how long to keep in seconds, 5 channel
-- Replies: {'ok', seconds since 1970}
begin_at_memory_limit()
local now = math.floor(clock() / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) < now - ARGV[4] then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('HSET', KEYS[1], ARGV[3], now)
publish(ARGV[5], ARGV[3] .. '|' .. now)
return { 'ok', now }
