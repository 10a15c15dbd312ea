#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cpu_per_message: messages that the dispatcher claims, composes, sends and records per second of its own CPU (its
# database and Redis are other processes), beside Nodemailer's pooled transport with the same template into the
# same sink, in turn. The ratio is Nodemailer's CPU per message divided by the dispatcher's.
#   cpu_per_message.sh [BYTES] [RECIPIENTS]      default 10240 and 40,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
recipients=${2:-40000}
theirs_count=${NODEMAILER_MESSAGES:-4000}
pairs=${ROUNDS:-5}
connections=${SESSIONS:-16}
PATH=$PATH:/usr/sbin
export NODE_PATH=${NODE_PATH:-/usr/share/nodejs}
command -v smtp-sink >/dev/null || { echo 'cpu_per_message skipped: smtp-sink (package postfix) is not here' >&2; exit 0; }
if ! command -v node >/dev/null || ! node -e 'require("nodemailer")' 2>/dev/null; then
	echo 'cpu_per_message skipped: nodejs and node-nodemailer are not installed' >&2
	exit 0
fi

bench_services
bench_customers "$recipients"
bench_template "$bytes"
bench_campaign bench-cpu "$TEXT" "$HTML"
printf %s "$TEXT" >"$SERVICES_DIR/text"
printf %s "$HTML" >"$SERVICES_DIR/html"
bench_sink
export KAIRAN_RELAY_PORT=$SINK_PORT KAIRAN_RELAY_CONNECTIONS=$connections KAIRAN_PRODUCER_POLL_MS=100

# stdout: bytes that the sink has read so far; nothing where the kernel does not tell
sink_bytes()
{
	awk '/^rchar:/ { print $2 }' "/proc/$SINK/io" 2>/dev/null || true
}

# arguments: bytes of the sink before, messages; stdout: bytes a message, or null
bytes_each()
{
	awk -v a="${1:-0}" -v b="$(sink_bytes)" -v n="$2" 'BEGIN { if (b > a) printf "%.0f", (b - a) / n; else print "null" }'
}

# arguments: run key; dispatcher's us of CPU a message in US, bytes in OUR_BYTES
job()
{
	local before

	sql 'ANALYZE'
	sql "SELECT kairan.run_make('bench-cpu', '$1')" >/dev/null
	KAIRAN_PRODUCER_BACKLOG=$recipients program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	producer=$SERVICE_PID
	wait_sql "SELECT state = 'running' AND pushed = planned FROM kairan.run WHERE run_key = '$1'" 300
	before=$(sink_bytes)
	program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	wait_sql "SELECT sent >= planned FROM kairan.campaign_progress WHERE run_key = '$1'" 300
	US=$(awk -v ms="$(cpu_ms "$dispatcher")" -v n="$recipients" 'BEGIN { printf "%.1f", ms * 1000 / n }')
	OUR_BYTES=$(bytes_each "$before" "$recipients")
	service_stop "$dispatcher"
	service_stop "$producer"
}

ours=() theirs=()
for ((i = 1; i <= pairs; i++)); do
	before=$(sink_bytes)
	line=$(node tests/bench/send_nodemailer.js "$SINK_PORT" "$connections" "$theirs_count" "$SERVICES_DIR/text" "$SERVICES_DIR/html")
	their_bytes=$(bytes_each "$before" $((theirs_count + 1000)))
	theirs+=("$(python3 -c 'import json, sys; print("%.1f" % json.loads(sys.argv[1])["us"])' "$line")")
	job "pair-$i"
	ours+=("$US")
done
service_stop "$SINK" || true # smtp-sink dies of its signal
version=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["version"])' "$line")

# arguments: us a message; stdout: messages per second of CPU
per_cpu_second()
{
	awk -v us="$1" 'BEGIN { printf "%.0f", 1000000 / us }'
}
our_us=$(median "${ours[@]}") their_us=$(median "${theirs[@]}")
bench_line cpu_per_message "$(per_cpu_second "$our_us")" 'messages per second of CPU' "Nodemailer $version, pooled transport, the same template" \
	"$(per_cpu_second "$their_us")" 20 \
	"\"us\":$our_us,\"yardstick_us\":$their_us,\"bytes\":$OUR_BYTES,\"yardstick_bytes\":$their_bytes,\"recipients\":$recipients,\"pairs\":$pairs"
