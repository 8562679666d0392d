#!lua flags=allow-oom
-- Says of messages that are still worked on: not abandoned. Those that left the index meanwhile stay away.
--
-- KEYS  unacked index.  ARGV  tags
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, tag in ipairs(ARGV) do redis.call('ZADD', KEYS[1], 'XX', now, tag) end
