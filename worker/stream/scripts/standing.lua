-- Expects: group, orders, trimmed (keys), horizon.
-- Whether an entry is in somebody's hands, or was when it was trimmed.
local function in_flight(id)
  -- The group may be gone just now; then nothing is pending, and the batch must not fail for it.
  local pending = redis.pcall('XPENDING', orders, group, id, id, 1)
  return (not pending.err and #pending > 0) or redis.call('ZSCORE', trimmed, id) ~= false
end
