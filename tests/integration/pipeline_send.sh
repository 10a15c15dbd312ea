#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Producer and dispatcher on a good day: a mixed run, the same key again, refusals, retries,
# suppression, pause and cancel, the hook. TAP, run by prove.
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
cat >"$D/hook" <<'HOOK'
#!/bin/sh
cat >>"$1"
echo >>"$1"
env | sed 's/=.*//' >>"$1.env"
HOOK
chmod 755 "$D/hook"

# ---- a run over mixed domains -----------------------------------------------------------

customers_add 1500 large.example
customers_add 800 middle.example
customers_add 400 small.example
sql -c "INSERT INTO kairan.customer (email) SELECT 'ok@tail' || i || '.example' FROM generate_series(1, 300) AS i"
campaign_add first "hook_command='$D/hook $D/hooked'"
RUN=$(run_add first a)
producer_start
dispatcher_start one KAIRAN_DISPATCHER_RETRY_LADDER=1s,2s KAIRAN_DISPATCHER_BATCH=64
tap_ok 'a run of 3000 finishes' run_wait "$RUN" finished 30
# the last that its connection for outcomes says of a run
tap_ok 'the statements of a run are forgotten with it' wait_for 10 "count(*) > 0 FROM pg_stat_activity WHERE usename = 'kairan_dispatcher' AND query = 'DEALLOCATE record_$RUN'"
tap_is "$(run_states "$RUN")" 'sent 3000' 'everybody is sent'
run_check "$RUN" 'exactly once, and the counts agree'
tap_is "$(one "count(DISTINCT address) || ' ' || count(DISTINCT message_id) || ' ' || count(DISTINCT envid)
	|| ' ' || count(DISTINCT sender) FROM test.truth")" '3000 3000 3000 3000' \
	'each with an address, a Message-ID, an ENVID and a return path of its own'
tap_is "$(one "count(*) FROM test.truth WHERE envid <> kairan_id OR sender <> 'b+' || kairan_id || '@bounces.example.org'")" 0 \
	'ENVID, X-Kairan-Id and return path carry the same token'
tap_is "$(one "string_agg(domain || ' ' || worst, ', ') FROM (
	SELECT domain, round(max(abs(n - id * total / 3000.0)), 1) AS worst FROM (
		SELECT id, split_part(address, '@', 2) AS domain,
		    count(*) OVER (PARTITION BY split_part(address, '@', 2) ORDER BY id) AS n,
		    count(*) OVER (PARTITION BY split_part(address, '@', 2)) AS total
		FROM kairan.send WHERE run_id = $RUN) AS t
	WHERE total > 100 GROUP BY domain HAVING max(abs(n - id * total / 3000.0)) > 2) AS d")" '' \
	'large domains keep to their line by 2 recipients'
tap_is "$(one "min(n) >= 25 AND max(n) <= 35 AND count(*) = 10 FROM (
	SELECT count(*) AS n FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@tail%' GROUP BY (id - 1) / 300) AS t")" t \
	'domains of one recipient are spread over the run'
tap_is "$(one "bool_and(abs(place - send) < 400) FROM (
	SELECT send, row_number() OVER (ORDER BY at) AS place FROM test.truth WHERE run = $RUN) AS t")" t \
	'and they are sent in that order, by and large'
tap_ok 'the hook is called' wait_for 5 "hooked_at IS NOT NULL FROM kairan.run_event WHERE run_id = $RUN AND event = 'finished'"
sleep 0.3
tap_is "$(wc -l <"$D/hooked") $(sed 's/.*"event": "\([a-z]*\)".*/\1/' "$D/hooked")" '1 finished' \
	'once, with JSON on standard input'
tap_is "$(sort -u "$D/hooked.env" | grep -E '^(KAIRAN_|AWS_|PG|PATH$)' | xargs)" 'KAIRAN_CONFIG PATH' \
	'without what the producer was told of databases and keys'
tap_is "$("$PYTHON" -c 'import json, sys; j = json.load(sys.stdin); print(j["campaign"], j["run_key"], j["planned"], j["sent"])' \
	<"$D/hooked")" 'first a 3000 3000' 'that says what became of the run'

# ---- the order on the wire ---------------------------------------------------------------

# One dispatcher with one connection hands over in the order of planning, although a whole batch is due at once.
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_RELAY_CONNECTIONS=1 KAIRAN_DISPATCHER_BATCH=64
ORDERED=$(run_add first order)
tap_ok 'a run through one connection finishes' run_wait "$ORDERED" finished 30
run_check "$ORDERED" 'exactly once'
tap_is "$(one "count(*) FROM (SELECT send, row_number() OVER (ORDER BY at) AS place FROM test.truth WHERE run = $ORDERED) AS t
	WHERE send <> place")" 0 'everybody leaves in the order of planning'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_DISPATCHER_RETRY_LADDER=1s,2s KAIRAN_DISPATCHER_BATCH=64

# ---- the same key, another key ----------------------------------------------------------

before=$(taken)
tap_is "$(one "is_new || ' ' || run_id || ' ' || run_state FROM kairan.run_make('first', 'a')")" "false $RUN finished" \
	'the same key is the same run'
sleep 0.5
tap_is "$(taken)" "$before" 'nothing is sent again'
sql -c "UPDATE kairan.campaign SET segment = \$\$c.email LIKE '%@small.example'\$\$ WHERE name = 'first'"
RUN=$(run_add first b)
tap_ok 'another key is another run' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 400' 'and is sent'
run_check "$RUN" 'exactly once'

# ---- refused ----------------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 20 large.example
customers_add 5 dead.example hard
customers_add 4 strict.example perm554
sql -c "UPDATE kairan.stream SET breaker = 'off'" # a third of this list is dead on purpose
campaign_add refused
RUN=$(run_add refused a)
tap_ok 'a run with refusals finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 20, failed 9' 'refused ones have failed'
run_check "$RUN" 'the rest is sent once'
tap_is "$(one "string_agg(DISTINCT concat_ws(' ', class, code, enhanced, reason), ', ') FROM kairan.send
	WHERE run_id = $RUN AND address LIKE 'hard%'")" 'hard 550 5.1.1 user_unknown' 'an unknown user is a hard failure'
tap_is "$(one "count(*) || ' ' || min(scope || ' ' || reason || ' ' || source) FROM kairan.suppression
	WHERE address_key LIKE 'hard%' AND evidence LIKE '%5.1.1%no such user%'")" '5 all bounce smtp' \
	'and is suppressed, with the reply as evidence'
tap_is "$(one "string_agg(DISTINCT class, ', ') FROM kairan.send WHERE run_id = $RUN AND address LIKE 'perm%'")" \
	block 'a refusal by policy at the dot is not about the address'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key LIKE 'perm%'")" 0 'and suppresses nobody'
sql -c "DELETE FROM kairan.customer WHERE email LIKE 'perm%'"
RUN=$(run_add refused b)
tap_ok 'the next run finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN") $(one "excluded FROM kairan.run WHERE id = $RUN")" 'sent 20 {"bounced": 5}' \
	'and leaves the dead addresses out'
tap_like "$(one "min(evidence) FROM kairan.exclusion WHERE run_id = $RUN AND rule = 'bounced'")" 'all smtp 20.*5\.1\.1' \
	'with the evidence'
tap_is "$(one "string_agg(what, ' ' ORDER BY what) FROM kairan.why('hard1@dead.example') WHERE what <> 'bounced'")" \
	'failed left out planned suppressed' 'why() tells the story'

# ---- put off ----------------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 30 large.example
customers_add 6 grey.example soft
customers_add 6 grey.example busy
customers_add 3 grey.example shut
customers_add 3 grey.example cut
campaign_add later
RUN=$(run_add later a)
tap_ok 'temporary failures are deferred' wait_for 10 "deferred > 0 FROM kairan.campaign_progress WHERE run_id = $RUN"
tap_is "$(one "state FROM kairan.run WHERE id = $RUN")" running 'the run goes on meanwhile'
tap_is "$(one "bool_and(class IN ('soft', 'block') AND tries = 1 AND not_before > settled_at) FROM kairan.send
	WHERE run_id = $RUN AND state = 'deferred' AND address LIKE 'soft%'")" t 'with class, step and time of the next try'
tap_ok 'and finishes when all are through' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 48' 'everybody is sent'
run_check "$RUN" 'exactly once'
tap_is "$(one "min(extract(epoch FROM at - started_at)) >= 3 FROM test.truth t JOIN kairan.run r ON r.id = t.run
	WHERE t.run = $RUN AND t.address LIKE 'soft%'")" t 'not before 1 s and 2 s more'
tap_is "$(one "string_agg(DISTINCT attempt || ' ' || tries, ', ') FROM kairan.send WHERE run_id = $RUN AND address LIKE 'soft%'")" \
	'3 2' 'by the third attempt'
tap_ok 'no retry is left over' wait_for 5 'count(*) = 0 FROM kairan.retry'

sql -c "DELETE FROM kairan.customer WHERE email NOT LIKE 'ok%'"
customers_add 5 grey.example full
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one KAIRAN_DISPATCHER_RETRY_LADDER=1s KAIRAN_DISPATCHER_EXPIRE_AFTER_S=3
RUN=$(run_add later b)
tap_ok 'a run whose failures do not pass finishes, too' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 30, failed 5' 'those who were put off too long have failed'
tap_is "$(one "string_agg(DISTINCT class || ' ' || code, ', ') FROM kairan.send WHERE run_id = $RUN AND state = 'failed'")" \
	'soft 452' 'softly'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key LIKE 'full%'")" 0 'and are not suppressed'

# ---- suppressed after planning, pause, resume, cancel -----------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 600 large.example
campaign_add paused
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
RUN=$(run_add paused a)
tap_ok 'a run is planned' run_wait "$RUN" running 10
sql -c "INSERT INTO kairan.suppression (address_key, reason, scope, expires_at) VALUES
	('ok7@large.example', 'manual', 'all', NULL), ('ok8@large.example', 'manual', 'list:marketing', NULL),
	('ok9@large.example', 'manual', 'stream:marketing', now() + interval '1 day'),
	('ok10@large.example', 'manual', 'list:other', NULL), ('ok11@large.example', 'manual', 'all', now())"
before=$(taken)
relay_set 'delay_ms = 20'
dispatcher_start one KAIRAN_DISPATCHER_BATCH=64 KAIRAN_RELAY_CONNECTIONS=4
taken_wait $((before + 100)) || tap_note 'nothing is sent'
tap_is "$(one "kairan.run_move($RUN, '{running}', 'paused')")" t 'the run is paused'
sleep 1
at_pause=$(taken)
sleep 1
tap_is "$(taken)" "$at_pause" 'after a second nothing is sent any more'
tap_ok 'it was in the middle' test "$at_pause" -lt $((before + 590))
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" 0 'claims were given back'
run_check "$RUN" 'and the counts agree'
relay_set
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t 'the run is resumed'
tap_ok 'it finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 597, skipped 3' 'everybody is sent but those who were suppressed'
tap_is "$(one "string_agg(address, ' ' ORDER BY recipient_id) FROM kairan.send WHERE run_id = $RUN AND state = 'skipped'
	AND reason = 'suppressed'")" 'ok7@large.example ok8@large.example ok9@large.example' \
	'by scope and expiry of the suppression'
run_check "$RUN" 'exactly once'

before=$(taken)
relay_set 'delay_ms = 20'
RUN=$(run_add paused b)
taken_wait $((before + 50)) || tap_note 'nothing is sent'
tap_is "$(one "kairan.run_move($RUN, '{running}', 'cancelled')")" t 'a run is cancelled'
sql -c "SELECT kairan.send_move_all($RUN, '{queued,deferred}', 'cancelled', 'test')" >"$D/out"
tap_ok 'what dispatchers give back is cancelled by the producer' wait_for 15 "count(*) = 0 FROM kairan.send
	WHERE run_id = $RUN AND state NOT IN ('sent', 'skipped', 'cancelled')"
tap_ok 'before everybody was sent' test "$(one "cancelled FROM kairan.campaign_progress WHERE run_id = $RUN")" -gt 100
run_check "$RUN" 'and the counts agree'
relay_set

# ---- the end ----------------------------------------------------------------------------

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_is "$(grep -c '@large.example' "$D/producer.log" "$D/dispatcher.log" | sed 's/.*://' | xargs)" '0 0' 'no address is in the logs'
tap_is "$(one "count(*) FROM kairan.dispatcher WHERE stopped_at IS NULL")" 0 'every dispatcher said goodbye'
tap_done
