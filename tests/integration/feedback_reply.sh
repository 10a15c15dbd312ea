#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A person's reply is never swallowed, and never a bounce: by LMTP, from a Maildir and on standard input it is
# kept whole in reply.maildir before it is acknowledged, and not acknowledged when that cannot be.
# feedback_smtp.sh has the same for SMTP, feedback_s3.sh for mail that Amazon SES received. TAP, run by
# prove. KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
PORT=$(services_free_port)
mkdir -p "$D/md/new" "$D/md/cur" "$D/md/tmp"
export KAIRAN_FEEDBACK_LMTP_LISTEN=127.0.0.1:$PORT KAIRAN_FEEDBACK_MAILDIR=$D/md KAIRAN_REPLY_MAILDIR=$D/replies

# arguments: number
reply_of_person()
{
	printf 'From: Hanako <hanako@example.com>\nTo: b@%s\nSubject: Re: November %s\nMessage-ID: <%s@example.com>\n\nWhen do you open? 何時ですか。\nThis is line three of letter %s.\n' \
		"$DOMAIN" "$1" "$1" "$1"
}

# arguments: recipient; a mail on stdin; stdout: the answer to the content
lmtp()
{
	"$PYTHON" -c '
import smtplib, sys
c = smtplib.LMTP("127.0.0.1", int(sys.argv[1]))
c.ehlo_or_helo_if_needed(); c.mail("hanako@example.com"); c.rcpt(sys.argv[2])
code, text = c.data(sys.stdin.buffer.read()); print(code, text.decode())' "$PORT" "$1"
}

# a mail on stdin, delivered as the convention has it; arguments: name
deliver()
{
	cat >"$D/md/tmp/$1" && mv "$D/md/tmp/$1" "$D/md/new/$1"
}

# arguments: number of the letter; whole, and by itself
is_kept()
{
	[ "$(grep -rl "line three of letter $1\." "$D/replies/new" | wc -l)" = 1 ] &&
		grep -rq "Subject: Re: November $1" "$D/replies/new"
}

moved()
{
	[ -n "$(find "$D/md/cur" -name "$1*")" ]
}

count_kept()
{
	find "$D/replies/new" -type f | wc -l
}

# arguments: send id; a person's reply is noted for it, and nothing else happened
is_no_bounce()
{
	[ "$(of_send "$1" bounced_at) $(one "count(*) FROM kairan.feedback_event WHERE send_id = $1 AND kind = 'other'")" = '- 1' ]
}

daemon_start
tap_is $? 0 'starts'

# ---- kept --------------------------------------------------------------------------------

tap_like "$(reply_of_person 1 | lmtp "b+$(token 1)@$DOMAIN")" '^250 2.0.0 recorded' 'LMTP: a reply to the return path'
tap_ok 'is kept whole' is_kept 1
tap_ok 'and is no bounce' is_no_bounce 1
reply_of_person 2 | sed "s/^To: .*/To: b+$(token 2)@$DOMAIN/" | deliver 2.test
tap_ok 'Maildir: a reply is acknowledged by its move to cur/' services_wait 15 moved 2.test
tap_ok 'is kept whole' is_kept 2
tap_ok 'and is no bounce' is_no_bounce 2
reply_of_person 3 | "$BIN/kairan-feedback" --stdin --recipient "b+$(token 3)@$DOMAIN" 2>"$D/stdin.log"
tap_is $? 0 'standard input: a reply'
tap_ok 'is kept whole' is_kept 3
tap_ok 'and is no bounce' is_no_bounce 3
tap_is "$(count_kept)" 3 'three letters, three files'
tap_is "$(find "$D/replies/new" -type f -printf '%m\n' | sort -u)" 600 'for nobody else'
reply_of_person 1 | lmtp "b+$(token 1)@$DOMAIN" >/dev/null
reply_of_person 3 | "$BIN/kairan-feedback" --stdin --recipient "b+$(token 3)@$DOMAIN" 2>>"$D/stdin.log"
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE send_id IN (1, 3)")" 2 'the same again is no other event'

# what is understood is no letter
before=$(count_kept)
dsn 4 5.1.1 | lmtp "b+$(token 4)@$DOMAIN" >/dev/null
dsn 5 5.1.1 | deliver 5.test
dsn 6 5.1.1 | "$BIN/kairan-feedback" --stdin --recipient "b+$(token 6)@$DOMAIN" 2>>"$D/stdin.log"
services_wait 15 moved 5.test
tap_is "$(one "count(*) FROM kairan.send WHERE id IN (4, 5, 6) AND class = 'hard'") $(count_kept)" "3 $before" \
	'bounces act on all three ways and are not kept'

# ---- it cannot be kept: no acknowledgement -----------------------------------------------

mv "$D/replies/tmp" "$D/replies/aside"
: >"$D/replies/tmp"
tap_like "$(reply_of_person 11 | lmtp "b+$(token 11)@$DOMAIN")" '^451 4.3.0' 'LMTP: a reply that cannot be kept is put off'
reply_of_person 12 | sed "s/^To: .*/To: b+$(token 12)@$DOMAIN/" | deliver 12.test
reply_of_person 13 | "$BIN/kairan-feedback" --stdin --recipient "b+$(token 13)@$DOMAIN" 2>>"$D/stdin.log"
tap_is $? 75 'standard input: it is a temporary failure'
sleep 2
tap_ok 'Maildir: it stays in new/' test -e "$D/md/new/12.test"
tap_is "$(count_kept)" "$before" 'and nothing is kept half'
rm "$D/replies/tmp" && mv "$D/replies/aside" "$D/replies/tmp"
tap_like "$(reply_of_person 11 | lmtp "b+$(token 11)@$DOMAIN")" '^250' 'when it can be, LMTP is answered 250'
tap_ok 'and it is kept whole' is_kept 11
tap_ok 'Maildir: it is tried again by itself' services_wait 30 moved 12.test
tap_ok 'and kept whole' is_kept 12

# ---- kill -9 -----------------------------------------------------------------------------

# shellcheck disable=SC2119
pg_stop "$D" immediate
reply_of_person 21 | sed "s/^To: .*/To: b+$(token 21)@$DOMAIN/" | deliver 21.test
tap_like "$(reply_of_person 22 | lmtp "b+$(token 22)@$DOMAIN")" '^451' 'without PostgreSQL nothing is acknowledged'
daemon_end KILL
FAST=1 pg_start "$D" >/dev/null 2>&1
daemon_start
tap_ok 'after kill -9 the letter in the Maildir is read' services_wait 20 moved 21.test
tap_ok 'and kept whole, once' is_kept 21
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE 'hanako@|user[0-9]+@' "$D/feedback.log" "$D/stdin.log" | grep -vc ':0$')" 0 'no address in the logs'
tap_done
