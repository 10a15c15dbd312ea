#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ingest: SNS notifications per second from the wire to the commit: signed deliveries, each for
# a send row of its own, over HTTP connections that are kept, against a bare insert of the same bytes
# into a table with one text column (by psql, as many rows a transaction as feedback.batch), in turn.
#   ingest.sh [NOTIFICATIONS] [CONNECTIONS]     default 20,000 and 400
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
count=${1:-20000}
connections=${2:-400}
rounds=${ROUNDS:-3}
post=${BENCH_INGEST:-build/release/tests/bench/bench_ingest}
fake=(/usr/bin/python3 tests/support/sns_fake.py)

bench_services
D=$SERVICES_DIR
sql "INSERT INTO kairan.template (digest, subject) VALUES ('d', 'Hello');
	INSERT INTO kairan.campaign (name, stream_id, template_id, from_address)
	    SELECT 'bench-ingest', s.id, t.id, 'bench@shop.example' FROM kairan.stream s, kairan.template t
	    WHERE s.name = 'marketing';
	CREATE TABLE bare (body text)"
"${fake[@]}" init "$D/sns"
port=$(services_free_port)
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$port KAIRAN_FEEDBACK_BATCH=200
export KAIRAN_FEEDBACK_SNS_TOPICS=arn:aws:sns:eu-west-1:123456789012:kairan-test
export KAIRAN_FEEDBACK_SNS_CERT_DIR=$D/sns/certs KAIRAN_FEEDBACK_SNS_CA_FILE=$D/sns/ca.pem

# arguments: number of the round. A run whose rows were all sent to, and documents for them.
prepare()
{
	sql "INSERT INTO kairan.run (campaign_id, run_key, template_id, state)
		SELECT id, 'round-$1', template_id, 'running' FROM kairan.campaign"
	run=$(sql "SELECT id FROM kairan.run WHERE run_key = 'round-$1'")
	sql "CREATE TABLE kairan.send_$run PARTITION OF kairan.send FOR VALUES IN ($run) WITH (fillfactor = 35);
		INSERT INTO kairan.send (run_id, id, recipient_id, state, attempt, address, address_key)
		    SELECT $run, i, i, 'sent', 1, 'user' || i || '@example.com', 'user' || i || '@example.com'
		    FROM generate_series(1, $count) AS i;
		ANALYZE kairan.send_$run"
	"${fake[@]}" many "$D/sns" "$KAIRAN_KEYS_FILE" "$run" "$count" >"$D/documents"
	awk -v q="'" 'NR % 200 == 1 { printf "%sINSERT INTO bare VALUES ", (NR > 1 ? ";\n" : "") }
		{ gsub(q, q q); printf "%s(%s%s%s)", NR % 200 == 1 ? "" : ",", q, $0, q }
		END { print ";" }' "$D/documents" >"$D/bare.sql"
}

ours=() bare=() waits=()
rss=0 cpu=0 pg_cpu=0 post_us=0
for ((i = 1; i <= rounds; i++)); do
	prepare "$i"
	sql 'TRUNCATE bare'
	sql CHECKPOINT
	start=$(now_ms)
	psql -XAtq -v ON_ERROR_STOP=1 -f "$D/bare.sql" "$KAIRAN_DATABASE_URL"
	bare+=("$(per_second "$count" "$start")")
	sql CHECKPOINT
	program_spawn feedback "$D/feedback.log" env \
		KAIRAN_DATABASE_URL="${KAIRAN_DATABASE_URL/user=postgres/user=kairan_feedback}" \
		"$programs/kairan-feedback"
	services_wait 10 curl -sf "http://127.0.0.1:$port/healthz"
	pg_before=$(pg_cpu_ms)
	read -r seconds good posted wait post_us < <("$post" post "$port" "$connections" "$D/documents") || true
	rows=$(sql "SELECT count(*) FROM kairan.send WHERE run_id = $run AND delivered_at IS NOT NULL")
	if [ "$good" != "$count" ] || [ "$rows" != "$count" ]; then
		tail -n 5 "$D/feedback.log" >&2
		services_fail "posted $posted, acknowledged $good, in the database $rows of $count"
	fi
	pg_cpu=$(awk -v ms="$(($(pg_cpu_ms) - pg_before))" -v n="$count" 'BEGIN { printf "%.0f", ms * 1000 / n }')
	waits+=("$wait")
	ours+=("$(awk -v n="$count" -v s="$seconds" 'BEGIN { printf "%.0f", n / s }')")
	peak=$(peak_mb "$SERVICE_PID")
	[ "$peak" -le "$rss" ] || rss=$peak
	cpu=$(awk -v ms="$(cpu_ms "$SERVICE_PID")" -v n="$count" 'BEGIN { printf "%.0f", ms * 1000 / n }')
	service_stop "$SERVICE_PID"
done
bench_line ingest "$(median "${ours[@]}")" 'notifications/s' 'bare insert of the same bytes' \
	"$(median "${bare[@]}")" "${TARGET:-null}" \
	"\"notifications\":$count,\"rounds\":$rounds,\"connections\":$connections,\"wait_99_ms\":$(median "${waits[@]}"),\"cpu_us_each\":$cpu,\"postgresql_cpu_us_each\":$pg_cpu,\"poster_cpu_us_each\":$((post_us / count)),\"load\":$(cut -d " " -f 1 /proc/loadavg),\"rss_mb\":$rss"
