#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# whole_job: claim, compose, send, record with every state committed, PostgreSQL, Redis and the
# sink on the same cores, against smtp-source -d into the same smtp-sink, in turn.
#   whole_job.sh [BYTES] [RECIPIENTS]      default 10240 and 40,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
recipients=${2:-40000}
pairs=${ROUNDS:-5}
sessions=${SESSIONS:-16}
PATH=$PATH:/usr/sbin
command -v smtp-sink >/dev/null || { echo "whole_job skipped: smtp-sink (package postfix) is not here" >&2; exit 0; }

bench_services
bench_customers "$recipients"
# text and HTML of the same size, so that the mail has about the wanted length
line='<p>Dear {{name}}, you have {{points}} points on your {{plan}} plan this month.</p>'
filler='<p>The shop is open every day from nine to seven; come and see what is new in autumn.</p>'
html=$line text='Dear {{name}}, you have {{points}} points on your {{plan}} plan.'
while [ $((${#html} + ${#text} + 1200)) -lt "$bytes" ]; do
	html+=$'\n'$filler
	text+=$'\nThe shop is open every day from nine to seven.'
done
bench_campaign bench-job "$text" "$html"
port=$(services_free_port)
if [ "$(id -u)" -eq 0 ]; then sink_user=(-u nobody); else sink_user=(); fi
service_spawn sink "$SERVICES_DIR/sink.log" smtp-sink "${sink_user[@]}" "127.0.0.1:$port" 1000
sink=$SERVICE_PID
export KAIRAN_RELAY_PORT=$port KAIRAN_RELAY_CONNECTIONS=$sessions KAIRAN_PRODUCER_POLL_MS=100
sleep 0.3

ours=() source=()
rss=0 size=0 cpu=0
for ((i = 1; i <= pairs; i++)); do
	sql 'CHECKPOINT'
	start=$(now_ms)
	smtp-source -d -s "$sessions" -l "$bytes" -m "$recipients" -f a@b.example -t c@d.example "127.0.0.1:$port"
	source+=("$(per_second "$recipients" "$start")")

	sql "SELECT kairan.run_make('bench-job', 'pair-$i')" >/dev/null
	KAIRAN_PRODUCER_BACKLOG=$recipients program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	producer=$SERVICE_PID
	wait_sql "SELECT state = 'running' AND pushed = planned FROM kairan.run WHERE run_key = 'pair-$i'" 300
	sql 'CHECKPOINT'
	program_spawn dispatcher "$SERVICES_DIR/dispatcher.log" "$programs/kairan-dispatcher"
	dispatcher=$SERVICE_PID
	wait_sql "SELECT sent + failed >= planned FROM kairan.campaign_progress WHERE run_key = 'pair-$i'" 300
	peak=$(peak_mb "$dispatcher")
	[ "$peak" -le "$rss" ] || rss=$peak
	cpu=$(cpu_ms "$dispatcher")
	ours+=("$(sql "SELECT round(count(*) / extract(epoch FROM max(settled_at) - min(claimed_at)))
	    FROM kairan.send s JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = 'pair-$i' AND s.state = 'sent'")")
	service_stop "$dispatcher"
	service_stop "$producer"
done
# the size of one mail as it went out, from a second sink that keeps it
size=$(sql "SELECT count(*) FROM kairan.send WHERE state <> 'sent'")
[ "$size" = 0 ] || services_fail "$size recipients were not sent"
service_stop "$sink" || true # smtp-sink dies of its signal
bench_line "whole_job_$((bytes / 1024))k" "$(median "${ours[@]}")" 'messages/s' \
	"smtp-source -d -s $sessions into the same smtp-sink" "$(median "${source[@]}")" 0.4 \
	"\"recipients\":$recipients,\"pairs\":$pairs,\"rss_mb\":$rss,\"rss_target_mb\":64,\"cpu_us_per_message\":$((cpu * 1000 / recipients))"
