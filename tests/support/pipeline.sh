# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# pipeline: producer and dispatchers against private services and the FAKE relay; sourced by
# tests/integration/pipeline_*.sh after tools/tap.sh and tests/support/services.sh.
#
#   pipeline_start                     PostgreSQL, Redis, schema, relay; sets D and SUPER
#   sql -c …, one EXPRESSION           as the owner
#   campaign_add NAME [COLUMN=SQL…]    run_add NAME KEY (prints its number)
#   producer_start [VAR=VALUE…]        PRODUCER
#   dispatcher_start NAME [VAR=VALUE…] DISPATCHER
#   relay_set 'mode = stall' …         run_wait RUN STATE SECONDS, wait_for SECONDS EXPRESSION
#   run_check RUN NAME                 invariants of a run against the ground truth, one test
#   programs_stopped NAME PID…         they end with 0 and no sanitizer complained, one test
#
# KAIRAN_BIN: folder of the programs (default bin). TRUTH: file of what the relay took (default in D).

BIN=${KAIRAN_BIN:-bin}
PYTHON=/usr/bin/python3
D='' SUPER='' PRODUCER='' DISPATCHER='' RELAY_PORT=''

sql()
{
	psql -X -q -At -v ON_ERROR_STOP=1 "$SUPER" "$@"
}

one()
{
	sql -c "SELECT $1"
}

# What must always hold, and the ground truth to hold it against.
pipeline_checks()
{
	sql -f - <<'SQL'
CREATE SCHEMA test;
CREATE TABLE test.line (j jsonb);
CREATE INDEX ON test.line (((j ->> 'run')::int));
CREATE VIEW test.truth AS SELECT (j ->> 'run')::int AS run, (j ->> 'send')::int AS send,
	(j ->> 'attempt')::int AS attempt, j -> 'to' ->> 0 AS address, to_timestamp((j ->> 'at')::float8) AS at,
	(j ->> 'kept')::bool AS kept, (j ->> 'answered')::bool AS answered, j ->> 'message_id' AS message_id,
	j ->> 'envid' AS envid, j ->> 'kairan_id' AS kairan_id, j ->> 'from' AS sender FROM test.line;
-- Violations of the invariants of one run; nothing when all is well.
CREATE FUNCTION test.violations(r int) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('recipient %s got it %s times', send, count(*)) FROM test.truth
		WHERE run = r AND kept GROUP BY send HAVING count(*) > 1
	UNION ALL
	SELECT format('address %s got it %s times', lower(address), count(*)) FROM test.truth
		WHERE run = r AND kept GROUP BY lower(address) HAVING count(*) > 1
	UNION ALL
	SELECT format('send %s is %s, but the relay has it', s.id, s.state) FROM kairan.send s
		JOIN test.truth t ON t.run = r AND t.send = s.id AND t.kept
		WHERE s.run_id = r AND s.state NOT IN ('sent', 'in_doubt', 'sending')
	UNION ALL
	SELECT format('send %s is sent, but the relay does not have it', s.id) FROM kairan.send s
		WHERE s.run_id = r AND s.state = 'sent'
		AND NOT EXISTS (SELECT FROM test.truth t WHERE t.run = r AND t.send = s.id AND t.kept)
	UNION ALL
	SELECT format('the relay has send %s with another address or none', t.send) FROM test.truth t
		LEFT JOIN kairan.send s ON s.run_id = r AND s.id = t.send
		WHERE t.run = r AND s.address IS DISTINCT FROM t.address
	UNION ALL
	SELECT format('planned %s, rows %s', p.planned, n) FROM kairan.run p,
		(SELECT count(*) AS n FROM kairan.send WHERE run_id = r) AS s WHERE p.id = r AND p.planned <> n
	UNION ALL
	SELECT format('%s: rows %s, counted %s', k.state, k.n, c.n)
	FROM (SELECT e.state, count(s.id) AS n FROM unnest(enum_range(NULL::kairan.send_state)) AS e(state)
		LEFT JOIN kairan.send s ON s.run_id = r AND s.state = e.state GROUP BY e.state) AS k
	JOIN (SELECT key, value::bigint AS n FROM kairan.campaign_progress p,
		jsonb_each_text(to_jsonb(p) - '{run_key,campaign,state,reason}'::text[])
		WHERE p.run_id = r AND key IN (SELECT unnest(enum_range(NULL::kairan.send_state))::text)) AS c
		ON c.key = k.state::text
	WHERE k.n <> c.n
$$;
SQL
}

pipeline_start()
{
	local program

	for program in kairan-producer kairan-dispatcher; do
		[ -x "$BIN/$program" ] || tap_skip_all "$BIN/$program is not built"
	done
	[ -x "$PYTHON" ] || tap_skip_all 'python3 is not installed'
	export FAST=1
	services_dir || tap_bail 'no directory'
	D=$SERVICES_DIR
	pg_start "$D" 'shared_buffers = 64MB' 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no PostgreSQL'; }
	redis_start "$D" 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no Redis'; }
	SUPER=$KAIRAN_DATABASE_URL
	pg_schema "$D/schema.log" || tap_bail 'the schema does not load'
	pipeline_checks || tap_bail 'the checks do not load'
	printf '1 %s\n' 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f >"$D/keys"
	chmod 600 "$D/keys"
	mkdir "$D/state"
	: >"$D/kairan.conf"
	TRUTH=${TRUTH:-$D/truth}
	: >"$TRUTH"
	RELAY_PORT=$(services_free_port)
	pipeline_relay
	# without a user each program logs in with its own role
	export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/} KAIRAN_CONFIG=$D/kairan.conf
	export KAIRAN_KEYS_FILE=$D/keys KAIRAN_DISPATCHER_STATE_DIR=$D/state KAIRAN_RELAY_HOST=127.0.0.1
	export KAIRAN_RELAY_PORT=$RELAY_PORT KAIRAN_FEEDBACK_DOMAIN=bounces.example.org KAIRAN_RELAY_EHLO=test.example
	export KAIRAN_PRODUCER_POLL_MS=100 KAIRAN_DISPATCHER_POLL_MS=100
	export KAIRAN_DISPATCHER_JOIN_S=0 # no standby lags behind
	export KAIRAN_PACE_ADAPTIVE=${KAIRAN_PACE_ADAPTIVE:-no} # brakes wait for minutes
	export KAIRAN_PACE_HOUR_GUARD=off # a test must not depend on the minute it runs in
	export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:exitcode=99} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
	services_wait 10 relay_answers || tap_bail 'the relay does not answer'
}

pipeline_relay()
{
	service_spawn relay "$D/relay.log" "$PYTHON" tests/support/fake_relay.py --log "$TRUTH" --lost "$D/lost" \
		--control "$D/control" "$RELAY_PORT" 2>/dev/null
}

relay_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$RELAY_PORT") 2>/dev/null
}

# arguments: lines of the control file; without any, all is normal again
relay_set()
{
	printf '%s\n' "$@" >"$D/control.new"
	mv "$D/control.new" "$D/control"
	sleep 0.05
}

# arguments: name, then COLUMN=SQL-VALUE
campaign_add()
{
	local name=$1 columns='' values='' pair

	shift
	for pair in "$@"; do
		columns+=", ${pair%%=*}"
		values+=", ${pair#*=}"
	done
	sql -c "INSERT INTO kairan.template (digest, subject, body) VALUES ('t', 'Hello {{default name \"you\"}}', 'Dear {{default name \"you\"}},')
			ON CONFLICT DO NOTHING" \
		-c "INSERT INTO kairan.campaign (name, stream_id, template_id, from_address$columns)
			SELECT '$name', s.id, t.id, 'news@example.org'$values FROM kairan.stream s, kairan.template t
			WHERE s.name = 'marketing' AND t.digest = 't'"
}

# arguments: campaign, run key; stdout: number of the run
run_add()
{
	one "run_id FROM kairan.run_make('$1', '$2')"
}

# arguments: how many customers, domain, begin of the local part (default ok)
customers_add()
{
	sql -c "INSERT INTO kairan.customer (email, name) SELECT '${3:-ok}' || i || '@$2', 'Name ' || i
		FROM generate_series(1, $1) AS i"
}

# arguments: settings of the environment, VAR=VALUE; pid in PRODUCER
# shellcheck disable=SC2120
producer_start()
{
	service_spawn producer "$D/producer.log" env "$@" "$BIN/kairan-producer" 2>/dev/null
	# shellcheck disable=SC2034 # read by the tests
	PRODUCER=$SERVICE_PID
}

# arguments: name, settings; pid in DISPATCHER
dispatcher_start()
{
	local name=$1

	shift
	service_spawn "dispatcher $name" "$D/dispatcher.log" env KAIRAN_DISPATCHER_NAME="$name" "$@" \
		"$BIN/kairan-dispatcher" 2>/dev/null
	# shellcheck disable=SC2034 # read by the tests
	DISPATCHER=$SERVICE_PID
}

run_wait()
{
	wait_for "$3" "state = '$2' FROM kairan.run WHERE id = $1" && return 0
	one "format('run %s: %s', run_id, to_jsonb(p)) FROM kairan.campaign_progress p WHERE run_id = $1"
	tail -n 5 "$D/producer.log" "$D/dispatcher.log"
	return 1
}

# arguments: envelope recipient, envelope sender (nobody); a mail on standard input is given to the socket
# $D/lmtp; stdout: the last reply
lmtp_give()
{
	$PYTHON -c '
import smtplib, sys
client = smtplib.LMTP(sys.argv[1], local_hostname="test")
client.ehlo()
client.mail(sys.argv[3])
reply = client.rcpt(sys.argv[2])
if reply[0] == 250:
    reply = client.data(sys.stdin.buffer.read().replace(b"\n", b"\r\n"))
print(reply[0], reply[1].decode())
' "$D/lmtp" "$1" "${2:-}"
}

# lines of the ground truth so far
taken()
{
	wc -l <"$TRUTH"
}

# arguments: how many, seconds
taken_wait()
{
	local end=$((SECONDS + ${2:-20}))

	until [ "$(taken)" -ge "$1" ]; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

truth_load()
{
	sql -c 'TRUNCATE test.line' \
		-c "\\copy test.line FROM '$TRUTH' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')" -c 'ANALYZE test.line'
}

# arguments: run; stdout: states with their counts
run_states()
{
	one "string_agg(state || ' ' || n, ', ' ORDER BY state) FROM
		(SELECT state, count(*) AS n FROM kairan.send WHERE run_id = $1 GROUP BY state) AS t"
}

run_check()
{
	truth_load
	tap_is "$(one "string_agg(v, '; ') FROM (SELECT v FROM test.violations($1) AS v LIMIT 5) AS t")" '' "$2"
}

# Ends the programs and says whether they ended well (sanitizers tell leaks by their exit status).
# arguments: pids
programs_stop()
{
	local pid status=0

	for pid in "$@"; do
		service_stop "$pid" || { status=$?; echo "process $pid ended with $status"; }
	done
	if grep -h -A 30 -E 'ERROR: (Address|Leak)Sanitizer|runtime error' "$D/producer.log" "$D/dispatcher.log" 2>/dev/null; then
		status=1
	fi
	return "$status"
}

# arguments: NAME of the test, pids
programs_stopped()
{
	local name=$1 status=0

	shift
	programs_stop "$@" >"$D/stop.out" || status=$?
	tap_is "$status" 0 "$name"
	[ "$status" -eq 0 ] || tap_note "$(head -n 60 "$D/stop.out")"
}
