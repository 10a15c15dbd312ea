# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# chaos: proxies between the programs and what they talk to; sourced by tests/integration/chaos_*.sh
# behind tests/support/pipeline.sh, used after pipeline_start.
#
#   chaos_start NAME LISTEN TO   a proxy (tests/support/chaos_proxy.py has the commands)
#   chaos NAME COMMAND...        tells it something and waits until it has obeyed
#   chaos_said NAME WORD         how often its log has a line that begins so
#   under_way                    a run of campaign chaos is in its middle, its number in RUN
#   goes_on NAME                 the fault is over: sending goes on, one test
#   ends_well NAME EXPECTED      the run finishes with these states and the truth agrees, one test each
#   chaos_pg, chaos_redis, chaos_relay   proxies named pg, redis, relay; set PG_URL, REDIS_URL, RELAY_PROXY

CHAOS_SEED=${CHAOS_SEED:-1}

chaos_start()
{
	mkfifo "$D/chaos.$1"
	: >"$D/chaos.$1.log"
	service_spawn "chaos $1" "$D/chaos.$1.err" "$PYTHON" tests/support/chaos_proxy.py --listen "$2" --to "$3" \
		--control "$D/chaos.$1" --log "$D/chaos.$1.log" --seed "$CHAOS_SEED" 2>/dev/null
	services_wait 10 grep -qx ready "$D/chaos.$1.log" || { cat "$D/chaos.$1.err"; tap_bail "no proxy $1"; }
}

chaos_said()
{
	grep -c "^$2" "$D/chaos.$1.log" || true
}

_chaos_done()
{
	[ "$(chaos_said "$1" 'done ')" -gt "$2" ]
}

chaos()
{
	local name=$1 before

	shift
	before=$(chaos_said "$name" 'done ')
	printf '%s\n' "$*" >"$D/chaos.$name"
	services_wait 5 _chaos_done "$name" "$before" || { tail -n 3 "$D/chaos.$name.err"; tap_bail "proxy $name does not obey: $*"; }
}

# waits until a trigger of the proxy has acted. arguments: NAME, seconds, word of the log, how many before
chaos_wait()
{
	local name=$1 word=$3 before=$4

	services_wait "$2" _chaos_more "$name" "$word" "$before"
}

_chaos_more()
{
	[ "$(chaos_said "$1" "$2")" -gt "$3" ]
}

chaos_pg()
{
	mkdir -p "$D/x"
	chaos_start pg "$D/x/.s.PGSQL.5432" "$D/pg.sock/.s.PGSQL.5432"
	# shellcheck disable=SC2034 # read by the tests
	PG_URL="postgresql:///kairan?host=$(services_url_encode "$D/x")&port=5432"
}

chaos_redis()
{
	chaos_start redis "$D/x.redis" "$D/redis.sock"
	# shellcheck disable=SC2034
	REDIS_URL="unix://$(services_url_encode "$D/x.redis")"
}

chaos_relay()
{
	# shellcheck disable=SC2034
	RELAY_PROXY=$(services_free_port)
	chaos_start relay "$RELAY_PROXY" "$RELAY_PORT"
}

RUN='' CHAOS_RUNS=0

under_way()
{
	local before left

	if [ -n "$RUN" ]; then
		left=$(one "queued FROM kairan.campaign_progress WHERE run_id = $RUN")
		[ "${left:-0}" -lt 300 ] || return 0
		ends_well "run $CHAOS_RUNS, with all that befell it"
	fi
	before=$(taken)
	relay_set 'delay_ms = 25'
	CHAOS_RUNS=$((CHAOS_RUNS + 1))
	RUN=$(run_add chaos "$CHAOS_RUNS")
	taken_wait $((before + 20)) || tap_note 'nothing is sent'
}

goes_on()
{
	local before

	before=$(taken)
	tap_ok "$1: then sending goes on" taken_wait $((before + 10)) 30
}

ends_well()
{
	local states=${2:-sent $(one 'count(*) FROM kairan.customer')}

	relay_set
	run_wait "$RUN" finished 40 || true
	tap_is "$(run_states "$RUN")" "$states" "$1: the run ends"
	run_check "$RUN" '  ... and the ground truth agrees'
	RUN=''
}

# whether the long form is asked for: FULL=1
full()
{
	[ "${FULL:-0}" != 0 ]
}
