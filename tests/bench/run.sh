#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench: every bench, one JSON line each on standard output. BENCH="produce ingest" picks.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
for bench in ${BENCH:-produce whole_job ses_api ingest compose classify dkim journal}; do
	echo "== $bench" >&2
	case $bench in
	classify | journal) build/release/tests/bench/bench_"$bench" ;;
	*) tests/bench/"$bench".sh ;;
	esac || { echo "bench $bench failed" >&2; status=1; }
done
exit "${status:-0}"
