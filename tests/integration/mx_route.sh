#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The direct way to the mail servers of each domain (dispatcher.transport = mx): Knot serves a zone with
# what MX records may say, FAKE mail servers stand on loopback addresses, their logs are the ground
# truth. Knot signs a zone below it with TLSA records, Unbound validates it, and one of its mail servers
# is a Postfix. The last part repeats the way between two network namespaces on port 25. TAP, run by prove.
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
# shellcheck source=tests/support/postfix.sh
. tests/support/postfix.sh

PATH=$PATH:/usr/sbin
command -v knotd >/dev/null || tap_skip_all 'knot is not installed'
pipeline_start
DNS_PORT=$(services_free_port)
MX_PORT=$(services_free_port)
STS_PORT=$(services_free_port)
UNBOUND_PORT=$(services_free_port)
NO_DANE=''
if ! command -v unbound >/dev/null; then
	NO_DANE='unbound is not installed'
elif ! postfix_available; then
	NO_DANE=$POSTFIX_WHY_NOT
fi

# ---- certificates, and a Postfix with one of its own -------------------------------------------
CA=$D/ca
ca_make "$CA"
ca_issue "$CA" good DNS:mx.enforced.example
ca_issue "$CA" web "$(printf 'DNS:mta-sts.%s.example,' enforced forged elsewhere trial stsee.signed)DNS:mta-sts.stswrong.signed.example"
ca_self "$CA" self DNS:mx.forged.example
ca_self "$CA" postfix DNS:elsewhere.example
ca_issue "$CA" ta DNS:mx.ta.signed.example
ca_issue "$CA" wrong DNS:mx.wrong.signed.example,DNS:mx.stswrong.signed.example
for name in good self web ta wrong; do
	cat "$CA/$name.key" "$CA/$name.pem" >"$CA/$name.both"
done
cat "$CA/ca.pem" >>"$CA/ta.both" # the anchor must be shown to be found by its digest
if [ -z "$NO_DANE" ]; then
	echo ee.signed.example >"$D/postfix.domains"
	postfix_start "$D" "domains=$D/postfix.domains" 'conf=smtpd_tls_security_level = may' 'conf=smtpd_tls_loglevel = 1' \
		"conf=smtpd_tls_cert_file = $CA/postfix.pem" "conf=smtpd_tls_key_file = $CA/postfix.key" ||
		tap_bail 'no Postfix'
	MX_PORT=$POSTFIX_PORT # the others listen on other addresses
fi

# ---- DNS --------------------------------------------------------------------------------------
mkdir "$D/knot"
cat >"$D/knot.conf" <<CONF
server:
    listen: 127.0.0.1@$DNS_PORT
    rundir: $D/knot
database:
    storage: $D/knot
zone:
  - domain: example
    file: $D/example.zone
  - domain: broken.example
    file: $D/there-is-no-such-file.zone
policy:
  - id: plain
    algorithm: ecdsap256sha256
    single-type-signing: on
    cds-cdnskey-publish: none
zone:
  - domain: signed.example
    file: $D/signed.zone
    dnssec-signing: on
    dnssec-policy: plain
  - domain: _tcp.mx.forged.signed.example
    file: $D/forged.zone
CONF
cat >"$D/example.zone" <<'ZONE'
$TTL 60
@ IN SOA ns.example. admin.example. 1 60 60 60 60
@ IN NS ns.example.
ns IN A 127.0.0.1
one IN MX 10 mx.one
mx.one IN A 127.0.0.2
down IN MX 10 dead.down
down IN MX 20 mx.down
dead.down IN A 127.0.0.90
mx.down IN A 127.0.0.91
mx.down IN A 127.0.0.3
equal IN MX 10 a.equal
equal IN MX 10 b.equal
a.equal IN A 127.0.0.4
b.equal IN A 127.0.0.5
null IN MX 0 .
nomx IN A 127.0.0.6
neither IN TXT "neither MX nor address"
alias IN MX 10 cname.alias
cname.alias IN CNAME mx.one
same1 IN MX 10 mx.same
same2 IN MX 50 mx.same
mx.same IN A 127.0.0.7
loop IN MX 10 test
loop IN MX 20 mx.one
test IN A 127.0.0.2
own IN MX 10 mx.own
mx.own IN A 127.0.0.60
literal IN MX 10 127.0.0.2.
busy IN MX 10 mx.busy
busy IN MX 20 mx.one
mx.busy IN A 127.0.0.8
shut IN MX 10 mx.shut
mx.shut IN A 127.0.0.9
oddtls IN MX 10 mx.oddtls
mx.oddtls IN A 127.0.0.10
slow IN MX 10 mx.slow
mx.slow IN A 127.0.0.11
six IN MX 10 mx.six
mx.six IN AAAA fd00::25
enforced IN MX 10 mx.enforced
enforced IN MX 5 mx.one
mx.enforced IN A 127.0.0.12
_mta-sts.enforced IN TXT "v=STSv1; id=1;"
mta-sts.enforced IN A 127.0.0.20
forged IN MX 10 mx.forged
mx.forged IN A 127.0.0.13
_mta-sts.forged IN TXT "v=STSv1; id=1;"
mta-sts.forged IN A 127.0.0.20
elsewhere IN MX 10 mx.one
_mta-sts.elsewhere IN TXT "v=STSv1; id=1;"
mta-sts.elsewhere IN A 127.0.0.20
trial IN MX 10 mx.one
_mta-sts.trial IN TXT "v=STSv1; id=1;"
mta-sts.trial IN A 127.0.0.20
hosted IN MX 10 mx.wrong.signed
ZONE

# arguments: certificate; stdout: SHA-256 of its public key, of itself
digest_key()
{
	openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d ' ' -f 1
}
digest_whole()
{
	openssl x509 -in "$1" -outform DER | sha256sum | cut -d ' ' -f 1
}
ZEROS=$(printf '0%.0s' {1..64})
cat >"$D/signed.zone" <<ZONE
\$TTL 60
\$ORIGIN signed.example.
@ IN SOA ns.example. admin.example. 1 60 60 60 60
@ IN NS ns.example.
ee IN MX 10 mx.ee
mx.ee IN A 127.0.0.1
_$MX_PORT._tcp.mx.ee IN TLSA 3 1 1 $(digest_key "$CA/postfix.pem")
ta IN MX 10 mx.ta
mx.ta IN A 127.0.0.30
_$MX_PORT._tcp.mx.ta IN TLSA 2 0 1 $(digest_whole "$CA/ca.pem")
alias IN MX 10 cname.alias
cname.alias IN CNAME mx.ta
wrong IN MX 10 mx.wrong
mx.wrong IN A 127.0.0.31
_$MX_PORT._tcp.mx.wrong IN TLSA 3 1 1 $ZEROS
two IN MX 10 mx.wrong
two IN MX 20 mx.ta
unusable IN MX 10 mx.unusable
mx.unusable IN A 127.0.0.32
_$MX_PORT._tcp.mx.unusable IN TLSA 1 1 1 $ZEROS
needs IN MX 10 mx.needs
mx.needs IN A 127.0.0.33
_$MX_PORT._tcp.mx.needs IN TLSA 1 1 1 $ZEROS
forged IN MX 10 mx.forged
mx.forged IN A 127.0.0.33
_tcp.mx.forged IN NS ns.example.
_tcp.mx.forged IN DS 12345 13 2 $ZEROS
plain IN MX 10 mx.plain
mx.plain IN A 127.0.0.33
stsee IN MX 10 mx.stsee
mx.stsee IN A 127.0.0.32
_$MX_PORT._tcp.mx.stsee IN TLSA 3 1 1 $(digest_key "$CA/self.pem")
_mta-sts.stsee IN TXT "v=STSv1; id=1;"
mta-sts.stsee IN A 127.0.0.20
stswrong IN MX 10 mx.stswrong
mx.stswrong IN A 127.0.0.31
_$MX_PORT._tcp.mx.stswrong IN TLSA 3 1 1 $ZEROS
_mta-sts.stswrong IN TXT "v=STSv1; id=1;"
mta-sts.stswrong IN A 127.0.0.20
ZONE
cat >"$D/forged.zone" <<ZONE
\$TTL 60
@ IN SOA ns.example. admin.example. 1 60 60 60 60
@ IN NS ns.example.
_$MX_PORT IN TLSA 3 1 1 $ZEROS
ZONE
service_spawn knot "$D/knot.log" knotd -c "$D/knot.conf" 2>/dev/null
KNOT=$SERVICE_PID
dns_answers()
{
	grep -q 'example.. zone file parsed\|server started' "$D/knot.log"
}
services_wait 10 dns_answers || { cat "$D/knot.log"; tap_bail 'the DNS server does not start'; }

# The resolver that validates: the signed zone is an island, which it knows by its key; what lies outside is
# not signed. Nothing is asked of anybody but Knot.
unbound_start()
{
	keymgr -c "$D/knot.conf" signed.example. ds >"$D/anchor" && [ -s "$D/anchor" ] || return 1
	{
		cat <<-CONF
			server:
			    interface: 127.0.0.1@$UNBOUND_PORT
			    directory: "$D"
			    chroot: ""
			    username: ""
			    pidfile: ""
			    use-syslog: no
			    do-daemonize: no
			    do-not-query-localhost: no
			    do-ip6: no
			    module-config: "validator iterator"
			    trust-anchor-file: "$D/anchor"
			    val-log-level: 2
			remote-control:
			    control-enable: no
		CONF
		for zone in . example. broken.example. signed.example. _tcp.mx.forged.signed.example.; do
			printf 'stub-zone:\n    name: "%s"\n    stub-addr: 127.0.0.1@%s\n' "$zone" "$DNS_PORT"
		done
	} >"$D/unbound.conf"
	service_spawn unbound "$D/unbound.log" unbound -d -c "$D/unbound.conf" 2>/dev/null
}
unbound_answers()
{
	grep -q 'start of service' "$D/unbound.log"
}
zone_is_signed()
{
	keymgr -c "$D/knot.conf" signed.example. ds 2>/dev/null | grep -q ' DS '
}
DANE=() DANE_DOMAINS=''
if [ -z "$NO_DANE" ]; then
	services_wait 10 zone_is_signed || { cat "$D/knot.log"; tap_bail 'the zone is not signed'; }
	unbound_start
	services_wait 10 unbound_answers || { cat "$D/unbound.log"; tap_bail 'the validating resolver does not start'; }
	DANE=("KAIRAN_DISPATCHER_RESOLVER=127.0.0.1:$UNBOUND_PORT" KAIRAN_MX_DANE=yes)
	DANE_DOMAINS='ee.signed ta.signed alias.signed wrong.signed two.signed unusable.signed needs.signed forged.signed
		plain.signed stsee.signed stswrong.signed hosted'
fi

# ---- mail servers ---------------------------------------------------------------------------------
# arguments: address, lines of its control file
server_set()
{
	local address=$1

	shift
	printf '%s\n' "$@" >"$D/control.$address.new"
	mv "$D/control.$address.new" "$D/control.$address"
	sleep 0.05
}

# arguments: address, lines of its control file
server_start()
{
	server_set "$@"
	service_spawn "mail server $1" "$D/server.log" "$PYTHON" tests/support/fake_relay.py --host "$1" --name "$1" \
		--log "$TRUTH" --control "$D/control.$1" --open "$D/open.$1" "$MX_PORT" 2>/dev/null
}

for host in 2 3 4 5 6 7; do
	server_start "127.0.0.$host"
done
server_start 127.0.0.8 'mode = greet421'
server_start 127.0.0.9
server_start 127.0.0.10 'tls = starttls' "cert = $CA/good.both" 'fault = starttls:raw:220 go\r\n+wait:0.05+close'
server_start 127.0.0.11 'mode = ok' 'delay_ms = 2000'
server_start 127.0.0.12 'tls = starttls' "cert = $CA/good.both"
server_start 127.0.0.30 'tls = starttls' "cert = $CA/ta.both"
server_start 127.0.0.31 'tls = starttls' "cert = $CA/wrong.both"
server_start 127.0.0.32 'tls = starttls' "cert = $CA/self.both"
server_start 127.0.0.33
server_start 127.0.0.13 'tls = starttls' "cert = $CA/self.both"

# policies by HTTPS, as files of the host's name
mkdir "$D/policies"
policy()
{
	printf '%s\r\n' "${@:2}" >"$D/policies/mta-sts.$1.example"
}
policy enforced 'version: STSv1' 'mode: enforce' 'mx: mx.enforced.example' 'max_age: 86400'
policy forged 'version: STSv1' 'mode: enforce' 'mx: *.forged.example' 'max_age: 86400'
policy elsewhere 'version: STSv1' 'mode: enforce' 'mx: mx.elsewhere.example' 'max_age: 86400'
policy stsee.signed 'version: STSv1' 'mode: enforce' 'mx: mx.stsee.signed.example' 'max_age: 86400'
policy stswrong.signed 'version: STSv1' 'mode: enforce' 'mx: mx.stswrong.signed.example' 'max_age: 86400'
policy trial 'version: STSv1' 'mode: testing' 'mx: mx.trial.example' 'max_age: 86400'
cat >"$D/web.py" <<'PY'
import http.server, os, ssl, sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = os.path.join(sys.argv[1], self.headers["Host"].split(":")[0])
        if self.path != "/.well-known/mta-sts.txt" or not os.path.exists(path):
            self.send_error(404)
            return
        with open(path, "rb") as f:
            body = f.read()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.20", int(sys.argv[2])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PY
service_spawn policies "$D/web.log" "$PYTHON" "$D/web.py" "$D/policies" "$STS_PORT" "$CA/web.both" 2>/dev/null
web_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.20/$STS_PORT") 2>/dev/null
}
services_wait 10 web_answers || tap_bail 'the server of policies does not answer'
last_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.13/$MX_PORT") 2>/dev/null
}
services_wait 10 last_answers || tap_bail 'the mail servers do not answer'

# ---- the dispatcher ---------------------------------------------------------------------------------
MX=(KAIRAN_DISPATCHER_TRANSPORT=mx "KAIRAN_DISPATCHER_RESOLVER=127.0.0.1:$DNS_PORT" "KAIRAN_MX_PORT=$MX_PORT"
	KAIRAN_MX_PRIVATE=yes "KAIRAN_MX_STS_PORT=$STS_PORT" "KAIRAN_MX_CA_FILE=$CA/ca.pem" KAIRAN_MX_REST_S=1 KAIRAN_MX_LONGEST_REST_S=2
	KAIRAN_MX_IDLE_S=1 KAIRAN_MX_CONNECT_TIMEOUT_S=2 KAIRAN_DISPATCHER_RETRY_LADDER=1s
	'KAIRAN_MX_SOURCE=127.0.0.50 out-a.example, 127.0.0.60 out-b.example, ::1 out-c.example')

# arguments: domain; stdout: states of its recipients in the run, with their counts
states()
{
	one "coalesce(string_agg(state || ' ' || n, ', ' ORDER BY state), 'nobody') FROM (SELECT state, count(*) AS n
		FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@$1.example' GROUP BY state) AS t"
}

# arguments: domain, columns of send; stdout: their different values
said()
{
	one "string_agg(DISTINCT concat_ws(' ', $2), '; ') FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@$1.example'"
}

# arguments: domain, states, seconds
states_wait()
{
	local end=$((SECONDS + ${3:-15}))

	until [ "$(states "$1")" = "$2" ]; do
		[ "$SECONDS" -lt "$end" ] || { tap_note "$1: $(states "$1"): $(said "$1" 'enhanced, reason, reply')"; return 1; }
		sleep 0.3
	done
}

# arguments: domain; stdout: the servers that took its mail in the run
servers_of()
{
	truth_load
	one "coalesce(string_agg(DISTINCT j ->> 'relay', ', '), 'none') FROM test.line
		WHERE (j ->> 'run')::int = $RUN AND j -> 'to' ->> 0 LIKE '%@$1.example'"
}

DOMAINS='one down nomx alias same1 same2 busy oddtls six null neither gone broken loop own literal enforced forged elsewhere trial'
for domain in $DOMAINS $DANE_DOMAINS; do
	customers_add 3 "$domain.example"
done
customers_add 40 equal.example
campaign_add direct
# so many bad domains would pause the run
sql -c "UPDATE kairan.stream SET bounce_line_per_cent = 99"
producer_start
dispatcher_start d1 "${MX[@]}" "${DANE[@]+"${DANE[@]}"}"
RUN=$(run_add direct 1)

tap_ok 'one mail server: sent' states_wait one 'sent 3' 20
tap_is "$(servers_of one)" 127.0.0.2 '  ... to it'
tap_is "$(said one remote)" mx.one.example '  ... which is named'
tap_ok 'the first server and the first address of the second are down: sent' states_wait down 'sent 3'
tap_is "$(servers_of down)" 127.0.0.3 '  ... to what is left'
tap_ok 'two servers of equal preference: sent' states_wait equal 'sent 40'
tap_is "$(servers_of equal)" '127.0.0.4, 127.0.0.5' '  ... to both'
tap_ok 'no MX: sent' states_wait nomx 'sent 3'
tap_is "$(servers_of nomx)" 127.0.0.6 '  ... to the address of the domain'
tap_ok 'F32: an MX that is a CNAME: sent' states_wait alias 'sent 3'
tap_ok 'domains with the same mail server: sent' states_wait same1 'sent 3'
tap_ok '  ... both' states_wait same2 'sent 3'
tap_ok 'a server that greets with 421, and a second one: sent' states_wait busy 'sent 3'
tap_is "$(servers_of busy)" 127.0.0.2 '  ... to the second'
tap_ok 'STARTTLS that does not work: sent' states_wait oddtls 'sent 3'
tap_like "$(cat "$D/dispatcher.log")" 'mx.oddtls.example offers TLS that does not work' '  ... in clear, and this is told'
tap_ok 'a mail server with an address of IPv6 that leads nowhere: deferred' states_wait six 'deferred 3'
tap_ok 'F32: null MX: failed' states_wait null 'failed 3'
tap_is "$(said null 'code, enhanced, class')" '556 5.1.10 hard' '  ... for good'
tap_ok 'F32: no such domain: failed' states_wait gone 'failed 3'
tap_is "$(said gone 'enhanced, class, tries')" '5.1.2 hard 1' '  ... for good, when it is heard the second time'
tap_ok 'F32: neither MX nor address: failed' states_wait neither 'failed 3'
tap_is "$(said neither 'enhanced, class, tries')" '5.1.2 hard 1' '  ... likewise'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key LIKE '%@gone.example' OR address_key LIKE '%@null.example'
	OR address_key LIKE '%@neither.example'")" 9 '  ... and all of these are suppressed'
tap_ok 'F32: DNS does not answer: deferred' states_wait broken 'deferred 3'
tap_is "$(said broken 'enhanced, reason, tries')" '4.4.3 network 0' '  ... without a step of the ladder'
tap_ok 'F32: an MX that only looks like an address: deferred' states_wait literal 'deferred 3'
tap_is "$(said literal 'enhanced')" '4.4.4' '  ... since none is usable'
tap_is "$(servers_of literal)" none '  ... and nobody is connected to'
tap_ok 'F32: a mail server at one of our own addresses: deferred' states_wait own 'deferred 3'
tap_like "$(said own reply)" 'for this host itself' '  ... since it would be a loop'

# ---- MTA-STS ------------------------------------------------------------------------------------------
tap_ok 'MTA-STS, enforced: sent' states_wait enforced 'sent 3'
tap_is "$(servers_of enforced)" 127.0.0.12 '  ... not to the preferred server, which is not in the policy'
truth_load
tap_is "$(one "bool_and((j ->> 'tls')::bool) FROM test.line WHERE j ->> 'relay' = '127.0.0.12'")" t '  ... encrypted'
tap_ok 'MTA-STS, a server without a good certificate: deferred' states_wait forged 'deferred 3'
tap_like "$(said forged reply)" 'certificate' '  ... because of it'
tap_is "$(servers_of forged)" none '  ... and nothing leaves'
tap_ok 'MTA-STS, no server in the policy: deferred' states_wait elsewhere 'deferred 3'
tap_is "$(said elsewhere enhanced)" 4.7.5 '  ... because of it'
tap_ok 'MTA-STS in testing: sent all the same' states_wait trial 'sent 3'
tap_like "$(cat "$D/dispatcher.log")" 'mx.one.example is not in the policy of trial.example' '  ... and told'
server_set 127.0.0.13 'tls = starttls' "cert = $CA/good.both"
tap_ok 'a certificate of the right authority for another name does not help' \
	wait_for 15 "count(*) = 3 FROM kairan.send WHERE run_id = $RUN AND reply LIKE '%not for mx.forged%'"
ca_issue "$CA" forged DNS:mx.forged.example
cat "$CA/forged.key" "$CA/forged.pem" >"$CA/forged.both"
server_set 127.0.0.13 'tls = starttls' "cert = $CA/forged.both"
tap_ok 'with a good one the mail leaves' states_wait forged 'sent 3'

# ---- DANE -----------------------------------------------------------------------------------------------
# arguments: domain; stdout: whether its mail came encrypted
encrypted()
{
	one "bool_and((j ->> 'tls')::bool) FROM test.line WHERE (j ->> 'run')::int = $RUN AND j -> 'to' ->> 0 LIKE '%@$1.example'"
}
if [ -n "$NO_DANE" ]; then
	tap_skip 'DANE' "$NO_DANE"
else
	tap_ok 'DANE-EE, a certificate of nobody for another name: sent' states_wait ee.signed 'sent 3'
	tap_is "$(postfix_count "$D" ee.signed.example)" 3 '  ... to Postfix'
	tap_ok '  ... encrypted' grep -q 'TLS connection established from' "$POSTFIX_LOG"
	tap_ok 'DANE-TA: sent' states_wait ta.signed 'sent 3'
	tap_ok '  ... also where MX names an alias of the server' states_wait alias.signed 'sent 3'
	tap_is "$(servers_of ta.signed), $(servers_of alias.signed), $(encrypted ta.signed)" '127.0.0.30, 127.0.0.30, t' '  ... encrypted'
	tap_ok 'a certificate that no record matches: deferred' states_wait wrong.signed 'deferred 3'
	tap_like "$(said wrong.signed 'enhanced, reply')" '^4.7.5 DANE: certificate of mx.wrong.*TLSA' '  ... because of it'
	tap_is "$(said wrong.signed tries)" 0 '  ... without a step of the ladder'
	tap_ok '  ... also for an unsigned domain that is hosted there' states_wait hosted 'deferred 3'
	tap_ok '  ... and where another server of the domain is well: sent' states_wait two.signed 'sent 3'
	tap_is "$(servers_of two.signed)" 127.0.0.30 '  ... to that one'
	tap_ok 'records, none usable, self-signed: sent' states_wait unusable.signed 'sent 3'
	tap_is "$(servers_of unusable.signed), $(encrypted unusable.signed)" '127.0.0.32, t' '  ... encrypted'
	tap_ok 'records, and a server without TLS: deferred' states_wait needs.signed 'deferred 3'
	tap_like "$(said needs.signed reply)" '^DANE: .*STARTTLS' '  ... because of it'
	tap_ok 'forged records: deferred' states_wait forged.signed 'deferred 3'
	tap_like "$(said forged.signed reply)" '^DANE: DNS does not answer' '  ... because of it'
	tap_is "$(servers_of wrong.signed), $(servers_of hosted), $(servers_of needs.signed), $(servers_of forged.signed)" \
		'none, none, none, none' '  ... and nothing leaves for any of these'
	tap_ok 'a signed name without records: sent' states_wait plain.signed 'sent 3'
	tap_is "$(servers_of plain.signed), $(encrypted plain.signed)" '127.0.0.33, f' '  ... in clear, as nothing asks for more'
	tap_ok 'DANE decides before an enforced MTA-STS: what it verifies is sent' states_wait stsee.signed 'sent 3'
	tap_ok '  ... and what it refuses is deferred' states_wait stswrong.signed 'deferred 3'
	tap_like "$(said stswrong.signed reply)" '^DANE: certificate' '  ... with a certificate that MTA-STS would take'
fi

tap_ok 'F32: our own name is the first MX: failed' states_wait loop 'failed 3'
tap_is "$(said loop 'enhanced, class')" '5.4.6 config' '  ... as our own trouble, not the address'
one "kairan.run_move($RUN, '{running}', 'cancelled')" >"$D/out"
if [ -z "$NO_DANE" ]; then
	"$PYTHON" tests/support/maildir_truth.py --name postfix "$POSTFIX_MAIL" >>"$TRUTH"
fi
run_check "$RUN" 'the ground truth agrees, for all domains'
tap_is "$(one "count(DISTINCT remote) FROM kairan.send WHERE run_id = $RUN AND state = 'in_doubt'")" 0 'nobody is in doubt'

# ---- a restart without the policy host -------------------------------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'DELETE FROM kairan.customer'
customers_add 3 enforced.example
mv "$D/policies/mta-sts.enforced.example" "$D/policies/away"
dispatcher_start d1 "${MX[@]}" "${DANE[@]+"${DANE[@]}"}"
RUN=$(run_add direct restarted)
tap_ok 'MTA-STS: the policy cannot be had behind a restart: sent' states_wait enforced 'sent 3' 30
tap_is "$(servers_of enforced)" 127.0.0.12 '  ... under the policy of before'
mv "$D/policies/away" "$D/policies/mta-sts.enforced.example"

# ---- one slow destination, and one that is busy in the middle -------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'DELETE FROM kairan.customer'
customers_add 40 slow.example
customers_add 300 one.example
customers_add 300 same1.example
dispatcher_start d2 "${MX[@]}" KAIRAN_MX_CONNECTIONS_PER_DESTINATION=2 KAIRAN_MX_WAITING_PER_DESTINATION=10 \
	KAIRAN_MX_CONNECTIONS=5 KAIRAN_MX_PATIENCE_S=5
RUN=$(run_add direct 2)
tap_ok 'a destination that takes 2 s a mail holds up nobody' states_wait one 'sent 300' 60
tap_ok '  ... of no other domain' states_wait same1 'sent 300' 60
tap_is "$(one "count(*) < 40 FROM kairan.send WHERE run_id = $RUN AND address LIKE '%@slow.example' AND state = 'sent'")" t '  ... while it goes on'
tap_ok '  ... its others are put off' wait_for 15 "count(*) > 5 FROM kairan.send WHERE run_id = $RUN AND state = 'deferred' AND tries = 0
	AND reply LIKE 'waits for its turn%'"
server_set 127.0.0.11 'mode = ok'
tap_ok '  ... and sent when it is fast again' states_wait slow 'sent 40' 90
run_wait "$RUN" finished 10 || true
run_check "$RUN" '  ... exactly once'

server_set 127.0.0.9 'fault = rcpt:raw:450 4.7.1 too many connections, slow down\r\n' 'faults = 3'
sql -c 'DELETE FROM kairan.customer'
customers_add 20 shut.example
RUN=$(run_add direct 3)
tap_ok 'a server that says to slow down: sent after its rest' states_wait shut 'sent 20' 30
tap_like "$(cat "$D/dispatcher.log")" 'destination unwell host=mx.shut.example phase=rcpt code=450' '  ... which is told'
server_set 127.0.0.9 'fault = mail:raw:421 4.4.2 enough for now\r\n+fin' 'faults = 6'
RUN=$(run_add direct 4)
tap_ok 'a server that closes by 421: sent' states_wait shut 'sent 20' 30
tap_is "$(said shut tries)" 0 '  ... without a step of the ladder'
run_check "$RUN" '  ... exactly once'

# ---- connections that several dispatchers share -----------------------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
server_set 127.0.0.9 'mode = ok'
server_set 127.0.0.11 'mode = ok' 'delay_ms = 400'
sql -c 'DELETE FROM kairan.customer'
customers_add 300 slow.example # enough for longer than leases live
SHARED=(KAIRAN_MX_CONNECTIONS_PER_DESTINATION=3 KAIRAN_MX_WAITING=20 KAIRAN_MX_WAITING_PER_DESTINATION=10 KAIRAN_MX_PATIENCE_S=60)
dispatcher_start e1 "${MX[@]}" "${SHARED[@]}"
FIRST=$DISPATCHER
dispatcher_start e2 "${MX[@]}" "${SHARED[@]}"
tap_ok 'two dispatchers know of each other' wait_for 20 "count(*) = 2 FROM kairan.dispatcher WHERE stopped_at IS NULL AND connects"
both_count()
{
	[ "$(grep -c 'connections are shared dispatchers=2' "$D/dispatcher.log")" = 2 ]
}
services_wait 20 both_count || tap_note 'one of them does not know yet'
: >"$D/open.127.0.0.11"
# arguments: how many connections were open at most at the slow server
peak_is()
{
	[ "$(sort -n "$D/open.127.0.0.11" | tail -n 1)" = "$1" ]
}
RUN=$(run_add direct shared)
tap_ok 'two dispatchers send to a destination' \
	wait_for 30 "count(DISTINCT owner) = 2 AND count(*) > 15 FROM kairan.send WHERE run_id = $RUN AND state = 'sent'"
tap_ok 'over as many connections as one may have' peak_is 3
kill -9 "$FIRST"
wait "$FIRST" 2>/dev/null || true
one "kairan.dispatcher_bury(id) FROM kairan.dispatcher WHERE name = 'e1' AND stopped_at IS NULL" >"$D/out"
: >"$D/open.127.0.0.11"
tap_ok 'one is killed: when its leases have run out the other one has all' services_wait 40 peak_is 3
server_set 127.0.0.11 'mode = ok'
tap_ok 'and sends what is left' wait_for 40 "queued = 0 AND sending = 0 AND deferred = 0 FROM kairan.campaign_progress WHERE run_id = $RUN"
run_check "$RUN" 'nobody got it twice'

# ---- limits of our own addresses, which two dispatchers share -----------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
server_set 127.0.0.11 'mode = ok' 'delay_ms = 400'
sql -c 'DELETE FROM kairan.customer'
customers_add 40 slow.example
LIMITED=('KAIRAN_MX_SOURCE=127.0.0.50 out-a.example, 127.0.0.60 out-b.example' 'KAIRAN_MX_SOURCE_RATES=127.0.0.50=4/s, 127.0.0.60=2/s'
	KAIRAN_MX_CONNECTIONS_PER_SOURCE=2 KAIRAN_MX_CONNECTIONS_PER_DESTINATION=10)
: >"$D/open.127.0.0.11"
dispatcher_start f1 "${MX[@]}" "${LIMITED[@]}"
FIRST=$DISPATCHER
dispatcher_start f2 "${MX[@]}" "${LIMITED[@]}"
services_wait 20 wait_for 1 "count(*) = 2 FROM kairan.dispatcher WHERE stopped_at IS NULL AND connects" || tap_note 'one of them is not there'
RUN=$(run_add direct sources)
tap_ok 'two dispatchers with limits of their addresses: sent' states_wait slow 'sent 40' 60
run_check "$RUN" '  ... exactly once'
tap_is "$(one "string_agg(DISTINCT j ->> 'client', ', ' ORDER BY j ->> 'client') FROM test.line WHERE (j ->> 'run')::int = $RUN")" \
	'127.0.0.50, 127.0.0.60' '  ... from both'
# two of an address may leave at once, one for each dispatcher
slowly="bool_and(took >= (n - 2) / per_s - 1) FROM (SELECT count(*) AS n, max((j ->> 'at')::float8) - min((j ->> 'at')::float8) AS took,
	CASE j ->> 'client' WHEN '127.0.0.50' THEN 4.0 ELSE 2.0 END AS per_s FROM test.line WHERE (j ->> 'run')::int = $RUN GROUP BY j ->> 'client') AS t"
tap_is "$(one "$slowly")" t '  ... each no faster than its rate'
tap_ok '  ... and both over no more connections than theirs' test "$(sort -n "$D/open.127.0.0.11" | tail -n 1)" -le 4
env "${LIMITED[@]}" "$BIN/kairan" pace show >"$D/out" 2>&1
tap_like "$(cat "$D/out")" 'source +127.0.0.50 4/s, at most 2 connections' 'pace show lists the limits of addresses'
service_stop "$FIRST" || tap_note "the first dispatcher ended with $?"
server_set 127.0.0.11 'mode = ok'

# ---- pause, private addresses, no DNS ------------------------------------------------------------------
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'DELETE FROM kairan.customer'
customers_add 20 shut.example
dispatcher_start d3 "${MX[@]}" KAIRAN_MX_PRIVATE=no
RUN=$(run_add direct 5)
tap_ok 'F32: addresses that are not of the public Internet: deferred' states_wait shut 'deferred 20'
tap_like "$(said shut reply)" 'private' '  ... because of it'
tap_is "$(servers_of shut)" none '  ... and nobody is connected to'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
printf 'group\tsmall\t1\t5\t100/s\toff\tUTC\ttest 2026-11 guess\nmx\tmx.shut.example\tsmall\ttest 2026-11 guess\n' \
	>"$D/providers.tsv"
: >"$D/open.127.0.0.9"
dispatcher_start d4 "${MX[@]}" KAIRAN_PACE_PROVIDERS="$D/providers.tsv"
tap_ok 'once they are allowed: sent' states_wait shut 'sent 20' 20
tap_is "$(sort "$D/open.127.0.0.9" | uniq -c | xargs)" '4 1' '  ... by one connection at a time, five mails each, as the table of providers says'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
sql -c 'DELETE FROM kairan.customer'
for domain in one same1 equal down nomx slow; do
	customers_add 30 "$domain.example"
done
for host in 2 3 4 5 6 7 11; do
	server_set "127.0.0.$host" 'delay_ms = 200'
done
dispatcher_start few "${MX[@]}" KAIRAN_MX_CONNECTIONS=2000 KAIRAN_MX_CONNECTIONS_PER_DESTINATION=20 prlimit --nofile=48:48
RUN=$(run_add direct descriptors)
tap_ok 'F39: fewer descriptors than mx.connections: all sent' \
	wait_for 60 "count(*) = 180 FROM kairan.send WHERE run_id = $RUN AND state = 'sent'"
tap_is "$(grep -c 'destination unwell.*too many open files' "$D/dispatcher.log" || true)" 0 '  ... and no destination is blamed'
tap_like "$(cat "$D/dispatcher.log")" 'descriptors are allowed, 20[0-9][0-9] may be needed' '  ... the need is told at the start'
tap_like "$(cat "$D/dispatcher.log")" 'no descriptor for another connection' '  ... and when it comes to it'
run_check "$RUN" '  ... exactly once'
for host in 2 3 4 5 6 7 11; do
	server_set "127.0.0.$host" 'mode = ok'
done
service_stop "$KNOT" || true
sql -c 'DELETE FROM kairan.customer'
for i in $(seq 1 30); do
	customers_add 1 "d$i.example"
done
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start d5 "${MX[@]}" KAIRAN_DISPATCHER_RETRY_LADDER=1h
RUN=$(run_add direct 6)
tap_ok 'F32: a resolver that answers nobody is told' \
	wait_for 20 "trouble ~ 'DNS does not answer' FROM kairan.dispatcher ORDER BY id DESC LIMIT 1"
one "kairan.run_move($RUN, '{running}', 'paused')" >"$D/out"
tap_ok '  ... and a pause gives all of them back' wait_for 15 "count(*) = 0 FROM kairan.send WHERE run_id = $RUN AND state = 'sending'"
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state NOT IN ('queued', 'deferred')")" 0 '  ... nobody has failed by it'

service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"

# ---- two networks, port 25 ---------------------------------------------------------------------------
# 203.0.113.0/24 stands for the public Internet here, so that private addresses stay refused.
namespaces()
{
	service_spawn 'our network' "$D/ns.log" unshare -n sleep 600 2>/dev/null
	OUR=$SERVICE_PID
	service_spawn 'their network' "$D/ns.log" unshare -n sleep 600 2>/dev/null
	THEIR=$SERVICE_PID
	services_wait 5 nsenter -t "$OUR" -n true && services_wait 5 nsenter -t "$THEIR" -n true || return 1
	[ "$(readlink "/proc/$OUR/ns/net")" != "$(readlink /proc/self/ns/net)" ] || return 1
	ip link add "ours$$" netns "$OUR" type veth peer name "their$$" netns "$THEIR" || return 1
	nsenter -t "$OUR" -n sh -c "ip addr add 203.0.113.1/24 dev ours$$ && ip addr add 203.0.113.2/24 dev ours$$ &&
		ip link set ours$$ up && ip link set lo up && ip route add blackhole 198.51.100.0/24" || return 1
	# nobody answers at an address of IPv6 that has a route
	NO_SIX=$(nsenter -t "$OUR" -n sh -c "ip -6 addr add 2001:db8:33::1/64 dev ours$$ nodad &&
		ip -6 neigh add 2001:db8:33::25 lladdr 02:00:00:00:00:25 dev ours$$ nud permanent" 2>&1) && NO_SIX='' || NO_SIX=${NO_SIX:-none}
	nsenter -t "$THEIR" -n sh -c "ip addr add 203.0.113.25/24 dev their$$ && ip addr add 203.0.113.26/24 dev their$$ &&
		ip addr add 203.0.113.53/24 dev their$$ && ip link set their$$ up && ip link set lo up"
}
there_is()
{
	nsenter -t "$OUR" -n bash -c "exec 3<>/dev/tcp/203.0.113.25/25" 2>/dev/null
}
case ${KAIRAN_REDIS_URL:-} in unix:*) ;; *) NO_NAMESPACE='Redis is not at a socket here' ;; esac
if [ -z "${NO_NAMESPACE:-}" ] && ! namespaces >"$D/ns.out" 2>&1; then
	NO_NAMESPACE="no network namespaces here: $(head -n 1 "$D/ns.out" "$D/ns.log" | tr '\n' ' ')"
fi
if [ -n "${NO_NAMESPACE:-}" ]; then
	tap_skip 'mail between two networks, on port 25' "$NO_NAMESPACE"
else
	mkdir "$D/knot3"
	cat >"$D/knot3.conf" <<CONF
server:
    listen: 203.0.113.53@53
    rundir: $D/knot3
database:
    storage: $D/knot3
zone:
  - domain: example
    file: $D/net.zone
CONF
	cat >"$D/net.zone" <<'ZONE'
$TTL 60
@ IN SOA ns.example. admin.example. 1 60 60 60 60
@ IN NS ns.example.
ns IN A 203.0.113.53
far IN MX 10 dead.far
far IN MX 20 mx.far
dead.far IN A 203.0.113.99
mx.far IN A 203.0.113.25
far2 IN MX 10 mx2.far
mx2.far IN A 203.0.113.26
hole IN MX 10 dead.hole
hole IN MX 20 mx.far
dead.hole IN A 198.51.100.25
both IN MX 10 mx.both
mx.both IN AAAA 2001:db8:33::25
mx.both IN A 203.0.113.26
inside IN MX 10 mx.inside
mx.inside IN A 127.0.0.2
ZONE
	service_spawn knot "$D/knot3.log" nsenter -t "$THEIR" -n knotd -c "$D/knot3.conf" 2>/dev/null
	for host in 25 26; do
		service_spawn "mail server $host" "$D/server.log" nsenter -t "$THEIR" -n "$PYTHON" tests/support/fake_relay.py \
			--host "203.0.113.$host" --name "203.0.113.$host" --log "$TRUTH" 25 2>/dev/null
	done
	services_wait 10 there_is || tap_bail 'the mail server in the other network does not answer'
	for domain in far far2 hole both inside; do
		customers_add 10 "$domain.example"
	done
	sql -c "DELETE FROM kairan.customer WHERE email NOT SIMILAR TO '%@(far|far2|hole|both|inside).example'"
	service_spawn 'dispatcher n1' "$D/dispatcher.log" nsenter -t "$OUR" -n env KAIRAN_DISPATCHER_NAME=n1 \
		KAIRAN_DISPATCHER_TRANSPORT=mx KAIRAN_DISPATCHER_RESOLVER=203.0.113.53 KAIRAN_MX_REST_S=1 KAIRAN_MX_LONGEST_REST_S=2 \
		KAIRAN_MX_CONNECT_TIMEOUT_S=2 'KAIRAN_MX_SOURCE=203.0.113.1 out1.example, 203.0.113.2 out2.example, 2001:db8:33::1 out6.example' \
		"$BIN/kairan-dispatcher" 2>/dev/null
	DISPATCHER=$SERVICE_PID
	RUN=$(run_add direct 7)
	tap_ok 'two networks, port 25, the first MX unreachable: sent' states_wait far 'sent 10' 30
	tap_is "$(servers_of far)" 203.0.113.25 '  ... to the second'
	tap_ok '  ... and another domain' states_wait far2 'sent 10'
	tap_ok 'F33: no way to the first MX (a blackhole route): sent' states_wait hole 'sent 10'
	tap_is "$(servers_of hole)" 203.0.113.25 '  ... to the second'
	if [ -n "$NO_SIX" ]; then
		tap_skip 'F33: an address of IPv6 that nobody answers at' "$NO_SIX"
	else
		tap_ok 'F33: an address of IPv6 that nobody answers at, beside one of IPv4: sent' states_wait both 'sent 10'
		tap_is "$(servers_of both) $(said both tries)" '203.0.113.26 0' '  ... to that, without a step of the ladder'
	fi
	tap_ok 'an MX that leads to the loopback: deferred' states_wait inside 'deferred 10'
	run_check "$RUN" '  ... the ground truth agrees'
	programs_stopped '  ... and the dispatcher ends well' "$DISPATCHER"
fi

programs_stopped 'the producer ends well, and no dispatcher was complained about' "$PRODUCER"
tap_done
