-- SPDX-License-Identifier: Apache-2.0
-- Leases of connections to one destination, for all dispatchers together; atomic, all keys under one
-- hash tag. Twin of common/pace/connections.c, which explains the rules: given the same input both
-- grant the same. Change them together.
--   KEYS[1]  {p:POOL}:here  hash: dispatcher -> until when it counts as here, us since 2026; '#':
--            when this was made, plus the life of a lease. What was forgotten may be open until then
--   KEYS[2]  {p:POOL}:conn:DESTINATION  hash: dispatcher -> "held wanted"; missing: only a sign of life
--   ARGV     dispatcher, how many of them it knows, life of a lease in us, now in us since 2026 (- for
--            Redis's clock), then with KEYS[2] the limit, and how many it has open and wants to have
-- Returns { granted, was here before (1 or 0), '#' as text, how many are here }.
local me, known, life, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - 1767225600000000
end

local opens = redis.call('HGET', KEYS[1], '#')
if not opens then
	opens = string.format('%.0f', known > 1 and now + life or now)
	redis.call('HSET', KEYS[1], '#', opens)
end
local here, count, before = {}, 1, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	if all[i] ~= '#' then
		local alive = tonumber(all[i + 1]) > now
		if all[i] == me then
			before = alive and 1 or 0
		elseif alive then
			here[all[i]], count = true, count + 1
		else
			redis.call('HDEL', KEYS[1], all[i])
		end
	end
end
redis.call('HSET', KEYS[1], me, string.format('%.0f', now + life))
if not KEYS[2] then
	return { 0, before, opens, count }
end

local limit, have, want = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local share = math.floor(limit / math.max(known, count))
-- who is known and not here may use his share without asking
local free = limit - math.max(known - count, 0) * share
local fair = free
all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
	if all[i] ~= me then
		if here[all[i]] then
			local held, wanted = string.match(all[i + 1], '(%d+) (%d+)')
			held, wanted = tonumber(held), tonumber(wanted)
			free = free - held
			fair = fair - math.max(held, math.min(wanted, share))
		else
			redis.call('HDEL', KEYS[2], all[i])
		end
	end
end
local granted = math.min(want, math.max(fair, math.min(share, free)))
if now < tonumber(opens) then
	granted = math.min(want, have, limit)
end
granted = math.max(granted, 0)
-- what is open counts until it is closed
local held = math.max(granted, have)
if held + want > 0 then
	redis.call('HSET', KEYS[2], me, string.format('%d %d', held, want))
else
	redis.call('HDEL', KEYS[2], me)
end
return { granted, before, opens, count }
