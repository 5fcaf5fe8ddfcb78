"""What Valkey does in one step. None of it decides anything: see `softlocks`."""

from typing import Final

from lalepass_service.adapters.valkey.client import Script

SWAP: Final = Script("""
local at = redis.call('HMGET', KEYS[1], 'p', ARGV[3], 'u')
if (at[1] or '') ~= ARGV[1] or (at[2] or '') ~= ARGV[4] or (at[3] or '') ~= ARGV[7] then
  return 0
end
if ARGV[1] ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'p', ARGV[2])
elseif ARGV[7] ~= ARGV[8] then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field == 'e' or string.sub(field, 1, 1) == 'l' then redis.call('HDEL', KEYS[1], field) end
  end
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'u', ARGV[8]) end
if ARGV[6] == '0' then
  redis.call('PERSIST', KEYS[1])
elseif ARGV[3] == 'e' or redis.call('HEXISTS', KEYS[1], 'e') == 0
    or redis.call('PTTL', KEYS[1]) ~= -1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return 1
""")
"""Put a field in the place of what was read. Arguments: the `p` that was read, the new `p` (if it
is another one, all the rest is void), the field, its value that was read, its new one, how long to
keep the key, the `u` that was read, and the new one (if it is another, no lane counts any more).
Returns 1, or 0 if something else is there."""

SETTLE: Final = Script("""
local p = redis.call('HGET', KEYS[1], 'p') or ''
if ARGV[1] ~= '' and p ~= '' and p ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then
  local seen = redis.call('HGET', KEYS[1], ARGV[3])
  if not seen or math.abs(tonumber(ARGV[4]) - tonumber(seen)) >= tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
  end
  if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'p', ARGV[1]) end
end
if redis.call('HEXISTS', KEYS[1], 'e') == 0 or redis.call('PTTL', KEYS[1]) ~= -1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return 1
""")
"""A right password. Arguments: the `p` that it was right for, or empty; the field of the lane; the
field of the source, or empty; the time; how long a source is not written down again; how long to
keep the key. Returns 0 if there is another password by now."""

UNLOCK: Final = Script("""
local gone = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if field == 'e' or string.sub(field, 1, 1) == 'l' then
    gone = gone + redis.call('HDEL', KEYS[1], field)
  end
end
if gone > 0 then
  local seen = tonumber(redis.call('HGET', KEYS[1], 'u') or '')
  if not seen or seen < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'u', ARGV[2])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return gone
""")
"""Forget all lanes. Arguments: how long to keep the key, and from which time on there are none.
Returns how many there were."""

DROP: Final = Script("""
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
""")
"""Forget a field if it is still what was read."""
