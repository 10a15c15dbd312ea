#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan sendmail: single mails written by Python's email and by hand, through the standing run of a
# stream to the FAKE relay, read back with Python's email; suppression, keys, exit codes, PostgreSQL
# away, a real Postfix that calls it by pipe(8). TAP, run by prove.
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

FAKE_RELAY_MAIL=$(mktemp -d)
export FAKE_RELAY_MAIL
pipeline_start
mkdir -p "$D/bin"
ln -sf "$(realpath "$BIN/kairan")" "$D/bin/sendmail"
KAIRAN=$(realpath "$BIN/kairan")

# arguments of kairan sendmail; the mail on standard input. STATUS, $D/out, $D/err
hand_in()
{
	STATUS=0
	"$KAIRAN" sendmail "$@" >"$D/out" 2>"$D/err" || STATUS=$?
}

# arguments: path of Python into the JSON answer
answer()
{
	"$PYTHON" -c "import json, sys; j = json.load(open('$D/out')); print($1)"
}

# the mail that the relay took for an address, last of them; arguments: address, Python over m and raw
relayed()
{
	"$PYTHON" - "$FAKE_RELAY_MAIL" "$TRUTH" "$1" "$2" <<-'PYTHON'
		import email, email.policy, glob, os, sys
		folder, truth, to, what = sys.argv[1:5]
		best = None
		for path in sorted(glob.glob(folder + "/**/*", recursive=True), key=lambda p: os.stat(p).st_mtime_ns):
		    if os.path.isfile(path):
		        raw = open(path, "rb").read().replace(b"\r\n", b"\n").replace(b"\n.", b"\n") # as it came, with dots doubled
		        m = email.message_from_bytes(raw, policy=email.policy.default)
		        if to in str(m["To"]) or to in str(m["Cc"]) or to in str(m["X-Test"]):
		            best = (m, raw)
		if best is None:
		    print("no such mail")
		else:
		    m, raw = best
		    print(eval(what))
	PYTHON
}

MAIL='From: Shop <shop@example.org>
To: you@large.example
Subject: hello {{name}}

hello {{name}}, {{#if x}}'

# ---- who may, and how -------------------------------------------------------------------------

hand_in -t <<<"$MAIL"
tap_is "$STATUS" 77 'a stream that allows no From lets nobody send (EX_NOPERM)'
tap_like "$(cat "$D/err")" 'mail_from' 'and the reason names what to set'
sql -c "UPDATE kairan.stream SET mail_from = '{Example.org, me@other.example}' WHERE name = 'transactional'"
producer_start
dispatcher_start one KAIRAN_DISPATCHER_RETRY_LADDER=1s,2s

hand_in -t --wait --json --key order-1 <<<"$MAIL"
tap_is "$STATUS $(answer "j['new'], [(r['address'], r['state']) for r in j['recipients']]")" \
	"0 True [('you@large.example', 'sent')]" 'an allowed one is sent'
tap_is "$(relayed you@large.example "m['Subject'], m.get_content()")" "('hello {{name}}', 'hello {{name}}, {{#if x}}\n')" \
	'nothing in it is read as a template'
tap_is "$(relayed you@large.example "bool(m['Date']), m['Message-ID'].endswith('@example.org>'), m['List-Unsubscribe'], len(m['X-Kairan-Id'])")" \
	'(True, True, None, 34)' 'Date and Message-ID are added, and our token'
before=$(taken)
hand_in -t --wait --json --key order-1 <<<"$MAIL"
tap_is "$STATUS $(answer "j['new'], j['recipients'][0]['state']") $(taken)" "0 False sent $before" \
	'the same key again sends nothing and says what became of it'
hand_in -t --key order-1 <<<"$MAIL changed"
tap_is "$STATUS" 65 'the same key with another mail is an error (EX_DATAERR)'
hand_in -t --wait --key order-2 <<<"$MAIL"
tap_is "$STATUS $(taken)" "0 $((before + 1))" 'another key is another mail to the same address, on the same day'
RUN=$(one "max(run_id) FROM kairan.send")
tap_is "$(one "c.name || ' ' || s.name || ' ' || (SELECT count(*) FROM kairan.mail) FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id
	JOIN kairan.stream s ON s.id = c.stream_id WHERE r.id = $RUN")" 'kairan-mail-transactional-example.org transactional 2' \
	'both are in the standing run of the stream'
hand_in -t <<<"${MAIL/shop@example.org/other@other.example}"
tap_is "$STATUS" 77 'an address of a domain that is not allowed is refused'
hand_in -t --wait <<<"${MAIL/shop@example.org/Me@other.example}"
tap_is "$STATUS" 0 'an allowed address of another domain is sent'
STATUS=0
"$D/bin/sendmail" -oi -t --wait <<<"${MAIL/hello/by the link}" || STATUS=$?
tap_is "$STATUS $(relayed you@large.example "m['Subject']")" '0 by the link {{name}}' 'a link named sendmail works'

# ---- envelope -----------------------------------------------------------------------------------

hand_in -t -i --wait --json other@small.example <<'END'
From: shop@example.org
To: "Group, one": a@large.example, B <b@large.example>;, a@large.example
Cc: C (comment, with comma) <c@small.example>
Bcc: hidden@small.example,
 d@small.example
X-Test: bcc
X-Kairan-Id: forged
X-SES-CONFIGURATION-SET: stolen
Message-ID: <once@example.org>
Subject: many

.
..dots
END
tap_is "$STATUS $(answer "sorted(r['address'] for r in j['recipients'])")" \
	"0 ['a@large.example', 'b@large.example', 'c@small.example', 'd@small.example', 'hidden@small.example', 'other@small.example']" \
	'recipients of To, Cc, Bcc and the command line, each once'
tap_is "$(relayed bcc "m['Bcc'], b'hidden' in raw, b'forged' in raw, m['X-SES-CONFIGURATION-SET'], m.get_content()")" \
	"(None, False, False, None, '.\n..dots\n')" 'Bcc is removed, forged fields are, dots stay'
tap_is "$(one "count(DISTINCT mail_id) || ' ' || count(*) FROM kairan.mail_send l JOIN kairan.mail m ON m.id = l.mail_id
	WHERE m.content LIKE '%X-Test: bcc%'")" '1 6' 'it is stored once'
hand_in -t -i --wait --json other@small.example <<'END'
From: shop@example.org
To: x@large.example
Message-ID: <twice@example.org>

same
END
first=$(answer "j['recipients'][0]['recipient']")
hand_in -t -i --json other@small.example <<'END'
From: shop@example.org
To: x@large.example
Message-ID: <twice@example.org>

same
END
tap_is "$(answer "j['new'], j['recipients'][0]['recipient']")" "False $first" 'without a key the Message-ID makes it once'
hand_in -f cron@example.org -F 'Cron Daemon' --wait root@large.example <<<'disk full'
tap_is "$STATUS $(relayed x@large.example "1")" '0 1' 'a bare text with -f is a mail'
tap_is "$(one "count(*) FROM kairan.mail WHERE content LIKE E'%From: Cron Daemon <cron@example.org>\r\n%\r\n\r\ndisk full\r\n' AND sender = 'cron@example.org'")" 1 \
	'with From and the envelope sender'

# letters of one word count, each of them
for letters in -ti -it -vti; do
	hand_in "$letters" --json <<<"From: shop@example.org
To: letters$letters@large.example

up to
.
and behind a dot"
	tap_is "$STATUS $(one "content LIKE '%behind a dot%' FROM kairan.mail WHERE content LIKE '%letters$letters@%'")" '0 t' \
		"$letters takes recipients from the mail, all of it"
done
hand_in -itf shop@example.org -oem -om --json <<<'To: letters-f@large.example

up to
.
and behind a dot'
tap_is "$STATUS $(one "sender || ' ' || (content LIKE '%behind a dot%') FROM kairan.mail WHERE content LIKE '%letters-f@%'")" \
	'0 shop@example.org true' 'the last letter may have a value'
printf 'From: shop@example.org\nTo: letters-dot@large.example\n\nup to\r\n.\r\nbehind' | hand_in -t
tap_is "$STATUS $(one "content LIKE '%behind%' FROM kairan.mail WHERE content LIKE '%letters-dot@%'")" '0 f' 'without -i a single dot ends the mail'
for letters in -tz -tbs -f -tiF; do
	hand_in "$letters" <<<"$MAIL"
	tap_is "$STATUS" 64 "$letters is refused"
done

# ---- content: what Python's email makes ---------------------------------------------------------

"$PYTHON" - "$D" <<'END'
import email.message, email.policy, sys
m = email.message.EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
m["From"] = "shop@example.org"
m["To"] = "eight@large.example"
m["Subject"] = "ご注文"
m.set_content("こんにちは、世界。\n.\nFrom here\n" + "長い" * 600 + "\n", cte="8bit")
m.add_alternative("<p>こんにちは</p>", subtype="html", cte="8bit")
m.add_attachment(bytes(range(1, 256)) * 20, maintype="application", subtype="octet-stream", filename="データ.bin")
open(sys.argv[1] + "/eight.eml", "wb").write(m.as_bytes())
raw = "From: 店 <shop@example.org>\nTo: 田中 <raw@large.example>,\n \"鈴木, 一郎\" <two@large.example>\nSubject: 生の件名\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n本文です。\n"
open(sys.argv[1] + "/raw.eml", "wb").write(raw.encode())
END
hand_in -t -i --wait <"$D/eight.eml"
tap_is "$STATUS $(relayed eight@large.example "m['Subject'], m.get_body(('plain',)).get_content().replace('\r\n', '\n') == 'こんにちは、世界。\n.\nFrom here\n' + '長い' * 600 + '\n', m.get_body(('html',)).get_content().strip(), list(m.iter_attachments())[0].get_content() == bytes(range(1, 256)) * 20, list(m.iter_attachments())[0].get_filename()")" \
	"0 ('ご注文', True, '<p>こんにちは</p>', True, 'データ.bin')" 'an 8-bit multipart arrives as it was'
tap_is "$(relayed eight@large.example "max(raw) < 128 and max(len(l) for l in raw.split(b'\n')) <= 999")" True '7-bit on the wire'
hand_in -t --wait <"$D/raw.eml"
tap_is "$STATUS $(relayed raw@large.example "m['From'].addresses[0].display_name, m['Subject'], [a.display_name for a in m['To'].addresses], m.get_content().replace('\r\n', '\n'), max(raw) < 128")" \
	"0 ('店', '生の件名', ['田中', '鈴木, 一郎'], '本文です。\n', True)" 'raw UTF-8 in the header becomes encoded words'
printf 'From: shop@example.org\nTo: a@large.example\n\na\0b\n' >"$D/nul.eml"
hand_in -t <"$D/nul.eml"
tap_is "$STATUS" 65 'a NUL is refused'
{ echo "$MAIL"; head -c 20000 /dev/zero | tr '\0' x; } >"$D/large.eml"
KAIRAN_SENDMAIL_MAX_BYTES=10000 hand_in -t <"$D/large.eml"
tap_is "$STATUS" 65 'a mail above sendmail.max_bytes is refused'
{ head -c 300M /dev/zero 2>"$D/out"; echo $? >"$D/head"; } | KAIRAN_SENDMAIL_MAX_BYTES=10000 hand_in a@large.example || true
tap_ok 'a line without an end is read no further than that' test "$(cat "$D/head")" -ne 0
hand_in -t <<<"From: shop@example.org"
tap_is "$STATUS" 65 'a mail without recipients is refused'
hand_in <<<"$MAIL"
tap_is "$STATUS" 64 'neither recipients nor -t: EX_USAGE'
hand_in -bs <<<"$MAIL"
tap_is "$STATUS" 64 'a mode that is not there: EX_USAGE'

# ---- suppression, refusals ----------------------------------------------------------------------

sql -c "INSERT INTO kairan.suppression (address_key, reason, source) VALUES ('gone@large.example', 'bounce', 'test')"
hand_in --json --wait gone@large.example fine@large.example <<<"$MAIL"
tap_is "$STATUS $(answer "[(r['address'], r['state'], r['reason']) for r in j['recipients']]")" \
	"0 [('gone@large.example', 'skipped', 'bounced'), ('fine@large.example', 'sent', '')]" 'a suppressed recipient is left out, by reason'
hand_in Gone@large.example <<<"$MAIL again"
tap_is "$STATUS" 69 'a mail that nobody gets is refused (EX_UNAVAILABLE)'
tap_like "$(cat "$D/err")" 'Gone@large.example: bounced all test' 'with the evidence'
hand_in --wait hard1@large.example <<<"$MAIL"
tap_is "$STATUS $(one "state || ' ' || reason FROM kairan.send WHERE address_key = 'hard1@large.example'")" \
	'69 failed user_unknown' 'with --wait a refusal of the relay is told'
tap_is "$(one "reason FROM kairan.suppression WHERE address_key = 'hard1@large.example'")" bounce 'and suppresses the address'
tap_is "$(one "string_agg(DISTINCT what, ' ' ORDER BY what) FROM kairan.why('gone@large.example') WHERE what LIKE 'skip%' OR what LIKE 'supp%'")" \
	'skipped suppressed' 'why() tells it'

# ---- pause, and all in once ---------------------------------------------------------------------

tap_ok 'the run finishes' run_wait "$RUN" finished 10
"$BIN/kairan" campaign pause kairan-mail-transactional-example.org >/dev/null 2>&1 || sql -c "UPDATE kairan.run SET state = 'paused' WHERE id = $RUN"
sql -c "UPDATE kairan.run SET state = 'paused' WHERE id = $RUN"
before=$(taken)
hand_in --json held@large.example <<<"$MAIL"
sleep 0.5
tap_is "$STATUS $(answer "j['recipients'][0]['state']") $(taken)" "0 queued $before" 'a paused run takes mails and holds them'
sql -c "SELECT kairan.run_move($RUN, ARRAY['paused']::kairan.run_state[], 'running')" >/dev/null
tap_ok 'until it is resumed' wait_for 10 "state = 'sent' FROM kairan.send WHERE address_key = 'held@large.example'"
for i in $(seq 20); do
	printf 'From: shop@example.org\nTo: p%d@large.example\n\n%d\n' "$i" "$i" | "$KAIRAN" sendmail -t &
	clients[i]=$!
done
wait "${clients[@]}"
tap_ok 'twenty at once are all sent' wait_for 20 "count(*) = 20 FROM kairan.send WHERE run_id = $RUN AND address_key LIKE 'p%@large.example' AND state = 'sent'"
truth_load
tap_is "$(one "count(*) FROM (SELECT send FROM test.truth WHERE run = $RUN AND kept GROUP BY send HAVING count(*) > 1) AS t")" 0 'nobody twice'
tap_is "$(one "string_agg(v, '; ') FROM test.violations($RUN) AS v WHERE v NOT LIKE 'address % got it %'")" '' 'rows, counts and relay agree'
tap_is "$(one "planned - (sent + skipped + failed) FROM kairan.campaign_progress WHERE run_id = $RUN")" 0 'everybody is in a state'

# ---- forgotten ------------------------------------------------------------------------------------

sql -c "SELECT kairan.customer_erase('fine@large.example')" >/dev/null
tap_is "$(one "count(*) FROM kairan.mail WHERE content = ''")" 1 'the mail to a person who is erased is emptied'
sql -c "UPDATE kairan.mail SET created_at = now() - interval '31 days'"
tap_is "$(one "kairan.mail_forget(30) > 5")" t 'old mails are'
tap_is "$(one "count(*) FROM kairan.mail WHERE content <> ''")" 0 'all of them'
hand_in -t --json --key order-1 <<<"$MAIL"
tap_is "$STATUS $(answer "j['new']")" '0 False' 'their keys still hold'

# ---- Postfix calls it -------------------------------------------------------------------------

if postfix_available; then
	echo local.example >"$D/domains"
	postfix_start "$D" domains="$D/domains" conf='default_transport = kairan:' conf='kairan_destination_recipient_limit = 20' \
		>/dev/null
	pf=$(readlink "$D/postfix")
	user=$(id -un)
	[ "$user" != root ] || user=postgres # whose socket it is
	cat >"$pf/deliver" <<-SCRIPT
		#!/bin/sh
		[ ! -e "$pf/mail/away" ] || KAIRAN_DATABASE_URL='host=127.0.0.1 port=1 user=kairan_operator'
		export KAIRAN_DATABASE_URL="\${KAIRAN_DATABASE_URL:-$KAIRAN_DATABASE_URL}" KAIRAN_CONFIG=$pf/kairan.conf
		exec "$pf/kairan" sendmail "\$@"
	SCRIPT
	_postfix_root cp "$KAIRAN" "$pf/kairan"
	_postfix_root install -m 644 /dev/null "$pf/kairan.conf"
	_postfix_root chmod 755 "$pf/deliver" "$pf/kairan"
	# shellcheck disable=SC2016 # macros of pipe(8)
	printf 'kairan unix - n n - 4 pipe flags=R user=%s argv=%s -f ${sender} -i -- ${recipient}\n' "$user" "$pf/deliver" |
		_postfix_root tee -a "$pf/etc/master.cf" >/dev/null
	_postfix_root postfix -c "$pf/etc" reload >/dev/null 2>&1
	sleep 1
	: >"$pf/mail/away"
	# arguments: recipient, body
	smtp_send()
	{
		"$PYTHON" - "$POSTFIX_PORT" "$@" <<-'PYTHON'
			import smtplib, sys
			with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
			    s.sendmail("shop@example.org", sys.argv[2:4],
			        "From: shop@example.org\r\nTo: %s\r\nMessage-ID: <pipe@example.org>\r\nSubject: by pipe\r\n\r\n本文\r\n".encode() % sys.argv[2].encode())
		PYTHON
	}
	smtp_send pipe@large.example pipe2@large.example
	tap_ok 'PostgreSQL away: EX_TEMPFAIL, Postfix keeps the mail' services_wait 15 grep -q 'to=<pipe@large.example>.*status=deferred' "$POSTFIX_LOG"
	rm "$pf/mail/away"
	tap_ok 'and hands it in again' wait_for 30 "count(*) = 2 FROM kairan.send WHERE address_key LIKE 'pipe%@large.example' AND state = 'sent'"
	tap_is "$(relayed pipe@large.example "m['Subject'], m.get_content().strip(), 'Return-Path' in m")" "('by pipe', '本文', False)" 'as it was'
	smtp_send gone@large.example gone@large.example
	tap_ok 'a suppressed recipient bounces' services_wait 15 grep -q 'to=<gone@large.example>.*dsn=5.*status=bounced.*: bounced all test' "$POSTFIX_LOG"
	postfix_stop "$D"
else
	tap_skip 'Postfix calls it' "$POSTFIX_WHY_NOT"
fi
programs_stopped 'the programs end well' "$DISPATCHER" "$PRODUCER"

# ---- PostgreSQL away ------------------------------------------------------------------------------

pg_stop "$D" || true
hand_in -t <<<"$MAIL"
tap_is "$STATUS" 75 'PostgreSQL is away: EX_TEMPFAIL'
rm -rf "$FAKE_RELAY_MAIL"
tap_done
