#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# ses_simulator: what a newcomer does without an account at Amazon: kairan local up --simulator, the
# three programs, a campaign to the addresses of the mailbox simulator, and what comes back signed
# as SNS signs. TAP, run by prove.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
BIN=$(realpath "${KAIRAN_BIN:-bin}")
[ -x "$BIN/kairan-feedback" ] || tap_skip_all "$BIN/kairan-feedback is not built"
unset KAIRAN_CONFIG KAIRAN_DATABASE_URL KAIRAN_KEYS_FILE PGUSER PGHOST PGDATABASE AWS_PROFILE
services_dir || tap_bail 'no directory'
D=$SERVICES_DIR
# the program must be where the user of the servers can reach it, too
cp "$BIN/kairan" "$D/kairan"
down()
{
	local status=$?

	"$D/kairan" local down "$D/local" >/dev/null 2>&1 || true
	stop_all
	exit "$status"
}
trap down EXIT

"$D/kairan" local up "$D/local" --simulator >"$D/up" 2>"$D/err" || { cat "$D/err" "$D"/local/*.log; tap_bail 'local up failed'; }
tap_like "$(cat "$D/up")" 'AWS_ACCESS_KEY_ID=simulator' 'local up --simulator tells what to export'
eval "$(cat "$D/up")"
export KAIRAN_PRODUCER_POLL_MS=100 KAIRAN_DISPATCHER_POLL_MS=100 AWS_EC2_METADATA_DISABLED=true KAIRAN_LOG_LEVEL=info
# the text of a campaign asks for it
export KAIRAN_WEB_BASE=https://example.test/u/
"$D/kairan" local up "$D/local" --simulator --json >"$D/again"
tap_like "$(cat "$D/again")" '"postgresql_started": ?false' 'up again starts nothing'
tap_is "$("$D/kairan" ses account --json 2>&1 | grep -o '"region": *"[^"]*"' | tr -d ' ')" '"region":"us-east-1"' 'the account answers'
URL="host=$(sed -n 's/^url = host=\([^ ]*\) .*/\1/p' "$KAIRAN_CONFIG") port=5432 dbname=kairan user=$(id -un)"
one()
{
	psql -XAtq -v ON_ERROR_STOP=1 -d "$URL" -c "SELECT $1"
}
is_so()
{
	[ "$(one "$1")" = t ]
}
for program in producer dispatcher feedback; do
	service_spawn "kairan-$program" "$D/$program.log" "$BIN/kairan-$program" 2>/dev/null
done

{
	echo email,name
	for name in success bounce ooto complaint suppressionlist bounce+label; do
		echo "$name@simulator.amazonses.com,Reader"
	done
	echo you@example.jp,You
} >"$D/members.csv"
"$D/kairan" customer import "$D/members.csv" >"$D/out" 2>&1 || { cat "$D/out"; tap_bail 'no import'; }
printf 'Hello {{name}}, {{unsubscribe_url}}\n' >"$D/trial.txt"
cat >"$D/trial.campaign" <<'CAMPAIGN'
[campaign]
name = trial
stream = marketing
subject = A trial
from = Shop <news@shop.example>
text = trial.txt
segment = true
CAMPAIGN
"$D/kairan" campaign create "$D/trial.campaign" >"$D/out" 2>&1 || { cat "$D/out"; tap_bail 'no campaign'; }
status=0
timeout 60 "$D/kairan" campaign start trial --run-key a --wait --quiet >"$D/out" 2>&1 || status=$?
tap_is "$status" 0 'the campaign is sent'
[ "$status" = 0 ] || tap_note "$(cat "$D/out"; tail -n 5 "$D"/*.log)"
heard="count(*) FILTER (WHERE bounced_at IS NOT NULL) = 3 AND count(*) FILTER (WHERE delivered_at IS NOT NULL) = 4
	AND count(*) FILTER (WHERE complained_at IS NOT NULL) = 1 FROM kairan.send"
tap_ok 'all that SES would tell has come back' services_wait 20 is_so "$heard"
services_wait 0 is_so "$heard" || tap_note "$(tail -n 5 "$D/feedback.log" "$D/local/simulator.log")"
tap_is "$(one "string_agg(concat_ws(' ', split_part(address, '@', 1), state, CASE WHEN delivered_at IS NOT NULL THEN 'delivered' END,
	CASE WHEN bounced_at IS NOT NULL THEN 'bounced' END, CASE WHEN complained_at IS NOT NULL THEN 'complained' END), ', ' ORDER BY address)
	FROM kairan.send")" \
	'bounce+label sent bounced, bounce sent bounced, complaint sent delivered complained, ooto sent delivered, success sent delivered, suppressionlist sent bounced, you sent delivered' \
	'each as Amazon documents its address; everybody else is delivered'
tap_is "$(one "string_agg(concat_ws(' ', split_part(address_key, '@', 1), reason), ', ' ORDER BY address_key) FROM kairan.suppression")" \
	'bounce+label bounce, bounce bounce, complaint complaint, suppressionlist bounce' 'bounces and the complaint are suppressed'
tap_is "$(grep -c 'is not allowed' "$D/dispatcher.log" || true)" 0 'the dispatcher is refused no system call'
status=0
timeout 60 "$D/kairan" campaign start trial --run-key b --wait --quiet >"$D/out" 2>&1 || status=$?
tap_is "$status $(one "count(*) FROM kairan.send s JOIN kairan.run r ON r.id = s.run_id WHERE r.run_key = 'b'")" '0 3' 'the next run leaves them out'

# ---- SES makes the mails: one by one, and many in a request ---------------------------------

# a route that is refused holds, and the run would not end
for content in simple bulk; do
	psql -Xq -d "$URL" -c 'DELETE FROM kairan.suppression' -c "UPDATE kairan.stream SET ses_content = '$content' WHERE name = 'marketing'"
	status=0
	timeout 60 "$D/kairan" campaign start trial --run-key "$content" --wait --quiet >"$D/out" 2>&1 || status=$?
	of_run="FROM kairan.send WHERE run_id = (SELECT id FROM kairan.run WHERE run_key = '$content')"
	tap_is "$status $(one "string_agg(DISTINCT state::text, ' ') $of_run")" '0 sent' "a campaign of a stream with ses_content = $content is sent"
	[ "$status" = 0 ] || tap_note "$(cat "$D/out"; tail -n 5 "$D"/*.log)"
	tap_ok 'and everybody is heard of' services_wait 20 is_so "count(bounced_at) = 3 AND count(delivered_at) = 4 AND count(complained_at) = 1 $of_run"
done

# ---- what the imitation refuses -----------------------------------------------------------

PORT=$(cut -d' ' -f1 "$D/local/simulator.ports")
ask()
{
	curl -sS -o /dev/null -D - "http://127.0.0.1:$PORT$1" "${@:2}" | tr -d '\r' | sed -n '1s/HTTP[^ ]* \([0-9]*\).*/\1/p; s/^x-amzn-ErrorType: //Ip' | paste -sd' '
}
SIGNED=(-H 'Authorization: AWS4-HMAC-SHA256 Credential=x')
tap_is "$(ask /v2/email/account)" '403 MissingAuthenticationTokenException' 'a request without a signature'
tap_is "$(ask /v2/email/outbound-emails "${SIGNED[@]}" -d '{"Content":{"Raw":{"Data":"eA=="}},"Destination":{"ToAddresses":[]}}')" \
	'400 BadRequestException' 'a mail without a recipient'
tap_is "$(ask /v2/email/outbound-emails "${SIGNED[@]}" -d '<x>')" '400 BadRequestException' 'what is no JSON'
TEMPLATE='"DefaultContent":{"Template":{"TemplateContent":{"Subject":"{{s0}}","Text":"t"}}}'
DATA='"ReplacementEmailContent":{"ReplacementTemplate":{"ReplacementTemplateData":"{\"s0\":\"Hello\"}"}}'
tap_is "$(curl -sS "http://127.0.0.1:$PORT/v2/email/outbound-bulk-emails" "${SIGNED[@]}" -d "{$TEMPLATE,\"BulkEmailEntries\":[
	{\"Destination\":{\"ToAddresses\":[\"a@x.example\"]},$DATA},{\"Destination\":{\"ToAddresses\":[]},$DATA}]}" | sed 's/"MessageId":"01[^"]*"/an id/')" \
	'{"BulkEmailEntryResults":[{"Status":"SUCCESS",an id},{"Status":"INVALID_PARAMETER","Error":"this imitation takes one recipient in ToAddresses of an entry"}]}' \
	'each entry of a request for several is answered for itself'
tap_is "$(ask /v2/email/outbound-bulk-emails "${SIGNED[@]}" -d "{$TEMPLATE,\"BulkEmailEntries\":[]}")" '400 BadRequestException' 'nobody in a request for several'
tap_is "$(ask /v2/email/identities "${SIGNED[@]}")" '404 NotFoundException' 'what is not imitated'
"$D/kairan" local down "$D/local" >"$D/out"
tap_is "$(grep -c 'ERROR: \|runtime error' "$D/local/simulator.log" || true)" 0 'no sanitizer complains'
tap_ok 'local down stops it' test -z "$(ask /v2/email/account 2>/dev/null)"
tap_done
