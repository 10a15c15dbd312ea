#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# replay_twice: an archive of SES events replayed twice, the second time backwards, gives the same
# tables. EVENTS=1000000 for the whole thing (make check-replay-twice). TAP, run by prove.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

EVENTS=${EVENTS:-4000}
feedback_start
export KAIRAN_LOG_LEVEL=warn

# four events of each mail, in a shuffled order that is the same each time
rows=$((EVENTS / 4))
sql -c "SET search_path = kairan; INSERT INTO run (id, campaign_id, run_key, template_id, state, planned) OVERRIDING SYSTEM VALUE VALUES (2, 1, 'r', 1, 'running', $rows);
	CREATE TABLE send_2 PARTITION OF send FOR VALUES IN (2) WITH (fillfactor = 35);
	INSERT INTO send (run_id, id, recipient_id, state, attempt, address, address_key)
	SELECT 2, i, i, CASE WHEN i % 50 = 0 THEN 'in_doubt' ELSE 'sent' END::send_state, 1, 'u' || i || '@d' || i % 97 || '.example',
	    'u' || i || '@d' || i % 97 || '.example' FROM generate_series(1, $rows) AS i"
"$PYTHON" - "$D/keys" "$rows" >"$D/events.jsonl" <<'PY' || tap_bail 'no events'
import json, random, sys
sys.path.insert(0, 'tests/support')
import sns_fake
keys, rows = sys.argv[1], int(sys.argv[2])
lines = []
for i in range(1, rows + 1):
    token = sns_fake.token(keys, 2, i, 1)
    address = 'u%d@d%d.example' % (i, i % 97)
    last = ('bounce', 'complaint', 'open', 'click')[i % 4]
    for k, kind in enumerate(('send', 'delivery', last, 'delay')):
        order = {'kind': kind, 'address': address, 'token': token, 'ses_id': 'ses-%d' % i, 'feedback_id': 'f-%d-%d' % (i, k),
                 'timestamp': '2026-11-20T%02d:%02d:%02d.000Z' % (10 + k, i // 60 % 60, i % 60)}
        if i % 7 == 0:
            order['bounce_type'], order['bounce_subtype'], order['status'] = 'Transient', 'MailboxFull', '4.2.2'
        lines.append(json.dumps(sns_fake.event(order)))
random.Random(7).shuffle(lines)
print('\n'.join(lines))
PY
tac "$D/events.jsonl" >"$D/backwards.jsonl"

checksum()
{
	one "count(*) || ' ' || sum(hashtextextended(t, 7)::numeric) FROM (
		SELECT s::text AS t FROM kairan.send s
		UNION ALL SELECT (f.id, f.month, f.semantic_key, f.received_at, f.kind, f.run_id, f.send_id, f.address_key)::text FROM kairan.feedback_event f
		UNION ALL SELECT p::text FROM kairan.suppression p
		UNION ALL SELECT y::text FROM kairan.tally y UNION ALL SELECT d::text FROM kairan.tally_domain d
		UNION ALL SELECT w::text FROM kairan.feedback_wait w) AS x"
}

start=$(date +%s)
"$BIN/kairan-feedback" replay "$D/events.jsonl" >"$D/first" 2>&1
tap_is $? 0 "a replay of $EVENTS events"
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE run_id = 2")" $((rows * 4)) 'all are in the inbox'
tap_is "$(one "count(*) || ' ' || count(delivered_at) || ' ' || count(*) FILTER (WHERE state = 'sent') FROM kairan.send WHERE run_id = 2")" \
	"$rows $rows $rows" 'all rows have heard of them'
tap_ok 'and some are suppressed' test "$(one 'count(*) FROM kairan.suppression')" -gt 0
before=$(checksum)
"$BIN/kairan-feedback" replay "$D/backwards.jsonl" >"$D/second" 2>&1
tap_is $? 0 'the same again, backwards'
tap_is "$(checksum)" "$before" 'changes nothing: every table has the same checksum'
sql -c "UPDATE kairan.send SET opened_at = now() WHERE run_id = 2 AND id = 1"
tap_ok 'a checksum that would see one changed fact' test "$(checksum)" != "$before"
tap_note "$EVENTS events twice in $(($(date +%s) - start)) s, checksum $before"
tap_done
