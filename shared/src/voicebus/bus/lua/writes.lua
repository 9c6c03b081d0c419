-- A worker's numbered write. Put in front of the scripts that apply one.
-- ARGV: 4 stage
local TOKEN, LAST, ITS_RESULT = ARGV[4] .. '.token', ARGV[4] .. '.number', ARGV[4] .. '.result'

-- The reply where it is not to be applied, or nil and the log's head.
local function begin_write(token, this, turn, response)
  local owner, last, cancelled, abandoned, known, seq = unpack(redis.call('HMGET', session,
    TOKEN, LAST, 'cancelled', 'abandoned', 'epoch', 'seq'))
  if not is_valid(token, owner) then return { 'stale' } end
  this, last = tonumber(this), tonumber(last or '0')
  if this <= last then return { 'repeated', number(ITS_RESULT), 1 } end
  if this ~= last + 1 then return { 'gap', last } end
  if turn ~= '0' and among(cancelled, turn) or among(abandoned, response) then return { 'cancelled' } end
  if known ~= epoch() then stamp() end
  return nil, tonumber(seq or '0')
end
