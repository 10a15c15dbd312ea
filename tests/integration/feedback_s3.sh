#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Mail that Amazon SES received, told by SNS over HTTP and over SQS: inline as text and base64, and from a
# FAKE Amazon S3 that verifies every signature. Missing, huge, refused and redirected objects. TAP, run by
# prove. KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
HTTP=$(services_free_port)
S3=$(services_free_port)
SQS=$(services_free_port)
QUEUE=https://sqs.eu-west-1.amazonaws.com/123456789012/feedback
BUCKET=example-inbound-mail
mkdir -p "$D/objects/in box"
"$PYTHON" tests/support/ses_fake.py init "$D/aws" 2>"$D/aws.log" || { cat "$D/aws.log"; tap_bail 'no certificates'; }
service_spawn s3 "$D/s3.err" "$PYTHON" tests/support/s3_fake.py serve "$D/aws" --bucket "$BUCKET" \
	--objects "$D/objects" --log "$D/s3.log" "$S3" 2>/dev/null
service_spawn sqs "$D/sqs.log" "$PYTHON" tests/support/sqs_fake.py serve "$D/aws" --queue "$QUEUE" \
	--region eu-west-1 "$SQS" 2>/dev/null
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$HTTP KAIRAN_REPLY_MAILDIR=$D/replies
export KAIRAN_S3_BUCKETS="other-mail $BUCKET" KAIRAN_S3_REGION=eu-west-1 KAIRAN_S3_CA_FILE=$D/aws/ca.pem
export AWS_ENDPOINT_URL_S3=https://127.0.0.1:$S3
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY

# arguments: recipient, "text", "base64" or an object's key, [bucket]; a mail on stdin unless it is an object;
# stdout: an order for sns_fake.py
order()
{
	"$PYTHON" -c '
import base64, json, sys
rcpt, how, bucket = sys.argv[1:]
n = {"notificationType": "Received",
     "mail": {"timestamp": "2026-11-20T10:00:00.000Z", "source": "MAILER-DAEMON@mta.example.net",
              "messageId": "d6iitobk75ur44p8kdnnp7g2n800", "destination": [rcpt], "headersTruncated": False,
              "headers": [{"name": "Received", "value": "from mta.example.net by inbound-smtp"}]},
     "receipt": {"timestamp": "2026-11-20T10:00:00.000Z", "processingTimeMillis": 222, "recipients": [rcpt],
                 "spamVerdict": {"status": "PASS"}, "virusVerdict": {"status": "PASS"},
                 "action": {"type": "SNS", "topicArn": "arn:aws:sns:eu-west-1:123456789012:kairan-test"}}}
if how in ("text", "base64"):
    raw = sys.stdin.buffer.read()
    n["receipt"]["action"]["encoding"] = "UTF8" if how == "text" else "BASE64"
    n["content"] = raw.decode() if how == "text" else base64.b64encode(raw).decode()
else:
    n["receipt"]["action"].update(type="S3", bucketName=bucket, objectKeyPrefix="", objectKey=how)
print(json.dumps({"message": json.dumps(n), "dialect": "identity"}))' "$1" "$2" "${3:-$BUCKET}"
}

# an order on stdin; stdout: the HTTP status
post()
{
	$SNS send "$D/sns" "http://127.0.0.1:$HTTP/sns" --topic "$TOPIC" | sed -n 's/.*"status": \([0-9]*\).*/\1/p'
}

put()
{
	$SNS sign "$D/sns" --topic "$TOPIC" | "$PYTHON" tests/support/sqs_fake.py put "$SQS"
}

deleted_is()
{
	[ "$("$PYTHON" tests/support/sqs_fake.py state "$SQS" | sed -n 's/.*"deleted": \([0-9]*\).*/\1/p')" = "$1" ]
}

b()
{
	echo "b+$(token "$1")@$DOMAIN"
}

kept_aside()
{
	one "count(*) FROM kairan.feedback_event WHERE reason = '$1'"
}

count_kept()
{
	find "$D/replies/new" -type f | wc -l
}

reply_of_person()
{
	printf 'From: Hanako <hanako@example.com>\nTo: b@%s\nSubject: Re: %s\nMessage-ID: <%s@example.com>\n\nWhen do you open? 何時ですか。\n' \
		"$DOMAIN" "$1" "$1"
}

daemon_start
tap_is $? 0 'starts, contained'

# ---- inline ------------------------------------------------------------------------------

tap_is "$(dsn 1 5.1.1 | order "$(b 1)" text | post)" 200 'HTTP: a report inside the notice'
tap_like "$(of_send 1 bounced_at)" '^20' '200 came after the commit'
tap_is "$(one "source FROM kairan.feedback_event WHERE send_id = 1")" dsn 'as any delivery report'
tap_is "$(dsn 2 5.1.1 | order "$(b 2)" base64 | post)" 200 'HTTP: the same in base64'
tap_is "$(of_send 2 class)" hard 'is read'
tap_is "$(dsn 3 5.1.1 | sed 's/^To:.*/To: undisclosed/' | order "$(b 3)" text | post)" 200 'a report whose header does not name us'
tap_is "$(of_send 3 class)" hard 'is linked by the recipients of the receipt'
tap_is "$(reply_of_person 1 | order "$(b 4)" text | post)" 200 "HTTP: a person's reply"
tap_is "$(of_send 4 bounced_at) $(count_kept)" '- 1' 'is no bounce and is kept whole'
tap_ok 'with all of its text' grep -rq '何時ですか' "$D/replies/new"
tap_is "$(printf 'Subject: \xff\xfe\r\n\r\n\x00\x80 bytes\r\n' | order "$(b 4)" base64 | post)" 200 'bytes that are no text, in base64'
tap_ok 'are kept as they are' env LC_ALL=C grep -rqaP "\\x00\\x80 bytes" "$D/replies/new"
tap_is "$(dsn 5 5.1.1 | order "$(b 5)" text | sed 's/UTF8/EBCDIC/' | post)" 200 'an encoding that nobody knows'
tap_is "$(of_send 5 bounced_at) $(kept_aside unreadable)" '- 1' 'is kept aside'
tap_is "$(dsn 5 5.1.1 | sed "s/b+[a-z0-9]*@/x@/" | order "x@$DOMAIN" text | post)" 200 'a report without a token'
tap_is "$(of_send 5 bounced_at)" - 'A16: changes nothing, though SNS signed the notice'
tap_is "$(dsn 5 5.1.1 | order "$(b 5)" text | sed 's/}$/, "forge": "signature"}/' | post)" 403 'a forged notice'
tap_is "$(of_send 5 bounced_at)" - 'changes nothing'

# ---- from S3 -----------------------------------------------------------------------------

dsn 10 5.1.1 >"$D/objects/plain"
tap_is "$(order "$(b 10)" plain | post)" 200 'HTTP: a report in S3'
tap_is "$(of_send 10 class)" hard 'is fetched and read'
dsn 11 5.1.1 >"$D/objects/in box/é+a~b(1)"
tap_is "$(order "$(b 11)" 'in box/é+a~b(1)' | post)" 200 'a key with blanks, signs and letters'
tap_is "$(of_send 11 class)" hard 'is signed and fetched as well'
before=$(wc -l <"$D/s3.log")
dsn 12 5.1.1 >"$D/objects/late"
tap_is "$(order "$(b 12)" late somebody-elses | post)" 200 'a bucket that s3.buckets does not name'
tap_is "$(kept_aside bucket_not_allowed) $(wc -l <"$D/s3.log")" "1 $before" 'is kept aside, and nobody was asked'
tap_is "$(order "$(b 12)" '../late' | post) $(order "$(b 12)" 'a/./late' | post) $(wc -l <"$D/s3.log")" "200 200 $before" \
	'keys with dots as segments are not asked for'
order "$(b 13)" not-there >"$D/order"
tap_is "$(post <"$D/order") $(post <"$D/order") $(kept_aside object_missing)" '503 503 0' 'an object that is not there: again later'
dsn 13 5.1.1 >"$D/objects/not-there"
tap_is "$(post <"$D/order") $(of_send 13 class)" '200 hard' 'when it is there it is read'
order "$(b 14)" never >"$D/order"
tap_is "$(post <"$D/order") $(post <"$D/order") $(post <"$D/order")" '503 503 200' 'one that never comes is given up at the third time'
tap_is "$(kept_aside object_missing)" 1 'and its notice kept aside'
tap_ok 'with a word to the operator' grep -q 'reason=object_missing error="NoSuchKey: s3://example-inbound-mail/never"' "$D/feedback.log"
tap_is "$(order "$(b 14)" trick-redirect | post)" 503 'a redirect is not followed'
tap_is "$(of_send 10 bounced_at | wc -l) $(grep -c '/plain$' "$D/s3.log")" '1 1' 'the other object was asked for once only'
tap_is "$(order "$(b 14)" trick-denied | post)" 503 'no rights: again later'
tap_ok 'and the log names it' grep -q 'S3 says 403 AccessDenied' "$D/feedback.log"
tap_is "$(order "$(b 14)" trick-endless | post)" 200 'an object without end'
tap_is "$(kept_aside object_too_large)" 1 'is cut at 30 MB and its notice kept aside'
{ dsn 15 5.1.1; head -c 3000000 /dev/zero | tr '\0' 'x' | fold -w 70; } >"$D/objects/big"
tap_is "$(order "$(b 15)" big | post) $(of_send 15 class)" '200 hard' 'a mail of 3 MB is read by its beginning'
kept=$(count_kept)
{ reply_of_person 2; head -c 3000000 /dev/zero | tr '\0' 'y' | fold -w 70; } >"$D/objects/big-reply"
tap_is "$(order "$(b 16)" big-reply | post) $(count_kept)" "200 $((kept + 1))" "a person's reply of 3 MB"
tap_ok 'is kept whole' test "$(find "$D/replies/new" -size +2900k | wc -l)" = 1
for i in {1..20}; do
	order "$(b 17)" trick-slow | $SNS sign "$D/sns" --topic "$TOPIC" >"$D/stalled.$i"
done
slow=$(grep -c trick-slow "$D/s3.log")
stalled=()
for i in {1..20}; do
	curl -s -m 30 -o /dev/null -w '%{http_code} %{time_total}\n' -H 'Content-Type: text/plain' --data-binary "@$D/stalled.$i" \
		"http://127.0.0.1:$HTTP/sns" >"$D/answer.$i" &
	stalled+=($!)
done
s3_is_asked()
{
	[ "$(grep -c trick-slow "$D/s3.log")" -gt "$slow" ]
}
tap_ok 'twenty notices of objects that come by a byte a second' services_wait 10 s3_is_asked
tap_is "$(printf '{"kind":"delivery","address":"user18@example.com","token":"%s"}\n' "$(token 18)" | post)" 200 'hold up no other event'
tap_is "$(dsn 19 5.1.1 | order "$(b 19)" text | post)" 200 'nor a mail inside its notice'
wait "${stalled[@]}"
tap_is "$(cut -d ' ' -f 1 "$D"/answer.* | sort | uniq -c | tr -s ' ')" ' 20 503' 'the answer is due in 10 s: again later'
tap_is "$(cat "$D"/answer.* | awk '$2 > 14' | wc -l)" 0 'and comes by then'
tap_is "$(metrics metrics | grep '^kairan_feedback_quarantined_total{source="http".*[1-9]$' | sort)" \
'kairan_feedback_quarantined_total{source="http",reason="bucket_not_allowed"} 1
kairan_feedback_quarantined_total{source="http",reason="object_missing"} 1
kairan_feedback_quarantined_total{source="http",reason="object_too_large"} 1
kairan_feedback_quarantined_total{source="http",reason="unreadable"} 3' 'what was kept aside is counted by reason'
daemon_end
tap_is $? 0 'ends well, though the object still drips'
dsn 14 5.1.1 >"$D/objects/never"
"$BIN/kairan" feedback quarantine replay >"$D/again.out" 2>"$D/again.err"
tap_is "$? $(of_send 14 class) $(one "string_agg(reason, ' ' ORDER BY id) FROM kairan.kept_notice")" \
	'1 hard unreadable bucket_not_allowed unreadable unreadable object_too_large' \
	'replayed when its object is there it is read; the others are kept on'

# ---- the same over SQS -------------------------------------------------------------------

export KAIRAN_SQS_QUEUE_URL=$QUEUE KAIRAN_SQS_ENDPOINT=https://127.0.0.1:$SQS KAIRAN_SQS_CA_FILE=$D/aws/ca.pem
export KAIRAN_SQS_WAIT_S=1 KAIRAN_SQS_VISIBILITY_S=3 KAIRAN_FEEDBACK_HTTP_LISTEN=
kept=$(count_kept)
daemon_start
dsn 20 5.1.1 | order "$(b 20)" text | put
tap_ok 'SQS: a report inside the notice is committed and deleted' services_wait 15 deleted_is 1
tap_is "$(of_send 20 class)" hard 'and read'
dsn 21 5.1.1 >"$D/objects/twentyone"
order "$(b 21)" twentyone | put
tap_ok 'SQS: one in S3' services_wait 15 deleted_is 2
tap_is "$(of_send 21 class)" hard 'and read'
reply_of_person 3 >"$D/objects/reply"
order "$(b 22)" reply | put
tap_ok "SQS: a person's reply in S3" services_wait 15 deleted_is 3
tap_is "$(of_send 22 bounced_at) $(count_kept)" "- $((kept + 1))" 'is no bounce and is kept whole'
order "$(b 23)" gone | put
tap_ok 'SQS: an object that is missing is given up at the third time' services_wait 40 deleted_is 4
tap_is "$(kept_aside object_missing)" 2 'and kept aside'
# shellcheck disable=SC2119
pg_stop "$D" immediate
dsn 24 5.1.1 >"$D/objects/twentyfour"
order "$(b 24)" twentyfour | put
sleep 4
tap_ok 'without PostgreSQL nothing is deleted' deleted_is 4
FAST=1 pg_start "$D" >/dev/null 2>&1
tap_ok 'with it, it is' services_wait 20 deleted_is 5
tap_is "$(of_send 24 class)" hard 'after the commit'
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE 'user[0-9]+@|hanako@|wJalr' "$D/feedback.log")" 0 'no address and no secret in the log'
tap_is "$(grep 'contain:' "$D/feedback.log" | sort | uniq -c)" '' 'a contained program does nothing that is refused'

# ---- one notice on standard input, settings ----------------------------------------------

dsn 30 5.1.1 >"$D/objects/thirty"
order "$(b 30)" thirty | $SNS sign "$D/sns" --topic "$TOPIC" | "$BIN/kairan-feedback" --stdin --sns
tap_is "$? $(of_send 30 class)" '0 hard' 'kairan-feedback --stdin --sns fetches it, too'
export KAIRAN_SQS_QUEUE_URL='' KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$HTTP
tap_like "$(KAIRAN_S3_BUCKETS='Bad_Name' timeout 20 "$BIN/kairan-feedback" 2>&1 | tail -n 1)" 's3.buckets' 'a bucket that is none is named'
tap_like "$(KAIRAN_S3_REGION='' timeout 20 env -u AWS_REGION -u AWS_DEFAULT_REGION HOME=/nonexistent "$BIN/kairan-feedback" 2>&1 | tail -n 1)" \
	'\[s3\]: no region' 'so is a region that is missing'
tap_done
