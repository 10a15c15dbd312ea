# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# tap: TAP for shell tests, read by prove; sourced.
#
#   . tools/tap.sh
#   tap_is "$got" "$wanted" NAME      tap_ok NAME COMMAND...      tap_like "$text" REGEX NAME
#   tap_skip NAME REASON              tap_skip_all REASON         tap_note TEXT
#   tap_done                          last line: prints the plan, ends with 1 if a test failed
#
# A failed test prints what it got and the test goes on; under `set -e` nothing here ends the
# script but tap_skip_all, tap_bail and tap_done. Without tap_done there is no plan, so a script
# that dies half-way is seen as failed.

_tap_count=0
_tap_failed=0

tap_note()
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

_tap_result()
{
	_tap_count=$((_tap_count + 1))
	if [ "$1" -eq 0 ]; then
		printf 'ok %d - %s\n' "$_tap_count" "$2"
	else
		_tap_failed=$((_tap_failed + 1))
		printf 'not ok %d - %s\n' "$_tap_count" "$2"
		tap_note "at ${BASH_SOURCE[2]##*/}:${BASH_LINENO[1]}"
	fi
}

# arguments: NAME, COMMAND...; ok when the command ends with 0; its output is shown when not
tap_ok()
{
	local name=$1 output='' status=0

	shift
	output=$("$@" 2>&1) || status=$?
	_tap_result "$status" "$name"
	if [ "$status" -ne 0 ]; then
		tap_note "ended with $status: $*"
		[ -z "$output" ] || tap_note "$output"
	fi
}

tap_is()
{
	if [ "$1" = "$2" ]; then
		_tap_result 0 "$3"
	else
		_tap_result 1 "$3"
		tap_note "     got: $1"
		tap_note "expected: $2"
	fi
}

# extended regular expression, somewhere in the text
tap_like()
{
	if [[ $1 =~ $2 ]]; then
		_tap_result 0 "$3"
	else
		_tap_result 1 "$3"
		tap_note "     got: $1"
		tap_note "expected: $2"
	fi
}

tap_skip()
{
	_tap_count=$((_tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$_tap_count" "$1" "$2"
}

tap_skip_all()
{
	printf '1..0 # SKIP %s\n' "$*"
	exit 0
}

tap_bail()
{
	printf 'Bail out! %s\n' "$*"
	exit 1
}

tap_done()
{
	printf '1..%d\n' "$_tap_count"
	[ "$_tap_failed" -eq 0 ] || exit 1
	exit 0
}
