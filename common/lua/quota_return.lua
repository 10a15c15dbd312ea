-- SPDX-License-Identifier: Apache-2.0
-- Permits that nobody used do not count against the quota; atomic.
--   KEYS[1]  {p:POOL}:quota  hash, see quota.lua
--   ARGV     how many, and for replays the time in us since 2026
-- Returns how many were taken off.
local key, left = KEYS[1], tonumber(ARGV[1])
if redis.call('HEXISTS', key, 'limit') == 0 then
	return 0
end
local now = tonumber(ARGV[2])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - 1767225600000000
end
local minute = math.floor(now / 60e6)
local done = 0
for at = minute + 1, minute - 1, -1 do
	local n = math.min(tonumber(redis.call('HGET', key, at) or 0), left)
	if n > 0 then
		redis.call('HINCRBY', key, at, -n)
		left, done = left - n, done + n
	end
end
redis.call('HINCRBY', key, 'sum', -done)
return done
