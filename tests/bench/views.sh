#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# views: what operators look at, at size. Fills RUNS runs of ROWS send rows each and OLD runs of OLD_ROWS that ended
# before, all with events and summaries (views.sql), on JOBS connections. Prints for each view, function and command
# the first time in a new session and the best of three more, in milliseconds, and how many partitions of send its
# plan scans from end to end; what feedback's calls cost; what the triggers that note doubt and replies cost an update
# of the kind that RECORD makes.
#
#   ROWS=1000000 RUNS=2 OLD=0 OLD_ROWS=1000 JOBS=2 PLANS=0 tests/bench/views.sh
#
# One JSON line per figure on standard output; with PLANS=1 plans on standard error. 10 M rows take 5 GB of disk.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

ROWS=${ROWS:-1000000} RUNS=${RUNS:-2} OLD=${OLD:-0} OLD_ROWS=${OLD_ROWS:-1000} JOBS=${JOBS:-2}
SIZE="\"rows\":$((ROWS * RUNS + OLD_ROWS * OLD)),\"runs\":$((RUNS + OLD))"
export FAST=1
services_dir || exit 1
D=$SERVICES_DIR
# tables that are filled in the transaction that makes them are not logged at this wal_level
pg_start "$D" 'shared_buffers = 1GB' 'max_wal_size = 8GB' 'maintenance_work_mem = 256MB' 'wal_level = minimal' 'max_wal_senders = 0' \
	'full_page_writes = off' 'max_locks_per_transaction = 256' 2>"$D/start.log" || { cat "$D/start.log"; exit 1; }
SUPER=$KAIRAN_DATABASE_URL
pg_schema "$D/schema.log" && feedback_rows || { cat "$D/schema.log"; exit 1; }
sql -c 'DROP TABLE kairan.send_1' -c 'TRUNCATE kairan.doubtful' -c 'TRUNCATE kairan.run CASCADE' 2>/dev/null

fill()
{
	local job jobs=() failed=0

	sql -o /dev/null -f tests/bench/views.sql || return 1
	sql -o /dev/null -v rows="$ROWS" -v runs="$RUNS" -v old="$OLD" -v old_rows="$OLD_ROWS" -f - <<'SQL' || return 1
SET search_path = kairan;
INSERT INTO dispatcher (name, host, lock_id) VALUES ('one', 'here', 'x'), ('two', 'here', 'y');
SELECT feedback_month_open((now() - make_interval(months => m))::date) FROM generate_series(0, (:runs + :old) / 30 + 1) AS m;
INSERT INTO run (campaign_id, run_key, template_id, state, planned, audience, started_at, finished_at)
	SELECT 1, 'r' || i, 1, 'finished', n, n, now() - make_interval(days => i + 2), now() - make_interval(days => i)
	FROM (SELECT i, CASE WHEN i <= :runs THEN :rows ELSE :old_rows END AS n FROM generate_series(1, :runs + :old) AS i) AS x;
INSERT INTO customer (id, email, name) SELECT i, 'user' || i || '@d' || i % 2000 || '.example', 'U ' || i FROM generate_series(1, :rows) AS i;
SQL
	for ((job = 0; job < JOBS; job++)); do
		sql -c 'SET search_path = kairan' -c 'SET synchronous_commit = off' -c "CALL bench_fill($job, $JOBS)" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		wait "$job" || failed=1
	done
	while [ "$failed" = 0 ] && [ "$(one 'kairan.tally_fold(20000)')" != 0 ]; do :; done
	sql -c 'VACUUM ANALYZE'
	return "$failed"
}

# arguments: name, milliseconds of the first and of three more, anything more as JSON
figure()
{
	printf '{"bench":"views","view":"%s",%s,"first_ms":%s,"ms":%s%s}\n' "$1" "$SIZE" "$2" "$(printf '%s\n' "${@:3:3}" | sort -n | head -1)" "${6:-}"
}

# arguments: name, statement
time_of()
{
	local ms scans

	mapfile -t ms < <({ echo 'SET jit = off;'; echo '\timing on'; for _ in 1 2 3 4; do echo "SELECT sum(length(t::text)) FROM ($2) AS t;"; done; } |
		sql -f - | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p')
	scans=$(sql -c 'SET jit = off' -c "EXPLAIN (COSTS OFF) $2" | grep -cE 'Seq Scan on send_[0-9]+')
	[ ${#ms[@]} = 4 ] || { printf '# %s failed\n' "$1" >&2; return; }
	figure "$1" "${ms[@]}" ",\"scans_of_send\":$scans"
	[ "${PLANS:-0}" = 0 ] || sql -c 'SET jit = off' -c "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS) $2" >&2
}

# arguments: name, role, statement with a number %d that differs each time; 30 calls of one session
calls_of()
{
	local ms i

	mapfile -t ms < <({ echo "SET ROLE $2; SET jit = off;"; [ "$2" != kairan_dispatcher ] || echo 'SET plan_cache_mode = force_generic_plan;'
		echo '\timing on'; for ((i = 200; i < 230; i++)); do echo "${3//%d/$i};"; done; } |
		sql -f - | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | awk 'NR == 1 { print; next } { print | "sort -n" }')
	printf '{"bench":"views","call":"%s",%s,"first_ms":%s,"median_ms":%s,"most_ms":%s}\n' "$1" "$SIZE" "${ms[0]}" "${ms[15]}" "${ms[29]}"
}

# arguments: name, words of the command
command_of()
{
	local ms=() begin i

	for ((i = 0; i < 4; i++)); do
		begin=$(date +%s%3N)
		"$BIN/kairan" "${@:2}" >"$D/out" 2>"$D/err"
		ms+=($(($(date +%s%3N) - begin)))
	done
	figure "kairan $1" "${ms[@]}"
}

begin=$SECONDS
fill || exit 1
printf '# filled %s runs of %s rows and %s of %s with events in %s s\n' "$RUNS" "$ROWS" "$OLD" "$OLD_ROWS" $((SECONDS - begin)) >&2
run=$(one "min(id) FROM kairan.run WHERE planned = $ROWS")
key=$(one "run_key FROM kairan.run WHERE id = $run")
a=user51@d51.example

time_of campaign_progress 'SELECT * FROM kairan.campaign_progress'
time_of 'campaign_progress running' "SELECT * FROM kairan.campaign_progress WHERE state = 'running'"
time_of 'campaign_progress of a run' "SELECT * FROM kairan.campaign_progress WHERE run_id = $run"
time_of bounce_rate 'SELECT * FROM kairan.bounce_rate'
time_of 'bounce_rate of a run' "SELECT * FROM kairan.bounce_rate WHERE campaign = 'news' AND run_key = '$key'"
time_of 'bounce_rate by provider, one day' "SELECT provider, sum(sent), sum(hard) FROM kairan.bounce_rate WHERE hour > now() - interval '1 day' GROUP BY 1"
time_of reputation 'SELECT * FROM kairan.reputation'
time_of sending_statistics 'SELECT * FROM kairan.sending_statistics'
time_of 'sending_statistics, 2 hours' "SELECT quarter, attempts, sent, bounced FROM kairan.sending_statistics WHERE quarter > now() - interval '2 hours' ORDER BY 1"
time_of 'sending_statistics, one day' "SELECT * FROM kairan.sending_statistics WHERE quarter > now() - interval '1 day'"
time_of in_doubt 'SELECT * FROM kairan.in_doubt'
time_of 'in_doubt of a run' "SELECT * FROM kairan.in_doubt WHERE run_id = $run"
time_of 'doubt by how' "SELECT r.how, count(*) FROM kairan.doubt r WHERE run_id = $run GROUP BY 1"
time_of 'top_replies of a run' "SELECT * FROM kairan.top_replies WHERE campaign = 'news' AND run_key = '$key' ORDER BY recipients DESC LIMIT 20"
time_of 'top_replies' "SELECT * FROM kairan.top_replies"
time_of suppression_summary 'SELECT * FROM kairan.suppression_summary'
time_of 'suppression_state counts' 'SELECT state, count(*) FROM kairan.suppression_state GROUP BY 1'
time_of pace 'SELECT * FROM kairan.pace'
time_of engagement 'SELECT * FROM kairan.engagement ORDER BY run_id DESC LIMIT 5'
time_of 'engagement of a run' "SELECT * FROM kairan.engagement WHERE run_id = $run"
time_of 'link_clicks of a run' "SELECT * FROM kairan.link_clicks WHERE run_id = $run"
time_of 'lane_count of a run' "SELECT * FROM kairan.lane_count WHERE run_id = $run"
time_of 'lane_count' "SELECT * FROM kairan.lane_count"
time_of canary_progress 'SELECT * FROM kairan.canary_progress'
time_of quarantine 'SELECT * FROM kairan.quarantine'
time_of address_change 'SELECT * FROM kairan.address_change'
time_of confirmed 'SELECT * FROM kairan.confirmed'
time_of 'exclusions of a run by rule' "SELECT rule, count(*) FROM kairan.exclusion WHERE run_id = $run GROUP BY 1"
time_of 'why()' "SELECT * FROM kairan.why('$a')"
time_of 'customer_export()' "SELECT kairan.customer_export('$a')"
time_of 'figures()' 'SELECT * FROM kairan.figures()'
time_of 'breaker_check()' 'SELECT * FROM kairan.breaker_check()'
time_of 'plan_rates()' "SELECT * FROM kairan.plan_rates('marketing')"
time_of 'warmup_rates()' "SELECT * FROM kairan.warmup_rates()"
time_of 'count(*) of send, for comparison' 'SELECT state, count(*) FROM kairan.send GROUP BY 1'

event="ARRAY['s' || random()], ARRAY[now()], ARRAY[$run], ARRAY[%d], ARRAY[1], ARRAY[NULL::text]"
rest="ARRAY[450], ARRAY['4.2.2'], ARRAY['x'], ARRAY['mx.example'], ARRAY['']"
calls_of 'page_look()' kairan_feedback "SELECT * FROM kairan.page_look($run, %d, 1, 60)"
calls_of 'view_source()' kairan_feedback "SELECT * FROM kairan.view_source($run, %d, 1)"
calls_of 'unsubscribe_undo()' kairan_feedback "SELECT kairan.unsubscribe_undo($run, %d, 1, 60)"
calls_of 'track_add() of one open' kairan_feedback "SELECT kairan.track_add('{$run}', '{%d}', '{1}', '{open}', '{\"\"}', '{person}', '{x}', ARRAY[now()], ARRAY[now()], '{1}', 5)"
calls_of 'ingest() of a delivery' kairan_feedback "SELECT kairan.ingest(ARRAY['sns'], ARRAY['delivered'], $event, ARRAY[''], ARRAY[''], $rest)"
calls_of 'ingest() of a soft bounce' kairan_feedback "SELECT kairan.ingest(ARRAY['sns'], ARRAY['bounced'], $event, ARRAY['soft'], ARRAY['mailbox_full'], $rest)"
calls_of 'ingest() of a hard bounce' kairan_feedback "SELECT kairan.ingest(ARRAY['sns'], ARRAY['bounced'], $event, ARRAY['hard'], ARRAY['user_unknown'], $rest)"
calls_of 'send_unsend()' kairan_dispatcher "SELECT * FROM kairan.send_unsend($run, 1, '{%d}', '{1}')"
calls_of 'retries_due()' kairan_producer "SELECT * FROM kairan.retries_due('{}', '{}', 1000)"
calls_of 'retries_forget()' kairan_producer "SELECT kairan.retries_forget()"
calls_of 'doubt_policy()' kairan_producer "SELECT kairan.doubt_policy('1 day')"

printf '1 %s\n' 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f >"$D/keys"
: >"$D/kairan.conf"
export KAIRAN_CONFIG=$D/kairan.conf KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
command_of status status
command_of 'campaign status' campaign status news
command_of 'send doubt list' send doubt list
command_of 'send why' send why "$a"
command_of 'suppress list' suppress list
command_of 'customer export' customer export "$a"
command_of 'customer erase' customer erase "$a" --yes
KAIRAN_RETENTION_SEND_DAYS=60 command_of "retention show" retention show
command_of 'reconcile of 30 days' reconcile --json --days 30
if [ "${PLANS:-0}" != 0 ]; then
	{
		printf 'PREPARE r (int, int, int, interval, timestamptz, int) AS '
		cat cli/sql/reconcile.sql
		printf ";\nEXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS) EXECUTE r (%s, 50000, 99999, '1 day', now() - interval '9 days', 5);\n" "$run"
	} | sql -f - >&2
fi
drop=$(one "max(id) FROM kairan.run")
sql -c "DELETE FROM kairan.doubtful WHERE run_id = $drop" -c "UPDATE kairan.send SET state = 'failed' WHERE run_id = $drop AND state IN ('deferred', 'in_doubt')" \
	-c "INSERT INTO kairan.tally (run_id, owner, minute, deferred, failed, in_doubt) SELECT $drop, 1, now(), -deferred, deferred + in_doubt, -in_doubt FROM kairan.campaign_progress WHERE run_id = $drop"
begin=$(date +%s%3N)
outcome=$(one "kairan.run_drop($drop)")
printf '{"bench":"views","call":"run_drop()",%s,"ms":%s,"outcome":"%s"}\n' "$SIZE" $(($(date +%s%3N) - begin)) "$outcome"

# what the triggers cost: 256 rows from sending to sent, as RECORD writes them
sql -c "UPDATE kairan.send SET state = 'sending' WHERE run_id = $run AND id <= 51200" -c 'VACUUM kairan.send'
for trigger in 'ENABLE TRIGGER doubt_changed' 'DISABLE TRIGGER doubt_changed' 'ENABLE TRIGGER reply_changed' 'DISABLE TRIGGER reply_changed' \
	'ENABLE TRIGGER doubt_changed' 'DISABLE TRIGGER doubt_changed' 'ENABLE TRIGGER reply_changed' 'DISABLE TRIGGER reply_changed'; do
	{
		echo "ALTER TABLE kairan.send ENABLE TRIGGER doubt_changed, ENABLE TRIGGER reply_changed, $trigger;"
		echo '\timing on'
		for ((i = 0; i < 200; i++)); do
			echo "UPDATE kairan.send SET state = CASE state WHEN 'sent' THEN 'sending' ELSE 'sent' END::kairan.send_state, settled_at = now()
				WHERE run_id = $run AND id BETWEEN $((i * 256 + 1)) AND $((i * 256 + 256));"
		done
	} | sql -f - | sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | sort -n |
		awk -v t="$trigger" -v rows="$ROWS" '{ a[NR] = $1 } END { printf "{\"bench\":\"views\",\"view\":\"update of 256 rows, %s\",\"rows\":%d,\"median_ms\":%s}\n", t, rows, a[int(NR / 2)] }'
done
