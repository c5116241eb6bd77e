-- Publishes or buries each entry unless it is settled already, and acks it whatever the pending list says.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries
-- ARGV: group, channel (may be empty), packed list of {entry id, action, fields, copy}
-- Returns {published, buried, ids taken for settled long ago}. Repeatable: the mark makes it one result ever.
local group, channel = ARGV[1], ARGV[2]
local settlements = cmsgpack.unpack(ARGV[3])
local published, buried, old = 0, 0, {}
-- include: standing

-- Calls with the first and the last of as many things as fit on Lua's stack, until it was all of them.
local function in_parts(things, call)
  for first = 1, #things, 4000 do call(first, math.min(first + 3999, #things)) end
end

local ids = {}
for place, settlement in ipairs(settlements) do
  -- Asked before anything is marked: unpack would fail beyond redis.pcall and leave a mark without its entry.
  if #settlement[3] > 7000 then return redis.error_reply('ERR too many fields for one entry') end
  ids[place] = settlement[1]
end

local settled = {}
in_parts(ids, function(first, last)
  for place, score in ipairs(redis.call('ZMSCORE', KEYS[4], unpack(ids, first, last))) do
    if score then settled[ids[first + place - 1]] = true end
  end
end)

-- Counted by hand: `#` looks for the end of a table anew each time.
local open, marks, new = {}, {}, 0
for _, settlement in ipairs(settlements) do
  local id = settlement[1]
  if settlement[2] == 'ack' then
    -- Nothing comes of it.
  elseif long_settled(id) then
    old[#old + 1] = id
  elseif not settled[id] then
    settled[id] = true
    new = new + 1
    open[new] = settlement
    marks[2 * new - 1], marks[2 * new] = string.match(id, '^%d+'), id
  end
end
in_parts(marks, function(first, last) redis.call('ZADD', KEYS[4], unpack(marks, first, last)) end)

for place, settlement in ipairs(open) do
  local publishes = settlement[2] == 'publish'
  local added = redis.pcall('XADD', publishes and KEYS[2] or KEYS[3], '*', unpack(settlement[3]))
  if type(added) == 'table' and added.err then
    -- Scripts do not roll back: a mark without its result would swallow the result for ever.
    local without = {}
    for rest = place, #open do without[#without + 1] = open[rest][1] end
    in_parts(without, function(first, last) redis.call('ZREM', KEYS[4], unpack(without, first, last)) end)
    return redis.error_reply(added.err)
  end
  if publishes then
    published = published + 1
    if channel ~= '' then redis.pcall('PUBLISH', channel, settlement[4]) end
  else
    buried = buried + 1
  end
end

local some_trimmed = redis.call('EXISTS', KEYS[5]) == 1
in_parts(ids, function(first, last)
  redis.call('XACK', KEYS[1], group, unpack(ids, first, last))
  if some_trimmed then redis.call('ZREM', KEYS[5], unpack(ids, first, last)) end
end)
return {published, buried, old}
