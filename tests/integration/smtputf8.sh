#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Addresses whose local part is not ASCII (RFC 6531, 6532), from the import to a relay with and one
# without SMTPUTF8 (a FAKE that refuses what the RFC lets it refuse); read back with Python's email
# package. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

[ -x "$BIN/kairan" ] || tap_skip_all "$BIN/kairan is not built"
export FAKE_RELAY_MAIL
FAKE_RELAY_MAIL=$(mktemp -d)
pipeline_start
OPERATOR=${SUPER/user=postgres/user=kairan_operator}
k()
{
	KAIRAN_DATABASE_URL=$OPERATOR "$BIN/kairan" "$@"
}

# arguments: run; stdout: what became of each address
outcomes()
{
	one "string_agg(concat_ws(' ', address, state, class, reason), ', ' ORDER BY address COLLATE \"C\")
		FROM kairan.send WHERE run_id = $1"
}

# ---- import: stored in NFC, twins found, slips refused with a reason

printf '%s\n' 'email,name' 'ok1@example.jp,One' '太郎@例え.テスト,太郎' 'jörg@example.com,Jörg' \
	$'jo\xcc\x88rg@example.com,twin' 'hard用户@example.cn,User' 'ｔａｒｏ@example.jp,slip' $'太郎\xe2\x80\x8b@example.jp,slip' >"$D/in.csv"
k customer import "$D/in.csv" >"$D/out" 2>&1 || tap_note "import ended with $?"
tap_is "$(one "string_agg(email, ' ' ORDER BY email COLLATE \"C\") FROM kairan.customer")" \
	'hard用户@example.cn jörg@example.com ok1@example.jp 太郎@xn--r8jz45g.xn--zckzah' 'stored in NFC, with the domain in A-labels'
tap_like "$(cat "$D/out")" 'same address as an earlier line' 'the same letters written otherwise are the same address'
tap_like "$(cat "$D/out")" 'full-width or other compatibility character before the @' 'full-width letters are a slip'
tap_like "$(cat "$D/out")" 'invisible character \(U\+200B\) before the @' 'so is what nobody sees'

# ---- a sender must be ASCII

printf '%s\n' '[campaign]' 'name = eai' 'stream = marketing' 'subject = Hello {{name}}' 'from = 回覧 <新聞@example.org>' \
	'text = eai.txt' 'segment = everyone' >"$D/eai.campaign"
echo 'Dear {{name}}, {{email}}' >"$D/eai.txt"
tap_like "$(k campaign create "$D/eai.campaign" 2>&1)" 'eai.campaign:5: .*from: a sender needs an address in ASCII' \
	'a sender that is not ASCII is refused with file and line'
sed -i 's/新聞@/news@/' "$D/eai.campaign"

# ---- preview: the header of RFC 6532

k campaign preview "$D/eai.campaign" --eml --recipient '{"email": "太郎@例え.テスト", "name": "山田 太郎"}' >"$D/preview.eml"
cat >"$D/read.py" <<'PY'
import email, email.headerregistry, email.message, email.policy, sys
raw = open(sys.argv[1], "rb").read()
m = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
address = m["To"].addresses[0]
problems = [str(d) for p in m.walk() for d in p.defects]
# Python notes a defect of every such address that it reads from bytes, of those it wrote itself too
own = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
own["To"] = email.headerregistry.Address(address.display_name, address.username, address.domain)
own = email.message_from_bytes(own.as_bytes(), policy=email.policy.SMTPUTF8)
if {str(d) for d in m["To"].defects} - {str(d) for d in own["To"].defects} or own["To"].addresses[0].addr_spec != address.addr_spec:
    problems += [str(d) for d in m["To"].defects]
others = [k for k, v in m.raw_items() if any(0xDC80 <= ord(c) <= 0xDCFF for c in v) and k != "To"]
body = m.get_body().get_content().strip()
again = email.message_from_bytes(m.as_bytes(), policy=email.policy.SMTPUTF8)["To"]
print(address.display_name, address.addr_spec, body, problems, others, again == m["To"],
    sum(line.startswith(b"To: ") and not line.isascii() for line in raw.split(b"\r\n")))
PY
tap_is "$("$PYTHON" "$D/read.py" "$D/preview.eml")" \
	'山田 太郎 太郎@xn--r8jz45g.xn--zckzah Dear 山田 太郎, 太郎@例え.テスト [] [] True 1' \
	'preview: the address stands in To in UTF-8, nothing else does, and Python reads it back'

# ---- a relay without SMTPUTF8

k campaign create "$D/eai.campaign" >"$D/out" 2>&1 || tap_note "$(cat "$D/out")"
producer_start
dispatcher_start one
RUN=$(run_add eai without)
tap_ok 'a run over a relay without SMTPUTF8 finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'nobody twice, nobody lost'
tap_is "$(outcomes "$RUN")" \
	'hard用户@example.cn failed config smtputf8_unsupported, jörg@example.com failed config smtputf8_unsupported, ok1@example.jp sent, 太郎@xn--r8jz45g.xn--zckzah failed config smtputf8_unsupported' \
	'those who need it fail with their own reason, the others are sent'
tap_is "$(one "sent || ' ' || failed FROM kairan.campaign_progress WHERE run_id = $RUN")" '1 3' 'and are counted'
tap_is "$(one "(SELECT count(*) FROM kairan.suppression) || ' ' || (SELECT max(attempt) FROM kairan.send WHERE run_id = $RUN)")" \
	'0 1' 'nobody is suppressed or tried again for it'
tap_is "$(grep -c -i 'unwell\|rests\|trouble' "$D/dispatcher.log" || true)" 0 'the relay is not blamed'
tap_is "$(cat "$D/dispatcher.log" "$D/producer.log" | grep -c '用户\|jörg\|太郎' || true)" 0 'no address is in a log'
status=0
k campaign test "$D/eai.campaign" --to 太郎@例え.テスト >"$D/out" 2>&1 || status=$?
tap_is "$status" 1 'a test mail over it fails'
tap_like "$(cat "$D/out")" 'RCPT failed: 553' 'with what the relay says'

# ---- one with it

relay_set 'ehlo = PIPELINING,SIZE 10000000,8BITMIME,DSN,ENHANCEDSTATUSCODES,SMTPUTF8'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one
RUN=$(run_add eai with)
tap_ok 'a run over a relay with SMTPUTF8 finishes' run_wait "$RUN" finished 30
run_check "$RUN" 'nobody twice, nobody lost'
tap_is "$(outcomes "$RUN")" \
	'hard用户@example.cn failed hard user_unknown, jörg@example.com sent, ok1@example.jp sent, 太郎@xn--r8jz45g.xn--zckzah sent' \
	'everybody who is there is sent'
tap_is "$(one "string_agg((j -> 'to' ->> 0) || ' ' || (j ->> 'smtputf8'), ', ' ORDER BY (j -> 'to' ->> 0) COLLATE \"C\") FROM test.line
	WHERE (j ->> 'run')::int = $RUN")" 'jörg@example.com true, ok1@example.jp false, 太郎@xn--r8jz45g.xn--zckzah true' \
	'SMTPUTF8 is asked for only where it is needed'
tap_is "$(one "string_agg(address_key || ' ' || reason, ', ') FROM kairan.suppression")" 'hard用户@example.cn bounce' \
	'a hard bounce suppresses such an address as any other'
tap_is "$(one "count(*) FROM test.truth WHERE run = $RUN AND sender !~ '^b\+[a-z0-9]+@bounces\.example\.org$'")" 0 \
	'the return path is ASCII'
for address in jörg@example.com ok1@example.jp; do
	id=$(one "send FROM test.truth WHERE run = $RUN AND address = '$address'")
	tap_like "$("$PYTHON" "$D/read.py" "$FAKE_RELAY_MAIL/1-$RUN-$id.eml")" "$address Dear .*$address \[\] \[\] True" \
		"$address is read back from what was sent"
done
k send why $'Jo\xcc\x88rg@example.com' >"$D/out" 2>&1 || true
tap_like "$(cat "$D/out")" 'smtputf8_unsupported' 'kairan send why finds it, however it is typed'

relay_set 'ehlo = PIPELINING,SMTPUTF8'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
dispatcher_start one
RUN=$(run_add eai half)
tap_ok 'a run over a relay with SMTPUTF8 but without 8BITMIME finishes' run_wait "$RUN" finished 30
tap_is "$(one "string_agg(DISTINCT reason, ' ') FROM kairan.send WHERE run_id = $RUN AND state = 'failed'")" smtputf8_unsupported \
	'it does not count as one with it (RFC 6531 3.1)'
programs_stopped 'the programs end well' "$PRODUCER" "$DISPATCHER"
rm -r "$FAKE_RELAY_MAIL"
tap_done
