-- SPDX-License-Identifier: Apache-2.0
-- Writes the calendars of a pool; atomic, all keys under one hash tag.
--   KEYS[1]  {p:POOL}:pace   hash of calendars, see reserve.lua; field '#' is the generation
--   KEYS[2]  {p:POOL}:next   hash of clocks, see reserve.lua; may be missing. With it, what is left
--            of an interval counts on at the new rate, and a calendar that is removed takes its
--            clock along
--   ARGV     generation, now (- for Redis's clock), then fields and calendars in turn,
--            "LIMITER,LIMITER|from,till,interval;from,till,interval;" (limiters: lanes only; with "!"
--            in front the lane is urgent); an empty calendar removes the field
-- Returns 1; 0, and nothing changed, when a newer generation has written before.
local now = tonumber(ARGV[2])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - 1767225600000000
end
if tonumber(ARGV[1]) < tonumber(redis.call('HGET', KEYS[1], '#') or 0) then
	return 0
end
redis.call('HSET', KEYS[1], '#', ARGV[1])

-- A calendar as reserve.lua reads it: "LIMITER,LIMITER=", and three doubles for each row.
local function packed(text)
	local out = { string.match(text, '^[^|]*') .. '=' }
	for from, till, interval in string.gmatch(text, '([^,;|]+),([^,;]+),([^,;]+);') do
		out[#out + 1] = struct.pack('<ddd', from, till, interval)
	end
	return table.concat(out)
end

-- messages that a packed calendar lets pass between two times
local function messages(calendar, from, till)
	local sum = 0
	for i = (string.find(calendar, '=', 1, true) or #calendar) + 1, #calendar, 24 do
		local a, b, interval = struct.unpack('<ddd', calendar, i)
		local low, high = math.max(a, from), math.min(b, till)
		if high > low then
			sum = sum + (high - low) / interval
		end
	end
	return sum
end

-- A clock that stands behind all that may have been given goes back to there; the way counts as
-- owed, at most the one message that it was for.
local function rewind(field)
	local state = redis.call('HGET', KEYS[2], field)
	local old = redis.call('HGET', KEYS[1], field)
	if not state or not old then
		return
	end
	local out = ''
	for i = 1, #state, 16 do
		local base = now + 1e6
		local at, owed = struct.unpack('<dd', state, i)
		if at > base then
			at, owed = base, math.min(owed + messages(old, base, at), 1)
		end
		out = out .. struct.pack('<dd', at, owed)
	end
	redis.call('HSET', KEYS[2], field, out)
end

for i = 3, #ARGV, 2 do
	if KEYS[2] then
		if ARGV[i + 1] == '' then
			redis.call('HDEL', KEYS[2], ARGV[i])
		else
			rewind(ARGV[i])
		end
	end
	if ARGV[i + 1] == '' then
		redis.call('HDEL', KEYS[1], ARGV[i])
	else
		redis.call('HSET', KEYS[1], ARGV[i], packed(ARGV[i + 1]))
	end
end
return 1
