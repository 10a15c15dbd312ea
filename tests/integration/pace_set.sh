#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kairan pace show and set against runs under way, measured at the FAKE relay.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
KAIRAN=$BIN/kairan

pipeline_start
{
	printf 'group\t%s\t10\t100\t%s\t%s\tUTC\ttest 2026-11 guess\n' alpha 20/s off beta 900/s strict gamma 900/s strict
	printf 'domain\t%s.example\t%s\ttest 2026-11 guess\n' alpha alpha beta beta gamma gamma
} >"$D/providers.tsv"
export KAIRAN_PACE_PROVIDERS=$D/providers.tsv
customers_add 2000 alpha.example
customers_add 3000 beta.example
campaign_add set "segment='c.email LIKE ''%@alpha.example'''"
campaign_add all "segment='c.email LIKE ''%@beta.example'''"
campaign_add guarded "segment='c.email LIKE ''%@gamma.example'''"
customers_add 50 gamma.example

# arguments: exit code, text (a regular expression), NAME, command...
says()
{
	local wanted=$1 text=$2 name=$3 status=0

	shift 3
	"$@" >"$D/out" 2>&1 || status=$?
	tap_is "$status" "$wanted" "$name"
	tap_like "$(cat "$D/out")" "$text" "$name: says so"
}

# arguments: run, seconds; stdout: messages that arrived in the last seconds
lately()
{
	truth_load
	one "count(*) FROM test.truth WHERE run = $1 AND at > clock_timestamp() - interval '$2 s'"
}

# ---- what is refused, and leaves all as it was
says 0 'calendars +none' 'nothing is in force before anything runs' "$KAIRAN" pace show
says 2 "no group 'softbonk'" 'an unknown provider is refused' "$KAIRAN" pace set --provider softbonk --limit 5/s
says 2 'above 0' 'a rate of nothing is refused' "$KAIRAN" pace set --provider alpha --limit 0/s
says 2 'written as 20/s' 'a negative rate is refused' "$KAIRAN" pace set --account-rate -3/s
says 2 'written as 20/s' 'a number without a unit is refused' "$KAIRAN" pace set --stream marketing --rate 20
says 2 'no stream "nobody"' 'an unknown stream is refused' "$KAIRAN" pace set --stream nobody --rate 20/s
says 2 'strict, all or off' 'a guard that does not exist is refused' "$KAIRAN" pace set --guard maybe
says 2 'say what' 'half a setting is refused' "$KAIRAN" pace set --provider alpha
says 2 'above 0' 'of several none is made when one is wrong' "$KAIRAN" pace set --account-rate 10/s --provider alpha --limit 0/s
tap_is "$(one 'count(*) FROM kairan.pace_setting')" 0 'nothing was set'
tap_is "$(one "count(*) FROM kairan.audit WHERE action = 'pace set'")" 0 'nothing was audited'

# ---- the limit of a provider, while its run goes on
producer_start KAIRAN_PACE_GROUP_LIMITS=yes
export KAIRAN_PACE_GROUP_LIMITS=yes
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two
TWO=$DISPATCHER
RUN=$(run_add set limit)
taken_wait 40 60 || tap_note 'nothing is sent'
tap_ok 'a faster limit is set' "$KAIRAN" pace set --provider alpha --limit 120/s
sleep 1.5
before=$(taken)
sleep 3
n=$(($(taken) - before))
# 20/s would be 60; an early burst 360 and those that were due
tap_ok "it holds within 1.5 s ($n in 3 s at 120/s)" test "$n" -ge 180 -a "$n" -le 420
"$KAIRAN" pace show >"$D/out"
tap_like "$(cat "$D/out")" 'limit +alpha 120/s' 'shown as the limit'
tap_like "$(cat "$D/out")" 'g:alpha 120/s' 'and as the calendar in force'
tap_like "$(cat "$D/out")" "l:$RUN.[0-9]+ \(run $RUN, alpha\)" 'with the list of the run'
tap_like "$(cat "$D/out")" 'leader +[^ ]+, epoch [0-9]+' 'and who leads'
"$KAIRAN" pace set --provider alpha --limit 5/s
sleep 1.5
before=$(taken)
sleep 3
n=$(($(taken) - before))
tap_ok "a slower one as well ($n in 3 s at 5/s)" test "$n" -le 25
"$KAIRAN" pace set --provider alpha --limit default
sleep 1.5
before=$(taken)
sleep 3
n=$(($(taken) - before))
tap_ok "taken back, the table's 20/s hold again ($n in 3 s)" test "$n" -ge 35 -a "$n" -le 80
"$KAIRAN" pace set --provider alpha --limit 2000/s
tap_ok 'the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'
tap_is "$(one "count(*) FROM kairan.audit WHERE action = 'pace set' AND object = 'group:alpha'")" 4 'each change is audited'
tap_is "$(one "detail FROM kairan.audit WHERE action = 'pace set' ORDER BY id LIMIT 1")" '120/s' 'with its value'

# ---- the account, which the configuration does not limit
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
unset KAIRAN_PACE_GROUP_LIMITS
producer_start
"$KAIRAN" pace set --account-rate 50/s --provider alpha --limit default
before=$(taken)
RUN=$(run_add all account)
taken_wait $((before + 50)) 60 || tap_note 'nothing is sent'
tap_is "$(one 'string_agg(name || value, $$ $$) FROM kairan.pace_setting')" 'account_rate50/s' 'one setting is in force'
says 0 '^kairan: the limit of gamma \(60/s\) is above the rate of the account \(50/s\), so it is never reached$' \
	'a limit above that of the account is set' "$KAIRAN" pace set --provider gamma --limit 60/s
says 0 '^$' 'one below it, silently' "$KAIRAN" pace set --provider gamma --limit 40/s
"$KAIRAN" pace set --provider gamma --limit default
before=$(taken)
sleep 4
n=$(($(taken) - before))
tap_ok "the account's rate holds for a run whose stream has none ($n in 4 s at 50/s)" test "$n" -ge 120 -a "$n" -le 270
# planned when nothing held it, its list gets a clock of its own
tap_is "$(one "paced FROM kairan.run_lane WHERE run_id = $RUN AND name = 'beta'")" f 'the run was planned without a limit of the provider'
says 0 '^$' 'one is set' "$KAIRAN" pace set --provider beta --limit 10/s
tap_ok 'the lane gets a list of its own' wait_for 10 "paced FROM kairan.run_lane WHERE run_id = $RUN AND name = 'beta'"
sleep 1.5
before=$(taken)
sleep 3
n=$(($(taken) - before))
tap_ok "the limit holds for the run under way ($n in 3 s at 10/s)" test "$n" -ge 10 -a "$n" -le 60
"$KAIRAN" pace set --provider beta --limit default
# a setting outlives its group
sed 's/beta/betb/g' "$D/providers.tsv" >"$D/without.tsv"
"$KAIRAN" pace set --provider beta --limit 3/s
says 2 "no group 'beta'" 'a group that has left the table cannot be limited' \
	env KAIRAN_PACE_PROVIDERS="$D/without.tsv" "$KAIRAN" pace set --provider beta --limit 5/s
says 0 '^$' 'but its limit can be taken back' env KAIRAN_PACE_PROVIDERS="$D/without.tsv" "$KAIRAN" pace set --provider beta --limit default
tap_is "$(one "count(*) FROM kairan.pace_setting WHERE name = 'group:beta'")" 0 'and is gone'
"$KAIRAN" pace set --stream marketing --rate 300/s --account-rate default
sleep 1.5
before=$(taken)
sleep 3
n=$(($(taken) - before))
tap_ok "taken back, the stream's 300/s hold ($n in 3 s)" test "$n" -ge 450 -a "$n" -le 1050
"$KAIRAN" pace set --stream marketing --rate none
tap_ok 'without any the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'

# ---- the guard, over a run that was planned without it
silent()
{
	local before

	before=$(taken)
	sleep 1
	[ "$(taken)" -eq "$before" ]
}
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start KAIRAN_PACE_GUARD_LEAD_S=3300 # always closed in UTC, when it is on
"$KAIRAN" pace set --stream marketing --rate 200/s
before=$(taken)
RUN=$(run_add all under-way)
taken_wait $((before + 50)) 60 || tap_note 'nothing is sent'
"$KAIRAN" pace set --guard strict
tap_ok 'it closes the provider, though the run was planned without it' services_wait 20 silent
tap_ok 'while the run goes on' test "$(one "state = 'running' AND sent BETWEEN 1 AND 2999 FROM kairan.campaign_progress WHERE run_id = $RUN")" = t
"$KAIRAN" pace set --guard default --stream marketing --rate none
tap_ok 'without the guard it finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'

# ---- the guard
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
closed=(KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GUARD_LEAD_S=3300) # always closed in UTC
producer_start "${closed[@]}"
RUN=$(run_add guarded guard)
tap_ok 'a guarded run waits' wait_for 30 "state = 'running' FROM kairan.run WHERE id = $RUN"
sleep 2
tap_is "$(lately "$RUN" 60)" 0 'nothing leaves'
env "${closed[@]}" "$KAIRAN" pace show >"$D/out"
tap_like "$(cat "$D/out")" 'guard +on' 'the guard is shown'
tap_like "$(cat "$D/out")" "run $RUN, gamma\) closed" 'and the list that it closes'
tap_like "$(cat "$D/out")" 'waits +.*gamma.* for ever .pace.guard_lead_s' 'and who waits, and until when'
began=$(date +%s)
env "${closed[@]}" "$KAIRAN" pace set --guard off
tap_ok 'without the guard it goes' run_wait "$RUN" finished 30
truth_load
first=$(one "round((extract(epoch FROM min(at)) - $began)::numeric, 2) FROM test.truth WHERE run = $RUN")
tap_ok "at once ($first s)" test "$(one "$first <= 4")" = t
run_check "$RUN" 'exactly once'

programs_stopped 'all programs end well' "$ONE" "$TWO" "$PRODUCER"
tap_done
