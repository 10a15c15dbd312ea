#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who goes first on a limit that all share, measured at the FAKE relay: single mails under full bulk
# load, triggered before bulk, bulk by weight. Bounds tell these rules from their absence on a machine that
# does other work, too; to the message they are kept by what `kairan simulate` plays (docs/SHAPING.md, 10 and 11).
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
KAIRAN=$BIN/kairan
RATE=50

pipeline_start
# as they are where nobody sets them: the waits are those of an installation
export KAIRAN_PRODUCER_POLL_MS=500 KAIRAN_DISPATCHER_POLL_MS=250 KAIRAN_PACE_ACCOUNT_RATE=$RATE/s
customers_add 1500 large.example
sql -c "UPDATE kairan.stream SET mail_from = '{example.org}'"
campaign_add light
campaign_add heavy weight=3
producer_start
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two

# arguments: key, stream; stdout: seconds until the relay took it
mail()
{
	printf 'From: shop@example.org\nTo: %s@large.example\nSubject: hello\n\nhello\n' "$1" |
		"$KAIRAN" sendmail -t --wait --key "$1" --stream "$2" >"$D/out" 2>&1 || tap_note "$(cat "$D/out")"
	truth_load
	one "extract(epoch FROM t.at - m.created_at)::numeric(6, 3) FROM test.truth t JOIN kairan.mail_send l ON l.run_id = t.run
		AND l.send_id = t.send JOIN kairan.mail m ON m.id = l.mail_id WHERE m.key = '$1'"
}

# the most that the relay took in any second since a time; in all
most()
{
	truth_load
	one "coalesce(max(n), 0) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '999 ms' PRECEDING AND CURRENT ROW) AS n
		FROM test.truth WHERE at > '$1') AS t"
}

first=$(mail first transactional) # a part of the limits is kept free from now on
tap_ok "a single mail leaves ($first s)" test "$(one "$first < 5")" = t
RUN=$(run_add light a)
HEAVY=$(run_add heavy a)
began=$(one 'clock_timestamp()')
taken_wait 120 30 || tap_note 'nothing is sent'
worst=0
for i in 1 2 3 4 5; do
	wait=$(mail "mail$i" transactional)
	tap_note "single mail $i under bulk load: $wait s"
	worst=$(one "greatest($worst, $wait)")
done
# behind bulk it would be a minute
tap_ok "single mails do not wait for bulk (worst $worst s)" test "$(one "$worst < 4")" = t
n=$(most "$began")
tap_ok "together they keep to $RATE/s in any second ($n)" test "$n" -le $((RATE * 3 / 2))
bulk=$(one "count(*) / extract(epoch FROM max(at) - min(at)) FROM test.truth WHERE run IN ($RUN, $HEAVY) AND at > '$began'::timestamptz + interval '1 s'")
tap_ok "and bulk has what is left of it ($bulk/s)" test "$(one "$bulk BETWEEN 0.5 * $RATE AND 1.05 * $RATE")" = t
share=$(one "count(*) FILTER (WHERE run = $HEAVY)::float8 / count(*) FROM test.truth WHERE run IN ($RUN, $HEAVY)
	AND at > (SELECT max(first) FROM (SELECT min(at) AS first FROM test.truth WHERE run IN ($RUN, $HEAVY) GROUP BY run) AS f) + interval '1 s'")
tap_ok "a campaign of weight 3 has three times as much ($share of all)" test "$(one "$share BETWEEN 0.66 AND 0.84")" = t

# ---- triggered before bulk --------------------------------------------------------------------------

tap_ok 'a stream is made triggered' "$KAIRAN" pace set --stream transactional --kind triggered
status=0
"$KAIRAN" pace set --stream transactional --kind important >"$D/out" 2>&1 || status=$?
tap_is "$status" 2 'an unknown kind is refused'
campaign_add welcome "segment='c.id <= 90'"
sql -c "UPDATE kairan.campaign SET stream_id = (SELECT id FROM kairan.stream WHERE name = 'transactional') WHERE name = 'welcome'"
WELCOME=$(run_add welcome a)
tap_ok 'its run finishes while bulk goes on' run_wait "$WELCOME" finished 30
truth_load
rate=$(one "count(*) / extract(epoch FROM max(at) - min(at)) FROM test.truth WHERE run = $WELCOME")
tap_ok "with most of the limit, not a fifth of it ($rate/s)" test "$(one "$rate >= 0.4 * $RATE")" = t
tap_is "$(one "string_agg(state::text, ' ' ORDER BY id) FROM kairan.run WHERE id IN ($RUN, $HEAVY)")" 'running running' 'which bulk gave way for'
"$KAIRAN" campaign cancel light >"$D/out"
"$KAIRAN" campaign cancel heavy >"$D/out"
run_check "$WELCOME" 'exactly once'

# ---- spread evenly over a time of its own ---------------------------------------------------------

service_stop "$PRODUCER" || tap_note "the producer ended with $?"
unset KAIRAN_PACE_ACCOUNT_RATE
campaign_add spread "segment='c.id <= 300'" spread_s=60
"$KAIRAN" campaign plan spread >"$D/out"
tap_like "$(cat "$D/out")" 'spread +evenly over 1 minutes' 'the plan says that a campaign is spread'
producer_start
SPREAD=$(run_add spread a)
began=$(taken)
taken_wait $((began + 5)) 20 || tap_note 'nothing is sent'
first=$(taken)
sleep 6
n=$(($(taken) - first))
# 300 in what is left of a minute: 5/s or a little more
tap_ok "without any rate it leaves evenly ($n in 6 s)" test "$n" -ge 10 -a "$n" -le 70
tap_is "$(one "abs(extract(epoch FROM x.expected_finish - r.started_at) - 60) < 4 FROM kairan.run_plan x JOIN kairan.run r ON r.id = x.run_id WHERE x.run_id = $SPREAD")" t \
	'the producer expects it to end then'
sql -c "UPDATE kairan.campaign SET spread_s = NULL WHERE name = 'spread'"
tap_ok 'not spread any more, the rest leaves at once' run_wait "$SPREAD" finished 30
run_check "$SPREAD" 'exactly once'

# ---- quiet hours of the recipient ------------------------------------------------------------------

# twelve hours that begin in six: it is day in UTC now, and night twelve zones away
now=$((10#$(date -u +%H) * 60 + 10#$(date -u +%M)))
sql -c "UPDATE kairan.customer SET time_zone = CASE WHEN id % 3 = 0 THEN 'Etc/GMT-12' WHEN id % 3 = 1 THEN 'UTC' END WHERE id <= 90" \
	-c "UPDATE kairan.customer SET time_zone = '../etc/passwd' WHERE id = 2"
campaign_add quiet "segment='c.id <= 90'" "quiet_from=$(((now + 360) % 1440))" "quiet_till=$(((now + 1080) % 1440))"
QUIET=$(run_add quiet a)
tap_ok 'whose hours are open gets it, as do those without a zone' wait_for 20 "sent = 60 FROM kairan.campaign_progress WHERE run_id = $QUIET"
sleep 2
tap_is "$(one "count(*) || ' ' || count(*) FILTER (WHERE c.time_zone = 'Etc/GMT-12') FROM kairan.send s JOIN kairan.customer c ON c.id = s.recipient_id
	WHERE s.run_id = $QUIET AND s.state <> 'sent'")" '30 30' 'whose night it is waits'
tap_is "$(one "string_agg(DISTINCT time_zone, ' ' ORDER BY time_zone) FROM kairan.run_lane WHERE run_id = $QUIET")" 'Etc/GMT-12 UTC' 'lists are by zone'
sql -c "UPDATE kairan.campaign SET quiet_from = NULL, quiet_till = NULL WHERE name = 'quiet'"
tap_ok 'without quiet hours they get it at once' run_wait "$QUIET" finished 30
run_check "$QUIET" 'exactly once'

programs_stopped 'all programs end well' "$ONE" "$DISPATCHER" "$PRODUCER"
tap_done
