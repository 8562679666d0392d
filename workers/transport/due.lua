#!lua flags=allow-oom
-- Says whose lines have something to feed, to one feeder at a time.
--
-- KEYS  line, feeder
-- ARGV  who asks, and for how many ms nobody else is told once he was
-- Returns the lanes; none where nothing waits, or somebody else feeds.
local time = redis.call('TIME')
local lanes = redis.call('ZRANGE', KEYS[1], '-inf', time[1] + time[2] / 1000000, 'BYSCORE')
if #lanes == 0 then return {} end
local feeder = redis.call('GET', KEYS[2])
if feeder and feeder ~= ARGV[1] then return {} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return lanes
