#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The hour guard in real time: it closes under a producer and a dispatcher that are sending. pace.guard_lead_s
# moves the end of the guard's ramp to half a minute from now; what the FAKE relay took, and when, is measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
KAIRAN=$BIN/kairan
AHEAD=30 # seconds from now
LATE=5	 # a message that was released may end so long after; half of the lead that is the default

# A zone in which the next hour is at least 15 minutes away and the last one is past its ramp.
zone=UTC
minute=$((10#$(date -u +%M)))
[ "$minute" -ge 17 ] && [ "$minute" -le 40 ] || zone=Asia/Kolkata

# arguments: group, condition on test.truth of which truth_load() read the last; stdout: messages
took()
{
	one "count(*) FROM test.truth WHERE run = $RUN AND address LIKE '%@$1.example' AND ($2)"
}

# shellcheck disable=SC2317 # called by services_wait
both_get()
{
	truth_load
	[ "$(took guarded true)" -gt 0 ] && [ "$(took free true)" -gt 0 ]
}

pipeline_start
{
	printf 'group\t%s\t10\t100\t%s\t%s\t%s\ttest 2026-11 guess\n' guarded 300/s strict "$zone" free 300/s off UTC
	printf 'domain\t%s.example\t%s\ttest 2026-11 guess\n' guarded guarded free free
} >"$D/providers.tsv"
export KAIRAN_PACE_PROVIDERS=$D/providers.tsv KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GROUP_LIMITS=yes
customers_add 20000 guarded.example guarded
customers_add 20000 free.example free
campaign_add guard
producer_start KAIRAN_PACE_GUARD_LEAD_S=3300
RUN=$(run_add guard closing)
tap_ok 'with a lead of 55 minutes the run is planned' wait_for 60 "state = 'running' FROM kairan.run WHERE id = $RUN"

# argument: pace.guard_lead_s; whether the group waits with it now
closed_with()
{
	KAIRAN_PACE_GUARD_LEAD_S=$1 "$KAIRAN" campaign status guard --json | jq -e '.waits | tostring | contains("guarded")' >/dev/null
}

# The least lead with which it is closed now is the time until it closes.
low=0 high=3300
tap_ok '  ... and the guarded group waits' closed_with "$high"
tap_is "$(closed_with "$low" || echo open)" open '  ... which it does not without a lead'
while [ $((high - low)) -gt 1 ]; do
	middle=$(((low + high) / 2))
	if closed_with "$middle"; then high=$middle; else low=$middle; fi
done
now=$(one "floor(extract(epoch FROM clock_timestamp()))")
lead=$((high - AHEAD))
closes=$((now + AHEAD + 1)) # at the latest: the lead is one of whole seconds
tap_note "closes within $high s without a lead; with one of $lead s within $AHEAD s"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start KAIRAN_PACE_GUARD_LEAD_S="$lead"
dispatcher_start one KAIRAN_PACE_GUARD_LEAD_S="$lead"
tap_ok 'before it closes both groups get theirs' services_wait 25 both_get
sleep $((closes + LATE - $(date +%s)))
truth_load
free=$(took free "at <= to_timestamp($closes)")
tap_ok "the guarded group got its mail until then ($(took guarded "at <= to_timestamp($closes)"))" test "$(took guarded true)" -gt 50
tap_is "$(took guarded "at > to_timestamp($closes + $LATE)")" 0 'behind the moment it gets nothing'
sleep 10
truth_load
tap_is "$(took guarded "at > to_timestamp($closes + $LATE)")" 0 '  ... ten seconds later neither'
tap_ok "  ... while the other goes on ($free, $(took free true))" test "$(took free true)" -gt $((free + 300))
tap_ok '  ... and those who wait are there to be sent' test "$(one "count(*) FROM kairan.send s JOIN kairan.run_lane l ON l.run_id = s.run_id
	AND l.lane = s.lane WHERE s.run_id = $RUN AND s.state = 'queued' AND l.name = 'guarded'")" -gt 1000
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
run_check "$RUN" '  ... and nobody got it twice'
tap_done
