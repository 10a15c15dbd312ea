#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan-feedback and a FAKE Amazon SQS that verifies every signature: SNS documents, raw delivery
# and EventBridge in the queue, nothing deleted before its commit, poison. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
PORT=$(services_free_port)
QUEUE=https://sqs.ap-northeast-1.amazonaws.com/123456789012/feedback
"$PYTHON" tests/support/ses_fake.py init "$D/aws" 2>"$D/aws.log" || { cat "$D/aws.log"; tap_bail 'no certificates'; }
service_spawn sqs "$D/sqs.log" "$PYTHON" tests/support/sqs_fake.py serve "$D/aws" --queue "$QUEUE" \
	--control "$D/control" "$PORT" 2>/dev/null
export KAIRAN_SQS_QUEUE_URL=$QUEUE KAIRAN_SQS_ENDPOINT=https://127.0.0.1:$PORT
export KAIRAN_SQS_CA_FILE=$D/aws/ca.pem KAIRAN_SQS_WAIT_S=2 KAIRAN_SQS_VISIBILITY_S=3 KAIRAN_SQS_POISON_AFTER=3
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY

put()
{
	"$PYTHON" tests/support/sqs_fake.py put "$PORT"
}

# arguments: JSON order of sns_fake.py; stdout: a signed document
document()
{
	printf '%s\n' "$1" | $SNS sign "$D/sns" --topic "$TOPIC"
}

# arguments: field
queue()
{
	"$PYTHON" tests/support/sqs_fake.py state "$PORT" | "$PYTHON" -c '
import json, sys
print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

queue_is()
{
	[ "$(queue "$1" 2>/dev/null)" = "$2" ]
}

# arguments: order; stdout: the SES event alone, as raw delivery has it
raw()
{
	document "$1" | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["Message"])'
}

bridge()
{
	raw "$1" | "$PYTHON" -c '
import json, sys
print(json.dumps({"version": "0", "id": "e1", "detail-type": "Email Bounced", "source": "aws.ses",
    "account": "123456789012", "time": "2026-11-20T10:00:00Z", "region": "ap-northeast-1",
    "resources": [], "detail": json.load(sys.stdin)}))'
}

services_wait 10 queue_is calls 0 || tap_bail 'the queue does not answer'
daemon_start
tap_is $? 0 'starts'
document "{\"kind\":\"bounce\",\"address\":\"user1@example.com\",\"token\":\"$(token 1)\"}" | put
tap_ok 'a signed document is taken and deleted' services_wait 10 queue_is deleted 1
tap_like "$(of_send 1 bounced_at)" '^20' 'the send row has bounced'
tap_is "$(queue refused)" 0 'every signature was right'
$SNS many "$D/sns" "$D/keys" 1 60 --topic "$TOPIC" | tail -n +2 | put
tap_ok 'sixty more in batches of ten' services_wait 15 queue_is deleted 60
tap_is "$(one 'count(*) FROM kairan.send WHERE delivered_at IS NOT NULL')" 59 'all are delivered'
tap_is "$(source_is sqs committed)" 60 'its health counts them'
tap_is "$(source_is sqs up)" True 'and it is up'

# ---- forged and unsigned -----------------------------------------------------------------

document "{\"kind\":\"complaint\",\"address\":\"user61@example.com\",\"token\":\"$(token 61)\",\"forge\":\"topic\"}" | put
tap_ok 'a document of a foreign topic stays until it was received three times' \
	services_wait 20 queue_is deleted 61
tap_is "$(of_send 61 complained_at)" - 'changes nothing'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE source = 'sqs' AND reason = 'poison'")" 1 \
	'and is kept aside'
tap_ok 'with a word to the operator' grep -q 'sqs message is not acceptable, left in the queue' "$D/feedback.log"
raw "{\"kind\":\"bounce\",\"address\":\"user62@example.com\",\"token\":\"$(token 62)\"}" | put
looks=$(queue calls)
looked_twice()
{
	[ "$(queue calls)" -ge $((looks + 2)) ]
}
services_wait 10 looked_twice || true
tap_is "$(queue deleted)" 61 'raw delivery is left in the queue'
tap_is "$(of_send 62 bounced_at)" - 'unless it is allowed'
daemon_end
tap_is $? 0 'ends well in the middle of a long poll'

KAIRAN_SQS_ACCEPT_UNSIGNED=yes
export KAIRAN_SQS_ACCEPT_UNSIGNED
daemon_start
tap_ok 'sqs.accept_unsigned takes it' services_wait 10 queue_is deleted 62
tap_like "$(of_send 62 bounced_at)" '^20' 'the send row has bounced'
bridge "{\"kind\":\"bounce\",\"address\":\"user63@example.com\",\"token\":\"$(token 63)\"}" | put
tap_ok 'so it does an event of EventBridge' services_wait 10 queue_is deleted 63
tap_like "$(of_send 63 bounced_at)" '^20' 'the send row has bounced'
document "{\"kind\":\"complaint\",\"address\":\"user64@example.com\",\"token\":\"$(token 64)\",\"forge\":\"signature\"}" | put
tap_ok 'a forged signature is no unsigned body' services_wait 20 queue_is deleted 64
tap_is "$(of_send 64 complained_at)" - 'and changes nothing'

# ---- nothing is deleted before its commit ------------------------------------------------

# shellcheck disable=SC2119
pg_stop "$D" immediate
document "{\"kind\":\"bounce\",\"address\":\"user70@example.com\",\"token\":\"$(token 70)\"}" | put
sleep 5
tap_is "$(queue deleted)" 64 'without PostgreSQL nothing is deleted'
tap_is "$(queue hidden)" 1 'what was taken stays hidden longer than its visibility'
tap_ok 'F46: since its visibility is extended' test "$(queue extended)" -ge 2
FAST=1 pg_start "$D" >/dev/null 2>&1
tap_ok 'with PostgreSQL it is committed and deleted' services_wait 20 queue_is deleted 65
tap_like "$(of_send 70 bounced_at)" '^20' 'the send row has bounced'
tap_is "$(queue receives)" '[]' 'the queue is empty'

echo 'delete_fails = 1' >"$D/control"
document "{\"kind\":\"bounce\",\"address\":\"user71@example.com\",\"token\":\"$(token 71)\"}" | put
tap_ok 'a failed deletion is repeated when it comes again' services_wait 15 queue_is deleted 66
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE send_id = 71")" 1 'F46: a message that comes again is one event'
echo 'bad_md5 = 1' >"$D/control"
document "{\"kind\":\"bounce\",\"address\":\"user72@example.com\",\"token\":\"$(token 72)\"}" | put
sleep 1
echo >"$D/control"
tap_ok 'a damaged body is asked for again' services_wait 15 queue_is deleted 67
tap_like "$(of_send 72 bounced_at)" '^20' 'and then taken'
echo 'error = AccessDenied:403' >"$D/control"
down()
{
	[ "$(source_is sqs up)" = False ]
}
tap_ok 'a refusal shows in the health' services_wait 10 down
tap_like "$(source_is sqs last_error)" 'AccessDenied: as told' 'with its name'
echo >"$D/control"
up()
{
	[ "$(source_is sqs up)" = True ]
}
tap_ok 'and is over when it is over' services_wait 20 up
tap_ok 'Prometheus sees it' grep -q '^kairan_feedback_source_up{source="sqs"} 1$' <(metrics metrics)

# ---- kill -9 in the middle ----------------------------------------------------------------

for i in {100..140}; do
	printf '{"kind":"bounce","address":"user%s@example.com","token":"%s"}\n' "$i" "$(token "$i")"
done | $SNS sign "$D/sns" --topic "$TOPIC" | put
daemon_end KILL
daemon_start
tap_ok 'after kill -9 all come' services_wait 30 queue_is deleted 108
tap_is "$(one 'count(*) FROM kairan.send WHERE id BETWEEN 100 AND 140 AND bounced_at IS NOT NULL')" 41 \
	'and all are recorded'

# ---- many ---------------------------------------------------------------------------------

calls=$(queue calls) connections=$(queue connections) batches=$(metrics metrics | sed -n 's/^kairan_feedback_batches_total //p')
$SNS many "$D/sns" "$D/keys" 1 100 --topic "$TOPIC" | put
tap_ok 'a hundred come' services_wait 30 queue_is deleted 208
batches=$(($(metrics metrics | sed -n 's/^kairan_feedback_batches_total //p') - batches))
tap_ok "and are committed together: $batches batches" test "$batches" -le 3
tap_ok 'in more than twenty calls' test $(($(queue calls) - calls)) -ge 20
tap_ok 'over the connection there is' test $(($(queue connections) - connections)) -le 1

# ---- lag ----------------------------------------------------------------------------------

hold
document "{\"kind\":\"bounce\",\"address\":\"user63@example.com\",\"token\":\"$(token 63)\"}" | put
tap_ok 'while PostgreSQL takes nothing the age of the message is told' services_wait 30 source_reaches sqs lag_s 1
let_go
tap_ok 'it is committed and deleted' services_wait 30 queue_is deleted 209
sqs_has_no_lag()
{
	[ "$(source_is sqs lag_s)" = 0 ]
}
tap_ok 'and nothing waits' services_wait 20 sqs_has_no_lag

# ---- a queue that does not count ----------------------------------------------------------

poison="count(*) FROM kairan.feedback_event WHERE source = 'sqs' AND reason = 'poison'"
before=$(one "$poison")
echo 'no_count = 1' >"$D/control"
document "{\"kind\":\"complaint\",\"address\":\"user61@example.com\",\"token\":\"$(token 61)\",\"forge\":\"signature\"}" | put
tap_ok 'without ApproximateReceiveCount a forged document leaves the queue, too' services_wait 20 queue_is deleted 210
tap_is "$(one "$poison")" $((before + 1)) 'and is kept aside'
echo >"$D/control"
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE 'user[0-9]+@|wJalr' "$D/feedback.log")" 0 'no address and no secret in the log'
tap_done
