#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make crash-points: each CRASH_POINT of the sources alone, POINTS="a b" only those, TIMES=n each so
# often, PAIRS=n random pairs behind them: the program dies there, is started again, and everybody
# must have got it once. The last line is one JSON object; status 1 when a point did not fire, or a
# promise was broken. Needs a build with crash points (KIND=san or KIND=crash).
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/crash/lib.sh

ALL=(producer feedback one)
TIMES=${TIMES:-1} PAIRS=${PAIRS:-0}
SEED=${SEED:-$(date +%s)}
crash_number TIMES 1
crash_number PAIRS 0
crash_number SEED 0
RANDOM=$((10#$SEED % 32768))
FIRED=0 TRIED=0 DEATHS=0
silent=() broken=()

points_of()
{
	grep -rhoE 'CRASH_POINT\("[a-z_]+"\)' "$@" --include='*.c' | sed 's/.*"\(.*\)".*/\1/' | sort -u
}

mapfile -t of_dispatcher < <(points_of dispatcher)
mapfile -t of_producer < <(points_of producer)
mapfile -t of_feedback < <(points_of feedback)
for point in ${POINTS:-}; do
	case " ${of_dispatcher[*]} ${of_producer[*]} ${of_feedback[*]} " in
	*" $point "*) ;;
	*) crash_usage "POINTS: no source has $point" ;;
	esac
done

program_of()
{
	case " ${of_producer[*]} " in *" $1 "*) echo producer; return ;; esac
	case " ${of_feedback[*]} " in *" $1 "*) echo feedback; return ;; esac
	echo one
}

# how often it is passed before the interesting moment, so that the run is under way
nth_of()
{
	case $1 in
	recover_* | stopping | before_goodbye | release_committed | before_ledger | plan_* | page_* | run_found | audience_read | before_finish | retry_pushed | \
		before_push | pushed | before_hook | before_events | events_committed | before_move | moved | connected) echo 1 ;;
	before_claim | claim_* | popped | reserved | before_record | record_committed) echo $((RANDOM % 2 + 1)) ;;
	*) echo $((RANDOM % 20 + 2)) ;;
	esac
}

idle()
{
	[ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null)" = 0 ] &&
		[ -z "$(find "$D/md/new" -type f)" ]
}

# One run, dying at each of the points given.
try()
{
	local point program before after dead=0 end key run violation

	TRIED=$((TRIED + $#))
	before=$(wc -l <"$D/crashed")
	for point in "$@"; do
		program=$(program_of "$point")
		# its next life dies there
		crash_kill "$program" 2>/dev/null || true
		wait "${PIDS[$program]:-}" 2>/dev/null || true
		PIDS[$program]=''
		POINT[$program]=$point:$(nth_of "$point")
		case $point in
		recover_*)	# something must be left to recover
			POINT[one]=after_mark:5
			LATER=$point:1 ;;
		esac
	done
	key=$TRIED-$RANDOM
	run=$(run_add points "$key")
	GIVEN=$((GIVEN + 1))
	crash_feedback "$GIVEN" "$(shuf -n 1 "$TRUTH")"
	case " $* " in
	*" stopping "* | *" release_committed "*) relay_set 'delay_ms = 40' 'times = 1' ;;
	esac
	crash_tend "${ALL[@]}"
	[ -z "$LATER" ] || POINT[one]=$LATER # of the life after the next death
	LATER=
	case " $* " in
	*" stopping "* | *" before_goodbye "* | *" release_committed "*)
		services_wait 10 under_way "$run" || true
		kill -TERM "${PIDS[one]}" 2>/dev/null || true ;;
	esac
	end=$((SECONDS + 40))
	until idle; do
		crash_tend "${ALL[@]}"
		if [ "$SECONDS" -gt "$end" ]; then
			broken+=("$*: does not end")
			break
		fi
		sleep 0.05
	done
	sleep 0.1
	crash_tend "${ALL[@]}"
	relay_set 'delay_ms = 3' 'times = 1'
	after=$(wc -l <"$D/crashed")
	for point in "$@"; do
		if tail -n +$((before + 1)) "$D/crashed" | grep -qx "$point"; then
			FIRED=$((FIRED + 1))
		else
			silent+=("$point")
		fi
	done
	DEATHS=$((DEATHS + after - before))
	truth_load
	violation=$(one "string_agg(v, '; ') FROM (SELECT v FROM test.violations($run) AS v LIMIT 3) AS t")
	[ -z "$violation" ] || broken+=("$*: $violation")
	[ "$(one "count(*) FROM kairan.send WHERE run_id = $run AND state IN ('queued', 'sending', 'deferred')")" = 0 ] ||
		broken+=("$*: somebody is not settled")
	[ "$(one "count(*) FROM kairan.send WHERE run_id = $run AND state = 'in_doubt'")" -le $((CONNECTIONS * (after - before))) ] ||
		broken+=("$*: too many are in doubt")
}

under_way()
{
	[ "$(one "count(*) > 5 FROM kairan.send WHERE run_id = $1 AND state = 'sent'")" = t ]
}

START=$SECONDS GIVEN=0 LATER=
crash_begin >&2
SETTINGS+=(KAIRAN_PRODUCER_PAGE=50)
customers_add 130 large.example
customers_add 3 dead.example hard
campaign_add points
relay_set 'delay_ms = 3' 'times = 1'
crash_tend "${ALL[@]}"
run_wait "$(run_add points first)" finished 30 >&2
customers_add 1 soft.example soft

read -ra list <<<"${POINTS:-${of_dispatcher[*]} ${of_producer[*]} ${of_feedback[*]}}"
for ((i = 0; i < TIMES; i++)); do
	for point in "${list[@]}"; do
		try "$point"
		# hard addresses are suppressed by now: new ones for points on the way of a refusal
		customers_add 1 "dead$TRIED.example" hard
		customers_add 1 "soft$TRIED.example" soft # each is put off once
	done
done
for ((i = 0; i < PAIRS; i++)); do
	a=${list[RANDOM % ${#list[@]}]} b=${list[RANDOM % ${#list[@]}]}
	[ "$(program_of "$a")" != "$(program_of "$b")" ] || continue
	try "$a" "$b"
done
for name in "${ALL[@]}"; do service_stop "${PIDS[$name]}" >/dev/null 2>&1 || true; done
[ ${#broken[@]} = 0 ] || printf '# broken: %s\n' "${broken[@]}" >&2
[ ${#silent[@]} = 0 ] || printf '# did not fire: %s\n' "${silent[@]}" >&2
json=$(crash_count | jq -c --argjson points "${#list[@]}" --argjson tried "$TRIED" --argjson fired "$FIRED" \
	--argjson deaths "$DEATHS" --argjson s "$((SECONDS - START))" --argjson broken "${#broken[@]}" \
	'{points: $points, tried: $tried, fired: $fired, deaths: $deaths, broken: $broken, seconds: $s} + .')
crash_say "$json"
jq -e '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0 and .broken == 0 and .tried == .fired' <<<"$json" >/dev/null
