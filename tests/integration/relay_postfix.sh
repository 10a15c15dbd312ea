#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The relay route against a real Postfix: TLS with certificates of an authority of our own, AUTH by
# Dovecot, client certificates, PIPELINING and CHUNKING on and off. LMTP over a unix socket is spoken
# to the FAKE relay, since Postfix has no LMTP server (relay_lmtp.sh: with Dovecot). TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/postfix.sh
. tests/support/postfix.sh
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh

postfix_available || tap_skip_all "$POSTFIX_WHY_NOT"
PATH=$PATH:/usr/sbin
command -v dovecot >/dev/null || tap_skip_all 'Dovecot is not installed (Debian package dovecot-core)'

pipeline_start
customers_add 40 box.example
campaign_add relay
producer_start
echo box.example >"$D/domains"
CA=$D/ca
ca_make "$CA"
ca_issue "$CA" good DNS:relay.example,IP:127.0.0.1
ca_issue "$CA" client DNS:client.example
ca_issue "$CA" expired DNS:relay.example -1
ca_issue "$CA" other DNS:other.example
ca_self "$CA" self DNS:relay.example
COUNT=0
DISPATCHER=

# ---- Dovecot, which only answers Postfix's questions about passwords ----------------------------

# Its sockets live in a folder that Postfix may enter.
dovecot_start()
{
	local base=$D/dovecot user

	user=$(id -un)
	mkdir -p "$base"
	chmod 755 "$base"
	printf 'me:{PLAIN}right\n' >"$base/users"
	cat >"$base/dovecot.conf" <<-EOT
		base_dir = $base/run
		state_dir = $base/state
		log_path = $base/log
		protocols =
		ssl = no
		default_internal_user = dovecot
		default_login_user = dovenull
		auth_mechanisms = plain login
		passdb {
		  driver = passwd-file
		  args = scheme=PLAIN username_format=%u $base/users
		}
		userdb {
		  driver = static
		  args = uid=65534 gid=65534 home=/nonexistent
		}
		service auth {
		  user = root
		  unix_listener $base/auth {
		    mode = 0666
		  }
		}
		service stats {
		  unix_listener stats-reader {
		    user = $user
		  }
		}
	EOT
	service_spawn dovecot "$base/out" dovecot -F -c "$base/dovecot.conf" 2>/dev/null
	services_wait 10 test -S "$base/auth"
}

[ "$(id -u)" -eq 0 ] || tap_skip_all 'a private Dovecot needs root'
dovecot_start || { cat "$D/dovecot/log" "$D/dovecot/out" | tap_note; tap_bail 'Dovecot does not start'; }

# arguments: settings of Postfix; it is made anew
relay_start()
{
	local each settings=()

	[ -z "$POSTFIX_PORT" ] || postfix_stop "$D"
	for each in "$@"; do
		settings+=("conf=$each")
	done
	postfix_start "$D" domains="$D/domains" "${settings[@]+"${settings[@]}"}" 2>"$D/postfix.out" ||
		{ cat "$D/postfix.out"; tap_bail 'no Postfix'; }
}

# arguments: NAME, settings of the dispatcher
send()
{
	local name=$1 before

	shift
	[ -z "$DISPATCHER" ] || service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	COUNT=$((COUNT + 1))
	before=$(postfix_count "$D")
	dispatcher_start "d$COUNT" KAIRAN_RELAY_PORT="$POSTFIX_PORT" KAIRAN_RELAY_CONNECTIONS=4 "$@"
	RUN=$(run_add relay "$COUNT")
	run_wait "$RUN" finished 30 || true
	tap_is "$(run_states "$RUN")" 'sent 40' "$name: all sent"
	services_wait 15 delivered $((before + 40)) || true
	tap_is "$(postfix_count "$D")" $((before + 40)) '  ... and in the mailbox once each'
}

delivered()
{
	[ "$(postfix_count "$D")" -ge "$1" ]
}

# arguments: NAME, what the dispatcher says, settings of the dispatcher
refused()
{
	local name=$1 why=$2 before

	shift 2
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
	COUNT=$((COUNT + 1))
	before=$(postfix_count "$D")
	dispatcher_start "d$COUNT" KAIRAN_RELAY_PORT="$POSTFIX_PORT" "$@"
	RUN=$(run_add relay "$COUNT")
	tap_ok "$name" wait_for 15 "trouble ~ '$why' FROM kairan.dispatcher ORDER BY id DESC LIMIT 1"
	tap_is "$(postfix_count "$D") $(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state IN ('sent', 'in_doubt', 'failed')")" \
		"$before 0" '  ... and nothing is sent'
	one "kairan.run_move($RUN, '{running}', 'cancelled')" >/dev/null
}

in_log()
{
	_postfix_root cat "$POSTFIX_LOG" | grep -c -E "$1" || true
}

# ---- without TLS ------------------------------------------------------------------------------------

relay_start
send 'PIPELINING' KAIRAN_RELAY_TLS=off
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND remote_id ~ '^[0-9A-Za-z]{10,}$'")" 40 '  ... with queue ids'
send 'CHUNKING' KAIRAN_RELAY_CHUNKING=yes
send 'CHUNKING without PIPELINING' KAIRAN_RELAY_CHUNKING=yes KAIRAN_RELAY_PIPELINING=no
send 'neither' KAIRAN_RELAY_PIPELINING=no
# told when a connection ends, which those of the earlier dispatchers have
tap_like "$(in_log 'bdat=[1-9]')" '^[2-9]' 'Postfix counted BDAT commands'
relay_start 'smtpd_discard_ehlo_keywords = pipelining, chunking, dsn, enhancedstatuscodes, 8bitmime, size'
send 'a Postfix without extensions' KAIRAN_RELAY_CHUNKING=yes

# ---- TLS and login --------------------------------------------------------------------------------------

FOR_TLS=("smtpd_tls_cert_file = $CA/good.pem" "smtpd_tls_key_file = $CA/good.key" 'smtpd_tls_loglevel = 1'
	'smtpd_tls_security_level = may' 'smtpd_tls_auth_only = yes')
FOR_AUTH=('smtpd_sasl_auth_enable = yes' 'smtpd_sasl_type = dovecot' "smtpd_sasl_path = $D/dovecot/auth"
	'smtpd_sasl_security_options = noanonymous' 'smtpd_relay_restrictions = permit_sasl_authenticated, reject'
	'smtpd_recipient_restrictions = permit_sasl_authenticated, reject')
TLS=(KAIRAN_RELAY_TLS=required "KAIRAN_RELAY_TLS_CA_FILE=$CA/ca.pem" KAIRAN_RELAY_TLS_NAME=relay.example)

relay_start "${FOR_TLS[@]}"
send 'STARTTLS, opportunistic' KAIRAN_RELAY_TLS=opportunistic
tap_like "$(in_log 'TLS connection established.*TLSv1\.3')" '^[1-9]' '  ... encrypted'
send 'STARTTLS, verified' "${TLS[@]}"
send 'STARTTLS and CHUNKING' "${TLS[@]}" KAIRAN_RELAY_CHUNKING=yes
relay_start "${FOR_TLS[@]}" 'smtpd_tls_mandatory_protocols = TLSv1.2' 'smtpd_tls_protocols = TLSv1.2'
send 'TLS 1.2' "${TLS[@]}"
refused 'TLS 1.2 is refused by tls_only_1_3' 'tls' "${TLS[@]}" KAIRAN_RELAY_TLS_ONLY_1_3=yes

relay_start "${FOR_TLS[@]}" "${FOR_AUTH[@]}"
printf 'user = me\npassword = right\n' >"$D/right"
printf 'user = me\npassword = wrong\n' >"$D/wrong"
printf 'user = me\npassword = right\nmechanism = login\n' >"$D/login"
chmod 600 "$D/right" "$D/wrong" "$D/login"
send 'AUTH PLAIN by Dovecot' "${TLS[@]}" "KAIRAN_RELAY_AUTH_FILE=$D/right"
tap_like "$(in_log 'sasl_method=PLAIN, sasl_username=me')" '^[1-9]' '  ... logged in'
send 'AUTH LOGIN by Dovecot' "${TLS[@]}" "KAIRAN_RELAY_AUTH_FILE=$D/login"
tap_like "$(in_log 'sasl_method=LOGIN, sasl_username=me')" '^[1-9]' '  ... logged in'
refused 'a wrong password' 'auth: .*authentication failed' "${TLS[@]}" "KAIRAN_RELAY_AUTH_FILE=$D/wrong"
tap_is "$(grep -c -E 'wrong|right' "$D/dispatcher.log" || true)" 0 'no password is in the log'
tap_like "$(env "${TLS[@]}" "KAIRAN_RELAY_AUTH_FILE=$D/right" KAIRAN_RELAY_TLS=opportunistic "$BIN/kairan-dispatcher" 2>&1 || true)" \
	'never sent in clear' 'a login without required TLS is refused at the start'

relay_start "${FOR_TLS[@]}" 'smtpd_tls_ask_ccert = yes' "smtpd_tls_CAfile = $CA/ca.pem" 'smtpd_tls_req_ccert = yes' \
	'smtpd_tls_security_level = encrypt'
send 'a client certificate' "${TLS[@]}" "KAIRAN_RELAY_TLS_CERT_FILE=$CA/client.pem" "KAIRAN_RELAY_TLS_KEY_FILE=$CA/client.key"
tap_like "$(in_log 'Trusted TLS connection established')" '^[1-9]' '  ... that Postfix trusts'
chmod 644 "$CA/client.key"
tap_like "$(env "${TLS[@]}" "KAIRAN_RELAY_TLS_CERT_FILE=$CA/client.pem" "KAIRAN_RELAY_TLS_KEY_FILE=$CA/client.key" \
	"$BIN/kairan-dispatcher" 2>&1 || true)" 'chmod 600' 'a key that others can read is refused at the start'

for kind in expired other self; do
	relay_start "smtpd_tls_cert_file = $CA/$kind.pem" "smtpd_tls_key_file = $CA/$kind.key" 'smtpd_tls_security_level = may'
	case $kind in
	expired) why='certificate has expired' ;;
	other) why='certificate is not for relay.example' ;;
	self) why='self.signed certificate' ;;
	esac
	refused "a certificate that is $kind" "$why" "${TLS[@]}"
done

relay_start "${FOR_TLS[@]}" 'smtpd_tls_wrappermode = yes'
send 'implicit TLS' "${TLS[@]}" KAIRAN_RELAY_TLS=implicit

# ---- LMTP over a unix socket ---------------------------------------------------------------------------------

service_spawn lmtp "$D/lmtp.log" "$PYTHON" tests/support/fake_relay.py --log "$TRUTH" --unix "$D/lmtp.sock" 2>/dev/null
services_wait 10 test -S "$D/lmtp.sock"
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start lmtp KAIRAN_RELAY_HOST="unix:$D/lmtp.sock" KAIRAN_RELAY_PROTOCOL=lmtp
RUN=$(run_add relay lmtp)
run_wait "$RUN" finished 30 || true
tap_is "$(run_states "$RUN")" 'sent 40' 'LMTP over a unix socket: all sent'
run_check "$RUN" '  ... exactly once'

programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
