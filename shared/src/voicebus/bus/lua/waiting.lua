-- What waits for workers in a partition, stage by stage.
-- KEYS: 1 to 3 sessions by the ms since 1970 until which they are leased (ready, of stt, agent and tts), 4 to 6 dead
-- ARGV: 3 most sessions to name of those with the lowest scores, and of those with the highest
-- Replies: {{how many wait, dead letters, {session id, …}} for each stage}
local now, most, stages = clock(), tonumber(ARGV[3]), {}
for i = 1, 3 do
  local count = redis.call('ZCOUNT', KEYS[i], '-inf', now)
  local named = {}
  if count > 0 then
    named = redis.call('ZRANGE', KEYS[i], '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
    if count > most then
      local last = redis.call('ZRANGE', KEYS[i], now, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, most)
      for _, sid in ipairs(last) do named[#named + 1] = sid end
    end
  end
  stages[i] = { count, redis.call('XLEN', KEYS[i + 3]), named }
end
return stages
