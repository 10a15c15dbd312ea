#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compose_10k and compose_10k_japanese: bench_compose, and Nodemailer composing the same mails in the
# same run, both counted in CPU time of one thread. Targets: 120,000/s, 20 x Nodemailer, and a
# resident memory that does not grow.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-2}
program=build/release/tests/bench/bench_compose
export NODE_PATH=${NODE_PATH:-/usr/share/nodejs}
yardstick='{}'
if command -v node >/dev/null && node -e 'require("nodemailer")' 2>/dev/null; then
	yardstick=$("$program" --mail | node tests/bench/compose_nodemailer.js "$seconds")
else
	echo 'compose: no yardstick, since nodejs and node-nodemailer are not installed' >&2
fi
"$program" "$seconds" | YARDSTICK=$yardstick python3 -c '
import json, os, sys
yardstick = json.loads(os.environ["YARDSTICK"])
for line in sys.stdin:
    bench = json.loads(line)
    other = yardstick.get(bench["bench"])
    bench["yardstick"] = "Nodemailer %s" % yardstick["version"] if other else None
    bench["yardstick_value"] = round(other["rate"]) if other else None
    bench["yardstick_bytes"] = other["bytes"] if other else None
    bench["ratio"] = round(bench["value"] / other["rate"], 1) if other else None
    bench["target"] = "120000/s, ratio 20"
    print(json.dumps(bench))'
