#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The webhook of kairan-feedback: JSON with an HMAC, made by Python's own hmac. Forged, stale,
# repeated and broken documents, two keys, limits, PostgreSQL away, kill -9. Rows A… are those of
# the table of attacks. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start
PORT=$(services_free_port)
URL=http://127.0.0.1:$PORT/hook
FIRST=$(openssl rand -hex 32) SECOND=$(openssl rand -hex 32) OTHER=$(openssl rand -hex 32)
printf '1 %s\n2 %s\n' "$FIRST" "$SECOND" >"$D/hook.key"
chmod 600 "$D/hook.key"
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$PORT KAIRAN_WEBHOOK_PATH=/hook KAIRAN_WEBHOOK_KEYS_FILE=$D/hook.key
export KAIRAN_WEBHOOK_WINDOW_S=60

# arguments: body; key; further options; stdout: HTTP status
hook()
{
	local body=$1 key=${2:-$FIRST}

	shift
	[ $# -gt 0 ] && shift
	printf '%s' "$body" | "$PYTHON" tests/support/webhook_say.py "$URL" "$key" "$@"
}

# arguments: id, event, members after them
doc()
{
	printf '{"version":1,"events":[{"id":"%s","event":"%s"%s}]}' "$1" "$2" "${3:+,$3}"
}

daemon_start
tap_is $? 0 'starts'
tap_is "$(hook "$(doc b1 bounced "\"token\":\"$(token 1)\",\"status\":\"5.1.1\",\"code\":550,\"diagnostic\":\"no such user\"")")" 200 \
	'a bounce'
tap_is "$(of_send 1 class)" hard '200 came after the commit'
tap_is "$(one "reason || ' ' || source FROM kairan.suppression WHERE address_key = 'user1@example.com'")" 'bounce webhook' \
	'the address of the row is suppressed'
tap_is "$(hook "$(doc c1 complained "\"token\":\"b+$(token 2)@$DOMAIN\"")" "$SECOND")" 200 'a complaint, by the second key'
tap_like "$(of_send 2 complained_at)" '^20' 'is one'
tap_is "$(hook "$(doc d1 delivered "\"message_id\":\"<$(token 3 m)@example.org>\",\"time\":\"2026-11-20T10:00:00Z\"")")" 200 \
	'a delivery by our Message-ID'
tap_like "$(of_send 3 delivered_at)" '^2026-11-20' 'at its time'
tap_is "$(hook "$(doc u1 unsubscribed "\"token\":\"$(token 4)\"")")" 200 'an unsubscribe'
tap_like "$(of_send 4 unsubscribed_at)" '^20' 'is one'
tap_is "$(hook "$(doc s1 bounced "\"token\":\"$(token 5)\",\"status\":\"4.2.2\"")") $(of_send 5 class)" '200 soft' \
	'A19: 4.x.x is no hard bounce'
tap_is "$(hook "$(doc u2 delivered "\"token\":\"$(token 160)\"")") $(of_send 160 state)" '200 sent' 'evidence settles doubt'

# ---- who speaks --------------------------------------------------------------------------

bounce="$(doc b9 bounced "\"token\":\"$(token 9)\",\"status\":\"5.1.1\"")"
tap_is "$(hook "$bounce" "$OTHER")" 401 'A1: another key'
tap_is "$(hook "$bounce" "$FIRST" --forge none)" 401 'A1: no signature'
tap_is "$(hook "$bounce" "$FIRST" --forge signature)" 401 'A1: a wrong one'
tap_is "$(hook "$bounce" "$FIRST" --forge body)" 401 'A1: another body'
tap_is "$(hook "$bounce" "$FIRST" --age 100)" 403 'A12: too old'
tap_is "$(hook "$bounce" "$FIRST" --age -100)" 403 'A12: from the future'
tap_is "$(hook '{' "$OTHER")" 401 'A1: an unsigned document is not even parsed'
tap_is "$(of_send 9 bounced_at)" - 'nothing happened to the row'
tap_is "$(hook "$bounce" "$FIRST" --age 50)" 200 'A12: within the window'
before=$(one 'count(*) FROM kairan.feedback_event')
tap_is "$(hook "$bounce") $(hook "$bounce" "$SECOND")" '200 200' 'A12: repeated'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$before" 'A12: is one event'

# ---- about whom --------------------------------------------------------------------------

forged=$(token 10 | sed 's/.$/x/')
tap_is "$(hook "$(doc f1 bounced "\"token\":\"$forged\",\"address\":\"user10@example.com\",\"status\":\"5.1.1\"")")" 200 \
	'A17: a forged token'
tap_is "$(of_send 10 bounced_at)" - 'A17: does nothing'
tap_is "$(hook "$(doc f2 bounced "\"address\":\"user11@example.com\",\"status\":\"5.1.1\"")")" 200 'A16: an address alone'
tap_is "$(of_send 11 bounced_at) $(one "count(*) FROM kairan.suppression WHERE address_key = 'user11@example.com'")" '- 0' \
	'A16: changes nothing'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE semantic_key = 'webhook|f2' AND send_id IS NULL")" 1 'but is kept'
tap_is "$(hook "$(doc f3 bounced "\"token\":\"$(token 12)\",\"address\":\"user13@example.com\",\"status\":\"5.1.1\"")")" 200 \
	'A17: an address that is not of the token'
tap_is "$(of_send 13 bounced_at) $(one "count(*) FROM kairan.suppression WHERE address_key = 'user13@example.com'")" '- 0' \
	'A17: does nothing to the other'
tap_is "$(hook "$(doc x1 bounced "\"token\":\"$(token 14)\",\"status\":\"5.1.1\",\"diagnostic\":\"<script>\\u001b]0;x\\u0007\\u2028\"")")" 200 \
	'A20: a script and an escape'
tap_is "$(one "reply ~ '[[:cntrl:]]' FROM kairan.send WHERE run_id = 1 AND id = 14")" f 'A20: the escape is gone'
for order in 'delivered bounced complained' 'complained bounced delivered' 'bounced complained delivered'; do
	id=$((20 + ${i:-0})) i=$((${i:-0} + 1))
	for event in $order; do
		hook "$(doc "$id$event" "$event" "\"token\":\"$(token $id)\",\"status\":\"5.1.1\",\"time\":\"2026-11-20T10:00:00Z\"")" >/dev/null
	done
done
tap_is "$(one "count(DISTINCT (delivered_at, bounced_at, complained_at, state, class)) FROM kairan.send WHERE run_id = 1 AND id IN (20, 21, 22)")" 1 \
	'A13: the order of events does not matter'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = 1 AND id IN (20, 21, 22) AND bounced_at IS NOT NULL AND complained_at IS NOT NULL AND delivered_at IS NOT NULL")" 3 \
	'A13: and all three are noted'

# ---- A10, A14, A15: broken and large -----------------------------------------------------

tap_is "$(hook '{')" 400 'A10: no JSON'
tap_is "$(hook '{"version":1,"version":1,"events":[]}')" 400 'A10: a key twice'
tap_is "$(hook "$(doc 1 bounced '"tokn":"x"')")" 400 'a field that is not known'
tap_is "$(hook "$("$PYTHON" -c 'print("[" * 100000)')")" 400 'A10: deep nesting'
tap_is "$(hook "$(doc 1 opened '"address":"a\u0000b"')")" 400 'A10: a NUL'
tap_is "$(head -c 300000 /dev/zero | tr '\0' ' ' | "$PYTHON" tests/support/webhook_say.py "$URL" "$FIRST")" 413 'A14: 300 kB'
head -c 300000 /dev/zero >"$D/big"
tap_is "$(curl -s -w ' %{http_code}' --data-binary "@$D/big" "$URL")" $'larger than is taken here; do not send it again\n 413' 'with a word to the sender'
tap_is "$(curl -s -o /dev/null -w '%{http_code}' -H 'Transfer-Encoding: chunked' --data-binary "@$D/big" "$URL")" 413 'A14: 300 kB of a length that is not told'
tap_is "$(curl -s -o /dev/null -w '%{http_code}' "$URL")" 405 'GET is not for it'
tap_is "$(curl -s -D - -o /dev/null -d x "$URL" | grep -ci '^www-authenticate: kairan-signature')" 1 '401 says what is missing'
framing="$(printf 'POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' |
	timeout 5 "$PYTHON" -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 3); s.sendall(sys.stdin.buffer.read())
print(s.recv(100).split()[1].decode())' "$PORT")"
tap_is "$framing" 400 'A15: two lengths'
tap_is "$("$PYTHON" tests/support/webhook_say.py "$URL" "$OTHER" --times 300)" '401=300' 'A14: a flood of forged documents'
tap_is "$(hook "$(doc after bounced "\"token\":\"$(token 30)\",\"status\":\"5.1.1\"")")" 200 'does not keep a true one out'
tap_ok 'its health counts both' test "$(source_is webhook committed)" -gt 10 -a "$(source_is webhook left)" -gt 300
tap_is "$(source_is http committed)" 0 'apart from SNS'

# ---- PostgreSQL away, kill -9, the rate --------------------------------------------------

# shellcheck disable=SC2119
pg_stop "$D" immediate
tap_is "$(hook "$(doc p1 bounced "\"token\":\"$(token 40)\",\"status\":\"5.1.1\"")")" 503 'without PostgreSQL: try again'
FAST=1 pg_start "$D" >/dev/null 2>&1
open()
{
	[ "$(hook "$(doc p1 bounced "\"token\":\"$(token 40)\",\"status\":\"5.1.1\"")")" = 200 ]
}
tap_ok 'and taken when it is back' services_wait 20 open
daemon_end KILL
export KAIRAN_WEBHOOK_RATE_PER_S=5
daemon_start
tap_like "$(of_send 40 bounced_at)" '^20' 'what was answered 200 outlives kill -9'
said=$("$PYTHON" tests/support/webhook_say.py "$URL" "$FIRST" --times 60)
tap_like "$said" '429=[0-9]+' 'more than webhook.rate_per_s are told to be slower'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE semantic_key LIKE 'webhook|many-%'")" \
	"$(sed -n 's/.*200=\([0-9]*\).*/\1/p' <<<"$said")" 'and those with 200 are recorded, no other'
daemon_end
tap_is $? 0 'ends well'
tap_is "$(grep -cE "user[0-9]+@|$FIRST|$SECOND" "$D/feedback.log")" 0 'A44 A45: no address and no key in the log'

# ---- settings ----------------------------------------------------------------------------

refused()
{
	timeout 20 "$BIN/kairan-feedback" 2>&1 | tail -n 1
}
tap_like "$(KAIRAN_WEBHOOK_PATH=/sns refused)" 'webhook.path must' 'not the path of SNS'
tap_like "$(KAIRAN_FEEDBACK_HTTP_LISTEN='' KAIRAN_FEEDBACK_LMTP_LISTEN=unix:$D/l refused)" 'needs feedback.http_listen' 'not without a listener'
chmod 644 "$D/hook.key"
tap_like "$(refused)" 'webhook.keys_file.*chmod 600|webhook.keys_file.*others' 'A43: keys that others can read'
cp "$D/keys" "$D/hook.key" && chmod 600 "$D/hook.key"
tap_like "$(refused)" 'holds a key of keys.file' 'A17: not the key of the tokens'
KAIRAN_WEBHOOK_PATH='' daemon_start
tap_is "$(hook "$(doc 1 opened)")" 404 'without webhook.path there is none'
daemon_end
tap_is $? 0 'ends well'
tap_done
