#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The connection to Redis cut, stalled and cut to pieces, and a Redis that refuses, lies, or is
# another one. The ground truth of the FAKE relay judges. TAP, run by prove.
# shellcheck disable=SC2119,SC2153 # functions of the libraries take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/chaos.sh
. tests/support/chaos.sh

pipeline_start
chaos_redis
customers_add 1200 large.example
campaign_add chaos
producer_start KAIRAN_REDIS_URL="$REDIS_URL"
dispatcher_start one KAIRAN_REDIS_URL="$REDIS_URL" KAIRAN_DISPATCHER_BATCH=32 KAIRAN_RELAY_CONNECTIONS=4

cache()
{
	redis-cli -s "$D/redis.sock" "$@" >"$D/redis.out" 2>&1
}

# arguments: NAME, then a command; Redis refuses for a while
refuses()
{
	local name=$1 lines

	shift
	under_way
	lines=$(wc -l <"$D/dispatcher.log")
	"$@"
	sleep 0.7
	tap_ok "$name: no program ends" kill -0 "$PRODUCER" "$DISPATCHER"
	tap_ok "$name: the log is not flooded" test $(($(wc -l <"$D/dispatcher.log") - lines)) -lt 60
}

said()
{
	tap_ok "$1: it is said" services_wait 5 grep -q "$2" "$D/dispatcher.log"
}

# ---- F16, F17, F21: the connection -------------------------------------------------------

for side in cut cut-client fin; do
	under_way
	seen=$(chaos_said redis seen)
	chaos redis see up 1 "$side" LPOP
	tap_ok "F16: a pop is cut off ($side)" chaos_wait redis 5 seen "$seen"
	goes_on "F16: $side behind a pop"
done

under_way
chaos redis split 1
goes_on 'F21: one byte at a time'
for count in 1 5 30; do
	chaos redis limit down "$count" cut
	sleep 0.2
done
chaos redis pass
goes_on 'F21: replies cut in half'

refuses 'F16: nobody listens' eval 'chaos redis refuse; chaos redis cut'
chaos redis accept
goes_on 'F16: nobody listens'

under_way
for _ in $(seq 1 "$(full && echo 60 || echo 3)"); do
	under_way
	cache FLUSHALL
	sleep "$(full && echo 1 || echo 0.3)"
done
goes_on 'F17: FLUSHALL again and again'

if full; then
	under_way
	chaos redis hold both
	tap_ok 'F21: a Redis that says nothing is left' services_wait 10 grep -q 'redis does not answer' "$D/dispatcher.log"
	chaos redis pass
	goes_on 'F21: a stall'
fi

# ---- F19, F20: Redis refuses -------------------------------------------------------------

refuses 'F19: OOM' cache CONFIG SET maxmemory 1
cache CONFIG SET maxmemory 0
goes_on 'F19: full'

under_way
cache CONFIG SET maxmemory-policy allkeys-lru
chaos redis cut
tap_ok 'F19: a policy that evicts is refused, with what to do' services_wait 10 grep -q 'throw jobs away' "$D/producer.log"
cache CONFIG SET maxmemory-policy noeviction
goes_on 'F19: noeviction again'

refuses 'F20: READONLY' cache REPLICAOF 127.0.0.1 1
said 'F20: READONLY' READONLY
cache REPLICAOF NO ONE
goes_on 'F20: READONLY'

refuses 'F20: NOAUTH' eval 'cache CONFIG SET requirepass secret; chaos redis cut'
said 'F20: NOAUTH' NOAUTH
redis-cli -s "$D/redis.sock" -a secret CONFIG SET requirepass '' >"$D/redis.out" 2>&1
goes_on 'F20: NOAUTH'

refuses 'F20: NOPERM' cache ACL SETUSER default -lpop
said 'F20: NOPERM' NOPERM
cache ACL SETUSER default +lpop
goes_on 'F20: NOPERM'

refuses 'F20: WRONGTYPE' eval 'cache DEL "{r:$RUN}:q:all"; cache SET "{r:$RUN}:q:all" x'
cache DEL "{r:$RUN}:q:all"
goes_on 'F20: WRONGTYPE'

chaos redis instead '-LOADING Redis is loading the dataset in memory\r\n'
refuses 'F20: LOADING' chaos redis cut
chaos redis pass
goes_on 'F20: LOADING'

# ---- F21: rubbish ------------------------------------------------------------------------

memory()
{
	awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$DISPATCHER/status"
}

before=$(memory)
for answer in '*2147483647\r\n' '$536870912\r\nabc' '\x00\x01\x02\x03' '+half a reply' 'HTTP/1.1 400 Bad Request\r\n\r\n' \
	':99999999999999999999\r\n' '*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n'; do
	chaos redis instead "$answer"
	refuses "F21: $answer" chaos redis cut
	chaos redis pass
	goes_on "F21: $answer"
	full || [ "$answer" != '\x00\x01\x02\x03' ] || break
done
tap_ok "F21: memory stays bounded ($before, then $(memory) MB)" test $(($(memory) - before)) -lt 60
ends_well 'the last run'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
