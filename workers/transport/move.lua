#!lua flags=allow-oom
-- Moves one message out of a hash (unacked, or quarantine) unless somebody was faster. Returns 1 if it did.
--
-- KEYS  hash it is in, unacked index, where it goes, wake key
-- ARGV  field, message, LPUSH | RPUSH | HSET, and the latest score at which it may go ('' for any)
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if ARGV[4] ~= '' and score and tonumber(score) > tonumber(ARGV[4]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[3] == 'HSET' then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
else
  redis.call(ARGV[3], KEYS[3], ARGV[2])
  redis.call('ZADD', KEYS[4], 0, '')
  redis.call('PEXPIRE', KEYS[4], 60000)
end
return 1
