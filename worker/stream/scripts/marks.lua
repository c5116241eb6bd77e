-- Expects the keys: marks; before, where replicas of the version before mark, by group; results, letters. A
-- mark is an entry id, or one with `:` and content behind it, scored by the milliseconds of the entry, or by
-- when it was made if that was later. What is known of all of them stands among them, scored +inf, so that it
-- is lost with them: `made`, when the first was made; `results` and `letters`, from when on what was given
-- out has left a mark; `walked`, from when on all that is there was looked through; `horizon`, below which
-- marks were dropped, and what it will be: `rising`, where it was when that was `noted`. Times are in ms by
-- the clock of the server, but for `made`, in microseconds, so that no two are the same. `with=` and the key
-- of a group says that what was marked there belongs to what is known; it holds `begun` in turn.
local seconds, micros = unpack(redis.call('TIME'))
local now = seconds * 1000 + math.floor(micros / 1000)
local born = seconds * 1000000 + micros
local kept, with, facts = {}, 'with=' .. before, redis.call('ZRANGEBYSCORE', marks, '+inf', '+inf')
local joined = false
for _, fact in ipairs(facts) do
  local name, value = string.match(fact, '^(%a+)=(%d+)$')
  if name then kept[name] = tonumber(value) end
  if fact == with then joined = true end
end
-- What replicas of the version before have settled has its mark in their key alone: where that was lost,
-- marks tell of nothing up to now any more.
local begun = redis.call('ZSCORE', before, 'begun') ~= false
local known = kept
if joined and not begun then known = {horizon = kept.horizon} end
local horizon = math.max(known.horizon or 0, tonumber(redis.call('ZSCORE', before, 'horizon') or 0))

local function forget(name)
  if kept[name] then redis.call('ZREM', marks, string.format('%s=%.0f', name, kept[name])) end
  kept[name] = nil
end

local function know(name, value)
  forget(name)
  redis.call('ZADD', marks, '+inf', string.format('%s=%.0f', name, value))
  kept[name], known[name] = value, value
end

-- Where marks are missing altogether: nothing can have been given out if there is no stream. Else it can't be
-- told from what was given out up to now, by clocks that may be a minute apart; those of the version before
-- don't say since when they are complete.
local function since(name, stream)
  if known[name] then return known[name] end
  if redis.call('EXISTS', stream) == 0 then return 0 end
  return now + 60000
end
local results_since, letters_since = since('results', results), since('letters', letters)

local function milliseconds(id) return tonumber(string.match(id, '^%d+')) end

-- What a settlement is marked as.
local function mark_of(settlement)
  local mark = settlement[6]
  return mark and mark ~= '' and mark or settlement[1]
end

-- Whether marks tell of what stands since a time, unless its entry is below the horizon.
local function complete(action, stands)
  return stands >= (action == 'bury' and letters_since or results_since)
end

-- As long as replicas of the version before may start, what changes the one key changes the other.
local function in_marks(command, ...)
  redis.call(command, marks, ...)
  redis.call(command, before, ...)
end

-- Replicas of the version before mark by the id alone what is marked by its content here, and look for that. A
-- mark that was made for them says so, since it tells nothing of another entry of the id.
local function mark_for_them(id)
  redis.call('ZADD', before, milliseconds(id), id, milliseconds(id), id .. ':')
end

local function unmark_for_them(id) redis.call('ZREM', before, id, id .. ':') end

local function is_of_a_letter(mark) return redis.call('ZSCORE', before, mark .. ':') ~= false end

local function marked(mark)
  if redis.call('ZSCORE', marks, mark) then return true end
  return redis.call('ZSCORE', before, mark) ~= false and not is_of_a_letter(mark)
end

-- Call before the first mark is made.
local function begin()
  if not known.made then
    know('made', born)
    know('results', results_since)
    know('letters', letters_since)
    forget('walked')
  end
  if not joined then redis.call('ZADD', marks, '+inf', with) end
  if not begun then redis.call('ZADD', before, '+inf', 'begun') end
  joined, begun = true, true
end
