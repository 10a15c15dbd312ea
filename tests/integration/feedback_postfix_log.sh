#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan-feedback follows the log of a private Postfix: deliveries, deferrals, bounces, settled
# doubt, rotation, its place after a kill. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/postfix.sh
. tests/support/feedback.sh

postfix_available || tap_skip_all "$POSTFIX_WHY_NOT"
feedback_start
echo example.com >"$D/domains"
# example.net: a port where nobody listens, so that Postfix defers and tries again
postfix_start "$D" domains="$D/domains" unknown=none \
	feedback="example.net smtp:[127.0.0.1]:1" conf='maximal_queue_lifetime = 1d' \
	conf='minimal_backoff_time = 300s' conf='notify_classes =' >/dev/null 2>"$D/postfix.err" ||
	{ cat "$D/postfix.err"; tap_bail 'no Postfix'; }
LOG=$D/mail.log
_postfix_root chmod 644 "$POSTFIX_LOG"
mkdir "$D/place"

# A log that this test may rotate: Postfix's own lines, copied as they come.
service_spawn copy "$D/copy.log" bash -c "tail -n +1 -F '$POSTFIX_LOG' | while IFS= read -r line; do
	printf '%s\n' \"\$line\" >>'$LOG'; done" 2>/dev/null
export KAIRAN_POSTFIX_LOG_FILE=$LOG KAIRAN_POSTFIX_LOG_STATE_FILE=$D/place/log

# arguments: send id, recipient; [sender]
mail_to()
{
	"$PYTHON" -c '
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.sendmail(sys.argv[2], [sys.argv[3]], "From: news@example.org\r\nTo: x@example.com\r\nSubject: x\r\n"
               "Message-ID: <%s@example.org>\r\n\r\nhi\r\n" % sys.argv[4])
' "$POSTFIX_PORT" "${3-b+$(token "$1")@$DOMAIN}" "$2" "$(token "$1" m)"
}

daemon_start
tap_is $? 0 'starts before there is a log, or with one'
mail_to 1 user1@example.com
tap_ok 'a delivery is proved' wait_for 10 'delivered_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 1'
tap_is "$(one "source || ' ' || kind FROM kairan.feedback_event WHERE send_id = 1")" 'postfix delivered' 'by the log'
mail_to 2 none2@example.com
tap_ok 'a bounce is heard' wait_for 10 'bounced_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 2'
tap_is "$(of_send 2 class)" hard 'a hard one'
tap_is "$(one "reason FROM kairan.suppression WHERE address_key = 'user2@example.com'")" bounce \
	'and the address of our row is suppressed'
tap_is "$(of_send 160 state)" in_doubt 'a recipient in doubt'
mail_to 160 user160@example.net
tap_ok 'is settled by a mere deferral' wait_for 10 "state = 'sent' FROM kairan.send WHERE run_id = 1 AND id = 160"
tap_is "$(one "kind FROM kairan.feedback_event WHERE send_id = 160")" delayed 'which is an event of its own'
tap_is "$(of_send 160 delivered_at)" - 'and no delivery'
mail_to 3 user3@example.com news@example.org
tap_ok 'with a rewritten sender the Message-ID links' \
	wait_for 10 'delivered_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 3'
mail_to 4 user4@example.com "b+$(printf 'a%.0s' {1..34})@$DOMAIN"
before=$(one 'count(*) FROM kairan.feedback_event')
printf 'Nov 21 10:00:00 mta postfix/smtp[1]: 4XXXXXXXXXXXXX: to=<a@b>, relay=x, dsn=2.0.0, status=sent (250 ok)\n' >>"$LOG"
sleep 1.5
tap_is "$(one 'count(*) FROM kairan.feedback_event WHERE send_id IS NULL')" 0 'strangers leave no trace'

# ---- rotation ------------------------------------------------------------------------------

mv "$LOG" "$LOG.1"
mail_to 5 user5@example.com
tap_ok 'after a rename the new log is followed' \
	wait_for 10 'delivered_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 5'
tap_ok 'and this is logged' grep -q 'postfix log was rotated' "$D/feedback.log"
cp "$LOG" "$LOG.2" && : >"$LOG"
sleep 1
mail_to 6 user6@example.com
tap_ok 'so is a log that was copied and truncated' \
	wait_for 10 'delivered_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 6'

# ---- its place -------------------------------------------------------------------------------

daemon_end KILL
mail_to 7 user7@example.com
sleep 2
mv "$LOG" "$LOG.3"
mail_to 8 user8@example.com
sleep 2
before=$(one 'count(*) FROM kairan.feedback_event')
daemon_start
tap_ok 'what came while it was away is read, from the renamed log' \
	wait_for 10 'count(delivered_at) = 2 FROM kairan.send WHERE run_id = 1 AND id IN (7, 8)'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" $((before + 2)) 'and nothing else is new'
daemon_end
tap_is $? 0 'ends well'
rm "$D/place/log"
cat "$LOG.1" "$LOG.2" "$LOG.3" "$LOG" >"$D/all" && mv "$D/all" "$LOG"
daemon_start
sleep 2
tap_is "$(one 'count(*) FROM kairan.feedback_event')" $((before + 2)) 'all of it read again says nothing new'

# shellcheck disable=SC2119
pg_stop "$D" immediate
mail_to 9 user9@example.com
sleep 2
FAST=1 pg_start "$D" >/dev/null 2>&1
tap_ok 'without PostgreSQL it waits' wait_for 20 'delivered_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 9'
tap_is "$(source_is postfix_log up)" True 'it is up'

# ---- what the database refuses -----------------------------------------------------------------

# argument: send ids; one write, so that all are one chunk
chunk_of()
{
	local send text=''

	for send in "$@"; do
		text+="Nov 21 10:00:00 mta postfix/qmgr[1]: 4YYYYYYYYYY$send: from=<b+$(token "$send")@$DOMAIN>, size=1, nrcpt=1 (queue active)"$'\n'
		text+="Nov 21 10:00:01 mta postfix/smtp[1]: 4YYYYYYYYYY$send: to=<user$send@example.com>, relay=x[192.0.2.1]:25, dsn=2.0.0, status=sent (250 ok)"$'\n'
	done
	printf '%s' "$text" >>"$LOG"
}

delivered='FROM kairan.send WHERE run_id = 1 AND delivered_at IS NOT NULL AND id'
sql -c "ALTER TABLE kairan.feedback_event ADD CONSTRAINT trap CHECK (kind = 'other' OR send_id IS NULL OR send_id NOT IN (25, 26, 31))"
chunk_of {20..39}
tap_ok 'of a chunk that the database refuses the good ones are taken' wait_for 10 "count(*) = 17 $delivered BETWEEN 20 AND 39"
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'refused'")" 3 'and the bad ones are kept aside, each by itself'
three_aside()
{
	metrics metrics | grep -q '^kairan_feedback_quarantined_total{source="postfix_log",reason="refused"} 3$'
}
tap_ok 'which is counted' services_wait 10 three_aside
hold
chunk_of 40
tap_ok 'while PostgreSQL takes nothing the bytes are told that are behind' services_wait 20 source_reaches postfix_log behind_bytes 100
let_go
tap_ok 'the log is followed on' wait_for 10 "count(*) = 1 $delivered = 40"
not_behind()
{
	[ "$(source_is postfix_log behind_bytes)" = 0 ]
}
tap_ok 'and nothing is behind' services_wait 20 not_behind
daemon_end
tap_is $? 0 'ends well again'
tap_is "$(grep -c 'user[0-9]*@' "$D/feedback.log")" 0 'no address in the log'
tap_done
