#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# dkim_rsa2048, dkim_ed25519: messages of 10 KB signed per second of processor time and core, all
# cores at once with one key; yardstick: what `openssl speed` signs bare hashes with, on all cores,
# in turns with it. Medians of BENCH_PAIRS pairs (default 3), BENCH_SECONDS each (default 3).
set -euo pipefail
cd "$(dirname "$0")/../.."
threads=$(nproc)
pairs=${BENCH_PAIRS:-3}
seconds=${BENCH_SECONDS:-3}

# stdin: numbers; stdout: the one in the middle
median()
{
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# arguments: rsa2048|ed25519; stdout: signatures per second of one core. One process per core, since
# openssl takes processor time in each, but the time on the wall with -multi.
openssl_rate()
{
	local i pids=()

	for ((i = 0; i < threads; i++)); do
		openssl speed -seconds "$seconds" "$1" >"$D/speed.$i" 2>/dev/null &
		pids+=($!)
	done
	wait "${pids[@]}"
	cat "$D"/speed.* | awk '/^ *(rsa|[0-9]+ bits EdDSA)/ { n++; sum += $(NF - 1) } END { print sum / n }'
}

D=$(mktemp -d)
trap 'rm -rf "$D"' EXIT
for algorithm in rsa2048 ed25519; do
	ours='' theirs=''
	for ((i = 0; i < pairs; i++)); do
		theirs+=$(openssl_rate "$algorithm")$'\n'
		ours+=$(build/release/tests/bench/bench_dkim "${algorithm%2048}" "$threads" "$seconds")$'\n'
	done
	value=$(median <<<"${ours%$'\n'}")
	yardstick=$(median <<<"${theirs%$'\n'}")
	printf '{"bench":"dkim_%s","value":%.0f,"unit":"messages of 10 KB signed/s per core","threads":%d,' "$algorithm" "$value" "$threads"
	printf '"yardstick":%.0f,"yardstick_is":"openssl speed %s, one on each of %d cores","ratio":%.2f}\n' \
		"$yardstick" "$algorithm" "$threads" "$(awk "BEGIN { print $value / $yardstick }")"
done
