#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The quota of 24 hours in the real programs: what two dispatchers count together, what Redis loses is
# counted again, what is above it waits and says until when; and the limits that a FAKE SES states.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/ses.sh
. tests/support/ses.sh
KAIRAN=$BIN/kairan

pipeline_start
customers_add 200 large.example
sql -c "UPDATE kairan.stream SET mail_from = '{example.org}'"
campaign_add fits "segment='c.id <= 80'"
campaign_add large
export KAIRAN_PACE_QUOTA_24H=100
producer_start
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two

# arguments: regular expression, seconds
shows()
{
	local end=$((SECONDS + $2))

	until "$KAIRAN" pace show >"$D/out" && grep -Eq "$1" "$D/out"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

RUN=$(run_add fits a)
tap_ok 'a run that fits into the quota finishes' run_wait "$RUN" finished 30
tap_ok 'what is left is shown' shows 'quota +20 left of 100 in 24 hours$' 10
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/out"
tap_ok 'what Redis lost is counted again' shows 'quota +20 left of 100' 15
tap_like "$(cat "$D/producer.log")" 'counted from the database minutes=[12]' 'from the database'

# a single mail to 25: urgent, so nothing but the quota itself is in its way
for i in $(seq 25); do printf 'to%d@large.example\n' "$i"; done | paste -sd, >"$D/to"
printf 'From: shop@example.org\nTo: %s\nSubject: hello\n\nhello\n' "$(cat "$D/to")" | "$KAIRAN" sendmail -t --key many >"$D/out"
MAIL=$(one "l.run_id FROM kairan.mail_send l LIMIT 1")
tap_ok 'of 25 more 20 leave' wait_for 20 "sent = 20 FROM kairan.campaign_progress WHERE run_id = $MAIL"
tap_ok 'it is used up, until when is said' shows 'quota +0 left of 100 in 24 hours, used up until 20[0-9-]+T' 10
remaining=$("$KAIRAN" --json pace show | "$PYTHON" -c 'import json, sys, time
from datetime import datetime
q = json.load(sys.stdin)["quota"]
print(round((datetime.fromisoformat(q["opens"].replace("Z", "+00:00")).timestamp() - time.time()) / 60))')
tap_ok "which is a day after the first ($remaining minutes)" test "$remaining" -ge 1435 -a "$remaining" -le 1442
tap_ok 'the log says so' services_wait 10 grep -q 'quota of 24 hours is used up.*until=20' "$D/producer.log"
"$KAIRAN" campaign plan large >"$D/out" 2>&1 || tap_note "$(cat "$D/out")"
tap_like "$(cat "$D/out")" 'quota +0 left of 100' 'the plan shows what is left'
tap_like "$(cat "$D/out")" 'small sites|large.example.* quota' 'and what holds it'
LATE=$(run_add fits b)
tap_ok 'another run waits' wait_for 20 "state = 'running' FROM kairan.run WHERE id = $LATE"
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/out"
sleep 2
tap_is "$(one "sum(sent) FROM kairan.campaign_progress WHERE run_id IN ($MAIL, $LATE)")" 20 'nothing leaves, whatever Redis forgets'
expected=$(one "extract(epoch FROM expected_finish - made_at) / 3600 BETWEEN 23.5 AND 48 FROM kairan.run_plan WHERE run_id = $LATE")
tap_is "$expected" t 'the producer expects it to end tomorrow'

# ---- more is allowed
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
unset KAIRAN_PACE_QUOTA_24H
producer_start
tap_ok 'without the quota the mail is complete' wait_for 20 "sent = 25 FROM kairan.campaign_progress WHERE run_id = $MAIL"
tap_ok 'and the run finishes' run_wait "$LATE" finished 20
run_check "$LATE" 'exactly once'

# ---- a route that is warmed up

tap_ok 'a warm-up begins' "$KAIRAN" pace set --warmup growth
tap_ok 'its first day is shown, and is the quota' shows 'warm-up +growth, day 0: 1000 recipients in 24 hours; more on day 3' 5
tap_ok 'for all dispatchers' shows 'quota +[0-9]+ left of 1000' 15
status=0
"$KAIRAN" pace set --warmup slowly >"$D/out" 2>&1 || status=$?
tap_is "$status" 2 'an unknown schedule is refused'
sql -c "UPDATE kairan.warmup SET day = 2, day_began = now() - interval '25 hours'" \
	-c "INSERT INTO kairan.tally (run_id, owner, minute, attempts, failed, hard) VALUES ($RUN, 1, date_trunc('minute', now()) - interval '1 hour', 90, 90, 90)"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start
tap_ok 'many bounces hold it' shows 'growth, day 2: 1000 recipients.*HELD: bounce rate [0-9.]+ % is above 2.00 %' 15
sql -c "DELETE FROM kairan.tally WHERE hard = 90"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start
tap_ok 'without them the next day begins' shows 'growth, day 3: 10000 recipients in 24 hours; more on day 10' 15
tap_ok 'with its quota' shows 'quota +[0-9]+ left of 10000' 15
status=0
"$KAIRAN" pace set --warmup growth >"$D/out" 2>&1 || status=$?
tap_is "$status $(cat "$D/out")" '2 kairan: the warm-up growth is under way, day 3; --restart begins one at its first day' \
	'begun again by mistake it keeps its day'
tap_is "$(one 'day FROM kairan.warmup')" 3 'which is not lost'
tap_ok 'begun again on purpose it is' "$KAIRAN" pace set --warmup ip-30 --restart
tap_is "$(one "schedule || ' ' || day FROM kairan.warmup")" 'ip-30 0' 'at its first day'
tap_ok 'it is ended' "$KAIRAN" pace set --warmup off

# ---- what Amazon SES allows: one producer asks, everybody knows
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
SES_PORT=$(services_free_port)
AGENT_PORT=$(services_free_port)
"$PYTHON" tests/support/ses_fake.py init "$D/ses" || tap_bail 'no certificate for the fake'
printf 'quota = 500\nmax_rate = 20\n' >"$D/ses.control"
service_spawn ses "$D/ses.log" "$PYTHON" tests/support/ses_fake.py serve "$D/ses" --log "$D/ses.truth" \
	--control "$D/ses.control" "$SES_PORT" "$AGENT_PORT" 2>/dev/null
services_wait 20 ses_answers || tap_bail 'the fake does not answer'
ACCOUNT=(KAIRAN_DISPATCHER_TRANSPORT=ses HOME="$D" AWS_EC2_METADATA_DISABLED=true AWS_REGION=ap-northeast-1
	AWS_ENDPOINT_URL_SESV2="https://localhost:$SES_PORT" AWS_CA_BUNDLE="$D/ses/ca.pem" "${KEYS[@]}")
producer_start "${ACCOUNT[@]}"
# of all that is shown only the account's rate is new: before the answer of GetAccount there is a quota too
tap_ok 'the rate of the account is shown, for all dispatchers together' shows 'account +[0-9.]+/s' 60
tap_ok 'and its quota' shows 'quota +[0-9]+ left of [0-9]+ in 24 hours' 15
tap_is "$("$KAIRAN" --json pace show | "$PYTHON" -c 'import json, sys
j = json.load(sys.stdin); print(abs(j["account_per_s"] - 0.9 * j["ses"]["max_rate"]) < 1e-6, j["quota"]["limit"] == j["ses"]["max_24h"])')" 'True True' \
	'as GetAccount says'
# arguments: how often a dispatcher has said what the account allows
account_told()
{
	[ "$(grep -c 'account rate=18.00/s of 20.00/s' "$D/dispatcher.log")" = "$1" ]
}
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start three "${ACCOUNT[@]}"
tap_ok 'a dispatcher keeps to the account' services_wait 30 account_told 1
tap_is "$(wc -l <"$D/ses/account.asked")" 1 'without asking Amazon itself'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
redis-cli -s "$D/redis.sock" DEL '{p:kairan}:account' >"$D/out"
dispatcher_start four "${ACCOUNT[@]}"
tap_ok 'without a producer it asks' services_wait 30 account_told 2
tap_is "$(wc -l <"$D/ses/account.asked")" 2 'itself'

programs_stopped 'all programs end well' "$ONE" "$DISPATCHER" "$PRODUCER"
tap_done
