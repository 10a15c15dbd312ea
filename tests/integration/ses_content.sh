#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Campaigns that a FAKE Amazon SES (tests/support/ses_fake.py) puts together itself: Simple of
# SendEmail, templates of SendBulkEmail; an account in the sandbox. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/ses.sh
. tests/support/ses.sh

pipeline_start
ses_start
export KAIRAN_SES_CONFIGURATION_SET=marketing KAIRAN_SES_FEEDBACK_ADDRESS=back@example.org
producer_start
content()
{
	sql -c "UPDATE kairan.stream SET ses_content = '$1' WHERE name = 'marketing'"
}

# ---- simple -------------------------------------------------------------------------------

customers_add 20 large.example
sql -c "INSERT INTO kairan.customer (email, name) VALUES ('o''neil+tag@large.example', E'Zo\u00eb \"Q\" \\\\')"
campaign_add good
sql -c "INSERT INTO kairan.template (digest, subject, html, body) VALUES ('h', 'Hi {{name}}',
		'<style>p {color: red }</style><p>{{#if name}}Dear {{name}}{{else}}You{{/if}}, news</p>' || repeat('<p>the same for all</p>', 2500), '')" \
	-c "INSERT INTO kairan.campaign (name, stream_id, template_id, from_address, from_name, reply_to) SELECT 'long', s.id, t.id,
		'news@example.org', E'N\\u00e9ws', 'reply@example.org' FROM kairan.stream s, kairan.template t WHERE s.name = 'marketing' AND t.digest = 'h'"
content simple
dispatcher_start one "${KEYS[@]}" "$LADDER"
RUN=$(run_add good simple)
tap_ok 'a run with simple content finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 21' 'everybody is sent'
run_check "$RUN" 'exactly once'
tap_is "$(one "string_agg(DISTINCT concat_ws(' ', j ->> 'content', j ->> 'configuration_set', j -> 'order' ->> 'FeedbackForwardingEmailAddress',
	j -> 'headers' ->> 'List-Id'), '; ') FROM test.line")" 'simple marketing back@example.org <marketing.example.org>' \
	'with the configuration set, the address for feedback and the header fields'
tap_is "$(one "j ->> 'subject' || '|' || rtrim(j ->> 'text', E'\n') FROM test.line WHERE j -> 'to' ->> 0 LIKE 'o%tag@%'")" \
	$'Hello Zo\u00eb "Q" \\|Dear Zo\u00eb "Q" \\,' 'with subject and text of the recipient'
tap_is "$(one "count(*) FROM kairan.send s JOIN test.line l ON (l.j ->> 'send')::int = s.id WHERE s.run_id = $RUN
	AND s.remote_id = l.j ->> 'ses_id' AND l.j ->> 'envid' = l.j ->> 'kairan_id'")" 21 'the tag carries the token, the id of SES is kept'

# ---- bulk ---------------------------------------------------------------------------------

content bulk
customers_add 180 more.example
ses_set "times = 1"
for kind in reject sandbox bad failed throttle busy paused; do
	customers_add 2 odd.example "$kind"
done
RUN=$(run_add long bulk)
tap_ok 'a run with bulk content finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once'
tap_is "$(one "string_agg(kind || ' ' || state || ' ' || n, ', ' ORDER BY kind) FROM (SELECT CASE WHEN address LIKE '%odd.example'
	THEN rtrim(split_part(address, '@', 1), '12') ELSE 'all' END AS kind, state, count(*) AS n FROM kairan.send WHERE run_id = $RUN
	GROUP BY 1, 2) AS t")" 'all sent 201, bad failed 2, busy sent 2, failed failed 2, paused sent 2, reject failed 2, sandbox failed 2, throttle sent 2' \
	'each has his own answer'
tap_is "$(one "count(DISTINCT j ->> 'call') < 40 FROM test.line WHERE (j ->> 'run')::int = $RUN")" t 'many in a request'
tap_is "$(one "count(DISTINCT regexp_replace(j ->> 'html', 'Dear [^<]*', '')) FROM test.line WHERE (j ->> 'run')::int = $RUN")" 1 \
	'the fixed part is the same for all'
tap_is "$(one "j ->> 'subject' || '|' || substring(j ->> 'html' FROM '<p>Dear [^<]*') || '|' || (j ->> 'from') || '|' || (j ->> 'reply_to')
	FROM test.line WHERE (j ->> 'run')::int = $RUN AND j -> 'to' ->> 0 LIKE 'o%tag@%'")" \
	$'Hi Zo\u00eb "Q" \\|<p>Dear Zo\u00eb &quot;Q&quot; \\, news|=?UTF-8?B?TsOpd3M=?= <news@example.org>|["reply@example.org"]' \
	'the values are escaped by us'
tap_is "$(grep -c 'odd.example\|more.example' "$D/dispatcher.log" || true)" 0 'no address is in the log'
note_calls()
{
	tap_note "requests: $(one "count(DISTINCT j ->> 'call') FROM test.line WHERE (j ->> 'run')::int = $RUN")"
}
note_calls

# what one does to all of a request
ses_set 'drop = kept'
sql -c "DELETE FROM kairan.customer WHERE email NOT LIKE 'ok%'" \
	-c "INSERT INTO kairan.customer (email, name) SELECT w || '1@odd.example', 'N' FROM unnest('{drop,short,syntax}'::text[]) AS w"
RUN=$(run_add long doubt)
tap_ok 'F34: a run with requests that are lost, cut or refused finishes' run_wait "$RUN" finished 40
run_check "$RUN" 'nobody twice'
tap_is "$(one "string_agg(DISTINCT s.state::text, ' ') FROM kairan.send s WHERE s.run_id = $RUN AND s.id IN (SELECT (l.j ->> 'send')::int
	FROM test.line l JOIN test.line o ON o.j ->> 'call' = l.j ->> 'call' AND o.j -> 'to' ->> 0 ~ '^(drop|short)')")" in_doubt \
	'all of a lost request are in doubt, and of an answer that is not whole'
tap_is "$(one "string_agg(DISTINCT s.state::text, ' ') FROM kairan.send s WHERE s.run_id = $RUN AND s.id NOT IN (SELECT (l.j ->> 'send')::int
	FROM test.line l JOIN test.line o ON o.j ->> 'call' = l.j ->> 'call' AND o.j -> 'to' ->> 0 ~ '^(drop|short)')
	AND s.address NOT LIKE 'syntax%'")" sent 'the others are sent'
tap_is "$(one "concat_ws(' ', state, class, reason, reply) FROM kairan.send WHERE run_id = $RUN AND address LIKE 'syntax%'")" \
	"failed message bad_address BadRequestException: Missing final '@domain'" 'who made a whole request fail fails by himself'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

# ---- killed between two marks of one request ------------------------------------------------

sql -c "DELETE FROM kairan.customer WHERE email NOT LIKE '%more.example'"
RUN=$(run_add long killed)
ended()
{
	! kill -0 "$DISPATCHER" 2>/dev/null
}
if grep -q KAIRAN_CRASH_POINT "$BIN/kairan-dispatcher"; then
	dispatcher_start one "${KEYS[@]}" "$LADDER" KAIRAN_CRASH_POINT=after_mark:7
	services_wait 20 ended || tap_note 'it was not killed'
	tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sent'")" 0 'F2: killed before the first request left'
	dispatcher_start one "${KEYS[@]}" "$LADDER"
	tap_ok 'the next life finishes the run' run_wait "$RUN" finished 60
	tap_is "$(run_states "$RUN")" 'sent 173, in_doubt 7' 'those with a mark are in doubt, the others are sent'
	run_check "$RUN" 'nobody twice'
else
	tap_note "$BIN has no crash points"
	dispatcher_start one "${KEYS[@]}" "$LADDER"
	run_wait "$RUN" finished 60 || true
fi
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

# ---- the rate counts recipients -------------------------------------------------------------

ses_set 'rate = 100' 'max_rate = 100'
: >"$D/dispatcher.log"
dispatcher_start one "${KEYS[@]}" "$LADDER"
RUN=$(run_add long pace)
tap_ok 'a run at the rate of the account finishes' run_wait "$RUN" finished 40
tap_is "$(grep -c 'ses unwell' "$D/dispatcher.log" || true)" 0 'no refusal for rate'
truth_load
tap_is "$(one "extract(epoch FROM max((j ->> 'at')::float8 * interval '1 s') - min((j ->> 'at')::float8 * interval '1 s')) > 0.9 FROM test.line WHERE (j ->> 'run')::int = $RUN")" t \
	'180 at 90 a second take longer than a second'
note_calls
ses_set

# ---- what cannot be said ----------------------------------------------------------------------

sql -c "UPDATE kairan.template SET html = '<p>{{name}}}</p>' WHERE digest = 'h'"
RUN=$(run_add long refused)
tap_ok 'a template that SES would read otherwise pauses the run' run_wait "$RUN" paused 20
tap_is "$(one "reason FROM kairan.run WHERE id = $RUN")" \
	'ses_content = bulk of the stream "marketing" cannot carry this campaign: text: } right behind a field: a template of SES would take it for a part of a tag; put a blank between, or write it otherwise; with ses_content = raw it can' 'the reason is told'
printf '[campaign]\nname = said\nstream = marketing\nsubject = S\nfrom = news@example.org\ntext = said.txt\nsegment = true\n' >"$D/said.campaign"
printf 'Dear {{name}}}\n' >"$D/said.txt"
status=0
"$BIN/kairan" campaign create "$D/said.campaign" 2>"$D/err" || status=$?
UNFIT='ses_content = bulk of the stream "marketing" cannot carry this campaign:'
tap_is "$status $(grep -o 'ses_content = bulk.*a field:' "$D/err")" "2 $UNFIT text: } right behind a field:" 'nor is such a campaign created'
status=0
"$BIN/kairan" campaign lint "$D/said.campaign" >"$D/out" 2>&1 || status=$?
tap_is "$status $(grep -o 'ses_content = bulk.*a field:\|\[ses-content\]\|\[no-postal-address\]' "$D/out" | paste -sd' ')" \
	"1 [no-postal-address] $UNFIT text: } right behind a field: [ses-content]" 'lint says so beside what else there is'
for command in start 'schedule --at 2099-01-01T00:00Z'; do
	status=0
	# shellcheck disable=SC2086 # a command with its options
	"$BIN/kairan" campaign $command long >"$D/out" 2>"$D/err" || status=$?
	tap_is "$status $(grep -o 'ses_content = bulk.*campaign:' "$D/err")" "2 $UNFIT" "nor does campaign ${command%% *} take it"
done
tap_is "$(one "count(*) || ' ' || (SELECT count(*) FROM kairan.campaign WHERE start_at IS NOT NULL)
	FROM kairan.run WHERE state NOT IN ('finished', 'paused')")" '0 0' 'so nothing was begun'
status=0
"$BIN/kairan" campaign start long --run-key refused >"$D/out" 2>"$D/err" || status=$?
tap_is "$status" 6 'a run that is there is told of as ever'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

# ---- the sandbox --------------------------------------------------------------------------------

content raw
ses_set 'sandbox = 1' 'max_rate = 1' 'rate = 1' 'quota = 5000' 'identities = ok1@MORE.example verified.example pending.example? other.example'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${KEYS[@]}"
tap_ok 'the producer finds that the account is in the sandbox' wait_for 40 'count(*) = 1 FROM kairan.ses_sandbox'
tap_is "$(one "region || ' ' || identities::text FROM kairan.ses_sandbox")" \
	'ap-northeast-1 {ok1@more.example,other.example,verified.example}' 'and who is verified there'
sql -c "DELETE FROM kairan.customer WHERE email NOT IN ('ok1@more.example', 'ok2@more.example', 'ok3@more.example')" \
	-c "INSERT INTO kairan.customer (email, name) SELECT e, 'N' FROM unnest('{a@mail.verified.example,b@pending.example,c@more.example,
		success+x@simulator.amazonses.com}'::text[]) AS e" \
	-c "INSERT INTO kairan.suppression (address_key, reason) VALUES ('ok3@more.example', 'manual')"
tap_is "$("$BIN/kairan" campaign plan good --json | "$PYTHON" -c 'import json, sys
print(json.load(sys.stdin)["excluded"])')" "{'suppressed': 1, 'unverified_sandbox': 3}" 'campaign plan says who would be left out'
RUN=$(run_add good sandbox)
dispatcher_start one "${KEYS[@]}" "$LADDER"
tap_ok 'a run from the sandbox finishes' run_wait "$RUN" finished 40
tap_is "$(one "string_agg(address || ' ' || state, ', ' ORDER BY address) FROM kairan.send WHERE run_id = $RUN")" \
	'a@mail.verified.example sent, ok1@more.example sent, success+x@simulator.amazonses.com sent' 'verified recipients and the simulator get it'
tap_is "$(one "string_agg(rule || ' ' || address_key, ', ' ORDER BY rule, address_key) FROM kairan.exclusion WHERE run_id = $RUN")" \
	'suppressed ok3@more.example, unverified_sandbox b@pending.example, unverified_sandbox c@more.example, unverified_sandbox ok2@more.example' \
	'all others are left out, with the reason'
tap_is "$(one "string_agg(what || ' ' || detail, '; ') FROM kairan.why('ok2@more.example') WHERE run_key = 'sandbox'")" \
	'left out unverified_sandbox: neither address nor domain is verified at Amazon SES in ap-northeast-1' 'which why() tells'
tap_is "$(grep -c 'ses unwell' "$D/dispatcher.log" || true)" 0 'one a second is kept'
ses_set
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start "${KEYS[@]}"
tap_ok 'out of the sandbox the row goes' wait_for 40 'count(*) = 0 FROM kairan.ses_sandbox'

tap_done
