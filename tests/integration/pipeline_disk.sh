#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL's disk is full in mid-run: sending stops, nothing is lost, nothing sent twice, and the
# run goes on when there is room again. TAP, run by prove. The disk is a tmpfs in a mount
# namespace of the test's own.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh

if [ -z "${SMALL_DISK:-}" ]; then
	as=(unshare --mount --propagation private)
	[ "$(id -u)" -eq 0 ] || as=(unshare --user --map-current-user --keep-caps --mount --propagation private)
	"${as[@]}" true 2>/dev/null || tap_skip_all 'no mount namespace can be made here'
	disk=$(mktemp -d "${TMPDIR:-/tmp}/kairan-disk.XXXXXX")
	status=0
	SMALL_DISK=$disk "${as[@]}" bash "$0" || status=$?
	rmdir "$disk"
	exit "$status"
fi
mount -t tmpfs -o size=260m,mode=0711 tmpfs "$SMALL_DISK" 2>/dev/null || tap_skip_all 'no tmpfs can be mounted here'
export TMPDIR=$SMALL_DISK
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

# the ground truth is not on the small disk
mkdir "$SMALL_DISK.truth"
trap 'rm -rf "$SMALL_DISK.truth"; stop_all' EXIT
TRUTH=$SMALL_DISK.truth/log
pipeline_start
customers_add 6000 large.example
sql -c "UPDATE kairan.stream SET rate_per_s = 1000 WHERE name = 'marketing'"
campaign_add news
RUN=$(run_add news a)
producer_start
dispatcher_start one
taken_wait 500 || tap_note 'nothing is sent'

sql -c 'ALTER SYSTEM SET wal_recycle = off' -c 'SELECT pg_reload_conf()' >"$D/out"

# No room, and none that PostgreSQL finds by starting again: whatever it frees is taken.
(
	while [ ! -e "$SMALL_DISK.truth/enough" ]; do
		dd if=/dev/zero of="$D/fill" bs=4k oflag=append conv=notrunc 2>"$SMALL_DISK.truth/dd" || true
		sleep 0.02
	done
) &
FILLER=$!
# segments of the log that are there already have room: leave them behind
for _ in $(seq 50); do
	sql -c 'SELECT pg_switch_wal()' >"$D/out" 2>&1 || break
	sleep 0.1
done
# what was under way is answered, and what room the log had is used up
stuck=-1
for _ in $(seq 20); do
	[ "$(taken)" -ne "$stuck" ] || break
	stuck=$(taken)
	sleep 3
done
tap_is "$(df --output=avail "$D" | tail -n 1 | tr -d ' ')" 0 'the disk is full'
tap_is "$(taken)" "$stuck" 'F15: nothing is sent while outcomes cannot be written'
tap_ok "it was in the middle ($stuck)" test "$stuck" -lt 5900
: >"$SMALL_DISK.truth/enough"
wait "$FILLER"
rm "$D/fill"
if ! services_wait 5 sql -c 'SELECT 1'; then
	tap_note 'PostgreSQL went down, as it may; it is started again'
	pg_start "$D" 'shared_buffers = 64MB' 2>"$D/start.log" || tap_note "$(cat "$D/start.log")"
fi
tap_ok 'with room again the run finishes' run_wait "$RUN" finished 60
truth_load
tap_is "$(one "string_agg(v, '; ') FROM (SELECT v FROM test.violations($RUN) AS v LIMIT 5) AS t")" '' 'exactly once, and the counts agree'
tap_is "$(run_states "$RUN")" 'sent 6000' 'everybody is sent'
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
