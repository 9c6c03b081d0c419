-- Opens a session, once.
-- KEYS: 1 session, 2 log, 3 deadlines
-- ARGV: 3 log_max, 4 body of session_start, 5 field, 6 value, …
-- Replies: {'opened', seq} | {'exists'}
if get('sid') then return { 'exists' } end
-- With a long value Redis finds fields by their hash; a hash of short ones it would search from its beginning.
set('status', 'open', 'padding', string.rep(' ', 65), unpack(ARGV, 5))
stamp()
keep_alive(KEYS[3])
return { 'opened', append(KEYS[2], ARGV[4]) }
