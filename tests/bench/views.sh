#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# views: what operators look at, at size. Fills RUNS runs of ROWS send rows each by SQL, with events, and
# prints for each view, for why() and for `kairan reconcile` the time (best of 3) and, with PLANS=1, the plan.
# Also what the triggers that note doubt and replies cost an update of the kind that RECORD makes.
#
#   ROWS=1000000 RUNS=2 PLANS=0 tests/bench/views.sh
#
# One JSON line per figure on standard output, plans on standard error.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

ROWS=${ROWS:-1000000} RUNS=${RUNS:-2}
export FAST=1
services_dir || exit 1
D=$SERVICES_DIR
pg_start "$D" 'shared_buffers = 256MB' 'max_wal_size = 4GB' 'maintenance_work_mem = 256MB' 2>"$D/start.log" ||
	{ cat "$D/start.log"; exit 1; }
SUPER=$KAIRAN_DATABASE_URL
pg_schema "$D/schema.log" && feedback_rows || { cat "$D/schema.log"; exit 1; }
sql -c 'DROP TABLE kairan.send_1' -c 'TRUNCATE kairan.doubtful' -c 'TRUNCATE kairan.run CASCADE' 2>/dev/null

# 2,000 domains, a tenth of the rows not sent, 200 in doubt in all; an event of nine rows in ten
fill()
{
	sql -v rows="$ROWS" -v runs="$RUNS" -f - <<'SQL'
SET search_path = kairan;
SET synchronous_commit = off;
INSERT INTO dispatcher (name, host, lock_id) VALUES ('one', 'here', 'x'), ('two', 'here', 'y');
INSERT INTO run (campaign_id, run_key, template_id, state, planned, audience, started_at, finished_at)
	SELECT 1, 'r' || i, 1, 'finished', :rows, :rows, now() - make_interval(days => i), now() - make_interval(days => i - 1)
	FROM generate_series(1, :runs) AS i;
CREATE FUNCTION pg_temp.fill(r int, n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE send_%s (LIKE send INCLUDING DEFAULTS INCLUDING COMMENTS)', r);
	EXECUTE format($q$INSERT INTO send_%1$s (run_id, id, recipient_id, state, attempt, owner, code, address, address_key,
		claimed_at, settled_at, delivered_at, bounced_at, class, reason, enhanced, reply, remote)
	SELECT %1$s, i, i, CASE WHEN i %% (%2$s / 100) = 0 THEN 'in_doubt' WHEN i %% 20 = 0 THEN 'failed' WHEN i %% 37 = 0 THEN 'deferred' ELSE 'sent' END::send_state,
		1, 1 + i %% 2, 250, a, a, t, t, CASE WHEN i %% 10 <> 0 AND i %% 37 <> 0 THEN t END,
		CASE WHEN i %% 50 = 1 THEN t END, CASE WHEN i %% 20 = 0 OR i %% 50 = 1 THEN 'hard' END,
		CASE WHEN i %% 20 = 0 THEN 'user_unknown' END, '2.0.0',
		CASE WHEN i %% 20 = 0 THEN '550 5.1.1 <' || a || '>: user unknown ' || i %% 7 ELSE 'queued as ' || upper(to_hex(i + 268435456)) END, 'mx.example'
	FROM (SELECT i, 'user' || i || '@d' || i %% 2000 || '.example' AS a, now() - interval '2 days' * random() - interval '1 day' AS t
		FROM generate_series(1, %2$s) AS i) AS x$q$, r, n);
	EXECUTE format('ALTER TABLE send_%1$s ADD PRIMARY KEY (run_id, id), ADD UNIQUE (run_id, recipient_id), ADD UNIQUE (run_id, address_key)', r);
	EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', r);
	EXECUTE format('INSERT INTO doubtful (run_id, send_id) SELECT run_id, id FROM send_%s WHERE state = ''in_doubt''', r);
	EXECUTE format('ANALYZE send_%s', r);
	PERFORM tally_reply_fill(r);
	INSERT INTO tally (run_id, owner, minute, sent, failed, deferred, in_doubt, attempts, delivered, bounced, hard)
		SELECT r, owner, date_trunc('minute', settled_at), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed'),
		count(*) FILTER (WHERE state = 'deferred'), count(*) FILTER (WHERE state = 'in_doubt'), count(*), count(delivered_at),
		count(bounced_at), count(*) FILTER (WHERE class = 'hard') FROM send WHERE run_id = r GROUP BY 2, 3;
	INSERT INTO tally_domain (run_id, hour, domain, owner, attempted, sent, delivered, hard)
		SELECT r, date_trunc('hour', settled_at), split_part(address_key, '@', 2), owner, count(*), count(*) FILTER (WHERE state = 'sent'),
		count(delivered_at), count(*) FILTER (WHERE class = 'hard') FROM send WHERE run_id = r AND state IN ('sent', 'failed') GROUP BY 2, 3, 4;
	INSERT INTO feedback_event (month, semantic_key, occurred_at, received_at, source, kind, run_id, send_id, attempt, address_key)
		SELECT date_trunc('month', delivered_at)::date, r || '|' || id, delivered_at, delivered_at, 'sns', 'delivered', r, id, 1, address_key
		FROM send WHERE run_id = r AND delivered_at IS NOT NULL;
	INSERT INTO feedback_event (month, semantic_key, occurred_at, received_at, source, kind, run_id, send_id, attempt, address_key, class)
		SELECT date_trunc('month', bounced_at)::date, 'b|' || r || '|' || id, bounced_at, bounced_at, 'sns', 'bounced', r, id, 1, address_key, 'hard'
		FROM send WHERE run_id = r AND bounced_at IS NOT NULL;
END
$$;
SELECT pg_temp.fill(id, :rows) FROM run ORDER BY id;
VACUUM ANALYZE feedback_event, tally, tally_domain, doubtful, run;
SQL
}

# arguments: name, statement; the best of three in milliseconds
time_of()
{
	local best

	best=$({ echo 'SET jit = off;'; echo '\timing on'; for _ in 1 2 3; do echo "SELECT sum(length(t::text)) FROM ($2) AS t;"; done; } | sql -f - |
		sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' | sort -n | head -1)
	printf '{"bench":"views","view":"%s","rows":%d,"runs":%d,"ms":%s}\n' "$1" "$ROWS" "$RUNS" "${best:-null}"
	[ "${PLANS:-0}" = 0 ] || sql -c "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS) $2" >&2
}

begin=$SECONDS
fill >/dev/null || exit 1
printf '# filled %s runs of %s rows with events in %s s\n' "$RUNS" "$ROWS" $((SECONDS - begin)) >&2
run=$(one 'max(id) FROM kairan.run')
key=$(one "run_key FROM kairan.run WHERE id = $run")

time_of campaign_progress 'SELECT * FROM kairan.campaign_progress'
time_of bounce_rate 'SELECT * FROM kairan.bounce_rate'
time_of 'bounce_rate by provider, one day' "SELECT provider, sum(sent), sum(hard) FROM kairan.bounce_rate WHERE hour > now() - interval '1 day' GROUP BY 1"
time_of reputation 'SELECT * FROM kairan.reputation'
time_of sending_statistics 'SELECT * FROM kairan.sending_statistics'
time_of 'sending_statistics, one day' "SELECT * FROM kairan.sending_statistics WHERE quarter > now() - interval '1 day'"
time_of in_doubt 'SELECT * FROM kairan.in_doubt'
time_of 'top_replies of a run' "SELECT * FROM kairan.top_replies WHERE campaign = 'news' AND run_key = '$key' ORDER BY recipients DESC LIMIT 20"
time_of suppression_summary 'SELECT * FROM kairan.suppression_summary'
time_of pace 'SELECT * FROM kairan.pace'
time_of 'why()' "SELECT * FROM kairan.why('user51@d51.example')"
time_of 'figures()' 'SELECT * FROM kairan.figures()'
time_of 'count(*) of send, for comparison' 'SELECT state, count(*) FROM kairan.send GROUP BY 1'

# reconcile, with the plan of one range
printf '1 %s\n' 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f >"$D/keys"
: >"$D/kairan.conf"
export KAIRAN_CONFIG=$D/kairan.conf KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
begin=$(date +%s%3N)
"$BIN/kairan" reconcile --json --days 30 >"$D/out" 2>"$D/err"
printf '{"bench":"views","view":"kairan reconcile","rows":%d,"runs":%d,"ms":%d,"differences":%s}\n' "$ROWS" "$RUNS" \
	$(($(date +%s%3N) - begin)) "$(jq .differences "$D/out")"
if [ "${PLANS:-0}" != 0 ]; then
	{
		printf 'PREPARE r (int, int, int, interval, timestamptz, int) AS '
		cat cli/sql/reconcile.sql
		printf ";\nEXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS) EXECUTE r (%s, 50000, 99999, '1 day', now() - interval '9 days', 5);\n" "$run"
	} | sql -f - >&2
fi

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
