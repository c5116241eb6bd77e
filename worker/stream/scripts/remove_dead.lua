-- Removes consumers that hold nothing and have not been heard of for long; never the one that asks.
-- KEYS: orders
-- ARGV: group, consumer, least idle ms
-- Returns the names removed.
-- include: named
local removed = {}
if redis.call('EXISTS', KEYS[1]) == 0 then return removed end
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = named(each)
  -- Removing a consumer destroys what is pending for it.
  if consumer['name'] ~= ARGV[2] and consumer['pending'] == 0 and consumer['idle'] >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    removed[#removed + 1] = consumer['name']
  end
end
return removed
