#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a relay may do wrong: the SMTP, TLS and network faults, each against the FAKE relay, whose
# log is the ground truth: nobody gets a mail twice, nobody is lost, doubt only past the dot.
# TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh

pipeline_start
customers_add 6 large.example
campaign_add faults
producer_start
COUNT=0

# arguments: settings of the environment besides the usual short times
start_dispatcher()
{
	COUNT=$((COUNT + 1))
	dispatcher_start "d$COUNT" KAIRAN_RELAY_CONNECTIONS=2 KAIRAN_DISPATCHER_RETRY_LADDER=1s \
		KAIRAN_RELAY_COMMAND_TIMEOUT_S=2 KAIRAN_RELAY_DOT_TIMEOUT_S=4 KAIRAN_RELAY_IDLE_S=1 "$@"
}

# arguments: settings; the dispatcher of now ends first
next_dispatcher()
{
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	start_dispatcher "$@"
}

# arguments: lines of the control file. Connections of before are cut, they know other habits.
relay_anew()
{
	relay_set 'mode = refuse'
	sleep 0.1
	relay_set "$@"
	sleep 0.1
}

# arguments: NAME of the test, expected states, lines of the control file. One run under the fault.
fault()
{
	local name=$1 expected=$2

	shift 2
	relay_anew "$@"
	COUNT=$((COUNT + 1))
	RUN=$(run_add faults "$COUNT")
	run_wait "$RUN" finished 25 || true
	tap_is "$(run_states "$RUN")" "$expected" "$name"
	run_check "$RUN" '  ... and the ground truth agrees'
}

# messages that the relay has kept so far
kept()
{
	grep -c '"kept": true' "$TRUTH" || true
}

# arguments: NAME, control lines. Nothing may leave, the reason is told; then all is well again.
nothing_leaves()
{
	local name=$1 why=$2 before

	shift 2
	before=$(kept)
	relay_anew "$@"
	COUNT=$((COUNT + 1))
	RUN=$(run_add faults "$COUNT")
	tap_ok "$name" wait_for 15 "trouble ~ '$why' FROM kairan.dispatcher ORDER BY id DESC LIMIT 1"
	tap_is "$(kept)" "$before" '  ... and nothing is sent'
}

finishes()
{
	run_wait "$RUN" finished 25 || true
	tap_is "$(run_states "$RUN")" 'sent 6' "$1"
	run_check "$RUN" '  ... exactly once'
}

# ---- F22: the connection dies behind the dot ----------------------------------------------
start_dispatcher
fault 'F22: close behind the dot, the mail kept: in doubt' 'sent 4, in_doubt 2' \
	'fault = dot:close' 'faults = 2' 'drop = kept'
fault 'F22: close behind the dot, the mail lost: in doubt' 'sent 4, in_doubt 2' \
	'fault = dot:close' 'faults = 2'
fault 'F22: FIN behind the dot: in doubt' 'sent 4, in_doubt 2' 'fault = dot:fin' 'faults = 2' 'drop = kept'

# ---- F23: the reply to the dot is late (limit 4 s instead of 600 here) ----------------------
fault 'F23: a reply within the limit is waited for' 'sent 6' 'fault = dot:wait:2.5+go' 'faults = 2'
fault 'F23: a reply behind the limit comes too late: in doubt' 'sent 4, in_doubt 2' \
	'fault = dot:wait:7+go' 'faults = 2'

# ---- F24: the connection dies before the dot -------------------------------------------------
for phase in mail rcpt data; do
	fault "F24: close at $phase: nobody in doubt, all sent" 'sent 6' "fault = $phase:close" 'faults = 2'
done
fault 'F24: close in a small body, when the kernel has all of it already: in doubt, since nobody can tell' \
	'sent 4, in_doubt 2' 'fault = body:close' 'faults = 2'
fault 'F24: close for ever: deferred, tried again, sent' 'sent 6' 'fault = rcpt:close' 'faults = 14'

# ---- F25: 421 anywhere -----------------------------------------------------------------------
for phase in greet ehlo mail rcpt data; do
	fault "F25: 421 at $phase: all sent" 'sent 6' "fault = $phase:raw:421 4.3.2 closing\\r\\n+fin" 'faults = 2'
done
fault 'F25: 421 to the dot: the mail is deferred, the rest of the pipeline not assumed' 'sent 6' \
	'fault = dot:raw:421 4.3.2 closing\r\n+fin' 'faults = 2'

# ---- F26: RCPT refused in a group, and what the server makes of DATA -------------------------
fault 'F26: 450 to RCPT, DATA refused: later sent' 'sent 6' 'fault = rcpt:raw:450 4.2.0 later\r\n' 'faults = 3'
fault 'F26: 450 to RCPT, 354 all the same: later sent' 'sent 6' \
	'fault = rcpt:raw:450 4.2.0 later\r\n' 'faults = 3' 'always354 = yes'
fault 'F26: 550 to RCPT, 354 all the same: failed' 'sent 3, failed 3' \
	'fault = rcpt:raw:550 5.7.1 no\r\n' 'faults = 3' 'always354 = yes'
tap_is "$(grep -c '"to": \[\]' "$TRUTH" || true)" 0 '  ... and no content was ever sent to nobody'

# ---- F27: throttled, greylisted, too large, login lost ---------------------------------------
fault 'F27: 454 maximum sending rate: all sent' 'sent 6' \
	'fault = dot:raw:454 Throttling failure: Maximum sending rate exceeded.\r\n' 'faults = 3'
tap_is "$(one "max(tries) || ' ' || max(attempt) FROM kairan.send WHERE run_id = $RUN")" '0 1' \
	'  ... without a step of the retry ladder'
fault 'F27: 450 greylisted: all sent' 'sent 6' 'fault = rcpt:raw:450 4.7.1 Greylisted\r\n' 'faults = 6'
fault 'F27: 452 at MAIL: all sent' 'sent 6' 'fault = mail:raw:452 4.3.1 full\r\n' 'faults = 3'
fault 'F27: 552 to MAIL: failed, not suppressed' 'sent 4, failed 2' \
	'fault = mail:raw:552 5.3.4 too big\r\n' 'faults = 2'
tap_is "$(one "string_agg(DISTINCT reason || ' ' || class, ', ') FROM kairan.send WHERE run_id = $RUN AND state = 'failed'")" \
	'too_large message' '  ... as too large'
fault 'F27: 530 in mid-run: the relay rests, nobody fails' 'sent 6' \
	'fault = mail:raw:530 5.7.0 Authentication required\r\n' 'faults = 2'
tap_is "$(one "max(tries) FROM kairan.send WHERE run_id = $RUN")" 0 '  ... without a step of the retry ladder'
nothing_leaves 'F27: 454 daily quota: the route pauses' 'quota' \
	'fault = dot:raw:454 Throttling failure: Daily message quota exceeded.\r\n' 'drop = lost'
tap_ok '  ... and claims are given back' wait_for 10 "count(*) = 6 FROM kairan.send WHERE run_id = $RUN AND state = 'queued'"
relay_set
next_dispatcher
finishes 'F27: another dispatcher sends them'

relay_anew 'ehlo = PIPELINING,SIZE 100'
RUN=$(run_add faults size)
tap_ok 'a message over SIZE pauses the run before anything is sent' wait_for 10 "state = 'paused' AND reason ~ 'larger than' FROM kairan.run WHERE id = $RUN"
relay_set
tap_is "$(run_states "$RUN")" 'queued 6' '  ... and nobody has failed'
sleep 2.5 # connections that know the old SIZE are idle for 1 s
tap_is "$(one "kairan.run_move($RUN, '{paused}', 'running')")" t '  ... and resumed'
finishes '  ... it is sent when the relay takes it'

# ---- F28: replies that are none ----------------------------------------------------------------
bad()
{
	fault "F28: $1 at the dot: in doubt" 'sent 5, in_doubt 1' "fault = dot:$2" 'faults = 1'
	fault "F28: $1 at RCPT: all sent" 'sent 6' "fault = rcpt:$2" 'faults = 1'
}
bad 'half a line, then the end' 'raw:25+fin'
bad '10 MB without a line end' 'flood:10000000'
bad 'a million continuation lines' 'lines:1000000'
bad 'mixed codes' 'raw:250-one\r\n550 two\r\n'
bad 'no digits' 'raw:hello\r\n'
fault 'F28: byte by byte: all sent' 'sent 6' 'fault = dot:drip:250 2.0.0 ok\r\n' 'faults = 1' 'drop = kept'
fault 'F28: NUL and bare LF in a reply: all sent' 'sent 6' 'fault = dot:raw:250-a\x00b\n250 ok\n' 'faults = 2' 'drop = kept'
fault 'F28: two replies at once: out of step, closed' 'sent 6' 'fault = dot:raw:250 ok\r\n250 ok\r\n' 'faults = 1' 'drop = kept'
fault 'F28: a reply to nothing: closed' 'sent 6' 'fault = greet:raw:220 a\r\n250 b\r\n250 c\r\n' 'faults = 2'

# ---- F29: tarpits --------------------------------------------------------------------------------
fault 'F29: a greeting by drops: given up, all sent' 'sent 6' \
	'fault = greet:drip:220 welcome to the slowest relay of all those that have ever been' 'faults = 2'
fault 'F29: no greeting at all: given up, all sent' 'sent 6' 'fault = greet:stall' 'faults = 2'
fault 'F29: RCPT never answered: given up, all sent' 'sent 6' 'fault = rcpt:stall' 'faults = 2'
# more than two kernels hold for a connection that nobody reads
sql -c "INSERT INTO kairan.template (digest, subject, body) VALUES ('big', 'Big', repeat('{{name}}' || E'\\n', 90))" \
	-c "INSERT INTO kairan.campaign (name, stream_id, template_id, from_address, segment)
		SELECT 'big', s.id, t.id, 'news@example.org', 'c.id <= 2' FROM kairan.stream s, kairan.template t
		WHERE s.name = 'marketing' AND t.digest = 'big'" \
	-c "UPDATE kairan.customer SET name = repeat(repeat('x', 70) || ' ', 880) WHERE id <= 2"
relay_anew 'fault = body:deaf:6' 'faults = 2' 'ehlo = PIPELINING'
touch "$D/lost"
lost=$(wc -l <"$D/lost")
RUN=$(run_add big 1)
tap_ok 'F29: the server stops reading in the middle of a large mail: given up, tried again, sent' run_wait "$RUN" finished 60
tap_is "$(run_states "$RUN")" 'sent 2' '  ... and nobody is in doubt'
both_lost()
{
	[ "$(wc -l <"$D/lost")" = $((lost + 2)) ]
}
tap_ok '  ... after it had been given up twice' services_wait 20 both_lost
run_check "$RUN" '  ... exactly once'
sql -c "UPDATE kairan.customer SET name = 'Name' WHERE id <= 2"

# ---- pipelining that is none ----------------------------------------------------------------------
fault 'a relay that throws away what follows the dot: all sent' 'sent 6' 'discard = yes'
tap_like "$(cat "$D/dispatcher.log")" 'does not manage pipelined' '  ... and is spoken to without'
next_dispatcher
relay_set
RUN=$(run_add faults before-ehlo)
tap_ok 'a run with PIPELINING' run_wait "$RUN" finished 20
fault 'a relay that stops advertising PIPELINING: all sent' 'sent 6' 'ehlo = 8BITMIME'
fault 'a relay without any extension: all sent' 'sent 6' 'ehlo ='

# ---- CHUNKING --------------------------------------------------------------------------------------
next_dispatcher KAIRAN_RELAY_CHUNKING=yes
fault 'BDAT: all sent' 'sent 6' 'ehlo = PIPELINING,CHUNKING'
truth_load
tap_is "$(one "count(*) FROM test.line WHERE (j ->> 'run')::int = $RUN AND (j ->> 'chunks')::int = 1")" 6 '  ... in one chunk each'
fault 'BDAT one command at a time: all sent' 'sent 6' 'ehlo = CHUNKING'
fault 'BDAT not offered: all sent by DATA' 'sent 6' 'ehlo = PIPELINING'
fault 'F22: close behind the chunk: in doubt' 'sent 4, in_doubt 2' 'ehlo = PIPELINING,CHUNKING' \
	'fault = dot:close' 'faults = 2' 'drop = kept'
fault 'a chunk deferred: all sent' 'sent 6' 'ehlo = PIPELINING,CHUNKING' 'fault = dot:raw:451 4.3.0 later\r\n' 'faults = 2'

# ---- F30: TLS -----------------------------------------------------------------------------------------
CA=$D/ca
ca_make "$CA"
ca_issue "$CA" good DNS:relay.example,IP:127.0.0.1
ca_issue "$CA" other DNS:other.example
ca_issue "$CA" expired DNS:relay.example -1
ca_self "$CA" self DNS:relay.example
for name in good other expired self; do
	cat "$CA/$name.key" "$CA/$name.pem" >"$CA/$name.both"
done
TLS=(KAIRAN_RELAY_TLS=required "KAIRAN_RELAY_TLS_CA_FILE=$CA/ca.pem" KAIRAN_RELAY_TLS_NAME=relay.example)
STARTTLS=('tls = starttls' "cert = $CA/good.both")

next_dispatcher "${TLS[@]}"
fault 'STARTTLS, verified: all sent' 'sent 6' "${STARTTLS[@]}"
truth_load
tap_is "$(one "bool_and((j ->> 'tls')::bool) FROM test.line WHERE (j ->> 'run')::int = $RUN")" t '  ... encrypted'
fault 'F30: closed without close_notify behind 250: sent' 'sent 6' "${STARTTLS[@]}" \
	'fault = dot:raw:250 2.0.0 ok\r\n+close' 'faults = 2' 'drop = kept'
fault 'F30: closed in the middle of the reply: in doubt' 'sent 4, in_doubt 2' "${STARTTLS[@]}" \
	'fault = dot:raw:250 2.0+close' 'faults = 2' 'drop = kept'
fault 'F30: the handshake is broken off twice: all sent' 'sent 6' "${STARTTLS[@]}" \
	'fault = starttls:raw:220 go\r\n+wait:0.05+close' 'faults = 2'
fault 'F30: rubbish instead of a handshake twice: all sent' 'sent 6' "${STARTTLS[@]}" \
	'fault = starttls:raw:220 go\r\n+wait:0.1+raw:220 hello again, this is no TLS at all\r\n+fin' 'faults = 2'
nothing_leaves 'F30: an expired certificate: nothing leaves' 'certificate has expired' 'tls = starttls' "cert = $CA/expired.both"
relay_set "${STARTTLS[@]}"
finishes '  ... until there is a good one'
nothing_leaves 'F30: a certificate for another name' 'certificate is not for relay.example' 'tls = starttls' "cert = $CA/other.both"
nothing_leaves 'F30: a self-signed certificate' 'self.signed certificate' 'tls = starttls' "cert = $CA/self.both"
nothing_leaves 'F30: STARTTLS not offered although required: never in clear' 'does not offer STARTTLS' 'tls = off'
nothing_leaves 'F30: STARTTLS refused although required: never in clear' '454|TLS not available' "${STARTTLS[@]}" \
	'fault = starttls:raw:454 4.7.0 TLS not available\r\n'

# ---- F31: plaintext behind the answer to STARTTLS ------------------------------------------------------
nothing_leaves 'F31: bytes behind the answer to STARTTLS: closed' 'bytes behind the answer' "${STARTTLS[@]}" \
	'fault = starttls:raw:220 go\r\n250-fake\r\n250 AUTH PLAIN\r\n'
tap_is "$(run_states "$RUN" | sed 's/[0-9, ]*//g' | grep -c -E 'sent|doubt' || true)" 0 '  ... and nobody is in doubt'
next_dispatcher "${TLS[@]}" "KAIRAN_RELAY_TLS_CA_FILE=$CA/self.pem"
relay_set 'tls = starttls' "cert = $CA/self.both"
finishes 'a self-signed certificate that is named as trusted serves'
RUN=$(one "max(id) - 1 FROM kairan.run")
finishes '  ... for all that waited'

next_dispatcher "${TLS[@]}" KAIRAN_RELAY_TLS=implicit
fault 'implicit TLS: all sent' 'sent 6' 'tls = implicit' "cert = $CA/good.both"
nothing_leaves 'F30: implicit TLS, an expired certificate: nothing leaves' 'certificate has expired' 'tls = implicit' "cert = $CA/expired.both"
nothing_leaves 'F30: implicit TLS, a certificate for another name' 'certificate is not for relay.example' 'tls = implicit' "cert = $CA/other.both"
next_dispatcher "${TLS[@]}" KAIRAN_RELAY_TLS=implicit KAIRAN_RELAY_TLS_NAME=
fault 'a certificate for an address: all sent' 'sent 6' 'tls = implicit' "cert = $CA/good.both"

next_dispatcher
fault 'opportunistic TLS: all sent, whatever the certificate' 'sent 6' 'tls = starttls' "cert = $CA/expired.both"
truth_load
tap_is "$(one "bool_and((j ->> 'tls')::bool) FROM test.line WHERE (j ->> 'run')::int = $RUN")" t '  ... encrypted'
fault 'opportunistic TLS that does not work: all sent in clear' 'sent 6' "${STARTTLS[@]}" \
	'fault = starttls:raw:220 go\r\n+wait:0.05+close'

# ---- login -----------------------------------------------------------------------------------------------
printf 'user = me\npassword = right\n' >"$D/login"
chmod 600 "$D/login"
next_dispatcher "${TLS[@]}" "KAIRAN_RELAY_AUTH_FILE=$D/login"
LOGIN=("${STARTTLS[@]}" 'login = me:right')
fault 'AUTH PLAIN: all sent' 'sent 6' "${LOGIN[@]}" 'ehlo = PIPELINING,AUTH LOGIN PLAIN'
truth_load
tap_is "$(one "string_agg(DISTINCT j ->> 'auth', ',') FROM test.line WHERE (j ->> 'run')::int = $RUN")" me '  ... logged in'
fault 'AUTH LOGIN: all sent' 'sent 6' "${LOGIN[@]}" 'ehlo = AUTH LOGIN'
fault 'F27: 454 to AUTH twice: all sent' 'sent 6' "${LOGIN[@]}" 'ehlo = AUTH LOGIN' \
	'fault = auth:raw:454 Temporary authentication failure\r\n' 'faults = 2'
nothing_leaves 'AUTH refused: the relay rests' 'Credentials Invalid' "${STARTTLS[@]}" 'login = me:other' 'ehlo = AUTH PLAIN'
printf 'user = me\npassword = other\n' >"$D/login"
finishes '  ... until the file is mended, without a restart'
nothing_leaves 'no mechanism in common' 'no login that these credentials serve' "${LOGIN[@]}" 'ehlo = AUTH CRAM-MD5'
printf 'user = me\ntoken = right\n' >"$D/login"
kill -HUP "$DISPATCHER"
relay_set "${LOGIN[@]}" 'ehlo = AUTH PLAIN XOAUTH2'
finishes 'SIGHUP reads the new credentials: XOAUTH2'
tap_is "$(grep -c -E 'right|other$|cmlnaHQ|AG1lAHJpZ2h0' "$D/dispatcher.log" || true)" 0 'no secret is in the log'

# ---- Amazon SES ----------------------------------------------------------------------------------------------
next_dispatcher KAIRAN_RELAY_SES_CONFIGURATION_SET=news-1 KAIRAN_RELAY_SES_TAGS=yes
fault 'SES: all sent' 'sent 6' 'ehlo = 8BITMIME,SIZE 10485760' 'id = Ok 0100018f2c-abc-%d'
truth_load
tap_is "$(one "count(DISTINCT remote_id) FROM kairan.send WHERE run_id = $RUN AND remote_id LIKE '0100018f2c-abc-%'")" 6 \
	'  ... with the message id of SES'
tap_is "$(one "count(*) FROM test.line WHERE (j ->> 'run')::int = $RUN AND j -> 'headers' ->> 'x-ses-configuration-set' = 'news-1'
	AND j -> 'headers' ->> 'x-ses-message-tags' = 'kairan=' || (j ->> 'kairan_id')")" 6 '  ... configuration set and tag'

check='Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1'
nothing_leaves 'SES: the sender is not verified: nobody fails, the route rests' 'Email address is not verified' \
	"fault = dot:raw:554 $check: news@example.org, ok1@large.example\\r\\n" 'drop = lost'
tap_is "$(grep -c '@' <(grep 'relay unwell' "$D/dispatcher.log") || true)" 0 '  ... and no address is in the log'
relay_set
finishes '  ... and all are sent when it is'
nothing_leaves 'SES: not authorized: nobody fails, the route rests' 'not authorized' \
	"fault = dot:raw:554 Access denied: User arn:aws:iam::1:user/x is not authorized to perform ses:SendRawEmail\\r\\n" 'drop = lost'
relay_set
finishes '  ... and all are sent when it is'
fault 'SES: a recipient who is not verified (sandbox) fails alone' 'sent 5, failed 1' \
	"fault = rcpt:raw:554 $check: ok3@large.example\\r\\n" 'faults = 1' 'ehlo = 8BITMIME' 'for = ok3@large.example'

customers_add 4 large.example sandbox
fault 'SES: in the sandbox only recipients who are verified get mail' 'sent 6, failed 4' 'ehlo = 8BITMIME'
tap_is "$(one "string_agg(DISTINCT concat_ws(' ', class, code, reason, split_part(reply, '.', 1)), '; ') FROM kairan.send
	WHERE run_id = $RUN AND state = 'failed'")" 'config 554 config Message rejected: Email address is not verified' \
	'  ... the others fail by our own trouble'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key LIKE 'sandbox%'") $(one "count(*) FROM kairan.send
	WHERE run_id = $RUN AND bounced_at IS NOT NULL") $(grep -c 'sandbox[0-9]*@' "$D/dispatcher.log" || true)" '0 0 0' \
	'  ... nobody is suppressed, no bounce is counted, no address is in the log'
sql -c "DELETE FROM kairan.customer WHERE email LIKE 'sandbox%'"

# ---- F33: the network ------------------------------------------------------------------------------------------
fault 'F33: RST in the middle of the envelope: all sent' 'sent 6' 'fault = rcpt:close' 'faults = 2'
next_dispatcher KAIRAN_RELAY_HOST="127.0.0.9:$RELAY_PORT, 127.0.0.1:$RELAY_PORT"
fault 'F33: a relay that refuses connections beside one that works: all sent' 'sent 6'
tap_like "$(cat "$D/dispatcher.log")" 'host=127.0.0.9 .*refused' '  ... and it was tried'
# its queue of connections is full, so the kernel answers no SYN any more
DEAF=$(services_free_port)
service_spawn deaf "$D/deaf.log" "$PYTHON" -c 'import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(0)
waiting = [socket.socket() for i in range(4)]
for c in waiting: c.setblocking(False); c.connect_ex(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)' "$DEAF" 2>/dev/null
sleep 0.3
next_dispatcher KAIRAN_RELAY_CONNECT_TIMEOUT_S=1 KAIRAN_RELAY_HOST="127.0.0.1:$DEAF, 127.0.0.1:$RELAY_PORT backup"
fault 'F33: no answer to SYN: the backup carries the mail' 'sent 6'
tap_like "$(cat "$D/dispatcher.log")" "port=$DEAF phase=connect.*in time" '  ... after the wait for a connection'
# ---- relays of different SIZE ------------------------------------------------------------------------------------
SMALL=$(services_free_port)
printf 'ehlo = PIPELINING,SIZE 100\n' >"$D/control.small"
service_spawn 'small relay' "$D/relay.log" "$PYTHON" tests/support/fake_relay.py --log "$TRUTH" --control "$D/control.small" "$SMALL" 2>/dev/null
small_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$SMALL") 2>/dev/null
}
services_wait 10 small_answers || tap_bail 'the small relay does not answer'
next_dispatcher KAIRAN_RELAY_HOST="127.0.0.1:$SMALL, 127.0.0.1:$RELAY_PORT"
fault 'two relays, one with a small SIZE: all sent by the other' 'sent 6'
tap_is "$(one "max(tries) || ' ' || max(attempt) FROM kairan.send WHERE run_id = $RUN")" '0 1' '  ... without another try'
# a relay that refused a connection rests, and the mail would wait for it: let the old ones end by themselves
relay_set 'ehlo = PIPELINING,SIZE 200'
sleep 2.5
RUN=$(run_add faults sizes)
tap_ok 'when no SIZE is enough the run is paused' wait_for 15 "state = 'paused' AND reason ~ 'larger than' FROM kairan.run WHERE id = $RUN"
tap_ok '  ... and nobody has failed' wait_for 10 "count(*) = 6 FROM kairan.send WHERE run_id = $RUN AND state = 'queued'"
one "kairan.run_move($RUN, '{paused}', 'cancelled')" >"$D/out"
# before it is begun: a mail over the SIZE of each relay is refused
{
	echo '{{unsubscribe_url}}'
	printf 'A line of sixty-four bytes, of which there are enough for 70 kB %.0s\n' {1..1100}
} >"$D/large.txt"
printf '[campaign]\nname = large\nstream = marketing\nsubject = Large\nfrom = news@example.org\ntext = large.txt\nsegment = everyone\n' >"$D/large.campaign"
# arguments: the command; stdout: its exit code and what it says of the size
sized()
{
	local code=0

	env KAIRAN_RELAY_HOST="127.0.0.1:$SMALL, 127.0.0.1:$RELAY_PORT" "$BIN/kairan" "$@" >"$D/sized" 2>&1 || code=$?
	echo "$code $(grep -oE 'and each relay takes at most [0-9]+|size is not checked' "$D/sized")"
}
printf 'ehlo = PIPELINING,SIZE 66000\n' >"$D/control.small"
relay_set 'ehlo = 8BITMIME,SIZE 67000' 'tls = starttls' "cert = $CA/self.both"
sleep 0.1
tap_is "$(sized campaign create "$D/large.campaign")" '2 and each relay takes at most 67000' 'a campaign over the SIZE of each relay is not created'
tap_is "$(sized campaign lint "$D/large.campaign")" '1 and each relay takes at most 67000' '  ... lint has an error'
tap_like "$(cat "$D/sized")" '\[over-size\]' '  ... with a rule of its own'
relay_set 'ehlo = 8BITMIME,SIZE 80000' 'tls = starttls' "cert = $CA/self.both"
sleep 0.1
tap_is "$(sized campaign create "$D/large.campaign")" '0 ' '  ... it is when one takes it'
relay_set 'ehlo = 8BITMIME,SIZE 67000'
sleep 0.1
tap_is "$(sized campaign start large --run-key a)" '2 and each relay takes at most 67000' '  ... nor is it started'
tap_is "$(sized campaign schedule large --at 2099-01-01T09:00:00Z)" '2 and each relay takes at most 67000' '  ... or scheduled'
tap_is "$(one "count(*) FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE c.name = 'large'")" 0 '  ... so there is no run'
relay_set 'mode = refuse'
sleep 0.1
tap_is "$(sized campaign schedule large --at 2099-01-01T09:00:00Z)" '0 ' '  ... what is not known refuses nothing'

next_dispatcher KAIRAN_RELAY_SOURCE=127.0.0.5
fault 'another local address: all sent' 'sent 6'
next_dispatcher KAIRAN_RELAY_HOST=no-such-host.invalid
nothing_leaves 'F32: a name that does not resolve is told' 'connect'
next_dispatcher
finishes '  ... and nothing is lost by it'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
