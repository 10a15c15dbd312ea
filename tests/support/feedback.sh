# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# feedback: a private PostgreSQL with the schema, one run with 200 recipients that were sent to
# (50 of them in doubt), keys, and kairan-feedback; sourced by tests/integration/feedback_*.sh
# after tools/tap.sh and tests/support/services.sh.
#
#   feedback_start            sets D and SUPER, exports the settings that all sources share
#   daemon_start, daemon_end  DAEMON; health of its sources by source_is NAME FIELD
#   token SEND [b|u|m]        of_send SEND COLUMN, one EXPRESSION, wait_for SECONDS CONDITION
#   dsn SEND STATUS           a delivery report
#   hold, let_go              nothing is committed in between
#
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034 # read by the tests

BIN=${KAIRAN_BIN:-bin}
PYTHON=/usr/bin/python3
SNS="$PYTHON tests/support/sns_fake.py"
DOMAIN=bounces.example.org
TOPIC=arn:aws:sns:eu-west-1:123456789012:kairan-test
D='' SUPER='' DAEMON='' METRICS=''

sql()
{
	psql -X -q -At -v ON_ERROR_STOP=1 "$SUPER" "$@"
}

one()
{
	sql -c "SELECT $1"
}

of_send()
{
	one "coalesce($2::text, '-') FROM kairan.send WHERE run_id = 1 AND id = $1"
}

token()
{
	local known

	known=$(sed -n "s/^${2:-b} $1 //p" "$D/tokens")
	[ -n "$known" ] && echo "$known" && return
	$SNS token "$D/keys" 1 "$1" "$([ "${2:-b}" = b ] && echo 1 || echo 0)" "${2:-b}"
}

hold()
{
	sql -c "SET application_name = 'hold'; BEGIN; LOCK TABLE kairan.feedback_event IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)" >/dev/null 2>&1 &
	HOLD=$!
	wait_for 10 "count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'hold' AND l.mode = 'AccessExclusiveLock' AND l.granted"
}

let_go()
{
	one "count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'hold'" >/dev/null
	wait "$HOLD" 2>/dev/null
}

# arguments: name of a source, field of its health, least value
source_reaches()
{
	[ "$(source_is "$1" "$2")" -ge "$3" ] 2>/dev/null
}

dsn()
{
	cat <<MAIL
From: MAILER-DAEMON@mta.example.net
To: b+$(token "$1")@$DOMAIN
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: text/plain

It did not work.

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; mta.example.net

Final-Recipient: rfc822; user$1@example.com
Action: failed
Status: $2
Diagnostic-Code: smtp; 550 $2 no such user

--x--
MAIL
}

feedback_rows()
{
	sql -f - <<'SQL'
SET search_path = kairan;
INSERT INTO template (digest, subject) VALUES ('d', 'Hello');
INSERT INTO campaign (name, stream_id, template_id, from_address)
	SELECT 'news', id, 1, 'news@example.org' FROM stream WHERE name = 'marketing';
INSERT INTO run (campaign_id, run_key, template_id, state) VALUES (1, 'k', 1, 'running');
CREATE TABLE send_1 PARTITION OF send FOR VALUES IN (1);
INSERT INTO send (run_id, id, recipient_id, state, attempt, address, address_key)
	SELECT 1, i, i, CASE WHEN i > 150 THEN 'in_doubt' ELSE 'sent' END::send_state, 1,
	'user' || i || '@example.com', 'user' || i || '@example.com' FROM generate_series(1, 200) AS i;
SQL
}

feedback_start()
{
	[ -x "$BIN/kairan-feedback" ] || tap_skip_all "$BIN/kairan-feedback is not built"
	[ -x "$PYTHON" ] || tap_skip_all 'python3 is not installed'
	export FAST=1
	services_dir || tap_bail 'no directory'
	D=$SERVICES_DIR
	pg_start "$D" 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no PostgreSQL'; }
	SUPER=$KAIRAN_DATABASE_URL
	pg_schema "$D/schema.log" || tap_bail 'the schema does not load'
	feedback_rows || tap_bail 'no run'
	printf '1 %s\n' 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f >"$D/keys"
	chmod 600 "$D/keys"
	$SNS tokens "$D/keys" 1 200 >"$D/tokens"
	$SNS init "$D/sns" 2>"$D/fake.log" || { cat "$D/fake.log"; tap_bail 'no certificates'; }
	: >"$D/kairan.conf"
	METRICS=$(services_free_port)
	export KAIRAN_CONFIG=$D/kairan.conf KAIRAN_KEYS_FILE=$D/keys KAIRAN_FEEDBACK_DOMAIN=$DOMAIN
	export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
	export KAIRAN_FEEDBACK_SNS_TOPICS=$TOPIC KAIRAN_FEEDBACK_SNS_CERT_DIR=$D/sns/certs
	export KAIRAN_FEEDBACK_SNS_CA_FILE=$D/sns/ca.pem KAIRAN_FEEDBACK_METRICS_LISTEN=127.0.0.1:$METRICS
	export KAIRAN_LOG_LEVEL=debug
	export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:exitcode=99} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
}

metrics()
{
	curl -s -m 5 "http://127.0.0.1:$METRICS/$1"
}

daemon_answers()
{
	metrics health | grep -q '"ready":true'
}

daemon_start()
{
	service_spawn kairan-feedback "$D/feedback.log" "$BIN/kairan-feedback" 2>/dev/null
	DAEMON=$SERVICE_PID
	services_wait 15 daemon_answers || { tail -n 5 "$D/feedback.log"; return 1; }
}

# the program's exit status; 99 when a sanitizer complains
daemon_end()
{
	service_stop "$DAEMON" "${1:-TERM}"
}

# arguments: name of a source, field of its health
source_is()
{
	metrics health | "$PYTHON" -c '
import json, sys
print(next((s[sys.argv[2]] for s in json.load(sys.stdin)["sources"] if s["name"] == sys.argv[1]), "-"))' "$1" "$2"
}
