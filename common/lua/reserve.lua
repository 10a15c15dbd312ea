-- SPDX-License-Identifier: Apache-2.0
-- Reserves release times for many lanes of a pool; atomic, all keys under one hash tag. Twin of
-- common/pace/admission.c, which explains the algorithm: given the same input both grant the
-- same, so the order of floating-point operations is part of the contract. Change them together.
--   KEYS[1]  {p:POOL}:pace   hash of calendars, written by plan.lua, read here. Fields:
--            'a' the account, 'g:...' and the like limiters, 'l:LANE' lanes. Value:
--            "LIMITER,LIMITER=" (limiters: lanes only) and rows of doubles: from, till, interval; with
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
local huge, floor = math.huge, math.floor
local byte, find, sub, rep = string.byte, string.find, string.sub, string.rep
local pack, unpack_from = struct.pack, struct.unpack
local EPOCH, DAY, RING = 1767225600000000, 1440, 1500
local SQUEEZE, SLACK, LAG = 0.96, 0.5, 60e6
local PLACE = 1048576
local AT_ONCE = 2000 -- fields of one call: unpack() takes less than 8,000
local horizon, max, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2] - EPOCH
end

-- ---- calendars and clocks

-- Limiters and rows of a calendar: { from, till, interval, from, ... }; a number behind the last.
local formats = {}
local function split(text)
	local mark = text and find(text, '=', 1, true)
	if not mark then
		return '', {}
	end
	local count = (#text - mark) / 24
	local format = formats[count]
	if not format then
		format = '<' .. rep('ddd', count)
		formats[count] = format
	end
	return sub(text, 1, mark - 1), { unpack_from(format, text, mark + 1) }
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
	local till = rows[row + 1]
	if owed > 0 or (till and till <= at) then
		at, owed, row = run(at, owed, row, rows)
		till = rows[row + 1]
	end
	l.at, l.owed, l.row, l.safe = at, owed, row, -huge
	if owed == 0 and till and at >= rows[row] then
		l.step = rows[row + 2]
		l.safe = till - 2 * l.step
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
	local till = rows[row + 1]
	if due_owed > 0 or (till and till <= due) then
		due, due_owed, row = run(due, due_owed, row, rows)
		till = rows[row + 1]
	end
	local gap_till = rows[gap_row + 1]
	if gap_owed > 0 or (gap_till and gap_till <= gap) then
		gap, gap_owed, gap_row = run(gap, gap_owed, gap_row, rows)
	end
	l.due, l.due_owed, l.row = due, due_owed, row
	l.gap, l.gap_owed, l.gap_row = gap, gap_owed, gap_row
	local from, step = rows[row], rows[row + 2] or 0
	l.step, l.safe = step, -huge
	if due_owed == 0 and gap_owed == 0 and gap_row == row and step > 0 and due >= from and
		gap >= from then
		l.safe = till - 2 * step
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

local lanes, fields, count = {}, { 'a' }, 0
for i = 4, #ARGV, 3 do
	local left = tonumber(ARGV[i + 1])
	if left > 0 then
		count = count + 1
		-- all fields at once, since a table that grows is made anew
		lanes[count] = { base = (i - 4) / 3 * PLACE, left = left,
			due = 0, due_owed = 0, row = 1, gap = 0, gap_owed = 0, gap_row = 1,
			step = 0, safe = 0, rows = 0, chain = 0, own = false,
			plain = 0, hold = false, taken = false }
		fields[count + 1] = 'l:' .. ARGV[i]
	end
end
local function read(key, names, n)
	if n <= AT_ONCE then
		return redis.call('HMGET', key, unpack(names, 1, n))
	end
	local all = {}
	for from = 1, n, AT_ONCE do
		local some = redis.call('HMGET', key, unpack(names, from, math.min(from + AT_ONCE - 1, n)))
		for k = 1, #some do
			all[from + k - 1] = some[k]
		end
	end
	return all
end
local found = read(KEYS[1], fields, count + 1)

-- limiters by name; chains by their text, shared by the lanes that have the same
local limiters, names, named, chains, name_count = {}, {}, {}, {}, 0
local function limiter(name)
	local l = named[name]
	if not l then
		l = { lanes = 0, rows = 0, at = 0, owed = 0, row = 1, step = 0, safe = 0 }
		named[name] = l
		name_count = name_count + 1
		limiters[name_count] = l
		names[name_count] = name
	end
	return l
end
-- { limiter, limiter, ..., urgent = } of "!NAME,NAME"; each once, or it would not count as everybody's
local function chain_of(text)
	local chain = chains[text]
	if not chain then
		local urgent = byte(text) == 33 -- '!'
		local at, size = urgent and 2 or 1, #text
		chain = { urgent = urgent }
		while at <= size do
			local comma = find(text, ',', at, true) or size + 1
			local l, k = limiter(sub(text, at, comma - 1)), 1
			while chain[k] and chain[k] ~= l do
				k = k + 1
			end
			chain[k] = l
			at = comma + 1
		end
		chains[text] = chain
	end
	return chain
end
local bulk, blind = 0, false
for k = 1, count do
	local l, text = lanes[k]
	text, l.rows = split(found[k + 1])
	blind = blind or not found[k + 1] -- it has no calendar yet
	local chain = chain_of(text)
	l.chain = chain
	if not chain.urgent then
		bulk = bulk + 1
		for i = 1, #chain do
			local c = chain[i]
			c.lanes = c.lanes + 1
		end
	end
end
local calendars = name_count > 0 and read(KEYS[1], names, name_count) or {}
for k = 1, name_count do
	local _
	_, limiters[k].rows = split(calendars[k])
	fields[count + 1 + k] = names[k]
end
local account
if found[1] then
	local _
	account = { lanes = bulk, step = 0 }
	_, account.rows = split(found[1])
end

-- clocks: of the account, of the lanes, of the limiters; when this was made
fields[count + name_count + 2] = '#'
local states = read(KEYS[2], fields, count + name_count + 2)
local opens = states[count + name_count + 2]
if not opens or #opens ~= 8 then
	redis.call('DEL', KEYS[2])
	opens = pack('<d', now + 1e6)
	redis.call('HSET', KEYS[2], '#', opens)
end
if now < unpack_from('<d', opens) then
	return { string.format('%.0f', now + EPOCH), 1000000, '' }
end
local function limiter_begin(l, state)
	local at, owed = now, 0
	if state then
		at, owed = unpack_from('<dd', state)
	end
	limiter_set(l, at, owed, 1)
end
for k = 1, name_count do
	limiter_begin(limiters[k], states[count + 1 + k])
end
if account then
	limiter_begin(account, states[1])
end
for k = 1, count do
	local state, due, due_owed, gap, gap_owed = states[k + 1], now, 0.5, now, 0
	if state then
		due, due_owed, gap, gap_owed = unpack_from('<dddd', state)
	end
	local l = lanes[k]
	lane_set(l, due, due_owed, 1, gap, gap_owed, 1)
	local missed = ARGV[l.base / PLACE * 3 + 6]
	if missed ~= '0' and l.due_owed == 0 and l.step > 0 and l.due > l.rows[l.row] then
		l.due = math.max(l.due - tonumber(missed) * l.step, l.rows[l.row])
	end
end

-- The line: the limiters that every lane waits for, but urgent ones. They set the moments at which
-- one of the lanes may leave; what else a lane waits for is its own.
local line = {}
for k = 1, name_count do
	if bulk > 0 and limiters[k].lanes == bulk then
		line[#line + 1] = limiters[k]
	end
end
for _, chain in pairs(#line > 0 and chains or {}) do
	local n, size = 0, #chain
	for k = 1, chain.urgent and 0 or size do -- what is left is its own
		local c = chain[k]
		chain[k] = nil
		if c.lanes < bulk then
			n = n + 1
			chain[n] = c
		end
	end
end
if account and bulk > 0 then
	line[#line + 1] = account
end

-- ---- the quota of 24 hours: minutes that lie wholly more than a day back leave

local quota = redis.call('HMGET', KEYS[3], 'limit', 'sum', 'tail')
local limit, sum, tail = tonumber(quota[1] or 0), tonumber(quota[2] or 0), tonumber(quota[3] or 0)
local left = huge
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

-- ---- grants

local stop, most = now + horizon, math.min(max, left)
local given, n, nobody = {}, 0, {}

-- urgent lanes, one by one
local urgent = huge
for k = 1, #lanes do
	local l = lanes[k]
	if l.chain.urgent then
		local at, chain = lane_open(l, now, l.chain), l.chain
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
local others, keys = {}, {}
for k = 1, count do
	local l = lanes[k]
	local chain = l.chain
	if not chain.urgent then
		local key = lane_open(l, now, chain)
		if key < huge then
			l.own = chain[1] and chain
			others[#others + 1], keys[#keys + 1] = l, key
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
			local from, till = math.max(rows[i], keys[k]), math.min(rows[i + 1], stop)
			room = room + math.max(till - from, 0) / rows[i + 2] / SQUEEZE + 2
			i = i + 3
		end
		sure = sure + math.min(room, l.left)
	end
	return sure <= max
end

-- All permits of one lane from a time on; when it could go on.
local function serve(l, at)
	local left, base = l.left, l.base
	while at < stop and left > 0 do
		local edge = l.safe < stop and l.safe or stop
		if at < edge then
			local count, due, gap, step = n, l.due, l.gap, l.step
			local squeezed, slack = SQUEEZE * step, SLACK * step
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

-- Until when a permit of a lane is plain addition. What others take too has to be looked at.
local function plain_until(l)
	local safe, own, hold = l.safe, l.own, 0
	for k = 1, own and #own or 0 do
		local c = own[k]
		if c.lanes > 1 then
			return -huge
		end
		if c.safe < safe then
			safe = c.safe
		end
		if c.step > hold then
			hold = c.step
		end
	end
	l.hold = own and hold -- for how long its own limiters are taken
	return safe
end

-- The clocks of its own limiters behind plain permits, the last of them at l.taken.
local function settle(l)
	for k = 1, l.taken and #l.own or 0 do
		l.own[k].at = l.taken + l.own[k].step
	end
	l.taken = false
end

-- A plain permit of a lane at s; when its own clocks let the next one pass.
local function lane_pass(l, s)
	local step, due, gap = l.step, l.due, l.gap
	if due < s - LAG then
		due = s - LAG
	end
	if gap < s - SLACK * step then
		gap = s - SLACK * step
	end
	due, gap = due + step, gap + SQUEEZE * step
	l.due, l.gap = due, gap
	return due > gap and due or gap
end

-- A permit at s where it may be no plain addition. Whether it is given, as another lane may have
-- taken the turn of its limiter, or that closed; and when the lane may go on.
local function try(l, s)
	local own, safe, at = l.own or nobody, l.safe, s
	settle(l)
	for k = 1, #own do
		local c = own[k]
		if c.safe < safe then
			safe = c.safe
		end
		if at < c.at then
			at = c.at
		end
	end
	if at >= safe then
		at = lane_open(l, s, own)
	end
	if at > s then
		return false, at
	end
	if s >= safe then
		lane_take(l, s, own)
		l.plain = plain_until(l)
		return true, lane_open(l, s, own)
	end
	at = lane_pass(l, s)
	for k = 1, #own do
		local t = s + own[k].step
		own[k].at = t
		if at < t then
			at = t
		end
	end
	if at >= safe then
		at = lane_open(l, s, own)
	end
	return true, at
end

-- In order of time: each moment of the line goes to the lane that is due with the earliest
-- deadline. Returns when it could go on, and how many permits there are.
--
-- Lanes that wait are w[wh] to w[wt], by the times at wk from which they may leave, then by place;
-- those that are ready are r[rh] to r[rt], by deadlines at rk, then by place. wkey is wk[wh]; wlast
-- and wbase, rlast and rbase are of the last ones put at an end, where lanes of one rate, which
-- take turns, always go.
local function serve_in_order(given, count)
	local now, stop, most, huge, LAG, SLACK, SQUEEZE = now, stop, most, huge, LAG, SLACK, SQUEEZE
	local w, wk, wh, wt, wkey, wlast, wbase = {}, {}, 1, 0, huge, -huge, 0
	local r, rk, rh, rt, rlast, rbase = {}, {}, 1, 0, -huge, 0

	-- Puts one in before the last of keys[head] to keys[tail]; the new tail is one further.
	local function put_before(list, keys, head, tail, l, key)
		local j, before, base = tail, keys[tail], l.base
		while j >= head and (before > key or (before == key and list[j].base > base)) do
			local k = j + 1
			list[k] = list[j]
			keys[k] = before
			j = j - 1
			before = keys[j]
		end
		list[j + 1] = l
		keys[j + 1] = key
		return tail + 1, keys[tail + 1], list[tail + 1].base
	end
	-- Puts one in behind the first; the new head is one before.
	local function put_behind(list, keys, head, l, key)
		local j, next, base = head, keys[head], l.base
		while next < key or (next == key and list[j].base < base) do
			local k = j - 1
			list[k] = list[j]
			keys[k] = next
			j = j + 1
			next = keys[j]
		end
		list[j - 1] = l
		keys[j - 1] = key
		return head - 1, keys[head - 1]
	end

	local owned = false
	for k = 1, #others do
		local l = others[k]
		owned = owned or l.own
		l.plain = plain_until(l)
		wt, wlast, wbase = put_before(w, wk, wh, wt, l, keys[k])
	end
	wkey = wk[wh] or huge
	local s, taken, careful = now, nil, false
	local free, step, sure = line_look()
	local bound = sure < stop and sure or stop
	while count < most do
		if s < free then
			s = free
		end
		if s < wkey and rh > rt then
			s = wkey
			if s == huge then
				break
			end
		end
		if s >= bound then
			if s >= sure then
				if taken then
					line_take(taken)
					taken = nil
				end
				s = line_open(s)
				free, step, sure = line_look()
				bound = sure < stop and sure or stop
				careful = s >= sure
			end
			if s >= stop then
				break
			end
		end

		local l
		if wkey <= s then
			l = w[wh]
			wh = wh + 1
			wkey = wh > wt and huge or wk[wh]
			if rh <= rt or wkey <= s then -- else nobody else is ready
				while true do
					local deadline, base = l.due + SLACK * l.step, l.base
					if deadline > rlast or (deadline == rlast and base > rbase) then
						rt = rt + 1
						r[rt] = l
						rk[rt] = deadline
						rlast, rbase = deadline, base
					else
						rt, rlast, rbase = put_before(r, rk, rh, rt, l, deadline)
					end
					if wkey > s then
						break
					end
					l = w[wh]
					wh = wh + 1
					wkey = wh > wt and huge or wk[wh]
				end
				l = r[rh]
				rh = rh + 1
			end
		else
			l = r[rh]
			rh = rh + 1
		end

		local left, base, granted, at = l.left, l.base, true
		if s < l.plain then -- as lane_pass()
			local step, due, gap, t = l.step, l.due, l.gap, s - LAG
			if due < t then
				due = t
			end
			t = s - SLACK * step
			if gap < t then
				gap = t
			end
			at = due + step
			l.due = at
			gap = gap + SQUEEZE * step
			l.gap = gap
			if at < gap then
				at = gap
			end
			if owned then
				if l.hold then
					l.taken = s
					t = s + l.hold
					if at < t then
						at = t
					end
				end
				if at >= l.plain then
					settle(l)
					at = lane_open(l, s, l.own or nobody)
				end
			end
		else
			granted, at = try(l, s)
		end
		if granted then
			count = count + 1
			given[count] = base + (s - now)
			left = left - 1
			l.left = left
			taken = s
			free = s + step
			if careful then
				line_take(s)
				taken, careful = nil, false
				free, step, sure = line_look()
				bound = sure < stop and sure or stop
			end
		end
		if left > 0 then
			if at > wlast or (at == wlast and base > wbase) then
				wt = wt + 1
				w[wt] = l
				wk[wt] = at
				wlast, wbase = at, base
				if wh == wt then
					wkey = at
				end
			elseif wh < wt and 2 * at < wkey + wlast then
				wh, wkey = put_behind(w, wk, wh, l, at)
			else
				wt, wlast, wbase = put_before(w, wk, wh, wt, l, at)
				wkey = wk[wh]
			end
		end
	end
	if taken then
		line_take(taken)
	end
	for k = 1, #others do
		settle(others[k])
	end
	return s, count
end

local s = huge
if lanes_are_alone() then
	for k = 1, #others do
		s = math.min(s, serve(others[k], keys[k]))
	end
else
	s, n = serve_in_order(given, n)
end

-- ---- write back

local out, changed = {}, 0
for k = account and 1 or 2, count + name_count + 1 do
	local state
	if k > 1 and k <= count + 1 then
		local l = lanes[k - 1]
		state = pack('<dddd', l.due, l.due_owed, l.gap, l.gap_owed)
	else
		local l = k == 1 and account or limiters[k - count - 1]
		state = pack('<dd', l.at, l.owed)
	end
	if state ~= states[k] then
		out[changed + 1] = fields[k]
		changed = changed + 2
		out[changed] = state
	end
end
for from = 1, changed, 2 * AT_ONCE do
	redis.call('HSET', KEYS[2], unpack(out, from, math.min(from + 2 * AT_ONCE - 1, changed)))
end
if limit > 0 then -- a call spans two minutes at most
	local minute, early = floor(now / 60e6), 0
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
local permits = n > 0 and pack('<' .. rep('d', n), unpack(given, 1, n)) or ''
return { string.format('%.0f', now + EPOCH), floor(wake - now), permits }
