#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make soak MINUTES=n: all programs at half of the peak, through proxies, one fault a minute: kills of
# any program, PostgreSQL, Redis, the whole box; connections cut, stalled, in single bytes; a relay that
# closes behind the dot. Each minute: the invariants, memory and descriptors. First half a minute at
# full speed finds the peak. The last line is one JSON object; status 1 when a promise was broken, or
# memory or descriptors grow. KILL_EVERY=s instead: kills of dispatchers only, one every s seconds, at
# full speed, and the rate beside the calm one.
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/chaos.sh
. tests/crash/lib.sh

MINUTES=${MINUTES:-5} SEED=${SEED:-$(date +%s)} KILL_EVERY=${KILL_EVERY:-0}
CUSTOMERS=${CUSTOMERS:-3000}
crash_number MINUTES 1
crash_number SEED 0
crash_number KILL_EVERY 0
crash_number CUSTOMERS 100
RANDOM=$((10#$SEED % 32768))
ALL=(producer feedback one two)
FAULTS=(one producer feedback postgresql redis box cut-pg cut-redis cut-relay hold-pg hold-redis split-pg behind-dot refuse)
declare -A DID=()
NUMBER=0 GIVEN=0 BROKEN=() SAMPLES='' BOUND=0
PROXIES=$(("$KILL_EVERY" == 0))

crash_begin >&2
if [ "$PROXIES" = 1 ]; then
	chaos_pg
	chaos_redis
	chaos_relay
	SETTINGS+=("KAIRAN_DATABASE_URL=$PG_URL" "KAIRAN_REDIS_URL=$REDIS_URL" "KAIRAN_RELAY_PORT=$RELAY_PROXY" KAIRAN_DATABASE_TIMEOUT_S=5)
fi
customers_add "$CUSTOMERS" large.example
campaign_add loop
sql -c "UPDATE kairan.stream SET rate_per_s = 100000 WHERE name = 'marketing'"

next_run()
{
	local left

	left=$(one "coalesce(sum(queued + sending), 0) FROM kairan.campaign_progress WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null) || return 0
	if [ "${left:-0}" -lt $((CUSTOMERS / 2)) ] && [ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning')" 2>/dev/null || echo 1)" = 0 ]; then
		NUMBER=$((NUMBER + 1))
		run_add loop "$NUMBER" >/dev/null 2>&1 || true
	fi
}

# arguments: seconds, perhaps how often to kill
go_on()
{
	local end=$((SECONDS + $1)) last=$SECONDS

	while [ "$SECONDS" -lt "$end" ]; do
		crash_tend "${ALL[@]}"
		next_run
		if [ "${2:-0}" -gt 0 ] && [ $((SECONDS - last)) -ge "$2" ]; then
			last=$SECONDS
			fault one
		fi
		sleep 0.1
	done
}

# arguments: name; does it
fault()
{
	local victim

	DID[$1]=$((${DID[$1]:-0} + 1))
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
	hold-*) chaos "${1#*-}" hold both; go_on 7; chaos "${1#*-}" pass ;;
	split-*) chaos "${1#*-}" split 3; go_on 5; chaos "${1#*-}" pass ;;
	behind-dot) BOUND=$((BOUND + 10)); relay_set 'fault = dot:close' 'faults = 10' 'drop = kept'; go_on 3; relay_set ;;
	refuse) BOUND=$((BOUND + 2 * CONNECTIONS)); chaos relay refuse; chaos relay cut; go_on 3; chaos relay accept ;;
	esac
}

# program: kB, descriptors
size_of()
{
	printf '%s %s\n' "$(awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2>/dev/null || echo 0)" \
		"$(find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l)"
}

# the one that is never killed alone; a new one after a whole box
sample()
{
	local rss fds

	read -r rss fds < <(size_of "${PIDS[two]}")
	SAMPLES+="{\"minute\":$1,\"pid\":${PIDS[two]},\"rss_kb\":$rss,\"fds\":$fds,\"taken\":$(taken)},"
}

# What holds at any moment, not only at the end.
invariants()
{
	local bad

	truth_load
	bad=$(one "count(*) FROM (SELECT FROM test.truth WHERE kept GROUP BY run, send HAVING count(*) > 1) AS t")
	[ "$bad" = 0 ] || BROKEN+=("minute $1: $bad got it twice")
	bad=$(one "count(*) FROM kairan.send s JOIN test.truth t ON t.run = s.run_id AND t.send = s.id AND t.kept AND t.attempt = s.attempt
		WHERE s.state NOT IN ('sent', 'in_doubt', 'sending')")
	[ "$bad" = 0 ] || BROKEN+=("minute $1: $bad have it and are not sent")
	bad=$(one "count(*) FROM kairan.run r WHERE state IN ('running', 'finished') AND planned <> (SELECT count(*) FROM kairan.send WHERE run_id = r.id)")
	[ "$bad" = 0 ] || BROKEN+=("minute $1: $bad runs with rows missing")
}

START=$SECONDS
crash_tend "${ALL[@]}"
next_run
taken_wait 200 60 || tap_note 'nothing is sent' >&2
before=$(taken)
go_on 30
PEAK=$((($(taken) - before) / 30))
echo "# peak $PEAK a second" >&2
if [ "$KILL_EVERY" -gt 0 ]; then
	before=$(taken) from=$SECONDS
	go_on $((MINUTES * 60)) "$KILL_EVERY"
	UNDER=$((($(taken) - before) / (SECONDS - from)))
else
	sql -c "UPDATE kairan.stream SET rate_per_s = greatest($PEAK / 2, 1) WHERE name = 'marketing'"
	UNDER=0
	sample 0
	for ((minute = 1; minute <= MINUTES; minute++)); do
		from=$SECONDS
		which=${FAULTS[(minute - 1 + SEED) % ${#FAULTS[@]}]}
		go_on $((RANDOM % 20 + 5))
		GIVEN=$((GIVEN + 1))
		crash_feedback "$GIVEN" "$(shuf -n 1 "$TRUTH")"
		fault "$which" >&2
		left=$((60 - (SECONDS - from)))
		[ "$left" -le 0 ] || go_on "$left"
		invariants "$minute"
		sample "$minute"
		echo "# minute $minute: $which, $(taken) taken, ${BROKEN[*]:-all well}" >&2
	done
fi
sql -c "UPDATE kairan.stream SET rate_per_s = 100000 WHERE name = 'marketing'"
end=$((SECONDS + 300)) # what waits may be a whole run
until [ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null)" = 0 ]; do
	crash_tend "${ALL[@]}"
	[ "$SECONDS" -lt "$end" ] || { BROKEN+=('it does not drain'); break; }
	sleep 0.2
done
maildir_empty() { [ -z "$(find "$D/md/new" -type f)" ]; }
services_wait 10 maildir_empty || true
for name in "${ALL[@]}"; do service_stop "${PIDS[$name]}" >/dev/null 2>&1 || true; done
[ ${#BROKEN[@]} = 0 ] || printf '# broken: %s\n' "${BROKEN[@]}" >&2

# the slope is that of the longest life, behind its first sample
json=$(crash_count | jq -c --argjson minutes "$MINUTES" --argjson seed "$SEED" --argjson peak "$PEAK" --argjson under "$UNDER" \
	--argjson every "$KILL_EVERY" --argjson bound "$BOUND" --argjson broken "${#BROKEN[@]}" --argjson cores "$(nproc)" \
	--argjson memory "$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo)" --argjson s "$((SECONDS - START))" \
	--argjson samples "[${SAMPLES%,}]" \
	--argjson did "$(for k in "${!DID[@]}"; do jq -cn --arg k "$k" --argjson n "${DID[$k]}" '{($k): $n}'; done | jq -cs 'add // {}')" '
	($samples | group_by(.pid) | max_by(length) // []) as $life | ($life[1:] // []) as $warm
	| {minutes: $minutes, faults: $did, peak_per_s: $peak} + (if $every > 0 then {kill_every_s: $every, rate_per_s: $under,
		of_calm: (if $peak > 0 then ($under / $peak * 100 | round / 100) else null end)} else {} end)
	+ {accepted, duplicates, lost, in_doubt, in_doubt_bound: $bound, undecided_as_sent, unaccounted, broken: $broken,
	rss_kb: [$samples[].rss_kb], fds: [$samples[].fds],
	rss_slope_mb_per_h: (if ($warm | length) > 1 then (($warm[-1].rss_kb - $warm[0].rss_kb) / 1024 /
		($warm[-1].minute - $warm[0].minute) * 60 * 10 | round / 10) else null end),
	fds_grown: (if ($warm | length) > 1 then $warm[-1].fds - $warm[0].fds else null end),
	feedback_in_inbox, feedback_distinct, cores: $cores, memory_gb: $memory, seed: $seed, seconds: $s}')
crash_say "$json"
jq -e '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0 and .broken == 0 and .in_doubt <= .in_doubt_bound
	and (.fds_grown // 0) <= 8 and .feedback_in_inbox == .feedback_distinct' <<<"$json" >/dev/null
