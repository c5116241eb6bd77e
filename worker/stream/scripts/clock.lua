-- Tells the time in ms: the one that is given, or where that is empty this server's, whatever clock the
-- caller has.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
