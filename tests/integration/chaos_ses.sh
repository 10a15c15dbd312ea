#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The API of a FAKE Amazon SES behind a network that fails (F34): requests and answers that are cut, stall, come in small
# pieces; an endpoint that is away for OUTAGE_S seconds (5; `make chaos-ses-outage`: 600). Nobody gets a mail
# twice, and only who was under way is in doubt. FULL=1: stalls, small pieces and a storm, too. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/ses.sh
. tests/support/ses.sh
# shellcheck source=tests/support/chaos.sh
. tests/support/chaos.sh

OUTAGE_S=${OUTAGE_S:-5}
pipeline_start
ses_start
PROXY=$(services_free_port)
chaos_start ses "$PROXY" "$SES_PORT"
export AWS_ENDPOINT_URL_SESV2=https://localhost:$PROXY
CONNECTIONS=4
SETTINGS=("${KEYS[@]}" "$LADDER" "KAIRAN_SES_CONNECTIONS=$CONNECTIONS" KAIRAN_SES_TIMEOUT_S=10 KAIRAN_SES_CONNECT_TIMEOUT_S=2)
COUNT=0
new_run()
{
	COUNT=$((COUNT + 1))
	RUN=$(run_add chaos "$COUNT")
}
in_doubt()
{
	one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'"
}
# arguments: NAME, how many may be in doubt at most; none: nobody is. The run of now ends.
settles()
{
	local n

	tap_ok "$1: the run finishes" run_wait "$RUN" finished 60
	n=$(in_doubt)
	tap_ok "  ... in doubt are $n, at most $2" test "$n" -le "$2"
	tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('sent', 'in_doubt')")" 0 '  ... all others are sent'
	run_check "$RUN" '  ... nobody twice'
}

customers_add 60 large.example
campaign_add chaos
producer_start
dispatcher_start one "${SETTINGS[@]}"
new_run
settles 'through the proxy' 0

# ---- one connection fails in the middle -------------------------------------------------------------------
# arguments: NAME, what befalls one connection. A small request leaves at once: who was in it is in doubt.
once()
{
	local before

	before=$(chaos_said ses limit)
	chaos ses "limit $2"
	new_run
	services_wait 20 _chaos_more ses limit "$before" || tap_note "$2: it does not come to it"
	settles "F34: $1" 1
	chaos ses pass
}
once 'cut in a request' 'up 4000 cut'
once 'cut in an answer' 'down 1000 cut'
if full; then
	once 'a request stalls' 'up 4000 hold'
	once 'half an answer, then the end of the stream' 'down 1000 fin'
	once 'an answer stalls' 'down 1000 hold'
	chaos ses split 50
	new_run
	settles 'F34: in pieces of 50 bytes' 0
	chaos ses pass
	chaos ses delay 20
	new_run
	settles 'F34: each piece 20 ms late' 0
	chaos ses pass
	customers_add 200 storm.example
	ses_set 'delay_ms = 30'
	chaos ses storm 150
	new_run
	services_wait 30 _chaos_more ses storm 8 || tap_note 'no storm'
	chaos ses pass
	ses_set
	settles 'F34: a storm' "$((CONNECTIONS + $(chaos_said ses storm)))"
	tap_note "$(run_states "$RUN"), $(chaos_said ses storm) connections had to suffer"
fi

# ---- fewer descriptors than connections ---------------------------------------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
ses_set 'delay_ms = 100'
: >"$D/dispatcher.log"
dispatcher_start few "${SETTINGS[@]}" KAIRAN_SES_CONNECTIONS=60 prlimit --nofile=40:40
new_run
settles 'F39: 40 descriptors for 60 connections' 0
tap_is "$(one "max(tries) FROM kairan.send WHERE run_id = $RUN") $(grep -c 'ses unwell' "$D/dispatcher.log" || true)" '0 0' \
	'  ... at the first try, and SES is not blamed'
tap_like "$(cat "$D/dispatcher.log")" 'no descriptor or local port for another connection' '  ... the log says what it is'

# ---- the endpoint is away ---------------------------------------------------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
customers_add 340 away.example
ses_set 'max_rate = 50'
: >"$D/dispatcher.log"
dispatcher_start one "${SETTINGS[@]}"
before=$(taken)
new_run
taken_wait $((before + 60)) || tap_note 'nothing is sent'
chaos ses refuse
chaos ses cut
tap_ok "F34: the endpoint is away for $OUTAGE_S s: claims are given back" \
	wait_for 30 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'"
sleep "$OUTAGE_S"
n=$(in_doubt)
tap_ok "  ... in doubt are $n, at most one for each connection" test "$n" -le "$CONNECTIONS"
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND (tries > 0 OR state NOT IN ('queued', 'sending', 'sent', 'in_doubt'))")" 0 \
	'  ... the others wait without having lost a try'
n=$(grep -c 'ses unwell' "$D/dispatcher.log" || true)
tap_ok "  ... it was asked for $n times, ever more rarely" test "$n" -le "$((12 + OUTAGE_S / 40))"
left=$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('queued', 'sending')") # it may be trying just now
chaos ses accept
settles '  ... when it is back' "$CONNECTIONS"
tap_is "$(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 0 '  ... at the first try'
most=$(one "max(n) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN CURRENT ROW AND '2 s' FOLLOWING) AS n
	FROM test.truth WHERE run = $RUN) AS t")
tap_ok "  ... without a burst: of $left at most $most in 2 s, at 45 a second" test "$most" -le 135
tap_note "$(run_states "$RUN")"

programs_stopped 'the programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
