#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan-feedback end to end: signed, forged and broken documents over HTTP, mail by LMTP,
# Maildir and standard input, PostgreSQL lost and back, a clean end. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2317,SC2119,SC2086 # functions called by name; words on purpose
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
# shellcheck source=tests/support/feedback.sh
. tests/support/feedback.sh

feedback_start
mkdir -p "$D/md/new" "$D/md/cur" "$D/md/tmp"
PORT=$(services_free_port)
URL=http://127.0.0.1:$PORT
CONF=$KAIRAN_CONFIG
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$PORT KAIRAN_FEEDBACK_LMTP_LISTEN=unix:$D/lmtp
export KAIRAN_FEEDBACK_MAILDIR=$D/md
dsn 29 4.2.2 >"$D/md/new/0.start"

# arguments: JSON line; stdout: HTTP status
post()
{
	printf '%s\n' "$1" | $SNS send "$D/sns" "$URL/sns" --topic "$TOPIC" |
		sed -n 's/.*"status": \([0-9]*\).*/\1/p'
}

# arguments: method, path, further curl options; stdout: HTTP status
status()
{
	local method=$1 path=$2

	shift 2
	curl -s -o /dev/null -m 15 -w '%{http_code}' -X "$method" "$@" "$URL$path"
}

healthy()
{
	[ "$(status GET /healthz)" = 200 ]
}

# arguments: bytes for the server; stdout: what it says. Ends when the server closes, or after 3 s
raw_http()
{
	printf '%b' "$1" | timeout 3 "$PYTHON" -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3)
s.sendall(sys.stdin.buffer.read())
out = b""
try:
    while True:
        b = s.recv(4096)
        if not b: break
        out += b
except OSError: pass
sys.stdout.buffer.write(out.split(b"\r\n")[0])' "$PORT"
}

# arguments: recipient; a mail on stdin; stdout: the reply to the content
lmtp()
{
	"$PYTHON" -c '
import smtplib, socket, sys
class L(smtplib.LMTP):
    def connect(self, host="", port=0, source_address=None):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.settimeout(20)
        self.sock.connect(sys.argv[1]); self.file = None
        return self.getreply()
c = L("/x")
c.ehlo_or_helo_if_needed(); c.mail(""); code, text = c.rcpt(sys.argv[2])
if code >= 300: print(code); sys.exit()
code, text = c.data(sys.stdin.buffer.read()); print(code, text.decode()); c.quit()
' "$D/lmtp" "$1"
}

# ---- start ------------------------------------------------------------------------------

daemon_start	# not within tap_ok, whose subshell would keep the pid to itself
tap_is $? 0 'starts and is healthy'
tap_is "$(stat -c %a "$D/lmtp")" 666 'the LMTP socket may be used by the MTA'

# ---- SNS --------------------------------------------------------------------------------

T=$(token 1)
tap_is "$(post "{\"kind\":\"bounce\",\"address\":\"user1@example.com\",\"token\":\"$T\",\"feedback_id\":\"f1\"}")" \
	200 'a signed bounce (event publishing) is taken'
tap_like "$(of_send 1 bounced_at)" '^20' 'the send row has bounced'
tap_is "$(one "scope || ' ' || reason FROM kairan.suppression WHERE address_key = 'user1@example.com'")" \
	'all bounce' 'and the address is suppressed'
before=$(one 'count(*) FROM kairan.feedback_event')
tap_is "$(post "{\"kind\":\"bounce\",\"address\":\"user1@example.com\",\"token\":\"$T\",\"feedback_id\":\"f1\",\"dialect\":\"notification\"}")" \
	200 'the same bounce in the other dialect is taken'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$before" 'F46: and is the same event'
tap_is "$(post "{\"kind\":\"complaint\",\"address\":\"user2@example.com\",\"token\":\"$(token 2)\",\"version\":1}")" \
	200 'a complaint with signature version 1 is taken'
tap_like "$(of_send 2 complained_at)" '^20' 'the send row has a complaint'
tap_is "$(post "{\"kind\":\"delivery\",\"address\":\"user3@example.com\",\"token\":\"$(token 3)\"}")" \
	200 'a delivery is taken'
tap_like "$(of_send 3 delivered_at)" '^20' 'the send row is delivered'
tap_is "$(post '{"kind":"complaint","address":"Stranger@Example.com"}')" 200 \
	'a complaint without our token is taken'
tap_is "$(one "reason FROM kairan.suppression WHERE address_key = 'stranger@example.com'")" complaint \
	'and suppresses the address it names'

before=$(one 'count(*) FROM kairan.feedback_event')
for forge in signature topic url; do
	tap_is "$(post "{\"kind\":\"complaint\",\"address\":\"victim@example.com\",\"token\":\"$(token 4)\",\"forge\":\"$forge\"}")" \
		403 "forged: $forge"
done
tap_is "$(post "{\"kind\":\"complaint\",\"address\":\"victim@example.com\",\"token\":\"$(token 4)\",\"forge\":\"header\"}")" \
	403 'A7: a header that names another type than the signed body is refused'
tap_is "$(post '{"kind":"complaint","forge":"unsigned"}')" 400 'unsigned'
tap_is "$(status POST /sns --data '{"eventType":"Bounce"}')" 400 'raw delivery is no document of SNS'
tap_is "$(status POST /sns --data 'not json')" 400 'not JSON'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$before" 'nothing of this left a trace'
tap_ok 'but the source says that it refused them' test "$(source_is http left)" -ge 5

tap_is "$(post '{"kind":"x","message":"{\"eventType\":\"Bounce\"","message_id":"m-broken"}')" 200 \
	'authentic but broken is taken'
tap_is "$(one "kind || ' ' || reason FROM kairan.feedback_event WHERE semantic_key LIKE '%m-broken%'")" \
	'other unreadable' 'and kept aside'
tap_is "$(post '{"kind":"x","type":"SubscriptionConfirmation","message":"You have chosen…"}')" 200 \
	'a subscription is taken'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'subscription_confirmation'")" 1 \
	'and kept'
tap_ok 'its address is logged for the operator' grep -q 'url=https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription' "$D/feedback.log"
tap_is "$(post '{"kind":"x","type":"UnsubscribeConfirmation","message":"Bye"}')" 200 \
	'the end of a subscription is taken'
tap_ok 'and is an alarm' grep -q 'error kairan-feedback: sns subscription was ended' "$D/feedback.log"

# ---- HTTP framing -----------------------------------------------------------------------

tap_is "$(status GET /sns)" 405 'GET is refused'
tap_is "$(status POST /other --data x)" 404 'another path is unknown'
head -c 600000 /dev/zero >"$D/big"
tap_is "$(status POST /sns --data-binary "@$D/big")" 413 'a large body is refused'
tap_is "$(status POST /sns --data-binary "@$D/big" -H 'Transfer-Encoding: chunked')" 413 \
	'a large body without a length is refused'
tap_like "$(raw_http 'POST /sns HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc')" \
	' 400' 'two lengths are refused'
tap_like "$(raw_http 'POST /sns HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')" \
	' 400' 'length beside encoding is refused'
tap_like "$(raw_http 'POST http://x/sns HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}')" \
	' 400' 'absolute form is refused'
long=$(printf 'a%.0s' {1..20000})
tap_like "$(raw_http "POST /sns HTTP/1.1\r\nHost: x\r\nX: $long\r\nContent-Length: 2\r\n\r\n{}")" \
	' 4[13][134]' 'a long header is refused'

# posts on one connection; stdout: the status of each and whether the connection was kept
for i in 1 2; do
	printf '{"kind":"delivery","address":"user%s@example.com","token":"%s"}\n' "$i" "$(token "$i")"
done | $SNS sign "$D/sns" --topic "$TOPIC" >"$D/two"
tap_is "$("$PYTHON" -c '
import http.client, json, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=15)
c.connect()
first = c.sock
said = []
documents = [l.encode() for l in open(sys.argv[2])]
def post(body, chunked=False):
    c.request("POST", "/sns", iter([body]) if chunked else body,
        {"x-amz-sns-message-type": "Notification"}, encode_chunked=chunked)
    r = c.getresponse()
    r.read()
    said.append("%d %s" % (r.status, "kept" if c.sock is first else "closed"))
post(documents[0])
post(documents[1])
post(b"not json")
c.connect()
first = c.sock
post(documents[0], chunked=True)
print(", ".join(said))' "$PORT" "$D/two")" '200 kept, 200 kept, 400 closed, 200 closed' \
	'a connection goes on after what was recorded, unless the end of the body was not said before it'

# a client that says nothing, and one that sends a byte now and then for a body of its own
slow()
{
	"$PYTHON" -c '
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(0.5)
start = time.time()
if sys.argv[2] == "kept":
    body = open(sys.argv[4], "rb").readline()
    s.sendall(b"POST /sns HTTP/1.1\r\nHost: x\r\nx-amz-sns-message-type: Notification\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
if sys.argv[2] == "drip":
    s.sendall(b"POST /sns HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
while time.time() - start < 20:
    try:
        if sys.argv[2] == "drip": s.sendall(b"a")
        if not s.recv(1000): break
    except socket.timeout: pass
    except OSError: break
print("closed" if time.time() - start < float(sys.argv[3]) else "still open")' "$PORT" "$1" "$2" "$D/two"
}
slow drip 12 >"$D/drip" &
DRIP=$!
slow kept 12 >"$D/kept" &
KEPT=$!
tap_is "$(slow idle 8)" closed 'a silent connection is closed'
wait "$DRIP"
tap_is "$(cat "$D/drip")" closed 'so is one that drips'
wait "$KEPT"
tap_is "$(cat "$D/kept")" closed 'and one that was kept and then says nothing'

# ---- LMTP -------------------------------------------------------------------------------

tap_is "$(dsn 10 5.1.1 | lmtp "b+$(token 10)@$DOMAIN")" '250 2.0.0 recorded' 'a report by LMTP is recorded'
tap_like "$(of_send 10 bounced_at)" '^20' 'the send row has bounced'
tap_is "$(lmtp "nobody@$DOMAIN" </dev/null)" 550 'another recipient is unknown'
tap_is "$(printf 'From: user11@example.com\nSubject: unsubscribe\n\n' | lmtp "u+$(token 11 u)@$DOMAIN")" \
	'250 2.0.0 recorded' 'an unsubscribe by mail is recorded'
tap_is "$(one "scope || ' ' || reason FROM kairan.suppression WHERE address_key = 'user11@example.com'")" \
	'list:marketing unsubscribe' 'and suppresses the list'
forged=$(dsn 12 5.1.1 | sed "s/b+[a-z2-7]*@/b+$(printf 'a%.0s' {1..34})@/")
tap_is "$(printf '%s\n' "$forged" | lmtp "b+$(printf 'a%.0s' {1..34})@$DOMAIN")" '250 2.0.0 recorded' \
	'a forged report is recorded'
tap_is "$(of_send 12 bounced_at)" - 'and changes nothing'

# ---- Maildir ----------------------------------------------------------------------------

# looked for at the start, when PostgreSQL is not reached yet, and then again at once, not with the scan 10 s later
from=$(date -d "$(sed -n 's/ .*maildir is watched.*//p' "$D/feedback.log" | head -n 1)" +%s)
tap_ok 'a file that lay there at the start is taken' services_wait 15 test -f "$D/md/cur/0.start:2,S"
tap_ok 'without a wait for the scan of each 10 s' test $(($(stat -c %Z "$D/md/cur/0.start:2,S") - from)) -lt 9
dsn 20 5.1.1 >"$D/md/tmp/1.host"
sleep 0.3
tap_is "$(ls "$D/md/tmp")" 1.host 'F48: tmp/ is left alone'
mv "$D/md/tmp/1.host" "$D/md/new/1.host"
tap_ok 'a file is moved to cur/' services_wait 5 test -f "$D/md/cur/1.host:2,S"
tap_like "$(of_send 20 bounced_at)" '^20' 'after its commit'
mkdir "$D/md/new/2.folder"
ln -s /etc/hostname "$D/md/new/3.link"
printf 'no mail at all' >"$D/md/tmp/4.host" && mv "$D/md/tmp/4.host" "$D/md/new/"
tap_ok 'what is not understood is moved, too' services_wait 5 test -f "$D/md/cur/4.host:2,S"
tap_is "$(find "$D/md/new" -mindepth 1 -printf '%f ' | tr ' ' '\n' | sort | xargs)" '2.folder 3.link' \
	'F48: what is no file stays'
tap_is "$(grep -c 'file=3.link' "$D/feedback.log")" 1 'and is logged once'
dsn 21 5.1.1 >"$D/dsn"
for i in {100..400}; do cp "$D/dsn" "$D/md/tmp/$i.host"; done
mv "$D"/md/tmp/*.host "$D/md/new/"
all_moved()
{
	[ "$(find "$D/md/cur" -name '*.host:2,S' | wc -l)" = 303 ]
}
tap_ok 'F48: hundreds of files at once' services_wait 10 all_moved

# ---- standard input ---------------------------------------------------------------------

dsn 30 5.1.1 | "$BIN/kairan-feedback" --config "$CONF" --stdin --recipient "b+$(token 30)@$DOMAIN" 2>/dev/null
tap_is $? 0 '--stdin takes a mail'
tap_like "$(of_send 30 bounced_at)" '^20' 'the send row has bounced'
printf '{"kind":"delivery","address":"user31@example.com","token":"%s"}\n' "$(token 31)" |
	$SNS sign "$D/sns" | "$BIN/kairan-feedback" --config "$CONF" --stdin --sns 2>/dev/null
tap_is $? 0 '--stdin --sns takes a document'
tap_like "$(of_send 31 delivered_at)" '^20' 'the send row is delivered'
printf '{"kind":"delivery","forge":"signature"}\n' |
	$SNS sign "$D/sns" | "$BIN/kairan-feedback" --config "$CONF" --stdin --sns 2>/dev/null
tap_is $? 1 '--stdin --sns refuses a forged one'
dsn 30 5.1.1 | KAIRAN_DATABASE_URL='postgresql:///kairan?host=/nonexistent' \
	"$BIN/kairan-feedback" --config "$CONF" --stdin 2>/dev/null
tap_is $? 75 '--stdin without PostgreSQL is temporary'
KAIRAN_FEEDBACK_LMTP_LISTEN=192.0.2.1:24 KAIRAN_FEEDBACK_HTTP_LISTEN='' KAIRAN_FEEDBACK_MAILDIR='' \
	"$BIN/kairan-feedback" --config "$CONF" 2>"$D/refused.log"
tap_is $? 2 'LMTP off the loopback is a mistake in the configuration'
tap_ok 'and the message says what to do' grep -q 'unix:/path' "$D/refused.log"
KAIRAN_FEEDBACK_HTTP_LISTEN='' KAIRAN_FEEDBACK_MAILDIR='' "$BIN/kairan-feedback" --config "$CONF" 2>/dev/null
tap_is $? 2 'a socket that is in use is not taken over'
tap_ok 'the first server still has it' test -S "$D/lmtp"

# ---- PostgreSQL away and back, and a row that it refuses ---------------------------------

# what waits meanwhile is one batch later: the refused one must not block its neighbours
sql -c "ALTER TABLE kairan.feedback_event ADD CONSTRAINT trap CHECK (kind <> 'bounced' OR send_id IS DISTINCT FROM 42)"
pg_stop "$D" fast
unhealthy()
{
	[ "$(status GET /healthz)" = 503 ]
}
tap_ok 'not healthy without PostgreSQL' services_wait 5 unhealthy
tap_is "$(post "{\"kind\":\"delivery\",\"token\":\"$(token 32)\"}")" 503 'F47: SNS is told to try again'
tap_is "$(dsn 33 5.1.1 | lmtp "b+$(token 33)@$DOMAIN")" '451 4.3.0 try again' 'F47: so is the MTA'
dsn 34 5.1.1 >"$D/md/new/500.host"
for i in 40 41 42 43 44; do dsn "$i" 5.1.1 >"$D/md/new/5$i.host"; done
sleep 0.5
tap_ok 'a file waits' test -f "$D/md/new/500.host"
pg_start "$D" 2>/dev/null
export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
tap_ok 'healthy again' services_wait 10 healthy
tap_is "$(post "{\"kind\":\"delivery\",\"token\":\"$(token 32)\"}")" 200 'SNS is served again'
tap_ok 'the file that waited is taken' services_wait 15 test -f "$D/md/cur/500.host:2,S"
tap_like "$(of_send 34 bounced_at)" '^20' 'and committed'
all_taken()
{
	[ -z "$(find "$D/md/new" -name '*.host')" ]
}
tap_ok 'so are its neighbours' services_wait 5 all_taken
tap_is "$(one "string_agg(id::text, ' ' ORDER BY id) FROM kairan.send WHERE run_id = 1 AND id >= 40 AND bounced_at IS NOT NULL")" \
	'40 41 43 44' 'all but the one that the database refuses'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'refused' AND kind = 'other'")" 1 \
	'which is kept aside'
tap_is "$(grep -c 'event refused and kept aside' "$D/feedback.log")" 1 'with an error in the log'

# every document acknowledged while PostgreSQL is killed again and again is there
for i in $(seq 1 60); do
	printf '{"kind":"click","token":"%s","message_id":"kill-%d","ses_id":"ses-%d"}\n' "$(token 5)" "$i" "$i"
done >"$D/orders"
$SNS send "$D/sns" "$URL/sns" <"$D/orders" >"$D/answers" &
SENDER=$!
for _ in 1 2 3; do
	sleep 0.2
	sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'kairan_feedback'" >/dev/null
done
wait "$SENDER"
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE kind = 'clicked'")" \
	"$(grep -c '"status": 200' "$D/answers")" 'acknowledged is committed, whatever happens to the connection'

# ---- answers counted --------------------------------------------------------------------

# arguments: status, reason; what was counted
answered()
{
	metrics metrics | sed -n "s/^kairan_feedback_http_answers_total{status=\"$1\",reason=\"$2\"} //p"
}
published()
{
	[ "$(answered 405 method)" -ge "$((before + 1))" ] 2>/dev/null
}
before=$(answered 405 method)
status PUT /sns >/dev/null
tap_ok 'answers are counted by status and reason' services_wait 10 published
for pair in '200 recorded' '200 quarantined' '403 signature' '403 topic' '403 certificate_url' '403 type_header' '400 request' '400 document' '413 size' '404 path'; do
	# shellcheck disable=SC2086 # two words
	tap_ok "${pair/ /: }" test "$(answered $pair)" -ge 1
done
tap_is "$(metrics metrics | grep -c '^kairan_feedback_http_answers_total{')" 29 'and by nothing from outside'

# ---- end --------------------------------------------------------------------------------

start=$SECONDS
service_stop "$DAEMON" TERM
tap_is $? 0 'SIGTERM ends it with 0'
tap_ok 'within 10 s' test $((SECONDS - start)) -le 10
tap_ok 'the socket is gone' test ! -e "$D/lmtp"
tap_is "$(grep -c 'example\.com\|example\.org' "$D/feedback.log")" 0 'no address is in the log'
"$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])' "$D/lmtp"
daemon_start
tap_is $? 0 'starts over a stale socket'
service_stop "$DAEMON" INT
tap_is $? 0 'SIGINT ends it with 0'
tap_done
