-- Sessions of a partition whose time, in ms since 1970, has come: the earliest first.
-- KEYS: 1 sessions by time: ready, or deadlines
-- ARGV: 3 most
-- Replies: {session id, …}
return redis.call('ZRANGE', KEYS[1], '-inf', clock(), 'BYSCORE', 'LIMIT', 0, ARGV[3])
