#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The database of the simulation (tests/sim/sim_pg.c) against a real PostgreSQL: the same calls, drawn by a
# seed, the same answers and the same rows behind each. CALLS, SEED. TAP, run by prove.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh

PROGRAM=${KAIRAN_BIN:-build/san}/tests/sim/pg_differential
[ -x "$PROGRAM" ] || tap_bail "no $PROGRAM; make KIND=san unit-tests"
export FAST=1
services_dir || tap_bail 'no directory'
D=$SERVICES_DIR
pg_start "$D" 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no PostgreSQL'; }
pg_schema "$D/schema.log" || tap_bail 'the schema does not load'

SEED=${SEED:-$(date +%s)}
tap_note "SEED=$SEED"
"$PROGRAM" "${CALLS:-600}" "$SEED" >"$D/calls.txt" 2>&1
tap_is $? 0 'the simulated database and PostgreSQL say and hold the same'
head -150 "$D/calls.txt" | sed 's/^/# /'
calls=$(sed -n 's/^# \([0-9]*\) calls, .*/\1/p' "$D/calls.txt")
tap_ok 'after enough calls to say so' [ "${calls:-0}" -ge $((${CALLS:-600} / 2)) ]

# what cannot be counted is not "all well of none"
SIM=${PROGRAM%/*}/sim_protocol
for order in '--seeds abc' '--seeds 0' '--seed 5x' '--first -1' '--seeds 1 more'; do
	status=0
	# shellcheck disable=SC2086 # words
	"$SIM" $order >"$D/order" 2>&1 || status=$?
	tap_is "$status" 2 "sim_protocol $order is refused"
done
tap_done
