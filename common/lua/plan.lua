-- SPDX-License-Identifier: Apache-2.0
-- Writes calendars and the day quota of a pool; atomic, all keys under one hash tag.
--   KEYS[1]  {p:POOL}:pace   hash of calendars, see reserve.lua; field '#' is the generation
--   KEYS[2]  {p:POOL}:quota  hash of the rolling 24 hours
--   ARGV     generation, quota of 24 hours (0: none, -: as it is), recipients that the outside
--            authority has counted in the last 24 hours, now (- for Redis's clock), then fields
--            and calendars in turn; an empty calendar removes the field
-- Returns 1; 0, and nothing changed, when a newer generation has written before.
local now = tonumber(ARGV[4])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - 1767225600000000
end
if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], '#') or 0) then
	return 0
end
redis.call('HSET', KEYS[1], '#', ARGV[1])
for i = 5, #ARGV, 2 do
	if ARGV[i + 1] == '' then
		redis.call('HDEL', KEYS[1], ARGV[i])
	else
		redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
	end
end
if ARGV[2] ~= '-' then
	redis.call('HSET', KEYS[2], 'limit', ARGV[2])
	local keep = math.floor(now / 60e6) - 1440
	local sum = tonumber(redis.call('HGET', KEYS[2], 'sum') or 0)
	local tail = tonumber(redis.call('HGET', KEYS[2], 'tail') or keep)
	if sum == 0 then
		tail = keep
	end
	local steps = 0
	while tail < keep and steps < 1500 do
		local n = redis.call('HGET', KEYS[2], tail)
		if n then
			sum = sum - n
			redis.call('HDEL', KEYS[2], tail)
		end
		tail, steps = tail + 1, steps + 1
	end
	if tail < keep then
		tail = keep
	end
	local used = tonumber(ARGV[3])
	if used > sum and tonumber(ARGV[2]) > 0 then
		redis.call('HINCRBY', KEYS[2], math.floor(now / 60e6), used - sum)
		sum = used
	end
	redis.call('HSET', KEYS[2], 'sum', sum, 'tail', tail)
end
return 1
