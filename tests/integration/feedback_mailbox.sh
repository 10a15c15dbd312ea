#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan-feedback empties a mailbox of a private Dovecot by IMAP and POP3, with TLS: what was
# understood is taken away after its commit, a human's reply is not even marked. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/dovecot.sh
. tests/support/feedback.sh

dovecot_available || tap_skip_all "$DOVECOT_WHY_NOT"
feedback_start
"$PYTHON" tests/support/ses_fake.py init "$D/tls" 2>"$D/tls.log" || { cat "$D/tls.log"; tap_bail 'no certificates'; }
dovecot_start "$D" "$D/tls/leaf.pem" "$D/tls/server.key" || tap_bail 'no Dovecot'
export KAIRAN_MAILBOX_USER=kairan KAIRAN_MAILBOX_PASSWORD_FILE=$D/password KAIRAN_MAILBOX_POLL_S=1
export KAIRAN_MAILBOX_CA_FILE=$D/tls/ca.pem

# a mail on standard input; it stands in a pipe, so that the count is kept in a file
deliver()
{
	local COUNT

	echo x >>"$D/count"
	COUNT=$(wc -l <"$D/count")
	mkdir -p "$DOVECOT_MAIL/new" "$DOVECOT_MAIL/tmp" "$DOVECOT_MAIL/cur"
	cat >"$DOVECOT_MAIL/tmp/$COUNT.test"
	chown -R nobody:nogroup "$DOVECOT_MAIL"
	mv "$DOVECOT_MAIL/tmp/$COUNT.test" "$DOVECOT_MAIL/new/$((1700000000 + COUNT)).M${COUNT}P1.test"
}

reply()
{
	printf 'From: a person <person@example.com>\nTo: news@example.org\nSubject: your offer\n\nPlease call me.\n+ a line\n. \n.dot\n'
}

# stdout: how many mails there are
mails()
{
	find "$DOVECOT_MAIL/new" "$DOVECOT_MAIL/cur" -type f | wc -l
}

mails_are()
{
	[ "$(mails)" = "$1" ]
}

# arguments: seconds, send id
bounced()
{
	wait_for "$1" "bounced_at IS NOT NULL FROM kairan.send WHERE run_id = 1 AND id = $2"
}

first=1
for scheme in imaps imap pop3s pop3; do
	port=DOVECOT_${scheme^^}
	export KAIRAN_MAILBOX_URL=$scheme://127.0.0.1:${!port}
	rm -f "$DOVECOT_MAIL"/new/* "$DOVECOT_MAIL"/cur/*
	dsn "$first" 5.1.1 | deliver
	reply | deliver
	{ dsn $((first + 1)) 5.1.1; head -c 3000000 /dev/zero | tr '\0' 'x' | fold -w 76; } | deliver
	daemon_start
	tap_is $? 0 "$scheme: starts"
	tap_ok "$scheme: a report is taken" bounced 10 "$first"
	tap_ok "$scheme: so is a long one" bounced 10 $((first + 1))
	tap_ok "$scheme: both are deleted, the reply stays" services_wait 10 mails_are 1
	tap_is "$(grep -l 'Please call me' -r "$DOVECOT_MAIL/new" "$DOVECOT_MAIL/cur" | wc -l)" 1 "$scheme: it is the reply"
	dsn $((first + 2)) 5.1.1 | deliver
	tap_ok "$scheme: later ones are taken, too" bounced 10 $((first + 2))
	tap_ok "$scheme: and deleted" services_wait 10 mails_are 1
	# a POP3 server marks what it hands out, by itself
	[ "${scheme:0:4}" = pop3 ] ||
		tap_is "$(find "$DOVECOT_MAIL/cur" -name '*:2,*S*' | wc -l)" 0 "$scheme: the reply is not marked as seen"
	tap_is "$(source_is "${scheme%s}" left)" 1 "$scheme: and is counted"
	# shellcheck disable=SC2119
	pg_stop "$D" immediate
	dsn $((first + 3)) 5.1.1 | deliver
	sleep 3
	tap_is "$(mails)" 2 "$scheme: without PostgreSQL nothing is deleted"
	FAST=1 pg_start "$D" >/dev/null 2>&1
	tap_ok "$scheme: with it it is" services_wait 20 mails_are 1
	tap_like "$(of_send $((first + 3)) bounced_at)" '^20' "$scheme: and recorded"
	daemon_end
	tap_is $? 0 "$scheme: ends well"
	first=$((first + 4))
done

# ---- seen instead of deleted, and what is refused ---------------------------------------------

export KAIRAN_MAILBOX_URL=imaps://localhost:$DOVECOT_IMAPS KAIRAN_MAILBOX_AFTER=seen
rm -f "$DOVECOT_MAIL"/new/* "$DOVECOT_MAIL"/cur/*
dsn 30 5.1.1 | deliver
daemon_start
seen()
{
	[ "$(find "$DOVECOT_MAIL/cur" -name '*:2,*S*' | wc -l)" = 1 ]
}
tap_ok 'mailbox.after = seen only flags it' services_wait 10 seen
tap_like "$(of_send 30 bounced_at)" '^20' 'after its commit'
daemon_end
down()
{
	[ "$(source_is imap up)" = False ] && source_is imap last_error | grep -q .
}
KAIRAN_MAILBOX_CA_FILE='' daemon_start
tap_ok 'a certificate of nobody is refused' services_wait 10 down
tap_like "$(source_is imap last_error)" 'certificate' 'and said'
daemon_end
printf 'wrong\n' >"$D/wrong" && chmod 600 "$D/wrong"
KAIRAN_MAILBOX_PASSWORD_FILE=$D/wrong daemon_start
tap_ok 'so is a wrong password' services_wait 10 down
daemon_end

# ---- mails that stand in the way ------------------------------------------------------------

# arguments: imap|pop3, how many odd mails, what is odd, send id of the mail behind them
odd_mailbox()
{
	local port

	port=$(services_free_port)
	dsn "$4" 5.1.1 >"$D/odd.eml"
	cat "$D/feedback.log" >>"$D/earlier.log"
	rm -f "$D/odd.log" "$D/feedback.log"
	service_spawn mailbox_fake "$D/odd.log" "$PYTHON" tests/support/mailbox_fake.py "$1" "$port" "$D/odd.eml" "$2" "$3" 2>/dev/null
	FAKE=$SERVICE_PID
	services_wait 10 bash -c ": </dev/tcp/127.0.0.1/$port" 2>/dev/null
	KAIRAN_MAILBOX_AFTER=delete KAIRAN_MAILBOX_TLS=no KAIRAN_MAILBOX_URL=$1://127.0.0.1:$port daemon_start
}

odd_end()
{
	daemon_end
	tap_is $? 0 "$1: ends well"
	service_stop "$FAKE" TERM
}

# arguments: a line of the log, how often
odd_said()
{
	[ "$(grep -cx "$1" "$D/odd.log")" -ge "$2" ]
}

odd_deleted()
{
	grep -qx "deleted $1" "$D/odd.log"
}

for scheme in imap pop3; do
	first=$((first + 20))
	odd_mailbox "$scheme" 2 refused "$first"
	tap_ok "$scheme: behind mails that the server does not hand out the next one is taken" bounced 20 "$first"
	tap_ok "$scheme: and deleted" services_wait 10 odd_deleted 3
	tap_ok "$scheme: the others are asked for again" services_wait 10 odd_said 'asked 2' 3
	tap_is "$(grep -c 'is passed over' "$D/feedback.log")" 2 "$scheme: which is said once"
	tap_is "$(source_is "$scheme" left) $(source_is "$scheme" up)" '2 True' "$scheme: and counted"
	odd_end "$scheme"
done
first=$((first + 20))
odd_mailbox pop3 10005 huge "$first"
tap_ok 'pop3: behind more huge mails than one look lists the next one is taken' bounced 30 "$first"
tap_ok 'pop3: and deleted' services_wait 10 odd_deleted 10006
tap_is "$(grep -c '^asked' "$D/odd.log")" 0 'pop3: no huge one is asked for'
odd_end pop3
first=$((first + 20))
odd_mailbox imap 10005 gone "$first"
tap_ok 'imap: so is one behind more than one look lists' bounced 40 "$first"
tap_ok 'imap: and deleted' services_wait 10 odd_deleted 10006
services_wait 20 odd_said session $(($(grep -cx session "$D/odd.log") + 2))
tap_is "$(grep -cx 'asked 1' "$D/odd.log")" 1 'imap: what was there is not asked for again'
odd_end imap

chmod 644 "$D/password"
"$BIN/kairan-feedback" 2>"$D/refused.log"
tap_is $? 2 'a password file that others can read is a mistake'
tap_ok 'and the message says what to do' grep -q 'chmod 600' "$D/refused.log"
chmod 600 "$D/password"
KAIRAN_MAILBOX_URL=imap://192.0.2.1 KAIRAN_MAILBOX_TLS=no "$BIN/kairan-feedback" 2>"$D/refused.log"
tap_is $? 2 'without TLS only on the loopback'
tap_is "$(cat "$D/feedback.log" "$D/earlier.log" | grep -cE 'correct-horse|user[0-9]+@')" 0 'no address and no secret in the log'
tap_done
