-- SPDX-License-Identifier: Apache-2.0
-- Sets the quota of 24 hours of a pool and puts back what Redis lost; atomic. Twin of
-- common/pace/quota.c; reserve.lua counts what goes out.
--   KEYS[1]  {p:POOL}:quota  hash: limit, sum, tail, permits by minute, and in `others` what an
--            outside authority counts beyond our own
--   ARGV     limit (0: none, everything is forgotten), recipients that the outside authority
--            counted in the last 24 hours (- when there is none), now in us since 2026 (- for
--            Redis's clock), then minutes and what went out in them at least
-- Returns { limit, sum }.
local key, limit, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - 1767225600000000
end
if limit == 0 then
	redis.call('DEL', key)
	return { 0, 0 }
end
local minute = math.floor(now / 60e6)
local keep = minute - 1440
local sum = tonumber(redis.call('HGET', key, 'sum') or 0)
local tail = tonumber(redis.call('HGET', key, 'tail') or keep)
local others = tonumber(redis.call('HGET', key, 'others') or 0)
if sum == 0 then
	tail = keep
end
local steps = 0
while tail < keep and steps < 1500 do
	local n = redis.call('HGET', key, tail)
	if n then
		sum = sum - n
		redis.call('HDEL', key, tail)
	end
	tail, steps = tail + 1, steps + 1
end
if tail < keep then
	tail = keep
end
for i = 4, #ARGV, 2 do
	local at, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
	local there = tonumber(redis.call('HGET', key, at) or 0)
	if at >= tail and at <= minute + 1 and there < n then
		redis.call('HSET', key, at, n)
		sum = sum + n - there
	end
end
local counted = tonumber(ARGV[2])
if counted then
	local own = sum - others
	others = math.max(counted - own, 0)
	sum = own + others
end
redis.call('HSET', key, 'limit', limit, 'sum', sum, 'tail', tail, 'others', others)
return { limit, sum }
