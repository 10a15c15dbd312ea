#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pace_real: a campaign with a rate, sent for real. Three dispatchers, each in a network of its own,
# share one Redis and send to a sink that writes down when each mail came; one of them is killed half-way.
# What the sink has seen is held against the limits; TAP, figures as one JSON line last.
#   pace_real.sh [RECIPIENTS] [PER_SECOND]       default 60,000 and 500
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
. tests/bench/lib.sh
recipients=${1:-60000}
rate=${2:-500}
sink=${KAIRAN_BIN:-build/release}/tests/support/stamp_sink
connections=8
names=(one two three)

# ---- a network for each dispatcher, with a cable to ours ---------------------------------------

networks=()
networks_end()
{
	local each

	for each in "${networks[@]+"${networks[@]}"}"; do
		ip netns del "$each" 2>/dev/null || true # its end of the cable goes with it
	done
}
trap 'networks_end; _services_exit' EXIT

# arguments: number; the network kr$$-N has 10.213.N.2, we are 10.213.N.1 for it
network_add()
{
	local name=kr$$-$1

	ip netns add "$name" || return 1
	networks+=("$name")
	ip link add "kr$1-$$" type veth peer name eth0 netns "$name" &&
		ip address add "10.213.$1.1/24" dev "kr$1-$$" && ip link set "kr$1-$$" up &&
		ip -n "$name" address add "10.213.$1.2/24" dev eth0 && ip -n "$name" link set eth0 up
}

bench_services
D=$SERVICES_DIR
if network_add 1 2>"$D/network.log" && network_add 2 2>>"$D/network.log" && network_add 3 2>>"$D/network.log"; then
	tap_note 'three dispatchers in networks of their own'
else
	tap_note "three dispatchers as plain processes, since networks are not allowed here: $(head -n 1 "$D/network.log")"
	networks_end
	networks=()
fi

# ---- what is sent --------------------------------------------------------------------------------

bench_customers "$recipients"
# parts of gmail, docomo, softbank and yahoo in bench_customers; the limits are a little above what the plan needs
declare -A limit=([gmail]=$((rate * 34 / 100)) [docomo]=$((rate * 22 / 100)) [softbank]=$((rate * 11 / 100)) [yahoo]=$((rate * 12 / 100)))
for name in "${!limit[@]}"; do
	printf 'group\t%s\t10\t100\t%s/s\toff\tUTC\ttest 2026-11 guess\ndomain\t%s.example\t%s\ttest 2026-11 guess\n' \
		"$name" "${limit[$name]}" "$name" "$name"
done >"$D/providers.tsv"
bench_campaign pace 'Dear {{name}}, you have {{points}} points on your {{plan}} plan.' ''
sql "UPDATE kairan.stream SET rate_per_s = $rate WHERE name = 'marketing'"
export KAIRAN_PACE_PROVIDERS=$D/providers.tsv KAIRAN_PACE_GROUP_LIMITS=yes KAIRAN_PACE_ADAPTIVE=no KAIRAN_PACE_HOUR_GUARD=off
export KAIRAN_RELAY_CONNECTIONS=$connections KAIRAN_PRODUCER_POLL_MS=100 KAIRAN_DISPATCHER_POLL_MS=100
KAIRAN_RELAY_PORT=$(services_free_port)
export KAIRAN_RELAY_PORT
service_spawn sink "$D/sink.log" "$sink" 0.0.0.0 "$KAIRAN_RELAY_PORT" "$D/arrivals"
service_spawn stall "$D/stall.log" /usr/bin/python3 tests/bench/pace_real.py stalls "$D/stalls"

# arguments: number; pid in DISPATCHER, which is the program itself
dispatcher_start()
{
	local enter=() host=127.0.0.1

	if [ ${#networks[@]} -gt 0 ]; then
		enter=(ip netns exec "${networks[$1 - 1]}")
		host=10.213.$1.1
	fi
	program_spawn "dispatcher ${names[$1 - 1]}" "$D/dispatcher-$1.log" env KAIRAN_DISPATCHER_NAME="${names[$1 - 1]}" \
		KAIRAN_RELAY_HOST="$host" KAIRAN_LOG_LEVEL=debug "${enter[@]+"${enter[@]}"}" "$programs/kairan-dispatcher"
	DISPATCHER=$SERVICE_PID
}

# arguments: lines, seconds
arrivals_wait()
{
	local end=$((SECONDS + $2))

	until [ "$(wc -l <"$D/arrivals")" -ge "$1" ]; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

: >"$D/arrivals"
dispatcher_start 1
first=$DISPATCHER
dispatcher_start 2
second=$DISPATCHER
dispatcher_start 3
third=$DISPATCHER
program_spawn producer "$D/producer.log" "$programs/kairan-producer"
producer=$SERVICE_PID
sql "SELECT kairan.run_make('pace', 'real')" >/dev/null
# planning, sending, and as much again for a slow machine
patience=$((60 + 2 * recipients / rate))
tap_ok 'half of it comes' arrivals_wait $((recipients / 2)) "$patience"
kill -KILL "$third"
sleep 2
dispatcher_start 3
third=$DISPATCHER
tap_ok 'one of three dispatchers killed half-way: the run finishes' wait_sql "SELECT state = 'finished' FROM kairan.run" "$patience"
evalsha=$(redis-cli -s "$D/redis.sock" INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\),.*/\1/p')
peak=$(redis-cli -s "$D/redis.sock" INFO memory | sed -n 's/^used_memory_peak:\([0-9]*\).*/\1/p')
for pid in "$first" "$second" "$third" "$producer"; do
	service_stop "$pid" || tap_note "a program ended with $?"
done
sql "COPY (SELECT s.id, s.address, s.state, coalesce(l.name, ''), coalesce(l.paced, false) FROM kairan.send s LEFT JOIN kairan.run_lane l
	ON l.run_id = s.run_id AND l.lane = s.lane) TO STDOUT WITH (FORMAT csv)" >"$D/sends"
eta=$(sql 'SELECT extract(epoch FROM expected_finish) FROM kairan.run_plan')

# ---- what came of it ------------------------------------------------------------------------------

limits=()
for name in "${!limit[@]}"; do
	limits+=("$name.example=${limit[$name]}")
done
/usr/bin/python3 tests/bench/pace_real.py check --folder "$D" --rate "$rate" --dispatchers 3 --connections $((3 * connections)) \
	--eta "$eta" --calls "$evalsha" --redis "$peak" "${limits[@]}" >"$D/verdict" || true
while IFS=$'\t' read -r kind text; do
	case $kind in
	ok | fail) tap_is "$kind" ok "$text" ;;
	note) tap_note "$text" ;;
	json) json=$text ;;
	esac
done <"$D/verdict"
[ "${KEEP:-0}" = 0 ] || tap_note "kept: $D"
code=0
(tap_done) || code=$?
printf '%s\n' "${json:-{\}}"
exit "$code"
