#!lua flags=allow-oom
-- Lets lanes work again.
--
-- KEYS  for each lane: pause, wake key
-- ARGV  how: 'all' at once what a person paused, and one message on trial where a fault did;
--            'fault' the same where the fault is the second argument, and nobody else's pause;
--            'tried' all at once where the pause ended at least so many seconds ago as the second argument says
-- Returns {n, ...}: the nth lane was paused, and is not any more.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local changed = {}
for n = 1, #KEYS / 2 do
  local key, wake = KEYS[2 * n - 1], KEYS[2 * n]
  local ends, fault = unpack(redis.call('HMGET', key, 'until', 'fault'))
  local done = false
  if ends and (ARGV[1] == 'all' or ARGV[1] == 'fault' and ARGV[2] == fault) then
    done = true
    if fault == '' then
      redis.call('DEL', key)
    elseif tonumber(ends) > now then
      redis.call('HSET', key, 'until', string.format('%.3f', math.floor(now * 1000) / 1000)) -- not after now
    end
  elseif ARGV[1] == 'tried' and ends and ends ~= '' and tonumber(ends) <= now - ARGV[2] then
    done = true
    redis.call('DEL', key)
  end
  if done then
    changed[#changed + 1] = n
    redis.call('ZADD', wake, 0, '')
    redis.call('PEXPIRE', wake, 60000)
  end
end
return changed
