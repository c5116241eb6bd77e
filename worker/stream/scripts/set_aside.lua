-- Notes entries that can be neither settled nor buried, for people; what nobody notes again is forgotten.
-- KEYS: entries set aside
-- ARGV: for how long a note stands in ms, entry ids
local aside, stands_ms = KEYS[1], tonumber(ARGV[1])
-- include: clock
local now = clock('')
for place = 2, #ARGV do redis.call('ZADD', aside, now, ARGV[place]) end
redis.call('ZREMRANGEBYSCORE', aside, '-inf', now - stands_ms)
redis.call('PEXPIRE', aside, stands_ms)
