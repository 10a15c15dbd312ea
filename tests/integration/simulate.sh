#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What even sending promises, on small scenarios, with figures recomputed from the traces by
# tests/support/check_trace.py. TAP, run by prove. FULL=1 (make sim): 10 million recipients in
# 500,000 domains, and 10^8.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
programs=${KAIRAN_BIN:-$PWD/bin}
D=$(mktemp -d "${TMPDIR:-/tmp}/kairan.sim.XXXXXX")
trap 'rm -rf "$D"' EXIT

# arguments: name, members of the scenario; leaves $D/NAME.out. Guards are shifted by the scenario's name: $called when
# it is set
simulate()
{
	local name=$1

	printf '{"name":"%s",%s}' "${called:-$name}" "$2" >"$D/$name.json"
	shift 2
	"$programs/kairan" simulate --quiet --json "$@" "$D/$name.json" >"$D/$name.out"
}

# arguments: name, Python expression over d (the object), t (its total), l (lanes by name), r (rules by number); of a trace
# beside it: at (seconds behind the first), lane, campaign
holds()
{
	python3 -c 'import json, os, sys
d = json.load(open(sys.argv[1] + ".out")); t = d["total"]; l = {x["lane"]: x for x in d.get("lanes", [])}; r = d.get("invariants", {})
rows = [x.split() for x in open(sys.argv[1] + ".trace")] if os.path.exists(sys.argv[1] + ".trace") else []
us = [int(x[0]) for x in rows]; at = [(x - us[0]) / 1e6 for x in us]; lane = [x[1] for x in rows]; campaign = [x[2] for x in rows]
sys.exit(0 if eval(sys.argv[2]) else "# " + json.dumps(t))' "$D/$1" "$2"
}

# arguments: two names; says which figures differ by more than rounding, or "same"
compare()
{
	python3 - "$D/$1.out" "$D/$2.out" <<-'PY'
		import json, sys
		def flat(x, path, out):
		    if isinstance(x, (dict, list)):
		        for k, v in x.items() if isinstance(x, dict) else enumerate(x):
		            flat(v, f"{path}.{k}", out)
		    elif path.rsplit(".", 1)[-1] not in ("cpu_s", "rss_mb"):
		        out[path] = x
		    return out
		a, b = (flat(json.load(open(f)), "", {}) for f in sys.argv[1:])
		near = lambda x, y: abs(x - y) <= 1e-6 * max(1, abs(x)) if isinstance(x, (int, float)) else x == y
		off = [f"{k} {a.get(k)} {b.get(k)}" for k in a.keys() | b.keys() if k not in a or k not in b or not near(a[k], b[k])]
		print("same" if not off and len(a) > 20 else " ".join(sorted(off)[:5]))
	PY
}

python3 tests/support/domains.py 300000 20000 >"$D/sorted.txt"
python3 tests/support/domains.py 300000 20000 reversed >"$D/reversed.txt"
python3 tests/support/domains.py 300000 20000 shuffled >"$D/shuffled.txt"
common='"start":"2026-11-24T09:58:00+09:00","zone":"Asia/Tokyo","account_rate":"100/s","providers":"unlimited","dispatchers":3'

# ---- a sorted list over the hour: limits 2, guard 5 to 8, input order 9, memory 19, calls 20
called=list
tap_ok 'a list sorted by domain is played' simulate sorted "$common,\"domains\":\"sorted.txt\"" \
	--trace "$D/trace" --trace-order "$D/order"
tap_is "$(python3 tests/support/check_trace.py "$D/sorted.out" "$D/trace" "$D/order" 100)" ok \
	'an independent script finds the same figures in the traces'
tap_ok 'each recipient once, all of them (1)' holds sorted 'd["messages"] == 300000 and d["unsent"] == 0'
tap_ok 'no window above a limit (2)' holds sorted 't["window_violations"] == 0'
tap_ok 'nothing for strict groups within 4 minutes of an hour (5)' holds sorted \
	't["strict_within_4_min"] == 0 and sum(l["docomo"]["near_hour"][8:]) > 1000'
tap_ok 'no minute above 1.05 of the mean, with one message of rounding (6)' holds sorted \
	'all(x["peak_to_mean"] <= 1.05 + 1 / max(x["rate_per_s"] * 60, 1e-9) for x in d["lanes"])'
tap_ok 'open lanes do not rise while others are closed (7)' holds sorted \
	'all(x["burst_60s"] < 0.5 for x in d["lanes"] if x["guard"] == "soft" and x["rate_per_s"] > 1)'
tap_ok 'within one message of the line without a clock (8)' holds sorted 't["order_D_max"] <= 1'
tap_ok 'with a clock, within 1 + rate x 20 ms (8)' holds sorted 'all(x["D"] <= 1 + x["rate_per_s"] * 0.02 for x in d["lanes"])'
tap_ok 'it ends when it was planned to, within 5 % (17)' holds sorted \
	'abs(d["duration_s"] - d["planned_duration_s"]) <= 0.05 * d["planned_duration_s"]'
tap_ok 'at most one call for 20 messages (20)' holds sorted 't["calls_per_message"] <= 0.05'
for order in reversed shuffled; do
	tap_ok "the list $order" simulate "$order" "$common,\"domains\":\"$order.txt\"" --trace-order "$D/$order.order"
	tap_is "$(compare sorted "$order")" same "gives every figure of it (9)"
	tap_ok 'and the same order' cmp "$D/order" "$D/$order.order"
done
for order in sorted reversed shuffled; do
	python3 tests/support/domains.py 8000 500 "$order" >"$D/few.txt"
	tap_ok "a list rehearsed, $order" simulate "rehearsed-$order" \
		'"start":"2026-11-24T09:31:00+09:00","account_rate":"3/s","providers":"unlimited","dispatchers":2,"behaviour":{"latency_ms":150},"domains":"few.txt"'
	tap_is "$(compare rehearsed-sorted "rehearsed-$order")" same 'gives the same figures recipient by recipient (9)'
done
tap_ok 'with the figures that all have in common' holds rehearsed-sorted \
	't["window_violations"] == 0 and t["quota_violations"] == 0 and t["strict_within_4_min"] == 0 and sum(x["count"] for x in d["lanes"]) == d["messages"] and l["docomo"]["guard"] == "strict"'
status=0
"$programs/kairan" simulate --every 5 "$D/rehearsed-sorted.json" 2>"$D/err" || status=$?
tap_is "$status $(cat "$D/err")" '2 kairan: --every is of scenarios without campaigns and replies' \
	'an option that such a run has no use for is refused'
unset called

# ---- the quota of 24 hours (4)
tap_ok 'a run larger than the quota' simulate quota \
	'"start":"2026-11-24T09:11:00+09:00","lanes":{"google":3000,"au":1500,"docomo":1500},"providers":"unlimited","quota_24h":2000,"quota_used":500,"dispatchers":2'
tap_ok 'takes its days and breaks no day (4)' holds quota \
	't["quota_violations"] == 0 and d["duration_s"] > 2.5 * 86400 and d["unsent"] == 0'
tap_ok 'one whose quota was used up before it began' simulate used \
	'"start":"2026-11-24T09:11:00+09:00","lanes":{"google":900,"docomo":600},"providers":"unlimited","quota_24h":2000,"quota_used":2500' --trace "$D/used.trace"
tap_ok 'waits for a day, and breaks none (4)' holds used \
	't["quota_violations"] == 0 and us[0] >= 1795479060e6 + 86400e6 and d["unsent"] == 0 and len(us) == 1500'

# ---- faults: planner (16), Redis and dispatchers (2, 5)
cp docs/examples/crash.json "$D/crash.json"
"$programs/kairan" simulate --quiet --json --trace "$D/crash.trace" "$D/crash.json" >"$D/crash.out"
tap_ok 'crashes break no limit and lose nobody (1, 2, 5)' holds crash \
	't["window_violations"] == 0 and t["strict_within_4_min"] == 0 and d["unsent"] == 0 and t["lost_permits"] > 0'
tap_is "$(awk -v start=$((1795479060)) '{ s = int($1 / 1000000) - start } s >= 1800 + 840 + 60 && s < 1800 + 1500 { n++ } END { print n + 0 }' "$D/crash.trace")" 0 \
	'without a planner, silence within 15 minutes (16)'
tap_ok 'and sending again when it is back' test \
	"$(awk -v start=$((1795479060)) '{ s = int($1 / 1000000) - start } s >= 3360 && s < 3480 { n++ } END { print n + 0 }' "$D/crash.trace")" -gt 100

# ---- recipient by recipient; each rule in more than one world
# arguments: name, members, rules that must have been looked at, what else there is to see, in words and as in holds
rehearse()
{
	tap_ok "rehearsed: $1" simulate "$1" "$2" --trace "$D/$1.trace"
	tap_ok "nobody is left, rules $3 hold; $4" holds "$1" \
		"d['unsent'] == 0 and t['broken_rules'] == 0 and all(r[x]['checked'] > 0 for x in '$3'.split()) and ($5)"
}

# argument: how many times the recipients and rates of the small suite. By a relay: mail servers would not take as many
# connections
rehearse_all()
{
	local k=$1 long='"settings":{"dispatcher.expire_after_s":"604800"}' day='"start":"2026-11-24T09:11:00+09:00","providers":"unlimited","transport":"relay","dispatchers":2'

	rehearse restart "$day,\"account_rate\":\"$((4 * k))/s\",\"campaigns\":[{\"lanes\":{\"docomo\":$((5000 * k)),\"softbank\":$((2500 * k)),\"google\":$((9500 * k)),\"tail-00\":$((1000 * k))}}],\"faults\":[{\"what\":\"redis_lost\",\"at_s\":1500}]" '2 5 6 7 8 16 20' \
		'Redis restarted: a moment of silence, then paced, no burst' \
		"3 / $((4 * k)) < max(b - a for a, b in zip(at, at[1:]) if 1400 < a < 1600) < 5 and max(sum(1 for x in at if s <= x < s + 1) for s in range(1495, 1530)) <= $((4 * k + 1))"
	rehearse clocks "$day,\"account_rate\":\"$((3 * k))/s\",\"campaigns\":[{\"lanes\":{\"docomo\":$((1500 * k)),\"softbank\":$((1500 * k)),\"au\":$((1000 * k)),\"google\":$((6000 * k))}}],\"behaviour\":{\"clock_off_s\":[60,-60]}" '2 5 16' 'a minute off does not show' True
	rehearse old "$day,\"account_rate\":\"$((20 * k))/s\",\"campaigns\":[{\"lanes\":{\"google\":$((9000 * k)),\"apple\":$((3000 * k))}}],\"faults\":[{\"what\":\"old_planner\",\"at_s\":330}]" '2 8' 'its calendars are not taken' True
	rehearse weights "$day,\"guard\":\"off\",\"account_rate\":\"$((40 * k))/s\",\"campaigns\":[{\"weight\":5,\"lanes\":{\"google\":$((10000 * k)),\"yahoo-jp\":$((5000 * k))}},{\"weight\":3,\"lanes\":{\"google\":$((9000 * k))}},{\"weight\":2,\"lanes\":{\"apple\":$((6000 * k))}},{\"name\":\"single\",\"class\":\"transactional\",\"arrive\":\"$k/s\",\"lanes\":{\"default\":$((600 * k))}}]" '2 10 11' \
		'half, three tenths, a fifth, beside single mails' \
		'all(abs(campaign[5000:15000].count(f"campaign-{i}") / len([x for x in campaign[5000:15000] if x != "single"]) - w) < 0.02 for i, w in ((1, 0.5), (2, 0.3), (3, 0.2)))'
	rehearse canary "${day/T09:11/T19:31},\"account_rate\":\"$k/s\",\"campaigns\":[{\"quiet_hours\":\"21:00-08:00\",\"canary\":$((1000 * k)),\"canary_wait_s\":7200,\"lanes\":{\"google\":$((6000 * k)),\"docomo\":$((2000 * k)),\"yahoo-jp\":$((4000 * k))}}],$long" '5 8 17' \
		'nobody behind the canary before its wait is over, which is at night' \
		"sum(1 for x in at if x < 7200) in range($((1000 * k)), $((1000 * k)) + 4) and at[$((1000 * k)) + 4] > 44000"
	for start in 2026-10-24T19:31:00+02:00 2026-10-31T19:31:00-04:00; do
		rehearse continents "${day/2026-11-24T09:11:00+09:00/$start},\"account_rate\":\"$k/s\",\"campaigns\":[{\"quiet_hours\":\"21:00-08:00\",\"lanes\":{\"berlin\":{\"count\":$((8000 * k)),\"zone\":\"Europe/Berlin\"},\"ny\":{\"count\":$((8000 * k)),\"zone\":\"America/New_York\"}}}],$long" '8 17' \
			'clocks change, nights stay quiet' \
			'__import__("zoneinfo") and all(8 <= __import__("datetime").datetime.fromtimestamp(u / 1e6, z[n]).hour < 21 for z in [{"berlin": __import__("zoneinfo").ZoneInfo("Europe/Berlin"), "ny": __import__("zoneinfo").ZoneInfo("America/New_York")}] for u, n in zip(us, lane))'
	done
}
rehearse_all 1
# figures of lanes, by an independent script; `even` is a world in which they can be reckoned from the trace alone
rehearse even '"start":"2026-11-24T09:11:00+09:00","guard":"off","transport":"relay","dispatchers":2,"account_rate":"8/s","campaigns":[{"lanes":{"docomo":5000,"google":9500,"tail-00":1000,"tail-01":500}}]' \
	'2 8' 'two lanes with lists of their own, two that share one' 'all(x["campaign"] == "campaign-1" for x in d["lanes"])'
for world in even restart; do
	tap_is "$(python3 tests/support/check_rehearsal.py "$D/$world.out" "$D/$world.trace" "$world")" ok \
		"the figures of its lanes are those of the trace: $world"
done
printf 'group\town\t2\t20\t5/s\tsoft\tAsia/Tokyo\ttest\ndomain\town.example\town\ttest\n' >"$D/own.tsv"
rehearse dangling '"start":"2026-11-24T09:11:00+09:00","providers":"own.tsv","campaigns":[{"lanes":{"own":2500}}],"faults":[{"what":"group_gone","provider":"own","at_s":300}]' '1 2' \
	'a group that the table has no more is a site that nobody knows' \
	'sum(1 for x in at if x < 290) > 1000 and max(sum(1 for x in at if s <= x < s + 60) for s in range(320, 900, 60)) <= 61'

# ---- the examples: canary (21), quota (4), warm-up (12)
# arguments: name, rules that must have been looked at, what else there is to see, in words and as in holds
example()
{
	tap_ok "the example $1" simulate "$1" "$(sed '1d; $d; /^  "name"/d' "docs/examples/$1.json")" --trace "$D/$1.trace"
	tap_ok "rules $2 hold; $3" holds "$1" "t['broken_rules'] == 0 and all(r[x]['checked'] > 0 for x in '$2'.split()) and ($4)"
}
example canary '2 21' 'a list with dead addresses ends with its canary' \
	'[x["canary"] for x in d["campaigns"]] == ["fared well", "dead addresses"] and d["campaigns"][0]["open"] == 0 and d["campaigns"][1]["open"] == 2600 and campaign.count("old-list") == 400'
example quota '4 10' 'what is above the quota waits for its day' \
	'd["unsent"] == 0 and max(sum(1 for y in at if x <= y < x + 86400) for x in at[::50]) <= 3000 and sum(1 for x in at if x < 86400) <= 2500 + 1'
example warmup 12 'no day has more than its step' \
	'd["unsent"] == 0 and max(sum(1 for y in at if x <= y < x + 86400) for x in at[::20]) <= 1000 and at[-1] > 86400'
sed '2s/^/"leave_out": ["canary"],/' docs/examples/canary.json >"$D/unjudged.json"
"$programs/kairan" simulate --quiet --json "$D/unjudged.json" >"$D/unjudged.out" || true
tap_ok 'a canary that is not judged is noticed' holds unjudged 'r["21"]["broken"] == 1 and d["unsent"] == 0'

# ---- what it costs: memory 19, calls 20
# arguments: name, lanes, recipients of each, more members
cost()
{
	simulate "$1" "\"start\":\"2026-11-24T09:11:00+09:00\",\"providers\":\"unlimited\",\"guard\":\"off\",\"account_rate\":\"1000/s\",\"lanes\":{$(seq -f "\"l%g\":$3" -s, "$2")}${4:-}"
}
mb()
{
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["rss_mb"])' "$D/$1.out"
}
cost few 10 1000
cost many 10 100000
cost lanes 1010 10
cost slow 10 1000 ',"behaviour":{"latency_ms":10}'
cost crowd 10 11000 ',"behaviour":{"latency_ms":10}'
tap_ok "memory does not grow with the recipients: $(mb few) MB, $(mb many) MB (19)" test "$(($(mb many) - $(mb few)))" -le 2
tap_ok "nor much with lanes: $(mb lanes) MB with 1,000 more (19)" test "$(($(mb lanes) - $(mb few)))" -le 100
tap_ok "rehearsed, a recipient takes 100 bytes: $(mb slow) MB, $(mb crowd) MB with 100,000 more (19)" test "$(($(mb crowd) - $(mb slow)))" -le 12
tap_ok 'a rehearsed run of normal speed, too, has at most one call for 20 messages (20)' holds crowd 't["calls_per_message"] <= 0.05'

# ---- odd hours: DST in the run, a zone of 5:45, tiny and single lists
for change in 2026-10-25T00:30:00+02:00,Europe/Berlin 2027-03-14T00:30:00-05:00,America/New_York; do
	tap_ok "a change of offset in the run, ${change#*,}" simulate dst \
		"\"start\":\"${change%,*}\",\"zone\":\"${change#*,}\",\"open_hours\":\"08:00-21:00\",\"lanes\":{\"google\":5000,\"softbank\":5000},\"account_rate\":\"2/s\",\"providers\":\"unlimited\""
	tap_ok 'keeps hours and guard' holds dst 't["strict_within_4_min"] == 0 and t["window_violations"] == 0 and d["unsent"] == 0'
done
printf 'group\tnepal\t2\t20\t5/s\tstrict\tAsia/Kathmandu\ttest\ndomain\tnepal.example\tnepal\ttest\n' >"$D/nepal.tsv"
tap_ok 'a zone of 5:45' simulate nepal \
	'"start":"2026-11-24T09:58:00+09:00","providers":"nepal.tsv","lanes":{"nepal":20000},"dispatchers":2'
tap_ok 'keeps the guard of its own hours, and the limit of the group' holds nepal \
	't["strict_within_4_min"] == 0 and t["window_violations"] == 0 and l["nepal"]["rate_per_s"] <= 5'
tap_ok 'one recipient' simulate one '"lanes":{"google":1},"account_rate":"1/s"'
tap_ok 'is sent' holds one 'd["messages"] == 1'
tap_ok 'ten equal lanes' simulate equal "$common,\"lanes\":{$(seq -f '"l%g":2000' -s, 10)}"
tap_ok 'stay within one message' holds equal 't["order_D_max"] <= 1 and t["window_violations"] == 0'
for mode in asap window; do
	hours=
	[ $mode = asap ] || hours=',"window_h":3'
	tap_ok "mode $mode" simulate $mode "$common,\"mode\":\"$mode\"$hours,\"domains\":\"sorted.txt\""
	tap_ok "breaks no limit" holds $mode 't["window_violations"] == 0 and t["strict_within_4_min"] == 0 and d["unsent"] == 0'
done

# ---- what is wrong is said
refused()
{
	! simulate bad "$1" >/dev/null 2>"$D/err" && grep -q "$2" "$D/err"
}
tap_ok 'a zone that does not exist' refused '"zone":"Asia/Nowhere","lanes":{"google":1}' Nowhere
tap_ok 'an unknown group' refused '"lanes":{"x":{"count":1,"group":"gmail"}}' gmail
tap_ok 'a rate of zero' refused '"account_rate":"0/s","lanes":{"google":1}' 'above 0'
tap_ok 'a key with a mistake' refused '"acount_rate":"5/s","lanes":{"google":1}' acount_rate
tap_ok 'nobody to send to' refused '"lanes":{}' 'no recipients'
tap_ok 'a window that is too short' refused "$common,\"mode\":\"window\",\"window_h\":0.1,\"lanes\":{\"google\":300000}" 'too short'
tap_ok 'the provider table has no mistake' "$programs/kairan" provider check

if [ "${FULL:-0}" = 1 ]; then
	rehearse_all 20
	python3 tests/support/domains.py 10000000 500000 >"$D/ten.txt"
	big='"start":"2026-11-24T09:58:00+09:00","zone":"Asia/Tokyo","providers":"unlimited","dispatchers":3'
	simulate ten "$big,\"account_rate\":\"1000/s\",\"domains\":\"ten.txt\""
	tap_ok '10 million in 500,000 domains: every promise' holds ten \
		'(t["order_D_max"] <= 1 and t["window_violations"] == t["quota_violations"] == t["strict_within_4_min"] == 0 and
		all(x["D"] <= 1 + x["rate_per_s"] * 0.02 for x in d["lanes"]) and
		all(x["peak_to_mean"] <= 1.05 for x in d["lanes"] if x["rate_per_s"] * 60 > 20) and t["peak_to_mean"] <= 1.05 and d["rss_mb"] <= 150)'
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print("#", d["cpu_s"], "s,", d["rss_mb"], "MB,", d["total"])' "$D/ten.out"
	awk '{ print $1, $2 * 10 }' "$D/ten.txt" >"$D/hundred.txt"
	simulate hundred "$big,\"account_rate\":\"10000/s\",\"domains\":\"hundred.txt\""
	tap_ok '10^8 within 30 s of CPU' holds hundred 'd["cpu_s"] <= 30 and t["window_violations"] == 0 and d["unsent"] == 0 and all(x["D"] <= 1 + x["rate_per_s"] * 0.02 for x in d["lanes"])'
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print("#", d["cpu_s"], "s,", d["rss_mb"], "MB,", d["total"])' "$D/hundred.out"
fi
tap_done
