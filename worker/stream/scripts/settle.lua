-- Publishes or buries each entry unless it is settled already, and acks it whatever the pending list says.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries
-- ARGV: group, channel (may be empty), packed list of {entry id, action, fields, copy}
-- Returns {published, buried, ids taken for settled long ago}. Repeatable: the mark makes it one result ever.
local group, channel = ARGV[1], ARGV[2]
local settlements = cmsgpack.unpack(ARGV[3])
local some_trimmed = redis.call('EXISTS', KEYS[5]) == 1
local published, buried, old = 0, 0, {}
-- include: standing
for _, settlement in ipairs(settlements) do
  -- Asked before anything is marked: unpack would fail beyond redis.pcall and leave a mark without its entry.
  if #settlement[3] > 7000 then return redis.error_reply('ERR too many fields for one entry') end
end
for _, settlement in ipairs(settlements) do
  local id, action = settlement[1], settlement[2]
  local open = action ~= 'ack'
  if open and long_settled(id) then
    open, old[#old + 1] = false, id
  end
  if open and redis.call('ZADD', KEYS[4], 'NX', string.match(id, '^%d+'), id) == 1 then
    local target = action == 'publish' and KEYS[2] or KEYS[3]
    local added = redis.pcall('XADD', target, '*', unpack(settlement[3]))
    if type(added) == 'table' and added.err then
      -- Scripts do not roll back: a mark without its result would swallow the result for ever.
      redis.call('ZREM', KEYS[4], id)
      return redis.error_reply(added.err)
    end
    if action == 'publish' then
      published = published + 1
      if channel ~= '' then redis.pcall('PUBLISH', channel, settlement[4]) end
    else
      buried = buried + 1
    end
  end
  redis.call('XACK', KEYS[1], group, id)
  if some_trimmed then redis.call('ZREM', KEYS[5], id) end
end
return {published, buried, old}
