-- Publishes or buries again what Redis has lost, and marks it as settled. Touches nothing that is in anybody's hands.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries, repairs, published again
-- ARGV: group, channel (may be empty), token of the repair (may be empty), now in ms,
--   packed list of {entry id, action, fields, copy}
-- Returns 1 for each that was done and 0 for each that was left alone, or nothing where the repair was not heard of for
-- too long.
-- Actions: publish, bury: unless the entry is marked, or so old that its mark may have been dropped; mark: the mark
-- alone; republish, rebury: though it counts as settled, once while any repair is at work.
local group, channel, token, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local settlements = cmsgpack.unpack(ARGV[5])
-- include: standing

if token ~= '' and tonumber(redis.call('ZSCORE', KEYS[6], token) or 0) < now then return nil end
for _, settlement in ipairs(settlements) do
  if #settlement[3] > 7000 then return redis.error_reply('ERR too many fields for one entry') end
end

local done = {}
for i, settlement in ipairs(settlements) do
  local id, action = settlement[1], settlement[2]
  local old = tonumber(string.match(id, '^%d+')) < horizon
  done[i] = 0
  local again = string.sub(action, 1, 2) == 're'
  local guard = again and KEYS[7] or KEYS[4]
  -- Scored by now: retention keeps it for as long as it keeps the mark of an entry that comes now, so that until then
  -- an unmarked entry can be told from one whose mark was dropped. Clocks may have been set back.
  local score = math.max(now, tonumber(string.match(id, '^%d+')))
  if (again or not old) and not in_flight(id) and redis.call('ZADD', guard, 'NX', score, id) == 1 then
    if action ~= 'mark' then
      local burying = action == 'bury' or action == 'rebury'
      local added = redis.pcall('XADD', burying and KEYS[3] or KEYS[2], '*', unpack(settlement[3]))
      if type(added) == 'table' and added.err then
        redis.call('ZREM', guard, id)
        return redis.error_reply(added.err)
      end
      if not burying and channel ~= '' then redis.pcall('PUBLISH', channel, settlement[4]) end
    end
    if again and not old then redis.call('ZADD', KEYS[4], 'NX', score, id) end
    done[i] = 1
  end
end
return done
