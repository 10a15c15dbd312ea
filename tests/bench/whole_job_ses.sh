#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# whole_job_ses: claim, compose, sign, POST over TLS, record, against wrk POSTing bodies of the same size over
# TLS keep-alive to the same nginx, in turn. nginx answers as SendEmail does and checks nothing.
#   whole_job_ses.sh [BYTES] [RECIPIENTS]      default 10240 and 100,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
recipients=${2:-100000}
pairs=${ROUNDS:-5}
connections=${CONNECTIONS:-16}
PATH=$PATH:/usr/sbin
bench_needs whole_job_ses nginx wrk

bench_services
bench_customers "$recipients"
bench_template "$bytes"
bench_campaign bench-ses "$TEXT" "$HTML"
bench_ses_endpoint
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=bench AWS_REGION=ap-northeast-1 AWS_CA_BUNDLE=$SERVICES_DIR/ses/ca.pem
export KAIRAN_DISPATCHER_TRANSPORT=ses KAIRAN_SES_CONNECTIONS=$connections KAIRAN_PRODUCER_POLL_MS=100

# arguments: run key, port; PEAK and CPU of the dispatcher
run_job()
{
	local producer dispatcher

	sql "SELECT kairan.run_make('bench-ses', '$1')" >/dev/null
	KAIRAN_PRODUCER_BACKLOG=$recipients program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	producer=$SERVICE_PID
	wait_sql "SELECT state = 'running' AND pushed = planned FROM kairan.run WHERE run_key = '$1'" 300
	sql 'CHECKPOINT'
	AWS_ENDPOINT_URL_SESV2=https://127.0.0.1:$2 program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	# seldom: each look is a process and a connection on the cores that send
	wait_sql "SELECT sent + failed >= planned FROM kairan.campaign_progress WHERE run_key = '$1'" 300 0.5
	PEAK=$(peak_mb "$dispatcher")
	CPU=$(cpu_ms "$dispatcher")
	service_stop "$dispatcher"
	service_stop "$producer"
}

# one recipient, to learn how large a request is
sql "UPDATE kairan.campaign SET segment = 'c.id = (SELECT min(id) FROM kairan.customer)' WHERE name = 'bench-ses'"
run_job size "$SES_LOGGED_PORT"
size=$(grep -m 1 -E '^[0-9]{3,}$' "$SERVICES_DIR/size")
sql "UPDATE kairan.campaign SET segment = 'true' WHERE name = 'bench-ses'"
ours=() source=()
rss=0 cpu=0
for ((i = 1; i <= pairs; i++)); do
	source+=("$(bench_wrk "$size" "$connections")")
	run_job "pair-$i" "$SES_PORT"
	[ "$PEAK" -le "$rss" ] || rss=$PEAK
	cpu=$CPU
	ours+=("$(sql "SELECT round(count(*) / extract(epoch FROM max(settled_at) - min(claimed_at)))
	    FROM kairan.send s JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = 'pair-$i' AND s.state = 'sent'")")
done
unsent=$(sql "SELECT count(*) FROM kairan.send WHERE state <> 'sent'")
[ "$unsent" = 0 ] || services_fail "$unsent recipients were not sent"
bench_line whole_job_ses "$(median "${ours[@]}")" 'messages/s' \
	"wrk -t1 -c$connections POSTing $size bytes over TLS to the same nginx" "$(median "${source[@]}")" 0.7 \
	"\"recipients\":$recipients,\"pairs\":$pairs,\"rss_mb\":$rss,\"cpu_us_per_message\":$((cpu * 1000 / recipients))"
