#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make check-hardening: reads the release programs with readelf: position independent, RELRO and
# BIND_NOW, no executable stack, no segment both writable and executable, no RPATH, canaries,
# FORTIFY; and of our objects on x86-64, CET (IBT, SHSTK).
#   tools/check-hardening.sh PROGRAM...
set -euo pipefail
failed=0

# arguments: program, what, command...
want()
{
	local program=$1 what=$2

	shift 2
	"$@" || {
		echo "check-hardening: $program: $what" >&2
		failed=1
	}
}

has() { grep -qE -- "$1" <<<"$2"; }
lacks() { ! grep -qE -- "$1" <<<"$2"; }

for program in "$@"; do
	header=$(readelf -Wh "$program")
	segments=$(readelf -Wl "$program")
	dynamic=$(readelf -Wd "$program")
	symbols=$(readelf -W --dyn-syms "$program")
	want "$program" 'is not position independent' has 'Type: +DYN' "$header"
	want "$program" 'has no RELRO' has 'GNU_RELRO' "$segments"
	want "$program" 'binds lazily' has 'BIND_NOW|FLAGS.* NOW' "$dynamic"
	want "$program" 'has an executable stack' has 'GNU_STACK.* RW +0x' "$segments"
	want "$program" 'has a segment that is writable and executable' lacks 'LOAD.* RWE ' "$segments"
	want "$program" 'has an RPATH' lacks 'RPATH|RUNPATH' "$dynamic"
	want "$program" 'has relocations in its code' lacks 'TEXTREL' "$dynamic"
	want "$program" 'has no canaries' has '__stack_chk_fail' "$symbols"
	want "$program" 'uses no function of FORTIFY' has '__(memcpy|snprintf|vsnprintf|fprintf|read)_chk' "$symbols"
	[ "$failed" = 1 ] || echo "$program: PIE RELRO NOW NX canary FORTIFY"
done

# The mark of a whole program needs marked start files of the C library, which Debian 12 does not
# have; our objects are ready for those that do.
if [ "$(uname -m)" = x86_64 ]; then
	for archive in build/release/lib*.a; do
		objects=$(ar t "$archive" | wc -l)
		marked=$(readelf -Wn "$archive" 2>/dev/null | grep -c 'IBT, SHSTK' || true)
		want "$archive" "$((objects - marked)) of $objects objects without IBT and SHSTK (CET)" [ "$objects" = "$marked" ]
		[ "$failed" = 1 ] || echo "$archive: CET in $marked objects"
	done
else
	echo 'check-hardening: CET is not looked at, this is no x86-64'
fi
exit "$failed"
