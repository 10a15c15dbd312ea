#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make check-units: systemd finds no error in the units, their exposure is at most EXPOSURE (1.5), and
# the users that they name are those of the sysusers file. Without systemd-analyze it says so and
# ends with 0. It asks no running systemd.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=${EXPOSURE:-1.5}
failed=0

for unit in tools/systemd/*.service; do
	user=$(sed -n 's/^User=//p' "$unit")
	grep -q "^u $user " tools/systemd/kairan.sysusers || {
		echo "check-units: $unit: user '$user' is not in kairan.sysusers" >&2
		failed=1
	}
done
if ! command -v systemd-analyze >/dev/null; then
	echo "check-units: skipped, systemd-analyze is not installed (package systemd)"
	exit "$failed"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for unit in tools/systemd/*.service; do
	name=$(basename "$unit")
	# verify asks for the program: give it one that is there
	sed "s|@bindir@/kairan-[a-z]*|/bin/true|" "$unit" >"$folder/$name"
	said=$(systemd-analyze verify --man=no --recursive-errors=no "$folder/$name" 2>&1 | grep -F "$name:" || true)
	[ -z "$said" ] || {
		echo "check-units: $said" >&2
		failed=1
	}
	exposure=$(systemd-analyze security --offline=true --no-pager "$folder/$name" 2>/dev/null |
		sed -nE 's/.*Overall exposure level for [^:]*: ([0-9.]+).*/\1/p')
	echo "$name exposure ${exposure:-unknown}"
	awk -v e="${exposure:-99}" -v limit="$limit" 'BEGIN { exit !(e <= limit) }' || {
		echo "check-units: $name: exposure ${exposure:-unknown} is over $limit" >&2
		failed=1
	}
done
exit "$failed"
