#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# /metrics of all programs: the form by promtool and by a reader of our own, figures against the
# rows and the relay's ground truth, nothing that names a recipient; dashboard, alert rules and manual
# speak only of metrics that are exported; bounce_rate and reputation against a count by hand.
# TAP, run by prove. KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh

CHECK="$PYTHON tests/support/check_metrics.py"

pipeline_start
P=$(services_free_port) Q=$(services_free_port) F=$(services_free_port)
mkdir -p "$D/md/new" "$D/md/cur"

scrape()
{
	curl -s -m 5 "http://127.0.0.1:$P/metrics" >"$D/producer.txt"
	curl -s -m 5 "http://127.0.0.1:$Q/metrics" >"$D/dispatcher.txt"
	curl -s -m 5 "http://127.0.0.1:$F/metrics" >"$D/feedback.txt"
}

# arguments: program, sample
value()
{
	$CHECK value "$D/$1.txt" "$2"
}

# arguments: seconds, program, sample, expected
value_wait()
{
	local end=$((SECONDS + $1))

	until scrape; [ "$(value "$2" "$3")" = "$4" ]; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

token()
{
	$PYTHON tests/support/sns_fake.py token "$D/keys" "$R" "$1" 1 b
}

dsn()
{
	printf 'From: MAILER-DAEMON@mta.example\nTo: b+%s@bounces.example.org\nMIME-Version: 1.0\n' "$(token "$1")"
	printf 'Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n'
	printf 'Content-Type: message/delivery-status\n\nReporting-MTA: dns; mta.example\n\nFinal-Recipient: rfc822; x@example.org\n'
	printf 'Action: failed\nStatus: %s\nDiagnostic-Code: smtp; 550 %s\n\n--x--\n' "$2" "$2"
}

# ---- a run with all kinds of outcomes ------------------------------------------------------------

customers_add 300 example.org
customers_add 10 example.net hard
customers_add 5 example.com soft
campaign_add news
R=$(run_add news 1)
producer_start KAIRAN_PRODUCER_METRICS_LISTEN=127.0.0.1:"$P"
dispatcher_start one KAIRAN_DISPATCHER_METRICS_LISTEN=127.0.0.1:"$Q" KAIRAN_DISPATCHER_EXPIRE_AFTER_S=1
service_spawn feedback "$D/feedback.log" env KAIRAN_FEEDBACK_METRICS_LISTEN=127.0.0.1:"$F" \
	KAIRAN_FEEDBACK_MAILDIR="$D/md" "$BIN/kairan-feedback" 2>/dev/null
FEEDBACK=$SERVICE_PID
tap_ok 'a run ends' run_wait "$R" finished 60
for i in 1 2 3; do
	id=$(one "id FROM kairan.send WHERE run_id = $R AND state = 'sent' ORDER BY id OFFSET $((i * 7)) LIMIT 1")
	dsn "$id" "$([ "$i" = 3 ] && echo 4.2.2 || echo 5.1.1)" >"$D/md/$i.host"
	mv "$D/md/$i.host" "$D/md/new/"
done
tap_ok 'bounces are heard' wait_for 20 "count(*) = 3 FROM kairan.send WHERE bounced_at IS NOT NULL"
sent=$(one "count(*) FROM kairan.send WHERE state = 'sent'")
tap_is "$sent" "$(taken)" 'sent is what the relay took'
tap_ok 'the dispatcher counts what was sent' value_wait 10 dispatcher 'kairan_messages_sent_total{stream="marketing"}' "$sent"
tap_ok 'and the producer asks the database' value_wait 15 producer 'kairan_reputation_hard_bounces{stream="marketing"}' \
	"$(one "count(*) FROM kairan.send WHERE class = 'hard' AND (state = 'failed' OR bounced_at IS NOT NULL)")"

# ---- form --------------------------------------------------------------------------------------------

for program in producer dispatcher feedback; do
	if command -v promtool >/dev/null; then
		tap_is "$(promtool check metrics <"$D/$program.txt" 2>&1)" '' "promtool finds nothing in that of $program"
	else
		tap_skip "promtool on $program" 'promtool is not installed (Debian package prometheus)'
	fi
	tap_is "$($CHECK text "$D/$program.txt")" '' "every line of $program has its form, bounded, without addresses"
done

# ---- figures against the rows --------------------------------------------------------------------------

tap_is "$(value dispatcher 'kairan_messages_failed_total{stream="marketing",class="hard"}')" \
	"$(one "count(*) FROM kairan.send WHERE state = 'failed' AND class = 'hard'")" 'failures by class'
tap_is "$(value dispatcher kairan_send_seconds_count)" "$(one 'sum(attempts) FROM kairan.tally')" 'a latency of each try'
tap_ok 'nothing is in hand' value_wait 5 dispatcher kairan_dispatcher_in_hand 0
tap_ok 'nothing waits for its commit' value_wait 5 dispatcher kairan_dispatcher_unrecorded 0
tap_ok 'no slot of the journal either' value_wait 5 dispatcher kairan_journal_slots_busy 0
tap_is "$(value dispatcher kairan_dispatcher_postgresql_up)" 1 'PostgreSQL is up'
tap_is "$(value producer kairan_producer_leading)" 1 'the producer leads'
tap_is "$(value producer 'kairan_dispatchers{state="sending"}')" 1 'one dispatcher'
tap_is "$(value producer 'kairan_recipients{stream="marketing",state="queued"}')" 0 'nothing is queued'
tap_is "$(value feedback 'kairan_feedback_source_committed_total{source="maildir"}')" 3 'feedback has committed three'

# ---- the views against a count by hand -------------------------------------------------------------------

# by domain, straight from send: attempted, sent, hard, everything else that failed or bounced
by_hand="string_agg(concat_ws(' ', d, a, s, h, o), ', ' ORDER BY d) FROM (SELECT split_part(address_key, '@', 2) AS d,
	count(*) AS a, count(*) FILTER (WHERE state = 'sent') AS s,
	count(*) FILTER (WHERE (state = 'failed' OR bounced_at IS NOT NULL) AND class = 'hard') AS h,
	count(*) FILTER (WHERE (state = 'failed' OR bounced_at IS NOT NULL) AND class IS DISTINCT FROM 'hard') AS o
	FROM kairan.send WHERE state IN ('sent', 'failed') GROUP BY 1) AS t"
by_view="string_agg(concat_ws(' ', d, a, s, h, o), ', ' ORDER BY d) FROM (SELECT domain AS d, sum(attempted) AS a, sum(sent) AS s,
	sum(hard) AS h, sum(other_failures) AS o FROM kairan.bounce_rate GROUP BY 1) AS t"
tap_is "$(one "$by_view")" "$(one "$by_hand")" 'bounce_rate equals a count by hand'
tap_note "$(one "$by_hand")"
tap_is "$(one "concat_ws(' ', attempted, sent, hard, bounce_per_cent) FROM kairan.reputation WHERE stream = 'marketing'")" \
	"$(one "concat_ws(' ', count(*), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE class = 'hard'),
	round(100.0 * count(*) FILTER (WHERE class = 'hard') / count(*), 3)) FROM kairan.send WHERE state IN ('sent', 'failed')")" 'so does reputation'
tap_is "$(one "sum(hard) FROM kairan.bounce_rate")" "$(one "count(DISTINCT (run_id, send_id)) FROM kairan.feedback_event
	WHERE kind = 'bounced' AND class = 'hard' AND send_id IS NOT NULL")" 'and the events tell the same dead addresses'

# what top_replies counts as it is heard, straight from send
said_by_hand="string_agg(concat_ws(' ', run_id, n, state, class, reason, code, enhanced, said), ', ' ORDER BY run_id, n, state, class, reason, said)
	FROM (SELECT run_id, count(*) AS n, state, class, reason, code, enhanced, kairan.reply_pattern(kairan.reply_plain(reply, address)) AS said
	FROM kairan.send WHERE state IN ('deferred', 'failed', 'in_doubt') OR bounced_at IS NOT NULL GROUP BY run_id, state, class, reason, code, enhanced, said) AS t"
said_by_view="string_agg(concat_ws(' ', run_id, n, state, class, reason, code, enhanced, said), ', ' ORDER BY run_id, n, state, class, reason, said)
	FROM (SELECT r.id AS run_id, t.recipients AS n, t.state, t.class, t.reason, t.code, t.enhanced, t.reply AS said
	FROM kairan.top_replies t JOIN kairan.run r USING (run_key)) AS t"
tap_is "$(one "$said_by_view")" "$(one "$said_by_hand")" 'top_replies equals a count by hand'
tap_is "$(one "count(*) > 0 AND bool_and(reply !~ '@') FROM kairan.top_replies")" t 'and names no address'

# ---- who is in doubt -----------------------------------------------------------------------------------------

customers_add 3 example.edu drop
customers_add 3 example.edu late
sql -c "UPDATE kairan.campaign SET segment = 'c.email LIKE ''%@example.edu'''"
R2=$(run_add news 2)
tap_ok 'a run whose answers get lost' run_wait "$R2" finished 60
doubt=$(one "count(*) FROM kairan.send WHERE state = 'in_doubt'")
tap_is "$doubt" 3 'leaves them in doubt'
tap_is "$(one 'count(*) FROM kairan.in_doubt')" "$doubt" 'the view knows all in doubt'
tap_ok 'and so does /metrics' value_wait 15 producer 'kairan_in_doubt{stream="marketing"}' "$doubt"
tap_ok 'of both programs' value_wait 5 dispatcher 'kairan_messages_in_doubt_total{stream="marketing"}' "$doubt"
tap_is "$(one "$said_by_view")" "$(one "$said_by_hand")" 'top_replies has them'
one "kairan.doubt_settle($R2, NULL, 'assumed_sent')" >/dev/null
tap_is "$(one "$said_by_view")" "$(one "$said_by_hand")" 'and leaves them out when they are settled'
tap_is "$(one 'count(*) FROM kairan.in_doubt')" 0 'settled ones leave it'
tap_is "$(one "$by_view")" "$(one "$by_hand")" 'and count as sent in bounce_rate'

# ---- dashboard, rules, manual ----------------------------------------------------------------------------------

scrape
scrapes=("$D/producer.txt" "$D/dispatcher.txt" "$D/feedback.txt")
sql -c "UPDATE kairan.stream SET rate_per_s = 100 WHERE name = 'marketing'"
tap_ok 'a limit is told' value_wait 15 producer 'kairan_rate_limit_messages_per_second{stream="marketing"}' 100
tap_is "$($CHECK used docs/grafana/kairan.json docs/prometheus/kairan.rules.yml -- "${scrapes[@]}")" '' 'dashboard and rules name metrics that are there'
printf 'expr: kairan_no_such_total > 0\n' >"$D/bad.yml"
tap_is "$($CHECK used "$D/bad.yml" -- "${scrapes[@]}")" "$D/bad.yml: kairan_no_such_total is exported by no program" 'which the check would notice'
tap_is "$($CHECK told docs/METRICS.md -- "${scrapes[@]}")" '' 'docs/METRICS.md describes each'
if command -v promtool >/dev/null; then
	tap_ok 'the alert rules are well-formed' promtool check rules docs/prometheus/kairan.rules.yml
	tap_ok 'and fire when they should' promtool test rules docs/prometheus/kairan.rules.test.yml
else
	tap_skip 'alert rules' 'promtool is not installed (Debian package prometheus)'
fi

# ---- the listener ------------------------------------------------------------------------------------------------

tap_is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$Q/other")" 404 'another page is unknown'
tap_is "$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://127.0.0.1:$P/metrics")" 405 'only GET'
for program in producer dispatcher; do
	env KAIRAN_PRODUCER_METRICS_LISTEN=0.0.0.0:9631 KAIRAN_DISPATCHER_METRICS_LISTEN=0.0.0.0:9632 \
		KAIRAN_DISPATCHER_NAME=other timeout 20 "$BIN/kairan-$program" >"$D/refused" 2>&1
	tap_is $? 2 "$program listens on the loopback only"
done
pg_stop "$D" fast
tap_ok 'without PostgreSQL the producer still answers' value_wait 20 producer kairan_producer_postgresql_up 0
tap_ok 'and so does the dispatcher' value_wait 20 dispatcher kairan_dispatcher_postgresql_up 0
pg_start "$D" 'shared_buffers = 64MB' 2>>"$D/start.log"
tap_ok 'until it is back' value_wait 30 producer kairan_producer_postgresql_up 1
programs_stopped 'all end well' "$PRODUCER" "$DISPATCHER" "$FEEDBACK"
tap_done
