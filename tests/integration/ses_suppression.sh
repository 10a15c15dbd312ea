#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Our suppression list and the account suppression list of a FAKE Amazon SES (tests/support/ses_fake.py,
# which verifies signatures and keeps its list in a file): taken over page by page, put, lifted on
# either side, broken off and gone on with, refused. TAP, run by prove.
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
SES_PORT=$(services_free_port)
AGENT_PORT=$(services_free_port)
"$PYTHON" tests/support/ses_fake.py init "$D/ses" || tap_bail 'no certificate for the fake'
service_spawn ses "$D/ses.log" "$PYTHON" tests/support/ses_fake.py serve "$D/ses" --log "$TRUTH" \
	--control "$D/ses.control" "$SES_PORT" "$AGENT_PORT" 2>/dev/null
ses_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$SES_PORT") 2>/dev/null
}
services_wait 10 ses_answers || { cat "$D/ses.log"; tap_bail 'the fake does not answer'; }

ses_set()
{
	printf '%s\n' "$@" >"$D/ses.new"
	mv "$D/ses.new" "$D/ses.control"
	sleep 0.1
}

unset AWS_PROFILE AWS_SESSION_TOKEN AWS_DEFAULT_REGION
export HOME=$D AWS_EC2_METADATA_DISABLED=true AWS_REGION=ap-northeast-1 AWS_ENDPOINT_URL_SESV2=https://localhost:$SES_PORT
export AWS_CA_BUNDLE=$D/ses/ca.pem AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY

# arguments: import, export or sync, options; STATUS, $D/out, $D/err. stdout: counts
suppress()
{
	local what=$1

	shift
	STATUS=0
	"$BIN/kairan" suppress "ses-$what" --json "$@" >"$D/out" 2>"$D/err" || STATUS=$?
}
counts()
{
	"$PYTHON" -c "import json
j = json.load(open('$D/out')); print(*(k + ' ' + str(j[k]) for k in ('listed', 'not_understood', 'imported', 'lifted', 'deleted', 'put', 'refused') if j[k]), sep=', ')"
}
ours()
{
	one "string_agg(address_key || ' ' || reason || ' ' || source, ', ' ORDER BY address_key COLLATE \"C\") FROM kairan.suppression WHERE scope = 'all'"
}
theirs()
{
	"$PYTHON" -c "import json
print(*(k + ' ' + v for k, v in sorted(json.load(open('$D/ses/suppressed.json')).items())), sep=', ')"
}

# ---- import ---------------------------------------------------------------------------------

echo '{"A+tag@x.example": "BOUNCE", "b@x.example": "COMPLAINT", "manual@x.example": "BOUNCE", "rest@x.example": "BOUNCE",
	"unsub@x.example": "BOUNCE", "\"quoted\"@x.example": "BOUNCE", "z@x.example": "BOUNCE"}' >"$D/ses/suppressed.json"
sql -c "INSERT INTO kairan.suppression (address_key, scope, reason, source, expires_at) VALUES
	('manual@x.example', 'all', 'manual', 'me', NULL), ('rest@x.example', 'all', 'bounce', 'policy', now() + interval '3 days'),
	('unsub@x.example', 'list:news', 'unsubscribe', 'web', NULL)"
ses_set 'page = 2' 'others = 1'
suppress import --dry-run
tap_is "$STATUS $(counts) $(one "count(*) FROM kairan.suppression")" '0 listed 7, not_understood 1, imported 4 3' 'a dry run counts and changes nothing'
tap_is "$(cut -d' ' -f2 "$D/ses/suppression.log" | paste -sd' ')" \
	'PageSize=1000 NextToken=2%2F%2B%3D&PageSize=1000 NextToken=4%2F%2B%3D&PageSize=1000 NextToken=6%2F%2B%3D&PageSize=1000' \
	'every page is read'
suppress import
tap_is "$STATUS $(counts)" '0 listed 7, not_understood 1, imported 4' 'a list is taken over'
tap_is "$(ours)" 'a+tag@x.example bounce ses, b@x.example complaint ses, manual@x.example manual me, rest@x.example bounce ses, unsub@x.example bounce ses, z@x.example bounce ses' \
	'by reason; one of our own stays our own, a rest becomes for good'
tap_is "$(one "count(*) FROM kairan.feedback_event") $(one "count(*) FROM kairan.suppression WHERE address_key = 'a+tag@x.example' AND created_at = to_timestamp(1763800000)")" '0 1' \
	'no bounce is counted; since when is kept'
suppress import
tap_is "$STATUS $(counts)" '0 listed 7, not_understood 1' 'again: nothing'

# ---- export -----------------------------------------------------------------------------------

sql -c "INSERT INTO kairan.suppression (address_key, scope, reason, source, expires_at) VALUES
	('o''neil+1@y.example', 'all', 'bounce', 'dsn', NULL), ('c@y.example', 'all', 'complaint', 'arf', NULL),
	('soft@y.example', 'all', 'bounce', 'policy', now() + interval '3 days'), ('m@y.example', 'all', 'manual', 'me', NULL),
	('l@y.example', 'list:news', 'unsubscribe', 'web', NULL), ('x@bad.example', 'all', 'bounce', 'dsn', NULL)"
ses_set 'others = 1' 'sandbox = 1'
suppress export
tap_is "$STATUS $(cat "$D/err")" '1 kairan: SES says: BadRequestException: Not allowed' 'a sandbox takes nothing, and it is said'
ses_set 'others = 1'
suppress export
tap_is "$STATUS $(counts)" '0 listed 7, not_understood 1, put 2, refused 1' 'bounces and complaints for everything and for good are put; one address is refused'
tap_is "$(theirs)" "\"quoted\"@x.example BOUNCE, A+tag@x.example BOUNCE, b@x.example COMPLAINT, c@y.example COMPLAINT, manual@x.example BOUNCE, o'neil+1@y.example BOUNCE, rest@x.example BOUNCE, unsub@x.example BOUNCE, z@x.example BOUNCE" \
	'with their reasons, and nothing else'
sql -c "DELETE FROM kairan.suppression WHERE address_key = 'x@bad.example'"

# ---- sync -------------------------------------------------------------------------------------

suppress sync
tap_is "$STATUS $(counts)" '0 listed 9, not_understood 1' 'in agreement: nothing to do'
sql -c "DELETE FROM kairan.suppression WHERE address_key IN ('a+tag@x.example', 'c@y.example')"
"$PYTHON" - "$D/ses/suppressed.json" <<'END'
import json, sys
j = json.load(open(sys.argv[1]))
del j["b@x.example"], j["o'neil+1@y.example"], j["manual@x.example"]
j["new@x.example"] = "COMPLAINT"
json.dump(j, open(sys.argv[1], "w"))
END
suppress sync --dry-run
tap_is "$STATUS $(counts)" '0 listed 7, not_understood 1, imported 1, lifted 1, deleted 2, put 1' 'a dry run says what would be done'
suppress sync
tap_is "$STATUS $(counts)" '0 listed 7, not_understood 1, imported 1, lifted 1, deleted 2, put 1' 'and it is'
tap_is "$(theirs)" "\"quoted\"@x.example BOUNCE, new@x.example COMPLAINT, o'neil+1@y.example BOUNCE, rest@x.example BOUNCE, unsub@x.example BOUNCE, z@x.example BOUNCE" \
	'lifted here: deleted there; a bounce of ours: put again, what a person suppressed: not'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key IN ('b@x.example', 'a+tag@x.example', 'c@y.example')") $(one "source FROM kairan.suppression WHERE address_key = 'new@x.example'")" \
	'0 ses' 'lifted there: lifted here; new there: here'
suppress sync
tap_is "$STATUS $(counts)" '0 listed 6, not_understood 1' 'and then they agree'
tap_is "$(one "detail FROM kairan.audit WHERE action = 'suppress.ses-sync' AND detail LIKE '%lifted 1%'")" \
	'imported 1, lifted 1, deleted at SES 2, put to SES 1, refused 0' 'the audit says what was done'

# ---- trouble ----------------------------------------------------------------------------------

ses_set
sql -c "INSERT INTO kairan.suppression (address_key, reason, source) SELECT 'many' || i || '@x.example', 'bounce', 'ses' FROM generate_series(1, 30) AS i" \
	-c "INSERT INTO kairan.ses_mirror SELECT 'ap-northeast-1', 'many' || i || '@x.example' FROM generate_series(1, 30) AS i"
suppress sync
tap_is "$STATUS $(one "count(*) FROM kairan.suppression WHERE address_key LIKE 'many%'")" '1 30' 'a list that has lost very many lifts nobody'
tap_like "$(cat "$D/err")" 'right account' 'and the question is asked'
suppress sync --force
tap_is "$STATUS $(counts)" '0 listed 6, not_understood 1, lifted 30' '--force lifts them'
AWS_ACCESS_KEY_ID=AKIDOTHER suppress import
tap_is "$STATUS $(cat "$D/err")" '1 kairan: SES says: UnrecognizedClientException: The security token is invalid' 'what SES refuses is said'
ses_set 'mode = refuse'
suppress sync
tap_is "$STATUS" 75 'an endpoint that is away: try again later'
ses_set
sql -c 'GRANT kairan_operator TO CURRENT_USER' -c "SELECT pg_advisory_lock(hashtext('kairan suppress ses')), pg_sleep(4)" >/dev/null &
LOCKER=$!
sleep 1
suppress sync
tap_is "$STATUS" 75 'two at once: the second waits for another time'
wait "$LOCKER"
tap_done
