#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A44, A45: secrets and addresses go nowhere. A word that nothing else has stands in each secret and in
# each address; the pipeline runs with failures of every kind at debug level; then logs, command
# lines, environments, what the commands print, Redis and the database's activity are searched.
# KAIRAN_BIN: folder of the programs (default bin). TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/pipeline.sh
. tests/support/make_ca.sh
[ -x "$BIN/kairan-feedback" ] || tap_skip_all "$BIN/kairan-feedback is not built"

ulimit -S -c unlimited 2>/dev/null || true # else the test's own limit would be what keeps cores away
pipeline_start
mkdir -p "$D/run" "$D/dkim/example.org" "$D/md/new" "$D/md/cur" "$D/md/tmp"

# ---- planting ----------------------------------------------------------------------------------

DB_PASSWORD=canarydb7Qx REDIS_PASSWORD=canaryredis7Qx SMTP_PASSWORD=canarysmtp7Qx
AWS_SECRET=canaryaws7QxwJalrXUtnFEMI/K7MDENGbPxRf MAILBOX_PASSWORD=canarymbox7Qx
TOKEN_KEY=c0ffee00c0ffee11c0ffee22c0ffee33c0ffee44c0ffee55c0ffee66c0ffee77
WHO=canaryperson7qx

printf '1 %s\n' "$TOKEN_KEY" >"$D/keys"
printf 'user = me\npassword = %s\n' "$SMTP_PASSWORD" >"$D/login"
printf '%s\n' "$MAILBOX_PASSWORD" >"$D/mailbox"
printf '[default]\naws_access_key_id = AKIDCANARY\naws_secret_access_key = %s\n' "$AWS_SECRET" >"$D/aws"
chmod 600 "$D/keys" "$D/login" "$D/mailbox" "$D/aws"
openssl genrsa -out "$D/dkim/example.org/s1.pem" 2048 2>/dev/null
chmod 600 "$D/dkim/example.org/s1.pem"
DKIM_LINE=$(sed -n 3p "$D/dkim/example.org/s1.pem")
CA=$D/ca
ca_make "$CA"
ca_issue "$CA" good DNS:relay.example,IP:127.0.0.1
cat "$CA/good.pem" "$CA/good.key" >"$CA/good.both"

REDIS_PORT=$(services_free_port)
redis-cli -s "$D/redis.sock" CONFIG SET port "$REDIS_PORT" >/dev/null
redis-cli -s "$D/redis.sock" CONFIG SET requirepass "$REDIS_PASSWORD" >/dev/null
redis_all()
{
	REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -s "$D/redis.sock" "$@"
}

# everything in the file, nothing in the environment; PostgreSQL trusts this socket and takes any password
cat >"$D/kairan.conf" <<EOF
[database]
url = $KAIRAN_DATABASE_URL&password=$DB_PASSWORD
[redis]
url = redis://:$REDIS_PASSWORD@127.0.0.1:$REDIS_PORT/0
[keys]
file = $D/keys
[log]
level = debug
[dispatcher]
state_dir = $D/state
poll_ms = 100
retry_ladder = 1s,1s,1s
[producer]
poll_ms = 100
[relay]
host = 127.0.0.1
port = $RELAY_PORT
tls = required
tls_ca_file = $CA/ca.pem
tls_name = relay.example
auth_file = $D/login
ehlo = test.example
command_timeout_s = 5
[dkim]
dir = $D/dkim
[feedback]
domain = bounces.example.org
lmtp_listen = unix:$D/lmtp
maildir = $D/md
http_listen = 127.0.0.1:$(services_free_port)
[mailbox]
url = imap://127.0.0.1:1
tls = no
user = $WHO@example.org
password_file = $D/mailbox
poll_s = 1
EOF
chmod 600 "$D/kairan.conf"
unset KAIRAN_DATABASE_URL KAIRAN_REDIS_URL KAIRAN_KEYS_FILE KAIRAN_RELAY_HOST KAIRAN_RELAY_PORT
unset KAIRAN_DISPATCHER_STATE_DIR KAIRAN_FEEDBACK_DOMAIN KAIRAN_RELAY_EHLO
for kind in ok hard soft perm554 busy drop cut shut; do
	sql -c "INSERT INTO kairan.customer (email, name) SELECT '$kind.$WHO' || i || '@box.example', 'Name' FROM generate_series(1, 5) AS i"
done
sql -c "INSERT INTO kairan.customer (email, name) VALUES ('not an address $WHO', 'x'), ('$WHO@@box.example', 'y')"
campaign_add canary
sql -c 'UPDATE kairan.stream SET bounce_line_per_cent = 100'
STARTTLS=('tls = starttls' "cert = $CA/good.both" 'times = 2'
	'ehlo = PIPELINING,SIZE 10000000,8BITMIME,DSN,ENHANCEDSTATUSCODES,AUTH PLAIN LOGIN')

# ---- everything goes wrong ------------------------------------------------------------------------

relay_set "${STARTTLS[@]}" 'login = me:other'
producer_start
dispatcher_start one
FIRST=$DISPATCHER
service_spawn feedback "$D/feedback.log" "$BIN/kairan-feedback" 2>/dev/null
FEEDBACK=$SERVICE_PID
RUN=$(run_add canary k)
tap_ok 'the login is refused first' services_wait 60 grep -q 'relay unwell.*phase=auth code=535' "$D/dispatcher.log"
redis_all CLIENT KILL TYPE normal >/dev/null
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'kairan%'" >/dev/null
relay_set "${STARTTLS[@]}" "login = me:$SMTP_PASSWORD"
tap_ok 'the run finishes in spite of all' run_wait "$RUN" finished 90
run_check "$RUN" 'everybody got it once'

TOKEN=$($PYTHON tests/support/sns_fake.py token "$D/keys" "$RUN" 1 1 b)
report()
{
	printf 'From: %s@else.example\nTo: b+%s@bounces.example.org\nSubject: about %s\nMIME-Version: 1.0\n' "$WHO" "$TOKEN" "$WHO"
	printf 'Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\nContent-Type: text/plain\n\n<%s@box.example>: 550 5.1.1 no\n' "$WHO"
	printf -- '--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; %s@box.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 <%s@box.example> unknown\n\n--x--\n' "$WHO" "$WHO"
}
services_wait 20 test -S "$D/lmtp"
for ((i = 0; i < 100; i++)); do
	answer=$(report | lmtp_give "b+$TOKEN@bounces.example.org" "$WHO@else.example")
	[ "${answer:0:3}" != 250 ] || break
	sleep 0.2
done
tap_is "$answer" '250 2.0.0 recorded' 'a report'
tap_like "$(report | lmtp_give "$WHO@bounces.example.org" "$WHO@else.example")" '^550' 'an unknown recipient'
printf 'From: %s@else.example\n\nI am %s@box.example\n' "$WHO" "$WHO" >"$D/md/new/1.m"
services_wait 20 test -e "$D/md/cur/1.m:2,S"

# Amazon SES that cannot be reached, with credentials from a file
dispatcher_start ses KAIRAN_DISPATCHER_TRANSPORT=ses AWS_REGION=eu-west-1 AWS_ENDPOINT_URL_SESV2=https://127.0.0.1:1 \
	AWS_SHARED_CREDENTIALS_FILE="$D/aws" AWS_EC2_METADATA_DISABLED=true
SES=$DISPATCHER
services_wait 20 grep -q 'name=ses' "$D/dispatcher.log"
sleep 2

# ---- looking -----------------------------------------------------------------------------------

needles=("$DB_PASSWORD" "$REDIS_PASSWORD" "$SMTP_PASSWORD" "$MAILBOX_PASSWORD" "$AWS_SECRET" "$TOKEN_KEY" "$DKIM_LINE")
needles+=("$(printf '\0me\0%s' "$SMTP_PASSWORD" | base64)" "$(printf %s "$SMTP_PASSWORD" | base64)" "$(xxd -r -p <<<"$TOKEN_KEY" 2>/dev/null | base64 -w 0 || echo no-xxd)")
printf '%s\n' "${needles[@]}" >"$D/run/secrets"
{ cat "$D/run/secrets"; echo "$WHO"; } >"$D/run/all"
# arguments: file of needles, files; prints what was found without the needle itself
found()
{
	local list=$1

	shift
	grep -aHciFf "$list" "$@" | grep -v ':0$'
}

tap_ok 'a needle is found when it is there' grep -qiFf "$D/run/all" "$D/kairan.conf"
tap_ok 'the logs are at debug level' grep -q ' debug ' "$D/feedback.log"
tap_is "$(found "$D/run/all" "$D/producer.log" "$D/dispatcher.log" "$D/feedback.log")" '' 'no secret and no address in a log'
nursery=$(tr -d ' ' <"/proc/$FEEDBACK/task/$FEEDBACK/children")
parser=$(tr -d ' ' <"/proc/$nursery/task/$nursery/children")
# arguments: suffix of the files, pids; stdout: those whose environment could not be read
look_at()
{
	local suffix=$1 pid

	shift
	for pid in "$@"; do
		cat "/proc/$pid/cmdline" >>"$D/run/cmdline$suffix"
		cat "/proc/$pid/environ" >"$D/run/environ.one" 2>/dev/null
		grep -aq 'KAIRAN_CONFIG=' "$D/run/environ.one" || printf '%s ' "$pid"
		cat "$D/run/environ.one" >>"$D/run/environ$suffix"
	done
}
tap_is "$(look_at '' "$PRODUCER" "$FIRST" "$SES" "$FEEDBACK")" '' 'the environment of each program was read'
look_at '' "$nursery" "$parser" >/dev/null
left_of() { tr '\0' '\n' <"/proc/$1/environ" | grep -v -e '^$' -e '^.*SAN_OPTIONS=' | sed 's/=.*//'; } # a sanitizer reads its own late
tap_is "$(left_of "$nursery")$(left_of "$parser")$(test "$(wc -c <"/proc/$parser/environ")" -gt 0 && echo 'nothing of some')" \
	'nothing of some' 'the parser of mails and its parent have forgotten theirs'
tap_ok 'command lines were read' grep -aq kairan-dispatcher "$D/run/cmdline"
# one that has it in both: the same look finds it
service_spawn planted "$D/run/planted.log" env "PLANTED=$SMTP_PASSWORD" bash -c 'sleep 60; :' "$WHO" 2>/dev/null
PLANTED=$SERVICE_PID
tap_is "$(look_at .planted "$PLANTED"; found "$D/run/all" "$D/run/cmdline.planted" "$D/run/environ.planted" | sed 's/.*\.planted://' | paste -sd' ')" '1 1' \
	'what is planted in a command line and in an environment is found'
service_stop "$PLANTED" KILL
tap_is "$(found "$D/run/all" "$D/run/cmdline")" '' 'none in a command line'
tap_is "$(found "$D/run/all" "$D/run/environ")" '' 'none in an environment, when the file has it'
{
	"$BIN/kairan" status
	"$BIN/kairan" status --json
	"$BIN/kairan" config
	"$BIN/kairan" campaign list
	"$BIN/kairan" --version
	"$BIN/kairan" dkim list
} >"$D/run/printed" 2>&1
tap_like "$(cat "$D/run/printed")" '\(hidden\)' 'the commands say that there is something'
tap_is "$(found "$D/run/secrets" "$D/run/printed")" '' 'and not what'
"$BIN/kairan" status --json >"$D/run/status" 2>&1
tap_is "$(found "$D/run/all" "$D/run/status")" '' 'no address in the status'

redis_all --scan | while read -r key; do
	printf '%s %s\n' "$key" "$(redis_all DUMP "$key" | tr -d '\n\0')"
done >"$D/run/redis"
redis_all MONITOR >"$D/run/monitor" 2>/dev/null &
MONITOR=$!
RUN2=$(run_add canary again)
run_wait "$RUN2" finished 60 >/dev/null
kill "$MONITOR"
tap_ok 'Redis was listened to' grep -aqi push "$D/run/monitor"
tap_is "$(found "$D/run/all" "$D/run/redis" "$D/run/monitor")" '' 'no secret and no address in Redis, jobs included'
sql -c 'SELECT query FROM pg_stat_activity' >"$D/run/activity"
tap_is "$(found "$D/run/all" "$D/run/activity")" '' "none in the database's activity"

# ---- death ------------------------------------------------------------------------------------

tap_is "$(cat /proc/"$SES"/limits /proc/"$FEEDBACK"/limits /proc/"$PRODUCER"/limits | grep -cE 'Max core file size +0 +0')" 3 'no cores'
# cores that were written since; arguments: folders
cores()
{
	find "$@" -maxdepth 1 -type f \( -name core -o -name 'core.*' \) -newer "$D/kairan.conf" 2>/dev/null
}
for pid in "$SES" "$parser" "$FEEDBACK"; do
	kill -ABRT "$pid"
	services_wait 10 sh -c "! kill -0 $pid 2>/dev/null || grep -q '^State:.Z' /proc/$pid/status"
done
tap_is "$(cores . "$D" "$D/state" "$D/run")" '' 'none after an abort of a dispatcher, of the parser of mails, of feedback'
# the same death of a process that allows it: its core is found, and the secret in it
mkdir "$D/run/dies"
(cd "$D/run/dies" && PLANTED=$SMTP_PASSWORD exec bash -c 'kill -ABRT $$') 2>/dev/null || true
case $(cat /proc/sys/kernel/core_pattern) in
'|'* | */*) tap_skip 'a core would be found' 'cores of this machine go elsewhere (kernel.core_pattern)' ;;
*)
	if [ "$(ulimit -S -c)" = 0 ]; then
		tap_skip 'a core would be found' 'no core may be written here (ulimit)'
	else
		tap_is "$(found "$D/run/secrets" "$(cores "$D/run/dies")" | sed 's/.*/found/')" found 'a core would be found, and a secret in it'
	fi ;;
esac
service_stop "$PRODUCER"
tap_is "$(found "$D/run/all" "$D/producer.log" "$D/dispatcher.log" "$D/feedback.log")" '' 'nor in the last words'
tap_done
