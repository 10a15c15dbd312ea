#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench: every bench, one JSON line each on standard output. BENCH="produce ingest" picks.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
for bench in ${BENCH:-produce engine_10k engine_1k whole_job_10k whole_job_1k whole_job_tls whole_job_dkim cpu_per_message first_message ses_api whole_job_ses ingest compose classify dkim journal mail_worker reserve redis_memory order}; do
	echo "== $bench" >&2
	case $bench in
	engine_10k) tests/bench/engine.sh 10240 ;;
	engine_1k) tests/bench/engine.sh 1024 200000 ;;
	whole_job_10k) tests/bench/whole_job.sh 10240 ;;
	whole_job_1k) tests/bench/whole_job.sh 1024 ;;
	whole_job_tls) tests/bench/whole_job.sh 10240 40000 tls ;;
	whole_job_dkim) tests/bench/whole_job.sh 10240 60000 dkim ;;
	classify | journal | mail_worker | reserve | redis_memory | order) build/release/tests/bench/bench_"$bench" ;;
	*) tests/bench/"$bench".sh ;;
	esac || { echo "bench $bench failed" >&2; status=1; }
done
exit "${status:-0}"
