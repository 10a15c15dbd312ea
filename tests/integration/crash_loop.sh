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
refused loop KILLS=1 ROUTE=mx
refused points POINTS=no_such_point
refused points CHAIN='relay no_such_point'
refused points CHAIN='after_mark after_write'
refused points EACH=0
refused soak MINUTES=x

refused soak GROWTH_KB=none
refused kill_rate VICTIMS=redis
refused kill_rate MINUTES=0

# ---- the judges of rate, growth and coverage, on what is known ----
made=$(mktemp -d)
# a hundred a second for two minutes; none from 30 to 42, half from 70 on, a stumble of a second at 20
awk 'BEGIN { for (i = 0; i < 12000; i++) { t = i / 100
	if ((t >= 30 && t < 42) || (t >= 20 && t < 20.3) || (t >= 70 && i % 2)) continue
	printf "{\"at\": %.2f}\n", 1000 + t } }' >"$made/truth"
printf '%s\n' 'calm 1019 1019 1029' 'long 1030 1030 1060' 'held 1030 1040 1060' 'never 1070 1070 1110' 'before 900 900 1000' >"$made/faults"
tap_is "$(tests/crash/rate.py back "$made/truth" "$made/faults" | jq -c 'map(.back_s | if . == null then . else round end)')" '[0,12,2,null,null]' \
	'the time until the rate is back: none when it did not fall, not found when it stays down'
tap_is "$(tests/crash/rate.py mean "$made/truth" 1050 1060) $(tests/crash/rate.py mean "$made/truth" 1030 1040)" '100.0 0.0' 'the mean rate'
# two grows by 60 kB a minute and a descriptor each; one was killed in between; three is steady, with a warm-up before
awk 'BEGIN { for (s = 0; s <= 600; s += 10) { print s, "two", 7, 10000 + s, 20 + int(s / 60)
	print s, "one", s < 400 ? 8 : 9, s < 400 ? 9000 : 5000, 20
	print s, "three", 5, s < 300 ? 5000 + s * 20 : 11000, 20 + (s % 30 == 0) * 3 } }' >"$made/samples"
tap_is "$(tests/crash/grown.py "$made/samples" 300 | jq -c '[.two, .one, .three | .kb_per_h, .grown_kb, .fds_grown]')" '[3600,300,3,0,0,0,0,0,0]' \
	'growth: of the longest life behind the warm-up'
# pairs: c only with mx, d only with ses, so that neither comes behind the other
pairs() { printf '%s\n' 'a any' 'b smtp' 'c mx' 'd ses' | tests/crash/pairs.py "$@"; }
tap_is "$(pairs relay 3 7 all | awk '{ for (i = 3; i <= NF; i++) print $(i - 1) $i }' | sort | xargs)" 'aa ab ac ad ba bb bc ca cb cc da dd' \
	'pairs: each point behind each once, where a transport has both'
tap_is "$(pairs relay 3 7 all | awk '/c/ && $1 != "mx" || /d/ && $1 != "ses" || NF > 5')" '' 'pairs: with that transport, no campaign longer than was asked for'
tap_is "$(pairs ses 3 7 5 | awk '{ n += NF - 2 } END { print n }')" 5 'pairs: some of them only'
# a tenth of all branches missing is allowed, one of the journal is not; nor is a module without a file
for file in dispatcher/settle.c common/smtp_reply.c dispatcher/journal/journal.c feedback/parse/sns.c common/token.c common/addr.c \
	dispatcher/smtp/smtp_body.c feedback/parse/mail.c; do echo "$file 100 100 100 100 0 0"; done >"$made/coverage"
echo 'cli/main.c 200 150 200 120 0 0' >>"$made/coverage"
judged() { tools/coverage-judge.sh "$made/judged" | sed -n 's/ *lines.*MISSED.*//p' | paste -sd,; }
cp "$made/coverage" "$made/judged"
tap_is "$(judged)$(tools/coverage-judge.sh "$made/judged" >/dev/null && echo ' passes')" ' passes' 'coverage: what reaches its aims passes'
sed 's/^\(.*journal\.c 100 100 100\) 100/\1 99/' "$made/coverage" >"$made/judged"
tap_is "$(judged)" 'journal' 'coverage: a branch of the journal that is missed does not'
sed 's/^\(cli.main.c 200\) 150 200 120/\1 90 200 10/; /token/d' "$made/coverage" >"$made/judged"
tap_is "$(judged)$(tools/coverage-judge.sh "$made/judged" >/dev/null || echo " $?")" 'all,tokens 1' 'coverage: nor too little in all, nor a module that is away'
rm -rf "$made"

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
POINTS='after_mark ses_agreed mx_leased record_committed recover_between_writes page_committed before_push events_committed' EACH=2 PAIRS=12 LENGTH=6 \
	tests/crash/points.sh >"$out" 2>"$out.err" || status=$?
tap_is "$status" 0 'F2, F3, F4: death at named points of all programs and transports, alone and behind each other: the same, and each was met'
tap_is "$(tail -n 1 "$out" | jq -c '[.points, .each, .pairs, .fired >= 28, .deaths == .fired + .between]')" '[8,2,12,true,true]' 'as often as was asked for'
tap_note "$(tail -n 1 "$out")"
[ "$status" = 0 ] || tap_note "$(grep -v Killed "$out.err" | tail -n 20)"
rm -f "$out.err"
tap_done
