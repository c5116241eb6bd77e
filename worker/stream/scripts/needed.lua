-- Expects named and ids.
local last_of_all = '18446744073709551615-18446744073709551615'

local function first_of(one, other) return earlier(one, other) and one or other end

-- Returns the first id that each group of a stream still needs, by name: its oldest pending, or its last
-- delivered.
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

-- Returns the first id that may come again: an entry that is neither in the stream nor pending for any group
-- can't be delivered again. What is older than the last delivered id of each only: a group made anew begins
-- at 0, and has nothing pending yet.
local function kept_from_of(key, first_needed)
  local kept_from = last_of_all
  for _, id in pairs(first_needed) do kept_from = first_of(kept_from, id) end
  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  return first and first_of(kept_from, first[1]) or kept_from
end
