#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan-feedback as an SMTP server for strangers: real bounces of a private Postfix over STARTTLS,
# rules for recipients, lists of addresses, limits, smuggling, replies of people kept and forwarded.
# Rows A… are those of the table of attacks. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/postfix.sh
. tests/support/make_ca.sh
. tests/support/feedback.sh

postfix_available || tap_skip_all "$POSTFIX_WHY_NOT"
feedback_start
PORT=$(services_free_port)
ca_make "$D/ca" && ca_issue "$D/ca" mx 'IP:127.0.0.1,DNS:mx.example.org' || tap_bail 'no certificates'
chmod 600 "$D/ca/mx.key"
printf 'example.com\nexample.net\n' >"$D/domains"
postfix_start "$D" domains="$D/domains" unknown=none feedback="$DOMAIN smtp:[127.0.0.1]:$PORT" \
	conf='smtp_tls_security_level = encrypt' conf="smtp_tls_CAfile = $D/ca/ca.pem" conf='smtp_tls_loglevel = 1' \
	conf='notify_classes =' >/dev/null 2>"$D/postfix.err" || { cat "$D/postfix.err"; tap_bail 'no Postfix'; }
cat >"$D/rules" <<RULES
token                 accept
postmaster@$DOMAIN    keep     # a person
noise@$DOMAIN         drop
.sub.$DOMAIN          accept
$DOMAIN               bounce
RULES
export KAIRAN_SMTP_LISTEN=0.0.0.0:$PORT KAIRAN_SMTP_RULES_FILE=$D/rules KAIRAN_RELAY_EHLO=mx.example.org
export KAIRAN_SMTP_TLS_CERT_FILE=$D/ca/mx.pem KAIRAN_SMTP_TLS_KEY_FILE=$D/ca/mx.key
export KAIRAN_SMTP_DENY=127.0.0.66/32,127.0.1.0/24 KAIRAN_SMTP_CONNECTIONS=12 KAIRAN_SMTP_CONNECTIONS_PER_IP=5
export KAIRAN_REPLY_MAILDIR=$D/replies

say()
{
	"$PYTHON" tests/support/smtp_say.py "$@"
}

# arguments: text with escapes; further arguments of smtp_say.py; stdout: last line said
raw_last()
{
	local text=$1

	shift
	printf '%b' "$text" | say raw "$PORT" "$@" | tail -n 1
}

count_kept()
{
	find "$D/replies/$1" -type f | wc -l
}

reply_of_person()
{
	printf 'From: Hanako <hanako@example.com>\nTo: b@%s\nSubject: Re: November %s\nMessage-ID: <%s@example.com>\n\nWhen do you open? 何時ですか。\n' \
		"$DOMAIN" "$1" "$1"
}

daemon_start
tap_is $? 0 'starts'
tap_is "$(source_is smtp up)" True 'and is up'

# ---- real bounces over TLS ---------------------------------------------------------------

"$PYTHON" -c '
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.sendmail(sys.argv[2], ["none1@example.com"], "Subject: x\r\n\r\nhi\r\n")
' "$POSTFIX_PORT" "b+$(token 1)@$DOMAIN"
tap_ok 'a real bounce of Postfix comes by SMTP' \
	wait_for 15 'bounced_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 1'
tap_is "$(of_send 1 class)" hard 'a hard one'
tap_is "$(one "source FROM kairan.feedback_event WHERE send_id = 1")" dsn 'as a delivery report'
tap_ok 'and over TLS' _postfix_root grep -q "TLS connection established to 127.0.0.1\[127.0.0.1\]:$PORT: TLSv1.3" "$POSTFIX_LOG"
tap_like "$(dsn 2 5.1.1 | say mail "$PORT" "b+$(token 2)@$DOMAIN" --tls "$D/ca/ca.pem")" '^250 2.0.0 recorded' \
	'smtplib with a verified certificate'
tap_is "$(of_send 2 class)" hard '250 came after the commit'
dsn 34 5.1.1 | say leave "$PORT" "b+$(token 34)@$DOMAIN" --tls "$D/ca/ca.pem"
tap_ok 'who ends TLS in the packet of the final dot is heard' \
	wait_for 10 'bounced_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = 34'
tap_like "$(dsn 3 4.2.2 | sed 's/550 4/450 4/; s/no such user/mailbox full/' | say mail "$PORT" "b+$(token 3)@$DOMAIN")" '^250 2.0.0' 'in clear, too, unless told otherwise'
tap_is "$(of_send 3 class)" soft 'A19: 4.x.x is no hard bounce'
before=$(one 'count(*) FROM kairan.feedback_event')
tap_like "$(dsn 2 5.1.1 | say mail "$PORT" "b+$(token 2)@$DOMAIN")" '^250 2.0.0' 'the same mail again'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$before" 'A12: is one event'

# ---- rules -------------------------------------------------------------------------------

tap_like "$(dsn 4 5.1.1 | say mail "$PORT" "b+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@$DOMAIN")" '^550 5.1.1' \
	'A16 A17: a guessed token is refused at RCPT'
tap_like "$(dsn 4 5.1.1 | say mail "$PORT" "b+$(token 4 | cut -c1-33)@$DOMAIN")" '^550 5.1.1' 'A17: a cut one'
tap_like "$(dsn 4 5.1.1 | say mail "$PORT" "u+$(token 4)@$DOMAIN")" '^550 5.1.1' 'A17: one of another purpose'
tap_is "$(of_send 4 bounced_at)" - 'nothing happened to the row'
tap_like "$(dsn 4 5.1.1 | say mail "$PORT" "B+$(token 4 | tr a-z A-Z)@${DOMAIN^^}")" '^250' 'A17: folded case is fine'
tap_like "$(of_send 4 bounced_at)" '^20' 'and acts'
tap_like "$(echo hi | say mail "$PORT" victim@example.com)" '^550 5.7.1 .*relay' 'no relaying to others'
tap_like "$(echo hi | say mail "$PORT" "victim%example.com@$DOMAIN")" '^550 5.1.1' 'nor by a percent'
tap_like "$(echo hi | say mail "$PORT" "@$DOMAIN:victim@example.com")" '^550 5.7.1' 'nor by a source route'
tap_like "$(echo hi | say mail "$PORT" "nobody@$DOMAIN")" '^550 5.1.1' 'unknown here'
before=$(one 'count(*) FROM kairan.feedback_event')
tap_like "$(reply_of_person 0 | say mail "$PORT" "noise@$DOMAIN")" '^250 2.0.0 ok' 'a rule may drop'
tap_is "$(one 'count(*) FROM kairan.feedback_event') $(count_kept new)" "$before 0" 'and then nothing is kept'

# ---- people ------------------------------------------------------------------------------

tap_like "$(reply_of_person 1 | say mail "$PORT" "b+$(token 5)@$DOMAIN" --sender hanako@example.com)" '^250 2.0.0 recorded' \
	"a person's reply to the return path"
tap_is "$(of_send 5 bounced_at)" - 'is no bounce'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE send_id = 5 AND kind = 'other' AND detail::text LIKE '%When do you open%'")" 1 \
	'its beginning is in the inbox'
tap_is "$(count_kept new)" 1 'and it is kept whole'
tap_ok 'with where it came from' grep -qzP 'Return-Path: <hanako@example.com>\r\nReceived: from client.test \(\[127.0.0.1\]\)\r\n\tby mx.example.org with ESMTP;' -r "$D/replies/new"
tap_like "$(reply_of_person 1 | say mail "$PORT" "b+$(token 5)@$DOMAIN")" '^250' 'the same again'
tap_is "$(count_kept new)" 1 'is kept once'
tap_like "$(dsn 6 5.1.1 | say mail "$PORT" "postmaster@$DOMAIN,b+$(token 6)@$DOMAIN")" '^250' 'a bounce to postmaster and us'
tap_is "$(count_kept new)" 2 'the rule keeps it for the person'
tap_like "$(of_send 6 bounced_at)" '^20' 'and it acts all the same'
tap_is "$(stat -c %a "$D"/replies/new/* | sort -u)" 600 'kept mails are nobody else'"'"'s'

# ---- who may connect ---------------------------------------------------------------------

tap_like "$(raw_last 'EHLO c\r\nQUIT\r\n' --from 127.0.0.66)" '^554 5.7.1' 'a denied address'
tap_like "$(raw_last 'EHLO c\r\nQUIT\r\n' --from 127.0.1.9)" '^554 5.7.1' 'a denied network'
tap_like "$(raw_last 'EHLO c\r\nQUIT\r\n' --from 127.0.2.9)" '^221' 'its neighbour may'
tap_is "$(say many "$PORT" 8 --from 127.0.0.5)" '220=5 421=3' 'A14: connections of one address are limited'
tap_is "$({ for i in 1 2 3; do say many "$PORT" 5 --from 127.0.3.$i & done; wait; } | tr ' ' '\n' | awk -F= '{ n[$1] += $2 } END { print n[220] + n[421] }')" 15 \
	'A14: and so are all together'
printf 'EHLO c\r\n' | say raw "$PORT" --from 127.0.4.1 --hold 0 >/dev/null
tap_like "$(raw_last 'QUIT\r\n')" '^221' 'who comes later is served'

# ---- A53, A48, A49: commands -------------------------------------------------------------

tap_like "$(raw_last 'EHLO c\r\nVRFY postmaster\r\n')" '^252 2.0.0' 'A53: VRFY tells nothing'
for command in 'EXPN list' 'ETRN example.com' 'AUTH PLAIN AGEAYg==' TURN 'BDAT 1 LAST' 'XCLIENT ADDR=::1'; do
	tap_like "$(raw_last "EHLO c\\r\\n$command\\r\\n")" '^502 5.5.1' "A53: no ${command%% *}"
done
tap_is "$(printf 'EHLO c\r\n' | say raw "$PORT" | tr '\n' ' ')" \
	'220 mx.example.org ESMTP 250-mx.example.org 250-PIPELINING 250-8BITMIME 250-SMTPUTF8 250-ENHANCEDSTATUSCODES 250-STARTTLS 250 SIZE 1048576 ' \
	'what is offered, and no AUTH'
tap_like "$(raw_last 'EHLO c\r\nSTARTTLS\r\nMAIL FROM:<>\r\n')" '^421 5.5.1 nothing may follow' 'A48: nothing pipelined behind STARTTLS'
tap_like "$(raw_last 'GET / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<>\r\n')" '^421 5.7.0' 'a browser is sent away'
before=$(one 'count(*) FROM kairan.feedback_event')
for text in 'x\n.\nMAIL FROM:<>\nRCPT TO:<T>\nDATA\ny\r\n.\r\n' 'x\r\n.\nMAIL FROM:<>\r\nRCPT TO:<T>\r\nDATA\r\ny\r\n.\r\n' \
	'x\r.\rMAIL FROM:<>\r\ny\r\n.\r\n' 'x\n.\r\ny\r\n.\r\n'; do
	tap_like "$(raw_last "EHLO c\\r\\nMAIL FROM:<>\\r\\nRCPT TO:<b+$(token 7)@$DOMAIN>\\r\\nDATA\\r\\n${text//T/b+$(token 8)@$DOMAIN}")" \
		'^550 5.5.2' 'A53: a smuggled end of data is refused with all of its mail'
done
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$before" 'and none of it was read'
many=$(for _ in {1..30}; do printf 'RCPT TO:<g%s@%s>\\r\\n' "$RANDOM" "$DOMAIN"; done)
tap_like "$(raw_last "EHLO c\\r\\nMAIL FROM:<>\\r\\n$many")" '^421 4.7.0 too many unknown' 'A53: guessing recipients ends'
tap_like "$(raw_last "EHLO c\\r\\nMAIL FROM:<> SIZE=9999999\\r\\n")" '^552 5.3.4' 'SIZE is heeded'
tap_like "$({ printf 'From: a@b.test\n\n'; head -c 1200000 /dev/zero | tr '\0' 'x' | fold -w 900; } | say mail "$PORT" "b+$(token 7)@$DOMAIN")" \
	'^552 5.3.4' 'and so is the size'
tap_like "$({ printf 'From: a@b.test\n\n'; head -c 20000 /dev/zero | tr '\0' 'x'; } | say mail "$PORT" "b+$(token 7)@$DOMAIN")" \
	'^550 5.6.0' 'a line of 20,000 bytes is refused'

# ---- contents: the same parsers as elsewhere ---------------------------------------------

tap_like "$(dsn 9 5.1.1 | sed "s/b+[a-z0-9]*@/x@/" | say mail "$PORT" "postmaster@$DOMAIN")" '^250' 'A16: a true-looking report without a token'
tap_is "$(of_send 9 bounced_at)" - 'changes nothing'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key = 'user9@example.com'")" 0 'and suppresses nobody'
tap_like "$(dsn 10 5.1.1 | sed 's/user10@/user11@/' | say mail "$PORT" "b+$(token 10)@$DOMAIN")" '^250' 'A17: a report that names another'
tap_is "$(of_send 11 bounced_at) $(one "count(*) FROM kairan.suppression WHERE address_key = 'user11@example.com'")" '- 0' \
	'does nothing to the other'
tap_like "$(of_send 10 bounced_at)" '^20' 'the row of the token is meant'
tap_like "$(dsn 12 5.1.1 | sed "s/no such user/<script>alert(1)<\/script> \x1b]0;x\x07/" | say mail "$PORT" "b+$(token 12)@$DOMAIN")" '^250' 'A20: a script and an escape in the diagnostic'
tap_is "$(one "reply ~ '[[:cntrl:]]' FROM kairan.send WHERE run_id = 1 AND id = 12")" f 'the escape is gone'
printf 'From: a@b.test\nAuto-Submitted: auto-replied\nSubject: Away\n\n550 5.1.1 user unknown\n' |
	say mail "$PORT" "b+$(token 13)@$DOMAIN" >/dev/null
tap_is "$(of_send 13 bounced_at)" - 'A19: an auto-reply is no bounce'
printf 'From: x@b.test\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=x\n\n--x\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: user14@example.com\n\n--x--\n' |
	say mail "$PORT" "abuse@$DOMAIN,postmaster@$DOMAIN" >/dev/null
tap_is "$(of_send 14 complained_at)" - 'A21: a complaint without our token changes nothing'
"$PYTHON" -c '
depth = 3000
print("From: a@b.test\nMIME-Version: 1.0")
for i in range(depth): print("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d" % (i, i))
' | say mail "$PORT" "b+$(token 15)@$DOMAIN" >"$D/bomb"
tap_like "$(cat "$D/bomb")" '^250' 'A22: a mail of 3,000 nested parts is taken'
tap_is "$(of_send 15 bounced_at)" - 'and is nothing'
"$PYTHON" -c '
print("From: a@b.test\nTo: " + ",\n ".join("b+%s@x" % ("a" * 34) for i in range(20000)) + "\n\nx")' |
	say mail "$PORT" "b+$(token 15)@$DOMAIN" >"$D/bomb"
tap_like "$(cat "$D/bomb")" '^250' 'A23: 20,000 addresses in a header are taken'
tap_ok 'the daemon still answers' daemon_answers

# ---- a database that is away, kill -9 ----------------------------------------------------

# shellcheck disable=SC2119
pg_stop "$D" immediate
tap_like "$(dsn 20 5.1.1 | say mail "$PORT" "b+$(token 20)@$DOMAIN")" '^451 4.3.0' 'without PostgreSQL a mail is put off'
FAST=1 pg_start "$D" >/dev/null 2>&1
services_wait 15 daemon_answers
# whoever sent it tries again, and may be put off again
taken_again()
{
	dsn 20 5.1.1 | say mail "$PORT" "b+$(token 20)@$DOMAIN" | grep -q '^250'
}
tap_ok 'and taken when it is back' services_wait 30 taken_again
daemon_end KILL
daemon_start
tap_like "$(of_send 20 bounced_at)" '^20' 'what was answered 250 outlives kill -9'
daemon_end
tap_is $? 0 'ends well'

# ---- time, TLS only, allow list, forwarding ----------------------------------------------

ca_issue "$D/ca" new 'IP:127.0.0.1' && cp "$D/ca/mx.pem" "$D/ca/mx.pem.old"
export KAIRAN_SMTP_TLS_REQUIRED=yes KAIRAN_SMTP_IDLE_S=3 KAIRAN_SMTP_SESSION_S=10 KAIRAN_SMTP_ALLOW=127.0.0.1,127.0.9.0/24
export KAIRAN_REPLY_FORWARD_TO=support@example.net KAIRAN_REPLY_RELAY=smtp://127.0.0.1:$POSTFIX_PORT
kept=$(count_kept new)
daemon_start
tap_is $? 0 'starts with another set of settings'
tap_like "$(dsn 30 5.1.1 | say mail "$PORT" "b+$(token 30)@$DOMAIN")" '^530 5.7.0' 'smtp.tls_required'
tap_like "$(dsn 30 5.1.1 | say mail "$PORT" "b+$(token 30)@$DOMAIN" --tls "$D/ca/ca.pem")" '^250' 'with TLS it is taken'
tap_like "$(raw_last 'EHLO c\r\nQUIT\r\n' --from 127.0.5.9)" '^554 5.7.1' 'smtp.allow keeps others out'
tap_like "$(raw_last 'EHLO c\r\nQUIT\r\n' --from 127.0.9.1)" '^221' 'and lets in whom it names'
start=$SECONDS
tap_like "$(say drip "$PORT" 30)" '^(9|1[0-9]) ' 'A14: a slow dripper is ended by the length of his session'
tap_ok 'A14: silence is ended' test "$(printf 'EHLO c\r\n' | timeout 8 "$PYTHON" -c '
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); s.sendall(b"EHLO c\r\n")
t = time.monotonic(); s.settimeout(8)
while s.recv(1000): pass
print(int(time.monotonic() - t))' "$PORT")" -le 7
cp "$D/ca/new.key" "$D/ca/mx.key" && cp "$D/ca/new.pem" "$D/ca/mx.pem" && touch "$D/ca/mx.pem"
tap_like "$(dsn 31 5.1.1 | say mail "$PORT" "b+$(token 31)@$DOMAIN" --tls "$D/ca/ca.pem")" '^250' 'a renewed certificate'
tap_ok 'is read without a restart' grep -q 'smtp has read its certificate again' "$D/feedback.log"
echo broken >"$D/ca/mx.pem"
tap_like "$(dsn 32 5.1.1 | say mail "$PORT" "b+$(token 32)@$DOMAIN" --tls "$D/ca/ca.pem")" '^250' 'a broken one is not taken'
tap_ok 'and is told' grep -q 'smtp keeps the certificate it has' "$D/feedback.log"

all_forwarded()
{
	[ "$(count_kept new)" = 0 ] && [ "$(find "$POSTFIX_MAIL/example.net/new" -type f 2>/dev/null | wc -l)" -ge "$kept" ]
}
tap_ok 'what was kept is forwarded by a real relay' services_wait 30 all_forwarded
tap_is "$(count_kept cur)" "$kept" 'and stays, as seen'
tap_ok 'with the sender of nobody' grep -rqi '^Return-Path: <>' "$POSTFIX_MAIL/example.net/new"
tap_ok 'and whole' grep -rq 'When do you open' "$POSTFIX_MAIL/example.net/new"
tap_is "$(source_is forward up) $(source_is forward committed)" "True $kept" 'its health tells'
tap_like "$(reply_of_person 2 | say mail "$PORT" "b+$(token 33)@$DOMAIN" --tls "$D/ca/ca.pem")" '^250' 'a new reply'
one_more()
{
	[ "$(find "$POSTFIX_MAIL/example.net/new" -type f | wc -l)" -gt "$kept" ]
}
tap_ok 'is forwarded soon' services_wait 20 one_more
tap_ok 'Prometheus sees both' test "$(metrics metrics | grep -cE '^kairan_feedback_source_up\{source="(smtp|forward)"\} 1$')" = 2
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE 'user[0-9]+@|hanako@|support@' "$D/feedback.log")" 0 'A45: no address in the log'

# ---- settings ----------------------------------------------------------------------------

refused()
{
	timeout 20 "$BIN/kairan-feedback" 2>&1 | tail -n 1
}
echo 'everyone relay' >"$D/rules"
tap_like "$(refused)" 'smtp.rules_file .*line 1' 'a wrong rule is named'
printf 'token accept\n' >"$D/rules"
cp "$D/ca/new.pem" "$D/ca/mx.pem"
tap_like "$(KAIRAN_SMTP_DENY=10.0.0.1/8 refused)" 'smtp.deny' 'so is a wrong network'
tap_like "$(KAIRAN_SMTP_TLS_KEY_FILE='' refused)" 'certificate' 'and a certificate without its key'
tap_like "$(KAIRAN_REPLY_MAILDIR='' refused)" 'reply.forward_to needs reply.maildir' 'and a forward without a Maildir'
tap_like "$(KAIRAN_REPLY_FORWARD_TO=x@$DOMAIN refused)" 'would come back' 'and one to ourselves'
tap_done
