#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# whole_job: claim, compose, send, record with every state committed, PostgreSQL, Redis and the
# sink on the same cores, against smtp-source -d into the same smtp-sink, in turn.
#   whole_job.sh [BYTES] [RECIPIENTS] [tls|dkim]      default 10240 and 100,000
# With tls: through TLS to a stunnel in front of the sink, against the same job without. With dkim: each
# mail signed by RSA of 2048 bits, against what `openssl speed` signs on all cores in the same run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
. tests/support/make_ca.sh
bytes=${1:-10240}
recipients=${2:-100000}
pairs=${ROUNDS:-5}
sessions=${SESSIONS:-16}
mode=${3:-plain}
PATH=$PATH:/usr/sbin
command -v smtp-sink >/dev/null || { echo "whole_job skipped: smtp-sink (package postfix) is not here" >&2; exit 0; }

bench_services
bench_customers "$recipients"
bench_template "$bytes"
bench_campaign bench-job "$TEXT" "$HTML"
bench_sink
port=$SINK_PORT sink=$SINK
export KAIRAN_RELAY_PORT=$port KAIRAN_RELAY_CONNECTIONS=$sessions

ours=() yardstick=()
rss=0 unsent=0
declare -A split=()

# arguments: pids of dispatcher and producer. Adds each party's CPU so far, in ns, to the array split,
# with the sign of $3: once before and once after the job.
records='WITH o AS|DEALLOCATE (record|release)' # what the connection that records says last
parties=(dispatcher claim record pg_other redis sink producer)
count_parties()
{
	local party pids

	for party in "${parties[@]}"; do
		case $party in
		dispatcher) pids=$1 ;;
		claim) pids=$(pg_pids "usename = 'kairan_dispatcher' AND NOT query ~ '$records'") ;;
		record) pids=$(pg_pids "usename = 'kairan_dispatcher' AND query ~ '$records'") ;;
		pg_other) pids=$(pg_pids "backend_type <> 'client backend'") ;;
		redis) pids=$(cat "$SERVICES_DIR/redis.pid") ;;
		sink) pids=$sink ;;
		producer) pids="$2 $(pg_pids "usename = 'kairan_producer'")" ;;
		esac
		# shellcheck disable=SC2086 # several pids
		split[$party]=$((${split[$party]:-0} + $3 * $(cpu_ns $pids)))
	done
}

# stdout: CPU in us per message by party, as members of a JSON object
split_members()
{
	local party

	for party in "${parties[@]}"; do
		printf '"%s":%s,' "$party" "$(awk -v ns="${split[$party]}" -v n=$((recipients * pairs)) 'BEGIN { printf "%.1f", ns / n / 1000 }')"
	done | sed 's/,$//'
}

# arguments: run key, settings of the dispatcher. One run; RATE, and the highest memory in rss.
job()
{
	local key=$1 producer dispatcher peak

	shift
	# planning a second run within the first minute of a database, before it has statistics, takes minutes
	sql 'ANALYZE'
	sql "SELECT kairan.run_make('bench-job', '$key')" >/dev/null
	KAIRAN_PRODUCER_BACKLOG=$recipients program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	producer=$SERVICE_PID
	wait_sql "SELECT state = 'running' AND pushed = planned FROM kairan.run WHERE run_key = '$key'" 300
	sql 'CHECKPOINT'
	count_parties 0 "$producer" -1
	program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" env "$@" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	wait_sql "SELECT sent + failed >= planned FROM kairan.campaign_progress WHERE run_key = '$key'" 300 1
	peak=$(peak_mb "$dispatcher")
	[ "$peak" -le "$rss" ] || rss=$peak
	count_parties "$dispatcher" "$producer" 1
	RATE=$(sql "SELECT round(count(*) / extract(epoch FROM max(settled_at) - min(claimed_at)))
	    FROM kairan.send s JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = '$key' AND s.state = 'sent'")
	service_stop "$dispatcher"
	service_stop "$producer"
}

# A stunnel in front of the sink; TLS_JOB: settings of the dispatcher that go through it.
start_tunnel()
{
	local ca=$SERVICES_DIR/ca tls_port

	ca_make "$ca"
	ca_issue "$ca" sink IP:127.0.0.1
	tls_port=$(services_free_port)
	printf '%s\n' 'foreground = yes' 'pid =' '[sink]' "accept = 127.0.0.1:$tls_port" "connect = 127.0.0.1:$port" \
		"cert = $ca/sink.pem" "key = $ca/sink.key" >"$ca/stunnel.conf"
	service_spawn stunnel "$SERVICES_DIR/stunnel.log" stunnel4 "$ca/stunnel.conf"
	TLS_JOB=("KAIRAN_RELAY_PORT=$tls_port" KAIRAN_RELAY_TLS=implicit "KAIRAN_RELAY_TLS_CA_FILE=$ca/ca.pem")
	sleep 0.5
}

# Keys of the sender's domain; SIGNED: settings of the dispatcher that sign by them.
make_keys()
{
	SIGNED=("KAIRAN_DKIM_DIR=$SERVICES_DIR/dkim" KAIRAN_LOG_LEVEL=info)
	env "${SIGNED[@]}" "$programs/kairan" dkim new shop.example --algorithm rsa >&2
	env "${SIGNED[@]}" "$programs/kairan" dkim use shop.example --unchecked >&2
}

# Of the last job
was_signed()
{
	grep -q 'run loaded.*signatures=1' "$SERVICES_DIR/dispatcher.log" || services_fail 'nothing was signed'
}

[ "$mode" != dkim ] || make_keys
if [ "$mode" = tls ]; then
	command -v stunnel4 >/dev/null || { echo 'whole_job_tls skipped: stunnel4 is not here' >&2; exit 0; }
	start_tunnel
fi
for ((i = 1; i <= pairs; i++)); do
	sql 'CHECKPOINT'
	if [ "$mode" = tls ]; then
		job "plain-$i"
		yardstick+=("$RATE")
		job "tls-$i" "${TLS_JOB[@]}"
	elif [ "$mode" = dkim ]; then
		# by the clock, as the job is
		yardstick+=("$(openssl speed -multi "$(nproc)" -seconds 5 rsa2048 2>/dev/null | awk '/^rsa/ { printf "%.0f", $(NF - 1) }')")
		job "signed-$i" "${SIGNED[@]}"
	else
		start=$(now_ms)
		smtp-source -d -s "$sessions" -l "$bytes" -m "$recipients" -f a@b.example -t c@d.example "127.0.0.1:$port"
		yardstick+=("$(per_second "$recipients" "$start")")
		job "pair-$i"
	fi
	ours+=("$RATE")
done
members="\"rss_mb\":$rss,\"rss_target_mb\":64,\"cpu_us_per_message\":{$(split_members)}"
if [ "$mode" != dkim ]; then
	# what signing leaves of it, once
	make_keys
	[ "$mode" = plain ] || SIGNED+=("${TLS_JOB[@]}")
	job signed "${SIGNED[@]}"
	was_signed
	members+=",\"signed\":$RATE"
fi
unsent=$(sql "SELECT count(*) FROM kairan.send WHERE state <> 'sent'")
[ "$unsent" = 0 ] || services_fail "$unsent recipients were not sent"
service_stop "$sink" || true # smtp-sink dies of its signal
if [ "$mode" = tls ]; then
	name=whole_job_tls against="the same without TLS (through stunnel on the same cores with it)" target=null
elif [ "$mode" = dkim ]; then
	was_signed
	name=whole_job_dkim against="openssl speed -multi $(nproc) rsa2048" target=0.7
else
	name=whole_job_$((bytes / 1024))k against="smtp-source -d -s $sessions into the same smtp-sink" target=1.2
fi
bench_line "$name" "$(median "${ours[@]}")" 'messages/s' "$against" "$(median "${yardstick[@]}")" "$target" \
	"\"recipients\":$recipients,\"pairs\":$pairs,$members"
