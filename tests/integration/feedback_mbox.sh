#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An mbox spool is read, committed and emptied under the locks of MDAs: nothing is lost of what is delivered
# meanwhile, at kill -9 between commit and truncation, of mails larger than a piece, and nothing that a person
# wrote. TAP, run by prove. KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317,SC2119 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
mkdir "$D/mail"
SPOOL=$D/mail/bounces
export KAIRAN_FEEDBACK_MBOX=$SPOOL
"$BIN/kairan-feedback" >"$D/refused" 2>&1
tap_like "$(cat "$D/refused")" 'feedback.mbox needs reply.maildir' 'a spool is not emptied without a place for what people write'
export KAIRAN_REPLY_MAILDIR=$D/replies

# mails are the files named, delivered with the locks of an MDA (mailbox.py: FILE.lock and fcntl)
mda()
{
	"$PYTHON" - "$SPOOL" "$@" <<'PY'
import mailbox, os, sys, time
box = mailbox.mbox(sys.argv[1])
# with WHILE, a process: again and again until it is gone
pid, until = os.environ.get("WHILE"), time.monotonic() + 20
def is_alive():
    try:
        return bool(pid) and time.monotonic() < until and "Z" not in open(f"/proc/{pid}/stat").read().split()[2]
    except FileNotFoundError:
        return False
def names():
    yield from sys.argv[2:]
    while is_alive():
        for name in sys.argv[2:]:
            yield name
            time.sleep(0.003 if pid else 0)
for name in names():
    for _ in range(600):
        try:
            box.lock()
            break
        except mailbox.ExternalClashError:
            if pid and not is_alive():
                sys.exit(0)
            time.sleep(0.05)
    else:
        sys.exit("locked for ever")
    with open(sys.argv[1], "ab") as f, open(name, "rb") as mail:
        f.write(b"From MAILER-DAEMON Mon Nov 23 00:00:00 2026\n" + mail.read().replace(b"\nFrom ", b"\n>From ") + b"\n")
    box.unlock()
    print(name)
PY
}

is_empty()
{
	[ ! -s "$SPOOL" ]
}

# arguments: from, to; stdout: how many of these sends have bounced
bounced()
{
	one "count(bounced_at) FROM kairan.send WHERE run_id = 1 AND id BETWEEN $1 AND $2"
}

for i in {1..150}; do dsn "$i" 5.1.1 >"$D/dsn.$i"; done
printf 'From: Hanako <hanako@example.com>\nTo: b@%s\nSubject: Re: November\nMessage-ID: <1@example.com>\n\nWhen do you open?\nFrom nine, I hope.\n' "$DOMAIN" >"$D/reply"
mda "$D/dsn.1" "$D/reply" "$D/dsn.2" >"$D/out"
daemon_start
tap_is $? 0 'the daemon starts'
tap_ok 'the spool is emptied' services_wait 20 is_empty
tap_is "$(bounced 1 2) $(grep -rl 'From nine, I hope' "$D/replies/new" | wc -l)" '2 1' 'the bounces are there, and the letter is kept'
tap_is "$(source_is mbox committed) $(source_is mbox up)" '3 True' 'the health has three'
"$BIN/kairan" status >"$D/status" 2>&1
tap_like "$(cat "$D/status")" 'mbox +ok +3 committed' 'so has kairan status'
tap_like "$(metrics metrics)" 'kairan_feedback_source_committed_total\{source="mbox"\} 3' 'and Prometheus'

# ---- locks -------------------------------------------------------------------------------

mda "$D/dsn.3" >"$D/out"
touch "$SPOOL.lock" # somebody who writes
cat "$D/dsn.4" >"$D/slow"
tap_ok 'somebody holds the lock' services_wait 20 grep -q 'is locked by somebody else' "$D/feedback.log"
tap_ok 'meanwhile nothing is cut off' test -s "$SPOOL"
{
	printf 'From MAILER-DAEMON Mon Nov 23 00:00:00 2026\n'
	cat "$D/slow"
	echo
} >>"$SPOOL"
rm "$SPOOL.lock"
tap_ok 'and then the spool is emptied' services_wait 30 is_empty
tap_is "$(bounced 3 4)" 2 'with what was written under the lock'

# ---- kill -9 -----------------------------------------------------------------------------

daemon_end
mda "$D/dsn.5" "$D/dsn.6" "$D/dsn.7" >"$D/out"
before=$(one 'count(*) FROM kairan.feedback_event')
if grep -qa KAIRAN_CRASH_POINT "$BIN/kairan-feedback"; then
	service_spawn kairan-feedback "$D/feedback.log" env KAIRAN_CRASH_POINT=mbox_before_truncation "$BIN/kairan-feedback" 2>/dev/null
	CRASHER=$SERVICE_PID
	is_gone()
	{
		! kill -0 "$CRASHER" 2>/dev/null
	}
	tap_ok 'killed between commit and truncation' services_wait 20 is_gone
	tap_is "$(bounced 5 7) $(test -s "$SPOOL" && echo full) $(test -e "$SPOOL.lock" && echo locked)" '3 full locked' 'all is committed, nothing emptied, the lock left'
	daemon_start
	tap_ok 'the next life empties the spool' services_wait 20 is_empty
	tap_is "$(one "count(*) - $before FROM kairan.feedback_event")" 3 'what was read twice is there once'
	daemon_end

	# deliveries without a pause: the unread end is moved to the front, killed just then
	service_spawn kairan-feedback "$D/feedback.log" env KAIRAN_CRASH_POINT=mbox_moved "$BIN/kairan-feedback" 2>/dev/null
	CRASHER=$SERVICE_PID
	WHILE=$CRASHER mda "$D"/dsn.{8..30} >"$D/delivered" # until it is gone
	if is_gone; then
		tap_ok 'killed when the unread end was moved to the front' true
	else # on a busy host it reads to the end of them, or falls behind
		kill -9 "$CRASHER"
		tap_skip 'killed when the unread end was moved to the front' 'no look found a short unread end within 20 s'
	fi
	wait "$CRASHER" 2>/dev/null || true
	delivered=$(sed 's/.*dsn\.//' "$D/delivered" | sort -u | paste -sd,)
else
	delivered=7
fi
rm -f "$SPOOL.lock"
mda "$D"/dsn.{121,122,123} >"$D/out"
daemon_start
tap_ok 'it is emptied' services_wait 30 is_empty
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = 1 AND id IN ($delivered) AND bounced_at IS NULL") $(bounced 1 7) $(bounced 121 123)" '0 7 3' 'nothing is lost'

# ---- a large one -------------------------------------------------------------------------

"$PYTHON" - "$D" <<'PY'
import sys
D = sys.argv[1]
dsn = open(D + "/dsn.130", "rb").read()
with open(D + "/large", "wb") as f:
    for i in range(3000):
        f.write(b"From MAILER-DAEMON Mon Nov 23 00:00:00 2026\n" + dsn + b"\n")
    f.write(b"From hanako@example.com Mon Nov 23 00:00:00 2026\nFrom: hanako@example.com\nSubject: My pictures\n\n"
        + b"many words\n" * 300000 + b"the last word\n\n")
    f.write(b"From MAILER-DAEMON Mon Nov 23 00:00:00 2026\n" + open(D + "/dsn.131", "rb").read() + b"\n")
PY
daemon_end
mv "$D/large" "$SPOOL"
daemon_start
tap_ok 'a spool of 3,000 mails and one of 3 MB is emptied' services_wait 60 is_empty
tap_is "$(bounced 130 131) $(grep -rlx 'the last word' "$D/replies/new" | wc -l) $(source_is mbox committed)" '2 1 3002' 'all of it was read, the letter kept whole'

# ---- what is no mbox ---------------------------------------------------------------------

daemon_end
printf 'notes of somebody\n' >"$SPOOL"
daemon_start
told()
{
	grep -q 'is no mbox: "From " is missing at byte 0' "$D/feedback.log"
}
tap_ok 'what is no mbox is told of' services_wait 20 told
tap_is "$(cat "$SPOOL") $(source_is mbox up)" 'notes of somebody False' 'and left alone'
rm "$SPOOL"
mda "$D/dsn.140" >"$D/out"
tap_ok 'a new file is taken up' services_wait 90 is_empty
tap_is "$(bounced 140 140)" 1 'and read'
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE 'hanako@|user[0-9]+@' "$D/feedback.log" | grep -vc '^0$')" 0 'no address in the log'
tap_done
