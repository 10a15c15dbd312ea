#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Rates and what follows from them: counts by domain against a count by hand, the breaker of a
# run and of a stream, the canary, ambiguous domains, undoing false bounces, forgetting a person. TAP, run by
# prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
KAIRAN=$BIN/kairan

# arguments: run, kind, how many, class, reason; what feedback would put in, for those not heard of yet
heard()
{
	one "kairan.ingest(array_agg('dsn'::text), array_agg('$2'::text), array_agg('$2' || run_id || '-' || id), array_agg(now()),
		array_agg(run_id), array_agg(id), array_agg(attempt::int), array_agg(address), array_agg('$4'::text), array_agg('$5'::text),
		array_agg(550), array_agg('5.1.1'::text), array_agg('no such user'::text), array_agg('mx.example'::text), array_agg(NULL::text))
		FROM (SELECT * FROM kairan.send WHERE run_id = $1 AND state = 'sent' AND bounced_at IS NULL AND complained_at IS NULL
		ORDER BY id LIMIT $3) AS s" >"$D/out"
}

# the views against a count of the rows
# arguments: NAME
counts_agree()
{
	tap_is "$(one "string_agg(format('%s: %s', domain, d), '; ') FROM (
		SELECT domain, v.a || ' ' || v.s || ' ' || v.h || ' ' || v.o || ' ' || v.c || ', by hand ' || r.a || ' ' || r.s || ' ' || r.h || ' ' || r.o || ' ' || r.c AS d
		FROM (SELECT domain, sum(attempted) AS a, sum(sent) AS s, sum(hard) AS h, sum(other_failures) AS o, sum(complained) AS c
			FROM kairan.bounce_rate GROUP BY 1) AS v
		FULL JOIN (SELECT split_part(address_key, '@', 2) AS domain, count(*) FILTER (WHERE state IN ('sent', 'failed')) AS a,
			count(*) FILTER (WHERE state = 'sent') AS s,
			count(*) FILTER (WHERE class = 'hard' AND (bounced_at IS NOT NULL OR state = 'failed')) AS h,
			count(*) FILTER (WHERE class <> 'hard' AND (bounced_at IS NOT NULL OR state = 'failed')) AS o,
			count(complained_at) AS c FROM kairan.send GROUP BY 1) AS r USING (domain)
		WHERE (v.a, v.s, v.h, v.o, v.c) IS DISTINCT FROM (r.a, r.s, r.h, r.o, r.c)) AS t")" '' "$1"
	tap_is "$(one "(SELECT sum(hard) FROM kairan.tally) = (SELECT sum(hard) FROM kairan.tally_domain)")" t "$1: of tally, too"
}

# ---- a healthy run -------------------------------------------------------------------------

customers_add 600 large.example
customers_add 12 dead.example hard
customers_add 3 strict.example perm554
campaign_add healthy
RUN=$(run_add healthy a)
producer_start
dispatcher_start one
tap_ok 'a run with 2 % dead addresses is not stopped' run_wait "$RUN" finished 30
counts_agree 'bounce_rate counts what the session said'
heard "$RUN" bounced 5 hard user_unknown
heard "$RUN" bounced 4 soft mailbox_full
heard "$RUN" complained 1 '' abuse
heard "$RUN" bounced 4 soft mailbox_full
counts_agree 'and what came back, each once'
tap_is "$(one "judgement FROM kairan.reputation WHERE stream = 'marketing'")" fine 'one complaint of 600 is no verdict'
tap_is "$(one "kairan.at_least_per_cent(1, 5) < 5 AND kairan.at_least_per_cent(1000, 10000) > 9")" t 'little is certain of five mails, much of ten thousand'
tap_is "$(one "count(*) FROM kairan.bounce_rate WHERE provider = 'other' AND domain = 'dead.example' AND hard_per_cent = 100")" 1 \
	'by provider and domain'

# ---- the breaker ---------------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer, kairan.suppression'
customers_add 500 large.example
customers_add 120 dead.example hard
campaign_add bad
sql -c "UPDATE kairan.stream SET rate_per_s = 200 WHERE name = 'marketing'"
RUN=$(run_add bad a)
tap_ok 'F49: a run with 20 % dead addresses is paused' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" '^breaker: [0-9.]+ % of [0-9]+ recipients of this run are dead addresses \(line 5 %\)' \
	'and says why'
tap_ok 'long before its end' test "$(one "sent FROM kairan.campaign_progress WHERE run_id = $RUN")" -lt 400
tap_is "$(one "count(*) FROM kairan.run_event WHERE run_id = $RUN AND event = 'paused'")" 1 'once'
sql -c "UPDATE kairan.stream SET rate_per_s = 40 WHERE name = 'marketing'" # it must not end before it is looked at
from=$(one "breaker_from FROM kairan.run WHERE id = $RUN")
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t 'somebody resumes it'
# in the minute of the pause it is not judged; afterwards by what follows alone, which may have begun by now and have
# paused it again, with a moment of its own
sleep 2
tap_is "$(one "state = 'running' OR '$from' <= now() FROM kairan.run WHERE id = $RUN")" t 'it is not stopped again for what was'
sql -c "UPDATE kairan.run SET breaker_from = now() - interval '1 hour' WHERE id = $RUN"
tap_ok 'but for what comes' run_wait "$RUN" paused 20
sql -c "UPDATE kairan.stream SET breaker = 'off', rate_per_s = NULL WHERE name = 'marketing'"
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t 'without breaker'
tap_ok 'it goes to its end' run_wait "$RUN" finished 20
run_check "$RUN" 'exactly once'
counts_agree 'the counts agree'

# one large site is bad, the others are not
sql -c 'TRUNCATE kairan.customer, kairan.suppression' -c "UPDATE kairan.stream SET breaker = 'run', rate_per_s = 250 WHERE name = 'marketing'"
customers_add 800 large.example
customers_add 120 bad.example hard # first: inside a lane the order of the customers is kept
customers_add 400 bad.example
# arguments: state; of the recipients at bad.example
of_bad()
{
	one "count(*) FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@bad.example' AND state = '$1'"
}
# every recipient that is not there is sent to
others_done()
{
	[ "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@large.example' AND state = 'sent'")" = 800 ]
}
RUN=$(run_add healthy lane)
tap_ok 'a site with 23 % dead addresses does not stop the others' services_wait 20 others_done
tap_is "$(one "state FROM kairan.run WHERE id = $RUN")" running 'the run goes on'
"$KAIRAN" status >"$D/out"
tap_like "$(cat "$D/out")" 'lane bad.example of healthy lane is paused .*breaker: [0-9.]+ % of [0-9]+ recipients of bad.example in this run are dead' 'but its lane is paused, and status says why'
tap_like "$("$KAIRAN" pace show)" 'paused +bad.example of healthy lane is paused since .* kairan campaign resume healthy --run-key lane --lane bad.example' 'so does pace show, and how to go on'
tap_ok 'long before its end' test "$(of_bad sent)" -lt 300
all_put_off()
{
	[ "$(of_bad queued)" = 0 ] && [ "$(of_bad sending)" = 0 ]
}
tap_ok 'what is left of it is put off' services_wait 10 all_put_off
waiting=$(of_bad deferred)
tap_is "$(timeout 60 "$KAIRAN" campaign start healthy --run-key lane --wait >"$D/out" 2>&1; echo $?)" 3 'who waits for the run is told, instead of waiting for ever'
tap_like "$(cat "$D/out")" 'breaker: .*To go on: kairan campaign resume healthy --lane bad.example' 'and how it goes on'
sql -c "UPDATE kairan.stream SET breaker = 'off', rate_per_s = NULL WHERE name = 'marketing'"
tap_like "$("$KAIRAN" campaign resume healthy --lane bad.example)" "lane bad.example of run lane goes on, $waiting recipients waited" 'somebody resumes the lane'
tap_is "$("$KAIRAN" campaign resume healthy --lane bad.example >"$D/out" 2>&1; echo $?)" 6 'once'
tap_ok 'and the run goes to its end' run_wait "$RUN" finished 20
run_check "$RUN" 'exactly once'
counts_agree 'the counts agree after a lane was paused'
tap_is "$(one "sum(attempted) || ' ' || sum(hard) FROM kairan.lane_count WHERE run_id = $RUN AND name = 'bad.example'")" '520 120' 'those of the lane, too'
tap_is "$(one "deferred || ' ' || queued FROM kairan.campaign_progress WHERE run_id = $RUN")" '0 0' 'and those of the run'
# one bounce of one mail
tap_is "$(one "kairan.breaker_why(s, 'x', 1, 1, 1, 0) IS NULL AND kairan.breaker_why(s, 'x', 49, 49, 49, 0) IS NULL
	AND kairan.breaker_why(s, 'x', 50, 50, 50, 0) IS NOT NULL FROM kairan.stream s WHERE name = 'marketing'")" t 'below 50 mails the breaker says nothing'

# ---- where customers come from -------------------------------------------------------------

# a third each: of a partner's list a third is dead, so 11 % of the run; of a form; of nobody knows where
sql -c 'TRUNCATE kairan.customer, kairan.suppression' -c "UPDATE kairan.stream SET breaker = 'run', rate_per_s = 250 WHERE name = 'marketing'" \
	-c "INSERT INTO kairan.customer (email, attributes) SELECT CASE WHEN i % 9 = 0 THEN 'hard' ELSE 'ok' END || i || '@large.example',
		CASE i % 3 WHEN 0 THEN '{\"source\": \"the partner''s list\"}' WHEN 1 THEN '{\"source\": \" form \"}' ELSE '{}' END::jsonb FROM generate_series(1, 1200) AS i"
campaign_add origins "origin_field='source'"
# arguments: state; of the partner's customers
of_partner()
{
	one "count(*) FROM kairan.send s JOIN kairan.customer c ON c.id = s.recipient_id
		WHERE s.run_id = $RUN AND c.attributes ->> 'source' LIKE 'the partner%' AND s.state = '$1'"
}
all_others_done()
{
	[ "$(one "count(*) FROM kairan.send s JOIN kairan.customer c ON c.id = s.recipient_id
		WHERE s.run_id = $RUN AND coalesce(c.attributes ->> 'source', '') NOT LIKE 'the partner%' AND s.state = 'sent'")" = 800 ]
}
partner_put_off()
{
	[ "$(of_partner queued)" = 0 ] && [ "$(of_partner sending)" = 0 ]
}
RUN=$(run_add origins a)
tap_ok 'a list of which a third is dead does not stop who came by another way' services_wait 30 all_others_done
tap_is "$(one "state FROM kairan.run WHERE id = $RUN")" running 'the run goes on'
tap_ok 'what is left of the list is put off' services_wait 10 partner_put_off
tap_ok 'most of it' test "$(of_partner deferred)" -gt 200
"$KAIRAN" status >"$D/out"
tap_like "$(cat "$D/out")" "origin the partner's list of origins a is paused .*breaker: [0-9.]+ % of [0-9]+ recipients of origin the partner's list in this run are dead addresses .* see the view origin_rate" 'status says why'
tap_like "$("$KAIRAN" pace show)" "paused +origin the partner's list of origins a is paused since .* --origin 'the partner'.''s list'" 'so does pace show, in words for a shell'
tap_is "$(timeout 60 "$KAIRAN" campaign start origins --run-key a --wait >"$D/out" 2>&1; echo $?)" 3 'who waits for the run is told'
tap_like "$(cat "$D/out")" 'breaker: .*To go on: kairan campaign resume origins --origin' 'and how it goes on'
tap_like "$(one "string_agg(what || ': ' || detail, '; ') FROM kairan.why((SELECT address FROM kairan.send WHERE run_id = $RUN AND state = 'deferred' LIMIT 1))")" \
	"planned: recipient [0-9]+, customer [0-9]+, origin the partner's list.*deferred: breaker next try infinity breaker: .* of origin the partner" 'why tells a customer'
waiting=$(of_partner deferred)
sql -c "UPDATE kairan.stream SET breaker = 'off', rate_per_s = NULL WHERE name = 'marketing'"
tap_like "$("$KAIRAN" campaign resume origins --origin "the partner's list")" "origin the partner's list of run a goes on, $waiting recipients waited" 'somebody resumes it'
tap_is "$("$KAIRAN" campaign resume origins --origin "the partner's list" >"$D/out" 2>&1; echo $?)" 6 'once'
tap_ok 'and the run goes to its end' run_wait "$RUN" finished 30
run_check "$RUN" 'exactly once'
heard "$RUN" bounced 20 hard user_unknown
heard "$RUN" bounced 7 soft mailbox_full
heard "$RUN" complained 4 '' abuse
tap_is "$(one "string_agg(format('%s: %s', origin, d), '; ') FROM (
	SELECT origin, v.a || ' ' || v.s || ' ' || v.h || ' ' || v.o || ' ' || v.c || ', by hand ' || r.a || ' ' || r.s || ' ' || r.h || ' ' || r.o || ' ' || r.c AS d
	FROM (SELECT origin, sum(attempted) AS a, sum(sent) AS s, sum(hard) AS h, sum(other_failures) AS o, sum(complained) AS c
		FROM kairan.origin_rate GROUP BY 1) AS v
	FULL JOIN (SELECT coalesce(trim(c.attributes ->> 'source'), 'none') AS origin, count(*) FILTER (WHERE state IN ('sent', 'failed')) AS a,
		count(*) FILTER (WHERE state = 'sent') AS s,
		count(*) FILTER (WHERE class = 'hard' AND (bounced_at IS NOT NULL OR state = 'failed')) AS h,
		count(*) FILTER (WHERE class <> 'hard' AND (bounced_at IS NOT NULL OR state = 'failed')) AS o,
		count(complained_at) AS c FROM kairan.send s JOIN kairan.customer c ON c.id = s.recipient_id WHERE s.run_id = $RUN GROUP BY 1) AS r USING (origin)
	WHERE (v.a, v.s, v.h, v.o, v.c) IS DISTINCT FROM (r.a, r.s, r.h, r.o, r.c)) AS t")" '' 'origin_rate counts as somebody does by hand'
tap_is "$(one "string_agg(name || ' ' || recipients || ' ' || attempted, ', ' ORDER BY name) FROM kairan.origin_count WHERE run_id = $RUN")" \
	"form 400 400, none 400 400, the partner's list 400 400" 'so does origin_count'
tap_is "$(one "origin || ' ' || judgement FROM kairan.origin_reputation ORDER BY bounce_at_least_per_cent DESC LIMIT 1")" "the partner's list stop" 'and the worst is named'
counts_agree 'those by domain, too'
tap_is "$(one "count(origin) || ' ' || (SELECT count(*) FROM kairan.tally_origin WHERE run_id <> $RUN) FROM kairan.send WHERE run_id <> $RUN")" '0 0' 'runs that do not ask have nothing of it'

sql -c 'TRUNCATE kairan.customer, kairan.suppression'
customers_add 800 large.example
sql -c "DELETE FROM kairan.customer WHERE email LIKE '%bad%' OR email LIKE '%dead%'" -c "UPDATE kairan.stream SET breaker = 'stream' WHERE name = 'marketing'"
sql -c 'TRUNCATE kairan.suppression' -c "UPDATE kairan.stream SET rate_per_s = 20 WHERE name = 'marketing'"
RUN=$(run_add healthy b)
tap_ok 'a stream that is over the line pauses its next run' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" 'recipients of the stream in 7 days are dead' 'and says why'
sql -c "UPDATE kairan.stream SET breaker = 'run', rate_per_s = NULL WHERE name = 'marketing'"
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t 'by command'
tap_ok 'it is sent' run_wait "$RUN" finished 20
heard "$RUN" complained 60 '' abuse
tap_is "$(one "judgement FROM kairan.reputation WHERE stream = 'marketing'")" stop 'many complaints are a verdict'

# ---- the canary ----------------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer, kairan.suppression'
customers_add 300 large.example
customers_add 100 small.example
campaign_add careful canary=100 canary_wait_s=600
tap_like "$("$KAIRAN" campaign plan careful)" 'canary +100 recipients first, then 10 minutes of waiting' 'the plan tells of a canary'
tap_is "$("$KAIRAN" campaign plan careful --json | "$PYTHON" -c 'import datetime, json, sys
j = json.load(sys.stdin)
start, others, finish = (datetime.datetime.fromisoformat(t[:-1]) for t in (j["start"], j["canary"]["others_begin"], j["finish_p50"]))
print(600 <= (others - start).total_seconds() < 700, finish >= others, sum(q["messages"] for q in j["chart"]))')" 'True True 400' \
	'its finish contains the wait, its chart everybody'
RUN=$(run_add careful a)
# arguments: phase
canary_is()
{
	wait_for 20 "phase = '$1' FROM kairan.canary WHERE run_id = $RUN"
}
# nobody is sent to but the canary
only_canary()
{
	[ "$(one "count(*) || ' ' || max(id) FROM kairan.send WHERE run_id = $RUN AND state <> 'queued'")" = '100 100' ]
}
timeout 120 "$KAIRAN" campaign start careful --run-key a --wait >"$D/wait.out" 2>&1 &
WAITER=$!
tap_ok 'the canary is sent, then the run waits' canary_is waiting
tap_ok 'nobody else is sent to' only_canary
tap_is "$(one "count(*) BETWEEN 24 AND 26 FROM kairan.send WHERE run_id = $RUN AND id <= 100 AND address LIKE '%@small.example'")" t \
	'its domains are in proportion'
tap_is "$(one "expected_finish - made_at BETWEEN interval '10 min' AND interval '12 min' FROM kairan.run_plan WHERE run_id = $RUN")" t \
	'the producer expects the wait'
until=$(one "waits_until FROM kairan.canary WHERE run_id = $RUN")
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start
rounds=$(one "expires_at FROM kairan.lease WHERE name = 'producer'")
tap_ok 'another producer goes on' wait_for 20 "expires_at > '$rounds'::timestamptz + interval '2 s' FROM kairan.lease WHERE name = 'producer'"
tap_is "$(one "phase || ' ' || waits_until FROM kairan.canary WHERE run_id = $RUN")" "waiting $until" 'with the same wait'
tap_ok 'and sends to nobody else' only_canary
tap_like "$("$KAIRAN" campaign status careful)" 'canary +waits until 20.* UTC for what comes back from the first 100' 'campaign status tells'
"$KAIRAN" status >"$D/out"
tap_like "$(cat "$D/out")" 'canary: waits until' 'status, too'
tap_like "$("$KAIRAN" send why "$(one "address FROM kairan.send WHERE run_id = $RUN AND id = 400")")" 'held back by the canary: waits until' \
	'and why, of one who waits'
redis-cli -s "$D/redis.sock" FLUSHALL >"$D/out"
sql -c "UPDATE kairan.canary SET waits_until = now() WHERE run_id = $RUN"
tap_ok 'it fared well: the others are sent to' run_wait "$RUN" finished 30
tap_is "$(one "concat_ws(' ', phase, tried, sent, hard, complained, not_taken) FROM kairan.canary WHERE run_id = $RUN")" 'passed 100 100 0 0 0' 'with its counts'
run_check "$RUN" 'everybody exactly once'
wait "$WAITER" || tap_note "start --wait ended with $?"
tap_like "$(cat "$D/wait.out")" 'kairan: the canary waits until .*; the others follow if they fared well' 'start --wait said what it waits for'

# some are put off for ever, some complain
customers_add 200 full.example full
sql -c "UPDATE kairan.stream SET breaker = 'off'" -c "UPDATE kairan.campaign SET canary_wait_s = 1 WHERE name = 'careful'"
RUN=$(run_add careful b)
tap_ok 'a canary of which a third is not taken pauses the run' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" \
	'^canary: [0-9.]+ % of 100 recipients were refused, deferred or left in doubt .line 10 %.; see the view top_replies' 'and says why'
tap_ok 'nobody else was sent to' only_canary
tap_is "$(one "count(*) FROM kairan.run_event WHERE run_id = $RUN AND event = 'paused'")" 1 'hooks are called once'
"$KAIRAN" campaign resume careful --run-key b >"$D/out"
tap_ok 'resumed, the others are sent to' wait_for 20 "queued = 0 FROM kairan.campaign_progress WHERE run_id = $RUN"
tap_is "$(one "phase FROM kairan.canary WHERE run_id = $RUN")" failed 'without another judgement'
"$KAIRAN" campaign cancel careful --run-key b >"$D/out"
sql -c "DELETE FROM kairan.customer WHERE email LIKE 'full%'" -c "UPDATE kairan.campaign SET canary_wait_s = 600 WHERE name = 'careful'"
RUN=$(run_add careful c)
canary_is waiting || true
heard "$RUN" complained 10 '' abuse
sql -c "UPDATE kairan.canary SET waits_until = now() WHERE run_id = $RUN"
tap_ok 'complaints about the canary pause the run' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" '^canary: 10.00 % of 100 recipients complained .line 0.1 %.' 'and it says so'
"$KAIRAN" campaign cancel careful --run-key c >"$D/out"

# a command ends it; the breaker may be faster
sql -c 'TRUNCATE kairan.suppression'
RUN=$(run_add careful d)
canary_is waiting || true
tap_like "$("$KAIRAN" campaign resume careful --run-key d --end-canary)" 'run d of careful running without its canary' 'a command lets the others go'
tap_ok 'at once' run_wait "$RUN" finished 20
tap_is "$("$KAIRAN" campaign resume careful --run-key d --end-canary >"$D/out" 2>&1; echo $?)" 6 'once'
customers_add 100 dead.example hard
sql -c "UPDATE kairan.stream SET breaker = 'run'"
RUN=$(run_add careful e)
tap_ok 'a bad canary opens the breaker before its wait is over' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" '^breaker: ' 'which says why'
"$KAIRAN" campaign resume careful --run-key e >"$D/out"
tap_ok 'whoever resumes it then ends the canary' canary_is ended
tap_ok 'and everybody is sent to' run_wait "$RUN" finished 20
sql -c 'TRUNCATE kairan.customer, kairan.suppression' -c "UPDATE kairan.campaign SET canary = 500 WHERE name = 'careful'"
customers_add 20 large.example
RUN=$(run_add careful f)
tap_ok 'a run that is not larger than its canary does not wait' run_wait "$RUN" finished 20

# ---- ambiguous domains ----------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer, kairan.suppression' -c "UPDATE kairan.stream SET breaker = 'off'"
customers_add 3 docomo.ne.jp hard
customers_add 20 large.example
RUN=$(run_add healthy c)
run_wait "$RUN" finished 20 || true
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND class = 'hard'")" 3 'F49: a carrier says that three are unknown'
tap_is "$(one "count(*) FROM kairan.suppression")" 0 'nobody is suppressed for that'
RUN=$(run_add healthy d)
run_wait "$RUN" finished 20 || true
tap_is "$(one "count(*) FROM kairan.suppression")" 0 'nor by the same campaign again'
RUN=$(run_add bad b)
run_wait "$RUN" finished 20 || true
tap_is "$(one "string_agg(address_key, ' ' ORDER BY address_key) FROM kairan.suppression")" \
	'hard1@docomo.ne.jp hard2@docomo.ne.jp hard3@docomo.ne.jp' 'but when another campaign hears it, too'

# ---- undo -----------------------------------------------------------------------------------

export KAIRAN_DATABASE_URL=${SUPER/user=postgres/user=kairan_operator}
sql -c "INSERT INTO kairan.suppression (address_key, reason) VALUES ('ok1@docomo.ne.jp', 'complaint')"
tap_is "$("$KAIRAN" suppress undo --provider docomo --from '2020-01-01 00:00Z' --dry-run --json | "$PYTHON" -c 'import json, sys
j = json.load(sys.stdin); print(j[0]["domain"], j[0]["addresses"])')" 'docomo.ne.jp 3' 'undo shows what it would lift'
tap_is "$(one 'count(*) FROM kairan.suppression')" 4 'and lifts nothing'
tap_is "$("$KAIRAN" suppress undo --provider au --from '2020-01-01 00:00Z' >"$D/out" 2>&1; echo $?)" 6 'of another provider there is nothing: 6'
tap_is "$("$KAIRAN" suppress undo --provider docomo --from now >"$D/out" 2>&1; echo $?)" 6 'nor of another time'
tap_is "$("$KAIRAN" suppress undo --from '2020-01-01 00:00Z' >"$D/out" 2>&1; echo $?)" 2 'somebody has to be named'
for given in '2020-01-01 00:00Z' '2020-01-01 00:00Z,' ',now' 'now,now,now' "now,now --from now" 'now,now --to now'; do
	code=0
	# shellcheck disable=SC2086 # options behind the value
	"$KAIRAN" suppress undo --provider docomo --between "${given%% --*}" ${given#"${given%% --*}"} >"$D/out" 2>&1 || code=$?
	echo "$code $(grep -c -- '--between takes two times' "$D/out" || true)"
done | sort | uniq -c >"$D/undo.codes"
tap_is "$(sed 's/^ *//' "$D/undo.codes")" '6 2 1' '--between needs two times, and stands for --from and --to'
tap_is "$("$KAIRAN" suppress undo --provider docomo --between '2020-01-01 00:00Z,now' --dry-run --json | "$PYTHON" -c 'import json, sys
j = json.load(sys.stdin); print(j[0]["addresses"])')" 3 'which it is'
tap_is "$("$KAIRAN" suppress undo --provider docomo --between '2020-01-01 00:00Z,2020-01-02 00:00Z' >"$D/out" 2>&1; echo $?)" 6 'and ends where it says'
"$KAIRAN" suppress undo --domain docomo.ne.jp --text 'no such' --from '2020-01-01 00:00Z' >"$D/out"
tap_is "$(one "string_agg(address_key || ' ' || reason, ', ') FROM kairan.suppression")" 'ok1@docomo.ne.jp complaint' \
	'undone, but complaints stay'
tap_is "$(one "count(*) FROM kairan.audit WHERE action = 'suppress.undo'")" 1 'with an audit'

# ---- a person's data -------------------------------------------------------------------------

tap_like "$("$KAIRAN" customer export hard1@docomo.ne.jp --json)" '"sent":.*"code":550.*"heard":.*"kind":"bounced".*"customer":.*"name":"Name 1"' 'a person gets everything'
tap_is "$("$KAIRAN" customer erase hard1@docomo.ne.jp >"$D/out" 2>&1; echo $?)" 2 'forgetting needs a yes'
before=$(one "count(*) FROM kairan.send")
"$KAIRAN" customer erase hard1@docomo.ne.jp --yes >"$D/out"
tap_is "$(sql -c "SELECT string_agg(t, ' ') FROM (
		SELECT 'customer' AS t FROM kairan.customer c WHERE c::text LIKE '%hard1@docomo%'
		UNION ALL SELECT 'send' FROM kairan.send s WHERE s::text LIKE '%hard1@docomo%'
		UNION ALL SELECT 'feedback_event' FROM kairan.feedback_event f WHERE f::text LIKE '%hard1@docomo%'
		UNION ALL SELECT 'exclusion' FROM kairan.exclusion e WHERE e::text LIKE '%hard1@docomo%'
		UNION ALL SELECT 'audit' FROM kairan.audit a WHERE a::text LIKE '%hard1@docomo%') AS x")" '' 'the address stands nowhere any more'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key = 'hard1@docomo.ne.jp' AND evidence = ''")" 1 'but in the list of those not to write to'
tap_is "$(one "count(*) FROM kairan.send")" "$before" 'and the counts stay'
tap_is "$(one "count(*) FROM kairan.bounce_rate WHERE domain = 'docomo.ne.jp'") $(one "count(*) FROM kairan.tally_domain WHERE domain LIKE '%erased%'")" \
	"$(one "count(DISTINCT (run_id, hour)) FROM kairan.tally_domain WHERE domain = 'docomo.ne.jp'") 0" 'those by domain, too'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
