#!lua flags=allow-oom
-- Takes messages that are ready and records them as unacked in the same step, so that no kill can lose one.
-- First puts what is due from each lane's delayed set into its ready lists. Then takes the most urgent priority
-- first and the lanes in turn, as kombu does; now and then one of the least urgent first, which would else be left out
-- for as long as there is something more urgent. A lane without room is passed over, and so is a paused one; a lane whose
-- pause is over gives one message at a time, until somebody takes the pause away.
--
-- KEYS  unacked hash, unacked index, then for each lane: delayed set, wake key, pause, one ready list per priority step
-- ARGV  credit, ticket, priority steps as digits, 1 to take the lanes in turn or 0 for the first that has something,
--       1 to begin with one of the least urgent of each lane or 0, then for each lane: room, name, name as JSON
-- Returns {ms until the next delayed message or the end of a pause, or -1, lane number, message, lane number, message, ...}. The nth message
-- is unacked under the tag "<lane name>/<ticket><n>".
local credit, ticket, steps, in_turn = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1'
local width = 3 + #steps
local lanes = (#KEYS - 2) / width
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local least_first = ARGV[5] == '1'
local wait_ms, order, room, held_up, entries, scores, reply = -1, {}, {}, {}, {}, {}, {0}

local function ready(lane, step) return KEYS[2 + (lane - 1) * width + 3 + step] end
local function pause(lane) return KEYS[2 + (lane - 1) * width + 3] end
local function delayed(lane) return KEYS[2 + (lane - 1) * width + 1] end
local function wake(lane) return KEYS[2 + (lane - 1) * width + 2] end

local function sooner(moment)
  local ms = math.max(0, math.ceil((moment - now) * 1000))
  if wait_ms < 0 or ms < wait_ms then wait_ms = ms end
end

local function hold_up(lane)
  local ends, trial = unpack(redis.call('HMGET', pause(lane), 'until', 'trial'))
  if not ends then return end
  held_up[lane] = true
  if ends == '' then
    room[lane] = 0
  elseif tonumber(ends) > now then
    room[lane] = 0
    sooner(tonumber(ends))
  elseif trial and redis.call('HEXISTS', KEYS[1], trial) == 1 then
    room[lane] = 0
  else
    room[lane] = math.min(room[lane], 1)
  end
end

local function promote(lane)
  local due = redis.call('ZRANGE', delayed(lane), '-inf', now, 'BYSCORE', 'LIMIT', 0, 200)
  if #due > 0 then redis.call('ZREM', delayed(lane), unpack(due)) end
  for _, entry in ipairs(due) do
    redis.call('LPUSH', ready(lane, steps:find(entry:sub(1, 1), 1, true)), entry:sub(2))
  end
  local first = redis.call('ZRANGE', delayed(lane), 0, 0, 'WITHSCORES')
  if first[2] then sooner(first[2]) end
end

local function take(lane, step)
  local message = redis.call('RPOP', ready(lane, step))
  if not message then return false end
  room[lane] = room[lane] - 1
  credit = credit - 1
  local taken = #reply / 2 + 0.5
  local tag = ARGV[4 + lane * 3] .. '/' .. ticket .. taken
  entries[#entries + 1] = tag
  entries[#entries + 1] = '[' .. message .. ', "", ' .. ARGV[5 + lane * 3] .. ']'
  scores[#scores + 1] = now
  scores[#scores + 1] = tag
  reply[#reply + 1] = lane - 1
  reply[#reply + 1] = message
  if held_up[lane] then redis.call('HSET', pause(lane), 'trial', tag) end
  return true
end

local function ring(lane)
  for step = 1, #steps do
    if redis.call('EXISTS', ready(lane, step)) == 1 then
      redis.call('ZADD', wake(lane), 0, '')
      redis.call('PEXPIRE', wake(lane), 60000)
      return
    end
  end
end

for lane = 1, lanes do
  order[lane], room[lane] = lane, tonumber(ARGV[3 + lane * 3])
  hold_up(lane)
  if room[lane] > 0 then promote(lane) end
end
if least_first then
  for lane = 1, lanes do
    local step = #steps
    while step > 0 and credit > 0 and room[lane] > 0 and not take(lane, step) do step = step - 1 end
  end
end
for step = 1, #steps do
  local empty, at = {}, 1
  while credit > 0 and at <= lanes do
    local lane = order[at]
    if empty[lane] or room[lane] == 0 or not take(lane, step) then
      empty[lane] = true
      at = at + 1
    else
      if in_turn then table.insert(order, table.remove(order, at)) end
      at = 1
    end
  end
end
if #entries > 0 then
  redis.call('HSET', KEYS[1], unpack(entries))
  redis.call('ZADD', KEYS[2], unpack(scores))
end
for lane = 1, lanes do
  if not held_up[lane] then ring(lane) end -- what stays is for a worker that has room
end
reply[1] = wait_ms
return reply
