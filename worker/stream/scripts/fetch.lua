-- Fetches what entries hold that are pending for this consumer, and charges them before it goes out, up to a
-- number of bytes.
-- KEYS: orders, trimmed entries
-- ARGV: group, consumer, now in ms (empty: the server's), most bytes, bytes in hand beside them, bytes kept
--   of what is larger than the most, then pairs of entry id and count (-1: leave it)
-- Returns {{{entry id, names and values}, ...}, {ids beyond the bytes, uncharged}}; of what is larger {entry
-- id, {names and values counted, the first bytes}, size}. In neither: what somebody else holds or has
-- settled, or what was trimmed, which is noted.
-- include: clock
local group, consumer, now = ARGV[1], ARGV[2], clock(ARGV[3])
local most, bytes, kept = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local found, left = {}, {}

local function head_of(fields)
  local head, missing = {}, kept
  for place, part in ipairs(fields) do
    if missing <= 0 then break end
    head[place] = string.sub(part, 1, missing)
    missing = missing - #part
  end
  return table.concat(head)
end

local function begin(id, count, fields)
  local size = 0
  for _, part in ipairs(fields) do size = size + #part end
  local taken = math.min(size, most)
  -- The first is taken however large it is: it has to come to an end, too.
  if bytes > 0 and bytes + taken > most then return false end
  bytes = bytes + taken
  if count ~= '-1' then
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'IDLE', 0, 'RETRYCOUNT', count, 'JUSTID')
  end
  found[#found + 1] = size > most and {id, {#fields, head_of(fields)}, size} or {id, fields}
  return true
end

local full = false
for i = 7, #ARGV, 2 do
  local id, count = ARGV[i], ARGV[i + 1]
  local pending = not full and redis.call('XPENDING', KEYS[1], group, id, id, 1) or {}
  if full then
    left[#left + 1] = id
  elseif #pending == 1 and pending[1][2] == consumer then
    local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
    if not entry then
      -- Only the note remembers it from now on.
      redis.call('ZADD', KEYS[2], 'NX', now, id)
      redis.call('XACK', KEYS[1], group, id)
    elseif not begin(id, count, entry[2]) then
      full = true
      left[#left + 1] = id
    end
  end
end
return {found, left}
