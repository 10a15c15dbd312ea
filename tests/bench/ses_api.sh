#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ses_api: the road of the Amazon SES API without a database, as engine is that of SMTP: compose, sign, POST over
# TLS, read the answer; against wrk POSTing ready bodies of the same size over TLS keep-alive to the same nginx,
# in turn. nginx answers as SendEmail does and checks nothing. whole_job_ses is the same with everything.
#   ses_api.sh [BYTES] [MESSAGES]      default 10240 and 200,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
bytes=${1:-10240}
messages=${2:-200000}
pairs=${ROUNDS:-5}
connections=${CONNECTIONS:-16}
bench=${BENCH_SES:-build/release/tests/bench/bench_ses}
PATH=$PATH:/usr/sbin
bench_needs ses_api nginx wrk

services_dir
bench_ses_endpoint
post()
{
	"$bench" "https://127.0.0.1:$SES_PORT" "$SERVICES_DIR/ses/ca.pem" "$connections" "$1" "$bytes"
}
read -r _ _ size < <(post 1000) # how large a request is
ours=() source=() cpus=()
for ((i = 1; i <= pairs; i++)); do
	source+=("$(bench_wrk "$size" "$connections")")
	read -r rate cpu _ < <(post "$messages")
	ours+=("$rate") cpus+=("$cpu")
done
bench_line ses_api "$(median "${ours[@]}")" 'messages/s' \
	"wrk -t1 -c$connections POSTing $size bytes over TLS to the same nginx" "$(median "${source[@]}")" 0.7 \
	"\"messages\":$messages,\"pairs\":$pairs,\"cpu_us_per_message\":$(median "${cpus[@]}")"
