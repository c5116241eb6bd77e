-- Expects: group, KEYS[1] orders, KEYS[4] settled marks, KEYS[5] trimmed entries.
local horizon = tonumber(redis.call('ZSCORE', KEYS[4], 'horizon') or 0)

-- Whether an entry is in somebody's hands, or was when it was trimmed.
local function in_flight(id)
  -- The group may be gone just now; then nothing is pending, and the batch must not fail for it.
  local pending = redis.pcall('XPENDING', KEYS[1], group, id, id, 1)
  return (not pending.err and #pending > 0) or redis.call('ZSCORE', KEYS[5], id) ~= false
end

-- Below the horizon retention has dropped the marks: what is neither pending nor noted there was settled long ago.
local function long_settled(id)
  return tonumber(string.match(id, '^%d+')) < horizon and not in_flight(id)
end
