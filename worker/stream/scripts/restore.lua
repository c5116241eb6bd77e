-- Publishes or buries again what Redis has lost, and marks it as settled. Touches nothing that is in
-- anybody's hands.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries, marks of the version before, unknown,
--   repairs, published again
-- ARGV: group, channel (may be empty), token of the repair (may be empty), now in ms (empty: the server's),
--   packed list of {entry id, action, fields, copy, since when its row stands (false: not said), mark (empty:
--   its entry id), whether again}
-- Returns {1 for each that was done and 0 for each that was left alone, copies that could not be published,
-- why}, or nothing where the repair was not heard of for too long.
-- Actions: publish, bury: unless the entry is marked, or marks of its time are not complete (-1 for since
-- when: it was looked for, and never given out); mark: the mark alone, also where nobody can know, which is
-- decided with it.
-- Again: though it counts as settled, once while any repair is at work.
local orders, results, letters, marks, trimmed, before, unknown, repairs, published_again = unpack(KEYS)
local group, channel, token = ARGV[1], ARGV[2], ARGV[3]
local restorations = cmsgpack.unpack(ARGV[5])
-- include: clock
-- include: marks
local asked_at = clock(ARGV[4])

-- Whether an entry is in somebody's hands, or was when it was trimmed.
local function in_flight(id)
  -- The group may be gone just now; then nothing is pending, and what else there is must not fail for it.
  local pending = redis.pcall('XPENDING', orders, group, id, id, 1)
  return (not pending.err and #pending > 0) or redis.call('ZSCORE', trimmed, id) ~= false
end

if token ~= '' and tonumber(redis.call('ZSCORE', repairs, token) or 0) < asked_at then return nil end
for _, restoration in ipairs(restorations) do
  if #restoration[3] > 7000 then return redis.error_reply('ERR too many fields for one entry') end
end

local function told(restoration, asked)
  if restoration[5] == -1 or (asked and restoration[2] == 'mark') then return true end
  if milliseconds(restoration[1]) < horizon then return false end
  return complete(restoration[2], restoration[5] or math.huge)
end

local done, unpublished, why = {}, 0, ''
for i, restoration in ipairs(restorations) do
  local id, action, name, again = restoration[1], restoration[2], mark_of(restoration), restoration[7]
  done[i] = 0
  -- Scored by now: retention keeps it for as long as it keeps the mark of an entry that comes now, so that
  -- until then an unmarked entry can be told from one whose mark was dropped. Clocks may have been set back.
  local score = math.max(asked_at, milliseconds(id))
  -- Of an entry's row: what is marked by its content owns none.
  local asked = name == id and redis.call('ZSCORE', unknown, id) ~= false
  local free
  if again then
    free = not in_flight(id) and redis.call('ZADD', published_again, 'NX', score, id) == 1
    -- Whoever is at work has it last for longer.
    if free and redis.call('PTTL', published_again) < 0 then
      redis.call('PEXPIRE', published_again, 86400000)
    end
  else
    local open = not marked(name) or (asked and action == 'mark')
    free = told(restoration, asked) and open and not in_flight(id)
  end
  if free then
    local new = not marked(name)
    if new then
      begin()
      in_marks('ZADD', 'NX', score, name)
    end
    if action ~= 'mark' then
      local burying = action == 'bury'
      local added = redis.pcall('XADD', burying and letters or results, '*', unpack(restoration[3]))
      if type(added) == 'table' and added.err then
        -- Scripts do not roll back: a mark without its result would swallow the result for ever.
        if again then redis.call('ZREM', published_again, id) end
        if new then in_marks('ZREM', name) end
        return redis.error_reply(added.err)
      end
      if not burying and channel ~= '' then
        local copied = redis.pcall('PUBLISH', channel, restoration[4])
        if type(copied) == 'table' and copied.err then unpublished, why = unpublished + 1, copied.err end
      end
    end
    if asked then redis.call('ZREM', unknown, id) end
    done[i] = 1
  end
end
return {done, unpublished, why}
