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
kept=
trap 'rm -rf "$out" "$out.err" ${kept:+"$kept"}' EXIT

# ---- what cannot be counted is no success ----
# arguments: harness, settings
refused()
{
	local status=0 harness=$1

	shift
	env "$@" "tests/crash/$harness.sh" >"$out" 2>"$out.err" || status=$?
	tap_is "$status $(tail -n 1 "$out" | jq -r 'has("error")')" '2 true' "$harness.sh $*: refused, and the last line is JSON"
}
refused loop KILLS=abc
refused loop KILLS=0
refused loop KILLS=1 ONLY=typo
refused points POINTS=no_such_point
refused soak MINUTES=x

status=0
KILLS=${KILLS:-6} BETWEEN=30 tests/crash/loop.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F1: kills at random moments: nobody twice, nobody lost, everybody accounted for'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"

status=0
KEEP=1 KILLS=2 ONLY=box BETWEEN=30 tests/crash/loop.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F50: everything killed at once, PostgreSQL and Redis too: the same'
tap_is "$(tail -n 1 "$out" | jq -r '[.kills, .kills_by_program.box] | join(" ")')" '2 2' 'F50: twice'
tap_is "$(tail -n 1 "$out" | jq -r 'keys_unsorted | join(" ")')" 'kills kills_by_program kills_during_data accepted duplicates lost in_doubt in_doubt_bound in_doubt_not_in_truth unaccounted truth database' \
	'the last line is what others read'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"
kept=$(sed -n 's/^# kept: //p' "$out.err")
database=$(tail -n 1 "$out" | jq -r .database) truth=$(tail -n 1 "$out" | jq -r .truth)
tap_is "$(/usr/lib/postgresql/15/bin/psql -X -At "$database" -c "SELECT count(*) >= $(tail -n 1 "$out" | jq .accepted) FROM kairan.send" 2>&1)" t \
	'KEEP=1: the database of the last line is there for recounting'
tap_ok 'KEEP=1: and the truth' test -s "$truth"
pid=$(sed -n 's/.*to end it: kill -INT //p' "$out.err")
tap_ok 'KEEP=1: it ends as was said' sh -c "kill -INT $pid && for i in \$(seq 300); do test -e '$kept/pg/postmaster.pid' || exit 0; sleep 0.1; done; exit 1"

status=0
POINTS='after_mark after_write record_committed recover_between_writes page_committed before_push events_committed' \
	tests/crash/points.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F2, F3, F4: death at named points of all programs: the same, and each was reached'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(tail -n 20 "$out.err")"
rm -f "$out.err"
tap_done
