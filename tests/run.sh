#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make test: format, scripts, headers, manual; then units, replayed fuzz seeds and integration,
# all under ASan and UBSan with warnings as errors. TAP under prove; a failure ends in status 1.
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
make_quiet() {
	make --no-print-directory -j"$jobs" "$@"
}

echo "== scripts"
make_quiet check-scripts
echo "== build with sanitizers, warnings are errors"
make_quiet KIND=san WERROR=1 programs-here unit-tests
echo "== format, headers, manual, provider table, promises, units"
make_quiet KIND=san WERROR=1 check-headers check
echo "== the release programs: hardening, containment"
make_quiet WERROR=1 all build/release/tests/unit/test_contain build/release/tests/unit/test_mail_worker build/release/tests/sim/sim_protocol
make_quiet check-hardening
prove --merge --exec tests/run-one.sh build/release/tests/unit/test_contain build/release/tests/unit/test_mail_worker

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
KAIRAN_BIN=$PWD/build/san
export KAIRAN_BIN

fuzz=() units=()
for source in tests/fuzz/fuzz_*.c; do
	fuzz+=("build/san/${source%.c}")
done
for source in tests/unit/test_*.c; do
	units+=("build/san/${source%.c}")
done

# prove runs compiled tests as they are; seeds are found beside each target's source.
echo "== unit tests and fuzz seeds"
prove --merge -j"$jobs" --exec tests/run-one.sh "${units[@]}" "${fuzz[@]}"
echo "== the sending protocol, simulated: 20 seeds under sanitizers, 2,000 in the release build, 40 of them twice"
build/san/tests/sim/sim_protocol --seeds 20 2>/dev/null
build/release/tests/sim/sim_protocol --first 21 --seeds 1000 2>/dev/null &
half=$!
build/release/tests/sim/sim_protocol --first 1021 --seeds 1000 2>/dev/null
wait "$half"
build/release/tests/sim/sim_protocol --seeds 40 --twice 2>/dev/null
echo "== the bounce classifier on golden notices, as they are and bent"
prove --exec python3 tests/golden.py :: --bend
echo "== the bounce classifier on mails beside the checkout"
tests/corpus.py --floor
echo "== integration tests with private PostgreSQL, Redis and Postfix"
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck disable=SC2119 # the default name is meant
services_dir
pg_start "$SERVICES_DIR"
pg_stop
unset KAIRAN_DATABASE_URL
export KAIRAN_TEST_CLUSTER=$SERVICES_DIR/pg
# They wait more than they compute, so five for two cores; the longest begin first.
longest=() others=()
for script in tests/integration/*.sh; do
	case ${script##*/} in
	relay_faults.sh | ses_*.sh | pace_set.sh | chaos_*.sh | crash_loop.sh | pace_brakes.sh | pace_guard.sh | pace_lanes.sh | mx_route.sh | pipeline_*.sh | feedback_s*.sh)
		longest+=("$script") ;;
	*) others+=("$script") ;;
	esac
done
prove --timer -j$((5 * jobs / 2)) --exec tests/run-script.py "${longest[@]}" "${others[@]}"
