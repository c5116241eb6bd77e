-- Tells how entries stand, all at one instant.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries, marks of the version before, unknown
-- ARGV: group, then marks: entry ids, maybe with `:` and content behind them
-- Returns {since when marks of results are complete, those of letters, since when both were looked through
-- (may be empty), one word for each: p pending, w waiting to be delivered, n trimmed while it was pending, m
-- marked as settled, h older than any mark that is kept, u nobody can know whether its result was published}
local orders, results, letters, marks, trimmed, before, unknown = unpack(KEYS)
-- include: marks
-- include: named
-- include: ids
local group, delivered, there = ARGV[1], '0-0', redis.call('EXISTS', orders) == 1
local grouped = false
if there then
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', orders)) do
    each = named(each)
    if each['name'] == group then delivered, grouped = each['last-delivered-id'], true end
  end
end

local fates = {}
for i = 2, #ARGV do
  local mark, id, fate = ARGV[i], string.match(ARGV[i], '^%d+%-%d+'), ''
  if grouped and #redis.call('XPENDING', orders, group, id, id, 1) > 0 then fate = fate .. 'p' end
  -- Without its group everything that is there will be delivered: it is made anew at the beginning.
  if there and earlier(delivered, id) and #redis.call('XRANGE', orders, id, id) > 0 then
    fate = fate .. 'w'
  end
  if redis.call('ZSCORE', trimmed, id) then fate = fate .. 'n' end
  if marked(mark) then fate = fate .. 'm' end
  if milliseconds(id) < horizon then fate = fate .. 'h' end
  if redis.call('ZSCORE', unknown, id) then fate = fate .. 'u' end
  fates[#fates + 1] = fate
end
return {string.format('%.0f', results_since), string.format('%.0f', letters_since),
  known.walked and string.format('%.0f', known.walked) or '', fates}
