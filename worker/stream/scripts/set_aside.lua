-- Notes entries that can be neither settled nor buried, for people; what nobody notes again is forgotten.
-- KEYS: entries set aside
-- ARGV: for how long a note stands in ms, entry ids
local stands_ms = tonumber(ARGV[1])
-- include: clock
local now = clock('')
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[place]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - stands_ms)
redis.call('PEXPIRE', KEYS[1], stands_ms)
