#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make crash-points: death at the CRASH_POINTs of the sources, or POINTS="a b" of them, judged against the ground truth.
# The services and programs go on; in one campaign (its runs are added as they are needed) the program dies at a
# point, is started again, dies at the next one, and when all have been, everybody must have got it once.
#   EACH=n     (1) each point has a campaign of its own, in which it is met n times
#   PAIRS=n    (0) so many ordered pairs by chance, or all, a point with itself among them: two deaths that follow
#              each other in one campaign, in the next life of the program or in another one. A campaign is a chain of
#              LENGTH (40) pairs, tests/crash/pairs.py. Where a recovery, or a first connection, needs a death of the
#              dispatcher before it, with claims, and the point before is none, one at after_mark stands between ("between")
#   CHAIN="relay a b c"    that campaign only, e.g. one that was said to be broken
#   JOBS=n     (1) so many at a time, each with services of its own
#   SEED=n     (the time) the order of pairs, and the how-manieth time a point is met
# Points whose names begin with mx_ and ses_ are met with that transport; ROUTE=mx or ses takes all others with it as
# well, those of SMTP or of refusals excepted. The last line is one JSON object; status 1 when a point was not met, a
# program ended by itself, or a promise was broken: the campaign's points are named, for a second copy those between
# the two. Needs a build with crash points (KIND=san or KIND=crash).
# shellcheck disable=SC2119,SC2034,SC2153
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/ses.sh
. tests/crash/lib.sh

ALL=(producer feedback one)
EACH=${EACH:-${TIMES:-1}} PAIRS=${PAIRS:-0} ROUTES=${ROUTE:-relay} JOBS=${JOBS:-1} LENGTH=${LENGTH:-40} WORKER=${WORKER:-}
WAY=()
SEED=${SEED:-$(date +%s)}
[ "$PAIRS" = all ] || crash_number PAIRS 0
crash_number EACH "$([ "$PAIRS" = 0 ] && echo 1 || echo 0)"
crash_number JOBS 1
crash_number LENGTH 1
case $ROUTES in relay | mx | ses) ;; *) crash_usage 'ROUTE is none of relay, mx, ses' ;; esac
crash_number SEED 0
LEAST=60	# waiting in the runs, or another one is added
PATIENCE=60	# seconds for one point, and for the end of a campaign

# ---- the points ----

declare -A PROGRAM=() NEEDS=()
list=()

# arguments: program, its folder
points_of()
{
	local point

	while read -r point; do
		PROGRAM[$point]=$1
		case $point in
		mx_*) NEEDS[$point]=mx ;;
		ses_*) NEEDS[$point]=ses ;;
		before_write | after_write | reply_read | connected) NEEDS[$point]=smtp ;;
		retry_pushed | before_ledger) NEEDS[$point]=relay ;; # refusals, which the FAKE SES has others for
		*) NEEDS[$point]=any ;;
		esac
		list+=("$point")
	done < <(grep -rhoE 'CRASH_POINT\("[a-z_]+"\)' "$2" --include='*.c' | sed 's/.*"\(.*\)".*/\1/' | sort -u)
}
points_of one dispatcher
points_of producer producer
points_of feedback feedback
for point in ${POINTS:-}; do
	[ -n "${PROGRAM[$point]:-}" ] || crash_usage "POINTS: no source has $point"
done
[ -z "${POINTS:-}" ] || read -ra list <<<"$POINTS"
case ${CHAIN:-relay after_mark} in
relay\ * | mx\ * | ses\ *) ;;
*) crash_usage 'CHAIN begins with relay, mx or ses' ;;
esac
for point in ${CHAIN:-}; do
	case $point in relay | mx | ses) continue ;; esac
	[ -n "${PROGRAM[$point]:-}" ] || crash_usage "CHAIN: no source has $point"
done

# argument: point; stdout: the transport that has it
route_of()
{
	case ${NEEDS[$1]}.$ROUTES in
	any.* | smtp.mx) echo "$ROUTES" ;;
	smtp.* | relay.*) echo relay ;;
	*) echo "${NEEDS[$1]}" ;;
	esac
}

# stdout: what is to be done, one campaign a line, "KIND ROUTE POINT ..."
campaigns()
{
	local point i

	[ -z "${CHAIN:-}" ] || { echo "chain $CHAIN"; return; }
	for point in "${list[@]}"; do
		[ "$EACH" = 0 ] || { printf 'alone %s' "$(route_of "$point")"; for ((i = 0; i < EACH; i++)); do printf ' %s' "$point"; done; echo; }
	done
	for point in "${list[@]}"; do echo "$point ${NEEDS[$point]}"; done |
		tests/crash/pairs.py "$ROUTES" "$LENGTH" "$SEED" "$PAIRS" | sed 's/^/chain /'
}
mapfile -t TODO < <(campaigns)
[ "${#TODO[@]}" -gt 0 ] || crash_usage 'no transport has two of these points'
[ "$JOBS" -le "${#TODO[@]}" ] || JOBS=${#TODO[@]}

# how often it is passed before the interesting moment, so that the run is under way. In NTH
nth_of()
{
	case $1 in
	recover_* | stopping | before_goodbye | release_committed | before_ledger | plan_* | page_* | run_found | audience_read | before_finish | retry_pushed | \
		before_push | pushed | before_hook | before_events | events_committed | before_move | moved | connected | mx_* | ses_connected) NTH=1 ;;
	before_claim | claim_* | popped | reserved | before_record | record_committed) NTH=$((RANDOM % 2 + 1)) ;;
	*) NTH=$((RANDOM % 20 + 2)) ;;
	esac
}

# ---- several at a time ----

# stdin: last lines of the jobs
sum_up()
{
	jq -cs --argjson jobs "$JOBS" 'if any(.[]; has("error")) then map(select(has("error")))[0] else
		(map(to_entries) | add | group_by(.key) | map({key: .[0].key, value: (map(.value) | if (.[0] | type) == "number" then add else .[0] end)}) | from_entries)
		+ (.[0] | {points, each, seed}) + {seconds: (map(.seconds) | max), jobs: $jobs} end'
}

in_jobs()
{
	local i status=0 json

	services_dir
	for ((i = 0; i < JOBS; i++)); do
		WORKER=$i PAIRS=$PAIRS EACH=$EACH SEED=$SEED ROUTE=$ROUTES tests/crash/points.sh >"$SERVICES_DIR/$i" </dev/null &
		_services_pids+=($!)
	done
	for i in "${_services_pids[@]}"; do wait "$i" || status=1; done
	_services_pids=()
	json=$(for ((i = 0; i < JOBS; i++)); do tail -n 1 "$SERVICES_DIR/$i"; done | sum_up)
	crash_say "$json"
	exit $status
}
if [ "$JOBS" -gt 1 ] && [ -z "$WORKER" ]; then in_jobs; fi
WORKER=${WORKER:-0}
RANDOM=$(((10#$SEED + WORKER) % 32768))

# ---- one death ----

FIRED=0 TRIED=0 DEATHS=0 BETWEEN=0 PAIRED=0 SERIAL=0
silent=() broken=() met=()
exec {NAP}<> <(:)

nap()
{
	read -rt 0.02 -u "$NAP" || true
}

# arguments: point, its how-manieth time
arm()
{
	SERIAL=$((SERIAL + 1))
	printf '%s:%d %d\n' "$1" "$2" "$SERIAL" >"$D/armed"
}

# argument: name of a program that has ended. In STATUS
end_of()
{
	STATUS=0
	wait "${PIDS[$1]}" 2>/dev/null || STATUS=$?
	service_forget "${PIDS[$1]}"
}

# It is started again. argument: name
again()
{
	# it is dead for certain: nobody need wait for the end of its lease
	[ "$1" != producer ] || sql -c 'UPDATE kairan.lease SET expires_at = now()'
	crash_start "$1"
}

# Nobody ends but where he was told to, and behind a SIGTERM. TOLD: pid that had one
mind()
{
	local name ended=() STATUS

	for name in "${ALL[@]}"; do
		kill -0 "${PIDS[$name]}" 2>/dev/null || ended+=("$name")
	done
	mapfile -t met <"$D/crashed"
	[ ${#met[@]} = 0 ] || return 0
	for name in "${ended[@]+"${ended[@]}"}"; do
		end_of "$name"
		[ "${PIDS[$name]}.$STATUS" = "$TOLD.0" ] || broken+=("$CAMPAIGN: $name ended by itself with $STATUS")
		again "$name"
	done
}

# A life that dies in the way out of a SIGTERM gets one, in the middle of its work. argument: point
tell_to_stop()
{
	case $1 in stopping | before_goodbye | release_committed) ;; *) return 0 ;; esac
	[ "$LIFE" = "${PIDS[one]}" ] || { LIFE=${PIDS[one]}; FROM=$(taken); }
	[ "$TOLD" != "$LIFE" ] || return 0
	[ "$(taken)" -gt $((FROM + 5)) ] || return 0
	TOLD=$LIFE
	kill -TERM "$TOLD" 2>/dev/null || true
}

# hard addresses are suppressed when they were used: new ones in each run; soft ones are put off once. Run in RUNS
one_run()
{
	local domain=$WORKER.$GIVEN.example

	RUNS+=("$(sql -c "INSERT INTO kairan.customer (email, name) SELECT x || i || '@$domain', x FROM generate_series(1, 2) AS i, unnest('{hard,soft}'::text[]) AS x" \
		-c "SELECT run_id FROM kairan.run_make('points', '$WORKER-$GIVEN')")")
	give_feedback
}

give_feedback()
{
	GIVEN=$((GIVEN + 1))
	crash_feedback "$GIVEN" "$(tail -n 300 "$TRUTH" | shuf -n 1)"
}

# Another run when few are waiting, or, for a point of planning, none is to be planned. argument: point
work()
{
	local left new

	IFS='|' read -r left new < <(sql -c "SELECT coalesce(sum(queued + sending), 0), count(*) FILTER (WHERE state IN ('scheduled', 'planning'))
		FROM kairan.campaign_progress WHERE state IN ('scheduled', 'planning', 'running')")
	[ "$new" = 0 ] || return 0
	case $1 in
	run_found | plan_* | audience_read | page_*) one_run ;;
	*) [ "$left" -ge "$LEAST" ] || one_run ;;
	esac
}

# Whoever died at the last point, and is started with the next one armed
DEAD=
wake()
{
	local name=$DEAD

	DEAD=
	[ -z "$name" ] || again "$name"
}

# argument: point
unmet()
{
	: >"$D/armed"
	silent+=("$1 of $CAMPAIGN")
	echo "# not met: $1, the last were $(tail -n 3 "$D/deaths" | cut -d' ' -f2 | xargs)" >&2
	sql -c "SELECT '# ' || to_jsonb(p)::text FROM kairan.campaign_progress p WHERE state IN ('scheduled', 'planning', 'running') LIMIT 5" >&2
	tail -n 4 "$D/${PROGRAM[$1]/one/dispatcher}.log" | cut -c 1-300 | sed 's/^/# /' >&2
}

# The program dies there; 1 when it did not come by. argument: point
meet()
{
	local point=$1 program=${PROGRAM[$1]} NTH STATUS end=$((SECONDS + PATIENCE)) look=0

	nth_of "$point"
	LIFE=
	slow "$point"
	[ "$program" != feedback ] || give_feedback
	arm "$point" "$NTH"
	wake
	until mind && [ ${#met[@]} -gt 0 ]; do
		[ "$SECONDS" -lt "$end" ] || { unmet "$point"; return 1; }
		if [ "${EPOCHREALTIME/./}" -gt "$look" ]; then
			work "$point"
			look=$((${EPOCHREALTIME/./} + 250000))
		fi
		tell_to_stop "$point"
		nap
	done
	[ "${met[*]}" = "$point" ] || broken+=("$CAMPAIGN: died at ${met[*]} instead of $point")
	echo "$EPOCHREALTIME $point" >>"$D/deaths"
	DEATHS=$((DEATHS + 1))
	end_of "$program"
	DEAD=$program
	[ "$STATUS" = 137 ] || broken+=("$CAMPAIGN: $program died at $point with $STATUS")
	: >"$D/crashed"
}

# Claims that wait are given back on the way out: there must be some. argument: point
slow()
{
	local delay=3

	case $1 in stopping | release_committed) delay=40 ;; esac
	[ "$delay" != "$DELAY" ] || return 0
	DELAY=$delay
	relay_set "delay_ms = $delay" 'times = 1'
	[ "$BEFORE" != ses ] || ses_set "delay_ms = $delay"
}

# Whether what is met in the beginning of a life follows the last death, and finds what it needs. arguments: point, the one before it
left_for()
{
	[ "${PROGRAM[${2:-moved}]}" = one ] || return 1
	case $1 in
	recover_before_write | recover_between_writes | recover_after_write) ;;
	*) return 0 ;;
	esac
	case $2 in # claims that are not settled
	recover_after_write) return 1 ;;
	*_mark | mark_* | answer_almost | *_write | reply_read | claim_answered | claim_handed_over | ses_agreed | ses_written) ;;
	*) return 1 ;;
	esac
}

# ---- one campaign ----

# argument: transport
route_take()
{
	[ "$1" != "$BEFORE" ] || return 0
	case $1 in
	relay) WAY=() ;;
	mx) WAY=("${MX[@]}") ;;
	ses) WAY=("${SES_ROUTE[@]}"); ses_set 'delay_ms = 3' ;;
	esac
	BEFORE=$1
	crash_kill one
	end_of one
	again one
}

idle()
{
	mind
	[ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning', 'running')")" = 0 ] && [ -z "$(find "$D/md/new" -type f)" ]
}

# arguments: kind, transport, points
campaign()
{
	local kind=$1 point last='' end STATUS RUNS=() CAMPAIGN="${*:2}"

	[ "$kind" = chain ] || CAMPAIGN="$2 $3"
	: >"$D/deaths"
	sql -c "DELETE FROM kairan.customer WHERE name IN ('hard', 'soft')"
	route_take "$2"
	one_run
	for point in "${@:3}"; do
		case $kind.$point in
		alone.recover_*) BETWEEN=$((BETWEEN + 1)); meet after_mark || true ;;
		chain.recover_* | chain.connected | chain.mx_* | chain.ses_connected) left_for "$point" "$last" || { BETWEEN=$((BETWEEN + 1)); meet after_mark || true; } ;;
		esac
		TRIED=$((TRIED + 1))
		meet "$point" || break
		FIRED=$((FIRED + 1))
		[ "$kind" = alone ] || [ -z "$last" ] || PAIRED=$((PAIRED + 1))
		last=$point
	done
	: >"$D/armed"
	slow ''
	wake
	end=$((SECONDS + PATIENCE))
	until idle; do
		[ "$SECONDS" -lt "$end" ] || { broken+=("$CAMPAIGN: does not end"); break; }
		nap
	done
	judge
}

# Only what is new is read; the count at the end reads all.
truth_more()
{
	tail -n +$((LOADED + 1)) "$TRUTH" >"$D/more"
	LOADED=$((LOADED + $(wc -l <"$D/more")))
	sql -c "\\copy test.line FROM '$D/more' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
}

# The deaths between the copies of whoever has several. argument: list of runs
suspects()
{
	sql -F ' ' -c "SELECT extract(epoch FROM min(at)), extract(epoch FROM max(at)) FROM test.truth WHERE run IN ($1) AND kept
		GROUP BY run, send HAVING count(*) > 1 ORDER BY 1 LIMIT 1" |
		awk 'NR == FNR { from = $1; to = $2; next } from && $1 >= from - 0.2 && $1 <= to + 0.2 { printf " %s", $2 }' - "$D/deaths"
}

judge()
{
	local violation runs between

	printf -v runs '%s,' "${RUNS[@]}"
	runs=${runs%,}
	truth_more
	violation=$(one "string_agg(v, '; ') FROM (SELECT v FROM unnest(ARRAY[$runs]) AS r, test.violations(r) AS v LIMIT 3) AS t")
	if [ -n "$violation" ]; then
		between=$(suspects "$runs")
		broken+=("$CAMPAIGN: $violation${between:+; between the copies died:$between}")
	fi
	[ "$(one "count(*) FROM kairan.send WHERE run_id IN ($runs) AND state IN ('queued', 'sending', 'deferred')")" = 0 ] ||
		broken+=("$CAMPAIGN: somebody is not settled")
	[ "$(one "count(*) FROM (SELECT FROM kairan.send WHERE run_id IN ($runs) AND state = 'in_doubt' GROUP BY owner HAVING count(*) > $CONNECTIONS) AS t")" = 0 ] ||
		broken+=("$CAMPAIGN: a life left more in doubt than it had connections")
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
	crash_ses
}

START=$SECONDS GIVEN=0 BEFORE=relay LOADED=0 DELAY='' TOLD='' LIFE='' FROM=0
MX=() SES_ROUTE=()
crash_begin >&2
: >"$D/armed"
SETTINGS+=(KAIRAN_PRODUCER_PAGE=50 "KAIRAN_CRASH_ARMED=$D/armed" "KAIRAN_CRASH_LOG=$D/crashed")
customers_add 130 large.example
customers_add 3 dead.example hard
campaign_add points
slow ''
for name in "${ALL[@]}"; do crash_start "$name"; done
run_wait "$(run_add points first)" finished 30 >&2
case " ${TODO[*]} " in *' mx '* | *' ses '*) transports_start >&2 ;; esac

for ((n = WORKER; n < ${#TODO[@]}; n += JOBS)); do
	read -ra words <<<"${TODO[n]}"
	campaign "${words[@]}"
	echo "# $((n + 1)) of ${#TODO[@]} (${words[*]:1:2}): $TRIED tried, $FIRED met, $DEATHS deaths, ${#broken[@]} broken, $((SECONDS - START)) s" >&2
done
for name in "${ALL[@]}"; do service_stop "${PIDS[$name]}" >/dev/null 2>&1 || broken+=("$name ends with $?"); done
[ ${#broken[@]} = 0 ] || printf '# broken: %s\n' "${broken[@]}" >&2
[ ${#silent[@]} = 0 ] || printf '# not met: %s\n' "${silent[@]}" >&2
json=$(crash_count | jq -c --argjson points "${#list[@]}" --argjson each "$EACH" --argjson pairs "$PAIRED" --argjson seed "$SEED" --argjson tried "$TRIED" \
	--argjson fired "$FIRED" --argjson deaths "$DEATHS" --argjson between "$BETWEEN" --argjson s "$((SECONDS - START))" --argjson broken "${#broken[@]}" \
	'{points: $points, each: $each, pairs: $pairs, seed: $seed, tried: $tried, fired: $fired, deaths: $deaths, between: $between, broken: $broken, seconds: $s} + .')
crash_say "$json"
jq -e '.undecided_as_sent == 0 and .duplicates == 0 and .lost == 0 and .unaccounted == 0 and .broken == 0 and .tried == .fired and .deaths == .fired + .between' <<<"$json" >/dev/null
