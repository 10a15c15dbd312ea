#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What must survive: dispatchers stopped and killed, PostgreSQL gone and back. The ground truth
# of the FAKE relay says whether anybody got a mail twice. TAP, run by prove.
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
customers_add 700 large.example
sql -c "INSERT INTO kairan.customer (email) SELECT 'ok@tail' || i || '.example' FROM generate_series(1, 100) AS i"
campaign_add crash
SLOWLY=(KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4)

# ---- services absent at the start --------------------------------------------------------

RUN=$(run_add crash first)
pg_stop "$D" fast
redis_stop "$D"
producer_start
dispatcher_start one "${SLOWLY[@]}"
sleep 1.5
tap_ok 'the producer waits for PostgreSQL' kill -0 "$PRODUCER"
tap_ok 'the dispatcher waits for PostgreSQL' kill -0 "$DISPATCHER"
pg_start "$D" 'shared_buffers = 64MB'
tap_ok 'planning goes on as soon as it is there' run_wait "$RUN" running 20
tap_is "$(taken)" 0 'without Redis nothing is sent'
redis_start "$D"
export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
tap_ok 'when both are there the run finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 800' 'everybody is sent'
run_check "$RUN" 'exactly once'

# ---- SIGTERM in the middle ----------------------------------------------------------------

before=$(taken)
relay_set 'delay_ms = 20'
RUN=$(run_add crash stopped)
taken_wait $((before + 150)) || tap_note 'nothing is sent'
start=$(date +%s%N)
programs_stopped 'SIGTERM in the middle ends a dispatcher with 0' "$DISPATCHER"
tap_ok 'within 2 s' test $((($(date +%s%N) - start) / 1000000)) -lt 2000
tap_like "$(run_states "$RUN")" '^queued [0-9]+, sent [0-9]+$' 'nobody is in doubt, the others are queued again'
run_check "$RUN" 'and the counts agree'
tap_is "$(one "stopped_at IS NOT NULL AND fenced_at IS NULL FROM kairan.dispatcher ORDER BY id DESC LIMIT 1")" t \
	'it said goodbye'
relay_set
dispatcher_start two "${SLOWLY[@]}"
tap_ok 'another dispatcher finishes the run' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 800' 'everybody is sent'
run_check "$RUN" 'exactly once'

# ---- kill -9 in the middle ----------------------------------------------------------------

before=$(taken)
relay_set 'delay_ms = 20'
RUN=$(run_add crash killed)
taken_wait $((before + 100)) || tap_note 'nothing is sent'
service_stop "$DISPATCHER" KILL || true
LIFE=$(one "max(id) FROM kairan.dispatcher")
held=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")
tap_ok 'a killed dispatcher leaves rows in sending' test "$held" -gt 0
dispatcher_start other "${SLOWLY[@]}"
sleep 0.5
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending' AND owner = $LIFE")" "$held" \
	'another one does not touch them'
OTHER=$DISPATCHER
dispatcher_start two "${SLOWLY[@]}"
tap_ok 'a new life with the same journal settles them' wait_for 10 \
	"recovered_at IS NOT NULL FROM kairan.dispatcher WHERE id = $LIFE"
DOUBT=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")
tap_ok "at most one per connection is in doubt ($DOUBT of $held)" test "$DOUBT" -le 4
relay_set
tap_ok 'the run finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" "sent $((800 - DOUBT))$([ "$DOUBT" = 0 ] || echo ", in_doubt $DOUBT")" 'the others are sent'
run_check "$RUN" 'nobody got it twice, all counts agree'
tap_is "$(one "count(*) FROM kairan.in_doubt WHERE run_id = $RUN AND reason = 'crashed_after_dot' AND dispatcher = 'two'
	AND claimed_at IS NOT NULL AND attempt = 1 AND remote = '127.0.0.1' AND reply LIKE 'the final dot may have left at 20%Z;%'")" \
	"$DOUBT" 'the view lists them with reason, host, dispatcher, attempt and time'
tap_is "$(one "is_new::text FROM kairan.run_make('crash', 'killed')")" false 'the same key'
sleep 0.5
run_check "$RUN" 'does not send to them again'

# the lock is not shared
status=0
env KAIRAN_DISPATCHER_NAME=two "$BIN/kairan-dispatcher" >"$D/second.log" 2>&1 || status=$?
tap_is "$status $(grep -c "another dispatcher named 'two'" "$D/second.log")" '1 1' 'F44: a second one of the same name is refused'

# ---- declared dead while alive ------------------------------------------------------------

before=$(taken)
relay_set 'delay_ms = 20'
RUN=$(run_add crash fenced)
taken_wait $((before + 100)) || tap_note 'nothing is sent'
kill -STOP "$OTHER"
LIFE=$(one "id FROM kairan.dispatcher WHERE name = 'other'")
sql -c "SELECT kairan.dispatcher_bury($LIFE)" >"$D/out"
kill -CONT "$OTHER"
status=0
services_wait 10 _services_gone "$OTHER" || status=1
tap_is "$status" 0 'F6: a dispatcher that was stopped and declared dead stops when it goes on'
service_stop "$OTHER" 2>/dev/null && status=0 || status=$?
tap_is "$status" 1 'with an error'
relay_set
tap_ok 'the run finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'nobody got it twice'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt' AND reply IS NULL")" \
	"$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" 'what it knew about is settled by it'

# ---- PostgreSQL restarted in the middle ---------------------------------------------------

before=$(taken)
relay_set 'delay_ms = 10'
RUN=$(run_add crash restarted)
taken_wait $((before + 100)) || tap_note 'nothing is sent'
for _ in 1 2; do
	pg_stop "$D" immediate
	sleep 0.3
	pg_start "$D" 'shared_buffers = 64MB'
	sleep 0.5
done
export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
tap_ok 'F8: PostgreSQL crashes twice: the run finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 800' 'everybody is sent'
run_check "$RUN" 'exactly once'

# connections cut at any moment, commits unknown, while every id is in Redis three times
before=$(taken)
RUN=$(run_add crash cut)
taken_wait $((before + 20)) || tap_note 'nothing is sent'
for _ in 1 2 3; do
	seq 1 800 | shuf | xargs redis-cli -s "$D/redis.sock" RPUSH "{r:$RUN}:q:all" >"$D/out"
done
for _ in $(seq 1 40); do
	sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'kairan_dispatcher'" >"$D/out"
	sleep 0.05
done
tap_ok 'F18: connections cut 40 times, ids three times: the run finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 800' 'everybody is sent'
run_check "$RUN" 'exactly once'

# A claim whose commit is unknown, over ids that the dispatcher has in hand already: it must not
# take those for its own fresh claim and give them back. The claim is held up by a lock, then cut.
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 24' WHERE name = 'crash'"
relay_set 'delay_ms = 700'
RUN=$(run_add crash twice)
cut=0
for _ in 1 2 3 4 5; do
	wait_for 5 "count(*) >= 4 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || break
	sql -c 'BEGIN' -c 'LOCK kairan.suppression' -c 'SELECT pg_sleep(0.5)' \
		-c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE usename = 'kairan_dispatcher' AND query LIKE '%claim_seq%' AND state = 'active'" \
		-c 'COMMIT' >"$D/cut" &
	sleep 0.2
	one "id FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" |
		xargs redis-cli -s "$D/redis.sock" LPUSH "{r:$RUN}:q:all" >"$D/out"
	wait "$!"
	cut=$((cut + $(xargs <"$D/cut")))
done
tap_ok "claims were cut ($cut)" test "$cut" -gt 0
relay_set
tap_ok 'the run finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 24' 'everybody is sent'
run_check "$RUN" 'exactly once'

programs_stopped 'all programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
