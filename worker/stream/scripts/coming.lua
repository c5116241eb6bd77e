-- Tells from when on entries may still come again.
-- KEYS: orders, trimmed entries of each group
-- ARGV: group
-- Returns the time in ms of the oldest entry that is kept, or pending for any group, or was read last by one,
-- whichever is first; nothing where nobody can know: without the group (it may just have been lost), and
-- while an entry is noted that was trimmed while it was pending.
local orders, own = KEYS[1], ARGV[1]
-- include: named
-- include: ids
-- include: needed
for place = 2, #KEYS do
  if redis.call('EXISTS', KEYS[place]) == 1 then return nil end
end
local first = needed(orders)
if not first[own] then return nil end
return string.match(kept_from_of(orders, first), '^%d+')
