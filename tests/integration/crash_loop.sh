#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A short share of `make crash-loop` and `make crash-points` for every test run. TAP, run by prove.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh

BIN=${KAIRAN_BIN:-bin}
for program in kairan-producer kairan-dispatcher kairan-feedback; do
	[ -x "$BIN/$program" ] || tap_skip_all "$BIN/$program is not built"
done
grep -q KAIRAN_CRASH_POINT "$BIN/kairan-dispatcher" || tap_skip_all "$BIN has no crash points; build with KIND=san or KIND=crash"
command -v jq >/dev/null || tap_skip_all 'jq is not installed'
out=$(mktemp)
trap 'rm -f "$out"' EXIT

status=0
KILLS=${KILLS:-6} BETWEEN=30 tests/crash/loop.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F1: kills at random moments: nobody twice, nobody lost, everybody accounted for'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"

status=0
KILLS=2 ONLY=box BETWEEN=30 tests/crash/loop.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F50: everything killed at once, PostgreSQL and Redis too: the same'
tap_is "$(tail -n 1 "$out" | jq -r '[.kills, .kills_by_program.box] | join(" ")')" '2 2' 'F50: twice'
tap_is "$(tail -n 1 "$out" | jq -r 'keys_unsorted | join(" ")')" 'kills kills_by_program kills_during_data accepted duplicates lost in_doubt in_doubt_bound in_doubt_not_in_truth unaccounted truth database' \
	'the last line is what others read'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"

status=0
POINTS='after_mark after_write record_committed recover_between_writes page_committed before_push events_committed' \
	tests/crash/points.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F2, F3, F4: death at named points of all programs: the same, and each was reached'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"
rm -f "$out.err"
tap_done
