#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Attacks on the HTTP listener that need more than one request: SNS events of one recipient in every order (A13),
# more idle connections than there are places (A14). Rows A… are those of docs/SECURITY.md. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
# shellcheck disable=SC2034,SC2317 # read and called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

IDLE=5000

feedback_start
PORT=$(services_free_port)
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$PORT
daemon_start
tap_is $? 0 'starts'

# ---- A13 ---------------------------------------------------------------------------------

# arguments: first send id; stdout: 24 rows' events, each row in an order of its own
all_orders()
{
	for i in $(seq "$1" $(($1 + 23))); do echo "$i $(token "$i")"; done | "$PYTHON" -c '
import itertools, json, sys
rows = [line.split() for line in sys.stdin]
kinds = {"send": 0, "delivery": 10, "bounce": 20, "complaint": 30}
for (row, token), order in zip(rows, itertools.permutations(kinds)):
    for kind in order:
        print(json.dumps({"kind": kind, "address": "user%s@example.com" % row, "token": token,
            "timestamp": "2026-11-20T10:00:%02d.000Z" % kinds[kind], "feedback_id": "%s-%s" % (kind, row),
            "ses_id": "0102-%s" % row}))'
}

# arguments: first send id; stdout: how many different rows and suppressions came of it
kinds_of_rows()
{
	one "count(DISTINCT (state, accepted_attempt, rejected_attempt, class, reason, code, enhanced,
		replace(reply, 'user' || id, 'user'),
		delivered_at, bounced_at, complained_at, unsubscribed_at)) FROM kairan.send
		WHERE id BETWEEN $1 AND $1 + 23"
}

tap_is "$(all_orders 1 | $SNS send "$D/sns" "http://127.0.0.1:$PORT/sns" --topic "$TOPIC" | grep -c '"status": 200')" 96 \
	'four events of 24 recipients, each in another order'
sql -c "SELECT id, state, class, delivered_at, bounced_at, complained_at FROM kairan.send WHERE id <= 24 ORDER BY id" \
	>"$D/rows"
tap_is "$(kinds_of_rows 1)" 1 'A13: all 24 orders end in the same row' || tap_note "$(cat "$D/rows")"
tap_is "$(one "count(*) FROM kairan.send WHERE id <= 24 AND delivered_at IS NOT NULL AND bounced_at IS NOT NULL AND complained_at IS NOT NULL")" \
	24 'A13: which knows all of them'
tap_is "$(one "count(DISTINCT s) FROM (SELECT array_agg(reason || scope::text ORDER BY reason) AS s FROM kairan.suppression
	WHERE address_key ~ '^user([1-9]|1[0-9]|2[0-4])@' GROUP BY address_key) AS x")" 1 'A13: and in the same suppressions'
all_orders 1 | tac | $SNS send "$D/sns" "http://127.0.0.1:$PORT/sns" --topic "$TOPIC" >/dev/null
tap_is "$(sql -c "SELECT id, state, class, delivered_at, bounced_at, complained_at FROM kairan.send WHERE id <= 24 ORDER BY id" | cmp - "$D/rows" && echo same)" \
	same 'A13: once more and backwards changes nothing'

# ---- A14 ---------------------------------------------------------------------------------

memory()
{
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$DAEMON/status"
}
before=$(memory)
"$PYTHON" - "$PORT" "$IDLE" "$D/idle" <<'PYTHON' &
import resource, socket, sys, time
port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 100, hard), hard))
held, end = [], time.monotonic() + 12
for i in range(count):
    s = socket.socket()
    s.setblocking(False)
    try:
        s.bind(("127.0.%d.%d" % (1 + i // 200 % 200, 1 + i % 200), 0))
        s.connect_ex(("127.0.0.1", port))
    except OSError:
        break
    held.append(s)
with open(path, "w") as f:
    f.write(str(len(held)))
time.sleep(max(0, end - time.monotonic()))
PYTHON
idle=$!
services_wait 12 test -s "$D/idle"
tap_is "$(cat "$D/idle")" "$IDLE" 'A14: 5,000 connections that say nothing'
served()
{
	[ "$(printf '{"kind":"bounce","address":"user100@example.com","token":"%s"}\n' "$(token 100)" |
		$SNS send "$D/sns" "http://127.0.0.1:$PORT/sns" --topic "$TOPIC" | grep -c '"status": 200')" = 1 ]
}
tap_ok 'A14: an event is taken all the same, when the first silent ones have been closed' services_wait 30 served
tap_like "$(of_send 100 bounced_at)" '^20' 'A14: and recorded'
grown=$(($(memory) - before))
tap_ok "A14: in constant memory (grown by $grown kB)" test "$grown" -lt 65536
wait "$idle"
daemon_end
tap_is $? 0 'ends well'
tap_done
