#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The release programs, contained, over the whole pipeline: nothing they do is refused, the kernel says
# that the filters are there, a parser of mails holds nothing, and its death costs no mail.
# Sanitizers need system calls of their own, so this test takes the release programs
# (KAIRAN_RELEASE, default build/release), whatever KAIRAN_BIN says. TAP, run by prove.
# shellcheck disable=SC2119,SC2034 # functions of the library take settings; it reads SNS
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
KAIRAN_BIN=${KAIRAN_RELEASE:-build/release}
BIN=$KAIRAN_BIN
for program in kairan kairan-producer kairan-dispatcher kairan-feedback; do
	[ -x "$BIN/$program" ] || tap_skip_all "$BIN/$program is not built (make build)"
done
! grep -aq __asan_init "$BIN/kairan-feedback" || tap_skip_all "$BIN is built with sanitizers, which are not filtered"
[ -r /proc/self/status ] && grep -q '^Seccomp:' /proc/self/status || tap_skip_all 'this kernel has no seccomp'

pipeline_start
export KAIRAN_FEEDBACK_LMTP_LISTEN=unix:$D/lmtp KAIRAN_FEEDBACK_MAILDIR=$D/md KAIRAN_LOG_LEVEL=debug
HTTP=$(services_free_port)
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$HTTP
mkdir -p "$D/md/new" "$D/md/cur" "$D/md/tmp"

customers_add 300 box.example
customers_add 5 box.example hard
customers_add 5 box.example drop
printf '#!/bin/sh\ncat >"%s"\n' "$D/hooked" >"$D/hook"
chmod 755 "$D/hook"
campaign_add contained
sql -c "UPDATE kairan.campaign SET hook_command = '$D/hook'"
PRODUCER_PAGE=$(services_free_port)
producer_start "KAIRAN_PRODUCER_METRICS_LISTEN=127.0.0.1:$PRODUCER_PAGE"
DISPATCHER_PAGE=$(services_free_port)
dispatcher_start one "KAIRAN_DISPATCHER_METRICS_LISTEN=127.0.0.1:$DISPATCHER_PAGE"
service_spawn feedback "$D/feedback.log" "$BIN/kairan-feedback" 2>/dev/null
FEEDBACK=$SERVICE_PID
RUN=$(run_add contained k)
tap_ok 'a run finishes' run_wait "$RUN" finished 60
run_check "$RUN" 'everybody got it once'
for page in PRODUCER_PAGE DISPATCHER_PAGE; do
	tap_like "$(curl -s -m 5 "http://127.0.0.1:${!page}/metrics")" '# TYPE kairan_' "$page: metrics are served"
done
tap_ok 'the hook was run' services_wait 20 grep -q finished "$D/hooked"

# arguments: pid, field of /proc/PID/status
status_of()
{
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}
child_of()
{
	tr -d ' ' <"/proc/$1/task/$1/children"
}

for program in PRODUCER DISPATCHER FEEDBACK; do
	tap_is "$(status_of "${!program}" Seccomp) $(status_of "${!program}" NoNewPrivs)" '2 1' "$program: system calls are filtered, no new privileges"
	tap_like "$(grep 'Max core' "/proc/${!program}/limits")" 'Max core file size +0 +0' "$program: no core"
done
tap_is "$(cat "$D"/*.log | grep -c 'contained calls=')" 3 'each said so once'

# ---- the parser of mails -----------------------------------------------------------------------

dsn()
{
	printf 'From: MAILER-DAEMON@mx.example\nSubject: failed\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\n\n'
	printf -- '--x\nContent-Type: text/plain; charset=%s\n\nno such user\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n' "${1:-utf-8}"
	printf 'Final-Recipient: rfc822; someone@box.example\nAction: failed\nStatus: 5.1.1\n\n--x--\n'
}
# arguments: number of a send row
return_path()
{
	$PYTHON tests/support/sns_fake.py token "$D/keys" "$RUN" "$1" 1 b | sed 's/^/b+/; s/$/@bounces.example.org/'
}

services_wait 20 test -S "$D/lmtp" || tap_bail 'no LMTP'
for ((i = 0; i < 100; i++)); do
	answer=$(dsn | lmtp_give "$(return_path 1)")
	[ "${answer:0:3}" != 250 ] || break
	sleep 0.2
done
tap_is "$answer" '250 2.0.0 recorded' 'a report by LMTP is recorded'
tap_is "$(one "bounced_at IS NOT NULL FROM kairan.send WHERE run_id = $RUN AND id = 1")" t 'and acts on its row'
NURSERY=$(child_of "$FEEDBACK")
PARSER=$(child_of "$NURSERY")
tap_is "$(cat "/proc/$NURSERY/comm") $(cat "/proc/$PARSER/comm")" 'kairan-nursery kairan-parser' 'the parser is a process of its own'
tap_is "$(status_of "$PARSER" Seccomp) $(status_of "$PARSER" NoNewPrivs)" '2 1' 'with a filter of its own'
# it is not dumpable, so an ordinary user may not look
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}
# its standard descriptors and its socket to the daemon; no database, no network, no file
tap_is "$(as_root find "/proc/$PARSER/fd" -mindepth 1 -printf '%l\n' | sed -E 's/:\[.*//; s/^.*feedback.log$/log/; s/^.*null$/null/' | sort | uniq -c | awk '{ print $1 $2 }' | paste -sd' ')" \
	'1log 2null 1socket' 'it holds nothing but its socket'
tap_is "$(as_root cat "/proc/$PARSER/environ" | tr -d '\0' | wc -c)" 0 'and knows no environment'
tap_like "$(grep 'Max open files' "/proc/$PARSER/limits")" 'Max open files +0 +0' 'it may open nothing'
kill -KILL "$PARSER"
tap_is "$(dsn iso-2022-jp | lmtp_give "$(return_path 2)")" '250 2.0.0 recorded' 'after kill -9 of the parser the next mail is recorded'
tap_is "$(one "bounced_at IS NOT NULL FROM kairan.send WHERE run_id = $RUN AND id = 2")" t 'and acts'
tap_ok 'a new parser is there' test "$(child_of "$NURSERY")" != "$PARSER"
kill -STOP "$(child_of "$NURSERY")"
start=$SECONDS
tap_is "$(dsn | lmtp_give "$(return_path 3)")" '250 2.0.0 recorded' 'a parser that says nothing is replaced'
tap_ok 'within two deadlines' test $((SECONDS - start)) -le 25
dsn big5 >"$D/md/new/1.m"
tap_ok 'a mail in the Maildir is taken' services_wait 20 test -e "$D/md/cur/1.m:2,S"
tap_is "$(curl -s -o "$D/http.out" -w '%{http_code}' -d '{}' "http://127.0.0.1:$HTTP/sns")" 400 'HTTP is served'
tap_is "$(dsn | "$BIN/kairan-feedback" --stdin --recipient "$(return_path 4)" 2>&1; echo "$?")" 0 'standard input'

kill -TERM "$NURSERY"
tap_is "$(dsn | lmtp_give "$(return_path 5)")" '250 2.0.0 recorded' 'the nursery ends with the daemon, not before'
programs_stopped 'all end with 0' "$PRODUCER" "$DISPATCHER" "$FEEDBACK"
tap_ok 'the nursery has ended' services_wait 5 sh -c "! kill -0 $NURSERY 2>/dev/null"
tap_is "$(grep -h 'system call' "$D"/*.log | sort -u)" '' 'nothing was refused on the way'
tap_is "$(grep -h 'EACCES\|Permission denied' "$D"/producer.log "$D"/dispatcher.log "$D"/feedback.log | sort -u)" '' 'nor a file'

# ---- off -------------------------------------------------------------------------------------

dispatcher_start two KAIRAN_CONTAIN_ENABLE=no
services_wait 20 grep -q 'dispatching id=[0-9]* name=two' "$D/dispatcher.log"
tap_is "$(status_of "$DISPATCHER" Seccomp)" 0 'contain.enable = no'
tap_is "$(grep -c 'not contained: contain.enable = no' "$D/dispatcher.log")" 1 'and it is said'
programs_stopped 'it ends with 0' "$DISPATCHER"
tap_done
