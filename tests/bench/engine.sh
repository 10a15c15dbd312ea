#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# engine: the SMTP engine without a database against smtp-source -d, both into the same smtp-sink
# on the same cores, in turn.
#   engine.sh [BYTES] [MESSAGES]      default 10240 and 100,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
messages=${2:-100000}
pairs=${ROUNDS:-5}
sessions=${SESSIONS:-16}
engine=${BENCH_ENGINE:-build/release/tests/bench/bench_engine}
PATH=$PATH:/usr/sbin
command -v smtp-sink >/dev/null || { echo "engine skipped: smtp-sink (package postfix) is not here" >&2; exit 0; }

services_dir
bench_sink
ours=() source=() cpu=0
for ((i = 1; i <= pairs; i++)); do
	start=$(now_ms)
	smtp-source -d -s "$sessions" -l "$bytes" -m "$messages" -f a@b.example -t c@d.example "127.0.0.1:$SINK_PORT"
	source+=("$(per_second "$messages" "$start")")
	read -r rate cpu < <("$engine" "$SINK_PORT" "$sessions" "$messages" "$bytes")
	ours+=("$rate")
done
service_stop "$SINK" || true # smtp-sink dies of its signal
bench_line "engine_$((bytes / 1024))k" "$(median "${ours[@]}")" 'messages/s' \
	"smtp-source -d -s $sessions into the same smtp-sink" "$(median "${source[@]}")" \
	"$([ "$bytes" -ge 4096 ] && echo 1.3 || echo 1.5)" \
	"\"messages\":$messages,\"pairs\":$pairs,\"cpu_us_per_message\":$cpu"
