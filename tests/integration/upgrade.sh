#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A rolling upgrade, seen from the older programs: `kairan init` of a newer version runs in the middle of
# a run, the older programs are restarted only afterwards. The newer schema is this one with columns
# more and a number more, as a migration leaves it; to go back to the number that these programs know
# stands for their being replaced. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
customers_add 600 large.example
campaign_add upgrade
relay_set 'delay_ms = 50'
producer_start
dispatcher_start one KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4
ONE=$DISPATCHER
RUN=$(run_add upgrade a)
taken_wait 30 || tap_note 'nothing is sent'

sql -c 'BEGIN' -c 'ALTER TABLE kairan.send ADD added int' -c "ALTER TABLE kairan.dispatcher ADD added text NOT NULL DEFAULT ''" \
	-c "ALTER TABLE kairan.run ADD added int" -c 'INSERT INTO kairan.migration VALUES (999)' -c COMMIT
before=$(taken)
tap_ok 'F43: older programs that are running go on with a newer schema' taken_wait $((before + 120)) 20
tap_is "$(one "state FROM kairan.run WHERE id = $RUN")" running 'F43: in the middle of the run'

dispatcher_start two
TWO=$DISPATCHER
tap_ok 'F43: an older one that starts says what to do' services_wait 10 grep -q 'install the newer kairan' "$D/dispatcher.log"
tap_is "$(one "count(*) FROM kairan.dispatcher WHERE name = 'two'")" 0 'F43: and does not take part'
service_stop "$ONE" KILL 2>/dev/null || true
HELD=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")
dispatcher_start one KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4
ONE=$DISPATCHER
sleep 1.5
before=$(taken)
sleep 1
tap_is "$(taken)" "$before" 'F43: one that was killed and restarted sends nothing'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sending'")" "$HELD" 'F43: what it held stays its own'
tap_ok 'F43: both wait' kill -0 "$ONE" "$TWO"

service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start
tap_ok 'F43: nor does a producer begin' services_wait 10 grep -q 'install the newer kairan' "$D/producer.log"

relay_set
sql -c 'DELETE FROM kairan.migration WHERE version = 999'
tap_ok 'F43: programs that know the schema finish the run' run_wait "$RUN" finished 40
tap_is "$(one "count(*) <= 4 FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" t 'F43: with one in doubt for each connection at most'
run_check "$RUN" 'F43: exactly once'

KNOWN=$(one 'max(version) FROM kairan.migration')
sql -c "DELETE FROM kairan.migration WHERE version = $KNOWN"
dispatcher_start three
THREE=$DISPATCHER
tap_ok 'F43: with an older schema a program says so, too' services_wait 10 grep -q 'run: kairan init' "$D/dispatcher.log"
sql -c "INSERT INTO kairan.migration VALUES ($KNOWN)"
tap_ok 'F43: and begins when it is brought up to date' wait_for 10 "count(*) = 1 FROM kairan.dispatcher WHERE name = 'three'"
programs_stopped 'all programs end well' "$ONE" "$TWO" "$THREE" "$PRODUCER"
tap_done
