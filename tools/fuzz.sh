#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make fuzz: every target of tests/fuzz under libFuzzer with ASan and UBSan, one after the other.
#   SECONDS_EACH=60 TARGETS="fuzz_sns fuzz_smtpd" tools/fuzz.sh
# Seeds come from tests/fuzz/NAME.in; what libFuzzer adds stays in build/fuzz/NAME.corpus. A
# finding is written to build/fuzz and ends the run with status 1.
set -euo pipefail
cd "$(dirname "$0")/.."
each=${SECONDS_EACH:-60}
out=build/fuzz
mkdir -p "$out"
make --no-print-directory build/release/gen/embed.h >/dev/null

# packages and folders as the Makefile has them
read -ra packages <<<"$(sed -n 's/^PACKAGES := //p' Makefile)"
read -ra flags <<<"$(pkg-config --cflags "${packages[@]}" | sed 's/-I/-isystem /g')"
read -ra libs <<<"$(pkg-config --libs "${packages[@]}")"
includes=(-I. -Ibuild/release/gen -Itests/support)
while IFS= read -r folder; do
	includes+=("-I$folder")
done < <(find common producer dispatcher feedback cli -name '*.h' -printf '%h\n' | sort -u)
sources=(build/release/gen/embed.c)
while IFS= read -r source; do
	sources+=("$source")
done < <(find common producer dispatcher feedback cli -name '*.c' ! -name main.c | sort)
echo "building ${#sources[@]} sources for libFuzzer"
objects=()
for source in "${sources[@]}"; do
	object=$out/${source//\//_}.o
	objects+=("$object")
	[ "$object" -nt "$source" ] || clang -std=c17 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
		-fno-sanitize-recover=all -DKAIRAN_VERSION='"fuzz"' "${includes[@]}" "${flags[@]}" \
		-w -c -o "$object" "$source"
done
rm -f "$out/libkairan.a"
ar rcs "$out/libkairan.a" "${objects[@]}"

status=0
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	case " ${TARGETS:-$name} " in *" $name "*) ;; *) continue ;; esac
	clang -std=c17 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		"${includes[@]}" "${flags[@]}" -w -o "$out/$name" "$source" "$out/libkairan.a" "${libs[@]}" -lunistring -lpthread -lm
	mkdir -p "$out/$name.corpus"
	echo "== $name, $each s"
	"$out/$name" -max_total_time="$each" -rss_limit_mb=2048 -artifact_prefix="$out/$name." -print_final_stats=1 \
		"$out/$name.corpus" "tests/fuzz/${name#fuzz_}.in" >"$out/$name.log" 2>&1 || status=1
	grep -E 'stat::number_of_executed|SUMMARY|ERROR' "$out/$name.log" || true
done
exit "$status"
