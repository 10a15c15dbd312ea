#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make check-promises: docs/RELIABILITY.md has a row for each promise (P1 to P11, P3b), docs/SECURITY.md one
# for each attack (A1 to A55), once. Each names a test file that exists, and what it quotes stands in one of
# the files it names; or it says "not proved" or "not offered", and why.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
complain()
{
	echo "check-promises: $*" >&2
	failed=1
}

# arguments: name as in a document; stdout: the path
file_of()
{
	local path

	for path in "$1" "tests/$1" "tests/unit/$1" "tests/integration/$1" "tests/fuzz/$1" "tests/crash/$1"; do
		[ -e "$path" ] && { echo "$path"; return; }
	done
	return 1
}

# arguments: name of the row, its text
check_row()
{
	local name path quoted word files=()

	while IFS= read -r name; do
		if path=$(file_of "$name"); then
			files+=("$path")
		else
			complain "$1: there is no $name"
		fi
	done < <(grep -oE '`[A-Za-z0-9_/.-]+\.(sh|c|tsv)`' <<<"$2" | tr -d '`' | sort -u)
	if [ ${#files[@]} -eq 0 ] && ! grep -qE 'not (proved|offered): ..' <<<"$2"; then
		complain "$1 names no test and no reason"
	fi
	while IFS= read -r quoted; do
		word=${quoted:1:-1}
		if [[ $word =~ ^[A-Za-z0-9_]+$ ]]; then
			# a function of cmocka, or the one-word name of a test in shell
			grep -qE "cmocka_unit_test[a-z_]*\((test_)?${word}[,)]|['\"]${word}['\": ]" "${files[@]}" /dev/null ||
				complain "$1: no test '$word' in its files"
			continue
		fi
		grep -qF -- "$word" "${files[@]}" /dev/null || complain "$1: \"$word\" is in none of its files"
	done < <(grep -oE '"[^"]+"' <<<"$2")
}

# arguments: document, rows
check_rows()
{
	local document=$1 row line

	shift
	for row in "$@"; do
		line=$(grep -E "^\| $row \|" "$document")
		case $(grep -c . <<<"$line") in
		1) check_row "$row" "${line#"| $row |"}" ;;
		*) complain "$document has no row, or several, for $row" ;;
		esac
	done
}

check_rows docs/RELIABILITY.md P1 P2 P3 P3b P4 P5 P6 P7 P8 P9 P10 P11
mapfile -t attacks < <(seq -f 'A%.0f' 1 55)
check_rows docs/SECURITY.md "${attacks[@]}"
[ "$failed" = 0 ] && echo "every promise and every attack has its test, or its reason"
exit "$failed"
