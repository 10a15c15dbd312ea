#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every fault F1 to F50 has one row in docs/RELIABILITY.md; each test file that it names exists and
# has a test whose name begins with the row ("F17: ..."). At most five rows may say "open:" instead.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0 open=0
complain() {
	echo "check-faults: $*" >&2
	failed=1
}
for ((n = 1; n <= 50; n++)); do
	row=$(grep -E "^\| F$n \|" docs/RELIABILITY.md || true)
	if [ "$(grep -c . <<<"$row")" != 1 ]; then
		complain "F$n needs one row in docs/RELIABILITY.md"
		continue
	fi
	IFS='|' read -r _ _ _ tests remark _ <<<"$row"
	found=0
	for file in $(grep -oE '`[^`]+`' <<<"$tests" | tr -d '`' || true); do
		found=$((found + 1))
		if [ ! -e "tests/integration/$file" ]; then
			complain "F$n names tests/integration/$file, which is not there"
		elif ! grep -qE "['\"](F[0-9]+, )*F$n(, F[0-9]+)*: " "tests/integration/$file"; then
			complain "no test of tests/integration/$file begins with 'F$n: '"
		fi
	done
	[ "$found" = 0 ] || continue
	case $remark in
	' open: '?*) open=$((open + 1)) ;;
	*) complain "F$n names neither a test nor why it is open" ;;
	esac
done
[ "$open" -le 5 ] || complain "$open rows are open, more than five"
[ "$failed" = 0 ] && echo "50 faults, $open of them open"
exit "$failed"
