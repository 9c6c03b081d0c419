-- The first mail behind the cursor, with all that its work needs to go on where it stood. After too many attempts the
-- mail goes to the dead letters, of which the last ones are kept.
-- KEYS: 1 session, 2 log, 3 mailbox, 4 dead, 5 journal, 6 history
-- ARGV: 3 log_max, 4 stage, 5 token, 6 most attempts, 7 body of the error event
-- Replies: {'mail', what `delivery` gives…} | {'empty', cursor} | {'buried', cursor} | {'stale'}
begin_at_memory_limit()
local stage, token = ARGV[4], ARGV[5]
local DEAD_KEPT = 10000
if not fenced(stage, token) then return { 'stale' } end
local cursor = get(stage .. '.cursor') or '0-0'
local entry = first_after(KEYS[3], cursor)
if not entry then return { 'empty', cursor } end
local id, fields = entry[1], entry[2]
local turn = field(fields, 't') or '0'
local given = delivery(stage, id, fields, KEYS[5], KEYS[6])

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
  if given[4] == 0 then
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', DEAD_KEPT, '*', 'sid', get('sid'), 'mail', entry[1], 'to', id,
      'turn', turn, 'error', ARGV[7], 'd', stage == 'stt' and '' or field(fields, 'd') or '')
    append(KEYS[2], ARGV[7], turn ~= '0' and turn or nil)
  end
  if stage == 'agent' then
    set('answered', turn, 'active_turn', '')
    redis.call('DEL', KEYS[5])
    redis.call('HDEL', session, 'response', 'response_from', 'approvals', 'cut:' .. turn)
  end
  if stage ~= 'stt' then redis.call('HDEL', session, stage .. '.note') end
  move_cursor(stage, KEYS[3], id)
  return { 'buried', id }
end

if given[3] > tonumber(ARGV[6]) then return bury() end
return { 'mail', unpack(given) }
