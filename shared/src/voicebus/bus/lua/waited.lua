-- How long the first mail behind a stage's cursor has waited for a worker: since it came, or since its worker fell silent.
-- KEYS: 1 session, 2 mailbox, 3 ready
-- ARGV: 3 stage
-- Replies: {ms} | {} if there is none
local entry = first_after(KEYS[2], get(ARGV[3] .. '.cursor') or '0-0')
if not entry then return {} end
local lapsed = tonumber(redis.call('ZSCORE', KEYS[3], get('sid')) or '0')
return { clock() - math.max(lapsed, tonumber(string.match(entry[1], '^%d+'))) }
