#!lua flags=allow-oom
-- One word of one worker process about one bucket: what it learned and used, and which calls ask for their turn.
-- The rules are those of tasks/rules/limiting.py, with the server's clock.
--
-- KEYS  bucket (hash), processes that use it (sorted set, by when they last spoke), index of buckets (sorted set)
-- ARGV  bucket's name in the index, process, credit_s
--       share, burst_s, slow_start, longest_wait_s, lives_s
--       limits learned (3: requests, input, output per minute; 0 for none)
--       ceilings of our own (3, 0 for none, negative for not said: each process says them once)
--       what the process remembers of a bucket that Redis has lost (5: limits, factor, age in s; age < 0 for nothing)
--       used without reservation (3, also negative), left as the server says (3, negative for not said)
--       seconds to pause (negative for none), what the pause leaves of the rate
--       held in the process by calls whose turn has not come (3)
--       then for each call: input, output
-- Returns {limits (3), factor and started share in millionths, pause left in us, level (3), age in s, processes}, then
-- for each call the us it waits, or where that is too long -1 minus them, and nothing is held.
local bucket, processes, index = KEYS[1], KEYS[2], KEYS[3]
local credit_s, share, burst_s = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local slow_start, longest_wait_s, lives_s = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local LEAST_FACTOR, STEP, STEP_EVERY_S, DOUBLES_EVERY_S, LITTLE_LEFT, FULL_S = 0.3, 0.01, 5, 60, 0.1, 1.1
local FALL_EXPLAINS_S, FALL_EVERY_S = 10, 60
local KEPT_S = 3600
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local names = {'requests', 'input', 'output'}

local function arguments(from) return {tonumber(ARGV[from]), tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])} end

local fields = {}
local found = redis.call('HGETALL', bucket)
for n = 1, #found, 2 do fields[found[n]] = found[n + 1] end
local function number(name) return tonumber(fields[name]) or 0 end

local own, unsent = arguments(28), arguments(28)
for field, value in pairs(fields) do
  if field:sub(1, 8) == 'waiting:' and field ~= 'waiting:' .. ARGV[2] then
    local n = 0
    for amount in value:gmatch('%S+') do
      n = n + 1
      unsent[n] = unsent[n] + amount
    end
  end
end

local limits, level, factor, born_at, at = {}, {}, 1, now, now
if #found > 0 then
  factor, born_at, at = number('factor'), number('born_at'), number('at')
  for n, name in ipairs(names) do limits[n], level[n] = number('limit:' .. name), number('level:' .. name) end
else
  level = {0, 0, 0}
  limits = arguments(15)
  if tonumber(ARGV[19]) >= 0 then factor, born_at = tonumber(ARGV[18]), now - ARGV[19] end
end
local stepped_at = fields['stepped_at'] and number('stepped_at') or now
local paused_until, fell_at = number('paused_until'), number('fell_at')
local made_at = #found > 0 and number('made_at') or now

-- Limits. The newest word of a ceiling counts; of a limit that merely was the old one nobody knows how high it is.
local knew, falls, ceilings = limits[1] > 0 or limits[2] > 0 or limits[3] > 0, false, arguments(12)
local function set_limit(n, limit)
  if limits[n] == 0 then level[n] = 0 end
  if not knew then born_at = now end
  limits[n] = limit
end
for n, ceiling in ipairs(ceilings) do
  local old = number('ceiling:' .. names[n])
  if ceiling < 0 then ceilings[n] = old end
  if ceilings[n] ~= old and #found > 0 then
    if limits[n] == 0 or limits[n] == old then set_limit(n, ceilings[n])
    elseif ceilings[n] > 0 then limits[n] = math.min(limits[n], ceilings[n]) end
  end
end
for n, learned in ipairs(arguments(9)) do
  if learned > 0 and learned ~= limits[n] then
    falls = falls or learned < limits[n]
    set_limit(n, learned)
  end
end

if falls and now - fell_at >= FALL_EVERY_S then fell_at = now end

-- Rates, and what has come in.
local steps = math.floor((now - stepped_at) / STEP_EVERY_S)
if factor < 1 and steps > 0 then
  factor = math.min(1, factor + steps * STEP)
  stepped_at = stepped_at + steps * STEP_EVERY_S
end
local started = math.min(1, slow_start * 2 ^ math.min(64, math.max(0, now - born_at) / DOUBLES_EVERY_S))
local rate, burst, kept, full = {}, {}, {}, {}
local function set_rates()
  for n = 1, 3 do
    rate[n] = limits[n] * share * factor * started / 60
    burst[n] = math.max(n == 1 and 1 or 0, rate[n] * burst_s)
    kept[n] = math.max(burst[n], rate[n] * credit_s)
    full[n] = math.max(burst[n], rate[n] * FULL_S)
  end
end
set_rates()
if now > at then
  for n = 1, 3 do level[n] = math.min(burst[n], level[n] + (now - at) * rate[n]) end
  at = now
end

-- What was used, also for the last minute's count.
local minute = math.floor(now / 60)
local so_far, before = {}, {}
for n, name in ipairs(names) do
  so_far[n], before[n] = number('now:' .. name), number('before:' .. name)
  if minute > number('minute') then
    before[n] = minute == number('minute') + 1 and so_far[n] or 0
    so_far[n] = 0
  end
end
local function charge(used)
  for n = 1, 3 do
    level[n] = level[n] - used[n]
    so_far[n] = so_far[n] + used[n]
  end
end
local used = arguments(20)
charge(used)
-- Made anew, it knows of no turns that one before it gave: each process that held some then brings them with its word.
if now - made_at < lives_s and not fields['waiting:' .. ARGV[2]] then
  for n = 1, 3 do level[n] = level[n] - math.max(0, own[n] - math.max(0, used[n])) end
end
-- What was given back is not more than the server can have kept for us, what waits included.
for n = 1, 3 do
  if limits[n] > 0 then level[n] = math.min(level[n], burst[n], kept[n] - unsent[n]) end
end

-- What the server says.
for n, left in ipairs(arguments(23)) do
  if left >= 0 and left < LITTLE_LEFT * limits[n] then level[n] = math.min(level[n], left) end
end
local pause_s, cut = tonumber(ARGV[26]), tonumber(ARGV[27])
if pause_s >= 0 then
  if now >= paused_until and now - fell_at >= FALL_EXPLAINS_S then
    factor = math.max(LEAST_FACTOR, factor * cut)
    stepped_at = now
    set_rates()
  end
  paused_until = math.max(paused_until, now + pause_s)
  at = math.max(at, paused_until)
  for n = 1, 3 do level[n] = math.min(0, level[n]) end
end

-- Whose turn is when.
local waits = {}
for n = 31, #ARGV, 2 do
  local asked = {1, tonumber(ARGV[n]), tonumber(ARGV[n + 1])}
  local missing_s = 0
  for d = 1, 3 do
    if asked[d] > 0 and rate[d] > 0 then
      missing_s = math.max(missing_s, (math.min(asked[d], full[d]) - level[d]) / rate[d])
    end
  end
  local wait_s = math.max(0, at - now) + missing_s
  local wait_us = math.ceil(wait_s * 1000000)
  if wait_s > longest_wait_s then
    waits[#waits + 1] = -1 - wait_us
  else
    for d = 1, 3 do
      own[d] = own[d] + asked[d]
      level[d] = level[d] - math.max(0, math.min(asked[d], full[d]) - kept[d])
    end
    charge(asked)
    waits[#waits + 1] = wait_us
  end
end

local function exact(value) return string.format('%.6f', value) end
local write = {
  'factor', exact(factor), 'stepped_at', exact(stepped_at), 'born_at', exact(born_at), 'at', exact(at),
  'paused_until', exact(paused_until), 'fell_at', exact(fell_at), 'made_at', exact(made_at), 'minute', minute,
  'share', exact(share * factor * started),
  'waiting:' .. ARGV[2], exact(own[1]) .. ' ' .. exact(own[2]) .. ' ' .. exact(own[3]),
}
for n, name in ipairs(names) do
  for field, value in pairs({limit = limits, ceiling = ceilings, level = level, now = so_far, before = before}) do
    write[#write + 1] = field .. ':' .. name
    write[#write + 1] = exact(value[n])
  end
end
redis.call('HSET', bucket, unpack(write))
redis.call('EXPIRE', bucket, KEPT_S)
redis.call('ZADD', index, now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', index, '-inf', now - KEPT_S)
redis.call('ZADD', processes, now, ARGV[2])
redis.call('EXPIRE', processes, KEPT_S)
for _, gone in ipairs(redis.call('ZRANGE', processes, '-inf', now - lives_s, 'BYSCORE')) do
  redis.call('ZREM', processes, gone)
  redis.call('HDEL', bucket, 'waiting:' .. gone)
end

local said = {
  math.floor(limits[1]), math.floor(limits[2]), math.floor(limits[3]),
  math.floor(factor * 1000000), math.floor(started * 1000000), math.ceil(math.max(0, paused_until - now) * 1000000),
  math.floor(level[1] * 1000), math.floor(level[2] * 1000), math.floor(level[3] * 1000),
  math.floor(now - born_at), redis.call('ZCARD', processes),
}
for _, wait_us in ipairs(waits) do said[#said + 1] = wait_us end
return said
