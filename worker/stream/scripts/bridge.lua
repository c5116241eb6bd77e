-- Adds messages of a channel to the orders, each once, however often and by however many bridges it is
-- called.
-- KEYS: orders, how far this stretch of the channel has been added
-- ARGV: how long that is remembered in ms, number of the first message, then the messages in order
-- Returns how many were added; the others were added before.
local first = tonumber(ARGV[2])
local last = first + #ARGV - 3
local before = tonumber(redis.call('GET', KEYS[2]) or 0)
if last <= before then return 0 end
-- The number first: where it can't be written nothing has been added. Scripts do not roll back, so a refused
-- XADD has to take it back.
redis.call('SET', KEYS[2], last, 'PX', ARGV[1])
local added = 0
for number = math.max(first, before + 1), last do
  local reply = redis.pcall('XADD', KEYS[1], '*', 'payload', ARGV[number - first + 3])
  if type(reply) == 'table' and reply.err then
    redis.call('SET', KEYS[2], number - 1, 'PX', ARGV[1])
    return redis.error_reply(reply.err)
  end
  added = added + 1
end
return added
