#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a dispatcher makes of its journal after a crash, of a damaged one, of lost commits and copied
# databases; and how recipients get out of doubt. The ground truth of the FAKE relay says whether
# anybody got a mail twice. TAP, run by prove.
# shellcheck disable=SC2119,SC2153 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
customers_add 200 large.example
campaign_add journal
SLOWLY=(KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 KAIRAN_DISPATCHER_JOURNAL_SLOTS=4096)
JOURNAL=$D/state/dispatcher-one.journal
producer_start KAIRAN_PRODUCER_RESEND_AFTER_S=1

# arguments: run key; a run with a dispatcher that was killed in the middle of it. RUN, HELD
run_killed()
{
	local before

	before=$(taken)
	relay_set 'delay_ms = 50'
	dispatcher_start one "${SLOWLY[@]}"
	RUN=$(run_add journal "$1")
	taken_wait $((before + 30)) || tap_note 'nothing is sent'
	service_stop "$DISPATCHER" KILL 2>/dev/null || true
	HELD=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")
	relay_set
}

states_like()
{
	tap_like "$(run_states "$RUN")" "$1" "$2"
}

# ---- a journal that was not there, or is damaged ------------------------------------------

run_killed gone
mv "$JOURNAL" "$D/journal.old"
dispatcher_start one "${SLOWLY[@]}"
tap_ok 'without its journal a run finishes' run_wait "$RUN" finished 30
tap_is "$(one "count(*) FROM kairan.in_doubt WHERE run_id = $RUN AND reason = 'owner_lost'")" "$HELD" \
	'but everything that was claimed is in doubt'
run_check "$RUN" 'nobody got it twice'
service_stop "$DISPATCHER"

run_killed damaged
"$PYTHON" - "$JOURNAL" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:  # one slot of the ring
    f.seek(4096 + 3000 * 128)
    f.write(b"damage")
PY
dispatcher_start one "${SLOWLY[@]}"
tap_ok 'F45: with a damaged slot a run finishes' run_wait "$RUN" finished 30
tap_is "$(one "count(*) > 4 FROM kairan.in_doubt WHERE run_id = $RUN")" t 'and what has no mark is in doubt, not sent again'
run_check "$RUN" 'nobody got it twice'
service_stop "$DISPATCHER"

run_killed header
"$PYTHON" - "$JOURNAL" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.write(b"\xff" * 4096)
PY
dispatcher_start one "${SLOWLY[@]}"
tap_ok 'F45: with a damaged header a run finishes' run_wait "$RUN" finished 30
tap_is "$(one "count(*) FROM kairan.in_doubt WHERE run_id = $RUN")" "$HELD" 'all it had is in doubt'
tap_ok 'the damaged file is kept' compgen -G "$JOURNAL.damaged-*"
run_check "$RUN" 'nobody got it twice'
service_stop "$DISPATCHER"

chmod 644 "$JOURNAL"
status=0
env KAIRAN_DISPATCHER_NAME=one "$BIN/kairan-dispatcher" >"$D/refused" 2>&1 || status=$?
tap_is "$status $(grep -c 'mode 600' "$D/refused")" '1 1' 'a journal that others can read is refused'
chmod 600 "$JOURNAL"

# ---- declared dead, then back -------------------------------------------------------------

run_killed buried
LIFE=$(one 'max(id) FROM kairan.dispatcher')
BURIED=$(one "kairan.dispatcher_bury($LIFE)")
tap_is "$BURIED" "$HELD" 'a dispatcher that does not come back: what it held is in doubt'
sql -c "UPDATE kairan.run SET state = 'paused' WHERE id = $RUN"
dispatcher_start one "${SLOWLY[@]}"
tap_ok 'when it does come back, its journal settles them' wait_for 10 \
	"recovered_at IS NOT NULL FROM kairan.dispatcher WHERE id = $LIFE"
tap_is "$(one "count(*) <= 4 FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" t 'but for one per connection'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" 0 'nothing is left claimed'
sql -c "UPDATE kairan.run SET state = 'running' WHERE id = $RUN"
tap_ok 'the run finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'exactly once'

# ---- in doubt: a person's word, the relay's log, policy ------------------------------------

relay_set 'drop = lost'
customers_add 6 drop.example drop
RUN=$(run_add journal doubt)
tap_ok 'F22: connections that end after the dot: the run finishes' run_wait "$RUN" finished 30
tap_is "$(one "count(*) FROM kairan.in_doubt WHERE run_id = $RUN")" 6 'six are in doubt'
tap_like "$("$BIN/kairan" send doubt list --campaign journal --json)" "\"recipient\": *\"$RUN/[0-9]+\"" 'send doubt list names them'
mapfile -t IDS < <(one "id FROM kairan.in_doubt WHERE run_id = $RUN ORDER BY id")
tap_like "$("$BIN/kairan" send doubt show "$RUN/${IDS[0]}")" "$RUN/${IDS[0]} .*journal +doubt" 'send doubt show knows one'
status=0
"$BIN/kairan" send doubt resolve "$RUN" >"$D/out" 2>&1 || status=$?
tap_is "$status" 2 'send doubt resolve wants to know how'
status=0
"$BIN/kairan" send doubt resolve "$RUN/1x" --resend >"$D/out" 2>&1 || status=$?
tap_is "$status" 2 'and whom'
tap_is "$("$BIN/kairan" send doubt resolve "$RUN/${IDS[0]}" --assume-sent)" '1 recipients: taken as sent' 'one is assumed sent'
tap_is "$(one "state FROM kairan.send WHERE run_id = $RUN AND id = ${IDS[0]}")" sent 'it is'
status=0
"$BIN/kairan" send doubt resolve "$RUN/${IDS[0]}" --resend >"$D/out" 2>&1 || status=$?
tap_is "$status" 6 'and not in doubt any more'
# the relay's log: a queue manager's line with the return path of the second
TOKEN=$("$PYTHON" tests/support/sns_fake.py token "$D/keys" "$RUN" "${IDS[1]}" 1 b)
FORGED=${TOKEN:0:33}$([ "${TOKEN:33}" = a ] && echo b || echo a)
printf '%s\n' "Nov 21 22:00:00 mx postfix/cleanup[7]: 4F1A2B: message-id=<$TOKEN@example.org>" \
	"Nov 21 22:00:01 mx postfix/qmgr[8]: 4F1A2B: from=<b+$FORGED@bounces.example.org>, size=900, nrcpt=1 (queue active)" \
	"Nov 21 22:00:01 mx postfix/qmgr[8]: 4F1A2B: from=<b+$TOKEN@bounces.example.org>, size=900, nrcpt=1 (queue active)" >"$D/mail.log"
tap_is "$("$BIN/kairan" send doubt resolve --from-log "$D/mail.log")" '3 lines read, 1 about mail of ours, 1 of it new' \
	'the log proves one; a forged line nothing'
tap_is "$(one "state FROM kairan.send WHERE run_id = $RUN AND id = ${IDS[1]}")" sent 'it is sent'
tap_is "$("$BIN/kairan" send doubt resolve --from-log "$D/mail.log")" '3 lines read, 1 about mail of ours, 0 of it new' 'once'
# arguments: file, status, what is said, NAME
log_refused()
{
	local status=0

	"$BIN/kairan" send doubt resolve --from-log "$1" >"$D/out" 2>&1 || status=$?
	tap_is "$status" "$2" "$4"
	tap_like "$(cat "$D/out")" "$3" "$4: and says why"
}
log_refused "$D/mail.log" 6 '0 of it new' 'a log with nothing new ends with 6'
log_refused "$D" 1 'cannot read .*: Is a directory' 'a folder is no empty log'
log_refused "$D/no.log" 1 'cannot open .*: No such file' 'nor is a missing file'
gzip -c "$D/mail.log" >"$D/mail.log.gz"
log_refused "$D/mail.log.gz" 2 'compressed; unpack it: zcat' 'a compressed log is not read as text'
# an event with our token settles by itself
TOKEN=$("$PYTHON" tests/support/sns_fake.py token "$D/keys" "$RUN" "${IDS[2]}" 1 b)
sql -c "SELECT kairan.ingest('{sns}','{delivered}','{d1}','{now}','{$RUN}','{${IDS[2]}}','{1}','{NULL}','{NULL}','{NULL}',
	'{NULL}','{NULL}','{NULL}','{NULL}','{NULL}')" >"$D/out"
tap_is "$(one "state || ' ' || (delivered_at IS NOT NULL) FROM kairan.send WHERE run_id = $RUN AND id = ${IDS[2]}")" 'sent true' \
	'P5 a delivery notice takes one out of doubt'
# resend: taken this time
sql -c "UPDATE kairan.customer SET email = 'ok' || email WHERE email LIKE 'drop%'" \
	-c "UPDATE kairan.send SET address = 'ok' || address WHERE run_id = $RUN AND address LIKE 'drop%'"
tap_is "$("$BIN/kairan" send doubt resolve "$RUN" --resend)" '3 recipients: queued again' 'the others are sent again'
tap_ok 'and the run finishes again' run_wait "$RUN" finished 30
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sent'")" 206 'with everybody sent'
tap_is "$(one "string_agg(action || ' ' || detail, ', ' ORDER BY id) FROM kairan.audit WHERE action IN ('doubt.assumed_sent', 'doubt.resent')")" \
	'doubt.assumed_sent 1 recipients, doubt.resent 3 recipients' 'the audit tells'
# on_doubt = resend: the relay kept what it did not answer, so they get a second copy, never a third
sql -c "DELETE FROM kairan.customer WHERE email LIKE '%drop%'"
customers_add 3 policy.example drop
sql -c "UPDATE kairan.campaign SET on_doubt = 'resend', segment = 'c.email LIKE ''%@policy.example''' WHERE name = 'journal'"
relay_set 'drop = kept'
RUN=$(run_add journal policy)
tap_ok 'P6 on_doubt = resend: somebody is sent to again' wait_for 30 \
	"count(*) = 3 FROM kairan.doubt WHERE run_id = $RUN AND how = 'resent_by_policy'"
tap_ok 'they are in doubt again' wait_for 20 "count(*) = 3 FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt' AND attempt = 2"
sleep 7
truth_load
tap_is "$(one "max(n) || ' ' || count(*) FROM (SELECT count(*) AS n FROM test.truth WHERE run = $RUN AND kept GROUP BY send) AS t")" '2 3' \
	'one extra copy, not a second'
tap_is "$(one "count(DISTINCT message_id) FROM test.truth WHERE run = $RUN")" 3 'with the same Message-ID'
sql -c "UPDATE kairan.campaign SET on_doubt = 'hold', segment = 'c.email LIKE ''ok%''' WHERE name = 'journal'"
service_stop "$DISPATCHER"

# ---- a wait for a standby that is cancelled -------------------------------------------------

relay_set
dispatcher_start one "${SLOWLY[@]}"
before=$(taken)
sql -c "ALTER SYSTEM SET synchronous_standby_names = 'nobody'" -c 'SELECT pg_reload_conf()' >"$D/out"
sleep 0.3
sql -c 'SET synchronous_commit = local' -c "SELECT kairan.run_make('journal', 'unsynced')" >"$D/out"
RUN=$(one "max(id) FROM kairan.run")
for _ in $(seq 60); do
	sql -c "SET synchronous_commit = local" -c "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'" >"$D/out"
	! grep -q 'has not reached the standby' "$D/dispatcher.log" || break
	sleep 0.1
done
sleep 1
for _ in $(seq 10); do
	sql -c "SET synchronous_commit = local" -c "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'" >"$D/out"
	sleep 0.1
done
tap_ok 'F12: a cancelled wait is noticed' grep -q 'has not reached the standby' "$D/dispatcher.log"
tap_is "$(taken)" "$before" 'and nothing is sent on the strength of it'
sql -c "SET synchronous_commit = local" -c "ALTER SYSTEM RESET synchronous_standby_names" -c 'SELECT pg_reload_conf()' >"$D/out"
tap_ok 'when commits are durable again the run finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'exactly once'
service_stop "$DISPATCHER"

# ---- lost commits ---------------------------------------------------------------------------

# a backup taken before, restored after: the rows say queued of those who have the mail
bindir=$(pg_bindir)
relay_set 'delay_ms = 1000' # much is left when the copy is there, however long that takes
dispatcher_start one "${SLOWLY[@]}"
RUN=$(run_add journal restored)
wait_for 10 "state = 'running' FROM kairan.run WHERE id = $RUN"
sql -c 'CHECKPOINT'
services_as_postgres "$bindir/pg_basebackup" -h "$D/pg.sock" -p 5432 -U postgres -D "$D/pg.sock/backup" -c fast -X stream >"$D/out" 2>&1 ||
	tap_note "$(cat "$D/out")"
relay_set 'delay_ms = 150'
before=$(taken)
taken_wait $((before + 50)) || tap_note 'nothing is sent'
kill -STOP "$PRODUCER"
pg_stop "$D" immediate
mv "$D/pg" "$D/pg.lost"
mv "$D/pg.sock/backup" "$D/pg"
pg_start "$D" 'shared_buffers = 64MB'
export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
kill -CONT "$PRODUCER"
status=0
services_wait 20 _services_gone "$DISPATCHER" || status=1
tap_is "$status" 0 'F13: a dispatcher that finds commits lost stops'
service_stop "$DISPATCHER" 2>/dev/null && status=0 || status=$?
tap_is "$status" 1 'with an error'
tap_like "$(one "state || ' ' || reason FROM kairan.run WHERE id = $RUN")" '^paused .*lost commits' 'and all runs are paused'
status=0
env KAIRAN_DISPATCHER_NAME=one "$BIN/kairan-dispatcher" >"$D/refused" 2>&1 || status=$?
tap_is "$status $(grep -c -- '--adopt' "$D/refused")" '1 1' 'it does not start by itself again, and says what to do'
relay_set
service_spawn 'dispatcher one' "$D/dispatcher.log" env KAIRAN_DISPATCHER_NAME=one "${SLOWLY[@]}" "$BIN/kairan-dispatcher" --adopt 2>/dev/null
DISPATCHER=$SERVICE_PID
services_wait 10 grep -q 'journal asserted' "$D/dispatcher.log" || true
sleep 0.5
truth_load
tap_is "$(one "count(*) FROM test.truth t JOIN kairan.send s ON s.run_id = t.run AND s.id = t.send
	WHERE t.run = $RUN AND t.kept AND s.state NOT IN ('sent', 'in_doubt')")" 0 'adopted: the journal tells the rows who has the mail'
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
tap_ok 'resumed, the run finishes' run_wait "$RUN" finished 40
run_check "$RUN" 'exactly once'
service_stop "$DISPATCHER"

# ---- a copy of the database -------------------------------------------------------------------

sql -c 'UPDATE kairan.installation SET system_id = system_id + 1'
status=0
env KAIRAN_DISPATCHER_NAME=copy "$BIN/kairan-dispatcher" >"$D/refused" 2>&1 || status=$?
tap_is "$status $(grep -c 'this database is a copy' "$D/refused")" '1 1' 'a copy in another cluster is refused'
relay_set 'mode = greet421'
RUN=$(run_add journal copied)
wait_for 10 "state = 'running' FROM kairan.run WHERE id = $RUN" || tap_note 'not planned'
service_spawn 'dispatcher copy' "$D/dispatcher.log" env KAIRAN_DISPATCHER_NAME=copy "${SLOWLY[@]}" "$BIN/kairan-dispatcher" --adopt 2>/dev/null
DISPATCHER=$SERVICE_PID
tap_ok 'adopted, its runs are paused' wait_for 10 "state = 'paused' FROM kairan.run WHERE id = $RUN"
tap_is "$(one "count(*) FROM kairan.audit WHERE action = 'dispatcher.adopt'")" 1 'and the audit tells'

programs_stopped 'all programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
