-- Lists what is pending for this consumer, with counts and fields, from an entry id on.
-- KEYS: orders, trimmed entries
-- ARGV: group, consumer, first entry id, page size, now in ms
-- Returns {{entry id, count, fields}, ...}; fields are empty where the entry was trimmed.
local found = {}
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])) do
  local entry = redis.call('XRANGE', KEYS[1], pending[1], pending[1])
  if #entry == 0 then
    redis.call('ZADD', KEYS[2], 'NX', ARGV[5], pending[1])
    redis.call('XACK', KEYS[1], ARGV[1], pending[1])
    found[#found + 1] = {pending[1], pending[4], {}}
  else
    found[#found + 1] = {pending[1], pending[4], entry[1][2]}
  end
end
return found
