#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One limit for all dispatchers, by the clock of the ground truth. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
customers_add 1000 large.example
sql -c "UPDATE kairan.stream SET rate_per_s = 200 WHERE name = 'marketing'"
campaign_add pace
producer_start
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two
sleep 1

RUN=$(run_add pace a)
tap_ok 'a run at 200 per second finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'exactly once'
took=$(one "round(extract(epoch FROM max(at) - min(at))::numeric, 2) FROM test.truth WHERE run = $RUN")
# a busy machine may make it longer; shorter it can only get by as much as the first one was late
tap_ok "1000 recipients take 5 s or more ($took)" test "$(one "$took >= 4.5")" = t
# Each mail may come late by what the machine is busy with, never early: the n-th not before
# (n - 1) / 200 s after the first one, which is itself late by the making of a connection.
tap_is "$(one "count(*) FROM (SELECT extract(epoch FROM at - min(at) OVER ()) AS s, row_number() OVER (ORDER BY at) AS n
	FROM test.truth WHERE run = $RUN) AS t WHERE s < (n - 1) / 200.0 - 0.5")" 0 'none comes before its time'
worst=$(one "max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '999 ms' PRECEDING AND CURRENT ROW) AS n
	FROM test.truth WHERE run = $RUN) AS t")
# two limits instead of one shared would be 400; a stalled machine lets late ones come together
tap_ok "in no second more than 200 and some that were late ($worst)" test "$worst" -le 280
tap_is "$(one "count(*) FROM (SELECT owner FROM kairan.send WHERE run_id = $RUN GROUP BY owner HAVING count(*) > 100) AS t")" 2 \
	'both dispatchers took part'

# ---- another rate while running, from slow to fast and back -------------------------------

before=$(taken)
sql -c "UPDATE kairan.stream SET rate_per_s = 5 WHERE name = 'marketing'"
sleep 1.5
RUN=$(run_add pace b)
taken_wait $((before + 5)) || tap_note 'nothing is sent'
sql -c "UPDATE kairan.stream SET rate_per_s = 200 WHERE name = 'marketing'"
start=$(taken)
# at 5 per second it would take 12 s
tap_ok 'a faster pace holds within a second or so' taken_wait $((start + 60)) 8
sql -c "UPDATE kairan.stream SET rate_per_s = 5 WHERE name = 'marketing'"
sleep 1.5
start=$(taken)
sleep 2
now=$(taken)
tap_ok "so does a slower one ($((now - start)) in 2 s)" test $((now - start)) -le 40
sql -c "UPDATE kairan.stream SET rate_per_s = 0.02 WHERE name = 'marketing'"
sleep 2
sql -c "UPDATE kairan.stream SET rate_per_s = NULL WHERE name = 'marketing'"
tap_ok 'after one per minute, no limit holds at once' run_wait "$RUN" finished 10
run_check "$RUN" 'exactly once'

# ---- claimed long before they can leave --------------------------------------------------------

service_stop "$ONE" || tap_note "the first dispatcher ended with $?"
service_stop "$DISPATCHER" || tap_note "the second dispatcher ended with $?"
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 160'"
relay_set 'delay_ms = 40'
dispatcher_start one KAIRAN_DISPATCHER_RECHECK_S=1 KAIRAN_RELAY_CONNECTIONS=1
RUN=$(run_add pace recheck)
wait_for 10 "count(*) > 60 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'too few are claimed'
sql -c "INSERT INTO kairan.suppression (address_key, reason) SELECT address_key, 'manual' FROM (
		SELECT address_key FROM kairan.send WHERE run_id = $RUN AND state = 'sending' ORDER BY id DESC LIMIT 10) AS t
		ON CONFLICT DO NOTHING"
tap_ok 'a run whose recipients are suppressed after the claim finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 150, skipped 10' 'claims that are old are looked at again'
run_check "$RUN" 'the others exactly once'
relay_set

# ---- a relay that is slower than the rate, for a while -----------------------------------------

# what was late many times goes on keeping to the rate: the flights that waited do not leave together
sql -c 'TRUNCATE kairan.suppression' -c "UPDATE kairan.stream SET rate_per_s = 20 WHERE name = 'marketing'"
relay_set 'delay_ms = 1500'
start=$(taken)
RUN=$(run_add pace slow)
tap_ok 'a slow relay takes some' taken_wait $((start + 5)) 30
relay_set
tap_ok 'when it is fast again the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'
worst=$(one "max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '999 ms' PRECEDING AND CURRENT ROW) AS n
	FROM test.truth WHERE run = $RUN) AS t")
tap_ok "in no second more than 20 and some that were late ($worst)" test "$worst" -le 28

# ---- sessions that have nothing to do for a moment ------------------------------------------

# If nobody woke them they would sleep until relay.idle_s.
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'TRUNCATE kairan.suppression' -c "UPDATE kairan.campaign SET segment = 'true'" \
	-c "UPDATE kairan.stream SET rate_per_s = 500 WHERE name = 'marketing'"
dispatcher_start one KAIRAN_RELAY_IDLE_S=300
RUN=$(run_add pace wake)
tap_ok 'idle sessions take up what falls due' run_wait "$RUN" finished 30
run_check "$RUN" 'exactly once'
sql -c "UPDATE kairan.stream SET rate_per_s = NULL WHERE name = 'marketing'"
ONE=$DISPATCHER
dispatcher_start two

# ---- nobody sets the pace -----------------------------------------------------------------

service_stop "$PRODUCER" || tap_note "the producer ended with $?"
redis-cli -s "$D/redis.sock" DEL '{p:kairan}:pace' >"$D/out"
before=$(taken)
RUN=$(run_add pace c)
producer_start
tap_ok 'a producer that comes back sets it again' run_wait "$RUN" finished 20
run_check "$RUN" 'exactly once'

programs_stopped 'all programs end well' "$ONE" "$DISPATCHER" "$PRODUCER"
tap_done
