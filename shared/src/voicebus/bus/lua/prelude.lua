-- Put in front of every script.
-- KEYS: 1 session hash   ARGV: 1 PUBLISH or SPUBLISH, 2 the time in ms since 1970 ('' = the server's)
local session = KEYS[1]

local function get(field)
  return redis.call('HGET', session, field) or nil
end

local function number(field)
  return tonumber(get(field) or '0')
end

local function set(...)
  redis.call('HSET', session, ...)
end

local function publish(channel, message)
  redis.call(ARGV[1], channel, message)
end

local function clock()
  if ARGV[2] ~= '' then return tonumber(ARGV[2]) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A script whose first write needs no memory runs to its end at the memory limit: workers' scripts begin with this.
local function begin_at_memory_limit()
  redis.call('HDEL', session, '')
end

-- The executing server's epoch. It is asked each time: a value read at connect goes stale on failover.
local known_epoch
local function epoch()
  if not known_epoch then
    known_epoch = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 8)
  end
  return known_epoch
end

-- Notes (epoch, first seq, first n) when the server's history is another one than at the last write.
local function stamp()
  if get('epoch') ~= epoch() then
    local entry = epoch() .. ':' .. (number('seq') + 1) .. ':' .. (number('n') + 1) .. ','
    set('epochs', (get('epochs') or '') .. entry, 'epoch', epoch())
  end
end

local function trim_log(log, keep)
  redis.call('XTRIM', log, 'MAXLEN', '~', keep)
end

-- `opening` is '{"seq":N,' or '{"seq":N,"turn":T,'; `body` the serialised event without its opening brace.
local function append(log, body, turn)
  local seq = redis.call('HINCRBY', session, 'seq', 1)
  local event = '{"seq":' .. seq .. ',' .. (turn and '"turn":' .. turn .. ',' or '') .. body
  redis.call('XADD', log, seq .. '-0', 'e', event)
  publish(session .. ':live', 'e|' .. epoch() .. '|' .. seq .. '|' .. event)
  return seq
end

-- Wakes the owner of a leased stage, with a word and what goes along with it.
local function wake(stage, word, more)
  local owner = get(stage .. '.owner')
  if owner then publish(owner, word .. '|' .. get('sid') .. '|' .. (more or '')) end
end

-- Whether the token is the one of the last lease, taken in this epoch.
local function is_valid(token, owner)
  return owner == token and string.sub(token, -8) == epoch()
end

local function fenced(stage, token)
  return is_valid(token, get(stage .. '.token'))
end

local function first_after(mailbox, cursor)
  return redis.call('XRANGE', mailbox, '(' .. cursor, '+', 'COUNT', 1)[1]
end

-- `fields` is the flat list of a stream entry.
local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function move_cursor(stage, mailbox, id)
  set(stage .. '.cursor', id)
  redis.call('XTRIM', mailbox, 'MINID', id)
  redis.call('XDEL', mailbox, id)
end

-- Cancelled turns and abandoned responses are short lists in one field: ',3,9,'.
local function among(items, item)
  return item ~= '' and items and string.find(items, ',' .. item .. ',', 1, true) ~= nil
end

local function listed(list, item)
  return among(get(list), item)
end

local function note(list, item, keep)
  local items = {}
  for old in string.gmatch(get(list) or '', '[^,]+') do items[#items + 1] = old end
  items[#items + 1] = item
  set(list, ',' .. table.concat(items, ',', math.max(1, #items - keep + 1)) .. ',')
end

-- What a stage's worker gets for the first mail behind its cursor; counts one attempt for each lease and mail.
-- {id, fields, attempt, cancelled 0/1, note}, for the agent also {open response's id, its first seq, journal, history,
-- the session's fields}.
local function delivery(stage, id, fields, journal, history)
  local turn, token = field(fields, 't') or '0', get(stage .. '.token')
  if get(stage .. '.tried') ~= id then
    set(stage .. '.tried', id, stage .. '.attempts', 0, stage .. '.tried_by', '')
  end
  if get(stage .. '.tried_by') ~= token then
    set(stage .. '.tried_by', token)
    redis.call('HINCRBY', session, stage .. '.attempts', 1)
  end
  local attempts, cancelled = number(stage .. '.attempts'), listed('cancelled', turn) and 1 or 0
  local given = { id, fields, attempts, cancelled, get(stage .. '.note') or '' }
  if stage ~= 'agent' then return given end
  set('active_turn', turn)
  given[6], given[7] = get('response') or '', get('response_from') or ''
  given[8], given[9] = redis.call('LRANGE', journal, 0, -1), redis.call('LRANGE', history, 0, -1)
  given[10] = redis.call('HMGET', session, unpack(SESSION_FIELDS))
  return given
end

-- Appends to a mailbox. An idle stage enters the ready set and its doorbell rings. Returns the mail's id, and whether
-- the stage has an owner, who is to be woken unless it polls.
local function post(stage, mailbox, ready, ...)
  local id = redis.call('XADD', mailbox, '*', ...)
  local state = get(stage .. '.state') or 'idle'
  if state == 'idle' then
    set(stage .. '.state', 'queued')
    redis.call('ZADD', ready, 0, get('sid'))
    publish(ready .. ':bell', get('sid'))
  end
  return id, state == 'leased'
end

-- Appends to a mailbox and sees that somebody reads it.
local function mail(stage, mailbox, ready, ...)
  local _, owned = post(stage, mailbox, ready, ...)
  if owned then wake(stage, 'wake') end
end

-- As `mail`; a mail that nothing waits before goes along with the wake-up: its worker needs not ask.
local BROUGHT_MOST = 262144
local function bring(stage, mailbox, ready, journal, history, ...)
  local alone = redis.call('XLEN', mailbox) == 0
  local id, owned = post(stage, mailbox, ready, ...)
  if not owned then return end
  local brought = alone and cmsgpack.pack(delivery(stage, id, { ... }, journal, history))
  if brought and #brought <= BROUGHT_MOST then
    wake(stage, 'mail', get(stage .. '.token') .. '|' .. brought)
  else
    wake(stage, 'wake')
  end
end

-- Removes a turn's (or one response's) sentences, which wait to be spoken.
local function withdraw(mailbox, turn, response)
  for _, entry in ipairs(redis.call('XRANGE', mailbox, '-', '+')) do
    if field(entry[2], 't') == turn and (not response or field(entry[2], 'r') == response) then
      redis.call('XDEL', mailbox, entry[1])
    end
  end
end

-- Client messages: the id's score holds the seq it was acknowledged with and 20 bits of its content's hash.
local SHIFT = 1048576

local function seen(ids, id, digest)
  if id == '' then return nil end
  local score = redis.call('ZSCORE', ids, id)
  if not score then return nil end
  score = tonumber(score)
  return { score % SHIFT == tonumber(digest) and 'repeated' or 'conflict', math.floor(score / SHIFT) }
end

local function remember(ids, id, digest, seq)
  if id == '' then return end
  redis.call('ZADD', ids, string.format('%.0f', seq * SHIFT + tonumber(digest)), id)
  redis.call('ZREMRANGEBYRANK', ids, 0, -4097)
end

-- Why a session with this status takes no input, or nil.
local function refusal_by(status)
  if not status then return { 'gone' } end
  if status ~= 'open' then return { 'ended' } end
end

local function refusal()
  return refusal_by(get('status'))
end

-- Input moves the session's end on, at most once a minute (or tenth of the session's ttl).
local function move_end(deadlines, time, ttl, last)
  ttl, last = tonumber(ttl or '0'), tonumber(last or '0')
  local deadline = time + ttl
  if deadline - last > math.min(60000, ttl / 10) then
    set('deadline', deadline)
    redis.call('ZADD', deadlines, deadline, get('sid'))
  end
end

local function keep_alive(deadlines)
  move_end(deadlines, clock(), unpack(redis.call('HMGET', session, 'ttl_ms', 'deadline')))
end
