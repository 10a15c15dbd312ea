#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# F33 between two network namespaces, the dispatcher in ours, the FAKE relay in theirs: an address of IPv6 that nobody
# answers at, packets dropped without a word, a relay that loses its power, a narrow link, a path that takes no large
# packets and says nothing of it. Rules of routing drop the packets, so that no packet filter is needed.
# In `make chaos` (FULL=1). TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

[ "${FULL:-0}" != 0 ] || tap_skip_all 'takes a minute and more: FULL=1, make chaos'
PATH=$PATH:/usr/sbin
RELAY=203.0.113.25 PORT=2525
pipeline_start
BIN=$(realpath "$BIN") # the working folder is another one in another name space
case $KAIRAN_REDIS_URL in unix:*) ;; *) tap_skip_all 'Redis is not at a socket here' ;; esac

ours()
{
	nsenter -t "$OUR" -n -m "$@"
}
theirs()
{
	nsenter -t "$THEIR" -n "$@"
}
# arguments: name of the variable for the process that holds it, how it is made
network()
{
	service_spawn "$1" "$D/ns.log" "${@:2}" sleep 1200 2>/dev/null
	printf -v "$1" %s "$SERVICE_PID"
}
is_apart()
{
	[ "$(readlink "/proc/$OUR/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
		[ "$(readlink "/proc/$THEIR/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}
# the local table is asked first, unless other rules come before it
rules_first()
{
	"$1" ip rule add pref 100 lookup local && "$1" ip rule del pref 0
}
networks()
{
	network OUR unshare -n -m
	network THEIR unshare -n
	services_wait 5 is_apart || return 1
	ip link add "ours$$" netns "$OUR" type veth peer name "their$$" netns "$THEIR" || return 1
	ours sh -c "ip addr add 203.0.113.1/24 dev ours$$ && ip link set ours$$ up && ip link set lo up" || return 1
	theirs sh -c "ip addr add $RELAY/24 dev their$$ && ip link set their$$ up && ip link set lo up" || return 1
	printf '127.0.0.1 localhost\n2001:db8:33::25 both.example\n%s both.example\n' "$RELAY" >"$D/hosts"
	ours mount --bind "$D/hosts" /etc/hosts && rules_first ours && rules_first theirs
}
networks >"$D/ns.out" 2>&1 ||
	tap_skip_all "no network namespaces here: $(cat "$D/ns.out" "$D/ns.log" | head -n 3 | tr '\n' ' ')"

network_relay()
{
	service_spawn relay "$D/relay.log" nsenter -t "$THEIR" -n "$PYTHON" tests/support/fake_relay.py --host "$RELAY" \
		--log "$TRUTH" --control "$D/control" "$PORT" 2>/dev/null
	FAR=$SERVICE_PID
	services_wait 10 theirs bash -c "exec 3<>/dev/tcp/$RELAY/$PORT" || tap_bail 'the relay in the other network does not answer'
}
# Both directions, without a word to anybody, those of connections that exist, too.
drop()
{
	ours ip rule add pref 10 from "$RELAY" blackhole
	theirs ip rule add pref 10 from 203.0.113.1 blackhole
}
undrop()
{
	ours ip rule del pref 10
	theirs ip rule del pref 10
}
COUNT=0
# arguments: settings of the environment; one that runs ends first
next_dispatcher()
{
	[ -z "$DISPATCHER" ] || service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	COUNT=$((COUNT + 1))
	service_spawn "dispatcher n$COUNT" "$D/dispatcher.log" nsenter -t "$OUR" -n -m env "KAIRAN_DISPATCHER_NAME=n$COUNT" \
		"KAIRAN_RELAY_HOST=$RELAY:$PORT" KAIRAN_RELAY_CONNECTIONS=4 KAIRAN_DISPATCHER_RETRY_LADDER=1s KAIRAN_RELAY_CONNECT_TIMEOUT_S=2 \
		KAIRAN_RELAY_COMMAND_TIMEOUT_S=3 KAIRAN_RELAY_DOT_TIMEOUT_S=4 KAIRAN_RELAY_IDLE_S=60 "$@" \
		"$BIN/kairan-dispatcher" 2>/dev/null
	DISPATCHER=$SERVICE_PID
}
new_run()
{
	COUNT=$((COUNT + 1))
	RUN=$(run_add network "$COUNT")
}
# arguments: expression, whether it is no more than the number
at_most()
{
	local n

	n=$(one "$1")
	[ "$n" -le "$2" ] || { tap_note "it is $n: $(run_states "$RUN")"; return 1; }
}

network_relay
customers_add 40 large.example
campaign_add network
producer_start
next_dispatcher
new_run
run_wait "$RUN" finished 30 || tap_bail 'no mail between the two networks'

# ---- an address of IPv6 that nobody answers at ----------------------------------------------------------
six()
{
	ours sh -c "ip -6 addr add 2001:db8:33::1/64 dev ours$$ nodad &&
		ip -6 neigh add 2001:db8:33::25 lladdr 02:00:00:00:00:25 dev ours$$ nud permanent"
}
asks_six()
{
	ours ss -tnH state syn-sent dst '[2001:db8:33::25]' | grep -q .
}
if ! six >"$D/ns.out" 2>&1; then
	tap_skip 'F33: an address of IPv6 that nobody answers at' "$(tail -n 1 "$D/ns.out")"
else
	new_run # waits for the dispatcher of its relay
	next_dispatcher "KAIRAN_RELAY_HOST=both.example:$PORT"
	tap_ok 'F33: an address of IPv6 that nobody answers at, beside one of IPv4: it is tried' services_wait 20 asks_six
	tap_ok '  ... and the other carries the mail' run_wait "$RUN" finished 40
	tap_is "$(run_states "$RUN") $(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 'sent 40 0' '  ... all of it'
	run_check "$RUN" '  ... exactly once'
fi

# ---- packets dropped in the middle of a run ------------------------------------------------------------------
next_dispatcher
customers_add 400 drop.example
relay_set 'delay_ms = 40'
before=$(taken)
new_run
taken_wait $((before + 60)) || tap_note 'nothing is sent'
drop
tap_ok 'F33: packets are dropped without a word: the relay rests' \
	wait_for 30 "trouble ~ 'no connection in time' FROM kairan.dispatcher ORDER BY id DESC LIMIT 1"
tap_ok '  ... claims are given back' wait_for 30 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'"
sleep 5
tap_ok '  ... in doubt is at most one for each connection' at_most "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'" 4
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND tries > 0")" 0 '  ... and nobody has lost a try'
undrop
relay_set
tap_ok '  ... when they pass again the run finishes' run_wait "$RUN" finished 120
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('sent', 'in_doubt')")" 0 '  ... nobody is lost'
run_check "$RUN" '  ... nobody got it twice'

# ---- the relay's power fails: connections that only one side knows ---------------------------------------------
sql -c "DELETE FROM kairan.customer WHERE email LIKE '%@drop.example'"
connected()
{
	ours ss -tnH state established dst "$RELAY" | grep -q .
}
services_wait 10 connected || tap_note 'no connection is kept'
drop
service_stop "$FAR" KILL || true
network_relay
undrop
tap_ok 'F33: half-open connections' connected
new_run
tap_ok '  ... the run finishes' run_wait "$RUN" finished 60
tap_is "$(run_states "$RUN")" 'sent 40' '  ... nobody is in doubt by it'
run_check "$RUN" '  ... exactly once'

# ---- few local ports --------------------------------------------------------------------------------------------------
RANGE=$(ours cat /proc/sys/net/ipv4/ip_local_port_range)
if ! ours sh -c 'echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range' 2>"$D/ns.out"; then
	tap_skip 'F39: four local ports for ten connections' "$(tail -n 1 "$D/ns.out")"
else
	next_dispatcher KAIRAN_RELAY_CONNECTIONS=10
	: >"$D/dispatcher.log"
	relay_set 'delay_ms = 200'
	new_run
	tap_ok 'F39: four local ports for ten connections: the run finishes' run_wait "$RUN" finished 60
	tap_is "$(run_states "$RUN") $(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 'sent 40 0' '  ... all are sent at the first try'
	tap_like "$(cat "$D/dispatcher.log")" 'no local port for another connection' '  ... the log says what it is'
	tap_is "$(grep -c 'relay unwell' "$D/dispatcher.log" || true)" 0 '  ... and the relay is not blamed'
	relay_set
	ours sh -c "echo $RANGE >/proc/sys/net/ipv4/ip_local_port_range"
fi

# ---- a link of 1 Mbit/s ---------------------------------------------------------------------------------------------
sql -c "INSERT INTO kairan.template (digest, subject, body) VALUES ('big', 'Big', repeat('{{name}}' || E'\\n', 10))" \
	-c "UPDATE kairan.campaign SET template_id = (SELECT id FROM kairan.template WHERE digest = 'big')" \
	-c "UPDATE kairan.customer SET name = repeat(repeat('x', 70) || ' ', 50)"
if ! ours tc qdisc add dev "ours$$" root tbf rate 1mbit burst 4k limit 30k >"$D/ns.out" 2>&1; then
	tap_skip 'F33: a link of 1 Mbit/s' "$(tail -n 1 "$D/ns.out")"
else
	next_dispatcher KAIRAN_RELAY_DOT_TIMEOUT_S=60
	new_run
	tap_ok 'F33: a link of 1 Mbit/s: the run finishes' run_wait "$RUN" finished 120
	tap_is "$(run_states "$RUN") $(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 'sent 40 0' '  ... all are sent at the first try'
	run_check "$RUN" '  ... exactly once'
	tap_is "$(one "extract(epoch FROM max(at) - min(at)) > 8 FROM test.truth WHERE run = $RUN")" t '  ... at its speed'
	ours tc qdisc del dev "ours$$" root
fi

# ---- a path that takes no large packets and says nothing of it ------------------------------------------------------
# their end drops what is larger than its MTU, and the route promises more than that
hole()
{
	ours ip link set "ours$$" gso_max_segs 1 && theirs ip link set "their$$" mtu 600 &&
		theirs ip route change 203.0.113.0/24 dev "their$$" src "$RELAY" advmss 1460
}
if ! hole >"$D/ns.out" 2>&1; then
	tap_skip 'F33: large packets vanish' "$(tail -n 1 "$D/ns.out")"
else
	next_dispatcher
	new_run
	tap_ok 'F33: large packets vanish: whose mail has left is in doubt' \
		wait_for 60 "count(*) >= 6 FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'"
	tap_like "$(cat "$D/dispatcher.log")" "server silent host=$RELAY .*large packets" '  ... the log says what it may be'
	most=0
	for _ in 1 2 3 4 5 6 7 8; do
		n=$(ours ss -tnH state established dst "$RELAY" | wc -l)
		[ "$n" -le "$most" ] || most=$n
		sleep 1
	done
	tap_is "$most" 1 '  ... one connection at a time shows whether it is over'
	theirs ip link set "their$$" mtu 1500
	tap_ok '  ... when they pass the run finishes' run_wait "$RUN" finished 60
	tap_ok '  ... most are sent' at_most "count(*) FROM kairan.send WHERE run_id = $RUN AND state <> 'sent'" 14
	run_check "$RUN" '  ... nobody got it twice'
fi

programs_stopped 'the programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
