-- Tells how entries stand, all at one instant.
-- KEYS: orders, settled marks, trimmed entries
-- ARGV: group, then entry ids
-- Returns one word for each: p pending, w waiting to be delivered, n trimmed while it was pending, m marked as settled,
-- h older than any mark that is kept
-- include: named
-- include: ids
local group, delivered, there = ARGV[1], '0-0', redis.call('EXISTS', KEYS[1]) == 1
local grouped = false
if there then
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    each = named(each)
    if each['name'] == group then delivered, grouped = each['last-delivered-id'], true end
  end
end
local horizon = tonumber(redis.call('ZSCORE', KEYS[2], 'horizon') or 0)

local fates = {}
for i = 2, #ARGV do
  local id, fate = ARGV[i], ''
  if grouped and #redis.call('XPENDING', KEYS[1], group, id, id, 1) > 0 then fate = fate .. 'p' end
  -- Without its group everything that is there will be delivered: it is made anew at the beginning.
  if there and earlier(delivered, id) and #redis.call('XRANGE', KEYS[1], id, id) > 0 then fate = fate .. 'w' end
  if redis.call('ZSCORE', KEYS[3], id) then fate = fate .. 'n' end
  if redis.call('ZSCORE', KEYS[2], id) then fate = fate .. 'm' end
  if tonumber(string.match(id, '^%d+')) < horizon then fate = fate .. 'h' end
  fates[#fates + 1] = fate
end
return fates
