#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A standby that missed commits takes over (F11): the primary acknowledges claims and outcomes that the
# standby never gets, dies, and the standby is promoted at its address. Three dispatchers: one is killed before
# it can notice, two notices, three was stopped meanwhile and has lost nothing. Nobody claims before all were
# heard, even when the runs are resumed too early. Then a switch-over that loses nothing, which needs no hand.
# In `make chaos` (FULL=1). TAP, run by prove.
# shellcheck disable=SC2119,SC2153 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

[ "${FULL:-0}" != 0 ] || tap_skip_all 'takes half a minute and more: FULL=1, make chaos'
pipeline_start
SETTINGS=(KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 KAIRAN_DISPATCHER_JOURNAL_SLOTS=4096)
URL=$KAIRAN_DATABASE_URL
bindir=$(pg_bindir)
mkdir "$D/s" "$D/s/pg.sock"
[ "$(id -u)" -ne 0 ] || chown postgres "$D/s/pg.sock"
: >"$D/s/pg.log"
[ "$(id -u)" -ne 0 ] || chown postgres "$D/s/pg.log"

standby()
{
	psql -X -q -At -v ON_ERROR_STOP=1 "$STANDBY" -c "$1"
}

customers_add 1200 large.example
campaign_add failover
services_as_postgres "$bindir/pg_basebackup" -h "$D/pg.sock" -p 5432 -U postgres -D "$D/pg.sock/copy" -R -c fast -X stream >"$D/out" 2>&1 ||
	{ tap_note "$(cat "$D/out")"; tap_bail 'no copy'; }
mv "$D/pg.sock/copy" "$D/s/pg"
pg_start "$D/s" 'shared_buffers = 64MB' 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no standby'; }
STANDBY=$KAIRAN_DATABASE_URL
export KAIRAN_DATABASE_URL=$URL
tap_ok 'a standby follows' wait_for 20 "count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'"

producer_start
dispatcher_start one "${SETTINGS[@]}"
ONE=$DISPATCHER
dispatcher_start two "${SETTINGS[@]}"
TWO=$DISPATCHER
dispatcher_start three "${SETTINGS[@]}"
THREE=$DISPATCHER
relay_set 'delay_ms = 100'
RUN=$(run_add failover a)
taken_wait 40 30 || tap_note 'nothing is sent'
for _ in $(seq 100); do
	[ "$(standby "SELECT count(*) FROM kairan.send WHERE run_id = $RUN" 2>/dev/null)" != 1200 ] || break
	sleep 0.1
done
# at rest, with everything that it did kept: no claim of its own will be lost
kill -STOP "$THREE"
sleep 0.2
KEPT=$(one 'pg_current_wal_lsn()')
wait_for 20 "replay_lsn >= '$KEPT' FROM pg_stat_replication" || tap_note 'the standby is behind'
standby "ALTER SYSTEM SET primary_conninfo = ''"
standby 'SELECT pg_reload_conf()' >"$D/out"
tap_ok 'then it does not' wait_for 20 'count(*) = 0 FROM pg_stat_replication'
SEQ=$(one "sum(claim_seq) FROM kairan.dispatcher")
for name in one two; do
	was=$(one "claim_seq FROM kairan.dispatcher WHERE name = '$name'")
	wait_for 20 "claim_seq > $was + 1 FROM kairan.dispatcher WHERE name = '$name'" || tap_note "$name claims nothing"
done
before=$(taken)
taken_wait $((before + 40)) || tap_note 'nothing is sent'
MISSED=$(one "sum(claim_seq) - $SEQ FROM kairan.dispatcher")
tap_ok "F11: the primary acknowledges what the standby misses ($MISSED claims)" test "$MISSED" -ge 4
kill -STOP "$PRODUCER"
service_stop "$ONE" KILL 2>/dev/null || true
kill -STOP "$TWO"
pg_stop "$D" immediate
services_as_postgres "$bindir/pg_ctl" -D "$D/s/pg" -s -w -t 60 promote
tap_is "$(standby 'SELECT pg_is_in_recovery()')" f 'F11: the standby is promoted'
pg_stop "$D/s" fast
mv "$D/pg" "$D/pg.lost"
mv "$D/s/pg" "$D/pg"
pg_start "$D" 'shared_buffers = 64MB' 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'it does not start'; }
export KAIRAN_DATABASE_URL=$URL
kill -CONT "$PRODUCER" "$THREE"

# nobody has noticed lost commits so far, and the run goes on: what holds dispatcher three is the timeline
status=0
services_wait 40 grep -q 'nothing is claimed until .*one on ' "$D/dispatcher.log" || status=1
tap_is "$status" 0 'F11: a dispatcher that has lost nothing waits for the others'
# arguments: name, pid. It ends with an error, and a service manager starts it again; pid in DISPATCHER
begins_anew()
{
	local status=0

	services_wait 40 _services_gone "$2" || status=no
	[ "$status" = no ] || { service_stop "$2" 2>/dev/null && status=0 || status=$?; }
	tap_is "$status" 1 "$1 ends behind a fail-over, for a new life that reads the journal"
	dispatcher_start "$1" "${SETTINGS[@]}"
}
begins_anew three "$THREE"
THREE=$DISPATCHER
tap_is "$(one "state FROM kairan.run WHERE id = $RUN") $("$BIN/kairan" dispatcher missing | grep -cE ' (one|two) ')" 'running 2' \
	'F11: the others are listed, the run goes on'
tap_like "$("$BIN/kairan" status)" 'not sending.*waiting to hear of' 'F11: and the status says why nothing leaves'
kill -CONT "$TWO"
status=0
services_wait 40 _services_gone "$TWO" || status=no
[ "$status" = no ] || { service_stop "$TWO" 2>/dev/null && status=0 || status=$?; }
tap_is "$status" 1 'F11: a dispatcher whose claims are lost stops with an error'
tap_like "$(one "state || ' ' || reason FROM kairan.run WHERE id = $RUN")" '^paused .*lost commits' 'F11: and all runs are paused'
for name in one two; do
	status=0
	env KAIRAN_DISPATCHER_NAME="$name" "$BIN/kairan-dispatcher" >"$D/refused" 2>&1 || status=$?
	tap_is "$status $(grep -c -- '--adopt' "$D/refused")" '1 1' 'F11: neither starts by itself again'
done
relay_set
# a hasty operator: the run is resumed before any journal was heard
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
sleep 1.5

# arguments: name, how many journals were heard by then
adopt()
{
	service_spawn "dispatcher $1" "$D/dispatcher.log" env KAIRAN_DISPATCHER_NAME="$1" "${SETTINGS[@]}" "$BIN/kairan-dispatcher" --adopt 2>/dev/null
	for _ in $(seq 200); do
		[ "$(grep -c 'journal asserted' "$D/dispatcher.log")" -lt "$2" ] || break
		sleep 0.1
	done
	tap_is "$(grep -c 'journal asserted' "$D/dispatcher.log")" "$2" "F11: the journal of $1 is heard"
}

adopt one 1
ONE=$SERVICE_PID
sleep 1
tap_is "$(one "sum(claim_seq) FROM kairan.dispatcher WHERE began = kairan.timeline()")" 0 \
	'F11: nobody claims while one is missing, though the run is running'
# the producer may have paused it again meanwhile, by the word of dispatcher two
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
adopt two 2
TWO=$SERVICE_PID
tap_ok 'F11: with the last one claims go on, without a hand' run_wait "$RUN" finished 60
run_check "$RUN" 'F11: exactly once'
tap_is "$(one "count(*) <= 12 FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" t 'F11: with one in doubt for each connection at most'
tap_is "$(one "claim_seq > 0 FROM kairan.dispatcher WHERE name = 'three' AND began = kairan.timeline()")" t 'F11: dispatcher three sends, too'

# ---- a switch-over that loses nothing -------------------------------------------------------

services_as_postgres "$bindir/pg_basebackup" -h "$D/pg.sock" -p 5432 -U postgres -D "$D/pg.sock/copy" -R -c fast -X stream >"$D/out" 2>&1 ||
	{ tap_note "$(cat "$D/out")"; tap_bail 'no copy'; }
mv "$D/pg.sock/copy" "$D/s/pg"
pg_start "$D/s" 'shared_buffers = 64MB' 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no standby'; }
export KAIRAN_DATABASE_URL=$URL
wait_for 20 "count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'" || tap_note 'no standby follows'
relay_set 'delay_ms = 100'
before=$(taken)
RUN=$(run_add failover b)
taken_wait $((before + 40)) || tap_note 'nothing is sent'
pg_stop "$D" fast # sends everything to the standby before it ends
services_as_postgres "$bindir/pg_ctl" -D "$D/s/pg" -s -w -t 60 promote
pg_stop "$D/s" fast
mv "$D/pg" "$D/pg.switched"
mv "$D/s/pg" "$D/pg"
pg_start "$D" 'shared_buffers = 64MB' 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'it does not start'; }
export KAIRAN_DATABASE_URL=$URL
relay_set
begins_anew one "$ONE"
ONE=$DISPATCHER
begins_anew two "$TWO"
TWO=$DISPATCHER
begins_anew three "$THREE"
THREE=$DISPATCHER
tap_ok 'a switch-over that loses nothing needs no hand but a service manager: the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'and exactly once'
tap_is "$(one "timeline FROM kairan.installation")" 3 'on the third timeline'
programs_stopped 'all programs end well' "$ONE" "$TWO" "$THREE" "$PRODUCER"
tap_done
