#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Keys and records with tools that are not ours: signatures of many shapes verified by dkimpy and by
# OpenDKIM, records served by Knot from a zone file of what `kairan dkim new` printed; `kairan doctor`
# against that server; rotation of token keys. TAP, run by prove.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh

BIN=${KAIRAN_BIN:-bin}
PYTHON=/usr/bin/python3
[ -x "$BIN/kairan" ] || tap_skip_all "$BIN/kairan is not built"
services_dir || tap_bail 'no directory'
D=$SERVICES_DIR
export KAIRAN_CONFIG=$D/kairan.conf KAIRAN_DKIM_DIR=$D/dkim KAIRAN_KEYS_FILE=$D/token.key
export KAIRAN_FEEDBACK_DOMAIN=bounce.example.jp KAIRAN_RELAY_HOST=127.0.0.1
: >"$KAIRAN_CONFIG"

kairan()
{
	"$BIN/kairan" "$@"
}

# arguments: Python expression over the JSON document j on standard input
json()
{
	"$PYTHON" -c 'import json, sys; j = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"
}

# What a command says is not for the harness. arguments: a command
quiet()
{
	"$@" >"$D/out" 2>&1
}

# ---- signatures of every shape ------------------------------------------------------------------

samples=''
for kind in san release; do
	[ -z "$samples" ] && [ -x build/$kind/tests/unit/test_dkim ] && samples=build/$kind/tests/unit/test_dkim
done
mkdir "$D/samples"
[ -z "$samples" ] || KAIRAN_DKIM_DIR=$D/samples "$samples" >"$D/out"
if [ -z "$samples" ]; then
	tap_skip 'signatures of many shapes verify with dkimpy' 'test_dkim is not built'
elif "$PYTHON" -c 'import dkim, nacl' 2>/dev/null; then
	tap_is "$("$PYTHON" tests/support/dkim_verify.py "$D/samples/records" 2 "$D/samples")" '16 messages' \
		'signatures of many shapes verify with dkimpy, by RSA and Ed25519, and break when they must'
else
	tap_skip 'signatures of many shapes verify with dkimpy' 'python3-dkim or python3-nacl is not installed'
fi

# ---- keys ---------------------------------------------------------------------------------------

kairan dkim new example.jp --selector k1 >"$D/zone.k1" 2>"$D/out"
tap_is "$(grep -c '_domainkey.example.jp. 3600 IN TXT' "$D/zone.k1")" 2 'keys are made for a domain, and two records printed'
tap_is "$(stat -c '%a %n' "$D"/dkim/example.jp/* | sed "s|$D/||")" "$(printf '600 dkim/example.jp/k1e.new\n600 dkim/example.jp/k1r.new')" \
	'closed to others, not in use yet'
tap_ok 'OpenSSL reads the RSA key' openssl pkey -in "$D/dkim/example.jp/k1r.new" -noout -check
tap_ok 'and the Ed25519 key' openssl pkey -in "$D/dkim/example.jp/k1e.new" -noout
tap_is "$(kairan dkim new example.jp --selector k1 2>&1 >"$D/out" | sed "s|$D/||")" \
	'kairan: there is a key already, dkim/example.jp/k1r.new; choose another name with --selector' \
	'the same selector is refused'
status=0
kairan dkim new '../etc' >"$D/out" 2>&1 || status=$?
tap_is "$status" 2 'what is no domain is refused'

# ---- a DNS server with what was printed ----------------------------------------------------------

if ! command -v knotd >/dev/null; then
	tap_skip 'doctor against a DNS server' 'knot is not installed'
	tap_done
	exit
fi
DNS_PORT=$(services_free_port)
MX_PORT=$(services_free_port)
mkdir "$D/knot"
cat >"$D/knot.conf" <<CONF
server:
    listen: 127.0.0.1@$DNS_PORT
    rundir: $D/knot
database:
    storage: $D/knot
zone:
  - domain: example.jp
    file: $D/example.jp.zone
  - domain: 2.0.192.in-addr.arpa
    file: $D/reverse.zone
CONF
zone_head()
{
	printf '$TTL 60\n@ IN SOA ns.example.jp. admin.example.jp. %s 60 60 60 60\n@ IN NS ns.example.jp.\n' "$(date +%s%N | cut -c6-14)"
}
{
	zone_head
	cat <<ZONE
ns IN A 127.0.0.1
@ IN MX 10 mx
mx IN A 127.0.0.1
out IN A 192.0.2.25
bounce IN MX 10 mx
bounce IN TXT "v=spf1 include:_spf.example.jp ~all"
_spf IN TXT "v=spf1 ip4:192.0.2.0/28 " "ip4:192.0.2.25 -all"
_dmarc IN TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.jp"
ZONE
	cat "$D/zone.k1"
} >"$D/example.jp.zone"
{
	zone_head
	echo '25 IN PTR out.example.jp.'
	echo '26 IN PTR mx.example.jp.'
} >"$D/reverse.zone"
service_spawn knot "$D/knot.log" knotd -c "$D/knot.conf" 2>/dev/null
KNOT=$SERVICE_PID
dns_answers()
{
	{ kairan doctor example.jp --dns "127.0.0.1:$DNS_PORT" --probe no || true; } | grep -q '^ok *mx '
}
services_wait 10 dns_answers || { cat "$D/knot.log"; kairan doctor example.jp --dns "127.0.0.1:$DNS_PORT" --probe no; tap_bail 'the DNS server does not answer'; }
tap_ok 'a DNS server loads the records as they were printed' grep -q 'example.jp.*loaded' "$D/knot.log"

# a FAKE mail server, which only greets: in clear at a port and at a socket, within TLS at another port
ca_make "$D/ca" && ca_issue "$D/ca" relay DNS:relay.example || tap_bail 'no certificate'
TLS_PORT=$(services_free_port)
cat >"$D/greeter.py" <<'PY'
import select, socket, ssl, sys
port, path, tls_port, cert = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert + ".pem", cert + ".key")
tls = socket.create_server(("127.0.0.1", int(tls_port)))
unix = socket.socket(socket.AF_UNIX)
unix.bind(path)
unix.listen()
servers = [socket.create_server(("127.0.0.1", int(port))), unix, tls]
while True:
    for s in select.select(servers, [], [])[0]:
        c, _ = s.accept()
        try:
            c.settimeout(20)
            if s is tls:
                c = context.wrap_socket(c, server_side=True)
            c.sendall(b"220 fake.example\r\n")
            c.recv(10)
        except OSError:
            pass  # who only looked whether somebody listens, or does not trust the certificate
        c.close()
PY
service_spawn greeter "$D/greeter.log" "$PYTHON" "$D/greeter.py" "$MX_PORT" "$D/greeter.sock" "$TLS_PORT" "$D/ca/relay" 2>/dev/null
export KAIRAN_RELAY_PORT=$MX_PORT
relay_greets()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$TLS_PORT") 2>/dev/null
}
services_wait 10 relay_greets || tap_bail 'the fake mail server does not answer'

# arguments of doctor; prints verdicts as "check verdict", sorted
verdicts()
{
	kairan doctor --dns "127.0.0.1:$DNS_PORT" --probe "127.0.0.1:$MX_PORT" --json "$@" >"$D/doctor.json" || true
	json '", ".join(sorted(c["check"] + " " + c["verdict"] for c in j["checks"] if c["check"] not in ("clock", "file")))' <"$D/doctor.json"
}

tap_is "$(verdicts example.jp --ip 192.0.2.25)" \
	'alignment warning, dkim failed, dmarc ok, mx ok, port25 ok, ptr ok, relay ok, spf ok' \
	'doctor: no key signs yet, the rest is well'
tap_ok 'dkim use finds the records and puts the keys to use' quiet kairan dkim use example.jp --dns "127.0.0.1:$DNS_PORT"
tap_is "$(verdicts example.jp --ip 192.0.2.25)" \
	'alignment ok, dkim ok, dkim ok, dmarc ok, mx ok, port25 ok, ptr ok, relay ok, spf ok' 'now all is well'
tap_ok 'which exit code 0 says' quiet kairan doctor --dns "127.0.0.1:$DNS_PORT" --probe no --ip 192.0.2.25
tap_is "$(verdicts example.jp --ip 192.0.2.26,203.0.113.9)" \
	'alignment ok, dkim ok, dkim ok, dmarc ok, mx ok, port25 ok, ptr failed, ptr skipped, relay ok, spf failed, spf failed' \
	'an address that may not send, one whose name leads elsewhere, one for which DNS refuses'
tap_like "$(json '[c["advice"] for c in j["checks"] if c["check"] == "spf"][0]' <"$D/doctor.json")" \
	'"v=spf1 include:_spf.example.jp ip4:192.0.2.26 ~all"' 'the advice is the record with the address in it'
status=0
kairan doctor example.jp --dns "127.0.0.1:$DNS_PORT" --probe no --ip 192.0.2.26 >"$D/out" || status=$?
tap_is "$status" 1 'exit code 1'
tap_is "$(verdicts news.example.jp)" \
	'alignment ok, dkim ok, dkim ok, dmarc ok, mx ok, port25 ok, ptr skipped, relay ok, spf ok' 'a domain below is covered'

# arguments: settings; prints what doctor says of relays and port 25
ways()
{
	env "$@" "$BIN/kairan" doctor example.jp --dns "127.0.0.1:$DNS_PORT" --probe 127.0.0.1:1 --json >"$D/doctor.json" || true
	json '"; ".join("%s %s %s" % (c["check"], c["verdict"], c["subject"]) for c in j["checks"] if c["check"] in ("relay", "port25"))' <"$D/doctor.json" |
		sed "s|:$MX_PORT|:PORT|g; s|:$TLS_PORT|:TLS|g; s|$D|DIR|g"
}
tap_is "$(ways KAIRAN_RELAY_HOST="127.0.0.1:$MX_PORT weight=2, localhost:1 backup, unix:$D/greeter.sock")" \
	'relay ok 127.0.0.1:PORT; relay failed localhost:1; relay ok unix:DIR/greeter.sock; port25 warning 127.0.0.1:1' \
	'every relay of a list is called, wherever it is'
tap_is "$(ways KAIRAN_RELAY_HOST='127.0.0.1 weight=many')" 'relay failed relay.host; port25 warning 127.0.0.1:1' \
	'a list that dispatchers refuse is refused here'
IMPLICIT=(KAIRAN_RELAY_TLS=implicit KAIRAN_RELAY_PORT="$TLS_PORT" KAIRAN_RELAY_TLS_CA_FILE="$D/ca/ca.pem")
tap_is "$(ways "${IMPLICIT[@]}" KAIRAN_RELAY_TLS_NAME=relay.example)" 'relay ok 127.0.0.1:TLS; port25 warning 127.0.0.1:1' \
	'one that greets within TLS is well'
tap_is "$(ways "${IMPLICIT[@]}")" 'relay failed 127.0.0.1:TLS; port25 warning 127.0.0.1:1' 'unless its certificate is for another'
tap_is "$(ways KAIRAN_DISPATCHER_TRANSPORT=mx)" 'port25 failed 127.0.0.1:1' \
	'mail that leaves from this host needs port 25, and no relay is judged'
service_stop "$KNOT" || tap_note "knotd ended with $?"
tap_is "$(verdicts example.jp --ip 192.0.2.25)" \
	'alignment ok, dkim skipped, dkim skipped, dmarc skipped, mx skipped, port25 ok, ptr skipped, relay ok, spf skipped' \
	'without DNS nothing is claimed'

# ---- the next key ----------------------------------------------------------------------------------

kairan dkim new example.jp --selector k2 --algorithm rsa >"$D/zone.k2" 2>"$D/out"
sed -i 's/^_dmarc/_dmarc.old/' "$D/example.jp.zone"
service_spawn knot "$D/knot.log" knotd -c "$D/knot.conf" 2>/dev/null
services_wait 10 dns_answers || tap_bail 'the DNS server does not answer'
tap_is "$(kairan dkim use example.jp --dns "127.0.0.1:$DNS_PORT" 2>&1)" \
	'kairan: k2._domainkey.example.jp: there is no record, so its signatures count for nothing; kairan dkim show prints the record (--unchecked: use the key all the same)' \
	'a key that is not published is not put to use'
tap_ok 'unless asked for' quiet kairan dkim use example.jp --unchecked
tap_is "$(cd "$D/dkim/example.jp" && echo *)" 'k1e.pem k1r.old k2.pem' 'it takes the place of the one with the same algorithm'
tap_is "$(verdicts example.jp --ip 192.0.2.25)" \
	'alignment ok, dkim failed, dkim ok, dmarc failed, mx ok, port25 ok, ptr ok, relay ok, spf ok' 'doctor sees it, and a policy that is gone'
chmod 640 "$D/dkim/example.jp/k2.pem"
tap_like "$(kairan doctor example.jp --dns "127.0.0.1:$DNS_PORT" --probe no || true)" 'failed +dkim .*k2.pem can be read by others' \
	'and a key that others can read'
chmod 600 "$D/dkim/example.jp/k2.pem"

# ---- OpenDKIM -------------------------------------------------------------------------------------

# It asks the system's resolver on port 53: a network of its own has one. Debian's does not know
# Ed25519, and its opendkim-testkey does not read these answers, so the RSA key signs alone.
mv "$D/dkim/example.jp/k2.pem" "$D/dkim/example.jp/k2.old"
mv "$D/dkim/example.jp/k1r.old" "$D/dkim/example.jp/k1r.pem"
cat >"$D/campaign" <<'CAMPAIGN'
[campaign]
name = outside
stream = marketing
from = 回覧 <news@example.jp>
subject = {{name}} 様、夏のセールのご案内です。どうぞお見逃しなく
text = campaign.txt
list = news
segment = everyone
CAMPAIGN
printf '{{name}} 様\n\nセールは月曜日からです。\n\n\n' >"$D/campaign.txt"
if command -v opendkim-testmsg >/dev/null && unshare -nm true 2>/dev/null; then
	sed "s/@$DNS_PORT/@53/; s|$D/knot$|$D/knot2|" "$D/knot.conf" >"$D/knot53.conf"
	mkdir "$D/knot2"
	echo 'nameserver 127.0.0.1' >"$D/resolv.conf"
	cat >"$D/opendkim.sh" <<'SH'
ip link set lo up
mount --bind "$1/resolv.conf" /etc/resolv.conf
knotd -c "$1/knot53.conf" >"$1/knot53.log" 2>&1 &
knot=$!
sleep 1
for file in "$1"/mails/*.eml; do
	opendkim-testmsg <"$file" >"$1/verdict" 2>&1 && echo "valid" || { echo "$(basename "$file"): $(cat "$1/verdict")"; }
done | sort | uniq -c
sed 's/^Subject: /Subject: forged /' "$1/mails/1.eml" | opendkim-testmsg >"$1/verdict" 2>&1 || echo 'forged invalid'
kill "$knot"
wait "$knot"
SH
	mkdir "$D/mails"
	mv "$D/dkim/example.jp/k1e.pem" "$D/dkim/example.jp/k1e.old"
	for i in 1 2 3 4 5; do
		kairan campaign preview "$D/campaign" --eml --recipient "{\"email\": \"taro$i@example.jp\", \"name\": \"太郎 $i\"}" >"$D/mails/$i.eml"
	done
	tap_is "$(unshare -nm bash "$D/opendkim.sh" "$D" 2>&1 | sed 's/^ *//')" "$(printf '5 valid\nforged invalid')" \
		'OpenDKIM verifies what campaign preview --eml prints, and not what was changed'
	mv "$D/dkim/example.jp/k1e.old" "$D/dkim/example.jp/k1e.pem"
else
	tap_skip 'OpenDKIM verifies mails' 'opendkim-testmsg is not installed, or no network of its own can be made'
fi

# ---- token keys ------------------------------------------------------------------------------------

printf '# ours\n1 %s\n' 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f >"$D/token.key"
chmod 600 "$D/token.key"
states()
{
	kairan keys list --json | json '" ".join("%d %s" % (k["id"], k["state"]) for k in j)'
}
first=$(kairan keys list --json | json 'j[0]["fingerprint"]')
tap_is "$(states)" '1 signs' 'one token key'
tap_ok 'a second one is prepared' quiet kairan keys rotate --prepare
tap_is "$(states)" '1 signs 2 prepared' 'and does not sign yet'
status=0
kairan keys rotate --prepare >"$D/out" 2>&1 || status=$?
tap_is "$status" 1 'a third one is not prepared before'
tap_ok 'it is put to use' quiet kairan keys rotate
tap_is "$(states)" '2 signs 1 verifies' 'and the old one still verifies'
kairan keys rotate >"$D/out" 2>&1
kairan keys rotate >"$D/out" 2>&1
tap_is "$(states) $(kairan keys list --json | json 'j[3]["fingerprint"]')" "4 signs 3 verifies 2 verifies 1 verifies $first" 'four are kept, the first unchanged'
tap_like "$(kairan keys rotate 2>&1 >"$D/out")" 'key 1 is gone' 'the oldest goes, said aloud'
tap_is "$(stat -c %a "$D/token.key") $(grep -c . "$D/token.key")" '600 4' 'the file stays closed to others'
tap_done
