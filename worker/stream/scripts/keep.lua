-- Keeps entries for the consumer that holds them: sets their idle time and, where asked, their delivery
-- count.
-- KEYS: orders, trimmed entries
-- ARGV: group, consumer, idle ms, now in ms (empty: the server's), then pairs of entry id and count (-1:
--   leave it)
-- Returns the ids that somebody else holds or has settled; a trimmed entry is not among them.
-- include: clock
local group, consumer = ARGV[1], ARGV[2]
local noted = clock(ARGV[4]) - ARGV[3]
local lost = {}
for i = 5, #ARGV, 2 do
  local id, count = ARGV[i], ARGV[i + 1]
  local pending = redis.call('XPENDING', KEYS[1], group, id, id, 1)
  if #pending == 1 and pending[1][2] == consumer then
    local kept
    if count == '-1' then
      kept = redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'IDLE', ARGV[3], 'JUSTID')
    else
      kept = redis.call('XCLAIM', KEYS[1], group, consumer, 0, id,
        'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
    end
    -- From 7.0 on claiming a trimmed entry takes it off the pending list: should we die now, the note
    -- remembers it.
    if #kept == 0 then redis.call('ZADD', KEYS[2], noted, id) end
  elseif #pending == 1 or #redis.call('XRANGE', KEYS[1], id, id) == 1 then
    lost[#lost + 1] = id
  else
    -- The note's age is the lease now: while its owner renews, nobody else asks what became of the entry.
    redis.call('ZADD', KEYS[2], 'XX', noted, id)
  end
end
return lost
