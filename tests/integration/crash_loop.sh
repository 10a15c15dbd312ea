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
tap_is "$status" 0 'kills at random moments: nobody twice, nobody lost, everybody accounted for'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"

status=0
POINTS='after_mark after_write record_committed recover_between_writes page_committed' \
	tests/crash/points.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'death at named points: the same, and each was reached'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"
rm -f "$out.err"
tap_done
