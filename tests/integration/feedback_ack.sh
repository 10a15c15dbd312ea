#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Nothing is acknowledged before it is committed: while the inbox is locked, LMTP (here by TCP) and HTTP say
# nothing; when PostgreSQL refuses everything, they say "again"; what a cut, stalled or crumbled connection of SNS
# leaves open is settled when the notice comes again. TAP, run by prove.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh
. tests/support/chaos.sh

feedback_start
HTTP=$(services_free_port)
LMTP=$(services_free_port)
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$HTTP KAIRAN_FEEDBACK_LMTP_LISTEN=127.0.0.1:$LMTP
daemon_start
tap_is $? 0 'the daemon starts'

# arguments: send; stdout: the reply to its content
lmtp()
{
	dsn "$1" 5.1.1 >"$D/mail.$1"
	"$PYTHON" - "$LMTP" "b+$(token "$1")@$DOMAIN" "$D/mail.$1" <<'PY'
import smtplib, sys
with smtplib.LMTP("127.0.0.1", int(sys.argv[1]), local_hostname="test") as c:
    c.ehlo_or_helo_if_needed()
    c.mail("")
    c.rcpt(sys.argv[2])
    print(c.data(open(sys.argv[3], "rb").read())[0], flush=True)
PY
}

NOW=$(date -u +%Y-%m-%dT%H:%M:%S.000Z) # the same notice each time
# arguments: send, perhaps another port; stdout: the status, 0: none
http()
{
	printf '{"kind":"delivery","token":"%s","timestamp":"%s","ses_id":"m%s"}\n' "$(token "$1")" "$NOW" "$1" | $SNS send "$D/sns" "http://127.0.0.1:${2:-$HTTP}/sns" --topic "$TOPIC" 2>/dev/null |
		sed -n 's/.*"status": \([0-9]*\).*/\1/p'
}

# arguments: how many sessions of kairan-feedback wait for a lock
waiting()
{
	wait_for 10 "count(*) >= $1 FROM pg_stat_activity WHERE usename = 'kairan_feedback' AND wait_event_type = 'Lock'"
}

tap_is "$(lmtp 1) $(http 2)" '250 200' 'a mail by LMTP and a notice by HTTP are taken'
tap_is "$(of_send 1 'bounced_at IS NOT NULL') $(of_send 2 'delivered_at IS NOT NULL')" 'true true' 'and are there when that is said'

sql -c 'BEGIN' -c 'LOCK kairan.feedback_event' -c 'SELECT pg_sleep(600)' >"$D/locker" 2>&1 &
LOCKER=$!
wait_for 10 "count(*) > 0 FROM pg_locks WHERE relation = 'kairan.feedback_event'::regclass AND mode = 'AccessExclusiveLock' AND granted"
lmtp 3 >"$D/lmtp.said" 2>&1 &
FIRST=$!
http 4 >"$D/http.said" 2>&1 &
SECOND=$!
tap_ok 'the commit waits for a lock' waiting 1
sleep 2
tap_is "$(cat "$D/lmtp.said" "$D/http.said")" '' 'meanwhile neither LMTP nor HTTP says anything'
one "pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()" >"$D/out"
wait "$LOCKER" "$FIRST" "$SECOND"
tap_is "$(cat "$D/lmtp.said") $(cat "$D/http.said")" '250 200' 'after it they do'
tap_is "$(of_send 3 'bounced_at IS NOT NULL') $(of_send 4 'delivered_at IS NOT NULL')" 'true true' 'and both are there'

sql -c 'ALTER TABLE kairan.feedback_event ADD CONSTRAINT shut CHECK (received_at IS NULL) NOT VALID'
tap_is "$(lmtp 5) $(http 6)" '451 503' 'when PostgreSQL takes nothing, not even a word about it, they say "again"'
sql -c 'ALTER TABLE kairan.feedback_event DROP CONSTRAINT shut'
tap_is "$(lmtp 5) $(http 6)" '250 200' 'and take it then'
tap_is "$(of_send 5 'bounced_at IS NOT NULL') $(of_send 6 'delivered_at IS NOT NULL')" 'true true' 'nothing is lost'

# ---- SNS through a network that fails ----
PROXY=$(services_free_port)
chaos_start http "$PROXY" "$HTTP"
# arguments: send; stdout: how often it is in the inbox
noted()
{
	one "count(*) FROM kairan.feedback_event WHERE send_id = $1"
}
chaos http split 3
tap_is "$(http 7 "$PROXY") $(noted 7)" '200 1' 'a notice in pieces of three bytes is taken'
chaos http pass
chaos http limit up 700 cut
tap_is "$(http 8 "$PROXY") $(noted 8)" '0 0' 'a notice that is cut off half-way is not acknowledged, and not there'
tap_ok 'it was cut there' chaos_wait http 5 limit 0
tap_is "$(http 8 "$PROXY") $(noted 8)" '200 1' 'it is taken when it comes again'
chaos http limit down 5 cut
tap_is "$(http 9 "$PROXY") $(noted 9)" '0 1' 'a notice whose acknowledgement is cut off is there'
tap_is "$(http 9 "$PROXY") $(noted 9)" '200 1' 'and there once when it comes again'
chaos http hold both
http 10 "$PROXY" >"$D/held.said" &
HELD=$!
tap_is "$(http 4) $(cat "$D/held.said")" '200 ' 'while one connection stalls others are answered'
chaos http pass
wait "$HELD"
tap_is "$(cat "$D/held.said") $(noted 10)" '200 1' 'and it is answered when it goes on'
daemon_end
tap_is $? 0 'the daemon ends well'
tap_done
