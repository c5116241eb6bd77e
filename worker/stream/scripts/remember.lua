-- Makes the marks of what was found to be given out, and tells from when on marks are complete.
-- KEYS: results, dead letters, settled marks, marks of the version before
-- ARGV: made (empty: whatever it is), since when results are complete, since when letters are, since when all
--   of them were looked through (each may be empty: as it was), then marks
-- Returns {made, results, letters, walked (may be empty)}, or nothing where the marks are others than those
-- made then. What is known is only ever known from earlier on.
local results, letters, marks, before = unpack(KEYS)
-- include: marks
begin()
if ARGV[1] ~= '' and ARGV[1] ~= string.format('%.0f', known.made) then return nil end
for i, name in ipairs({'results', 'letters', 'walked'}) do
  local since = tonumber(ARGV[1 + i])
  if since and since < (known[name] or math.huge) then know(name, since) end
end
for i = 5, #ARGV do
  local score = math.max(now, milliseconds(ARGV[i]))
  in_marks('ZADD', 'NX', score, ARGV[i])
end
return {
  string.format('%.0f', known.made),
  string.format('%.0f', known.results),
  string.format('%.0f', known.letters),
  known.walked and string.format('%.0f', known.walked) or '',
}
