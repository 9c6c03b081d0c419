-- Takes a text, a user's or one that the agent is to say: opens a turn and mails it to the agent, perhaps in place of
-- all that goes on.
-- KEYS: 1 session, 2 log, 3 mail:agent, 4 ready:agent, 5 seen, 6 deadlines, 7 journal, 8 history, 9 speech,
--       10 mail:tts, 11 spoken
-- ARGV: 3 log_max, 4 message id, 5 its digest, 6 most turns that may wait, 7 body of the event that opens the
--       turn, 8 the mail, 9 body of `interrupted` up to its data ('': the text waits for its turn), 10 the mail's kind
-- Replies: {'ok', seq, turn} | {'repeated', seq} | {'conflict', seq} | {'full'} | {'gone'} | {'ended'}
local no = refusal()
if no then return no end
local known = seen(KEYS[5], ARGV[4], ARGV[5])
if known then return known end
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[6]) then return { 'full' } end
if ARGV[9] ~= '' then
  local keys = {
    log = KEYS[2], speech = KEYS[9], tts = KEYS[10], agent = KEYS[3], history = KEYS[8], spoken = KEYS[11],
  }
  cut_short(keys, '', nil, ARGV[9], false)
end
local turn = redis.call('HINCRBY', session, 'turn', 1)
trim_log(KEYS[2], ARGV[3])
stamp()
keep_alive(KEYS[6])
local seq = append(KEYS[2], ARGV[7], turn)
bring('agent', KEYS[3], KEYS[4], KEYS[7], KEYS[8], 'k', ARGV[10], 't', turn, 'd', ARGV[8])
remember(KEYS[5], ARGV[4], ARGV[5], seq)
return { 'ok', seq, turn }
