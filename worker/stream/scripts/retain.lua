-- Lets go of what nobody can need: entries every group has done with, results, marks of entries that can't come back.
-- KEYS: orders, settled marks, results
-- ARGV: group, id of the oldest entry to keep (empty: keep all), most results (0: keep all), most to let go at once
-- Returns {orders trimmed, marks dropped, results trimmed, 1 where more can go}. Repeatable.
local own, keep_from, most_results, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local last_of_all = '18446744073709551615-18446744073709551615'

-- include: named
-- include: ids
local function first_of(one, other) return earlier(one, other) and one or other end

-- Returns the first id that each group of a stream still needs, by name: its oldest pending, or its last delivered.
local function needed(key)
  local first = {}
  if redis.call('EXISTS', key) == 0 then return first end
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = named(each)
    local oldest = redis.call('XPENDING', key, group['name'])[2]
    local delivered = group['last-delivered-id']
    first[group['name']] = oldest and first_of(oldest, delivered) or delivered
  end
  return first
end

local orders_needed = needed(KEYS[1])
-- Without its group (it may just have been lost) nobody knows what it has read.
if not orders_needed[own] then return {0, 0, 0, 0} end

local trimmed, more = 0, 0
if keep_from ~= '' then
  local limit = keep_from
  for _, id in pairs(orders_needed) do limit = first_of(limit, id) end
  -- Whole nodes first, since only that takes a LIMIT; what is left of the last one is less than a node.
  local step
  repeat
    step = redis.call('XTRIM', KEYS[1], 'MINID', '~', limit, 'LIMIT', most)
    trimmed = trimmed + step
  until step == 0 or trimmed >= most
  if step == 0 then trimmed = trimmed + redis.call('XTRIM', KEYS[1], 'MINID', '=', limit) else more = 1 end
end

local results = 0
if most_results > 0 then
  local limit = last_of_all
  for _, id in pairs(needed(KEYS[3])) do limit = first_of(limit, id) end
  local excess = redis.call('XLEN', KEYS[3]) - most_results
  if excess > 0 then
    results = redis.call('XTRIM', KEYS[3], 'MINID', '~', limit, 'LIMIT', math.min(excess, most))
    if excess > most and results > 0 then more = 1 end
  end
end

-- An entry that is neither in the stream nor pending for us can't be delivered again. What is older than our last
-- delivered id only: a group made anew begins at 0, and has nothing pending yet.
local horizon = orders_needed[own]
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then horizon = first_of(horizon, first[1]) end
local before = string.match(horizon, '^%d+')
local dropped = 0
if redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. before) > 0 then
  -- In the same step settle learns from where on marks tell: a process that slept longer than they were kept may
  -- still settle what others have settled.
  redis.call('ZADD', KEYS[2], 'GT', before, 'horizon')
  local due = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. before)
  if due > 0 then dropped = redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(due, most) - 1) end
  if due > most then more = 1 end
end
return {trimmed, dropped, results, more}
