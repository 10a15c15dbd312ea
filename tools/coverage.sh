#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make coverage: runs the unit tests, replays the fuzz seeds, simulates the sending protocol, scores the bounce
# classifier and runs integration tests with build/cov, then prints lines and branches (taken at least once) in
# all and of the modules that must not be wrong. INTEGRATION: names of tests/integration without .sh; unset:
# all; empty: none. SEEDS: of the simulation (200). JOBS: integration tests at a time. ADD=1: what earlier runs
# covered counts as well, as long as the sources are the same; UNITS=0: nothing but integration tests. Status 1
# when a test failed, or coverage is below its aims (tools/coverage-judge.sh); the latter does not count when
# INTEGRATION chose some of the tests, unless GATE=1.
set -euo pipefail
cd "$(dirname "$0")/.."
B=build/cov
failed=0
[ -n "${ADD:-}" ] || find "$B" -name '*.gcda' -delete
# some programs run as another user (kairan local up), who may write into a file that is there
find "$B" -name '*.gcno' | while IFS= read -r notes; do
	data=${notes%.gcno}.gcda
	[ -e "$data" ] || : >"$data"
	chmod 666 "$data"
done

if [ "${UNITS:-1}" = 1 ]; then
	echo "== unit tests and fuzz seeds"
	tests=()
	for source in tests/unit/test_*.c tests/fuzz/fuzz_*.c; do
		tests+=("$B/${source%.c}")
	done
	prove --merge -Q -j"$(nproc)" --exec tests/run-one.sh "${tests[@]}" || failed=1

	echo "== the sending protocol, simulated"
	"$B/tests/sim/sim_protocol" --seeds "${SEEDS:-200}" 2>/dev/null || failed=1

	echo "== the bounce classifier on golden notices, as they are and bent, and on mails beside the checkout"
	KAIRAN_BIN=$PWD/$B prove -Q --exec python3 tests/golden.py :: --bend || failed=1
	tests/corpus.py --program "$B/kairan-feedback" >/dev/null || failed=1
fi

read -ra names <<<"${INTEGRATION-$(basename -s .sh -a tests/integration/*.sh | tr '\n' ' ')}"
if [ ${#names[@]} -gt 0 ]; then
	echo "== integration: ${names[*]}"
	scripts=("${names[@]/#/tests/integration/}")
	scripts=("${scripts[@]/%/.sh}")
	KAIRAN_SCRIPT_LIMIT_S=900 KAIRAN_BIN=$PWD/$B prove --timer -j"${JOBS:-2}" --exec tests/run-script.py \
		"${scripts[@]}" || failed=1
else
	echo "== integration: none was asked for"
fi
find "$B" -name '*.gcda' -empty -delete

# A file that no test came by counts, too: it has notes (gcno) and no data. Branches do not count on
# lines with an assert(), which is there to say that its other side cannot be, nor on those that a
# comment with LCOV_EXCL_BR_LINE and the reason takes out.
# stdout: file, lines, lines run, branches, branches taken, assertions, lines taken out; and each
# branch that was not taken, in $B/coverage.misses
measure()
{
	local data source

	: >"$B/coverage.misses"
	while IFS= read -r data; do
		source=${data#"$B"/}
		source=${source%.gcno}.c
		[ -e "$source" ] || continue
		gcov -b -c -t -o "$data" "$source" 2>/dev/null | awk -v file="$source" -v misses="$B/coverage.misses" '
			/^ *-: *0:Source:/ { here = $0 ~ ":Source:" file "$" }
			!here { next }
			/^branch/ {
				if (asserted || excluded)
					next
				branches++
				if ($3 == "taken" && $4 > 0)
					taken++
				else
					print file ":" at >>misses
			}
			/^ *[-#=0-9]+[*]?: *[0-9]+:/ {
				count = $0; sub(/:.*/, "", count); gsub(/ /, "", count)
				at = substr($0, index($0, ":") + 1); sub(/^ */, "", at)
				asserted = at ~ /[^_a-z]assert\(/
				excluded = at ~ /LCOV_EXCL_BR_LINE: [^ ]/
				if (count == "-")
					next
				lines++
				run += count !~ /^[#=]/
				assertions += asserted
				exclusions += excluded
			}
			END { printf "%s %d %d %d %d %d %d\n", file, lines, run, branches, taken, assertions, exclusions }'
	done < <(find "$B" -name '*.gcno' -not -path '*/tests/*' -not -path '*/gen/*' -not -path '*/tools/*' | sort)
}

measure >"$B/coverage.txt"
echo "== coverage ($B/coverage.txt has each file, $B/coverage.misses each branch that was not taken)"
enough=yes
tools/coverage-judge.sh "$B/coverage.txt" || enough=no
awk '{ a += $6; x += $7 } END { printf "assertions %d, lines taken out %d\n", a, x }' "$B/coverage.txt"
if [ $enough = no ] && [ "${GATE:-$([ -n "${INTEGRATION+set}" ] && echo 0 || echo 1)}" = 0 ]; then
	echo 'coverage: a part of the tests was asked for, so that it is not judged (GATE=1 does)'
elif [ $enough = no ]; then
	failed=1
fi
[ "$failed" = 0 ] || echo "coverage: a test failed, or less is covered than is wanted"
exit "$failed"
