-- Lets go of what nobody can need: entries every group has done with, results, marks of entries that can't
-- come back.
-- KEYS: orders, settled marks, results, dead letters, marks of the version before, trimmed entries of each
--   group
-- ARGV: group, id of the oldest entry to keep (empty: keep all), most results (0: keep all), most to let go
--   at once, for how many ms marks stay of what can't come back, now in ms (empty: the server's), for how
--   many ms every result is kept (0: as long as it takes)
-- Returns {orders trimmed, marks dropped, results trimmed, 1 where more can go}. Repeatable.
local orders, marks, results, letters, before = unpack(KEYS)
local own, keep_from = ARGV[1], ARGV[2]
local most_results, most, stay = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local results_stay = tonumber(ARGV[7])

-- include: clock
-- include: marks
-- include: named
-- include: ids
-- include: needed
local asked_at = clock(ARGV[6])
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
  if results_stay > 0 then limit = string.format('%.0f-0', math.max(asked_at - results_stay, 0)) end
  for _, id in pairs(needed(results)) do limit = first_of(limit, id) end
  local excess = redis.call('XLEN', results) - most_results
  if excess > 0 then
    results_trimmed = redis.call('XTRIM', results, 'MINID', '~', limit, 'LIMIT', math.min(excess, most))
    if excess > most and results_trimmed > 0 then more = 1 end
  end
end

-- One that was trimmed while it was pending is neither in the stream nor pending, and comes again all the
-- same as long as it is noted: until then no mark goes.
local noted = false
for place = 6, #KEYS do noted = noted or redis.call('EXISTS', KEYS[place]) == 1 end
if noted then return {trimmed, 0, results_trimmed, more} end
local kept_from = tonumber(string.match(kept_from_of(orders, orders_needed), '^%d+'))

-- How many marks are of entries before a time.
local function below(key, limit)
  local found = redis.call('ZCOUNT', key, '-inf', '(' .. string.format('%.0f', limit))
  local its_own = redis.call('ZSCORE', key, 'horizon')
  return its_own and tonumber(its_own) < limit and found - 1 or found
end

-- The horizon rises to what could not come back when that was noted, once marks have stayed for long enough:
-- whoever was at work on it then, and finds it neither pending nor noted, since its group was lost, has
-- settled it, or sleeps.
local function rise()
  local rising, at = kept.rising or kept_from, math.min(kept.noted or asked_at, asked_at)
  -- The stream was made anew, with earlier ids.
  if rising > kept_from then rising, at = kept_from, asked_at end
  if asked_at - at >= stay then
    if rising > (known.horizon or 0) and below(marks, rising) + below(before, rising) > 0 then
      know('horizon', rising)
    end
    rising, at = kept_from, asked_at
  end
  if rising ~= kept.rising then know('rising', rising) end
  if at ~= kept.noted then know('noted', at) end
end
if below(marks, kept_from) + below(before, kept_from) > 0 then rise() end

-- In the same step settle learns from where on a missing mark tells nothing.
local function drop(key)
  local limit = math.min(known.horizon or 0, kept_from)
  local due = below(key, limit)
  if due == 0 then return 0 end
  if key == before then redis.call('ZADD', key, 'GT', limit, 'horizon') end
  redis.call('ZREMRANGEBYRANK', key, 0, math.min(due, most) - 1)
  if due > most then more = 1 end
  return math.min(due, most)
end
-- A mark that stands in both counts once.
return {trimmed, math.max(drop(marks), drop(before)), results_trimmed, more}
