#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make coverage: runs the unit tests, replays the fuzz seeds and runs integration tests with build/cov,
# then prints lines and branches (taken at least once) in all and of the modules that must not be
# wrong. INTEGRATION: names of tests/integration without .sh; unset: all; empty: none.
set -euo pipefail
cd "$(dirname "$0")/.."
B=build/cov
failed=0
find "$B" -name '*.gcda' -delete

echo "== unit tests and fuzz seeds"
tests=()
for source in tests/unit/test_*.c tests/fuzz/fuzz_*.c; do
	tests+=("$B/${source%.c}")
done
prove --merge -Q -j"$(nproc)" --exec tests/run-one.sh "${tests[@]}" || failed=1

read -ra names <<<"${INTEGRATION-$(basename -s .sh -a tests/integration/*.sh | tr '\n' ' ')}"
if [ ${#names[@]} -gt 0 ]; then
	echo "== integration: ${names[*]}"
	for name in "${names[@]}"; do
		KAIRAN_BIN=$PWD/$B prove -Q --exec bash "tests/integration/$name.sh" || failed=1
	done
else
	echo "== integration: none was asked for"
fi

# A file that no test came by counts, too: it has notes (gcno) and no data.
# stdout: file, lines, lines run, branches, branches taken
measure()
{
	local data source

	while IFS= read -r data; do
		source=${data#"$B"/}
		source=${source%.gcno}.c
		[ -e "$source" ] || continue
		gcov -b -n -o "$data" "$source" 2>/dev/null | awk -v file="$source" '
			/^File / { here = index($0, "\x27" file "\x27") > 0 }
			here && /^Lines executed/ { split($2, a, /[:%]/); lines = $4; run = a[2] * $4 / 100 }
			here && /^Taken at least once/ { split($4, b, /[:%]/); branches = $6; taken = b[2] * $6 / 100 }
			END { printf "%s %d %d %d %d\n", file, lines, run + .5, branches, taken + .5 }'
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
echo "== coverage ($B/coverage.txt has each file)"
total 'all' '.'
total 'state machine of SMTP' '^dispatcher/smtp(_ehlo|_body)?\.c$'
total 'claims and outcomes' '^dispatcher/(claim|settle|recover|mark|ladder)\.c$'
total 'reader of replies' '^common/smtp_reply\.c$'
total 'journal' '^dispatcher/journal(_slot)?\.c$'
total 'verification of SNS' '^feedback/(parse/sns|source/sns_(intake|cert))\.c$'
total 'tokens' '^common/token\.c$'
total 'addresses' '^common/addr\.c$'
total 'dot-stuffing' '^dispatcher/smtp_body\.c$'
total 'parser of mails, its wire' '^feedback/parse/(mail|mail_text|mail_wire|inbound|notice|bounce_text|dsn|arf)\.c$'
[ "$failed" = 0 ] || echo "coverage: some tests failed; the figures are of a run that was not whole"
exit "$failed"
