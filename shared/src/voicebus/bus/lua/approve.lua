-- Takes a client's word on a tool call that waits for it; the first word counts.
-- KEYS: 1 session, 2 seen, 3 deadlines
-- ARGV: 3 message id, 4 its digest, 5 tool_call_id, 6 'approved' or 'denied', 7 reason
-- Replies: {'ok', seq} | {'repeated', seq} | {'conflict', seq} | {'unknown'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[2], ARGV[3], ARGV[4])
if known then return known end
local asked = cjson.decode(get('approvals') or '{}')
local request = asked[ARGV[5]]
if not request or request.state ~= 'pending' or request.expires_ms <= clock() then return { 'unknown' } end
if request.turn ~= get('active_turn') then return { 'unknown' } end
request.state, request.reason = ARGV[6], ARGV[7]
set('approvals', cjson.encode(asked))
stamp()
keep_alive(KEYS[3])
remember(KEYS[2], ARGV[3], ARGV[4], number('seq'))
if get('agent.state') == 'leased' then wake('agent', 'wake') end
return { 'ok', number('seq') }
