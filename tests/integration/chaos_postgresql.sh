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
customers_add 1200 large.example
campaign_add chaos
producer_start KAIRAN_DATABASE_URL="$PG_URL"
dispatcher_start one KAIRAN_DATABASE_URL="$PG_URL" KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 \
	KAIRAN_DISPATCHER_RETRY_LADDER=1s KAIRAN_DATABASE_TIMEOUT_S=2

# ---- F9: the connection is lost around a commit -----------------------------------------

for what in 'claim_$RUN' 'record_$RUN'; do
	for side in cut cut-client fin; do
		under_way
		seen=$(chaos_said pg seen)
		chaos pg see up 1 "$side" "$(eval "echo $what")\\x00"
		tap_ok "F9: $side right behind ${what%%_*}" chaos_wait pg 5 seen "$seen"
		goes_on "F9: $side behind ${what%%_*}"
	done
done
for count in 1 40 300; do
	under_way
	chaos pg limit down "$count" cut
	goes_on "F9: cut behind $count bytes of answers"
done

# A claim waits for a lock, its client goes, PostgreSQL does not notice and commits it later.
under_way
sql -c "SELECT kairan.run_move($RUN, '{running}', 'paused')" >"$D/out"
wait_for 5 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'claims are not given back'
seen=$(chaos_said pg seen)
unknown=$(grep -c 'commit of a claim unknown' "$D/dispatcher.log") || true
sql -c 'BEGIN' -c 'LOCK kairan.suppression' -c 'SELECT pg_sleep(600)' >"$D/locked" 2>&1 &
LOCKER=$!
wait_for 5 "count(*) > 0 FROM pg_locks WHERE relation = 'kairan.suppression'::regclass AND mode = 'AccessExclusiveLock' AND granted"
chaos pg see up 1 cut-client "claim_$RUN\\x00"
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
tap_ok 'F9: a claim waits for a lock when its client goes' chaos_wait pg 5 seen "$seen"
tap_ok 'F9: ... and PostgreSQL goes on with it' wait_for 2 "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%claim_seq + 1,%'"
chaos pg pass
# the lock is held until the dispatcher is back and could have looked, however slow the machine is
for _ in $(seq 100); do
	[ "$(grep -c 'commit of a claim unknown' "$D/dispatcher.log")" = "$unknown" ] || break
	sleep 0.1
done
wait_for 10 "count(*) > 0 FROM pg_stat_activity WHERE backend_start > now() - interval '30 s' AND usename = 'kairan_dispatcher' AND query LIKE '%claim_seq%'" ||
	tap_note 'the dispatcher does not come back'
sleep 1
one "pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()" >"$D/out"
wait "$LOCKER" || true
goes_on 'F9: the claim of a client that was gone'
ends_well 'F9: what it took is not stuck'

# ---- F10: PostgreSQL says nothing --------------------------------------------------------

under_way
before=$(taken)
chaos pg hold both
sleep 1.2
stuck=$(taken)
tap_ok 'F10: PostgreSQL stalls: what was claimed is sent' test "$stuck" -gt "$before"
sleep 0.5
tap_is "$(taken)" "$stuck" 'F10: nothing new is claimed'
tap_ok 'F10: a statement without an answer is given up after database.timeout_s' \
	services_wait 5 grep -q 'does not answer' "$D/dispatcher.log"
chaos pg pass
goes_on 'F10: a stall'

under_way
chaos pg refuse
chaos pg cut
sleep 0.7
tap_ok 'F10: nobody listens: no program ends' kill -0 "$PRODUCER" "$DISPATCHER"
chaos pg accept
goes_on 'F10: nobody listens'

if full; then
	under_way
	chaos pg split 7
	goes_on 'F10: seven bytes at a time'
	chaos pg pass
	for _ in $(seq 10); do
		under_way
		chaos pg storm 60
		sleep 2
		chaos pg pass
		goes_on 'F9: cuts, ends and stalls at random'
	done
	tap_ok "F9: there were such ($(chaos_said pg storm))" test "$(chaos_said pg storm)" -gt 100
fi

# ---- F14: locks and timeouts -------------------------------------------------------------

under_way
for _ in 1 2 3; do
	sql -c 'BEGIN' -c "SELECT id FROM kairan.send WHERE run_id = $RUN AND id % 3 = 0 ORDER BY id DESC FOR UPDATE" \
		-c 'SELECT pg_sleep(0.2)' -c "UPDATE kairan.dispatcher SET heartbeat_at = now() WHERE name = 'one'" -c 'COMMIT' >"$D/out" 2>&1 || true
done
goes_on 'F14: rows and the dispatcher locked in the wrong order'

under_way
sql -c "ALTER ROLE kairan_dispatcher SET statement_timeout = '1ms'"
chaos pg cut
sleep 1
tap_ok 'F14: statement_timeout ends no program' kill -0 "$DISPATCHER"
sql -c 'ALTER ROLE kairan_dispatcher RESET statement_timeout'
chaos pg cut
goes_on 'F14: statements time out'

# ---- F15: PostgreSQL refuses -------------------------------------------------------------

under_way
sql -c 'ALTER ROLE kairan_dispatcher CONNECTION LIMIT 0' -c 'ALTER ROLE kairan_producer CONNECTION LIMIT 0'
chaos pg cut
tap_ok 'F15: too many connections: it is said' services_wait 5 grep -q 'too many connections' "$D/dispatcher.log"
sql -c 'ALTER ROLE kairan_dispatcher CONNECTION LIMIT -1' -c 'ALTER ROLE kairan_producer CONNECTION LIMIT -1'
goes_on 'F15: too many connections'

under_way
sql -c 'ALTER SYSTEM SET default_transaction_read_only = on' -c 'SELECT pg_reload_conf()' >"$D/out"
sleep 1.2
stuck=$(taken)
sleep 0.4
tap_is "$(taken)" "$stuck" 'F15: PostgreSQL is read only: nothing is sent'
tap_ok 'F15: and the log is not flooded' test "$(grep -c 'read-only' "$D/dispatcher.log")" -lt 100
sql -c 'SET default_transaction_read_only = off' -c 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()' >"$D/out"
goes_on 'F15: read only'

# ---- F5, F7 ------------------------------------------------------------------------------

FIRST=$PRODUCER
producer_start KAIRAN_DATABASE_URL="$PG_URL"
under_way
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/out"
service_stop "$FIRST" KILL 2>/dev/null || true
sql -c 'UPDATE kairan.lease SET expires_at = now()'
goes_on 'F5: two producers, the leading one killed while Redis is empty'
ends_well 'the last run of this dispatcher'

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_DATABASE_URL="$PG_URL" KAIRAN_DISPATCHER_BATCH=400 KAIRAN_RELAY_CONNECTIONS=1 \
	KAIRAN_DISPATCHER_RECHECK_S=1
under_way
wait_for 5 "count(*) > 50 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'too few are claimed'
kill -STOP "$DISPATCHER"
LAST=$(one "max(id) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")
sql -c "INSERT INTO kairan.suppression (address_key, reason) SELECT address_key, 'manual'
	FROM kairan.send WHERE run_id = $RUN AND id = $LAST"
sleep 1.5
kill -CONT "$DISPATCHER"
ends_well 'F7: stopped between claim and dot, somebody suppressed meanwhile' 'sent 1199, skipped 1'
tap_is "$(one "state || ' ' || reason FROM kairan.send WHERE run_id = (SELECT max(id) FROM kairan.run) AND id = $LAST")" \
	'skipped suppressed' 'F7: he is looked at again and left out'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
