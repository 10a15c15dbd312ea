#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make coverage: runs the unit tests, replays the fuzz seeds, simulates the sending protocol, scores the bounce
# classifier and runs integration tests with build/cov, then prints lines and branches (taken at least once) in
# all and of the modules that must not be wrong. INTEGRATION: names of tests/integration without .sh; unset:
# all; empty: none. SEEDS: of the simulation (200). JOBS: integration tests at a time. ADD=1: what earlier runs
# covered counts as well, as long as the sources are the same; UNITS=0: nothing but integration tests.
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
# arguments: name, extended regular expression for files
total()
{
	awk -v name="$1" -v wanted="$2" '$1 ~ wanted { l += $2; r += $3; b += $4; t += $5 }
		END { printf "%-34s lines %5.1f %% of %5d   branches %5.1f %% of %5d\n", name,
			l ? 100 * r / l : 0, l, b ? 100 * t / b : 100, b }' "$B/coverage.txt"
}
echo "== coverage ($B/coverage.txt has each file, $B/coverage.misses each branch that was not taken)"
total 'all' '.'
total 'state machine of a recipient' '^(dispatcher/(claim/claim|settle|journal/recover|journal/mark)|common/pace/ladder)\.c$'
total 'SMTP engine' '^dispatcher/smtp/smtp(_ehlo|_body)?\.c$'
total 'reader of replies' '^common/smtp_reply\.c$'
total 'journal' '^dispatcher/journal/journal(_slot)?\.c$'
total 'verification of SNS' '^feedback/(parse/sns|source/sns_(intake|cert))\.c$'
total 'tokens' '^common/token\.c$'
total 'addresses' '^common/addr\.c$'
total 'dot-stuffing' '^dispatcher/smtp/smtp_body\.c$'
total 'parser of mails, its wire' '^feedback/parse/(mail|mail_text|mail_wire|inbound|notice|bounce_text|dsn|arf)\.c$'
awk '{ a += $6; x += $7 } END { printf "assertions %d, lines taken out %d\n", a, x }' "$B/coverage.txt"
[ "$failed" = 0 ] || echo "coverage: some tests failed; the figures are of a run that was not whole"
exit "$failed"
