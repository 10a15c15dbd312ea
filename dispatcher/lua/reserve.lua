-- SPDX-License-Identifier: Apache-2.0
-- Reserves future release times on one lane of a stream; atomic, all keys under one hash tag.
--   KEYS[1]  {p:STREAM}:cal   hash, lane -> "start_us|end_us|interval_us"
--   KEYS[2]  {p:STREAM}:tat   hash, lane -> us of the last permit given, so that a new interval
--            holds from the next one on
--   ARGV     lane, permits wanted, horizon in us (no permit lies further ahead)
-- Returns { permits, first_us, interval_us, now_us, wait_us } as text where a number could lose
-- digits. No permit: wait_us says when asking again is of use. There is no credit: an unused past
-- is lost, so a pause or a restart never ends in a burst. No calendar, or one that has run out,
-- means no permits: who sets the pace is gone.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(us)
	return string.format('%.0f', us)
end
local row = redis.call('HGET', KEYS[1], ARGV[1])
local from, till, interval
if row then
	from, till, interval = string.match(row, '^(%d+)|(%d+)|([%d.eE+-]+)$')
end
if not from or now >= tonumber(till) then
	return { 0, text(now), '0', text(now), 250000 }
end
from, till, interval = tonumber(from), tonumber(till), tonumber(interval)
local want, horizon = tonumber(ARGV[2]), tonumber(ARGV[3])
local at = math.max(tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) + interval, now, from)
local limit = math.min(now + horizon, till)
if interval <= 0 then
	return { want, text(at), '0', text(now), 0 }
end
if at >= limit then
	return { 0, text(at), '0', text(now), math.min(at - limit + 1000, 1000000) }
end
local n = math.min(want, math.floor((limit - at) / interval) + 1)
redis.call('HSET', KEYS[2], ARGV[1], text(at + (n - 1) * interval))
return { n, text(at), string.format('%.3f', interval), text(now), 0 }
