#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make crash-loop KILLS=n: kills -9 at random moments, of any program, PostgreSQL and Redis among
# them, during campaigns into the FAKE relay, whose ground truth is on the disk before it answers.
# The last line is one JSON object; the exit status is 1 when anybody got it twice, was lost, or is
# unaccounted for, when doubt leaves its bound (connections of who was killed, and whom the relay has and
# did not answer for: some recipients are such), when one of those is taken for sent, when feedback that was
# acknowledged is missing, or when fewer than 100 a kill were taken; 2 when it was asked for what cannot be.
# KILLS (default 20), SEED (default: the time), KEEP=1 leaves database and truth for recounting,
# ROUTE=ses (default relay): through the FAKE SES, whose log is the truth then, with its own refusals.
# ONLY=box (or producer, feedback, dispatcher, postgresql, redis) kills nothing else. What else was counted stands in a note before it.
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/ses.sh
. tests/crash/lib.sh

KILLS=${KILLS:-20} SEED=${SEED:-$(date +%s)}
BETWEEN=${BETWEEN:-110}	# messages taken between two kills, at least
crash_number KILLS 1
crash_number SEED 0
crash_number BETWEEN 1
ROUTES=${ROUTE:-relay}
case $ROUTES in relay | ses) ;; *) crash_usage 'ROUTE is none of relay, ses' ;; esac
case ${ONLY:-box} in
producer | feedback | dispatcher | postgresql | redis | box) ;;
*) crash_usage 'ONLY is none of producer, feedback, dispatcher, postgresql, redis, box' ;;
esac
RANDOM=$((10#$SEED % 32768))
CUSTOMERS=1500
ALL=(producer feedback one two)
declare -A COUNT=([dispatcher]=0 [producer]=0 [feedback]=0 [postgresql]=0 [redis]=0 [box]=0)
lost_file=

crash_begin >&2
lost_file=$D/lost
: >"$lost_file"
customers_add $((CUSTOMERS - 60)) large.example
customers_add 20 dead.example "$([ "$ROUTES" = ses ] && echo bad || echo hard)"
customers_add 20 busy.example busy
customers_add 20 soft.example "$([ "$ROUTES" = ses ] && echo throttle || echo soft)"
customers_add 3 gone.example drop
campaign_add loop
relay_set 'delay_ms = 2' 'drop = kept'
if [ "$ROUTES" = ses ]; then
	crash_ses >&2
	WAY=("${SES_ROUTE[@]}")
	ses_set 'delay_ms = 2' 'drop = kept' 'times = 1'
fi
GIVEN=0 KILLED=0

give_feedback()
{
	GIVEN=$((GIVEN + 1))
	crash_feedback "$GIVEN" "$(shuf -n 1 "$TRUTH")"
}

# waits until so many more were taken, tending meanwhile
go_on()
{
	local goal=$(($(taken) + BETWEEN)) end=$((SECONDS + 60))

	while [ "$(taken)" -lt "$goal" ]; do
		crash_tend "${ALL[@]}"
		crash_next_run 400
		if [ "$SECONDS" -gt "$end" ]; then
			echo "# nothing moves for 60 s" >&2
			return 1
		fi
		sleep 0.0$((RANDOM % 9 + 1))
	done
}

kill_one()
{
	local victim

	case ${ONLY:-$((RANDOM % 20))} in
	0 | 1 | producer) victim=producer COUNT[producer]=$((COUNT[producer] + 1)) ;;
	2 | 3 | feedback) victim=feedback COUNT[feedback]=$((COUNT[feedback] + 1)) ;;
	4 | 5 | postgresql) COUNT[postgresql]=$((COUNT[postgresql] + 1)); crash_postgres; return ;;
	6 | 7 | redis) COUNT[redis]=$((COUNT[redis] + 1)); crash_redis; return ;;
	8 | box) # the whole box: everything at once
		COUNT[box]=$((COUNT[box] + 1))
		for victim in "${ALL[@]}"; do kill -KILL "${PIDS[$victim]}" 2>/dev/null || true; done
		crash_redis
		crash_postgres
		return ;;
	*) # dispatcher, and more often than the others
		victim=one; [ $((RANDOM % 2)) = 0 ] || victim=two; COUNT[dispatcher]=$((COUNT[dispatcher] + 1)) ;;
	esac
	crash_kill "$victim" || true
}

START=$SECONDS
crash_tend "${ALL[@]}"
crash_next_run 400
while [ "$KILLED" -lt "$KILLS" ]; do
	go_on || break # fewer kills than were asked for are no success
	give_feedback
	kill_one >&2
	KILLED=$((KILLED + 1))
	[ $((KILLED % 50)) != 0 ] || echo "# $KILLED kills, $(taken) taken, $((SECONDS - START)) s" >&2
done
crash_drain 90 "${ALL[@]}" || echo '# it does not drain' >&2
crash_end "${ALL[@]}"

during=$(awk '{ t = int($1 * 4) } t != last { n++; last = t } END { print n + 0 }' "$lost_file")
bound=$(((COUNT[dispatcher] + 2 * COUNT[box]) * CONNECTIONS))
least=$((BETWEEN < 100 ? BETWEEN * 9 / 10 : 100)) # a few of what the relay saw it did not keep
json=$(crash_count | jq -c --argjson kills "$KILLED" --argjson seed "$SEED" --argjson s "$((SECONDS - START))" \
	--argjson during "$during" --argjson bound "$bound" --arg truth "$TRUTH" --arg database "$SUPER" \
	--argjson by "$(for k in "${!COUNT[@]}"; do jq -cn --arg k "$k" --argjson n "${COUNT[$k]}" '{($k): $n}'; done | jq -cs add)" \
	'{kills: $kills, kills_by_program: $by, kills_during_data: $during} + . +
	{in_doubt_bound: ($bound + .undecided), seed: $seed, seconds: $s, truth: $truth, database: $database}')
echo "# $(jq -c '{seed, seconds, recipients, undecided, undecided_as_sent, feedback_given, feedback_unacknowledged, feedback_distinct, feedback_in_inbox}' <<<"$json")"
crash_say "$(jq -c '{kills, kills_by_program, kills_during_data, accepted, duplicates, lost, in_doubt, in_doubt_bound, in_doubt_not_in_truth,
	unaccounted, truth, database}' <<<"$json")"
jq -e --argjson kills "$KILLS" --argjson least "$least" '.duplicates == 0 and .lost == 0 and .unaccounted == 0
	and .in_doubt <= .in_doubt_bound and .undecided_as_sent == 0 and .kills == $kills and .accepted >= $least * $kills
	and .feedback_unacknowledged == 0 and .feedback_in_inbox == .feedback_distinct' <<<"$json" >/dev/null
