-- Names and values in turn, as XINFO gives them, as a table by name.
local function named(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end
