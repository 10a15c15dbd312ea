#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan feedback replay: mails, an mbox, a Maildir and JSON lines through the way of the daemon,
# twice; health of a running daemon in kairan status. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
mkdir -p "$D/a/maildir/new" "$D/a/maildir/cur" "$D/a/.hidden"
dsn 1 5.1.1 >"$D/a/single.eml"
for i in {2..11}; do
	echo 'From MAILER-DAEMON Sat Nov 21 10:00:00 2026'
	dsn "$i" 5.1.1
	echo
done >"$D/a/box.mbox"
dsn 12 4.2.2 >"$D/a/maildir/new/1.host"
dsn 13 5.1.1 >"$D/a/maildir/cur/2.host:2,S"
dsn 14 5.1.1 >"$D/a/.hidden/x"
for i in {20..40}; do
	printf '{"kind":"delivery","address":"user%s@example.com","token":"%s"}\n' "$i" "$(token "$i")"
done | $SNS sign "$D/sns" --topic "$TOPIC" >"$D/a/signed.jsonl"
"$PYTHON" -c 'import json, sys
for line in sys.stdin: print(json.loads(line)["Message"])' <"$D/a/signed.jsonl" >"$D/bare.jsonl"

# arguments: field, options and files
replay()
{
	local field=$1

	shift
	"$BIN/kairan" feedback replay "$@" 2>"$D/replay.err" >"$D/replay.out"
	printf '%s ' $?
	"$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$D/replay.out" "$field"
}

tap_is "$(KAIRAN_DATABASE_URL='' replay notices --dry-run "$D/a")" '0 34' 'a dry run reads all, without a database'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" 0 'and commits nothing'
tap_is "$(replay new "$D/a")" '0 34' 'the first time all is new'
tap_is "$(one 'count(*) FROM kairan.send WHERE bounced_at IS NOT NULL')" 13 'bounces of all kinds of files'
tap_is "$(one 'count(*) FROM kairan.send WHERE delivered_at IS NOT NULL')" 21 'deliveries of the JSON lines'
tap_is "$(of_send 14 bounced_at)" - 'hidden folders are passed over'
before=$(one "md5(string_agg(s::text, '' ORDER BY id)) FROM kairan.send s")
tap_is "$(replay new "$D/a")" '0 0' 'the second time nothing'
tap_is "$(one "md5(string_agg(s::text, '' ORDER BY id)) FROM kairan.send s")" "$before" 'and no row has changed'
tap_is "$(replay new "$D/bare.jsonl")" '0 0' 'events without their wrapping are the same events'
tap_is "$(replay passed_over --signed "$D/bare.jsonl")" '1 21' 'with --signed they are passed over'
printf '{"kind":"complaint","forge":"signature","address":"user50@example.com"}\n' |
	$SNS sign "$D/sns" --topic "$TOPIC" >"$D/forged.jsonl"
tap_is "$(replay passed_over "$D/forged.jsonl")" '1 1' 'a forged document is passed over'
tap_is "$(replay files "$D/nothing")" '1 0' 'a file that is not there is an error'
"$BIN/kairan" feedback replay 2>/dev/null
tap_is $? 2 'no file is a mistake'
KAIRAN_DATABASE_URL='postgresql:///kairan?host=/nonexistent' "$BIN/kairan" feedback replay "$D/a" 2>/dev/null
tap_is $? 75 'without PostgreSQL it is temporary'

# ---- standard input ------------------------------------------------------------------------------

tap_is "$(replay notices --dry-run - <"$D/a/box.mbox")" '0 10' 'an mbox on standard input'
dsn 72 5.1.1 >"$D/piped.eml"
tap_is "$(replay new - < <(sed 's/$/\r/' "$D/piped.eml")) $(of_send 72 class)" '0 1 hard' 'a mail by a pipe'
tap_is "$(replay notices --dry-run - < <(cat "$D/bare.jsonl"))" '0 21' 'JSON lines by a pipe'
tap_is "$(replay notices --dry-run - </dev/null)" '0 0' 'nothing on it is no error'
"$BIN/kairan" feedback replay - "$D/a" </dev/null 2>/dev/null
tap_is $? 2 'it stands alone'
"$BIN/kairan" feedback replay --dry-run - <"$D" >/dev/null 2>&1
tap_is $? 75 'and must be readable'

# ---- JSON as people keep it ----------------------------------------------------------------------

"$PYTHON" -c 'import json, sys
for line in sys.stdin: print(json.dumps(json.loads(line), indent=2))' <"$D/bare.jsonl" >"$D/pretty.json"
tap_is "$(replay notices "$D/pretty.json")" '0 21' 'documents over several lines'
tap_is "$(replay passed_over "$D/pretty.json")" '0 0' 'none of which is passed over'
{ printf '\xEF\xBB\xBF'; cat "$D/bare.jsonl"; } >"$D/bom.jsonl"
tap_is "$(replay notices "$D/bom.jsonl")" '0 21' 'a byte order mark before JSON lines'
{ echo; cat "$D/bare.jsonl"; } >"$D/empty.jsonl"
tap_is "$(replay notices "$D/empty.jsonl")" '0 21' 'an empty line before them'
{ printf '{"a": [\n'; cat "$D/bare.jsonl"; } >"$D/cut.jsonl"
tap_is "$(replay notices "$D/cut.jsonl")" '1 22' 'a line that is cut short takes no other with it'
{ printf '\xEF\xBB\xBF'; dsn 71 5.1.1; } >"$D/bom.eml"
tap_is "$(replay new "$D/bom.eml")" '0 1' 'a byte order mark before a mail'
tap_like "$(of_send 71 bounced_at)" '^20' 'which is a bounce'

# ---- what the database refuses -----------------------------------------------------------------

{
	dsn 70 5.1.1 | sed '/^--x--$/d'
	for i in 1 2 3; do
		printf 'Final-Recipient: rfc822; other%s@example.com\nAction: failed\nStatus: 5.%s.9\n\n' "$i" "$i"
	done
	echo '--x--'
} >"$D/several.eml"
sql -c "ALTER TABLE kairan.feedback_event ADD CONSTRAINT trap CHECK (enhanced IS DISTINCT FROM '5.2.9')"
tap_is "$(replay new "$D/several.eml")" '0 4' 'a notice of which the database refuses one fact'
tap_is "$(one "string_agg(coalesce(enhanced, reason), ' ' ORDER BY id) FROM (SELECT * FROM kairan.feedback_event ORDER BY id DESC LIMIT 4) AS e")" \
	'5.1.1 5.1.9 refused 5.3.9' 'loses that one alone, which is kept aside'

# ---- what was kept aside -----------------------------------------------------------------------

# field, arguments: of kairan feedback quarantine replay
again()
{
	local field=$1

	shift
	"$BIN/kairan" feedback quarantine replay "$@" 2>"$D/again.err" >"$D/again.out"
	printf '%s ' $?
	"$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$D/again.out" "$field"
}

kept()
{
	"$BIN/kairan" --json feedback quarantine list 2>/dev/null | "$PYTHON" -c '
import json, sys
for k in json.load(sys.stdin): print(k["id"], k["source"], k["reason"], k["form"], k["replayed_at"] is not None)'
}

tap_is "$(kept)" '1 dsn refused event False' 'quarantine list'
tap_is "$(again passed_over)" '1 1' 'what the database still refuses'
tap_is "$(kept)" '1 dsn refused event True' 'is kept on'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'refused'")" 1 'once'
sql -c 'ALTER TABLE kairan.feedback_event DROP CONSTRAINT trap'
tap_is "$(again notices --dry-run) $(kept)" '0 1 1 dsn refused event True' 'a dry run changes nothing'
tap_is "$(again new 1)" '0 1' 'replayed when it takes it'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE enhanced = '5.2.9'")" 1 'it is the fact that was refused'
"$BIN/kairan" feedback quarantine list >/dev/null 2>&1
tap_is $? 6 'and kept no more'
tap_is "$(again passed_over 1)" '1 1' 'a number that is not there'
"$BIN/kairan" feedback quarantine replay 1x 2>/dev/null
tap_is $? 2 'and one that is none'
tap_is "$(again notices)" '0 0' 'nothing to replay'

# arguments: send id, form, believed; a notice of that recipient as if it had been kept long ago
keep_one()
{
	local content

	if [ "$2" = mail ]; then
		content=$(dsn "$1" 5.1.1 | sed 's/^To:.*/To: nobody/' | base64 -w 0)
	else
		content=$(printf '{"kind":"delivery","address":"user%s@example.com","token":"%s"}\n' "$1" "$(token "$1")" |
			$SNS sign "$D/sns" --topic "$TOPIC" | "$PYTHON" -c 'import json, sys; print(json.loads(sys.stdin.read())["Message"])' | base64 -w 0)
	fi
	sql -c "INSERT INTO kairan.kept_notice (semantic_key, kept_at, source, reason, why, form, believed, recipients, content)
		VALUES ('test|$1', now() - interval '100 days', 'mail', 'unreadable', 'the parser ended on it 2 times', '$2', $3,
		E'b+$(token "$1")@$DOMAIN\n', decode('$content', 'base64')) RETURNING id"
}

id=$(keep_one 80 mail false)
tap_is "$("$BIN/kairan" feedback quarantine show "$id" | grep -c '^Final-Recipient: rfc822; user80@example.com')" 1 'quarantine show prints the whole'
tap_is "$("$BIN/kairan" --json feedback quarantine show "$id" | "$PYTHON" -c 'import json, sys, base64; k = json.load(sys.stdin)[0]; print(b"user80@" in base64.b64decode(k["content_base64"]))')" True 'in JSON as base64'
tap_is "$(again new "$id")" '0 1' 'a mail that is understood now'
tap_like "$(of_send 80 bounced_at)" '^20' 'is linked by the recipients of its envelope'
keep_one 81 notice false >/dev/null
tap_is "$(again passed_over) $(of_send 81 delivered_at)" '1 1 -' 'a notice that was not believed is not believed now'
id=$(keep_one 82 notice true)
tap_is "$(again new "$id") $(of_send 82 delivered_at | cut -c 1-2)" '0 1 20' 'one that was verified is'
id=$(keep_one 83 mail false)
sql -c "SELECT kairan.customer_erase('USER83@example.com')" >/dev/null
"$BIN/kairan" feedback quarantine show "$id" >/dev/null 2>&1
tap_is $? 6 'erased with the person whom it names'
id=$(keep_one 84 mail false)
"$BIN/kairan" feedback quarantine drop "$id" >/dev/null
tap_is "$? $(one "count(*) FROM kairan.audit WHERE action = 'feedback.drop'")" '0 1' 'dropped, and audited'
"$BIN/kairan" feedback quarantine drop --all >/dev/null
tap_is "$? $(one 'count(*) FROM kairan.kept_notice')" '0 0' 'all of them'
"$BIN/kairan" feedback quarantine drop "$id" >/dev/null 2>&1
tap_is $? 6 'what is gone is not there to be dropped'
sql -c "INSERT INTO kairan.kept_notice (semantic_key, source, reason, why, form, believed, recipients, content)
	SELECT 'big|' || n, 'mail', 'unreadable', '', 'mail', false, '', decode(repeat('00', 67108864), 'hex') FROM generate_series(1, 4) AS n"
tap_is "$(one "kairan.notice_keep('{a}', '{mail}', '{unreadable}', '{}', '{mail}', '{f}', '{}', '{AAAA}') FROM (SELECT 1) AS x") $(one 'count(*) FROM kairan.kept_notice')" \
	'0 4' 'no more than 256 MB is kept whole'
sql -c 'DELETE FROM kairan.kept_notice'
keep_one 85 mail false >/dev/null

# ---- health in kairan status -------------------------------------------------------------------

mkdir -p "$D/md/new" "$D/md/cur"
export KAIRAN_FEEDBACK_MAILDIR=$D/md
daemon_start
tap_ok 'what was kept longer than retention.kept_days is dropped' wait_for 10 'count(*) = 0 FROM kairan.kept_notice'
dsn 60 5.1.1 >"$D/md/new/1.host"
tap_ok 'a daemon with a Maildir' services_wait 5 test -f "$D/md/cur/1.host:2,S"
"$BIN/kairan" status >"$D/status" 2>&1
tap_ok 'is in kairan status' grep -qE 'maildir +ok +1 committed, last [0-9] s ago, 0 left' "$D/status"
tap_is "$("$BIN/kairan" --json status 2>/dev/null | "$PYTHON" -c '
import json, sys; f = json.load(sys.stdin)["feedback"]; print(f["ok"], f["sources"][0]["committed"])')" 'True 1' 'and in its JSON'
metrics metrics >"$D/metrics"
tap_ok 'and in Prometheus' grep -q '^kairan_feedback_source_committed_total{source="maildir"} 1$' "$D/metrics"
tap_is "$("$PYTHON" tests/support/check_metrics.py text "$D/metrics")" '' 'every line of which has its form and type'
tap_is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$METRICS/other")" 404 'another page is unknown'
tap_is "$(curl -s -o /dev/null -w '%{http_code}' -X POST "http://127.0.0.1:$METRICS/metrics")" 405 'only GET'

# ---- lag ---------------------------------------------------------------------------------------

hold
dsn 61 5.1.1 >"$D/md/new/2.host"
tap_ok 'while PostgreSQL takes nothing a file waits in the Maildir' services_wait 20 source_reaches maildir lag_s 1
tap_is "$(source_is maildir waiting)" 1 'one'
lag_is_told()
{
	metrics metrics | awk '$1 == "kairan_feedback_lag_seconds" && $2 > 5 { n++ } $1 == "kairan_feedback_source_lag_seconds{source=\"maildir\"}" && $2 > 5 { n++ } END { exit n != 2 }'
}
tap_ok 'its age and that of the notice here are in Prometheus' services_wait 30 lag_is_told
"$BIN/kairan" status >"$D/status" 2>&1
tap_ok 'and in kairan status' grep -qE 'maildir .*, 1 waiting, the oldest for [0-9]+ s' "$D/status"
tap_ok 'so are notices that wait for PostgreSQL' grep -qE '1 notices wait for PostgreSQL, the oldest for [0-9]+ s' "$D/status"
let_go
tap_ok 'it is committed then' services_wait 20 test -f "$D/md/cur/2.host:2,S"
no_lag()
{
	[ "$(source_is maildir waiting) $(source_is maildir lag_s)" = '0 0' ]
}
tap_ok 'and nothing waits' services_wait 20 no_lag
daemon_end
tap_is $? 0 'ends well'
"$BIN/kairan" status >"$D/status" 2>&1
tap_ok 'a daemon that is gone is said' grep -q 'absent' "$D/status"
KAIRAN_FEEDBACK_METRICS_LISTEN=0.0.0.0:9630 "$BIN/kairan-feedback" 2>"$D/refused.log"
tap_is $? 2 'metrics off the loopback are a mistake'
tap_done
