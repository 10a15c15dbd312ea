# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# lib: what the crash harnesses share: programs that are started again whenever they have ended,
# and the count of what became of everybody. Sourced behind tools/tap.sh, services.sh, pipeline.sh.
# The lease of a producer that was killed is ended by hand. The pipeline's PostgreSQL runs without fsync: its processes are killed, not its machine.

CONNECTIONS=4
export KEEP_DATABASE=${KEEP:-0}	# for recounting
SETTINGS=(KAIRAN_DISPATCHER_BATCH=32 "KAIRAN_RELAY_CONNECTIONS=$CONNECTIONS" KAIRAN_DISPATCHER_RETRY_LADDER=1s
	KAIRAN_DISPATCHER_JOURNAL_SLOTS=16384 KAIRAN_FEEDBACK_HTTP_LISTEN= KAIRAN_FEEDBACK_LMTP_LISTEN=)
declare -A PIDS=()	# by program: producer, feedback, dispatcher names
WAY=()		# settings of the dispatchers, besides

# A last line is always there, of JSON; what could not be counted is no success.
_crash_said=no
crash_say()
{
	_crash_said=yes
	printf '%s\n' "$1"
}

_crash_exit()
{
	local status=$?

	set +e
	[ "$_crash_said" = yes ] || printf '{"error": "ended before anything was counted", "status": %d}\n' "$status"
	(exit "$status")
	_services_exit
}
trap _crash_exit EXIT

crash_usage()
{
	printf '# %s\n' "$1" >&2
	crash_say "{\"error\": \"$1\"}"
	exit 2
}

# argument: name of a setting, least. Its value is a whole number.
crash_number()
{
	local value=${!1}

	[[ $value =~ ^[0-9]{1,18}$ ]] && [ "$((10#$value))" -ge "$2" ] || crash_usage "$1 is no whole number from $2"
}

# arguments: program
crash_start()
{
	local name=$1 settings=("${SETTINGS[@]}")

	case $name in
	producer) service_spawn producer "$D/producer.log" env "${settings[@]}" "$BIN/kairan-producer" ;;
	feedback) service_spawn feedback "$D/feedback.log" env "${settings[@]}" "KAIRAN_FEEDBACK_MAILDIR=$D/md" \
		"$BIN/kairan-feedback" ;;
	*) service_spawn "$name" "$D/dispatcher.log" env KAIRAN_DISPATCHER_NAME="$name" "${settings[@]}" "${WAY[@]+"${WAY[@]}"}" \
		"$BIN/kairan-dispatcher" ;;
	esac 2>>"$D/spawned"
	PIDS[$name]=$SERVICE_PID
}

# Starts whatever has ended. arguments: programs
crash_tend()
{
	local name

	for name in "$@"; do
		if [ -z "${PIDS[$name]:-}" ] || _services_gone "${PIDS[$name]}"; then
			[ -z "${PIDS[$name]:-}" ] || wait "${PIDS[$name]}" 2>/dev/null || true
			service_forget "${PIDS[$name]:-}"
			# it is dead for certain: nobody need wait for the end of its lease
			[ "$name" != producer ] || sql -c "UPDATE kairan.lease SET expires_at = now()" >/dev/null 2>&1 || true
			crash_start "$name"
		fi
	done
}

# arguments: program; it is killed and stays so until the next crash_tend
crash_kill()
{
	kill -KILL "${PIDS[$1]}" 2>/dev/null || return 1
	services_wait 5 _services_gone "${PIDS[$1]}"
}

# Kills PostgreSQL's first process and, as an end of it means, all others; then starts it again.
crash_postgres()
{
	local pid child children

	read -r pid <"$D/pg/postmaster.pid"
	children=$(cat "/proc/$pid/task/$pid/children")
	for child in "$pid" $children; do
		kill -KILL "$child" 2>/dev/null || true
	done
	services_wait 10 _services_gone "$pid"
	# a process that was being forked meanwhile holds the memory a moment longer
	services_wait 15 pg_start "$D" 'shared_buffers = 64MB'
	export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}
}

crash_redis()
{
	redis_stop "$D" KILL 2>>"$D/spawned"
	redis_start "$D" 2>>"$D/spawned"
}

# A run of campaign loop is always under way: a new one when fewer than so many are left. Number in NUMBER. argument: least
NUMBER=0
crash_next_run()
{
	local left

	left=$(one "coalesce(sum(queued + sending), 0) FROM kairan.campaign_progress WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null) || return 0
	if [ "${left:-0}" -lt "$1" ] && [ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning')" 2>/dev/null || echo 1)" = 0 ]; then
		NUMBER=$((NUMBER + 1))
		run_add loop "$NUMBER" >/dev/null 2>&1 || true
	fi
}

# Faults have stopped: it must drain. arguments: seconds, programs
crash_drain()
{
	local end=$((SECONDS + $1))

	shift
	until [ "$(one "count(*) FROM kairan.run WHERE state IN ('scheduled', 'planning', 'running')" 2>/dev/null)" = 0 ]; do
		crash_tend "$@"
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}

_crash_maildir_empty()
{
	[ -z "$(find "$D/md/new" -type f)" ]
}

# The feedback is read, the programs end. arguments: programs
crash_end()
{
	local name

	services_wait 10 _crash_maildir_empty || true
	for name in "$@"; do service_stop "${PIDS[$name]}" >/dev/null 2>&1 || true; done
}

# A bounce for the recipient of a line of the ground truth, put into the Maildir. arguments: number, line
crash_feedback()
{
	local token

	token=$(sed -n "s/.*\"kairan_id\": \"\([a-z2-7]*\)\".*/\1/p" <<<"$2")
	[ -n "$token" ] || return 0
	printf '%s\r\n' "Return-Path: <>" "Delivered-To: b+$token@bounces.example.org" 'From: MAILER-DAEMON@example.com' \
		"To: b+$token@bounces.example.org" 'Subject: late' 'MIME-Version: 1.0' \
		'Content-Type: multipart/report; report-type=delivery-status; boundary=x' '' '--x' 'Content-Type: text/plain' '' \
		'late' '--x' 'Content-Type: message/delivery-status' '' 'Reporting-MTA: dns; mx.example.com' '' \
		'Final-Recipient: rfc822; somebody@example.com' 'Action: failed' 'Status: 4.4.7' \
		'Diagnostic-Code: smtp; 451 4.4.7 expired' '' '--x--' >"$D/md/tmp/$1"
	mv "$D/md/tmp/$1" "$D/md/new/$1"
}

# What the harnesses compare, over all runs. JSON object.
crash_count()
{
	truth_load
	sql -c "
		WITH t AS (SELECT run, send, count(*) AS n FROM test.truth WHERE kept GROUP BY run, send),
		s AS (SELECT run_id, id, state FROM kairan.send)
		SELECT jsonb_build_object(
			'accepted', (SELECT sum(n) FROM t),
			'duplicates', (SELECT count(*) FROM t WHERE n > 1) + (SELECT count(*) FROM (
				SELECT FROM test.truth WHERE kept GROUP BY run, lower(address) HAVING count(*) > 1) AS a),
			'lost', (SELECT count(*) FROM s LEFT JOIN t ON t.run = s.run_id AND t.send = s.id
				WHERE s.state = 'sent' AND t.n IS NULL)
				+ (SELECT count(*) FROM s JOIN t ON t.run = s.run_id AND t.send = s.id
				WHERE s.state NOT IN ('sent', 'in_doubt')),
			'in_doubt', (SELECT count(*) FROM s WHERE state = 'in_doubt'),
			'undecided', (SELECT count(*) FROM test.truth WHERE kept AND NOT answered),
			'undecided_as_sent', (SELECT count(*) FROM kairan.send s JOIN test.truth t ON t.run = s.run_id AND t.send = s.id
				AND t.attempt = s.attempt AND t.kept AND NOT t.answered WHERE s.state = 'sent' AND NOT EXISTS (
				SELECT FROM kairan.feedback_event f WHERE f.run_id = s.run_id AND f.send_id = s.id)),
			'in_doubt_not_in_truth', (SELECT count(*) FROM s LEFT JOIN t ON t.run = s.run_id AND t.send = s.id
				WHERE s.state = 'in_doubt' AND t.n IS NULL),
			'unaccounted', (SELECT count(*) FROM s WHERE state IN ('queued', 'sending', 'deferred'))
				+ (SELECT count(*) FROM kairan.run r WHERE planned <> (SELECT count(*) FROM kairan.send AS of_run WHERE of_run.run_id = r.id))
				+ (SELECT count(*) FROM kairan.run r CROSS JOIN LATERAL test.violations(r.id) AS v WHERE v LIKE '%counted%'),
			'recipients', (SELECT count(*) FROM s),
			'feedback_given', (SELECT $(find "$D/md/cur" "$D/md/new" -type f | wc -l)),
			'feedback_unacknowledged', (SELECT $(find "$D/md/new" -type f | wc -l)),
			'feedback_distinct', (SELECT $(cat "$D"/md/cur/* "$D"/md/new/* 2>/dev/null | grep -a '^Delivered-To' | sort -u | wc -l)),
			'feedback_in_inbox', (SELECT count(*) FROM kairan.feedback_event WHERE source <> 'smtp'))"
}

crash_begin()
{
	FAST=1 pipeline_start
	mkdir -p "$D/md/new" "$D/md/cur" "$D/md/tmp"
	: >"$D/crashed"
}

# The FAKE SES (ses.sh), for the dispatchers that get SES_ROUTE alone.
crash_ses()
{
	ses_start
	export -n HOME AWS_EC2_METADATA_DISABLED AWS_REGION AWS_ENDPOINT_URL_SESV2 AWS_CA_BUNDLE KAIRAN_DISPATCHER_TRANSPORT AWS_ENDPOINT_URL_STS
	# shellcheck disable=SC2034
	SES_ROUTE=("${KEYS[@]}" "HOME=$D" AWS_EC2_METADATA_DISABLED=true AWS_REGION=ap-northeast-1 KAIRAN_DISPATCHER_TRANSPORT=ses
		"AWS_ENDPOINT_URL_SESV2=https://localhost:$SES_PORT" "AWS_CA_BUNDLE=$D/ses/ca.pem" "KAIRAN_SES_CONNECTIONS=$CONNECTIONS")
}
