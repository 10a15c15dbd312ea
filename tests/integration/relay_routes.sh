#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Routes of provider groups: carriers by one dispatcher and relay, the rest by another one; what is in the list of
# the other, and a route that nobody serves. TAP, run by prove.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
printf 'group\t%s\t10\t100\t%s\toff\tUTC\ttest 2026-11 guess\n' alpha 900/s beta 900/s gamma 900/s >"$D/providers.tsv"
printf 'domain\t%s.example\t%s\ttest 2026-11 guess\n' alpha alpha beta beta gamma gamma >>"$D/providers.tsv"
export KAIRAN_DISPATCHER_RETRY_LADDER=1s KAIRAN_PACE_PROVIDERS=$D/providers.tsv KAIRAN_PACE_ROUTES='alpha=carriers, beta = carriers'
OTHER=$(services_free_port)
service_spawn 'other relay' "$D/relay.log" "$PYTHON" tests/support/fake_relay.py --log "$TRUTH" --control "$D/control.other" \
	--name own "$OTHER" 2>/dev/null
other_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$OTHER") 2>/dev/null
}
services_wait 10 other_answers || tap_bail 'the other relay does not answer'
CARRIERS=(KAIRAN_DISPATCHER_ROUTE=carriers "KAIRAN_RELAY_HOST=127.0.0.1:$OTHER")
list_is_empty()
{
	[ "$(redis-cli -s "$D/redis.sock" LLEN "{r:$RUN}:q:all")" = 0 ]
}
# arguments: run; stdout: how many of which domain were taken by which relay
who()
{
	one "string_agg(t, ', ' ORDER BY t) FROM (SELECT split_part(j -> 'to' ->> 0, '@', 2) || ' ' || (j ->> 'relay') || ' ' || count(*) AS t
		FROM test.line WHERE (j ->> 'run')::int = $1 GROUP BY split_part(j -> 'to' ->> 0, '@', 2), j ->> 'relay') AS x"
}

for pair in alpha=lost,x=y nobody=carriers 'alpha=carriers, alpha=other' alpha 'alpha=no good' 'alpha=carriers:0+other:1'; do
	status=0
	KAIRAN_PACE_ROUTES=$pair "$BIN/kairan" pace show >"$D/out" 2>&1 || status=$?
	tap_is "$status $(grep -o 'pace.routes:' "$D/out")" '2 pace.routes:' "pace.routes = $pair is refused"
done

customers_add 60 alpha.example
customers_add 30 beta.example
customers_add 10 beta.example soft
customers_add 30 gamma.example
customers_add 70 rest.example
customers_add 50 soft.example soft
campaign_add routed
producer_start
dispatcher_start rest
REST=$DISPATCHER
RUN=$(run_add routed alone)
tap_ok 'without a dispatcher of the route its recipients wait' wait_for 60 "count(*) FILTER (WHERE state = 'sent') = 150 FROM kairan.send WHERE run_id = $RUN"
# ids of theirs in the list of all: whoever pops them does not claim them
ids=$(one "string_agg(id::text, ' ') FROM kairan.send WHERE run_id = $RUN AND state = 'queued'")
# shellcheck disable=SC2086 # ids
redis-cli -s "$D/redis.sock" RPUSH "{r:$RUN}:q:all" $ids >"$D/out"
tap_ok '  ... whatever stands in the list of the others' services_wait 20 list_is_empty
tap_is "$(run_states "$RUN")" 'queued 100, sent 150' '  ... nobody of them is claimed'
"$BIN/kairan" status >"$D/status" 2>&1
tap_like "$(cat "$D/status")" 'absent.* for route carriers' '  ... and status says so'
# stdout: what the doctor says of routes
routes()
{
	{ KAIRAN_PACE_ROUTES=$KAIRAN_PACE_ROUTES,gamma=later "$BIN/kairan" doctor example.org --probe no --dns 127.0.0.1:1 --json 2>"$D/err" || true; } |
		jq -r '.checks[] | select(.check == "route") | .verdict + " " + .subject + (.found | match(", and [0-9]* running.*").string // "")' | paste -sd';'
}
tap_is "$(routes)" 'failed carriers, and 1 running run with mail for it waits;warning later' \
	'  ... the doctor, too, and what the next run would wait for'
tap_is "$(one "string_agg(name || ' ' || route || paced, ', ' ORDER BY name) FROM kairan.run_lane WHERE run_id = $RUN AND route <> ''")" \
	'alpha carrierstrue, beta carrierstrue' '  ... their lanes have the route and a list'
dispatcher_start carriers "${CARRIERS[@]}"
ROUTED=$DISPATCHER
tap_ok 'with one the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" '  ... exactly once'
tap_is "$(who "$RUN")" 'alpha.example own 60, beta.example own 40, gamma.example fake 30, rest.example fake 70, soft.example fake 50' \
	'  ... each group by its own relay'
"$BIN/kairan" status >"$D/status" 2>&1
tap_is "$(routes)" 'ok carriers;warning later' '  ... the doctor finds it served'
tap_like "$(cat "$D/status")" 'carriers \([0-9]+\) on .*, route carriers, heard' '  ... status names the route of a dispatcher'

# the dispatcher of the rest is killed half-way, then that of the carriers
RUN=$(run_add routed killed)
wait_for 60 "count(*) > 20 FROM kairan.send WHERE run_id = $RUN AND state = 'sent'" || tap_note 'too little is sent'
service_stop "$REST" KILL || true
service_stop "$ROUTED" KILL || true
dispatcher_start rest
REST=$DISPATCHER
dispatcher_start carriers "${CARRIERS[@]}"
ROUTED=$DISPATCHER
tap_ok 'both killed half-way: the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" '  ... exactly once'
tap_is "$(who "$RUN" | grep -cE '(alpha|beta)\.example fake|(gamma|rest|soft)\.example own')" 0 '  ... each by its own relay'
programs_stopped 'all end well' "$REST" "$ROUTED" "$PRODUCER"

# a group that leaves by two routes
export KAIRAN_PACE_ROUTES='alpha=carriers:3+*:1, beta=carriers'
"$BIN/kairan" campaign plan routed --json >"$D/plan" 2>"$D/out" || cat "$D/out"
producer_start
dispatcher_start rest
REST=$DISPATCHER
dispatcher_start carriers "${CARRIERS[@]}"
ROUTED=$DISPATCHER
RUN=$(run_add routed divided)
tap_ok 'a group with two routes: the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" '  ... exactly once'
tap_is "$(one "string_agg(name || ' ' || recipients || ' ' || route || paced, ', ' ORDER BY name) FROM kairan.run_lane WHERE run_id = $RUN AND provider = 'alpha'")" \
	"alpha $(one "count(*) FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@alpha.example' AND owner = (SELECT max(id) FROM kairan.dispatcher WHERE name = 'rest')") true, alpha carriers $(one "count(*) FROM kairan.send
		WHERE run_id = $RUN AND address LIKE '%@alpha.example' AND owner = (SELECT max(id) FROM kairan.dispatcher WHERE name = 'carriers')") carrierstrue" \
	'  ... it has two lanes, each sent by its dispatchers'
tap_is "$(one "bool_and((j ->> 'relay' = 'own') = (l.route = 'carriers')) FROM test.line JOIN kairan.send s ON s.run_id = $RUN AND s.address = j -> 'to' ->> 0
	JOIN kairan.run_lane l ON l.run_id = s.run_id AND l.lane = s.lane WHERE (j ->> 'run')::int = $RUN")" t '  ... by its relay'
parts=$(one "count(*) FILTER (WHERE l.route <> '') BETWEEN 32 AND 57 FROM kairan.send s JOIN kairan.run_lane l ON l.run_id = s.run_id AND l.lane = s.lane
	WHERE s.run_id = $RUN AND l.provider = 'alpha'")
tap_is "$parts" t '  ... about three of four by the heavier one'
carried=$(one "count(*) FROM kairan.send s JOIN kairan.run_lane l ON l.run_id = s.run_id AND l.lane = s.lane WHERE s.run_id = $RUN AND l.route = 'carriers'")
tap_is "$(jq -c '[.routes[] | [.route, .recipients]]' "$D/plan")" "[[\"carriers\",$carried],[\"\",$((250 - carried))]]" \
	'  ... as campaign plan had said'
SECOND=$(run_add routed again)
tap_ok 'another run of it finishes' run_wait "$SECOND" finished 60
tap_is "$(one "count(*) FROM kairan.send a JOIN kairan.run_lane x ON x.run_id = a.run_id AND x.lane = a.lane JOIN kairan.send b ON b.run_id = $SECOND
	AND b.address = a.address JOIN kairan.run_lane y ON y.run_id = b.run_id AND y.lane = b.lane WHERE a.run_id = $RUN AND x.route <> y.route")" 0 \
	'  ... and everybody has the route that he had'
programs_stopped 'all end well' "$REST" "$ROUTED" "$PRODUCER"
KAIRAN_PACE_ROUTES='alpha=carriers:3+gone:1, beta=carriers'
producer_start
dispatcher_start rest
REST=$DISPATCHER
dispatcher_start carriers "${CARRIERS[@]}"
ROUTED=$DISPATCHER
RUN=$(run_add routed halved)
tap_ok 'of a group with a route that nobody serves the others are sent' wait_for 60 "count(*) = 250 AND count(*) FILTER (WHERE state <> 'sent') =
	(SELECT recipients FROM kairan.run_lane WHERE run_id = $RUN AND route = 'gone') FROM kairan.send WHERE run_id = $RUN"
"$BIN/kairan" status >"$D/status" 2>&1
tap_like "$(cat "$D/status")" 'absent.* for route gone' '  ... status names that route'
tap_like "$(cat "$D/status")" 'by route +carriers [0-9]+, gone [0-9]+, all others 150' '  ... and says how many leave by which'
one "kairan.run_move($RUN, '{running}', 'cancelled')" >"$D/out"
programs_stopped 'all end well' "$REST" "$ROUTED" "$PRODUCER"
KAIRAN_PACE_ROUTES='alpha=carriers, beta = carriers'

# a limit of the route, which its groups share
producer_start KAIRAN_PACE_ROUTE_RATES=carriers=20/s
dispatcher_start rest
REST=$DISPATCHER
dispatcher_start carriers "${CARRIERS[@]}"
ROUTED=$DISPATCHER
RUN=$(run_add routed limited)
tap_ok 'with a limit of the route the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" '  ... exactly once'
took=$(one "extract(epoch FROM max(at) - min(at))::numeric(9, 2) FROM test.truth WHERE run = $RUN AND address ~ '@(alpha|beta)[.]'")
tap_ok "  ... 100 at 20/s take as long as that takes ($took s)" test "$(one "$took >= 99 / 20.0 - 0.4")" = t
programs_stopped 'all end well' "$REST" "$ROUTED" "$PRODUCER"
tap_done
