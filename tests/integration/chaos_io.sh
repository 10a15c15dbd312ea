#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# System calls that fail, half a write, no descriptors, no memory, a clock that jumps: the programs
# go on, or end and are started again, and the ground truth of the FAKE relay stays right.
# TAP, run by prove. FULL=1: more seeds.
# shellcheck disable=SC2119,SC2153,SC2034 # functions of the libraries take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/chaos.sh
. tests/support/chaos.sh

command -v cc >/dev/null || tap_skip_all 'no C compiler'
pipeline_start
SANITIZED=no
! grep -q __asan_init "$BIN/kairan-dispatcher" || SANITIZED=yes
cc -shared -fPIC -O1 -D_GNU_SOURCE -o "$D/faulty.so" tests/support/faulty_io.c || tap_bail 'the shim does not compile'
cc -shared -fPIC -O1 -D_GNU_SOURCE -DFAULTY_ALLOC -o "$D/faulty_alloc.so" tests/support/faulty_io.c || tap_bail 'the shim does not compile'
customers_add 300 large.example
campaign_add chaos
producer_start
SHIM=$D/faulty.so
STARTS=0
SEEDS=1
! full || SEEDS=8

# The dispatcher under faults; whoever ended is started again, as a service manager would.
# arguments: settings
faulty_start()
{
	SETTINGS=("$@")
	STARTS=0
	faulty_again
}

faulty_again()
{
	STARTS=$((STARTS + 1))
	dispatcher_start one KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4 KAIRAN_DISPATCHER_RETRY_LADDER=1s \
		KAIRAN_RELAY_COMMAND_TIMEOUT_S=3 KAIRAN_RELAY_DOT_TIMEOUT_S=5 KAIRAN_DATABASE_TIMEOUT_S=3 \
		ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0" LD_PRELOAD="$SHIM" FAULTY_COUNT="$D/faults" \
		KAIRAN_CONTAIN_ENABLE=no "${SETTINGS[@]}" # the shim notes its faults in a file that a contained program may not write
}

# arguments: seconds; until RUN has finished
faulty_tend()
{
	local end=$((SECONDS + $1))

	until [ "$(one "state FROM kairan.run WHERE id = $RUN" 2>/dev/null)" = finished ]; do
		[ "$SECONDS" -lt "$end" ] || return 1
		! _services_gone "$DISPATCHER" || { wait "$DISPATCHER" 2>/dev/null || true; faulty_again; }
		sleep 0.3
	done
}

# arguments: NAME, FAULTY, most in doubt, extra settings. One run under the fault, the second half without.
under()
{
	local name=$1 rules=$2 most=$3 seed doubt

	shift 3
	for seed in $(seq "$SEEDS"); do
		: >"$D/faults"
		: >"$D/when"
		relay_set 'delay_ms = 5'
		STARTS=0
		faulty_start "FAULTY=$rules" "FAULTY_SEED=$seed" "FAULTY_WHEN=$D/when" "$@"
		CHAOS_RUNS=$((CHAOS_RUNS + 1))
		RUN=$(run_add chaos "$CHAOS_RUNS")
		faulty_tend 3 || true
		rm "$D/when"
		tap_ok "$name (seed $seed, $(wc -c <"$D/faults") faults, $STARTS lives): the run finishes" faulty_tend 40
		run_check "$RUN" "$name: nobody twice, nobody lost"
		doubt=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")
		tap_ok "$name: $doubt in doubt of $most" test "$doubt" -le $((most * STARTS))
		tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('sent', 'in_doubt')")" 0 "$name: everybody is settled"
		[ "$rules" = none ] || tap_ok "$name: it did happen" test -s "$D/faults"
		service_stop "$DISPATCHER" 2>/dev/null || true
	done
}

# ---- F39: sockets ------------------------------------------------------------------------
under 'F39: short reads and writes' 'send:short:300,recv:short:300' 0
! full || under 'F39: EINTR' 'send:EINTR:100,recv:EINTR:100' 4
under 'F39: reads that fail' 'recv:ECONNRESET:10' 40
under 'F39: EMFILE for sockets' 'socket:EMFILE:400' 0

# ---- F35, F36, F37: the disk -------------------------------------------------------------

# arguments: NAME, FAULTY, what it says: a dispatcher of a new name, whose files are made anew, does not start
does_not_start()
{
	local status=0

	COUNT=$((${COUNT:-0} + 1))
	env KAIRAN_DISPATCHER_NAME="fresh$COUNT" ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0" LD_PRELOAD="$SHIM" FAULTY="$2" \
		timeout 10 "$BIN/kairan-dispatcher" >"$D/refused" 2>&1 || status=$?
	tap_is "$status" 1 "$1: it does not start"
	tap_like "$(cat "$D/refused")" "$3" "$1: and says why"
}
does_not_start 'F37: no room for the journal, which is reserved so that no write into it meets a full disk' room:ENOSPC:1000 'No space left'
does_not_start 'F36: fsync of its lock fails' sync:EIO:1000 'Input/output error'
under 'F35: a log that cannot be written' 'disk:ENOSPC:1000' 0

# ---- F40: the time of day ----------------------------------------------------------------
for shift in 86400 -86400; do
	relay_set 'delay_ms = 15'
	before=$(taken)
	faulty_start "FAULTY=CLOCK:$shift" "FAULTY_WHEN=$D/when"
	CHAOS_RUNS=$((CHAOS_RUNS + 1))
	RUN=$(run_add chaos "$CHAOS_RUNS")
	rm -f "$D/when"
	taken_wait $((before + 30)) || tap_note 'nothing is sent'
	: >"$D/when"
	sleep 0.5
	rm "$D/when"
	ends_well "F40: the clock jumps by $shift s and back"
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	full || break
done

# ---- F39: descriptors, F41: memory, F38: malloc --------------------------------------------
relay_set 'delay_ms = 5'
before=$(taken)
unwell=$(grep -c 'relay unwell' "$D/dispatcher.log" || true)
service_spawn few "$D/dispatcher.log" prlimit --nofile=26 env KAIRAN_DISPATCHER_NAME=few KAIRAN_RELAY_CONNECTIONS=50 \
	"$BIN/kairan-dispatcher" 2>/dev/null
DISPATCHER=$SERVICE_PID
CHAOS_RUNS=$((CHAOS_RUNS + 1))
RUN=$(run_add chaos "$CHAOS_RUNS")
ends_well 'F39: 26 descriptors for 50 connections: those that there are carry the mail'
tap_ok 'F39: it does not end' kill -0 "$DISPATCHER"
tap_is "$(grep -c 'relay unwell' "$D/dispatcher.log" || true)" "$unwell" '  ... and no relay is blamed'
tap_ok 'F39: and does not flood the log' test "$(grep -c -i 'too many open files' "$D/dispatcher.log")" -lt 200
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

if [ "$SANITIZED" = yes ]; then
	tap_skip 'F38: malloc fails' 'a sanitizer has an allocator of its own; make chaos runs this'
	tap_skip 'F41: a limit of memory' 'a sanitizer maps terabytes; make chaos runs this'
else
	SHIM=$D/faulty_alloc.so
	under 'F38: one malloc of 1,000 fails' 'alloc:ENOMEM:1' 4
	under 'F38: one malloc of 50 fails' 'alloc:ENOMEM:20' 4
	SHIM=$D/faulty.so
	# mails of a megabyte for 40 connections need three times what the limit leaves; nobody starts it again
	sql -c "UPDATE kairan.template SET body = (SELECT string_agg('Dear {{default name \"you\"}}, ' || repeat('word ', 14), E'\n')
		FROM generate_series(1, 10000))"
	dispatcher_start roomy KAIRAN_RELAY_CONNECTIONS=40
	services_wait 10 grep -q 'dispatching.*name=roomy' "$D/dispatcher.log"
	size=$(($(awk '/^VmPeak/ { print $2 }' "/proc/$DISPATCHER/status") + 60000))
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	relay_set 'delay_ms = 30'
	service_spawn tight "$D/dispatcher.log" prlimit --as=$((size * 1024)) env KAIRAN_DISPATCHER_NAME=tight KAIRAN_RELAY_CONNECTIONS=40 "$BIN/kairan-dispatcher" 2>/dev/null
	DISPATCHER=$SERVICE_PID
	CHAOS_RUNS=$((CHAOS_RUNS + 1))
	RUN=$(run_add chaos "$CHAOS_RUNS")
	run_wait "$RUN" finished 40 || true
	env KAIRAN_DISPATCHER_NAME=least timeout 20 prlimit --stack=1073741824 --as=$((size * 1024)) "$BIN/kairan-dispatcher" >"$D/out" 2>&1 && status=0 || status=$?
	tap_is "$status $(grep -o 'no memory for 4 threads' "$D/out")" '1 no memory for 4 threads' 'F41: too little for threads is told at the start'
	tap_note "F41: limit $size kB, state $(run_states "$RUN")"
	tap_ok 'F41: a limit of memory does not end it' kill -0 "$DISPATCHER"
	tap_ok 'F41: it begins fewer mails at once, and says so' grep -q 'memory is short' "$D/dispatcher.log"
	ends_well 'F41: address space limited: nobody fails for want of memory'
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	# the same with a limit that the kernel holds: it ends with 137 whoever goes beyond
	group=/sys/fs/cgroup/memory/kairan.$$
	if mkdir "$group" 2>/dev/null; then
		dispatcher_start roomy KAIRAN_RELAY_CONNECTIONS=40
		services_wait 10 grep -q 'dispatching.*name=roomy' "$D/dispatcher.log"
		resident=$(awk '/^VmHWM/ { print $2 }' "/proc/$DISPATCHER/status")
		service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
		echo $(((resident + 60000) * 1024)) >"$group/memory.limit_in_bytes"
		service_spawn held "$D/dispatcher.log" sh -c 'echo $$ >"$0/cgroup.procs" && exec env KAIRAN_DISPATCHER_NAME=held KAIRAN_RELAY_CONNECTIONS=40 "$1"' \
			"$group" "$BIN/kairan-dispatcher" 2>/dev/null
		DISPATCHER=$SERVICE_PID
		CHAOS_RUNS=$((CHAOS_RUNS + 1))
		said=$(grep -c 'memory is short' "$D/dispatcher.log")
		RUN=$(run_add chaos "$CHAOS_RUNS")
		run_wait "$RUN" finished 40 || true
		tap_note "F41: limit $((resident + 60000)) kB, most $(($(cat "$group/memory.max_usage_in_bytes") / 1024)) kB, refused $(cat "$group/memory.failcnt") times"
		tap_ok 'F41: a limit of the control group: the kernel does not end it' kill -0 "$DISPATCHER"
		tap_ok 'F41: it begins fewer mails at once there, too' test "$(grep -c 'memory is short' "$D/dispatcher.log")" -gt "$said"
		ends_well 'F41: memory limited by the kernel: nobody fails for want of it'
		service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
		rmdir "$group"
	else
		tap_skip 'F41: a limit of the control group' 'needs root and the memory controller of version 1 at /sys/fs/cgroup/memory'
	fi
fi
programs_stopped 'the producer ends well' "$PRODUCER"
tap_done
