#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# first_message: from the start of a run to the answer to its first message, with producer and dispatcher up
# and CUSTOMERS customers; beside it the bare query that counts them by domain, which any even order begins with.
#   first_message.sh [CUSTOMERS]      default 1,000,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
customers=${1:-1000000}
rounds=${ROUNDS:-5}
PATH=$PATH:/usr/sbin
command -v smtp-sink >/dev/null || { echo 'first_message skipped: smtp-sink (package postfix) is not here' >&2; exit 0; }

bench_services
bench_customers "$customers"
bench_template 10240
bench_campaign bench-first "$TEXT" "$HTML"
bench_sink
export KAIRAN_RELAY_PORT=$SINK_PORT

# arguments: time in seconds of the clock, earlier time; stdout: seconds between
between()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a - b }'
}

# arguments: pattern, head or tail; stdout: when the producer said it first or last, in seconds of the clock
said_at()
{
	date -d "$(grep "$1" "$SERVICES_DIR/producer.log" | "$2" -n 1 | cut -d ' ' -f 1)" +%s.%N
}

ours=() bare=() parts=''
for ((i = 1; i <= rounds; i++)); do
	sql 'ANALYZE'
	sql 'CHECKPOINT'
	start=$(date +%s.%N)
	sql "SELECT lower(split_part(email, '@', 2)), count(*) FROM kairan.customer GROUP BY 1" >/dev/null
	bare+=("$(between "$(date +%s.%N)" "$start")")
	rm -f "$SERVICES_DIR/producer.log"
	program_spawn producer "$SERVICES_DIR/producer.log" env KAIRAN_LOG_LEVEL=debug "$programs/kairan-producer"
	producer=$SERVICE_PID
	program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	wait_sql "SELECT count(*) = 1 FROM kairan.lease WHERE expires_at > now()" 60
	start=$(date +%s.%N)
	sql "SELECT kairan.run_make('bench-first', 'round-$i')" >/dev/null
	wait_sql "SELECT sent > 0 FROM kairan.campaign_progress WHERE run_key = 'round-$i'" 600
	first=$(sql "SELECT extract(epoch FROM min(settled_at)) FROM kairan.send s
		JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = 'round-$i' AND s.state = 'sent'")
	ours+=("$(between "$first" "$start")")
	# of the last round
	parts="\"audience\":$(between "$(said_at 'audience read' head)" "$start"),"
	parts+="\"exclusions_and_sort\":$(between "$(said_at 'page written' head)" "$(said_at 'audience read' head)"),"
	parts+="\"rows\":$(between "$(said_at 'page written' tail)" "$(said_at 'page written' head)"),"
	parts+="\"indexes\":$(between "$(said_at 'rows indexed' head)" "$(said_at 'page written' tail)"),"
	parts+="\"seal\":$(between "$(said_at 'run planned' head)" "$(said_at 'rows indexed' head)"),"
	parts+="\"hand_over\":$(between "$first" "$(said_at 'run planned' head)")"
	bench_cancel "round-$i"
	service_stop "$dispatcher"
	service_stop "$producer"
done
service_stop "$SINK" || true # smtp-sink dies of its signal
bench_line_less first_message "$(median "${ours[@]}")" s 'the time that is allowed' 5 1 \
	"\"bare_count_s\":$(median "${bare[@]}"),\"customers\":$customers,\"rounds\":$rounds,\"parts_s\":{$parts}"
