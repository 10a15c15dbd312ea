#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# flood: memory of kairan-feedback, and what becomes of true notifications, while strangers hold
# connections that say nothing and post forged documents. One JSON line; what was offered and what
# came through both stand in it, since client, PostgreSQL and server share the cores.
#   flood.sh [SECONDS] [SLOW] [FORGED_PER_S] [TRUE_PER_S]     default 10, 5,000, 10,000 and 1,000
# Exit code 1: more than 96 MB, or a true notification without its 200.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
seconds=${1:-10} slow=${2:-5000} forged=${3:-10000} true=${4:-1000}
count=$((seconds * true))
fake=(/usr/bin/python3 tests/support/sns_fake.py)

ulimit -n "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt $((slow + 2000)) ]; then
	echo "flood: $slow connections need more than the $(ulimit -n) open files allowed here (ulimit -Hn)" >&2
	exit 1
fi
bench_services
D=$SERVICES_DIR
sql "INSERT INTO kairan.template (digest, subject) VALUES ('d', 'Hello');
	INSERT INTO kairan.campaign (name, stream_id, template_id, from_address)
	    SELECT 'flood', s.id, t.id, 'bench@shop.example' FROM kairan.stream s, kairan.template t WHERE s.name = 'marketing';
	INSERT INTO kairan.run (campaign_id, run_key, template_id, state) SELECT id, 'flood', template_id, 'running' FROM kairan.campaign"
run=$(sql "SELECT id FROM kairan.run")
sql "CREATE TABLE kairan.send_$run PARTITION OF kairan.send FOR VALUES IN ($run) WITH (fillfactor = 35);
	INSERT INTO kairan.send (run_id, id, recipient_id, state, attempt, address, address_key)
	    SELECT $run, i, i, 'sent', 1, 'user' || i || '@example.com', 'user' || i || '@example.com' FROM generate_series(1, $count + 1) AS i;
	ANALYZE kairan.send_$run"
"${fake[@]}" init "$D/sns"
"${fake[@]}" many "$D/sns" "$KAIRAN_KEYS_FILE" "$run" $((count + 1)) >"$D/documents"
port=$(services_free_port)
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$port KAIRAN_FEEDBACK_SNS_TOPICS=arn:aws:sns:eu-west-1:123456789012:kairan-test
export KAIRAN_FEEDBACK_SNS_CERT_DIR=$D/sns/certs KAIRAN_FEEDBACK_SNS_CA_FILE=$D/sns/ca.pem
program_spawn feedback "$D/feedback.log" env KAIRAN_DATABASE_URL="${KAIRAN_DATABASE_URL/user=postgres/user=kairan_feedback}" \
	"$programs/kairan-feedback"
services_wait 10 curl -sf "http://127.0.0.1:$port/healthz"
read -r _ held ended refused forged_503 posted good later wait < <(build/release/tests/support/flood "$port" "$seconds" "$slow" \
	"$forged" "$true" "$D/documents")
rows=$(sql "SELECT count(*) FROM kairan.send WHERE run_id = $run AND delivered_at IS NOT NULL")
peak=$(peak_mb "$SERVICE_PID")
printf '{"bench":"flood","value":%s,"unit":"MB resident at most","target":96,"seconds":%s,"slow_connections":%s,"slow_ended":%s,"forged_per_s_offered":%s,"forged_403":%s,"forged_503":%s,"true_per_s_offered":%s,"true_posted":%s,"true_200":%s,"true_503":%s,"true_committed":%s,"wait_99_ms":%s,"cpu_ms":%s,"load":%s}\n' \
	"$peak" "$seconds" "$held" "$ended" "$forged" "$refused" "$forged_503" "$true" "$posted" "$good" "$later" "$rows" "$wait" \
	"$(cpu_ms "$SERVICE_PID")" "$(cut -d ' ' -f 1 /proc/loadavg)"
[ "$peak" -le 96 ] && [ "$good" = "$posted" ] && [ "$rows" -ge "$good" ]
