-- Lets go of what nobody can need: entries every group has done with, results, marks of entries that can't come back.
-- KEYS: orders, settled marks, results, dead letters, marks of the version before, trimmed entries of each group
-- ARGV: group, id of the oldest entry to keep (empty: keep all), most results (0: keep all), most to let go at once
-- Returns {orders trimmed, marks dropped, results trimmed, 1 where more can go}. Repeatable.
local orders, marks, results, letters, before = unpack(KEYS)
local own, keep_from, most_results, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local last_of_all = '18446744073709551615-18446744073709551615'

-- include: marks
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

local orders_needed = needed(orders)
-- Without its group (it may just have been lost) nobody knows what it has read.
if not orders_needed[own] then return {0, 0, 0, 0} end
local needed_by_any = last_of_all
for _, id in pairs(orders_needed) do needed_by_any = first_of(needed_by_any, id) end

local trimmed, more = 0, 0
if keep_from ~= '' then
  local limit = first_of(keep_from, needed_by_any)
  -- Whole nodes first, since only that takes a LIMIT; what is left of the last one is less than a node.
  local step
  repeat
    step = redis.call('XTRIM', orders, 'MINID', '~', limit, 'LIMIT', most)
    trimmed = trimmed + step
  until step == 0 or trimmed >= most
  if step == 0 then trimmed = trimmed + redis.call('XTRIM', orders, 'MINID', '=', limit) else more = 1 end
end

local results_trimmed = 0
if most_results > 0 then
  local limit = last_of_all
  for _, id in pairs(needed(results)) do limit = first_of(limit, id) end
  local excess = redis.call('XLEN', results) - most_results
  if excess > 0 then
    results_trimmed = redis.call('XTRIM', results, 'MINID', '~', limit, 'LIMIT', math.min(excess, most))
    if excess > most and results_trimmed > 0 then more = 1 end
  end
end

-- An entry that is neither in the stream nor pending for any group can't be delivered again. What is older than the last
-- delivered id of each only: a group made anew begins at 0, and has nothing pending yet. One that was trimmed while it was
-- pending is in neither, and comes again all the same as long as it is noted: until then no mark goes.
local noted = false
for place = 6, #KEYS do noted = noted or redis.call('EXISTS', KEYS[place]) == 1 end
local kept_from = needed_by_any
local first = redis.call('XRANGE', orders, '-', '+', 'COUNT', 1)[1]
if first then kept_from = first_of(kept_from, first[1]) end
kept_from = string.match(kept_from, '^%d+')
local function drop(key)
  local dropped = 0
  if noted then return dropped end
  local due = redis.call('ZCOUNT', key, '-inf', '(' .. kept_from)
  if due > 0 then
    -- In the same step settle learns from where on marks tell: a process that slept longer than they were kept may
    -- still settle what others have settled.
    if key == before then
      redis.call('ZADD', key, 'GT', kept_from, 'horizon')
      due = redis.call('ZCOUNT', key, '-inf', '(' .. kept_from)
    end
    if tonumber(kept_from) > (known.horizon or 0) then know('horizon', tonumber(kept_from)) end
    if due > 0 then dropped = dropped + redis.call('ZREMRANGEBYRANK', key, 0, math.min(due, most) - 1) end
    if due > most then more = 1 end
  end
  return dropped
end
-- A mark that stands in both counts once.
return {trimmed, math.max(drop(marks), drop(before)), results_trimmed, more}
