-- What the server says of itself.
-- KEYS: 1 any key of the server
-- ARGV: none
-- Replies: {INFO's text}
return { redis.call('INFO') }
