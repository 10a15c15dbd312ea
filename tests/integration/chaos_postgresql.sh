#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The connection to PostgreSQL cut, stalled and cut to pieces at the worst moments, and a
# PostgreSQL that refuses. The ground truth of the FAKE relay judges. TAP, run by prove.
# shellcheck disable=SC2119,SC2153 # functions of the libraries take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/chaos.sh
. tests/support/chaos.sh

pipeline_start
chaos_pg
customers_add 400 large.example
campaign_add chaos
producer_start KAIRAN_DATABASE_URL="$PG_URL"
dispatcher_start one KAIRAN_DATABASE_URL="$PG_URL" KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 \
	KAIRAN_DISPATCHER_RETRY_LADDER=1s KAIRAN_DATABASE_TIMEOUT_S=3

# arguments: run key; a run in its middle, its number in RUN
run_to_middle()
{
	local before

	before=$(taken)
	relay_set 'delay_ms = 15'
	RUN=$(run_add chaos "$1")
	taken_wait $((before + 50)) || tap_note 'nothing is sent'
}

# arguments: NAME
run_ends_well()
{
	chaos pg pass
	relay_set
	tap_ok "$1: the run finishes" run_wait "$RUN" finished 40
	tap_is "$(run_states "$RUN")" 'sent 400' '  ... everybody is sent'
	run_check "$RUN" '  ... exactly once'
}

# ---- F9: the connection is lost around a commit -----------------------------------------

run_to_middle cut-claim
for side in cut cut-client fin; do
	seen=$(chaos_said pg seen)
	chaos pg see up 1 "$side" "claim_$RUN\\x00"
	chaos_wait pg 5 seen "$seen" || tap_note "no claim passed ($side)"
	sleep 0.3
done
run_ends_well 'F9: cut right behind a CLAIM'

run_to_middle cut-record
for side in cut cut-client fin; do
	seen=$(chaos_said pg seen)
	chaos pg see up 1 "$side" 'record\x00'
	chaos_wait pg 5 seen "$seen" || tap_note "no RECORD passed ($side)"
	sleep 0.3
done
run_ends_well 'F9: cut right behind a RECORD'

run_to_middle cut-answer
for count in 1 7 40 300; do
	seen=$(chaos_said pg limit)
	chaos pg limit down "$count" cut
	chaos_wait pg 5 limit "$seen" || tap_note "nothing passed ($count)"
	sleep 0.2
done
run_ends_well 'F9: cut in the middle of answers'

# The claim is held up by a lock, the client goes, the server does not notice, and commits later.
run_to_middle late
sql -c "SELECT kairan.run_move($RUN, '{running}', 'paused')" >"$D/out"
wait_for 5 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'claims are not given back'
seen=$(chaos_said pg seen)
sql -c 'BEGIN' -c 'LOCK kairan.suppression' -c 'SELECT pg_sleep(2)' -c 'COMMIT' >"$D/locked" 2>&1 &
LOCKER=$!
wait_for 5 "count(*) > 0 FROM pg_locks WHERE relation = 'kairan.suppression'::regclass AND mode = 'AccessExclusiveLock' AND granted"
chaos pg see up 1 cut-client "claim_$RUN\\x00"
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
tap_ok 'F9: a claim waits for a lock when its client goes' chaos_wait pg 5 seen "$seen"
tap_ok 'F9: ... and PostgreSQL goes on with it' wait_for 1 "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%claim_seq + 1,%'"
wait "$LOCKER" || tap_note "$(cat "$D/locked")"
chaos pg pass
run_ends_well 'F9: what it took after its client was gone is not stuck'

# ---- F10: PostgreSQL says nothing --------------------------------------------------------

run_to_middle stalled
before=$(taken)
chaos pg hold both
sleep 1.5
stuck=$(taken)
sleep 1
tap_is "$(taken)" "$stuck" 'F10: PostgreSQL stalls: nothing new is claimed'
tap_ok 'F10: what was claimed is sent meanwhile' test "$stuck" -ge "$before"
sleep 2.5
tap_ok 'F10: a statement without an answer is given up after database.timeout_s' \
	grep -q 'does not answer' "$D/dispatcher.log"
run_ends_well 'F10: a stall of 5 s'

run_to_middle pieces
chaos pg split 7
run_ends_well 'F10: seven bytes at a time'

run_to_middle storm
chaos pg storm 60
sleep 3
run_ends_well 'F9: cuts, ends and stalls at random for 3 s'
tap_ok "F9: there were such ($(chaos_said pg storm))" test "$(chaos_said pg storm)" -gt 10

run_to_middle refused
chaos pg refuse
chaos pg cut
sleep 1
tap_ok 'F10: nobody listens: no program ends' kill -0 "$PRODUCER" "$DISPATCHER"
chaos pg accept
run_ends_well 'F10: nobody listens for a second'

# ---- F14: locks and timeouts -------------------------------------------------------------

run_to_middle deadlock
for _ in 1 2 3 4; do
	sql -c 'BEGIN' -c "SELECT id FROM kairan.send WHERE run_id = $RUN AND id % 3 = 0 ORDER BY id DESC FOR UPDATE" \
		-c 'SELECT pg_sleep(0.2)' -c "UPDATE kairan.dispatcher SET heartbeat_at = now() WHERE name = 'one'" -c 'COMMIT' >"$D/out" 2>&1 || true
done
run_ends_well 'F14: rows and the dispatcher locked in the wrong order'

run_to_middle timeout
sql -c "ALTER ROLE kairan_dispatcher SET statement_timeout = '1ms'"
chaos pg cut
sleep 1.5
tap_ok 'F14: statement_timeout ends no program' kill -0 "$DISPATCHER"
sql -c 'ALTER ROLE kairan_dispatcher RESET statement_timeout'
chaos pg cut
run_ends_well 'F14: statements time out for a second'

# ---- F15: PostgreSQL refuses -------------------------------------------------------------

run_to_middle crowded
sql -c 'ALTER ROLE kairan_dispatcher CONNECTION LIMIT 0' -c 'ALTER ROLE kairan_producer CONNECTION LIMIT 0'
chaos pg cut
sleep 1
tap_ok 'F15: too many connections: it is said' grep -q 'too many connections' "$D/dispatcher.log"
sql -c 'ALTER ROLE kairan_dispatcher CONNECTION LIMIT -1' -c 'ALTER ROLE kairan_producer CONNECTION LIMIT -1'
run_ends_well 'F15: too many connections for a second'

run_to_middle read-only
sql -c 'ALTER SYSTEM SET default_transaction_read_only = on' -c 'SELECT pg_reload_conf()' >"$D/out"
sleep 1.5
stuck=$(taken)
sleep 0.5
tap_is "$(taken)" "$stuck" 'F15: PostgreSQL is read only: nothing is sent'
tap_ok 'F15: and the log is not flooded' test "$(grep -c 'read-only' "$D/dispatcher.log")" -lt 100
sql -c 'SET default_transaction_read_only = off' -c 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()' >"$D/out"
run_ends_well 'F15: read only for two seconds'

# ---- F5, F7 ------------------------------------------------------------------------------

FIRST=$PRODUCER
producer_start KAIRAN_DATABASE_URL="$PG_URL"
run_to_middle second-producer
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/out"
service_stop "$FIRST" KILL 2>/dev/null || true
sql -c 'UPDATE kairan.lease SET expires_at = now()'
run_ends_well 'F5: two producers, the leading one killed while Redis is empty'

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_DATABASE_URL="$PG_URL" KAIRAN_DISPATCHER_BATCH=400 KAIRAN_RELAY_CONNECTIONS=1 \
	KAIRAN_DISPATCHER_RECHECK_S=1
run_to_middle stopped
wait_for 5 "count(*) > 50 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'too few are claimed'
kill -STOP "$DISPATCHER"
LAST=$(one "max(id) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")
sql -c "INSERT INTO kairan.suppression (address_key, reason) SELECT address_key, 'manual'
	FROM kairan.send WHERE run_id = $RUN AND id = $LAST"
sleep 1.5
kill -CONT "$DISPATCHER"
relay_set
tap_ok 'F7: stopped between claim and dot, somebody suppressed meanwhile: the run finishes' run_wait "$RUN" finished 30
tap_is "$(one "state || ' ' || reason FROM kairan.send WHERE run_id = $RUN AND id = $LAST")" 'skipped suppressed' \
	'F7: he is looked at again and left out'
run_check "$RUN" 'F7: exactly once'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
