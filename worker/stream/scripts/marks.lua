-- Expects the keys: marks; before, the marks of the version before; results, letters.
-- A mark is an entry id, or one with `:` and content behind it, scored by the milliseconds of the entry, or by when it was
-- made if that was later. What is known of all of them stands among them, scored +inf, so that it is lost with them:
-- `made`, when the first was made; `results` and `letters`, from when on what was given out has left a mark; `walked`,
-- from when on all that is there was looked through; `horizon`, below which marks were dropped. Times are in ms by the
-- clock of the server, but for `made`, in microseconds, so that no two are the same.
local seconds, micros = unpack(redis.call('TIME'))
local now = seconds * 1000 + math.floor(micros / 1000)
local born = seconds * 1000000 + micros
local known, facts = {}, redis.call('ZRANGEBYSCORE', marks, '+inf', '+inf')
for _, fact in ipairs(facts) do
  local name, value = string.match(fact, '^(%a+)=(%d+)$')
  known[name] = tonumber(value)
end
local both = redis.call('EXISTS', before) == 1
local horizon = known.horizon or 0
if both then horizon = math.max(horizon, tonumber(redis.call('ZSCORE', before, 'horizon') or 0)) end

local function know(name, value)
  if known[name] then redis.call('ZREM', marks, string.format('%s=%.0f', name, known[name])) end
  redis.call('ZADD', marks, '+inf', string.format('%s=%.0f', name, value))
  known[name] = value
end

-- Where marks are missing altogether: nothing can have been given out if there is no stream, and the version before kept
-- its own. Else it can't be told from what was given out up to now, by clocks that may be a minute apart.
local function since(name, stream)
  if known[name] then return known[name] end
  if both or redis.call('EXISTS', stream) == 0 then return 0 end
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

-- As long as there are two keys of marks, what changes the one changes the other.
local function in_marks(command, ...)
  redis.call(command, marks, ...)
  if both then redis.call(command, before, ...) end
end

local function marked(mark)
  return redis.call('ZSCORE', marks, mark) or (both and redis.call('ZSCORE', before, mark))
end

-- Call before the first mark is made.
local function begin()
  if known.made then return end
  know('made', born)
  know('results', results_since)
  know('letters', letters_since)
end
