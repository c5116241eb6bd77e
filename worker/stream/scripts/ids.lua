-- Whether one entry id comes before another. As text: the parts of an id go beyond what a Lua number holds
-- exactly.
local function less(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end

local function earlier(one, other)
  local one_ms, one_seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  if one_ms == other_ms then return less(one_seq, other_seq) end
  return less(one_ms, other_ms)
end
