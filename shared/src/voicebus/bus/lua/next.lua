-- The first mail behind the cursor, with all that its work needs to go on where it stood. Counts one attempt for each
-- lease and mail; after too many the mail goes to the dead letters, of which the last ones are kept.
-- KEYS: 1 session, 2 log, 3 mailbox, 4 dead, 5 journal, 6 history
-- ARGV: 3 log_max, 4 stage, 5 token, 6 most attempts, 7 body of the error event, 8… fields of the session
-- Replies: {'mail', id, fields, attempt, cancelled 0/1, note, open response's id, its first seq, journal,
--           history, the session's fields}: the last five for the agent only
--          | {'empty', cursor} | {'buried', cursor} | {'stale'}
begin_at_memory_limit()
local stage, token = ARGV[4], ARGV[5]
local DEAD_KEPT = 10000
if not fenced(stage, token) then return { 'stale' } end
local cursor = get(stage .. '.cursor') or '0-0'
local entry = first_after(KEYS[3], cursor)
if not entry then return { 'empty', cursor } end
local id, fields = entry[1], entry[2]
local turn = field(fields, 't') or '0'
local cancelled = listed('cancelled', turn)

if get(stage .. '.tried') ~= id then
  set(stage .. '.tried', id, stage .. '.attempts', 0, stage .. '.tried_by', '')
end
if get(stage .. '.tried_by') ~= token then
  set(stage .. '.tried_by', token)
  redis.call('HINCRBY', session, stage .. '.attempts', 1)
end

local function bury()
  trim_log(KEYS[2], ARGV[3])
  stamp()
  if stage == 'stt' and field(fields, 'k') == 'audio' then
    -- Audio is worthless without what comes before it: all of the stream that waits goes.
    for _, later in ipairs(redis.call('XRANGE', KEYS[3], id, '+')) do
      if field(later[2], 'k') ~= 'audio' then break end
      id = later[1]
    end
  end
  if not cancelled then
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', DEAD_KEPT, '*', 'sid', get('sid'), 'mail', entry[1], 'to', id,
      'turn', turn, 'error', ARGV[7], 'd', stage == 'stt' and '' or field(fields, 'd') or '')
    append(KEYS[2], ARGV[7], turn ~= '0' and turn or nil)
  end
  if stage == 'agent' then
    set('answered', turn, 'active_turn', '')
    redis.call('DEL', KEYS[5])
    redis.call('HDEL', session, 'response', 'response_from')
  end
  if stage ~= 'stt' then redis.call('HDEL', session, stage .. '.note') end
  move_cursor(stage, KEYS[3], id)
  return { 'buried', id }
end

local attempts = number(stage .. '.attempts')
if attempts > tonumber(ARGV[6]) then return bury() end
local delivery = { 'mail', id, fields, attempts, cancelled and 1 or 0, get(stage .. '.note') or '' }
if stage ~= 'agent' then return delivery end
set('active_turn', turn)
for _, more in ipairs({
  get('response') or '', get('response_from') or '',
  redis.call('LRANGE', KEYS[5], 0, -1), redis.call('LRANGE', KEYS[6], 0, -1),
  redis.call('HMGET', session, unpack(ARGV, 8)),
}) do
  delivery[#delivery + 1] = more
end
return delivery
