-- Has a channel be heard at one server alone, wherever it was heard before: see bridge.lua.
-- KEYS: the fence of the channel, whether it was moved lately
-- ARGV: run id of the server, token of this move, for how long a move is late in ms, how long the fence is
-- remembered in ms
-- Returns the fence as it is now, and for how many ms more it was moved lately.
local at = ARGV[1] .. ':'
local fence = redis.call('GET', KEYS[1])
if not fence or string.sub(fence, 1, #at) ~= at then
  -- In this order: where only the first can be written, somebody waits in vain.
  if fence then redis.call('SET', KEYS[2], '', 'PX', ARGV[3]) end
  fence = at .. ARGV[2]
  redis.call('SET', KEYS[1], fence, 'PX', ARGV[4])
end
return {fence, math.max(0, redis.call('PTTL', KEYS[2]))}
