#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Campaigns through the API of a FAKE Amazon SES (tests/support/ses_fake.py) that verifies every
# signature and says what it took: exactly once, in doubt where nobody can tell, held while the
# account or the endpoint is unwell; credentials that end, clocks that differ. TAP, run by prove.
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
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh

pipeline_start
ses_start
export KAIRAN_SES_CONFIGURATION_SET=marketing

# arguments: how many; true when the log says so often that SES is unwell
unwell()
{
	[ "$(grep -c 'ses unwell' "$D/dispatcher.log")" -ge "$1" ]
}

producer_start

# ---- a good day -------------------------------------------------------------------------

customers_add 800 large.example
sql -c "INSERT INTO kairan.customer (email, name) VALUES ('o''neil+tag@large.example', E'Zo\u00eb \"Q\" \\\\')"
campaign_add good
RUN=$(run_add good a)
dispatcher_start one "${KEYS[@]}" "$LADDER"
tap_ok 'a run of 801 finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 801' 'everybody is sent'
run_check "$RUN" 'exactly once, and the counts agree'
tap_is "$(one "count(*) FROM test.truth WHERE envid <> kairan_id OR envid = ''")" 0 'tag and X-Kairan-Id carry the same token'
tap_is "$(one "string_agg(DISTINCT j ->> 'configuration_set', ' ') FROM test.line")" marketing 'the configuration set is named'
tap_is "$(one "count(*) FROM kairan.send s JOIN test.line l ON (l.j ->> 'send')::int = s.id
	WHERE s.run_id = $RUN AND s.remote_id = l.j ->> 'ses_id'")" 801 'the message id of SES is kept'
tap_is "$(one "count(DISTINCT j ->> 'connection') <= 40 FROM test.line")" t 'connections are used again'
tap_is "$(one "max(n) > 5 FROM (SELECT count(*) AS n FROM test.line GROUP BY j ->> 'connection') AS t")" t \
	'for more than one request'

tap_is "$(env "${KEYS[@]}" "$BIN/kairan" ses account --json | "$PYTHON" -c 'import json, sys; j = json.load(sys.stdin)
print(j["region"], j["max_rate"], j["max_24h"], j["sent_24h"], j["production"], j["enforcement"])')" \
	'ap-northeast-1 100000.0 -1.0 801.0 True HEALTHY' 'kairan ses account shows the account'
status=0
env AWS_ACCESS_KEY_ID=AKIDOTHER AWS_SECRET_ACCESS_KEY=x "$BIN/kairan" ses account 2>"$D/err" || status=$?
tap_is "$status $(cat "$D/err")" '1 kairan: SES says: UnrecognizedClientException: The security token is invalid' \
	'and what SES refuses'

# ---- each to his own --------------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 20 large.example
ses_set 'times = 1' 'slow_s = 0.3' # each refusal for rate holds the route for longer
for kind in reject sandbox bad throttle busy broken kept500 page500 page junk half drop slow trickle; do
	customers_add 2 odd.example "$kind"
done
# SES takes no address that is not ASCII: it is not even asked
sql -c "INSERT INTO kairan.customer (email) VALUES ('eai太郎@utf8.example')"
campaign_add odd
RUN=$(run_add odd a)
tap_ok 'F34: a run with every kind of answer finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'nobody twice, nobody lost'
states()
{
	one "string_agg(kind || ' ' || state || ' ' || n, ', ' ORDER BY kind) FROM (
		SELECT substring(address FROM '^(?:kept500|page500|[a-z]+)') AS kind, state, count(*) AS n
		FROM kairan.send WHERE run_id = $1 AND address NOT LIKE 'ok%' GROUP BY 1, 2) AS t"
}
tap_is "$(states "$RUN")" 'bad failed 2, broken in_doubt 2, busy sent 2, drop in_doubt 2, eai failed 1, half in_doubt 2, junk in_doubt 2, kept500 in_doubt 2, page sent 2, page500 in_doubt 2, reject failed 2, sandbox failed 2, slow sent 2, throttle sent 2, trickle sent 2' \
	'refusals fail, throttled ones are sent later, what nobody can tell is in doubt'
tap_is "$(one "string_agg(DISTINCT concat_ws(' ', class, code, reason, reply), '; ') FROM kairan.send
	WHERE run_id = $RUN AND address LIKE 'reject%'")" 'message 400 content MessageRejected: Invalid content' \
	'with name and text of the error'
tap_is "$(one "concat_ws(' ', class, code, reason) FROM kairan.send WHERE run_id = $RUN AND address LIKE 'eai%'")" \
	'config smtputf8_unsupported' 'an address that is not ASCII fails with its own reason'
tap_is "$(one "count(*) FROM test.truth WHERE run = $RUN AND address LIKE 'eai%'")" 0 'without a request'
tap_is "$(one "count(*) FROM kairan.suppression")" 0 'nobody is suppressed for it'
tap_is "$(grep -c odd.example "$D/dispatcher.log")" 0 'no address is in the log'

# drop: kept ones too
sql -c "DELETE FROM kairan.customer WHERE email NOT LIKE 'drop%' AND email NOT LIKE 'ok%'"
ses_set 'drop = kept'
RUN=$(run_add odd b)
tap_ok 'a run with lost answers finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 20, in_doubt 2' 'they are in doubt, not sent again'
run_check "$RUN" 'nobody twice'
ses_set

# ---- a connection that dies under a request -----------------------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 60 large.example
ses_set 'die_after = 3'
RUN=$(run_add good dying)
tap_ok 'F34: a run over dying connections finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'nothing is repeated: nobody twice'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'") $(one "count(*) FROM kairan.send
	WHERE run_id = $RUN AND state NOT IN ('sent', 'in_doubt')")" "$((60 - $(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sent'"))) 0" \
	'all others are in doubt'
tap_ok 'there were such' test "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" -gt 0
ses_set

# ---- the account ------------------------------------------------------------------------

ERRORS=(AccountSuspendedException SendingPausedException MailFromDomainNotVerifiedException NotFoundException
	AccessDeniedException OptInRequired IncompleteSignature MissingAuthenticationTokenException
	LimitExceededException ServiceUnavailable TooManyRequestsException SignatureDoesNotMatch UnrecognizedClientException)
ses_set "errors = ${ERRORS[*]}" 'delay_ms = 20'
RUN=$(run_add good account)
tap_ok 'a run in which each of them refuses a message finishes' run_wait "$RUN" finished 60
tap_is "$(paste -sd' ' "$D/ses/refused")" "${ERRORS[*]}" 'each has refused one'
tap_is "$(run_states "$RUN")" 'sent 60' 'nobody is settled by it, everybody is sent'
run_check "$RUN" 'exactly once'

# what each makes the route do (test_ses_api says which name does what): one of each kind
for error in AccountSuspendedException LimitExceededException TooManyRequestsException SignatureDoesNotMatch \
	UnrecognizedClientException; do
	before=$(grep -c 'ses unwell' "$D/dispatcher.log")
	ses_set "error = $error" 'text = not now'
	RUN=$(run_add good "account-$error")
	services_wait 10 unwell $((before + 1)) || tap_note 'SES is not unwell'
	held=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('queued', 'sending')")
	ses_set
	tap_ok "$error holds the route, the run finishes afterwards" run_wait "$RUN" finished 40
	tap_is "$held $(run_states "$RUN")" '0 sent 60' 'nobody is settled by it, everybody is sent'
	run_check "$RUN" 'exactly once'
done
tap_is "$(grep -c large.example "$D/dispatcher.log")" 0 'no address is in the log'
tap_ok 'the log says what it is' grep -q 'ses unwell.*AccountSuspendedException: not now' "$D/dispatcher.log"

# a sender that is not verified is everybody's trouble, not the recipient's
ses_set 'error = MessageRejected' 'text = Email address is not verified. The following identities failed the check in region X: news@example.org'
before=$(grep -c 'ses unwell' "$D/dispatcher.log")
RUN=$(run_add good unverified)
services_wait 10 unwell $((before + 1)) || tap_note 'SES is not unwell'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('queued', 'sending')")" 0 'an unverified sender fails nobody'
ses_set
tap_ok 'and is sent with when it is verified' run_wait "$RUN" finished 40

# ---- pace -------------------------------------------------------------------------------

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
ses_set 'rate = 50' 'max_rate = 50'
: >"$D/dispatcher.log"
dispatcher_start one "${KEYS[@]}" "$LADDER"
RUN=$(run_add good pace)
tap_ok 'a run at the rate of the account finishes' run_wait "$RUN" finished 40
run_check "$RUN" 'exactly once'
tap_is "$(grep -c 'ses unwell.*TooManyRequests.*sending rate' "$D/dispatcher.log" || true)" 0 'no refusal for rate: it keeps to 90 % of it'
truth_load
tap_is "$(one "extract(epoch FROM max(at) - min(at)) > 1.0 FROM test.truth WHERE run = $RUN")" t 'it takes more than a second for 60 at 45 a second'
ses_set

# ---- credentials ------------------------------------------------------------------------

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
ses_set
export AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:$AGENT_PORT/container AWS_CONTAINER_AUTHORIZATION_TOKEN=agent-secret
dispatcher_start one "$LADDER"
RUN=$(run_add good container)
tap_ok 'credentials of the container agent serve' run_wait "$RUN" finished 40
ses_set "expired = ASIAEXAMPLE0001"
RUN=$(run_add good expired)
tap_ok 'F34: when they expire in the middle, others are fetched' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 60' 'nobody loses a try by it'
run_check "$RUN" 'exactly once'
tap_is "$(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 0 'no step of the ladder was taken'
ses_set
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
unset AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN

# ---- the endpoint is away; meanwhile the credentials of the instance end -------------------

ses_set 'life_s = 605'
: >"$D/dispatcher.log"
AWS_EC2_METADATA_DISABLED='' dispatcher_start one "$LADDER" "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:$AGENT_PORT"
RUN=$(run_add good instance)
tap_ok 'credentials of the instance serve' run_wait "$RUN" finished 40
customers_add 200 away.example
ses_set 'life_s = 605' 'delay_ms = 20'
RUN=$(run_add good away)
before=$(taken)
taken_wait $((before + 30)) || tap_note 'nothing is sent'
ses_set 'life_s = 605' 'mode = refuse'
tap_ok 'claims are given back' wait_for 20 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'"
tap_ok 'the run waits' test "$(one "state = 'running' FROM kairan.run WHERE id = $RUN")" = t
at=$(taken)
ses_set 'life_s = 605'
tap_ok 'F34: an endpoint that is down: the run finishes when it is back' run_wait "$RUN" finished 90
run_check "$RUN" 'nobody twice'
tap_ok 'in doubt at most what was under way' test "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" -le 32
tap_note "sent before it went away: $((at - before)); $(run_states "$RUN")"

# by the provider's clock they last 20 minutes longer in what follows
refreshed()
{
	[ "$(grep -c 'credentials from=instance' "$D/dispatcher.log")" -ge 2 ]
}
tap_ok 'credentials are fetched again before they end' services_wait 60 refreshed

# ---- clocks, more credentials ---------------------------------------------------------------

sql -c "DELETE FROM kairan.customer WHERE email LIKE '%away.example'"
ses_set 'life_s = 605' 'skew_s = -1200'
RUN=$(run_add good skew)
tap_ok 'F34: with a clock 20 minutes away the run finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 60' 'everybody is sent'
run_check "$RUN" 'exactly once'
ses_set
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

mkdir -p "$D/.aws"
printf '[default]\nrole_arn = arn:aws:iam::1:role/mail\nsource_profile = base\n' >"$D/.aws/config"
printf '[base]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n' >"$D/.aws/credentials"
dispatcher_start one "$LADDER"
RUN=$(run_add good role)
tap_ok 'a role assumed from a profile serves' run_wait "$RUN" finished 40
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
rm -r "$D/.aws"
printf 'eyJ.web+/=.identity\n' >"$D/identity"
dispatcher_start one "$LADDER" AWS_WEB_IDENTITY_TOKEN_FILE="$D/identity" AWS_ROLE_ARN=arn:aws:iam::1:role/pod
RUN=$(run_add good identity)
tap_ok 'a web identity serves' run_wait "$RUN" finished 40
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

dispatcher_start one "$LADDER"
RUN=$(run_add good none)
run_wait "$RUN" running 10 || true
tap_ok 'without credentials nothing is sent, and the log says where it looked' \
	services_wait 20 grep -q 'ses unwell.*no credentials of Amazon' "$D/dispatcher.log"
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('sent', 'failed', 'in_doubt')")" 0 'nobody is settled'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
# arguments: what is wrong with the certificate, settings that lead to it. Nothing is said to such a server.
not_spoken_to()
{
	local what=$1

	shift
	: >"$D/dispatcher.log"
	dispatcher_start one "$LADDER" "${KEYS[@]}" "$@"
	tap_ok "a certificate $what: the log says so" services_wait 20 grep -q 'account not known.*certificate' "$D/dispatcher.log"
	tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('sent', 'failed', 'in_doubt')")" 0 '  ... and nothing is sent'
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
}
EXPIRED_PORT=$(services_free_port)
ca_issue "$D/ses" expired DNS:localhost -1 || tap_bail 'no expired certificate'
service_spawn expired "$D/expired.log" openssl s_server -www -accept "127.0.0.1:$EXPIRED_PORT" \
	-cert "$D/ses/expired.pem" -key "$D/ses/expired.key" 2>/dev/null
EXPIRED=$SERVICE_PID
not_spoken_to 'of another authority' AWS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
not_spoken_to 'for another name' "AWS_ENDPOINT_URL_SESV2=https://other.localhost:$SES_PORT"
not_spoken_to 'that has expired' "AWS_ENDPOINT_URL_SESV2=https://localhost:$EXPIRED_PORT"
service_stop "$EXPIRED" || true

# ---- pause, the end -----------------------------------------------------------------------

dispatcher_start one "$LADDER" "${KEYS[@]}" KAIRAN_SES_CONNECTIONS=4 KAIRAN_SES_TIMEOUT_S=3
tap_ok 'the waiting run is sent at last' run_wait "$RUN" finished 40
customers_add 400 pause.example
ses_set 'delay_ms = 20'
before=$(taken)
RUN=$(run_add good pause)
taken_wait $((before + 50)) || tap_note 'nothing is sent'
one "kairan.run_move($RUN, '{running}', 'paused')" >"$D/out"
sleep 1
at=$(taken)
sleep 0.7
tap_is "$(taken)" "$at" 'a second after a pause nothing is sent any more'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" 0 'claims were given back'
one "kairan.run_move($RUN, '{paused}', 'running')" >"$D/out"
taken_wait $((at + 50)) || tap_note 'nothing is sent'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('sending', 'in_doubt')")" 0 'SIGTERM leaves nobody in doubt'
ses_set
sql -c "INSERT INTO kairan.customer (email) VALUES ('stall1@pause.example')"
dispatcher_start one "$LADDER" "${KEYS[@]}" KAIRAN_SES_TIMEOUT_S=3
tap_ok 'the next one finishes the run' run_wait "$RUN" finished 40
run_check "$RUN" 'exactly once'
RUN=$(run_add good stall)
tap_ok 'a run with an answer that never comes finishes' run_wait "$RUN" finished 40
tap_is "$(run_states "$RUN")" 'sent 460, in_doubt 1' 'that one is in doubt after ses.timeout_s'
run_check "$RUN" 'nobody twice'

# ---- the doctor: clock and files ----------------------------------------------------------

doctor()
{
	"$BIN/kairan" doctor example.org --probe no --dns 127.0.0.1:1 --json 2>"$D/err" | "$PYTHON" -c 'import json, sys
for c in json.load(sys.stdin)["checks"]:
    if c["check"] in ("clock", "file"):
        print(c["check"], c["verdict"], c["subject"].split("/")[-1], c["advice"].split(" ")[0] or "-")' | sed "s/localhost:[0-9]*/SES/" | sort | paste -sd,
}
tap_like "$(doctor)" '^clock ok PostgreSQL -,clock ok SES -,file ok configuration and secrets -$' 'doctor: clocks agree, nobody reads secrets'
ses_set 'skew_s = -1200'
chmod 644 "$D/keys"
tap_like "$(doctor)" '^clock failed SES let,clock ok PostgreSQL -,file failed keys chmod$' \
	'a clock 20 minutes off SES and a key file that all can read are found'
chmod 600 "$D/keys"
ses_set 'sandbox = 1'
env "${KEYS[@]}" "$BIN/kairan" doctor example.org --probe no --dns 127.0.0.1:1 --json >"$D/out" 2>"$D/err" || true
tap_like "$(jq -r '.checks[] | select(.check == "ses") | .verdict + " " + .found' "$D/out")" '^warning the account is in the sandbox' \
	'doctor: an account in the sandbox is found'
# arguments: identities at SES; prints what doctor says of senders
senders()
{
	ses_set "identities = $*"
	env "${KEYS[@]}" "$BIN/kairan" doctor example.org --probe no --dns 127.0.0.1:1 --json 2>"$D/err" |
		jq -r '.checks[] | select(.check == "identity") | .verdict + " " + .subject' | sed 's/localhost:[0-9]*/SES/' | paste -sd,
}
sql -c "UPDATE kairan.stream SET mail_from = '{receipts.example.net,boss@example.com}' WHERE name = 'transactional'"
tap_is "$(senders other.example example.org? boss@example.com)" \
	'failed example.org,failed news@example.org,failed receipts.example.net' 'doctor: senders that SES has not verified are found'
tap_is "$(senders example.com other.example news@example.org EXAMPLE.net)" 'warning example.org' \
	'a verified address serves itself, a domain what is below it'
tap_is "$(senders example.com example.org example.net)" 'ok SES' 'all are verified'
ses_set
tap_ok 'the fake verified every signature itself' test -s "$TRUTH"
programs_stopped 'the programs end well' "$DISPATCHER" "$PRODUCER"
service_stop "$SES" || true
tap_is "$(grep -c 'wJalr\|token-of' "$D/dispatcher.log" || true)" 0 'no secret is in the log'
tap_done
