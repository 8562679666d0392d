#!lua flags=allow-oom
-- Pauses lanes. Of two pauses the one that ends later holds; one without an end, a person's, gives way to nobody else.
--
-- KEYS  for each lane: pause
-- ARGV  seconds ('' for no end), reason, fault ('' for a person's pause), by
-- Returns {n, ...}: the nth lane was not paused for this before.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local new = {}
for n, key in ipairs(KEYS) do
  local ends, fault, since = unpack(redis.call('HMGET', key, 'until', 'fault', 'since'))
  local is_open = not ends
  local wanted = ARGV[1] == '' and '' or string.format('%.3f', now + ARGV[1])
  if is_open or wanted == '' or (ends ~= '' and tonumber(wanted) > tonumber(ends)) then
    if is_open or fault ~= ARGV[3] then
      since = string.format('%.3f', now)
      new[#new + 1] = n
    end
    redis.call('HSET', key, 'until', wanted, 'reason', ARGV[2], 'fault', ARGV[3], 'by', ARGV[4], 'since', since)
  end
end
return new
