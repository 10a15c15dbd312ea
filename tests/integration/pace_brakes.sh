#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What replies do to the pace: two dispatchers and the FAKE relay, which answers as providers do;
# then mail servers that take few connections. Rates are measured at the FAKE.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
KAIRAN=$BIN/kairan

export KAIRAN_PACE_ADAPTIVE=yes
pipeline_start
{
	printf 'group\talpha\t10\t100\t20/s\toff\tUTC\ttest 2026-11 guess\n'
	printf 'domain\talpha.example\talpha\ttest 2026-11 guess\n'
	printf 'mx\t.alpha.example\talpha\ttest 2026-11 guess\n'
	printf 'rule\talpha\t%s\t%s\t%s\t%s\ttest 2026-11 guess\n' 451 'too fast' rate 0 450 'wait a while' hold 1 \
		550 'blocked for good' 'stop!' 0 421 'is busy' conn 0
} >"$D/providers.tsv"
export KAIRAN_PACE_PROVIDERS=$D/providers.tsv KAIRAN_DISPATCHER_RETRY_LADDER=1s
customers_add 800 alpha.example
customers_add 800 beta.example
campaign_add all
sql -c "UPDATE kairan.stream SET rate_per_s = 60 WHERE name = 'marketing'"

# arguments: provider, time; stdout: how many of its mails arrived since
arrived()
{
	truth_load
	one "count(*) FROM test.truth WHERE address LIKE '%@$1.example' AND at > '$2'"
}

# arguments: provider, time, how many, seconds
arrives()
{
	local end=$((SECONDS + $4))

	until [ "$(arrived "$1" "$2")" -ge "$3" ]; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

# argument: column of kairan.brake
braked()
{
	one "(SELECT $1 FROM kairan.brake WHERE name = '${2:-alpha}')"
}

# arguments: reply, how often, more lines of the control file; said to recipients at alpha
answers()
{
	relay_set "fault = rcpt:raw:$1\\r\\n" "faults = $2" 'for = @alpha.example' "${@:3}"
}

producer_start
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two
TWO=$DISPATCHER

# ---- too fast
RUN_BEGAN=$(one 'clock_timestamp()')
RUN=$(run_add all a)
taken_wait 60 30 || tap_note 'nothing is sent'
tap_is "$(one 'count(*) FROM kairan.brake')" 0 'without complaints nothing is braked'
answers '451 4.7.1 alpha is sent to too fast' 1
sleep 1
tap_is "$(one "count(*) FROM kairan.brake WHERE mode <> 'free'")" 0 'one complaint brakes nothing'
answers '451 4.7.1 alpha is sent to too fast' 4
tap_ok 'several do' wait_for 10 "mode = 'rate' FROM kairan.brake WHERE name = 'alpha'"
relay_set
tap_ok 'its lane gets a list of its own' wait_for 10 "paced FROM kairan.run_lane WHERE run_id = $RUN AND name = 'alpha'"
# both dispatchers together keep to what is left, but for the second of permits that they had; the others are not held up
rate=$(braked rate_per_s) since=$(braked since)
tap_ok "the rate is less than before ($rate/s)" test "$(one "$rate > 0 AND $rate < 50")" = t
tap_ok 'others go on' arrives beta "$since" 10 60
since=$(one "'$since'::timestamptz + interval '1.5 s'")
tap_ok 'so does it' arrives alpha "$since" 40 60
took=$(one "extract(epoch FROM max(at) - min(at)) FROM (SELECT at FROM test.truth
	WHERE address LIKE '%@alpha.example' AND at > '$since' ORDER BY at LIMIT 40) AS t")
tap_ok "at that rate (40 in $took s)" test "$(one "$took > 0.75 * 39 / $rate")" = t
tap_is "$(braked "why")" 'rate 451' 'the reason is kept'
"$KAIRAN" pace show >"$D/out"
tap_like "$(cat "$D/out")" 'braked +alpha: [0-9.]+/s; by rate 451, since 20' 'pace show tells it'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND tries > 0")" 0 'no recipient has lost a step of his ladder'

# ---- wait
answers '450 4.7.1 alpha asks to wait a while' 4
tap_ok 'asked to wait, the lane is held' wait_for 10 "mode = 'hold' FROM kairan.brake WHERE name = 'alpha'"
relay_set 'delay_ms = 900'
sleep 1.2
now=$(one 'clock_timestamp()')
before=$(arrived beta "$RUN_BEGAN")
sleep 1
tap_is "$(arrived alpha "$now")" 0 'nothing leaves for it'
tap_ok "others do, until they are through ($before)" arrives beta "$RUN_BEGAN" $((before < 800 ? before + 1 : 800)) 60
"$KAIRAN" pace show >"$D/out"
tap_like "$(cat "$D/out")" 'alpha: on hold; by hold 450, since .*, until 20' 'pace show tells until when'
"$KAIRAN" status >"$D/out" || tap_note 'status failed'
tap_like "$(cat "$D/out")" 'braked by replies: alpha on hold' 'so does status'
# a minute is long for a test: the new producer reads an earlier end, and that all others forgot it matters not
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
redis-cli -s "$D/redis.sock" DEL '{p:kairan}:brake' >"$D/out"
sql -c "UPDATE kairan.brake SET detail = regexp_replace(detail, '^(hold) (\S+) \S+', '\1 \2 \2') WHERE name = 'alpha'"
sleep 1.5 # the dispatchers look four times a second: they must not go on holding by what they were told before
producer_start
tap_ok 'when it is over one message tries it, and is taken' wait_for 60 "mode = 'rate' FROM kairan.brake WHERE name = 'alpha'"
[ "$(braked mode)" = rate ] || tap_note "$(one "to_jsonb(b) FROM kairan.brake b")" "$(grep -h brake "$D/producer.log" "$D/dispatcher.log")"
truth_load
tap_is "$(one "count(*) FROM test.truth WHERE address LIKE '%@alpha.example' AND at BETWEEN '$now' AND '$(braked since)'")" 1 \
	'it was one, until it was answered'
tap_ok "then a quarter of before ($(braked rate_per_s) of $rate)" test "$(one "$(braked rate_per_s) < $rate * 0.3")" = t
relay_set

# ---- stop
answers '550 5.7.1 alpha says blocked for good' 1
tap_ok 'refused for good, the run is paused' run_wait "$RUN" paused 10
relay_set
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" 'alpha refuses us for good \(550\).*pace release alpha' 'with a reason'
tap_is "$(one "count(*) FROM kairan.suppression")" 0 'and nobody is suppressed for it'
tap_is "$(braked mode)" stop 'the provider is stopped'
sql -c "UPDATE kairan.stream SET rate_per_s = NULL WHERE name = 'marketing'"
now=$(one 'clock_timestamp()')
"$KAIRAN" campaign resume all >"$D/out" 2>&1 || tap_note "$(cat "$D/out")"
tap_ok 'resumed, the others are sent to' wait_for 30 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state <> 'sent' AND address LIKE '%@beta.example'"
tap_is "$(arrived alpha "$now")" 0 'but nothing to it'
status=0
"$KAIRAN" pace release beta >"$D/out" 2>&1 || status=$?
tap_is "$status" 6 'what is not braked cannot be released'
"$KAIRAN" pace release alpha
tap_ok 'released, the run finishes' run_wait "$RUN" finished 60
tap_is "$(run_states "$RUN")" 'sent 1600' 'whoever was refused for our sake got it in the end'
tap_is "$(one 'count(*) FROM kairan.brake')" 0 'and nothing is braked'
tap_is "$(one "detail FROM kairan.audit WHERE action = 'pace release'")" stop 'who released it is noted'
run_check "$RUN" 'exactly once, whatever was said'
service_stop "$ONE" || tap_note "a dispatcher ended with $?"
service_stop "$TWO" || tap_note "a dispatcher ended with $?"

# ---- too late, while nobody works on it
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 60'"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start KAIRAN_DISPATCHER_EXPIRE_AFTER_S=1 KAIRAN_PRODUCER_EXPIRE_UNSENT_S=2
RUN=$(run_add all late)
tap_ok 'recipients whose time is over expire without a dispatcher, and the run ends' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'expired 60' 'all of them'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start

# ---- connections, to mail servers
command -v knotd >/dev/null || { tap_note 'knot is not installed: connections are not tested'; tap_done; exit; }
DNS_PORT=$(services_free_port)
mkdir "$D/knot"
printf 'server:\n    listen: 127.0.0.1@%s\n    rundir: %s\ndatabase:\n    storage: %s\nzone:\n  - domain: example\n    file: %s\n' \
	"$DNS_PORT" "$D/knot" "$D/knot" "$D/example.zone" >"$D/knot.conf"
printf '$TTL 60\n@ IN SOA ns.example. a.example. 1 60 60 60 60\n@ IN NS ns.example.\nns IN A 127.0.0.1\nalpha IN MX 10 mx.alpha\nmx.alpha IN A 127.0.0.1\n' \
	>"$D/example.zone"
service_spawn knot "$D/knot.log" knotd -c "$D/knot.conf" 2>/dev/null
dns_answers()
{
	grep -q 'server started' "$D/knot.log"
}
services_wait 10 dns_answers || tap_note 'the DNS server does not start'
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 200'"
relay_set 'most = 2' 'delay_ms = 50'
dispatcher_start mx KAIRAN_DISPATCHER_TRANSPORT=mx "KAIRAN_DISPATCHER_RESOLVER=127.0.0.1:$DNS_PORT" "KAIRAN_MX_PORT=$RELAY_PORT" \
	KAIRAN_MX_PRIVATE=yes KAIRAN_MX_CONNECTIONS_PER_DESTINATION=8 KAIRAN_MX_TLS=off KAIRAN_MX_MTA_STS=no
RUN=$(run_add all mx)
tap_ok 'refused for too many connections, fewer are made' wait_for 20 "connections BETWEEN 1 AND 4 FROM kairan.brake WHERE name = 'alpha'"
tap_is "$(braked mode)" free 'while the rate is free'
"$KAIRAN" pace show >"$D/out"
tap_like "$(cat "$D/out")" 'alpha: its rate is free, [1-4] connections a destination; by conn 421' 'pace show tells it'
tap_ok 'the run finishes' run_wait "$RUN" finished 40
run_check "$RUN" 'exactly once'

# ---- a mail server that stalls: what waited for it keeps to the rate
sql -c "UPDATE kairan.campaign SET segment = 'c.id <= 80'" -c "UPDATE kairan.stream SET rate_per_s = 20 WHERE name = 'marketing'"
relay_set 'delay_ms = 4000'
RUN=$(run_add all stall)
tap_ok 'while a mail server stalls, flights wait for it' wait_for 30 "count(*) > 40 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'"
relay_set
tap_ok 'when it goes on, the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'
worst=$(one "max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '999 ms' PRECEDING AND CURRENT ROW) AS n
	FROM test.truth WHERE run = $RUN) AS t")
tap_ok "in no second more than 20, one a connection and some that were late ($worst)" test "$worst" -le 29
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND tries > 0")" 0 'nobody has lost a step of his ladder'

programs_stopped 'all programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
