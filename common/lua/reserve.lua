-- SPDX-License-Identifier: Apache-2.0
-- Reserves release times for many lanes of a pool; atomic, all keys under one hash tag. Twin of
-- common/pace/admission.c, which explains the algorithm: given the same input both grant the
-- same, so the order of floating-point operations is part of the contract. Change them together.
--   KEYS[1]  {p:POOL}:pace   hash of calendars, written by plan.lua, read here. Fields:
--            'a' the account, 'g:...' and the like limiters, 'l:LANE' lanes. Value:
--            "LIMITER,LIMITER|from,till,interval;from,till,interval;" (limiters: lanes only); with
--            "!" in front the lane is urgent: served first, and not held to 'a'
--   KEYS[2]  {p:POOL}:next   hash of clocks, doubles: at, owed of limiters; at, owed, at, owed of
--            lanes; '#': when it was made, plus the longest horizon. Permits of a state that was
--            lost may still be leaving until then, so nothing is given before.
--   KEYS[3]  {p:POOL}:quota  hash: limit, sum, tail, and permits by minute
--   ARGV     horizon in us, permits at most, now (- for Redis's clock; a number for replays),
--            then for each lane its name, how many messages wait, and how many of its permits passed
--            unused
-- Returns { now_us, wake_us, permits }: now since 1970 as text, wake from now; the permits in one
-- string (permit.h): the lane by its place in ARGV from 0 (lanes, not words), and us from now. Urgent lanes first, one
-- by one; the others in order of time where they share a limit, else lane by lane. Times inside are
-- us since 2026.
--
-- Redis stands still while this runs, and a permit should cost it less than 1 us. So a lane or
-- limiter knows until when (`safe`) all of its clocks stay within one row of its calendar: before
-- that a permit is plain addition, without a call and without a table.
local huge, find, sub = math.huge, string.find, string.sub
local pack, unpack_from = struct.pack, struct.unpack
local EPOCH, DAY, RING = 1767225600000000, 1440, 1500
local SQUEEZE, SLACK, LAG = 0.96, 0.5, 60e6
local PLACE = 1048576
local horizon, max, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - EPOCH
end

-- ---- calendars and clocks

-- Limiters and rows of a calendar: { from, till, interval, from, ... }; a number behind the last.
local function split(text)
	local bar = text and find(text, '|', 1, true)
	if not bar then
		return '', {}
	end
	local rows = string.gsub(sub(text, bar + 1), ';', ',')
	return sub(text, 1, bar - 1), cjson.decode('[' .. rows .. '0]')
end

-- Lets what is owed pass by a calendar from row i on; what its end leaves over stays owed.
local function run(at, owed, i, rows)
	local till = rows[i + 1]
	while owed > 0 and till do
		if at < till then
			if at < rows[i] then
				at = rows[i]
			end
			local interval = rows[i + 2]
			local room = (till - at) / interval
			if owed < room then
				at = at + owed * interval
				owed = 0
				break
			end
			owed = owed - room
			at = till
		end
		i = i + 3
		till = rows[i + 1]
	end
	while till and till <= at do
		i = i + 3
		till = rows[i + 1]
	end
	return at, owed, i
end

local function open_from(rows, i, t)
	local till = rows[i + 1]
	while till do
		if t < till then
			local from = rows[i]
			return t > from and t or from
		end
		i = i + 3
		till = rows[i + 1]
	end
	return huge
end

local function limiter_set(l, at, owed, row)
	local rows = l.rows
	at, owed, row = run(at, owed, row, rows)
	l.at, l.owed, l.row, l.safe = at, owed, row, -huge
	if owed == 0 and rows[row + 1] and at >= rows[row] then
		l.step = rows[row + 2]
		l.safe = rows[row + 1] - 2 * l.step
	end
end

local function limiter_open(l, t)
	if l.owed > 0 then
		return huge
	end
	return open_from(l.rows, l.row, t > l.at and t or l.at)
end

local function lane_set(l, due, due_owed, row, gap, gap_owed, gap_row)
	local rows = l.rows
	due, due_owed, row = run(due, due_owed, row, rows)
	gap, gap_owed, gap_row = run(gap, gap_owed, gap_row, rows)
	l.due, l.due_owed, l.row = due, due_owed, row
	l.gap, l.gap_owed, l.gap_row = gap, gap_owed, gap_row
	local from, step = rows[row], rows[row + 2] or 0
	l.step, l.squeezed, l.slack, l.safe = step, SQUEEZE * step, SLACK * step, -huge
	if due_owed == 0 and gap_owed == 0 and gap_row == row and step > 0 and due >= from and
		gap >= from then
		l.safe = rows[row + 1] - 2 * step
	end
end

-- The first moment from s on at which a lane and these limiters are open.
local function lane_open(l, s, chain)
	local t = s
	if l.due_owed > 0 or l.gap_owed > 0 then
		return huge
	end
	if t < l.due then
		t = l.due
	end
	if t < l.gap then
		t = l.gap
	end
	while true do
		local u = open_from(l.rows, l.row, t)
		for k = 1, #chain do
			if u == huge then
				break
			end
			u = limiter_open(chain[k], u)
		end
		if u == t or u == huge then
			return u
		end
		t = u
	end
end

-- A permit at a moment at which it is open, whatever the rows.
local function lane_take(l, at, chain)
	local rows, row, due, gap = l.rows, l.row, l.due, l.gap
	while rows[row + 1] <= at do
		row = row + 3
	end
	local slack = SLACK * rows[row + 2]
	if due < at - LAG then
		due = at - LAG
	end
	if gap < at - slack then
		gap = at - slack
	end
	lane_set(l, due, 1, l.row, gap, SQUEEZE, l.gap_row)
	for k = 1, #chain do
		limiter_set(chain[k], at, 1, chain[k].row)
	end
end

-- ---- what is asked, and what is known

local lanes, fields = {}, { 'a' }
for i = 4, #ARGV, 3 do
	local left = tonumber(ARGV[i + 1])
	if left > 0 then
		local place = (i - 4) / 3
		local field = 'l:' .. ARGV[i]
		-- all fields at once, since a table that grows is made anew
		lanes[#lanes + 1] = { i = place, base = place * PLACE, field = field, left = left,
			missed = tonumber(ARGV[i + 2]),
			due = 0, due_owed = 0, row = 1, gap = 0, gap_owed = 0, gap_row = 1,
			step = 0, squeezed = 0, slack = 0, safe = 0,
			rows = 0, chain = 0, own = 0, key = 0, next = 0, prev = 0 }
		fields[#fields + 1] = field
	end
end
local found = redis.call('HMGET', KEYS[1], unpack(fields))

-- limiters by name; chains by their text, shared by the lanes that have the same
local limiters, names, named, chains = {}, {}, {}, {}
local function limiter(name)
	local l = named[name]
	if not l then
		l = { field = name, lanes = 0 }
		named[name] = l
		limiters[#limiters + 1], names[#names + 1] = l, name
	end
	return l
end
local function chain_of(text)
	local chain = chains[text]
	if not chain then
		chain = { all = {}, urgent = sub(text, 1, 1) == '!', lanes = 0 }
		for name in string.gmatch(text, '[^,!]+') do
			chain.all[#chain.all + 1] = limiter(name)
		end
		chains[text] = chain
	end
	chain.lanes = chain.lanes + 1
	return chain
end
local bulk, blind = 0, false
for k = 1, #lanes do
	local l, text = lanes[k]
	text, l.rows = split(found[k + 1])
	blind = blind or not found[k + 1] -- it has no calendar yet
	l.chain = chain_of(text)
	bulk = bulk + (l.chain.urgent and 0 or 1)
end
local calendars = #names > 0 and redis.call('HMGET', KEYS[1], unpack(names)) or {}
for k = 1, #limiters do
	local _
	_, limiters[k].rows = split(calendars[k])
end
local account
if found[1] then
	local _
	account = { field = 'a', lanes = bulk }
	_, account.rows = split(found[1])
	limiters[#limiters + 1] = account
end

local known = { '#' }
for k = 1, #limiters do
	known[k + 1] = limiters[k].field
end
for k = 1, #lanes do
	known[#limiters + k + 1] = lanes[k].field
end
local states = redis.call('HMGET', KEYS[2], unpack(known))
local opens = states[1]
if not opens or #opens ~= 8 then
	redis.call('DEL', KEYS[2])
	opens = pack('<d', now + 1e6)
	redis.call('HSET', KEYS[2], '#', opens)
end
if now < unpack_from('<d', opens) then
	return { string.format('%.0f', now + EPOCH), 1000000, '' }
end
for k = 1, #limiters do
	local state, at, owed = states[k + 1], now, 0
	if state then
		at, owed = unpack_from('<dd', state)
	end
	limiter_set(limiters[k], at, owed, 1)
end
for k = 1, #lanes do
	local state, due, due_owed, gap, gap_owed = states[#limiters + k + 1], now, 0.5, now, 0
	if state then
		due, due_owed, gap, gap_owed = unpack_from('<dddd', state)
	end
	local l = lanes[k]
	lane_set(l, due, due_owed, 1, gap, gap_owed, 1)
	if l.missed > 0 and l.due_owed == 0 and l.step > 0 and l.due > l.rows[l.row] then
		l.due = math.max(l.due - l.missed * l.step, l.rows[l.row])
	end
end

-- The line: the limiters that every lane waits for, but urgent ones. They set the moments at which
-- one of the lanes may leave; what else a lane waits for is its own.
local line = {}
for _, chain in pairs(chains) do
	for k = 1, chain.urgent and 0 or #chain.all do
		chain.all[k].lanes = chain.all[k].lanes + chain.lanes
	end
end
for k = 1, #limiters do
	if bulk > 0 and limiters[k].lanes == bulk then
		line[#line + 1] = limiters[k]
		limiters[k].of_all = true
	end
end
for _, chain in pairs(chains) do
	chain.own = {}
	for k = 1, #chain.all do
		if chain.urgent or not chain.all[k].of_all then
			chain.own[#chain.own + 1] = chain.all[k]
		end
	end
end

-- ---- the quota of 24 hours: minutes that lie wholly more than a day back leave

local quota = redis.call('HMGET', KEYS[3], 'limit', 'sum', 'tail')
local limit, sum, tail = tonumber(quota[1] or 0), tonumber(quota[2] or 0), tonumber(quota[3] or 0)
local left = huge
if limit > 0 then
	local keep = math.floor(now / 60e6) - DAY
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

-- ---- grants

local stop, most = now + horizon, math.min(max, left)
local given, n, nobody = {}, 0, {}

-- urgent lanes, one by one
local urgent = huge
for k = 1, #lanes do
	local l = lanes[k]
	if l.chain.urgent then
		local at, chain = lane_open(l, now, l.chain.own), l.chain.own
		while at < stop and l.left > 0 and n < most do
			n = n + 1
			given[n] = l.base + (at - now)
			lane_take(l, at, chain)
			l.left = l.left - 1
			at = lane_open(l, at, chain)
		end
		if l.left > 0 and at < urgent then
			urgent = at
		end
	end
end

-- the others, with the time from which they may leave
local others = {}
for k = 1, #lanes do
	local l = lanes[k]
	if not l.chain.urgent then
		l.own = #l.chain.own > 0 and l.chain.own or nil
		l.key = lane_open(l, now, l.chain.own)
		if l.key < huge then
			others[#others + 1] = l
		end
	end
end

-- Lanes that share nothing, with room for whatever they may get, need no common order.
local function lanes_are_alone()
	if #line > 0 or limit > 0 then
		return false
	end
	local sure = n
	for k = 1, #others do
		local l, room = others[k], 0
		local rows, i = l.rows, l.row
		if l.own then
			return false
		end
		while rows[i + 1] and rows[i] < stop do
			local from, till = math.max(rows[i], l.key), math.min(rows[i + 1], stop)
			room = room + math.max(till - from, 0) / rows[i + 2] / SQUEEZE + 2
			i = i + 3
		end
		sure = sure + math.min(room, l.left)
	end
	return sure <= max
end

-- All permits of one lane; when it could go on.
local function serve(l)
	local at, left, base = l.key, l.left, l.base
	while at < stop and left > 0 do
		local edge = l.safe < stop and l.safe or stop
		if at < edge then
			local count, due, gap, step = n, l.due, l.gap, l.step
			local squeezed, slack = l.squeezed, l.slack
			while at < edge and left > 0 do
				count = count + 1
				given[count] = base + (at - now)
				left = left - 1
				if due < at - LAG then
					due = at - LAG
				end
				if gap < at - slack then
					gap = at - slack
				end
				due, gap = due + step, gap + squeezed
				at = due > gap and due or gap
			end
			n, l.due, l.gap = count, due, gap
		else
			n = n + 1
			given[n] = base + (at - now)
			left = left - 1
			lane_take(l, at, nobody)
		end
		at = lane_open(l, at, nobody)
	end
	return left > 0 and at or huge
end

-- The first moment from s on at which the whole line is open.
local function line_open(s)
	local t
	repeat
		t = s
		for k = 1, #line do
			s = limiter_open(line[k], s)
		end
	until s == t
	return s
end

-- Until when the line is taken; for how long a permit takes it, and before when that is so.
local function line_look()
	local free, step, sure = now, 0, huge
	for k = 1, #line do
		local c = line[k]
		free, step = math.max(free, c.at), math.max(step, c.step or 0)
		sure = math.min(sure, c.safe)
	end
	return free, step, sure
end

-- A permit at s in the line, whatever the rows.
local function line_take(s)
	for k = 1, #line do
		limiter_set(line[k], s, 1, line[k].row)
	end
end

-- The list of lanes: those that are ready by deadline, and from `edge` on those that wait, by time.
-- Mostly a lane goes to the end, since lanes of one rate take turns, or near the edge.
-- Puts one in that waits; returns the edge.
local function put(edge, last, l, at)
	local i, stop_at, a = l.i, edge.prev, last.prev
	l.key = at
	if edge ~= last and 2 * at < edge.key + a.key then
		a = edge
		while a.key < at or (a.key == at and a.i < i) do
			a = a.next
		end
		a = a.prev
	else
		while a ~= stop_at and (a.key > at or (a.key == at and a.i > i)) do
			a = a.prev
		end
	end
	local b = a.next
	l.prev, l.next, a.next, b.prev = a, b, l, l
	return a == stop_at and l or edge
end

-- One that is ready goes before those with later deadlines.
local function advance(l)
	local key, i, a, b = l.key, l.i, l.prev, l.next
	a.next, b.prev = b, a
	repeat
		a = a.prev
	until a.key < key or (a.key == key and a.i < i)
	b = a.next
	l.prev, l.next, a.next, b.prev = a, b, l, l
end

-- In order of time: each moment of the line goes to the lane that is due with the earliest
-- deadline. Returns when it could go on, and how many permits there are.
local function serve_in_order(given, count)
	local now, stop, most, LAG, huge = now, stop, most, LAG, huge
	local first, last = { key = -huge, i = -1 }, { key = huge, i = huge }
	local s, edge, taken = now, last
	local free, step, sure = line_look()
	first.next, last.prev = last, first
	for k = 1, #others do
		edge = put(edge, last, others[k], others[k].key)
	end
	while count < most do
		if s < free then
			s = free
		end
		if s < edge.key and first.next == edge then
			s = edge.key
			if s == huge then
				break
			end
		end
		if s >= sure then
			if taken then
				line_take(taken)
				taken = nil
			end
			s = line_open(s)
			free, step, sure = line_look()
		end
		if s >= stop then
			break
		end
		while edge.key <= s do
			local l = edge
			local before, deadline = l.prev.key, l.due + l.slack
			edge, l.key = l.next, deadline
			if deadline < before or (deadline == before and l.i < l.prev.i) then
				advance(l)
			end
		end
		local l = first.next
		local after = l.next
		first.next, after.prev = after, first

		local own, safe, at = l.own, l.safe, s
		if own then
			for k = 1, #own do
				local c = own[k]
				if c.safe < safe then
					safe = c.safe
				end
				if at < c.at then
					at = c.at
				end
			end
		end
		if at >= safe then
			at = lane_open(l, s, own or nobody)
		end
		local wanted = l.left
		if at <= s then -- else another lane took the turn of its own limiter, or it closed
			count, wanted = count + 1, wanted - 1
			given[count] = l.base + (s - now)
			l.left = wanted
			if s >= safe then
				lane_take(l, s, own or nobody)
				at, safe = s, -huge
			else
				local due, gap, t = l.due, l.gap, s - LAG
				if due < t then
					due = t
				end
				t = s - l.slack
				if gap < t then
					gap = t
				end
				due, gap = due + l.step, gap + l.squeezed
				l.due, l.gap = due, gap
				at = due > gap and due or gap
			end
			if own and safe > 0 then
				for k = 1, #own do
					local c = own[k]
					local t = s + c.step
					c.at = t
					if at < t then
						at = t
					end
				end
			end
			if s < sure then
				free, taken = s + step, s
			else
				line_take(s)
				free, step, sure = line_look()
			end
			if at >= safe and wanted > 0 then
				at = lane_open(l, s, own or nobody)
			end
		end
		if wanted > 0 and at < huge then
			local before = last.prev
			if edge ~= last and at > before.key then
				l.key, l.prev, l.next = at, before, last
				before.next, last.prev = l, l
			else
				edge = put(edge, last, l, at)
			end
		end
	end
	if taken then
		line_take(taken)
	end
	return s, count
end

local s = huge
if lanes_are_alone() then
	for k = 1, #others do
		s = math.min(s, serve(others[k]))
	end
else
	s, n = serve_in_order(given, n)
end

-- ---- write back

local out = {}
local function note(field, before, state)
	if state ~= before then
		out[#out + 1], out[#out + 2] = field, state
	end
end
for k = 1, #limiters do
	local l = limiters[k]
	note(l.field, states[k + 1], pack('<dd', l.at, l.owed))
end
for k = 1, #lanes do
	local l = lanes[k]
	note(l.field, states[#limiters + k + 1],
		pack('<dddd', l.due, l.due_owed, l.gap, l.gap_owed))
end
if #out > 0 then
	redis.call('HSET', KEYS[2], unpack(out))
end
if limit > 0 then -- a call spans two minutes at most
	local minute, early = math.floor(now / 60e6), 0
	local edge = (minute + 1) * 60e6 - now
	for k = 1, n do
		if given[k] % PLACE < edge then
			early = early + 1
		end
	end
	if early > 0 then
		redis.call('HINCRBY', KEYS[3], minute, early)
	end
	if n > early then
		redis.call('HINCRBY', KEYS[3], minute + 1, n - early)
	end
	redis.call('HSET', KEYS[3], 'sum', sum + n, 'tail', tail)
end
local wake = now + ((blind or n > 0) and 250e3 or 500e3) -- closed as far as calendars reach
if n == max then
	wake = now
elseif n == left then
	wake = now + 1e6
elseif math.min(s, urgent) < huge then
	wake = math.min(s, urgent) - 0.5 * horizon
end
wake = math.min(math.max(wake, now + 1e3), now + 1e6)
local permits = n > 0 and pack('<' .. string.rep('d', n), unpack(given, 1, n)) or ''
return { string.format('%.0f', now + EPOCH), math.floor(wake - now), permits }
