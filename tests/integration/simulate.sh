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

# arguments: name, members of the scenario; leaves $D/NAME.out
simulate()
{
	local name=$1

	printf '{"name":"%s",%s}' "$name" "$2" >"$D/$name.json"
	shift 2
	"$programs/kairan" simulate --quiet --json "$@" "$D/$name.json" >"$D/$name.out"
}

# arguments: name, Python expression over d (the object), t (its total), l (lanes by name)
holds()
{
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1])); t = d["total"]; l = {x["lane"]: x for x in d["lanes"]}
sys.exit(0 if eval(sys.argv[2]) else "# " + json.dumps(t))' "$D/$1.out" "$2"
}

python3 tests/support/domains.py 300000 20000 >"$D/sorted.txt"
python3 tests/support/domains.py 300000 20000 reversed >"$D/reversed.txt"
python3 tests/support/domains.py 300000 20000 shuffled >"$D/shuffled.txt"
common='"start":"2026-11-24T09:58:00+09:00","zone":"Asia/Tokyo","account_rate":"100/s","providers":"unlimited","dispatchers":3'

# ---- a sorted list over the hour: limits 2, guard 5 to 8, input order 9, memory 19, calls 20
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
	tap_ok "the list $order" simulate "$order" "$common,\"domains\":\"$order.txt\""
	tap_is "$(python3 - "$D/sorted.out" "$D/$order.out" <<-'PY'
		import json, sys
		a, b = ({x["group"] + str(x["count"]): (x["order_D"], x["near_hour"][12:]) for x in json.load(open(f))["lanes"]} for f in sys.argv[1:])
		print("same" if a.keys() == b.keys() and all(abs(a[k][0] - b[k][0]) < 0.5 for k in a) else "different")
	PY
	)" same "gives the same lanes and the same bounds when $order (9)"
done

# ---- the quota of 24 hours (4)
tap_ok 'a run larger than the quota' simulate quota \
	'"start":"2026-11-24T09:11:00+09:00","lanes":{"google":3000,"au":1500,"docomo":1500},"providers":"unlimited","quota_24h":2000,"quota_used":500,"dispatchers":2'
tap_ok 'takes its days and breaks no day (4)' holds quota \
	't["quota_violations"] == 0 and d["duration_s"] > 2.5 * 86400 and d["unsent"] == 0'

# ---- faults: planner (16), Redis and dispatchers (2, 5)
cp docs/examples/crash.json "$D/crash.json"
"$programs/kairan" simulate --quiet --json --trace "$D/crash.trace" "$D/crash.json" >"$D/crash.out"
tap_ok 'crashes break no limit and lose nobody (1, 2, 5)' holds crash \
	't["window_violations"] == 0 and t["strict_within_4_min"] == 0 and d["unsent"] == 0 and t["lost_permits"] > 0'
tap_is "$(awk -v start=$((1795479060)) '{ s = int($1 / 1000000) - start } s >= 1800 + 840 + 60 && s < 1800 + 1500 { n++ } END { print n + 0 }' "$D/crash.trace")" 0 \
	'without a planner, silence within 15 minutes (16)'
tap_ok 'and sending again when it is back' test \
	"$(awk -v start=$((1795479060)) '{ s = int($1 / 1000000) - start } s >= 3360 && s < 3480 { n++ } END { print n + 0 }' "$D/crash.trace")" -gt 100

# ---- odd hours: DST in the run, a zone of 5:45, tiny and single lists
tap_ok 'a change of offset in the run' simulate dst \
	'"start":"2026-10-25T00:30:00+02:00","zone":"Europe/Berlin","open_hours":"08:00-21:00","lanes":{"google":5000,"softbank":5000},"account_rate":"2/s","providers":"unlimited"'
tap_ok 'keeps hours and guard' holds dst 't["strict_within_4_min"] == 0 and t["window_violations"] == 0 and d["unsent"] == 0'
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
	tap_ok "mode $mode" simulate $mode "$common,\"mode\":\"$mode\",\"window_h\":3,\"domains\":\"sorted.txt\""
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
