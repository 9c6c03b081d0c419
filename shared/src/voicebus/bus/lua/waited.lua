-- How long the first mail behind a stage's cursor has waited.
-- KEYS: 1 session, 2 mailbox
-- ARGV: 3 stage
-- Replies: {ms} | {} if there is none
local entry = first_after(KEYS[2], get(ARGV[3] .. '.cursor') or '0-0')
if not entry then return {} end
return { clock() - tonumber(string.match(entry[1], '^%d+')) }
