-- Counts entries that were trimmed before the group read them, and moves the group's read counter past them,
-- so that none is counted twice, by whichever replica, and lag is right again.
-- KEYS: orders, lost entries, results, dead letters, settled marks, marks of the version before
-- ARGV: group
-- Returns {newly lost, lost in all}, or nothing where it can't be known (before 7.0, without the group).
-- include: named
-- include: ids
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local stream, group = named(redis.call('XINFO', 'STREAM', KEYS[1])), nil
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  each = named(each)
  if each['name'] == ARGV[1] then group = each end
end
if not group or not stream['entries-added'] then return nil end

local total = tonumber(redis.call('HGET', KEYS[2], 'total') or 0)
local delivered, first = group['last-delivered-id'], stream['first-entry']
local unread
if delivered == stream['last-generated-id'] then
  unread = 0
elseif not first or earlier(delivered, first[1]) then
  unread = stream['length']
else
  -- Something that was read is still here, so nothing after it has been trimmed.
  return {0, total}
end

-- Whether anything may have been settled before this group was made: then what is gone may have been read by
-- another.
local function anything_settled()
  return redis.call('XLEN', KEYS[3]) + redis.call('XLEN', KEYS[4])
    + redis.call('ZCOUNT', KEYS[5], '-inf', '(+inf') + redis.call('ZCOUNT', KEYS[6], '-inf', '(+inf') > 0
end

local place, read = stream['entries-added'] - unread, group['entries-read']
if not read and delivered == '0-0' and not anything_settled() then read = 0 end

-- Reads do not go to the append-only file, or to replicas, with the counter: a server that was started again, or
-- promoted, has that of the last SETID, and would tell what was read since as if it had been lost. So it is noted
-- on which run of the server the counter was set or seen to be right. Where INFO is denied nobody can tell.
local function this_run()
  local told = redis.pcall('INFO', 'server')
  return type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''
end
local counted_on = redis.call('HGET', KEYS[2], 'run')
if group['entries-read'] and read >= place then
  if not counted_on then redis.call('HSET', KEYS[2], 'run', this_run()) end
  return {0, total}
end
if group['entries-read'] and counted_on and counted_on ~= this_run() then read = nil end
local new = 0
-- Any other group without a counter begins to count here.
if read and read < place then
  new = place - read
  total = redis.call('HINCRBY', KEYS[2], 'total', new)
  redis.call('HSET', KEYS[2], 'after', delivered, 'new', new)
end
redis.call('HSET', KEYS[2], 'run', this_run())
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], delivered, 'ENTRIESREAD', place)
return {new, total}
