-- Makes entries that nobody holds pending again, under their own ids, to be claimed at once.
-- KEYS: orders, trimmed entries
-- ARGV: group, consumer, lease ms, then entry ids
-- Returns the ids that were made pending. Repeatable: what is pending, noted or not there is left alone.
local made = {}
for i = 4, #ARGV do
  local id = ARGV[i]
  if #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1) == 0
    and not redis.call('ZSCORE', KEYS[2], id)
    and #redis.call('XRANGE', KEYS[1], id, id) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id,
      'IDLE', ARGV[3], 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
    made[#made + 1] = id
  end
end
return made
