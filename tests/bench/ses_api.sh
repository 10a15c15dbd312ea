#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ses_api: claim, compose, sign, POST over TLS, record, against wrk POSTing bodies of the same size over
# TLS keep-alive to the same nginx, in turn. nginx answers as SendEmail does and checks nothing.
#   ses_api.sh [BYTES] [RECIPIENTS]      default 10240 and 100,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
recipients=${2:-100000}
pairs=${ROUNDS:-5}
connections=${CONNECTIONS:-16}
PATH=$PATH:/usr/sbin
for program in nginx wrk; do
	command -v "$program" >/dev/null || { echo "ses_api skipped: $program (Debian package) is not here" >&2; exit 0; }
done

bench_services
bench_customers "$recipients"
line='<p>Dear {{name}}, you have {{points}} points on your {{plan}} plan this month.</p>'
filler='<p>The shop is open every day from nine to seven; come and see what is new in autumn.</p>'
html=$line text='Dear {{name}}, you have {{points}} points on your {{plan}} plan.'
while [ $((${#html} + ${#text} + 1200)) -lt "$bytes" ]; do
	html+=$'\n'$filler
	text+=$'\nThe shop is open every day from nine to seven.'
done
bench_campaign bench-ses "$text" "$html"

python3 tests/support/ses_fake.py init "$SERVICES_DIR/ses" >&2
port=$(services_free_port)
logged=$(services_free_port)
location='location = /v2/email/outbound-emails { default_type application/json; client_max_body_size 40m; return 200 "{\"MessageId\":\"010201234567890a-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0-000000\"}"; }
	location = /v2/email/account { default_type application/json;
		return 200 "{\"SendQuota\":{\"Max24HourSend\":-1,\"MaxSendRate\":1000000,\"SentLast24Hours\":0},\"SendingEnabled\":true}"; }'
cat >"$SERVICES_DIR/nginx.conf" <<-CONF
	worker_processes 1; daemon off; pid $SERVICES_DIR/nginx.pid; error_log $SERVICES_DIR/nginx.error;
	events { worker_connections 1000; }
	http {
	log_format size '\$content_length'; client_body_temp_path $SERVICES_DIR/body; proxy_temp_path $SERVICES_DIR/body;
	fastcgi_temp_path $SERVICES_DIR/body; uwsgi_temp_path $SERVICES_DIR/body; scgi_temp_path $SERVICES_DIR/body;
	keepalive_requests 1000000; access_log off;
	ssl_certificate $SERVICES_DIR/ses/server.pem; ssl_certificate_key $SERVICES_DIR/ses/server.key;
	server { listen 127.0.0.1:$port ssl; $location }
	server { listen 127.0.0.1:$logged ssl; access_log $SERVICES_DIR/size size; $location }
	}
CONF
service_spawn nginx "$SERVICES_DIR/nginx.log" nginx -e "$SERVICES_DIR/nginx.error" -c "$SERVICES_DIR/nginx.conf"
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
run_job size "$logged"
size=$(grep -m 1 -E '^[0-9]{3,}$' "$SERVICES_DIR/size")
sql "UPDATE kairan.campaign SET segment = 'true' WHERE name = 'bench-ses'"
cat >"$SERVICES_DIR/post.lua" <<-LUA
	wrk.method = "POST"
	wrk.path = "/v2/email/outbound-emails"
	wrk.headers["Content-Type"] = "application/json"
	wrk.headers["Authorization"] = string.rep("a", 250)
	wrk.body = string.rep("x", $size)
LUA

ours=() source=()
rss=0 cpu=0
for ((i = 1; i <= pairs; i++)); do
	source+=("$(wrk -t1 -c"$connections" -d5s -s "$SERVICES_DIR/post.lua" "https://127.0.0.1:$port" |
		awk '/^Requests\/sec:/ { print int($2) }')")
	run_job "pair-$i" "$port"
	[ "$PEAK" -le "$rss" ] || rss=$PEAK
	cpu=$CPU
	ours+=("$(sql "SELECT round(count(*) / extract(epoch FROM max(settled_at) - min(claimed_at)))
	    FROM kairan.send s JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = 'pair-$i' AND s.state = 'sent'")")
done
unsent=$(sql "SELECT count(*) FROM kairan.send WHERE state <> 'sent'")
[ "$unsent" = 0 ] || services_fail "$unsent recipients were not sent"
bench_line ses_api "$(median "${ours[@]}")" 'messages/s' \
	"wrk -t1 -c$connections POSTing $size bytes over TLS to the same nginx" "$(median "${source[@]}")" 0.7 \
	"\"recipients\":$recipients,\"pairs\":$pairs,\"rss_mb\":$rss,\"cpu_us_per_message\":$((cpu * 1000 / recipients))"
