#!lua
-- Puts messages of one lane and priority where they belong: the ready list, or the delayed set when they have to wait.
--
-- KEYS  ready list, delayed set, wake key
-- ARGV  priority step, then for each message: delay in seconds (0: none), message
local time = redis.call('TIME') -- the clock that promotes, so that no two machines need agree on the time
local now = time[1] + time[2] / 1000000
local soon = false
for n = 2, #ARGV, 2 do
  local delay = tonumber(ARGV[n])
  if delay > 0 then
    redis.call('ZADD', KEYS[2], now + delay, ARGV[1] .. ARGV[n + 1])
  else
    redis.call('LPUSH', KEYS[1], ARGV[n + 1])
  end
  soon = soon or delay < 1
end
if soon and redis.call('ZADD', KEYS[3], 0, '') == 1 then
  redis.call('PEXPIRE', KEYS[3], 60000) -- a queue that nobody consumes any more leaves nothing behind
end
