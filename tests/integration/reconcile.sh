#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan reconcile: each kind of difference, made by the way it comes about where there is one, found,
# named, and only what is proved mended; counts by day against a provider's files. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
export KAIRAN_LOG_LEVEL=error

# arguments: options of reconcile; the document in D/out, its exit code printed
reconcile()
{
	"$BIN/kairan" reconcile --json "$@" >"$D/out" 2>"$D/err"
	echo $?
}

# arguments: a jq expression over the document
of_out()
{
	jq -r "$1" "$D/out"
}

# the kinds of differences of run 1 with their counts
kinds()
{
	of_out '[.runs[0].differences | to_entries[] | select(.value.count > 0) | "\(.key) \(.value.count)"] | sort | join(", ")'
}

# arguments: kind, recipient, attempt
event()
{
	sql -c "INSERT INTO kairan.feedback_event (month, semantic_key, occurred_at, source, kind, run_id, send_id, attempt)
		VALUES (date_trunc('month', now())::date, '$1|$2|$3', now(), 'sns', '$1', 1, $2, $3)"
}

# recipients 1 .. 150 were sent two days ago, and are counted
sql -c "UPDATE kairan.run SET planned = 200, started_at = now() - interval '2 days'" \
	-c "UPDATE kairan.send SET settled_at = now() - interval '2 days'" \
	-c "INSERT INTO kairan.tally (run_id, owner, minute, sent, in_doubt) VALUES (1, 1, date_trunc('minute', now() - interval '2 days'), 150, 50)"
tap_is "$(one 'count(*) FROM kairan.in_doubt')" 50 'rows in doubt are noted when they are made'
tap_is "$(one "count(*) FROM kairan.doubtful")" 50 'each once'

tap_is "$(reconcile)" 0 'where nothing is ever heard nothing is missed'
tap_is "$(of_out .evidence_since)" null 'and it says so'
tap_is "$(reconcile 99)" 6 'no such run'

# ---- deliveries of 1 .. 140 by the way of the daemon, 141 .. 150 are missing -------------------

for i in {1..140} 200; do
	[ "$i" != 200 ] || sql -c "UPDATE kairan.send SET state = 'sending', claimed_at = now() WHERE id = 200"
	printf '{"kind":"delivery","address":"user%s@example.com","token":"%s"}\n' "$i" "$(token "$i")"
done | $SNS sign "$D/sns" --topic "$TOPIC" >"$D/events.jsonl"
sql -c "UPDATE kairan.send SET state = 'sending' WHERE id = 200"
"$BIN/kairan" feedback replay "$D/events.jsonl" >"$D/replay.out" 2>&1
tap_is "$(one 'count(*) FROM kairan.send WHERE delivered_at IS NOT NULL')" 141 'deliveries are heard'
# the fake's events are of its own time, which decides since when evidence is heard
sql -c "UPDATE kairan.send SET settled_at = now() + interval '1 day' WHERE id BETWEEN 1 AND 150" \
	-c "UPDATE kairan.feedback_event SET occurred_at = now() - interval '3 days'"
tap_is "$(reconcile 1)" 0 'nothing is missed before its time'
sql -c "UPDATE kairan.send SET settled_at = now() - interval '30 hours' WHERE id BETWEEN 1 AND 150"
tap_is "$(reconcile 1)" 1 'differences are exit code 1'
tap_is "$(kinds)" 'no_evidence 10' 'sent, and nothing heard'
tap_is "$(of_out '.runs[0].differences.no_evidence.examples | join(" ")')" '1/141 1/142 1/143 1/144 1/145' 'with examples'
tap_is "$(reconcile 1 --after 40)" 0 'not before so many hours'
for i in {141..150}; do event delivered "$i" 1; done
sql -c "UPDATE kairan.send SET delivered_at = now() WHERE id BETWEEN 141 AND 150"
tap_is "$(reconcile 1)" 0 'heard late'

# ---- doubt -----------------------------------------------------------------------------------------

# delivery of 200 was heard while it was being sent; then its dispatcher was lost
sql -c "UPDATE kairan.send SET state = 'in_doubt', reason = 'owner_lost' WHERE id = 200"
tap_is "$(reconcile)" 4 'only doubt is exit code 4'
tap_is "$(kinds)" 'doubt_proved 1' 'proved by what was heard before'
before=$(one "count(*) FROM kairan.send WHERE state = 'in_doubt'")
tap_is "$(one "kairan.doubt_settle(1, '{199,200}', 'proved_sent')")" 1 'doubt_settle looks at the proof itself'
tap_is "$(one "count(*) FROM kairan.send WHERE state = 'in_doubt'")" $((before - 1)) 'who has none stays'
sql -c "UPDATE kairan.send SET state = 'in_doubt' WHERE id = 200" -c 'DELETE FROM kairan.doubt' \
	-c 'UPDATE kairan.tally SET sent = sent - 1, in_doubt = in_doubt + 1 WHERE owner = 0' -c 'DELETE FROM kairan.tally_domain WHERE owner = 0'
tap_is "$(reconcile --fix)" 0 'with --fix nothing is left'
tap_is "$(of_out .fixed)" 1 'one was taken out of doubt'
tap_is "$(of_send 200 state)" sent 'and is sent'
tap_is "$(one "how FROM kairan.doubt WHERE send_id = 200")" proved_sent 'noted as proved'
tap_is "$(one "count(*) FROM kairan.audit WHERE action IN ('doubt.proved_sent', 'reconcile.fix')")" 3 'and in the audit'
tap_is "$(one "sent || ' ' || in_doubt FROM kairan.campaign_progress")" '151 49' 'with the counts'
tap_is "$(one "attempted || ' ' || sent FROM kairan.tally_domain WHERE owner = 0")" '1 1' 'by domain as well'
tap_is "$(one 'count(*) FROM kairan.in_doubt')" 49 'and it has left the view'

# ---- everything else is told and left alone --------------------------------------------------------

event rejected 190 1
event accepted 20 3
event delivered 21 1
event accepted 900 1
# the first attempts of these were refused, and then another was made: one in doubt, one sent, one still queued
for i in 191 25 26; do event rejected "$i" 1; event accepted "$i" 1; done
sql -c "UPDATE kairan.send SET attempt = 2 WHERE id IN (191, 25, 26)" -c "UPDATE kairan.send SET state = 'queued' WHERE id = 26"
sql -c "UPDATE kairan.send SET delivered_at = NULL WHERE id = 21"
sql -c "UPDATE kairan.send SET state = 'failed' WHERE id = 22" -c "UPDATE kairan.send SET state = 'queued' WHERE id = 23"
event rejected 24 1
sql -c "INSERT INTO kairan.feedback_event (month, semantic_key, occurred_at, source, kind) VALUES (date_trunc('month', now())::date, 'x', now(), 'sns', 'bounced')"
rows=$(one "md5(string_agg(s::text, '' ORDER BY id)) FROM kairan.send s")
tap_is "$(reconcile --fix)" 1 'the rest is differences'
tap_is "$(kinds)" 'doubt_refused 1, fact_not_noted 1, failed_but_taken 1, no_such_row 1, queued_but_taken 1, sent_but_refused 1, unknown_attempt 1' \
	'one of each kind'
tap_is "$(of_out '.unlinked[0] | "\(.source) \(.kind) \(.count)"')" 'sns bounced 1' 'and an event without a recipient'
tap_is "$(of_out '.fixed')" 0 'none of it is mended'
tap_is "$(one "md5(string_agg(s::text, '' ORDER BY id)) FROM kairan.send s")" "$rows" 'and no row is touched'
"$BIN/kairan" reconcile 1 >"$D/text" 2>/dev/null
tap_ok 'the text names kind and meaning' grep -qE '^  queued_but_taken +1  still to be sent here, taken by the remote' "$D/text"

# ---- counts by day ---------------------------------------------------------------------------------

day=$(date -u -d '2 days ago' +%F)
tap_is "$(one "sum(sent) FROM kairan.tally WHERE minute < now() - interval '1 day'")" 150 'ours of that day'
printf '{"SendDataPoints":[{"Timestamp":"%sT10:00:00+00:00","DeliveryAttempts":100,"Bounces":0,"Complaints":0,"Rejects":0},
	{"Timestamp":"%sT10:15:00+00:00","DeliveryAttempts":50,"Bounces":0,"Complaints":0,"Rejects":0}]}' "$day" "$day" >"$D/ses.json"
reconcile --campaign none --figures "$D/ses.json" >"$D/code"
tap_is "$(cat "$D/code") $(of_out '.days[0].sends | "\(.ours) \(.provider) \(.differs)"')" '0 150 150 false' 'GetSendStatistics agrees'
printf 'Date,Sends,Note,Complaints\n%s,170,x,0\n' "$day" >"$D/ses.csv"
tap_is "$(reconcile --campaign none --figures "$D/ses.csv")" 1 'a CSV that does not'
tap_is "$(of_out '.days[0] | "\(.date) \(.sends.ours) \(.sends.provider) \(.sends.differs) \(.complaints.differs)"')" "$day 150 170 true false" 'by how much'
tap_is "$(reconcile --campaign none --figures "$D/ses.csv" --tolerance 20)" 0 'within a tolerance'
# of three mails that bounced that day two sources told of one, and one was on the provider's list
sql -c "INSERT INTO kairan.feedback_event (month, semantic_key, occurred_at, source, kind, reason, run_id, send_id, attempt)
	SELECT date_trunc('month', t)::date, 'day' || n, t, source, 'bounced', reason, 1, send, attempt
	FROM (VALUES (1, 'sns', 'user_unknown', 30, 1), (2, 'dsn', 'user_unknown', 30, 0), (3, 'sns', 'on_account_suppression_list', 31, 1), (4, 'sns', 'mailbox_full', 32, 1))
		AS v(n, source, reason, send, attempt), (SELECT ('$day'::timestamp + interval '10 h') AT TIME ZONE 'UTC' AS t) AS d"
printf 'Date,Bounces\n%s,2\n' "$day" >"$D/ses.csv"
reconcile --campaign none --figures "$D/ses.csv" >"$D/code"
tap_is "$(cat "$D/code") $(of_out '.days[0].bounces | "\(.ours) \(.provider) \(.differs)"')" '0 2 2 false' 'a mail is counted once, and what the provider did not send is not'
printf 'a,b\n1,2\n' >"$D/bad.csv"
tap_is "$(reconcile --figures "$D/bad.csv")" 2 'a file without figures is a mistake'
tap_is "$(reconcile --after x)" 2 'and so is a word for a number'
tap_is "$(KAIRAN_DATABASE_URL='postgresql:///kairan?host=/nonexistent' reconcile)" 75 'without PostgreSQL it is temporary'
tap_done
