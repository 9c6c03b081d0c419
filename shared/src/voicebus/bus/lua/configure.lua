-- Changes a field of the session (its mode, its agent) on a client's word, with an event if there is one.
-- KEYS: 1 session, 2 log, 3 seen, 4 deadlines
-- ARGV: 3 log_max, 4 message id, 5 its digest, 6 field, 7 value, 8 body of the event ('' none)
-- Replies: {'ok', seq} | {'repeated', seq} | {'conflict', seq} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[3], ARGV[4], ARGV[5])
if known then return known end
set(ARGV[6], ARGV[7])
stamp()
keep_alive(KEYS[4])
local seq = ARGV[8] ~= '' and append(KEYS[2], ARGV[8]) or number('seq')
remember(KEYS[3], ARGV[4], ARGV[5], seq)
return { 'ok', seq }
