#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Redis is only a hint: wiped, restarted, doubled, full of rubbish, and the relay away or cutting
# connections. The ground truth of the FAKE relay judges. TAP, run by prove.
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
customers_add 800 large.example
campaign_add redis
producer_start
dispatcher_start one KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 KAIRAN_DISPATCHER_RETRY_LADDER=1s

cache()
{
	redis-cli -s "$D/redis.sock" "$@" >"$D/redis.out"
}

# arguments: run key; a run in its middle, its number in RUN
run_to_middle()
{
	local before

	before=$(taken)
	relay_set 'delay_ms = 20'
	RUN=$(run_add redis "$1")
	taken_wait $((before + 100)) || tap_note 'nothing is sent'
}

# arguments: NAME
run_ends_well()
{
	relay_set
	tap_ok "$1: the run finishes" run_wait "$RUN" finished 40
	tap_is "$(run_states "$RUN")" 'sent 800' 'everybody is sent'
	run_check "$RUN" 'exactly once'
}

run_to_middle wiped
start=$SECONDS
cache FLUSHALL
run_ends_well 'FLUSHALL in the middle'
tap_ok 'within 15 s' test $((SECONDS - start)) -lt 15

run_to_middle wiped-often
for _ in $(seq 1 10); do
	cache FLUSHALL
	sleep 0.1
done
run_ends_well 'FLUSHALL ten times'

run_to_middle restarted
redis_stop "$D" KILL
sleep 0.5
redis_start "$D"
run_ends_well 'Redis restarted empty'

run_to_middle doubled
for _ in 1 2 3; do
	seq 1 800 | shuf | xargs redis-cli -s "$D/redis.sock" LPUSH "{r:$RUN}:q:all" >"$D/redis.out"
done
run_ends_well 'F18: every id three times, in any order'

run_to_middle rubbish
cache LPUSH "{r:$RUN}:q:all" abc '' ' ' -1 0 -- 99999999999999999999 2147483648 2147483647 801 1e3 0x10 \
	'1}' '{1,2}' "1'; DROP TABLE kairan.send" "$(printf '\xff\xfe')" "$(head -c 100000 /dev/zero | tr '\0' 9)"
run_ends_well 'rubbish in the list'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id <> $RUN AND attempt > 1")" 0 'no other run was touched'

# ids that only another run has, and a list that is no list
OLD=$RUN
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 100' WHERE name = 'redis'"
before=$(taken)
relay_set 'delay_ms = 50'
RUN=$(run_add redis few)
taken_wait $((before + 1)) || tap_note 'nothing is sent'
seq 1 800 | xargs redis-cli -s "$D/redis.sock" LPUSH "{r:$RUN}:q:all" "{r:$OLD}:q:all" >"$D/redis.out"
tap_ok 'ids of another run: the run finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN") $(($(taken) - before))" 'sent 100 100' 'its own recipients are sent'
run_check "$RUN" 'exactly once'
run_check "$OLD" 'the other one is as it was'
sql -c "UPDATE kairan.campaign SET segment = 'true' WHERE name = 'redis'"

run_to_middle clash
cache DEL "{r:$RUN}:q:all"
cache SET "{r:$RUN}:q:all" 'not a list'
sleep 1
tap_ok 'a key of the wrong type ends no program' kill -0 "$PRODUCER" "$DISPATCHER"
tap_ok 'nor floods the log' test "$(wc -l <"$D/producer.log")" -lt 200
cache DEL "{r:$RUN}:q:all"
run_ends_well 'after a key of the wrong type'

run_to_middle full
cache CONFIG SET maxmemory 1
sleep 1
cache CONFIG SET maxmemory 0
run_ends_well 'Redis full for a second'

# ---- the relay ---------------------------------------------------------------------------

run_to_middle refused
relay_set 'mode = refuse'
sleep 4.5
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" 0 \
	'nobody listens: claims are given back after some seconds'
in_doubt=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")
tap_ok 'only what was cut behind the dot is in doubt' test "$in_doubt" -le 4
relay_set
tap_ok 'when it is back the run finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" "$(one "concat_ws(', ', 'sent ' || 800 - $in_doubt, 'in_doubt ' || nullif($in_doubt, 0))")" \
	'nobody is lost'
run_check "$RUN" 'nobody got it twice'

relay_set 'mode = greet421'
RUN=$(run_add redis busy)
sleep 2
tap_is "$(one "coalesce(sum(tries), 0) FROM kairan.send WHERE run_id = $RUN")" 0 '421 as greeting uses up no try'
run_ends_well '421 as greeting for some seconds'

# more connections than the relay likes: those that work go on
relay_set 'delay_ms = 10' 'most = 2'
RUN=$(run_add redis crowded)
tap_ok 'a relay that takes 2 connections of 4: the run finishes' run_wait "$RUN" finished 20
run_check "$RUN" 'exactly once'
tap_is "$(one "count(*) FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM test.truth WHERE run = $RUN) AS t
	WHERE gap > '1.5 s'")" 0 'without a break'

run_to_middle stalled
relay_set 'mode = stall'
sleep 1
run_ends_well 'a relay that stalls for a second'

sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 200 OR c.id > 800' WHERE name = 'redis'"
customers_add 6 lost.example drop
RUN=$(run_add redis dropped)
tap_ok 'closed behind the dot, mail lost: the run finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 200, in_doubt 6' 'exactly those are in doubt'
tap_is "$(one "string_agg(DISTINCT reason || ' ' || (address LIKE 'drop%'), ', ') FROM kairan.send
	WHERE run_id = $RUN AND state = 'in_doubt'")" 'network true' 'with the reason'
run_check "$RUN" 'and the counts agree'
relay_set 'drop = kept'
RUN=$(run_add redis kept)
tap_ok 'closed behind the dot, mail kept: the run finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 200, in_doubt 6' 'exactly those are in doubt'
run_check "$RUN" 'nobody got it twice'
tap_is "$(one "count(*) FROM kairan.suppression")" 0 'nobody is suppressed by all this'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
