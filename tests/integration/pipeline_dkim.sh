#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The dispatcher signs: every mail verifies with a verifier that is not ours, by both algorithms; order, pace,
# pause, cancel, recheck and the end hold as without. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

[ -x "$BIN/kairan" ] || tap_skip_all "$BIN/kairan is not built"
/usr/bin/python3 -c 'import dkim, nacl' 2>/dev/null || tap_skip_all 'python3-dkim or python3-nacl is not installed'
mail=''
services_dir mail || tap_bail 'no directory'
export FAKE_RELAY_MAIL=$mail
pipeline_start
export KAIRAN_DKIM_DIR=$D/dkim
"$BIN/kairan" dkim new example.org --selector k1 --json >"$D/keys.json"
"$BIN/kairan" dkim use example.org --unchecked >"$D/out"
"$PYTHON" -c 'import json, sys
for key in json.load(sys.stdin)["keys"]: print(key["name"], key["record"])' <"$D/keys.json" >"$D/records"

# arguments: signatures, run, N (default 1); every Nth mail of the run so far
verify()
{
	find "$mail" -name "*-$2-*.eml" | sort | sed -n "1~${3:-1}p" | xargs -d '\n' "$PYTHON" tests/support/dkim_verify.py "$D/records" "$1"
}

# ---- everybody, in order ----------------------------------------------------------------

customers_add 300 large.example
customers_add 100 small.example
sql -c "UPDATE kairan.customer SET name = '太郎 👍 ' || id WHERE id % 3 = 0"
campaign_add signed
producer_start
dispatcher_start one KAIRAN_RELAY_CONNECTIONS=1 KAIRAN_DISPATCHER_BATCH=64
RUN=$(run_add signed a)
tap_ok 'a signed run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'exactly once, and the counts agree'
tap_is "$(one "count(*) FROM (SELECT send, row_number() OVER (ORDER BY at) AS place FROM test.truth WHERE run = $RUN) AS t
	WHERE send <> place")" 0 'through one connection everybody leaves in the order of planning'
tap_is "$(verify 2 "$RUN")" '400 messages' 'both signatures of every mail verify with dkimpy, and cover what they must'
tap_like "$(grep -h 'run loaded' "$D/dispatcher.log")" 'signatures=2' 'the log tells how many signatures a run gets'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

# ---- another sender without a key -----------------------------------------------------------

campaign_add plain "reply_to='news@example.org'"
sql -c "UPDATE kairan.campaign SET from_address = 'news@other.example', segment = 'c.id <= 30' WHERE name = 'plain'"
dispatcher_start one
RUN=$(run_add plain a)
tap_ok 'a run whose domain has no key finishes' run_wait "$RUN" finished 20
tap_is "$(verify 0 "$RUN")" '30 messages' 'unsigned'
sql -c "UPDATE kairan.campaign SET from_address = 'news@news.example.org' WHERE name = 'plain'"
RUN=$(run_add plain b)
tap_ok 'one from below a domain with keys finishes' run_wait "$RUN" finished 20
tap_is "$(verify 2 "$RUN")" '30 messages' 'and is signed by that domain'

# ---- a recipient that cannot be composed for -------------------------------------------------

sql -c "INSERT INTO kairan.template (digest, subject, body) VALUES ('t2', 'Hello', 'Dear {{nickname}}')" \
	-c "UPDATE kairan.customer SET attributes = '{\"nickname\": \"Taro\"}' WHERE id <= 20" \
	-c "UPDATE kairan.campaign SET from_address = 'news@example.org', template_id =
		(SELECT id FROM kairan.template WHERE digest = 't2') WHERE name = 'plain'"
RUN=$(run_add plain c)
tap_ok 'a run with missing fields finishes' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN") $(one "string_agg(DISTINCT reason, ' ') FROM kairan.send WHERE run_id = $RUN AND state = 'failed'")" \
	'sent 20, failed 10 missing_field' 'those who lack one have failed, the others are sent'
run_check "$RUN" 'exactly once'

# ---- pause, cancel, the end in the middle --------------------------------------------------------

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'TRUNCATE kairan.customer'
customers_add 3000 large.example
before=$(taken)
relay_set 'delay_ms = 5'
dispatcher_start one KAIRAN_DKIM_THREADS=1 KAIRAN_RELAY_CONNECTIONS=4
RUN=$(run_add signed b)
taken_wait $((before + 100)) || tap_note 'nothing is sent'
tap_is "$(one "kairan.run_move($RUN, '{running}', 'paused')")" t 'a run is paused while its mails are signed'
sleep 1
at_pause=$(taken)
sleep 1
tap_is "$(taken)" "$at_pause" 'after a second nothing is sent any more'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" 0 'claims were given back'
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t 'it goes on'
taken_wait $((at_pause + 100)) || tap_note 'nothing is sent'
programs_stopped 'a dispatcher that is stopped in the middle of signing ends well' "$DISPATCHER"
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('sending', 'in_doubt')")" 0 'holds nobody and leaves nobody in doubt'
run_check "$RUN" 'and the counts agree'
relay_set
sql -c "UPDATE kairan.stream SET rate_per_s = 300 WHERE name = 'marketing'"
sleep 1
dispatcher_start one
before=$(taken)
taken_wait $((before + 100)) || tap_note 'nothing is sent'
start=$(taken)
sleep 2
now=$(taken)
tap_ok "a rate of 300 per second holds ($((now - start)) in 2 s)" test $((now - start)) -le 700
sql -c "UPDATE kairan.stream SET rate_per_s = NULL WHERE name = 'marketing'"
tap_ok 'it finishes' run_wait "$RUN" finished 60
tap_is "$(run_states "$RUN")" 'sent 3000' 'everybody is sent'
run_check "$RUN" 'exactly once'
tap_is "$(find "$mail" -name "*-$RUN-*.eml" -exec grep -l '^DKIM-Signature: .*a=rsa-sha256' {} + | wc -l)" 3000 'and signed'
tap_is "$(verify 2 "$RUN" 10)" '300 messages' 'every tenth verifies'

# ---- looked at again before sending -------------------------------------------------------------

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c "UPDATE kairan.campaign SET segment = \$\$c.email ~ '^ok1?[0-9]?[0-9]@'\$\$ WHERE name = 'signed'"
relay_set 'delay_ms = 40'
dispatcher_start one KAIRAN_DISPATCHER_RECHECK_S=1 KAIRAN_RELAY_CONNECTIONS=1
RUN=$(run_add signed recheck)
wait_for 10 "count(*) > 60 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'" || tap_note 'too few are claimed'
sql -c "INSERT INTO kairan.suppression (address_key, reason) SELECT address_key, 'manual' FROM (
		SELECT address_key FROM kairan.send WHERE run_id = $RUN AND state = 'sending' ORDER BY id DESC LIMIT 10) AS t
		ON CONFLICT DO NOTHING"
wait_for 10 "count(*) = 10 FROM kairan.send WHERE run_id = $RUN AND state = 'skipped'" || tap_note 'not looked at again'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'skipped'")" 10 'old claims are looked at again, signed or not'
relay_set
tap_ok 'the run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'the others exactly once'

# ---- a key that cannot be used ------------------------------------------------------------------

chmod 644 "$D/dkim/example.org/k1r.pem"
RUN=$(run_add signed c)
tap_ok 'a run whose key others can read is paused' run_wait "$RUN" paused 20
tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" 'k1r.pem can be read by others; run: chmod 600' 'with the reason'
chmod 600 "$D/dkim/example.org/k1r.pem"

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
