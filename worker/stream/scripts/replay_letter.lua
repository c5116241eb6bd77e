-- Closes a dead letter and adds the entry that replays it, once, however often it is called.
-- KEYS: dead letters, their states, orders
-- ARGV: letter id, state as JSON without `replayed_as`, 1 where the entry is of an order that the letter does
--   not name (else empty), then names and values of the new entry
-- Returns {done, closed or gone; state}: done by this call, closed by an earlier one. Among the states stands
-- `renamed`, the last entry of an order that its letter does not name: whoever keeps rows for the orders of
-- letters looks through them again.
local id = ARGV[1]
local before = redis.call('HGET', KEYS[2], id)
if before then return {'closed', before} end
if #redis.call('XRANGE', KEYS[1], id, id) == 0 then return {'gone', ''} end
-- Asked before anything is written: unpack would fail beyond redis.pcall.
if #ARGV > 7000 then return redis.error_reply('ERR too many fields for one entry') end
-- Whatever may not be done later is refused here, where it has no effect yet.
redis.call('HDEL', KEYS[2], id)
-- The state first: where it can't be written nothing has been added. Scripts do not roll back, so a refused
-- XADD has to take it back.
redis.call('HSET', KEYS[2], id, ARGV[2])
local added = redis.pcall('XADD', KEYS[3], '*', unpack(ARGV, 4))
if type(added) == 'table' and added.err then
  redis.call('HDEL', KEYS[2], id)
  return redis.error_reply(added.err)
end
local state = string.sub(ARGV[2], 1, -2) .. ',"replayed_as":"' .. added .. '"}'
redis.call('HSET', KEYS[2], id, state)
if ARGV[3] == '1' then redis.call('HSET', KEYS[2], 'renamed', added) end
return {'done', state}
