-- Takes a dead letter back into its session's mailbox, as new mail. What opened a turn opens a turn of its own: the one
-- that failed is over. A sentence is spoken in its turn.
-- KEYS: 1 session, 2 log, 3 mailbox, 4 ready, 5 dead, 6 seen, 7 journal, 8 history
-- ARGV: 3 log_max, 4 id of this call, 5 the letter's entry, 6 most turns that may wait, 7 the mail, 8 its kind,
--       9 body of the event that opens the turn ('' for a sentence), 10 the sentence's response
-- Replies: {'ok', seq, turn} | {'repeated', seq} | {'missing'} | {'void'}: its turn or response was cut short since
--          | {'full'} | {'gone'} | {'ended'}
local letter, opens = ARGV[5], ARGV[9] ~= ''
local no = refusal()
if no then return no end
local known = seen(KEYS[6], ARGV[4], 0)
if known then return known end
local entry = redis.call('XRANGE', KEYS[5], letter, letter)[1]
if not entry then return { 'missing' } end
local turn = field(entry[2], 'turn')
if not opens and (listed('cancelled', turn) or listed('abandoned', ARGV[10])) then return { 'void' } end
if opens and redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[6]) then return { 'full' } end

if opens then
  turn = redis.call('HINCRBY', session, 'turn', 1)
  trim_log(KEYS[2], ARGV[3])
  stamp()
  append(KEYS[2], ARGV[9], turn)
  bring('agent', KEYS[3], KEYS[4], KEYS[7], KEYS[8], 'k', ARGV[8], 't', turn, 'd', ARGV[7])
else
  bring('tts', KEYS[3], KEYS[4], nil, nil, 'k', ARGV[8], 't', turn, 'r', ARGV[10], 'd', ARGV[7])
end
redis.call('XDEL', KEYS[5], letter)
remember(KEYS[6], ARGV[4], 0, number('seq'))
return { 'ok', number('seq'), tonumber(turn) }
