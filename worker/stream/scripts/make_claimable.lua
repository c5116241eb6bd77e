-- Makes stuck entries claimable now: each stays with its consumer, at its delivery count, and looks idle for
-- a lease.
-- KEYS: orders
-- ARGV: group, lease ms, then threes of entry id, consumer it was listed for, least idle ms
-- Returns {made claimable, claimable already, left alone, trimmed}. Repeatable.
local group, lease = ARGV[1], tonumber(ARGV[2])
local made, already, left, trimmed = 0, 0, 0, 0
for i = 3, #ARGV, 3 do
  local id, consumer = ARGV[i], ARGV[i + 1]
  local held = redis.call('XPENDING', KEYS[1], group, id, id, 1)[1]
  if not held or held[2] ~= consumer or held[3] < tonumber(ARGV[i + 2]) then
    -- Settled, claimed or renewed since it was listed: somebody is at work on it.
    left = left + 1
  elseif held[3] >= lease or held[3] < 0 then
    -- Below zero: its consumer gave it back by XNACK, and whoever looks next takes it.
    already = already + 1
  elseif #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    -- From 7.0 on XCLAIM would take it off the pending list. Claiming after its lease notes it; that can't be
    -- hurried, since an owner that is alive may still commit it.
    trimmed = trimmed + 1
  else
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'IDLE', lease, 'JUSTID')
    made = made + 1
  end
end
return {made, already, left, trimmed}
