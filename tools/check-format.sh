#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check-format FILE...: names the files that clang-format would change; ends with 1 if any.
set -euo pipefail

if [ $# -eq 0 ]; then
	printf 'usage: %s FILE...\n' "$0" >&2
	exit 2
fi
if ! command -v clang-format >/dev/null; then
	printf 'check-format: clang-format is not installed (Debian package clang-format)\n' >&2
	exit 1
fi

differ=0
for file in "$@"; do
	if ! clang-format --dry-run -Werror "$file" >/dev/null 2>&1; then
		printf 'check-format: %s differs\n' "$file"
		differ=$((differ + 1))
	fi
done
if [ "$differ" -ne 0 ]; then
	printf 'check-format: %d of %d files differ; make format writes them\n' "$differ" $#
	exit 1
fi
printf 'check-format: %d files are as .clang-format wants them\n' $#
