#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Signals of the dispatcher, and what it tells a service manager: SIGHUP in the middle of a run, an
# orderly end that waits for answers, READY, RELOADING, STOPPING and WATCHDOG. TAP, run by prove.
# shellcheck disable=SC2119,SC2153 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
customers_add 120 large.example
campaign_add reload
producer_start

# what systemd would hear, a line for each datagram
service_spawn manager "$D/manager.err" "$PYTHON" -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
with open(sys.argv[2], "a", buffering=1) as f:
    while True:
        f.write(s.recv(4096).decode().replace("\n", " ") + "\n")' "$D/notify" "$D/heard" 2>/dev/null
services_wait 5 test -S "$D/notify" || tap_bail 'no socket'
touch "$D/heard"

settings()
{
	printf '%s\n' '[relay]' "connections = $1" "dot_timeout_s = $2" '[dispatcher]' "name = $3" "retry_ladder = ${4:-1s}" >"$D/one.conf"
}

settings 2 20 one
env_one=(KAIRAN_CONFIG="$D/one.conf" KAIRAN_DISPATCHER_BATCH=16 NOTIFY_SOCKET="$D/notify" WATCHDOG_USEC=400000)
service_spawn dispatcher "$D/dispatcher.log" env "${env_one[@]}" "$BIN/kairan-dispatcher" 2>/dev/null
DISPATCHER=$SERVICE_PID
tap_ok 'READY=1 is told' services_wait 10 grep -qx READY=1 "$D/heard"

connections()
{
	"$PYTHON" - "$RELAY_PORT" <<'PY'
import sys
port = "%04X" % int(sys.argv[1])
rows = [line.split() for line in open("/proc/net/tcp")][1:]
print(sum(r[2].endswith(":" + port) and r[3] == "01" for r in rows))
PY
}
more_connections() { [ "$(connections)" -gt 2 ]; }

relay_set 'delay_ms = 150'
RUN=$(run_add reload first)
taken_wait 10 || tap_note 'nothing is sent'
tap_ok 'at first two connections' test "$(connections)" -le 2
settings 6 20 other
kill -HUP "$DISPATCHER"
tap_ok 'F42: SIGHUP: the log names what has changed' services_wait 5 grep -q 'changed key=relay.connections from="2" to="6"' "$D/dispatcher.log"
tap_ok 'F42: and what takes a restart' services_wait 5 grep -q 'key=dispatcher.name takes a restart' "$D/dispatcher.log"
tap_ok 'F42: more connections are used' services_wait 5 more_connections
tap_like "$(cat "$D/heard")" 'RELOADING=1 MONOTONIC_USEC=[0-9]+' 'RELOADING=1 is told'
tap_is "$(grep -cx READY=1 "$D/heard")" 2 'and READY=1 again'
settings 6 20 other 'often'
kill -HUP "$DISPATCHER"
tap_ok 'F42: a value that does not fit changes nothing' services_wait 5 grep -q 'not read again, nothing changed: .*retry' "$D/dispatcher.log"
echo 'rubbish' >"$D/one.conf"
kill -HUP "$DISPATCHER"
tap_ok 'F42: a broken file changes nothing, and is named with its line' services_wait 5 grep -q 'nothing changed: .*one.conf:1: ' "$D/dispatcher.log"
for _ in 1 2 3 4 5; do kill -HUP "$DISPATCHER"; done
tap_ok 'WATCHDOG=1 is told' test "$(grep -cx WATCHDOG=1 "$D/heard")" -gt 3

# the loop stops turning: no word any more
kill -STOP "$DISPATCHER"
sleep 0.1
before=$(grep -cx WATCHDOG=1 "$D/heard")
sleep 0.8
tap_is "$(grep -cx WATCHDOG=1 "$D/heard")" "$before" 'a dispatcher that hangs does not tell it'
kill -CONT "$DISPATCHER"
relay_set
tap_ok 'F42: the run finishes' run_wait "$RUN" finished 20
run_check "$RUN" 'F42: exactly once'

# an end that waits: the relay answers after 3 s, nobody is in doubt
settings 2 20 one
kill -HUP "$DISPATCHER"
relay_set 'delay_ms = 2500'
before=$(taken)
RUN=$(run_add reload slow)
taken_wait $((before + 1)) || tap_note 'nothing is sent'
kill -TERM "$DISPATCHER"
kill -HUP "$DISPATCHER"
status=0
services_wait 10 _services_gone "$DISPATCHER" || status=1
tap_is "$status" 0 'F42: SIGTERM waits for the answers under way, and ends'
tap_like "$(cat "$D/heard")" 'STOPPING=1 EXTEND_TIMEOUT_USEC=' 'STOPPING=1 is told'
tap_like "$(run_states "$RUN")" '^queued [0-9]+, sent [0-9]+$' 'F42: nobody is in doubt'
run_check "$RUN" 'F42: and the counts agree'
service_stop "$DISPATCHER" 2>/dev/null && status=0 || status=$?
tap_is "$status" 0 'with status 0'

# a second signal does not wait
service_spawn dispatcher "$D/dispatcher.log" env "${env_one[@]}" "$BIN/kairan-dispatcher" 2>/dev/null
DISPATCHER=$SERVICE_PID
before=$(taken)
taken_wait $((before + 1)) || tap_note 'nothing is sent'
kill -TERM "$DISPATCHER"
sleep 0.2
kill -TERM "$DISPATCHER"
tap_ok 'F42: a second SIGTERM ends at once' services_wait 1 _services_gone "$DISPATCHER"
service_stop "$DISPATCHER" 2>/dev/null || true
relay_set
dispatcher_start one KAIRAN_DISPATCHER_BATCH=16
tap_ok 'F42: the next life finishes the run' run_wait "$RUN" finished 30
truth_load
tap_is "$(one "count(*) FROM (SELECT FROM test.truth WHERE run = $RUN GROUP BY send HAVING count(*) > 1) AS t")" 0 'F42: nobody got it twice'

# it is stopped while it registers, and PostgreSQL answers then
: >"$D/dispatcher.log"
sql -c 'BEGIN' -c 'LOCK kairan.dispatcher' -c 'SELECT pg_sleep(600)' -c 'COMMIT' >"$D/out" 2>&1 &
wait_for 5 "count(*) > 0 FROM pg_locks WHERE relation = 'kairan.dispatcher'::regclass AND mode = 'AccessExclusiveLock'" || tap_note 'no lock'
FIRST=$DISPATCHER
dispatcher_start early
wait_for 10 "count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%dispatcher_enter%'" || tap_note 'it does not register'
kill -TERM "$DISPATCHER"
one "pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()" >"$D/out"
tap_ok 'F42: SIGTERM while it registers is not lost' services_wait 4 _services_gone "$DISPATCHER"
service_stop "$DISPATCHER" 2>/dev/null && status=0 || status=$?
tap_is "$status" 0 'with status 0'
DISPATCHER=$FIRST
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
