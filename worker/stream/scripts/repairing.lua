-- Lets a repair begin, or go on.
-- KEYS: repairs, published again
-- ARGV: token, now in ms (empty: the server's), in how many ms it must have been heard of again, 1 where it
--   begins
-- Returns 1, or 0 where a repair that goes on was not heard of for too long.
-- include: clock
local now = clock(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
local others = redis.call('ZCARD', KEYS[1])
if ARGV[4] == '1' then
  -- Nobody is left who may have looked before it was written: whoever looks from now on finds the results
  -- themselves.
  if others == 0 then redis.call('DEL', KEYS[2]) end
elseif not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
-- Nobody is left who relies on them when none was heard of for a day.
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 86400000) end
return 1
