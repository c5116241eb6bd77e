-- Publishes or buries each entry unless it is settled already, and acks it whatever the pending list says,
-- but for one of which marks were dropped: that is settled by whom it is pending for, and by nobody else.
-- KEYS: orders, results, dead letters, settled marks, trimmed entries, marks of the version before, unknown
-- ARGV: group, consumer, channel (may be empty), since when the rows stand that were written just now, what
--   the caller knows as `made` (may be empty), packed list of {entry id, action, fields, copy, since when its
--   row stands (-1: it was looked for, and never given out; none: it was written just now), mark (empty: its
--   entry id)}
-- Returns {published, buried, ids in doubt, ids left to others, made, newly unknown, copies that could not be
-- published, why}.
-- Repeatable: the mark makes it one result ever.
-- Actions: publish, bury, ack; unknown: ack, and note that nobody can know whether it was published. An entry
-- is in doubt where it has no mark and marks of its time are not complete; it is left to others where its
-- mark may have been dropped and it is not in the caller's hands any more. Nothing is done about either. What
-- was trimmed while it was pending is no longer than its note: where its mark may have been dropped, nobody
-- can know whether it was published.
local orders, results, letters, marks, trimmed, before, unknown = unpack(KEYS)
local group, consumer, channel = ARGV[1], ARGV[2], ARGV[3]
local written_since, remembered = tonumber(ARGV[4]), ARGV[5]
local settlements = cmsgpack.unpack(ARGV[6])
-- include: marks

-- Calls with the first and the last of as many things as fit into a call (fewer than 4,000 arguments), until it
-- was all of them.
local function in_parts(things, call)
  for first = 1, #things, 3900 do call(first, math.min(first + 3899, #things)) end
end

local names = {}
for place, settlement in ipairs(settlements) do
  -- Asked before anything is marked: unpack would fail beyond redis.pcall and leave a mark without its entry.
  if #settlement[3] > 7000 then return redis.error_reply('ERR too many fields for one entry') end
  names[place] = mark_of(settlement)
end

local settled = {}
local function look_in(key, counts)
  in_parts(names, function(first, last)
    for place, score in ipairs(redis.call('ZMSCORE', key, unpack(names, first, last))) do
      local name = names[first + place - 1]
      if score and not settled[name] and counts(name) then settled[name] = true end
    end
  end)
end
look_in(marks, function() return true end)
look_in(before, function(name) return not is_of_a_letter(name) end)

-- Whether replicas of the version before have buried what owns no row, while the caller slept: nobody has it
-- any more. What is pending all the same has got its id since.
local function buried_by_them(id)
  if not redis.call('ZSCORE', before, id) or redis.call('ZSCORE', marks, id) then return false end
  if is_of_a_letter(id) then return false end
  local pending = redis.pcall('XPENDING', orders, group, id, id, 1)
  return pending.err ~= nil or #pending == 0
end

-- Of a row that was written just now nobody can have published anything, unless marks were lost since.
if known.made and string.format('%.0f', known.made) == remembered then written_since = math.huge end

local function in_doubt(settlement)
  local stands = settlement[5] or written_since
  return stands ~= -1 and not complete(settlement[2], stands)
end

-- Whether an entry is left to others, and else whether nobody can know if it was published. Below the horizon
-- is what could not come again: others have settled it while the caller slept, and its mark is gone.
local function slept_through(id, action)
  if milliseconds(id) >= horizon then return false, false end
  -- The group may be gone just now; then nothing is pending, and the batch must not fail for it.
  local pending = redis.pcall('XPENDING', orders, group, id, id, 1)
  if not pending.err and #pending > 0 then return pending[1][2] ~= consumer, false end
  -- A note holds the marks, but not while its group is gone; a letter that comes twice costs a person a look.
  if redis.call('ZSCORE', trimmed, id) then return false, action == 'publish' end
  return true, false
end

-- Counted by hand: `#` looks for the end of a table anew each time.
local open, new, doubted, left, ids, acked, lost = {}, {}, {}, {}, {}, 0, 0
local count = 0
for place, settlement in ipairs(settlements) do
  local id, action, name = settlement[1], settlement[2], names[place]
  local untouched = false
  if action ~= 'ack' and not settled[name] and not (name ~= id and buried_by_them(id)) then
    local left_to_others, unknowable = slept_through(id, action)
    if left_to_others then
      left[#left + 1] = id
      untouched = true
    elseif action == 'unknown' or unknowable then
      lost = lost + redis.call('ZADD', unknown, 'NX', now, id)
    elseif in_doubt(settlement) then
      doubted[#doubted + 1] = id
      untouched = true
    else
      settled[name] = true
      count = count + 1
      open[count] = settlement
      new[count] = name
    end
  end
  if not untouched then
    acked = acked + 1
    ids[acked] = id
  end
end

local scored, for_them = {}, {}
for place = 1, count do
  local name, id = new[place], open[place][1]
  scored[2 * place - 1], scored[2 * place] = milliseconds(id), name
  for_them[place] = name ~= id and not redis.call('ZSCORE', before, id)
end
if count > 0 or #doubted > 0 then begin() end
in_parts(scored, function(first, last) in_marks('ZADD', unpack(scored, first, last)) end)
for place = 1, count do
  if for_them[place] then mark_for_them(open[place][1]) end
end

local published, buried, unpublished, why = 0, 0, 0, ''
-- Executed once more, after its row was lost: then its result is there.
local some_unknown = redis.call('EXISTS', unknown) == 1
for place, settlement in ipairs(open) do
  local publishes = settlement[2] == 'publish'
  local added = redis.pcall('XADD', publishes and results or letters, '*', unpack(settlement[3]))
  if type(added) == 'table' and added.err then
    -- Scripts do not roll back: a mark without its result would swallow the result for ever.
    local without = {}
    for rest = place, count do
      without[#without + 1] = new[rest]
      if for_them[rest] then unmark_for_them(open[rest][1]) end
    end
    in_parts(without, function(first, last) in_marks('ZREM', unpack(without, first, last)) end)
    return redis.error_reply(added.err)
  end
  if publishes then
    published = published + 1
    if some_unknown then redis.call('ZREM', unknown, new[place]) end
    if channel ~= '' then
      local copied = redis.pcall('PUBLISH', channel, settlement[4])
      if type(copied) == 'table' and copied.err then unpublished, why = unpublished + 1, copied.err end
    end
  else
    buried = buried + 1
  end
end

if count > 0 and redis.call('EXISTS', unknown) == 1 then
  -- Whoever wrote its row knew what others could not. What is marked by its content owns none: that which is
  -- asked about is another's, which had its id.
  for place = 1, count do redis.call('ZREM', unknown, new[place]) end
end

local some_trimmed = redis.call('EXISTS', trimmed) == 1
in_parts(ids, function(first, last)
  redis.call('XACK', orders, group, unpack(ids, first, last))
  if some_trimmed then redis.call('ZREM', trimmed, unpack(ids, first, last)) end
end)
local made = known.made and string.format('%.0f', known.made) or ''
return {published, buried, doubted, left, made, lost, unpublished, why}
