#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lanes, limits and the hour guard in the real programs, measured at the FAKE relay: what it took,
# from whom, when.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
KAIRAN=$BIN/kairan

# A zone in which the hour is at least 12 minutes away on both sides, whatever the minute is now: the
# guard of an hour ends before 11 past, the next one's ramp begins after 51; with a lead of 40 minutes
# after 11, and is closed behind 16 past.
zone=UTC
minute=$((10#$(date -u +%M)))
[ "$minute" -ge 17 ] && [ "$minute" -le 45 ] || zone=Asia/Kolkata

pipeline_start
{
	printf 'group\t%s\t10\t100\t%s\t%s\t%s\ttest 2026-11 guess\n' alpha 40/s off UTC beta 20/s off UTC gamma 900/s strict "$zone"
	printf 'domain\t%s.example\t%s\ttest 2026-11 guess\n' alpha alpha beta beta beta-two beta gamma gamma
} >"$D/providers.tsv"
export KAIRAN_PACE_PROVIDERS=$D/providers.tsv
tap_is "$("$KAIRAN" provider check "$D/providers.tsv" | tail -n 1 | sed 's/^[0-9]* //')" 'groups, no mistake' 'the table of the test has no mistake'
sed "3s|$zone|Asia/Tokio|" "$D/providers.tsv" >"$D/tokio.tsv"
status=0
"$KAIRAN" provider check "$D/tokio.tsv" 2>"$D/err" || status=$?
tap_is "$status $(sed "s|$D/||" "$D/err" | cut -d' ' -f-10)" "2 kairan: tokio.tsv, line 3: there is no time zone 'Asia/Tokio'" \
	'a zone that does not exist is found, with its line'
status=0
KAIRAN_PACE_PROVIDERS=$D/tokio.tsv "$KAIRAN" pace show 2>"$D/err" || status=$?
tap_like "$status $(cat "$D/err")" "^2 .*tokio.tsv, line 3: there is no time zone" 'as by the programs that would start with it'

# Whether mail to some domains (SQL) kept to one limit of both dispatchers at the relay. It stamps the end of
# a transaction, each turn of which waits for a loaded machine, so a window may show half as much again of 1 s
# and a tenth of 10 s; two limits instead of a shared one would be twice the rate. To the message it is
# measured by `make pace-real`.
# arguments: run, rate, domains, NAME
keeps_to()
{
	local seconds worst most

	for seconds in 1 10; do
		worst=$(one "coalesce(max(n), 0) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '$((seconds * 1000 - 1)) ms' PRECEDING AND CURRENT ROW) AS n
			FROM test.truth WHERE run = $1 AND split_part(address, '@', 2) IN ($3)) AS t")
		most=$((seconds == 1 ? $2 * 3 / 2 + 2 : $2 * 11 + 2))
		tap_ok "$4: $2/s, at most $most in any $seconds s ($worst)" test "$worst" -le "$most"
	done
}

# ---- order ------------------------------------------------------------------------------------

customers_add 480 alpha.example
customers_add 160 beta.example
customers_add 80 beta-two.example
customers_add 700 large.example
customers_add 499 medium.example
sql -c "INSERT INTO kairan.customer (email, name) SELECT 'ok' || i || '@d' || i % 450 || '.example', 'Name' FROM generate_series(1, 600) AS i"
campaign_add lanes
producer_start
dispatcher_start one KAIRAN_RELAY_CONNECTIONS=1
RUN=$(run_add lanes order)
tap_ok 'a run without limits finishes' run_wait "$RUN" finished 180
run_check "$RUN" 'exactly once'
tap_is "$(one "string_agg(name || ' ' || recipients || ' ' || provider, ', ' ORDER BY recipients DESC) FROM kairan.run_lane WHERE run_id = $RUN AND name NOT LIKE 'tail%'")" \
	'large.example 700 default, alpha 480 alpha, beta 240 beta' 'lanes: providers and large sites'
tap_is "$(one "count(*) || ' ' || sum(recipients) || ' ' || bool_or(paced) FROM kairan.run_lane WHERE run_id = $RUN AND name LIKE 'tail%'")" \
	'16 1099 false' 'the rest in 16 parts'
# a prefix of t messages is worst just before and just behind one of the lane
deviation="SELECT max(greatest(abs(k - t * n / all_n), abs(k - 1 - (t - 1) * n / all_n))) FROM (SELECT t,
	row_number() OVER (PARTITION BY lane ORDER BY t) AS k, count(*) OVER (PARTITION BY lane) AS n, count(*) OVER () AS all_n"
planned=$(sql -c "$deviation FROM (SELECT id::float8 AS t, lane FROM kairan.send WHERE run_id = $RUN) AS s) AS x")
tap_ok "at every moment each lane is within one message of its share ($planned)" test "$(one "$planned < 1")" = t
arrived=$(sql -c "$deviation FROM (SELECT row_number() OVER (ORDER BY h.at)::float8 AS t, s.lane
	FROM test.truth h JOIN kairan.send s ON s.run_id = h.run AND s.id = h.send WHERE h.run = $RUN) AS s) AS x")
tap_ok "and so it arrives over one connection ($arrived)" test "$(one "$arrived < 1")" = t
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"

# ---- limits of providers, two dispatchers, one of them killed -------------------------------------

producer_start KAIRAN_PACE_GROUP_LIMITS=yes
dispatcher_start one
ONE=$DISPATCHER
dispatcher_start two
TWO=$DISPATCHER
sql -c "UPDATE kairan.campaign SET segment = 'c.email ~ ''@(alpha|beta|beta-two|d[0-9]+)\.''' WHERE name = 'lanes'"
before=$(taken)
RUN=$(run_add lanes limits)
taken_wait $((before + 700)) 60 || tap_note 'too little is sent'
kill -KILL "$TWO"
sleep 1
dispatcher_start two
TWO=$DISPATCHER
tap_ok 'two dispatchers, one killed half-way: the run finishes' run_wait "$RUN" finished 90
run_check "$RUN" 'exactly once'
tap_is "$(one "string_agg(name, ' ' ORDER BY name) FROM kairan.run_lane WHERE run_id = $RUN AND paced")" 'alpha beta' 'those with a limit have a clock'
tap_is "$(one "count(DISTINCT d.name) FROM kairan.send s JOIN kairan.dispatcher d ON d.id = s.owner WHERE s.run_id = $RUN AND s.lane IN
	(SELECT lane FROM kairan.run_lane WHERE run_id = $RUN AND paced)")" 2 'both took part in them'
keeps_to "$RUN" 40 "'alpha.example'" alpha
keeps_to "$RUN" 20 "'beta.example','beta-two.example'" beta
took=$(one "extract(epoch FROM max(at) - min(at))::numeric(9, 2) FROM test.truth WHERE run = $RUN AND address LIKE '%@alpha.example'")
tap_ok "480 at 40/s take as long as that takes ($took s)" test "$(one "$took >= 479 / 40.0 - 0.4")" = t

# ---- a rate of the stream over lanes with clocks of their own ---------------------------------------

sql -c "UPDATE kairan.stream SET rate_per_s = 90 WHERE name = 'marketing'"
RUN=$(run_add lanes rate)
tap_ok 'with a rate of the stream the run finishes' run_wait "$RUN" finished 120
run_check "$RUN" 'exactly once'
keeps_to "$RUN" 90 'split_part(address, $$@$$, 2)' 'all together'
keeps_to "$RUN" 40 "'alpha.example'" alpha
keeps_to "$RUN" 20 "'beta.example','beta-two.example'" beta
# together: when half of all is through, so is about half of each lane
spread=$(sql -c "SELECT max(abs(part - 0.5))::numeric(5, 3) FROM (SELECT (count(*) FILTER (WHERE t <= all_n / 2))::float8 / count(*) AS part
	FROM (SELECT s.lane, row_number() OVER (ORDER BY h.at) AS t, count(*) OVER () AS all_n FROM test.truth h
		JOIN kairan.send s ON s.run_id = h.run AND s.id = h.send WHERE h.run = $RUN) AS x
	WHERE lane IN (SELECT lane FROM kairan.run_lane WHERE run_id = $RUN AND recipients >= 240) GROUP BY lane) AS y")
tap_ok "lanes go side by side (half-way they differ by $spread)" test "$(one "$spread < 0.1")" = t
calls=$(redis-cli -s "$D/redis.sock" INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\),.*/\1/p')
tap_note "calls of reserve.lua so far: $calls for $(taken) messages"
sql -c "UPDATE kairan.stream SET rate_per_s = NULL WHERE name = 'marketing'"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"

# ---- the hour guard ---------------------------------------------------------------------------------

# With a lead of 55 minutes the strict group is closed all the time, with none it is open now.
closed=(KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GUARD_LEAD_S=3300)
open=(KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GUARD_LEAD_S=0)
customers_add 60 gamma.example
customers_add 5 gamma.example soft
sql -c "UPDATE kairan.campaign SET segment = 'c.email ~ ''@(gamma|d[0-9]+)\.''' WHERE name = 'lanes'"
producer_start "${closed[@]}"
RUN=$(run_add lanes guard)
tap_ok 'while a provider is closed the others get theirs' wait_for 30 "sent = 600 FROM kairan.campaign_progress WHERE run_id = $RUN"
sleep 2
truth_load
tap_is "$(one "count(*) FROM test.truth WHERE run = $RUN AND address LIKE '%@gamma.example'")" 0 'it gets nothing'
env "${closed[@]}" "$KAIRAN" campaign status lanes >"$D/out"
tap_like "$(cat "$D/out")" 'waits +gamma for ever .pace.guard_lead_s leaves no minute open' 'the status says what waits, and why'
# closed from 15 minutes past until 7 past the next hour, without a rate from 12 until 10
tap_like "$(KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GUARD_LEAD_S=2400 "$KAIRAN" campaign status lanes)" \
	'waits +gamma until [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{5} UTC' 'and until when'
# arguments: settings; prints when gamma opens, in seconds since 1970
gamma_opens()
{
	env KAIRAN_PACE_HOUR_GUARD=strict KAIRAN_PACE_GUARD_LEAD_S=2400 "$@" "$KAIRAN" campaign status lanes --json |
		"$PYTHON" -c 'import datetime, json, sys
print(int(datetime.datetime.strptime(json.load(sys.stdin)["waits"][0]["opens"], "%Y-%m-%d %H:%M UTC").replace(tzinfo=datetime.timezone.utc).timestamp()))'
}
ramp=$(gamma_opens KAIRAN_PACE_GROUP_LIMITS=yes)
tap_ok "with a rate that is in the ramp ($ramp)" test $((ramp % 1800)) -ge 360 -a $((ramp % 1800)) -le 480
flat=$(gamma_opens KAIRAN_PACE_GROUP_LIMITS=no)
tap_ok "without any behind it, where it really opens ($flat)" test $((flat % 1800)) -ge 540 -a $((flat % 1800)) -le 720
# a Redis whose clock is a day ahead: it decides what leaves when, so it is asked
cat >"$D/ahead.py" <<'PY'
import socket, sys, threading
listen, real = sys.argv[1:]
def serve(client):
    with client, socket.socket(socket.AF_UNIX) as redis:
        redis.connect(real)
        back = redis.makefile("rb")
        while command := client.recv(65536):
            redis.sendall(command)
            if b"\r\nTIME\r\n" not in command.upper():
                client.sendall(redis.recv(1 << 20))
                continue
            reply = [back.readline() for _ in range(5)]
            seconds = str(int(reply[2]) + 86400).encode()
            reply[1:3] = [b"$%d\r\n" % len(seconds), seconds + b"\r\n"]
            client.sendall(b"".join(reply))
server = socket.socket(socket.AF_UNIX)
server.bind(listen)
server.listen()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
PY
service_spawn ahead "$D/ahead.log" "$PYTHON" "$D/ahead.py" "$D/ahead.sock" "$D/redis.sock" 2>/dev/null
AHEAD=$SERVICE_PID
services_wait 10 redis-cli -s "$D/ahead.sock" ping >"$D/out" || tap_bail 'the proxy does not answer'
ahead=$(gamma_opens KAIRAN_PACE_GROUP_LIMITS=no KAIRAN_REDIS_URL="unix://$D/ahead.sock")
tap_ok "the clock of Redis is asked ($((ahead - flat)) s)" test $((ahead - flat)) -ge 86220 -a $((ahead - flat)) -le 86580
tap_is "$("$KAIRAN" pace show --json | jq '[.calendars[] | select(.for_s > 0)] | length > 0')" true 'calendars are in force'
tap_is "$(KAIRAN_REDIS_URL="unix://$D/ahead.sock" "$KAIRAN" pace show --json | jq '[.calendars[] | select(.for_s > 0)] | length')" 0 \
	'not a day later by its clock'
service_stop "$AHEAD" || true
tap_is "$(env "${closed[@]}" "$KAIRAN" campaign status lanes --json | "$PYTHON" -c 'import json, sys; print([w["provider"] for w in json.load(sys.stdin)["waits"]])')" \
	"['gamma']" 'also for programs'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
service_stop "$ONE" || tap_note "the dispatcher ended with $?"
service_stop "$TWO" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_DISPATCHER_RETRY_LADDER=4s
producer_start "${open[@]}"
tap_ok 'it gets its own when it opens' wait_for 30 "sent = 660 AND deferred = 5 FROM kairan.campaign_progress WHERE run_id = $RUN"
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${closed[@]}"
sleep 7
tap_is "$(one "sent || ' ' || deferred FROM kairan.campaign_progress WHERE run_id = $RUN")" '660 5' 'retries that are due wait for it, too'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${open[@]}"
tap_ok 'and go out when it opens' run_wait "$RUN" finished 180
run_check "$RUN" 'exactly once'

# ---- ids in the wrong list ------------------------------------------------------------------------------

service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${closed[@]}"
RUN=$(run_add lanes wrong)
tap_ok 'a run with a closed provider is under way' wait_for 30 "sent = 600 FROM kairan.campaign_progress WHERE run_id = $RUN"
one "id FROM kairan.send WHERE run_id = $RUN AND address LIKE '%gamma%'" | xargs redis-cli -s "$D/redis.sock" RPUSH "{r:$RUN}:q:all" >"$D/redis.out"
sleep 3
truth_load
tap_is "$(one "count(*) FROM test.truth WHERE run = $RUN AND address LIKE '%@gamma.example'")" 0 'ids in a list without a guard do not get round it'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${open[@]}"
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/redis.out"
tap_ok 'after a loss of Redis all lists are filled again' run_wait "$RUN" finished 180
run_check "$RUN" 'exactly once'

# ---- a calendar of a producer that nobody knows -----------------------------------------------------------

service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${open[@]}" KAIRAN_PACE_TAKEOVER_S=6
redis-cli -s "$D/redis.sock" HSET '{p:kairan}:pace' '#' 999999 >"$D/redis.out"
start=$SECONDS
RUN=$(run_add lanes foreign)
tap_ok 'a foreign calendar holds mail up for a while' run_wait "$RUN" finished 100
tap_ok "not shorter than pace.takeover_s ($((SECONDS - start)) s)" test $((SECONDS - start)) -ge 5
tap_ok 'and is noticed' grep -q 'a producer that our database does not know' "$D/producer.log"

programs_stopped 'all programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
