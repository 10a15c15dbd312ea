#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# growth: whole jobs, planning included, of each size named, into smtp-sink: what a message costs in CPU, all parties
# but the sink together, and the most memory of each program. One JSON line a size, then one that compares them.
#   growth.sh [RECIPIENTS...]      default 10,000, 100,000 and 1,000,000; BYTES=1024 a mail
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
[ $# -gt 0 ] || set -- 10000 100000 1000000
PATH=$PATH:/usr/sbin
command -v smtp-sink >/dev/null || { echo 'growth skipped: smtp-sink (package postfix) is not here' >&2; exit 0; }

bench_services
bench_template "${BYTES:-1024}"
bench_campaign bench-growth "$TEXT" "$HTML"
bench_sink
export KAIRAN_RELAY_PORT=$SINK_PORT

# stdout: bytes that Redis has taken for data at most, without those it begins with
redis_peak()
{
	redis-cli -s "$SERVICES_DIR/redis.sock" info memory | tr -d '\r' |
		awk -F: '$1 == "used_memory_peak" { peak = $2 } $1 == "used_memory_startup" { begin = $2 } END { print peak - begin }'
}

# arguments: pids of dispatcher and producer; the CPU so far of all parties, in ms, into the array spent with the sign of $3
declare -A spent=()
parties=(dispatcher producer postgresql redis)
count_parties()
{
	spent[dispatcher]=$((${spent[dispatcher]:-0} + $3 * $(cpu_ms "$1")))
	spent[producer]=$((${spent[producer]:-0} + $3 * $(cpu_ms "$2")))
	spent[postgresql]=$((${spent[postgresql]:-0} + $3 * $(pg_cpu_ms)))
	spent[redis]=$((${spent[redis]:-0} + $3 * $(cpu_ms "$(cat "$SERVICES_DIR/redis.pid")")))
}

# arguments: recipients; one line, and the us of CPU a message in US
grow()
{
	local rows=$1 key=rows-$1 producer dispatcher start seconds members='' party us

	sql 'TRUNCATE kairan.customer'
	bench_customers "$rows"
	sql 'CHECKPOINT'
	spent=()
	program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	producer=$SERVICE_PID
	program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	wait_sql "SELECT count(*) = 1 FROM kairan.lease WHERE expires_at > now()" 60
	start=$(now_ms)
	count_parties "$dispatcher" "$producer" -1
	sql "SELECT kairan.run_make('bench-growth', '$key')" >/dev/null
	wait_sql "SELECT state = 'finished' FROM kairan.run WHERE run_key = '$key'" $((600 + rows / 200)) 1
	count_parties "$dispatcher" "$producer" 1
	seconds=$((($(now_ms) - start) / 1000))
	US=0
	for party in "${parties[@]}"; do
		us=$(awk -v ms="${spent[$party]}" -v n="$rows" 'BEGIN { printf "%.1f", ms * 1000 / n }')
		members+="\"$party\":$us,"
		US=$(awk -v a="$US" -v b="$us" 'BEGIN { printf "%.1f", a + b }')
	done
	[ "$(sql "SELECT sent FROM kairan.campaign_progress WHERE run_key = '$key'")" = "$rows" ] || services_fail "not all $rows were sent"
	printf '{"bench":"growth","recipients":%d,"seconds":%d,"cpu_us_per_message":{%s"all":%s},"dispatcher_mb":%d,"producer_mb":%d,"redis_mb":%.1f,%s}\n' \
		"$rows" "$seconds" "$members" "$US" "$(peak_mb "$dispatcher")" "$(peak_mb "$producer")" \
		"$(awk -v b="$(redis_peak)" 'BEGIN { print b / 1048576 }')" '"dispatcher_target_mb":64,"producer_target_mb":64,"redis_target_mb":20'
	service_stop "$dispatcher"
	service_stop "$producer"
}

all=()
for rows in "$@"; do
	grow "$rows"
	all+=("$US")
done
service_stop "$SINK" || true # smtp-sink dies of its signal
worst=$(printf '%s\n' "${all[@]}" | sort -g | tail -n 1)
bench_line_less growth_cpu "$worst" 'us of CPU a message, the most of all sizes' "1.2 times the same at $1 recipients" \
	"$(awk -v us="${all[0]}" 'BEGIN { printf "%.1f", 1.2 * us }')" 1
