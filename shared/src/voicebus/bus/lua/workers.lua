-- The workers that live, the one that spoke last first.
-- KEYS: 1 workers by the ms since 1970 when they said so, 2 hash: what each says of itself
-- ARGV: 3 ms after which one is forgotten, 4 most workers
-- Replies: {{ms since it said so, what it says}, …}
local now, found = clock(), {}
local alive = redis.call('ZRANGE', KEYS[1], '+inf', '(' .. string.format('%.0f', now - ARGV[3]), 'BYSCORE', 'REV',
  'LIMIT', 0, ARGV[4], 'WITHSCORES')
for i = 1, #alive, 2 do
  local said = redis.call('HGET', KEYS[2], alive[i])
  if said then found[#found + 1] = { now - alive[i + 1], said } end
end
return found
