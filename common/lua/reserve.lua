-- SPDX-License-Identifier: Apache-2.0
-- Reserves release times for many lanes of a pool; atomic, all keys under one hash tag. Twin of
-- common/pace/admission.c, which explains the algorithm: given the same input both grant the
-- same, so the order of floating-point operations is part of the contract. Change them together.
--   KEYS[1]  {p:POOL}:pace   hash of calendars, written by plan.lua, read here. Fields:
--            'a' the account, 'g:...' and the like limiters, 'l:LANE' lanes. Value:
--            "LIMITER,LIMITER|from,till,interval;from,till,interval;" (limiters: lanes only); with
--            "!" in front the lane is urgent: served first, and not held to 'a'
--   KEYS[2]  {p:POOL}:next   hash of clocks: "at owed" of limiters, "at owed at owed" of lanes;
--            '#': when it was made, plus the longest horizon. Permits of a state that was lost may
--            still be leaving until then, so nothing is given before.
--   KEYS[3]  {p:POOL}:quota  hash: limit, sum, tail, and permits by minute
--   ARGV     horizon in us, permits at most, now (- for Redis's clock; a number for replays),
--            then for each lane its name and how many messages wait
-- Returns { now_us, wake_us, lane, offset_us, lane, offset_us, ... }: now since 1970 as text, wake
-- and offsets from now, lanes by their place in ARGV from 0; urgent lanes first, one by one; the
-- others in order of time where they share a limit, else lane by lane. Times inside are us since 2026.
local floor, huge = math.floor, math.huge
local EPOCH, DAY, RING = 1767225600000000, 1440, 1500
local SQUEEZE, SLACK, LAG = 0.96, 0.5, 60e6
local horizon, max, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - EPOCH
end

local opens = redis.call('HGET', KEYS[2], '#')
if not opens then
	opens = string.format('%.17g', now + 1e6)
	redis.call('HSET', KEYS[2], '#', opens)
end
if now < tonumber(opens) then
	return { string.format('%.0f', now + EPOCH), 1000000 }
end

local function rows_of(text)
	local from, till, interval, n = {}, {}, {}, 0
	for a, b, c in string.gmatch(text, '([^,;]+),([^,;]+),([^,;]+);') do
		n = n + 1
		from[n], till[n], interval[n] = tonumber(a), tonumber(b), tonumber(c)
	end
	return { from = from, till = till, interval = interval, n = n }
end

local function clock(at, owed)
	return { at = at, owed = owed, row = 1 }
end

local function seek(c, cal)
	local i, n, till, at = c.row, cal.n, cal.till, c.at
	while i <= n and till[i] <= at do
		i = i + 1
	end
	c.row = i
end

-- lets what is owed pass by the calendar; what its end leaves over stays owed
local function run(c, cal)
	local i, at, owed = c.row, c.at, c.owed
	while owed > 0 and i <= cal.n do
		local till = cal.till[i]
		if at < till then
			if at < cal.from[i] then
				at = cal.from[i]
			end
			local interval = cal.interval[i]
			local room = (till - at) / interval
			if owed < room then
				at = at + owed * interval
				owed = 0
				break
			end
			owed = owed - room
			at = till
		end
		i = i + 1
	end
	c.row, c.at, c.owed = i, at, owed
	seek(c, cal)
end

local function open_from(cal, i, t)
	local till = cal.till
	for k = i, cal.n do
		if t < till[k] then
			local from = cal.from[k]
			return t > from and t or from
		end
	end
	return huge
end

local function limiter_open(l, t)
	local c = l.next
	if c.owed > 0 then
		run(c, l.cal)
		if c.owed > 0 then
			return huge
		end
	end
	return open_from(l.cal, c.row, t > c.at and t or c.at)
end

local function lane_open(l, s)
	local due, gap, t = l.due, l.gap, s
	if due.owed > 0 or gap.owed > 0 then
		return huge
	end
	if t < due.at then
		t = due.at
	end
	if t < gap.at then
		t = gap.at
	end
	while true do
		local u = open_from(l.cal, due.row, t)
		local chain = l.chain
		for i = 1, #chain do
			if u == huge then
				break
			end
			u = limiter_open(chain[i], u)
		end
		if u == t or u == huge then
			return u
		end
		t = u
	end
end

local function key_of(l)
	return l.due.at + 0.5 * (l.cal.interval[l.due.row] or 0)
end

-- binary heaps of lanes by l[1], then by place
local function push(h, l, key)
	local n = h.n + 1
	h.n = n
	l.key = key
	local i = l.i
	while n > 1 do
		local up = floor(n / 2)
		local o = h[up]
		if o.key < key or (o.key == key and o.i < i) then
			break
		end
		h[n] = o
		n = up
	end
	h[n] = l
end

local function pop(h)
	local top, n = h[1], h.n
	local last = h[n]
	h[n] = nil
	n = n - 1
	h.n = n
	if n > 0 then
		local key, i, at = last.key, last.i, 1
		while true do
			local c = at * 2
			if c > n then
				break
			end
			local o = h[c]
			if c < n then
				local p = h[c + 1]
				if p.key < o.key or (p.key == o.key and p.i < o.i) then
					c, o = c + 1, p
				end
			end
			if key < o.key or (key == o.key and i < o.i) then
				break
			end
			h[at] = o
			at = c
		end
		h[at] = last
	end
	return top
end

-- ---- what is asked, and what is known

local lanes, fields, calendars = {}, { 'a' }, {}
for i = 4, #ARGV, 2 do
	local left = tonumber(ARGV[i + 1])
	if left > 0 then
		local l = { i = (i - 4) / 2, field = 'l:' .. ARGV[i], left = left }
		lanes[#lanes + 1] = l
		fields[#fields + 1] = l.field
	end
end
local found = redis.call('HMGET', KEYS[1], unpack(fields))
local limiters, names = {}, {}
local account
if found[1] then
	account = { field = 'a', cal = rows_of(string.match(found[1], '|(.*)$') or '') }
	limiters[1] = account
end
for k = 1, #lanes do
	local l, text = lanes[k], found[k + 1] or '|'
	local chain, rows = string.match(text, '^([^|]*)|(.*)$')
	l.cal, l.chain = rows_of(rows or ''), {}
	l.urgent = string.sub(chain or '', 1, 1) == '!'
	for name in string.gmatch(chain or '', '[^,!]+') do
		if not names[name] then
			names[name] = { field = name }
			limiters[#limiters + 1] = names[name]
		end
		l.chain[#l.chain + 1] = names[name]
	end
end
local known = {}
for _, l in ipairs(limiters) do
	if not l.cal then
		local text = redis.call('HGET', KEYS[1], l.field) or '|'
		l.cal = rows_of(string.match(text, '|(.*)$') or '')
	end
	known[#known + 1] = l.field
end
for k = 1, #lanes do
	known[#known + 1] = lanes[k].field
end
local states = #known > 0 and redis.call('HMGET', KEYS[2], unpack(known)) or {}
for k, l in ipairs(limiters) do
	local at, owed = string.match(states[k] or '', '^(%S+) (%S+)$')
	l.next = clock(tonumber(at or now), tonumber(owed or 0))
	run(l.next, l.cal)
end
local waiting, ready = { n = 0 }, { n = 0 }
for k, l in ipairs(lanes) do
	local a, b, c, d = string.match(states[#limiters + k] or '', '^(%S+) (%S+) (%S+) (%S+)$')
	l.due = clock(tonumber(a or now), tonumber(b or 0.5))
	l.gap = clock(tonumber(c or now), tonumber(d or 0))
	run(l.due, l.cal)
	run(l.gap, l.cal)
end

-- ---- the quota of 24 hours: minutes that lie wholly more than a day back leave

local quota = redis.call('HMGET', KEYS[3], 'limit', 'sum', 'tail')
local limit, sum, tail = tonumber(quota[1] or 0), tonumber(quota[2] or 0), tonumber(quota[3] or 0)
local left, taken = huge, {}
if limit > 0 then
	local keep = floor(now / 60e6) - DAY
	if sum == 0 then
		tail = keep
	end
	local steps = 0
	while tail < keep and steps < RING do
		local n = redis.call('HGET', KEYS[3], tail)
		if n then
			sum = sum - n
			redis.call('HDEL', KEYS[3], tail)
		end
		tail, steps = tail + 1, steps + 1
	end
	if tail < keep then
		tail = keep
	end
	left = sum < limit and limit - sum or 0
end

-- ---- grants, in order of time

local function next_moment(s)
	if account then
		s = limiter_open(account, s)
	end
	if ready.n == 0 then
		if waiting.n == 0 then
			return huge
		end
		local key = waiting[1].key
		if key > s then
			s = key
			if account then
				s = limiter_open(account, s)
			end
		end
	end
	return s
end

local s, stop, n = now, now + horizon, 0
local reply, r = { 0, 0 }, 2

local function grant(l, at)
	n = n + 1
	reply[r + 1], reply[r + 2] = l.i, floor(at - now)
	r = r + 2
	local due, gap, cal = l.due, l.gap, l.cal
	local row = due.row
	while cal.till[row] <= at do
		row = row + 1
	end
	local slack = SLACK * cal.interval[row]
	if due.at < at - LAG then
		due.at = at - LAG
	end
	due.owed = 1
	seek(due, cal)
	run(due, cal)
	if gap.at < at - slack then
		gap.at = at - slack
	end
	gap.owed = SQUEEZE
	seek(gap, cal)
	run(gap, cal)
	local chain = l.chain
	for i = 1, #chain do
		local c = chain[i].next
		c.at, c.owed = at, 1
		run(c, chain[i].cal)
	end
	if account and not l.urgent then
		account.next.at, account.next.owed = at, 1
		run(account.next, account.cal)
	end
	if limit > 0 then
		local minute = floor(at / 60e6)
		taken[minute] = (taken[minute] or 0) + 1
	end
	l.left = l.left - 1
end

local urgent = huge
for _, l in ipairs(lanes) do
	if l.urgent then
		local at = lane_open(l, now)
		while at < stop and l.left > 0 and n < max and n < left do
			grant(l, at)
			at = lane_open(l, at)
		end
		if l.left > 0 then
			urgent = math.min(urgent, at)
		end
	end
end
for _, l in ipairs(lanes) do
	local at = l.urgent and huge or lane_open(l, now)
	if at < huge then
		push(waiting, l, at)
	end
end

-- Lanes that share nothing, with room for whatever they may get, need no common order.
local function lanes_are_alone()
	if account or limit > 0 then
		return false
	end
	local most = n
	for k = 1, waiting.n do
		local l = waiting[k]
		if #l.chain > 0 then
			return false
		end
		local room = 0
		for i = l.due.row, l.cal.n do
			local from, till = math.max(l.cal.from[i], l.key), math.min(l.cal.till[i], stop)
			if l.cal.from[i] >= stop then
				break
			end
			room = room + math.max(till - from, 0) / l.cal.interval[i] / SQUEEZE + 2
		end
		most = most + math.min(room, l.left)
	end
	return most <= max
end

-- All permits of one lane; steps within one row are the same operations as grant(), inline.
local function serve(l)
	local at, cal, due, gap = l.key, l.cal, l.due, l.gap
	local place = l.i
	while at < stop and l.left > 0 do
		local i = due.row
		local from, till, interval = cal.from[i], cal.till[i], cal.interval[i]
		if gap.row == i and due.at >= from and gap.at >= from then
			local d, g, left, slack = due.at, gap.at, l.left, SLACK * interval
			local squeezed = SQUEEZE * interval
			while at < stop and at < till and left > 0 do
				local d2, g2 = d, g
				if d2 < at - LAG then
					d2 = at - LAG
				end
				if g2 < at - slack then
					g2 = at - slack
				end
				if 1 >= (till - d2) / interval or SQUEEZE >= (till - g2) / interval then
					break
				end
				reply[r + 1], reply[r + 2] = place, floor(at - now)
				r, left = r + 2, left - 1
				d, g = d2 + interval, g2 + squeezed
				if at < d then
					at = d
				end
				if at < g then
					at = g
				end
			end
			n = n + l.left - left
			due.at, gap.at, l.left = d, g, left
			seek(due, cal)
			seek(gap, cal)
			at = lane_open(l, at)
		end
		if at < stop and l.left > 0 then
			grant(l, at)
			at = lane_open(l, at)
		end
	end
	return l.left > 0 and at or huge
end

local alone = lanes_are_alone()
if alone then
	s = huge
	for k = 1, waiting.n do
		s = math.min(s, serve(waiting[k]))
	end
end
while not alone and n < max and n < left do
	s = next_moment(s)
	if s >= stop then
		break
	end
	while waiting.n > 0 and waiting[1].key <= s do
		local l = pop(waiting)
		push(ready, l, key_of(l))
	end
	local l = pop(ready)
	local at = lane_open(l, s)
	if at <= s then
		grant(l, s)
		at = l.left > 0 and lane_open(l, s) or huge
	end
	if at < huge then
		push(waiting, l, at)
	end
end

-- ---- write back

local out = {}
for _, l in ipairs(limiters) do
	out[#out + 1] = l.field
	out[#out + 1] = string.format('%.17g %.17g', l.next.at, l.next.owed)
end
for _, l in ipairs(lanes) do
	out[#out + 1] = l.field
	out[#out + 1] = string.format('%.17g %.17g %.17g %.17g', l.due.at, l.due.owed, l.gap.at, l.gap.owed)
end
if #out > 0 then
	redis.call('HSET', KEYS[2], unpack(out))
end
if limit > 0 then
	for minute, count in pairs(taken) do
		redis.call('HINCRBY', KEYS[3], minute, count)
	end
	redis.call('HSET', KEYS[3], 'sum', sum + n, 'tail', tail)
end
local wake = now + 250e3
if n == max then
	wake = now
elseif n == left then
	wake = now + 1e6
elseif math.min(s, urgent) < huge then
	wake = math.min(s, urgent) - 0.5 * horizon
end
wake = math.min(math.max(wake, now + 1e3), now + 1e6)
reply[1], reply[2] = string.format('%.0f', now + EPOCH), floor(wake - now)
return reply
