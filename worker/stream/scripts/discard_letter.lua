-- Closes a dead letter without adding anything.
-- KEYS: dead letters, their states
-- ARGV: letter id, state as JSON
-- Returns {done, closed or gone; state}: done by this call, closed by an earlier one.
local id = ARGV[1]
local before = redis.call('HGET', KEYS[2], id)
if before then return {'closed', before} end
if #redis.call('XRANGE', KEYS[1], id, id) == 0 then return {'gone', ''} end
redis.call('HSET', KEYS[2], id, ARGV[2])
return {'done', ARGV[2]}
