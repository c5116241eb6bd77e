-- Adds messages of a channel to the orders, each once, however often and by however many bridges it is
-- called.
-- KEYS: orders, how far this stretch of the channel has been added, the fence of the channel
-- ARGV: how long these are remembered in ms, the fence behind which the messages were heard or '', number of
-- the first message, then the messages in order
-- Returns how many were added; the others were added before. Adds nothing and returns -1 where the channel is
-- heard behind another fence by now: at another server the same numbers mean other messages.
local fence = redis.call('GET', KEYS[3])
if ARGV[2] ~= '' and fence and fence ~= ARGV[2] then return -1 end
local first = tonumber(ARGV[3])
local last = first + #ARGV - 4
local before = tonumber(redis.call('GET', KEYS[2]) or 0)
if last <= before then return 0 end
-- So that it is known for as long as what was added behind it.
if ARGV[2] ~= '' then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[1]) end
-- The number first: where it can't be written nothing has been added. Scripts do not roll back, so a refused
-- XADD has to take it back.
redis.call('SET', KEYS[2], last, 'PX', ARGV[1])
local added = 0
for number = math.max(first, before + 1), last do
  local reply = redis.pcall('XADD', KEYS[1], '*', 'payload', ARGV[number - first + 4])
  if type(reply) == 'table' and reply.err then
    redis.call('SET', KEYS[2], number - 1, 'PX', ARGV[1])
    return redis.error_reply(reply.err)
  end
  added = added + 1
end
return added
