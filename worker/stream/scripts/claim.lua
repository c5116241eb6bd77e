-- Claims one page of abandoned entries without charging them, and notes those that were trimmed meanwhile.
-- KEYS: orders, trimmed entries
-- ARGV: group, consumer, minimum idle ms, cursor, page size, now in ms (empty: the server's)
-- Returns {next cursor, {{entry id, count}, ...}}. Before 7.0 some of them may be trimmed; fetching them
-- tells.
-- include: clock
local group, consumer, now = ARGV[1], ARGV[2], clock(ARGV[6])
local reply = redis.call('XAUTOCLAIM', KEYS[1], group, consumer, ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
local found = {}
for place, id in ipairs(reply[2]) do
  -- As text: the most there is, which XNACK FATAL sets, is more than a Lua number holds exactly, and would be
  -- told as less than none.
  found[place] = {id, string.format('%.0f', redis.call('XPENDING', KEYS[1], group, id, id, 1)[1][4])}
end
-- From 7.0 on they are taken off the pending list here and now, so the note must be made in this same step.
for _, id in ipairs(reply[3] or {}) do redis.call('ZADD', KEYS[2], 'NX', now, id) end
return {reply[1], found}
