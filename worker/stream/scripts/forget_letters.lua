-- Lets go of dead letters that were closed, and of how each was closed, once its entry has left the orders, and
-- the one that replays it can't be given to any group any more.
-- KEYS: dead letters, their states, orders
-- ARGV: our source, then letter ids, their states as they were read, and what entries replay them (may be empty), in turn
-- Letters of other sources are left to their own fleets, whose entries are on other streams.
-- Returns how many were let go. Repeatable. Among the states stands `gone`, the last letter that went so:
-- it is lost with them, and tells whoever misses a letter of that time that it may have been one of these.
local letters, states, orders = unpack(KEYS)
-- include: named
-- include: ids
-- include: needed
local kept_from = kept_from_of(orders, needed(orders))

local function said(fields, name)
  for place = 1, #fields, 2 do
    if fields[place] == name then return fields[place + 1] end
  end
end

-- Whether the entry of a letter is on the orders stream: there an audit would miss its letter.
local function is_there(entry_id)
  if not entry_id then return false end
  local found = redis.pcall('XRANGE', orders, entry_id, entry_id)
  -- Whoever may write to the stream may have written anything there, and that is no entry.
  return not found.err and #found > 0
end

-- Whether a letter is ours, and nobody can miss it; the version before named no source.
local function may_go(fields)
  return (said(fields, 'source') or ARGV[1]) == ARGV[1] and not is_there(said(fields, 'entry_id'))
end

-- Whether the entry that replays a letter may come: as long as that is so, the letter keeps the row of its order.
local function may_come(replay) return replay ~= '' and not earlier(replay, kept_from) end

local gone, last = 0, redis.call('HGET', states, 'gone') or '0-0'
for place = 2, #ARGV, 3 do
  local id, state, replay = ARGV[place], ARGV[place + 1], ARGV[place + 2]
  if redis.call('HGET', states, id) == state and not may_come(replay) then
    local letter = redis.call('XRANGE', letters, id, id)[1]
    if not letter or may_go(letter[2]) then
      -- First what takes no memory: at its limit Redis lets a script that has begun to write go on.
      redis.call('XDEL', letters, id)
      redis.call('HDEL', states, id)
      if earlier(last, id) then
        last = id
        redis.call('HSET', states, 'gone', last)
      end
      gone = gone + 1
    end
  end
end
return gone
