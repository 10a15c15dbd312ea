#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make crash-points: each CRASH_POINT of the sources alone, POINTS="a b" only those, EACH=n each so
# often, PAIRS=n random pairs behind them (PAIRS=all: each with each): the program dies there, is started
# again, and everybody must have got it once. Of two points of one program the second is that of its next
# life. Points whose names begin with mx_ and ses_ are met with that transport, ROUTE=mx or ses takes all
# others with it as well, those of SMTP or of its refusals excepted. The last line is one JSON object; status 1
# when a point did not fire, or a promise was broken. Needs a build with crash points (KIND=san or KIND=crash).
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/ses.sh
. tests/crash/lib.sh

ALL=(producer feedback one)
EACH=${EACH:-${TIMES:-1}} PAIRS=${PAIRS:-0} ROUTES=${ROUTE:-relay}
ROUTE=()
SEED=${SEED:-$(date +%s)}
crash_number EACH 1
[ "$PAIRS" = all ] || crash_number PAIRS 0
case $ROUTES in relay | mx | ses) ;; *) crash_usage 'ROUTE is none of relay, mx, ses' ;; esac
crash_number SEED 0
RANDOM=$((10#$SEED % 32768))
FIRED=0 TRIED=0 DEATHS=0
silent=() broken=()

points_of()
{
	grep -rhoE 'CRASH_POINT\("[a-z_]+"\)' "$@" --include='*.c' | sed 's/.*"\(.*\)".*/\1/' | sort -u
}

mapfile -t of_dispatcher < <(points_of dispatcher)
mapfile -t of_producer < <(points_of producer)
mapfile -t of_feedback < <(points_of feedback)
for point in ${POINTS:-}; do
	case " ${of_dispatcher[*]} ${of_producer[*]} ${of_feedback[*]} " in
	*" $point "*) ;;
	*) crash_usage "POINTS: no source has $point" ;;
	esac
done

program_of()
{
	case " ${of_producer[*]} " in *" $1 "*) echo producer; return ;; esac
	case " ${of_feedback[*]} " in *" $1 "*) echo feedback; return ;; esac
	echo one
}

# how often it is passed before the interesting moment, so that the run is under way
nth_of()
{
	case $1 in
	recover_* | stopping | before_goodbye | release_committed | before_ledger | plan_* | page_* | run_found | audience_read | before_finish | retry_pushed | \
		before_push | pushed | before_hook | before_events | events_committed | before_move | moved | connected | mx_* | ses_connected) echo 1 ;;
	before_claim | claim_* | popped | reserved | before_record | record_committed) echo $((RANDOM % 2 + 1)) ;;
	*) echo $((RANDOM % 20 + 2)) ;;
	esac
}

# what a point needs: mx, ses, smtp (relay or mx), relay (refusals, which the FAKE SES has others for), or any
needs()
{
	case $1 in
	mx_*) echo mx ;;
	ses_*) echo ses ;;
	before_write | after_write | reply_read | connected) echo smtp ;;
	retry_pushed | before_ledger) echo relay ;;
	*) echo any ;;
	esac
}

# arguments: points; stdout: the transport that has all of them, nothing when none has
route_of()
{
	local point route fits

	for route in "$ROUTES" relay mx ses; do
		fits=yes
		for point in "$@"; do
			case $(needs "$point").$route in
			any.* | "$route.$route" | smtp.relay | smtp.mx) ;;
			*) fits=no ;;
			esac
		done
		[ $fits = no ] || { echo "$route"; return; }
	done
}

idle()
{
	[ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null)" = 0 ] &&
		[ -z "$(find "$D/md/new" -type f)" ]
}

# arguments: points; the programs that have them end, and their next lives die there, one behind the other
arm()
{
	local point program
	local -A chain=()

	for point in "$@"; do
		program=$(program_of "$point")
		case $point in
		recover_*)	# something must be left to recover
			chain[$program]+="after_mark:5 "
			WANTED=$((WANTED + 1)) ;;
		esac
		chain[$program]+="$point:$(nth_of "$point") "
		WANTED=$((WANTED + 1))
	done
	for program in "${!chain[@]}"; do
		crash_kill "$program" 2>/dev/null || true
		wait "${PIDS[$program]:-}" 2>/dev/null || true
		PIDS[$program]=''
		POINT[$program]=${chain[$program]}
	done
}

# A life that dies in the way out of a SIGTERM gets one, in the middle of its work.
told=
tell_to_stop()
{
	case ${AT[one]:-} in
	stopping:* | before_goodbye:* | release_committed:*) ;;
	*) return 0 ;;
	esac
	[ "${told%% *}" = "${PIDS[one]}" ] || told="${PIDS[one]} $(taken)"
	case $told in *done) return 0 ;; esac
	[ "$(taken)" -gt $((${told#* } + 5)) ] || return 0
	kill -TERM "${PIDS[one]}" 2>/dev/null || true
	told="${PIDS[one]} done"
}

# hard addresses are suppressed when they were used: new ones for points on the way of a refusal; soft ones
# are put off once. Run in RUNS.
one_run()
{
	customers_add 1 "dead$TRIED.$GIVEN.example" hard
	customers_add 1 "soft$TRIED.$GIVEN.example" soft
	RUNS+=("$(run_add points "$TRIED-$GIVEN-$RANDOM")")
	GIVEN=$((GIVEN + 1))
	crash_feedback "$GIVEN" "$(shuf -n 1 "$TRUTH")"
}

route_take()
{
	case $1 in
	relay) ROUTE=() ;;
	mx) ROUTE=("${MX[@]}") ;;
	ses) ROUTE=("${SES_ROUTE[@]}") ;;
	esac
	[ "$1" != ses ] || ses_set 'delay_ms = 3'
	case " ${*:2} " in
	*" stopping "* | *" release_committed "*)
		relay_set 'delay_ms = 40' 'times = 1'
		[ "$1" != ses ] || ses_set 'delay_ms = 40' ;;
	esac
	[ "$1" = "$BEFORE" ] || { crash_kill one 2>/dev/null || true; } # its next life has the other transport
	BEFORE=$1
}

fired()
{
	[ $(($(wc -l <"$D/crashed") - before)) -ge "$WANTED" ]
}

# A run, or as many as it takes, dying at each of the points given.
try()
{
	local point before deaths list doubt end=$((SECONDS + 60)) WANTED=0 RUNS=()

	TRIED=$((TRIED + $#))
	before=$(wc -l <"$D/crashed")
	route_take "$(route_of "$@")" "$@"
	arm "$@"
	one_run
	while true; do
		crash_tend "${ALL[@]}"
		tell_to_stop
		if idle; then
			! fired || break
			# a life that comes by nothing any more in this run: another one
			[ ${#RUNS[@]} -lt 4 ] || break
			one_run
		elif [ "$SECONDS" -gt "$end" ]; then
			broken+=("$*: does not end")
			break
		fi
		sleep 0.05
	done
	POINT=()
	sleep 0.1
	crash_tend "${ALL[@]}"
	relay_set 'delay_ms = 3' 'times = 1'
	for point in "$@"; do
		if tail -n +$((before + 1)) "$D/crashed" | grep -qx "$point"; then
			FIRED=$((FIRED + 1))
		else
			silent+=("$point of $*")
		fi
	done
	deaths=$(($(wc -l <"$D/crashed") - before))
	DEATHS=$((DEATHS + deaths))
	judge "$deaths" "$*"
}

# arguments: deaths, points
judge()
{
	local violation list

	printf -v list '%s,' "${RUNS[@]}"
	list=${list%,}
	truth_load
	violation=$(one "string_agg(v, '; ') FROM (SELECT v FROM unnest(ARRAY[$list]) AS r, test.violations(r) AS v LIMIT 3) AS t")
	[ -z "$violation" ] || broken+=("$2: $violation")
	[ "$(one "count(*) FROM kairan.send WHERE run_id IN ($list) AND state IN ('queued', 'sending', 'deferred')")" = 0 ] ||
		broken+=("$2: somebody is not settled")
	[ "$(one "count(*) FROM kairan.send WHERE run_id IN ($list) AND state = 'in_doubt'")" -le $((CONNECTIONS * $1)) ] ||
		broken+=("$2: too many are in doubt")
}

# Servers of the other transports, when they are needed. Knot says that the FAKE relay is everybody's.
transports_start()
{
	local port

	port=$(services_free_port)
	mkdir "$D/knot"
	printf '%s\n' 'server:' "    listen: 127.0.0.1@$port" "    rundir: $D/knot" 'database:' "    storage: $D/knot" \
		'zone:' '  - domain: example' "    file: $D/example.zone" >"$D/knot.conf"
	printf '%s\n' "\$TTL 60" '@ IN SOA ns admin 1 60 60 60 60' '@ IN NS ns' 'ns IN A 127.0.0.1' '* IN MX 10 mail' 'mail IN A 127.0.0.1' \
		>"$D/example.zone"
	service_spawn knot "$D/knot.log" knotd -c "$D/knot.conf"
	MX=(KAIRAN_DISPATCHER_TRANSPORT=mx "KAIRAN_DISPATCHER_RESOLVER=127.0.0.1:$port" "KAIRAN_MX_PORT=$RELAY_PORT" KAIRAN_MX_PRIVATE=yes
		KAIRAN_MX_REST_S=1 KAIRAN_MX_LONGEST_REST_S=1 KAIRAN_MX_TLS=off KAIRAN_MX_MTA_STS=no "KAIRAN_MX_CONNECTIONS=$CONNECTIONS")
	ses_start
	export -n HOME AWS_EC2_METADATA_DISABLED AWS_REGION AWS_ENDPOINT_URL_SESV2 AWS_CA_BUNDLE KAIRAN_DISPATCHER_TRANSPORT AWS_ENDPOINT_URL_STS
	SES_ROUTE=("${KEYS[@]}" "HOME=$D" AWS_EC2_METADATA_DISABLED=true AWS_REGION=ap-northeast-1 KAIRAN_DISPATCHER_TRANSPORT=ses
		"AWS_ENDPOINT_URL_SESV2=https://localhost:$SES_PORT" "AWS_CA_BUNDLE=$D/ses/ca.pem" "KAIRAN_SES_CONNECTIONS=$CONNECTIONS")
}

START=$SECONDS GIVEN=0 BEFORE=relay
MX=() SES_ROUTE=()
crash_begin >&2
SETTINGS+=(KAIRAN_PRODUCER_PAGE=50)
customers_add 130 large.example
customers_add 3 dead.example hard
campaign_add points
relay_set 'delay_ms = 3' 'times = 1'
crash_tend "${ALL[@]}"
run_wait "$(run_add points first)" finished 30 >&2

read -ra list <<<"${POINTS:-${of_dispatcher[*]} ${of_producer[*]} ${of_feedback[*]}}"
case "$ROUTES ${list[*]}" in mx* | ses* | *' mx_'* | *' ses_'*) transports_start >&2 ;; esac
for ((i = 0; i < EACH; i++)); do
	for point in "${list[@]}"; do
		try "$point"
	done
	echo "# round $((i + 1)): $TRIED tried, $FIRED fired, $DEATHS deaths, ${#broken[@]} broken, $((SECONDS - START)) s" >&2
done

PAIRED=0 SAME=0
# arguments: two points; nothing when no transport has both
try_pair()
{
	[ -n "$(route_of "$1" "$2")" ] || return 1
	PAIRED=$((PAIRED + 1))
	[ "$(program_of "$1")" != "$(program_of "$2")" ] || SAME=$((SAME + 1))
	try "$1" "$2"
	[ $((PAIRED % 25)) != 0 ] || echo "# $PAIRED pairs: $FIRED of $TRIED fired, ${#broken[@]} broken, $((SECONDS - START)) s" >&2
}
if [ "$PAIRS" = all ]; then
	for a in "${list[@]}"; do
		for b in "${list[@]}"; do
			try_pair "$a" "$b" || true
		done
	done
else
	while [ "$PAIRED" -lt "$PAIRS" ]; do
		try_pair "${list[RANDOM % ${#list[@]}]}" "${list[RANDOM % ${#list[@]}]}" || true
	done
fi
for name in "${ALL[@]}"; do service_stop "${PIDS[$name]}" >/dev/null 2>&1 || true; done
[ ${#broken[@]} = 0 ] || printf '# broken: %s\n' "${broken[@]}" >&2
[ ${#silent[@]} = 0 ] || printf '# did not fire: %s\n' "${silent[@]}" >&2
json=$(crash_count | jq -c --argjson points "${#list[@]}" --argjson each "$EACH" --argjson pairs "$PAIRED" --argjson same "$SAME" --argjson seed "$SEED" --argjson tried "$TRIED" --argjson fired "$FIRED" \
	--argjson deaths "$DEATHS" --argjson s "$((SECONDS - START))" --argjson broken "${#broken[@]}" \
	'{points: $points, each: $each, pairs: $pairs, pairs_of_one_program: $same, seed: $seed, tried: $tried, fired: $fired, deaths: $deaths, broken: $broken, seconds: $s} + .')
crash_say "$json"
jq -e '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0 and .broken == 0 and .tried == .fired' <<<"$json" >/dev/null
