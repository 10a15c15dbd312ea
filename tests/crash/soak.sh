#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make soak MINUTES=n: all programs at half of the peak, through proxies, one fault a minute: kills of
# any program, PostgreSQL, Redis, the whole box; connections cut, stalled, in single bytes; a relay that
# closes behind the dot. First half a minute at full speed finds the peak. Behind the first third the producer,
# feedback and dispatcher two are left alive: a third to warm up in, and half of the time to see growth.
# Each minute: the invariants, and `kairan status` as an operator has it; every ten seconds memory and
# descriptors of each program. Behind the end, from the times in the ground truth: how long each fault kept
# the rate down (tests/crash/rate.py).
# The last line is one JSON object; status 1 when a promise was broken, when a program that lived through the
# second half grew by more than GROWTH_KB in it (and by more than 1 MB an hour) or holds more descriptors
# more than it may have connections to the relay, when a fault was not followed by 95 % of the rate within BACK_S, or was not given.
# The aim is 10 s; BACK_S (30) allows for a machine that others use as well.
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/chaos.sh
. tests/crash/lib.sh

MINUTES=${MINUTES:-5} SEED=${SEED:-$(date +%s)} CUSTOMERS=${CUSTOMERS:-3000}
BACK_S=${BACK_S:-30} GROWTH_KB=${GROWTH_KB:-1024}
for name in MINUTES SEED BACK_S GROWTH_KB; do crash_number "$name" "$([ "$name" = SEED ] && echo 0 || echo 1)"; done
crash_number CUSTOMERS 100
RANDOM=$((10#$SEED % 32768))
ALL=(producer feedback one two)
FAULTS=(one producer feedback postgresql redis box cut-pg cut-redis cut-relay hold-pg hold-redis split-pg behind-dot refuse)
LATER=(one postgresql redis cut-pg cut-redis cut-relay hold-pg hold-redis split-pg behind-dot refuse)
declare -A DID=()
GIVEN=0 BROKEN=() BOUND=0 SAMPLED=0

crash_begin >&2
chaos_pg
chaos_redis
chaos_relay
SETTINGS+=("KAIRAN_DATABASE_URL=$PG_URL" "KAIRAN_REDIS_URL=$REDIS_URL" "KAIRAN_RELAY_PORT=$RELAY_PROXY" KAIRAN_DATABASE_TIMEOUT_S=5)
customers_add "$CUSTOMERS" large.example
campaign_add loop
sql -c "UPDATE kairan.stream SET rate_per_s = 100000 WHERE name = 'marketing'"
: >"$D/samples"
: >"$D/faults"

# second, program, pid, kB, descriptors
sample()
{
	local name rss fds

	for name in "${ALL[@]}"; do
		rss=$(awk '/^VmRSS/ { print $2 }' "/proc/${PIDS[$name]}/status" 2>/dev/null) || continue
		fds=$(find "/proc/${PIDS[$name]}/fd" -mindepth 1 2>/dev/null | wc -l)
		[ -z "$rss" ] || echo "$((SECONDS - BEGUN)) $name ${PIDS[$name]} $rss $fds" >>"$D/samples"
	done
	SAMPLED=$SECONDS
}

# argument: seconds
go_on()
{
	local end=$((SECONDS + $1))

	while [ "$SECONDS" -lt "$end" ]; do
		crash_tend "${ALL[@]}"
		crash_next_run $((CUSTOMERS / 2))
		[ $((SECONDS - SAMPLED)) -lt 10 ] || sample
		sleep 0.1
	done
}

# argument: name; does it. What kills begins where it ends; the rate is waited for from the end of what lasts.
fault()
{
	local victim begin end

	DID[$1]=$((${DID[$1]:-0} + 1))
	begin=$EPOCHREALTIME end=
	case $1 in
	one) BOUND=$((BOUND + CONNECTIONS)); crash_kill one || true ;;
	producer | feedback) crash_kill "$1" || true ;;
	postgresql) crash_postgres ;;
	redis) crash_redis ;;
	box)
		BOUND=$((BOUND + 2 * CONNECTIONS))
		for victim in "${ALL[@]}"; do kill -KILL "${PIDS[$victim]}" 2>/dev/null || true; done
		crash_redis
		crash_postgres ;;
	cut-*) [ "$1" != cut-relay ] || BOUND=$((BOUND + 2 * CONNECTIONS)); chaos "${1#*-}" cut ;;
	hold-*) chaos "${1#*-}" hold both; go_on 7; chaos "${1#*-}" pass; end=$EPOCHREALTIME ;;
	split-*) chaos "${1#*-}" split 3; go_on 5; chaos "${1#*-}" pass; end=$EPOCHREALTIME ;;
	behind-dot) BOUND=$((BOUND + 10)); relay_set 'fault = dot:close' 'faults = 10' 'drop = kept'; go_on 3; relay_set; end=$EPOCHREALTIME ;;
	refuse) BOUND=$((BOUND + 2 * CONNECTIONS)); chaos relay refuse; chaos relay cut; go_on 3; chaos relay accept; end=$EPOCHREALTIME ;;
	esac
	printf '%s %s %s ' "$1" "$begin" "${end:-$begin}" >>"$D/faults" # its end of watch follows
}

# arguments: what must be 0, its name
none()
{
	local bad

	bad=$(one "$1")
	[ "$bad" = 0 ] || BROKEN+=("minute $minute: $bad $2")
}

# What holds at any moment, not only at the end. The rows are read before the truth where the truth must have them.
invariants()
{
	sql -c 'SET client_min_messages = warning' -c 'DROP TABLE IF EXISTS test.sent' -c "CREATE TABLE test.sent AS SELECT run_id, id FROM kairan.send WHERE state = 'sent'"
	truth_load
	none "count(*) FROM (SELECT FROM test.truth WHERE kept GROUP BY run, send HAVING count(*) > 1
		UNION ALL SELECT FROM test.truth WHERE kept GROUP BY run, lower(address) HAVING count(*) > 1) AS t" 'got it twice'
	none "count(*) FROM test.sent s WHERE NOT EXISTS (SELECT FROM test.truth t WHERE t.run = s.run_id AND t.send = s.id AND t.kept)" \
		'are sent and do not have it'
	none "count(*) FROM kairan.send s JOIN test.truth t ON t.run = s.run_id AND t.send = s.id AND t.kept AND t.attempt = s.attempt
		WHERE s.state NOT IN ('sent', 'in_doubt', 'sending')" 'have it and are not sent'
	none "count(*) FROM kairan.run r WHERE state IN ('running', 'finished') AND planned <> (SELECT count(*) FROM kairan.send WHERE run_id = r.id)" \
		'runs with rows missing'
	none "greatest(0, count(*) - $BOUND) FROM kairan.send WHERE state = 'in_doubt'" 'in doubt beyond the bound'
	none "greatest(0, $(find "$D/md/cur" -type f | wc -l) - count(*)) FROM kairan.feedback_event WHERE source <> 'smtp'" \
		'acknowledged notices are not in the inbox'
	! grep -qh 'large\.example' "$D"/{producer,dispatcher,feedback}.log || BROKEN+=("minute $minute: an address is in a log")
	"$BIN/kairan" status --json 2>"$D/status.err" | jq -e . >/dev/null || BROKEN+=("minute $minute: kairan status: $(tail -n 1 "$D/status.err")")
}

START=$SECONDS BEGUN=$SECONDS
crash_tend "${ALL[@]}"
crash_next_run $((CUSTOMERS / 2))
taken_wait 200 60 || tap_note 'nothing is sent' >&2
before=$(taken)
go_on 30
PEAK=$((($(taken) - before) / 30))
echo "# peak $PEAK a second" >&2
sql -c "UPDATE kairan.stream SET rate_per_s = greatest($PEAK / 2, 1) WHERE name = 'marketing'"
BEGUN=$SECONDS
for ((minute = 1; minute <= MINUTES; minute++)); do
	from=$SECONDS
	list=("${FAULTS[@]}")
	[ $((minute * 3)) -le "$MINUTES" ] || list=("${LATER[@]}")
	which=${list[(minute - 1 + SEED) % ${#list[@]}]}
	go_on $((RANDOM % 10 + 16)) # the calm rate is that of the last 15 s
	GIVEN=$((GIVEN + 1))
	crash_feedback "$GIVEN" "$(shuf -n 1 "$TRUTH")"
	fault "$which" >&2
	left=$((60 - (SECONDS - from)))
	[ "$left" -le 20 ] && go_on 20 || go_on "$left"
	echo "$EPOCHREALTIME" >>"$D/faults"
	invariants
	echo "# minute $minute: $which, $(taken) taken, ${BROKEN[*]:-all well}" >&2
done
HALF=$(((SECONDS - BEGUN) / 2))
sql -c "UPDATE kairan.stream SET rate_per_s = 100000 WHERE name = 'marketing'"
crash_drain 300 "${ALL[@]}" || BROKEN+=('it does not drain') # what waits may be a whole run
crash_end "${ALL[@]}"
[ ${#BROKEN[@]} = 0 ] || printf '# broken: %s\n' "${BROKEN[@]}" >&2
"$PYTHON" tests/crash/rate.py back "$TRUTH" "$D/faults" >"$D/back"
"$PYTHON" tests/crash/grown.py "$D/samples" "$HALF" >"$D/grown"
jq -c '.[]' "$D/back" >&2
json=$(crash_count | jq -c --argjson minutes "$MINUTES" --argjson seed "$SEED" --argjson peak "$PEAK" \
	--argjson bound "$BOUND" --argjson broken "${#BROKEN[@]}" --argjson cores "$(nproc)" \
	--argjson memory "$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo)" --argjson s "$((SECONDS - START))" \
	--slurpfile back "$D/back" --slurpfile grown "$D/grown" \
	--argjson did "$(for k in "${!DID[@]}"; do jq -cn --arg k "$k" --argjson n "${DID[$k]}" '{($k): $n}'; done | jq -cs 'add // {}')" '
	($back[0] | map(.back_s)) as $times
	| {minutes: $minutes, faults: $did, peak_per_s: $peak, accepted, duplicates, lost, in_doubt, in_doubt_bound: $bound, undecided_as_sent, unaccounted,
	broken: $broken, back_s: ($back[0] | map({(.fault): [.back_s]}) | reduce .[] as $f ({}; . as $all | $f | to_entries[0] as $e | $all
		| .[$e.key] += $e.value)), back_worst_s: ($times | map(select(. != null)) | max), back_within_10_s: ($times | map(select(. != null and . <= 10)) | length),
	not_back: ($times | map(select(. == null)) | length), programs: $grown[0],
	feedback_in_inbox, feedback_distinct, cores: $cores, memory_gb: $memory, seed: $seed, seconds: $s}')
crash_say "$json"
jq -e --argjson most "$BACK_S" --argjson growth "$GROWTH_KB" --argjson connections "$CONNECTIONS" '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0
	and .broken == 0 and .in_doubt <= .in_doubt_bound and .feedback_in_inbox == .feedback_distinct
	and ([.faults[]] | add) == .minutes and .not_back == 0 and .back_worst_s <= $most
	and (.programs | length) == 4 and all(.programs[]; .grown_kb != null and .fds_grown <= $connections and (.grown_kb <= $growth or .kb_per_h <= 1024))' <<<"$json" >/dev/null
