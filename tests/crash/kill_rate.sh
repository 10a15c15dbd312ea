#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make kill-rate: the rate at full speed, calm for MINUTES, then as long with one kill -9 every EVERY seconds, of
# VICTIMS by turns, into the FAKE relay; both from the times in its ground truth. The relay takes DELAY_MS for each
# mail, so that the connections set the rate and not the processors. The last line is one JSON object; status 1 when
# less than OF_CALM per cent were left, a kill was not followed by 95 % of the calm rate within BACK_S (10), or a
# promise was broken. Nothing is forgiven here to a machine that others use: then the figure means nothing.
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/crash/lib.sh

MINUTES=${MINUTES:-2} EVERY=${EVERY:-10} CUSTOMERS=${CUSTOMERS:-8000}
VICTIMS=${VICTIMS:-one two} OF_CALM=${OF_CALM:-80} BACK_S=${BACK_S:-10} DELAY_MS=${DELAY_MS:-20}
for name in MINUTES EVERY OF_CALM BACK_S; do crash_number "$name" 1; done
crash_number DELAY_MS 0
crash_number CUSTOMERS 100
read -ra victims <<<"$VICTIMS"
for name in "${victims[@]}"; do
	case $name in
	one | two | producer | feedback) ;;
	*) crash_usage "VICTIMS are some of one, two, producer, feedback" ;;
	esac
done
ALL=(producer feedback one two)

crash_begin >&2
customers_add "$CUSTOMERS" large.example
campaign_add loop
sql -c "UPDATE kairan.stream SET rate_per_s = 100000 WHERE name = 'marketing'"
relay_set "delay_ms = $DELAY_MS"
: >"$D/faults"
KILLS=0 BOUND=0

# arguments: seconds, perhaps how often to kill. BEGAN and ENDED say when.
phase()
{
	local end=$((SECONDS + $1)) last=$SECONDS

	BEGAN=$EPOCHREALTIME
	while [ "$SECONDS" -lt "$end" ]; do
		crash_tend "${ALL[@]}"
		crash_next_run $((CUSTOMERS / 2))
		if [ "${2:-0}" -gt 0 ] && [ $((SECONDS - last)) -ge "$2" ]; then
			last=$SECONDS
			kill_next
		fi
		sleep 0.1
	done
	ENDED=$EPOCHREALTIME
}

# The kills are too near to each other for a calm rate between them: that of the calm phase counts.
kill_next()
{
	local victim=${victims[KILLS % ${#victims[@]}]}

	case $victim in one | two) BOUND=$((BOUND + CONNECTIONS)) ;; esac
	[ "$KILLS" = 0 ] || echo "$EPOCHREALTIME" >>"$D/faults"
	printf '%s %s %s ' "$victim" "$EPOCHREALTIME" "$EPOCHREALTIME" >>"$D/faults"
	KILLS=$((KILLS + 1))
	crash_kill "$victim" || true
}

START=$SECONDS
crash_tend "${ALL[@]}"
crash_next_run $((CUSTOMERS / 2))
taken_wait 500 60 || tap_note 'nothing is sent' >&2
phase $((MINUTES * 60))
CALM=$("$PYTHON" tests/crash/rate.py mean "$TRUTH" "$BEGAN" "$ENDED")
echo "# calm $CALM a second" >&2
phase $((MINUTES * 60)) "$EVERY"
echo "$ENDED" >>"$D/faults"
UNDER=$("$PYTHON" tests/crash/rate.py mean "$TRUTH" "$BEGAN" "$ENDED")
echo "# under kills $UNDER a second" >&2
"$PYTHON" tests/crash/rate.py back "$TRUTH" "$D/faults" "$CALM" >"$D/back"
jq -c '.[]' "$D/back" >&2
relay_set
crash_drain 300 "${ALL[@]}" || echo '# it does not drain' >&2
crash_end "${ALL[@]}"
json=$(crash_count | jq -c --argjson minutes "$MINUTES" --argjson every "$EVERY" --arg victims "$VICTIMS" --argjson kills "$KILLS" \
	--argjson calm "$CALM" --argjson under "$UNDER" --argjson bound "$BOUND" --slurpfile back "$D/back" --argjson cores "$(nproc)" \
	--argjson memory "$(awk '/^MemTotal/ { print int($2 / 1048576) }' /proc/meminfo)" --argjson s "$((SECONDS - START))" \
	--argjson load "$(cut -d' ' -f1 /proc/loadavg)" '
	{minutes: $minutes, kill_every_s: $every, victims: $victims, kills: $kills, calm_per_s: $calm, under_kills_per_s: $under,
	of_calm: (if $calm > 0 then ($under / $calm * 1000 | round / 1000) else null end),
	back_s: ($back[0] | map(.back_s)), back_worst_s: ($back[0] | map(.back_s) | max), not_back: ($back[0] | map(select(.back_s == null)) | length),
	accepted, duplicates, lost, in_doubt, in_doubt_bound: $bound, undecided_as_sent, unaccounted, load: $load, cores: $cores, memory_gb: $memory, seconds: $s}')
crash_say "$json"
jq -e --argjson least "$OF_CALM" --argjson most "$BACK_S" '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0
	and .in_doubt <= .in_doubt_bound and .kills > 0 and .of_calm != null and .of_calm * 100 >= $least and .not_back == 0 and .back_worst_s <= $most' \
	<<<"$json" >/dev/null
