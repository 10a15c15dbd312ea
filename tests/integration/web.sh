#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The pages for recipients on real services, by curl: unsubscribe (page, one click, mail), undo,
# forged and foreign tokens, change of address, double opt-in. Mails go through producer,
# dispatcher and the FAKE relay. Rows of the attack table have their number in the name. TAP.
# shellcheck disable=SC2119,SC2317
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

[ -x "$BIN/kairan-feedback" ] || tap_skip_all "$BIN/kairan-feedback is not built"
export FAKE_RELAY_MAIL
FAKE_RELAY_MAIL=$(mktemp -d)
pipeline_start
FAKE="$PYTHON tests/support/sns_fake.py"
PORT=$(services_free_port)
URL=http://127.0.0.1:$PORT
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$PORT KAIRAN_FEEDBACK_LMTP_LISTEN=unix:$D/lmtp
export KAIRAN_WEB_BASE=$URL KAIRAN_WEB_FROM_ADDRESS=news@example.org KAIRAN_WEB_FROM_NAME='回覧 Shop'
export KAIRAN_LOG_LEVEL=debug
# an html part beside our own text
mkdir "$D/words"
printf '<p>{{default name "you"}}: <a href="{{confirm_url}}">Yes</a></p>\n' >"$D/words/address-en.html"
export KAIRAN_WEB_WORDS=$D/words
cat >"$D/parts.py" <<'PY'
import email, email.policy, re, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
parts = list(m.iter_parts())
links = {re.search(r"https?://[^\s\"<]+", p.get_content()).group() for p in parts}
print(m.get_content_type(), *(p.get_content_type() for p in parts), len(links) == 1 and links.pop() == sys.argv[2])
PY
# arguments: run, send, URL; the types of the parts, and whether each links there
parts()
{
	"$PYTHON" "$D/parts.py" "$FAKE_RELAY_MAIL/1-$1-$2.eml" "$3"
}

# arguments: run, send [, purpose]; a token of the first attempt
token()
{
	$FAKE token "$D/keys" "$1" "$2" 1 "${3:-u}"
}

# arguments: path, further curl options; the page in $D/page, its head in $D/head; stdout: status
get()
{
	local path=$1

	shift
	curl -s -o "$D/page" -D "$D/head" -m 15 -w '%{http_code}' "$@" "$URL$path"
}

post()
{
	local path=$1

	shift
	get "$path" -X POST "$@"
}

one_click()
{
	post "$1" --data 'List-Unsubscribe=One-Click'
}

says()
{
	grep -qF -- "$1" "$D/page"
}

healthy()
{
	[ "$(get /healthz)" = 200 ]
}

suppressed()
{
	one "coalesce(string_agg(scope || ' ' || reason || ' ' || source, ', ' ORDER BY scope), '-')
		FROM kairan.suppression WHERE address_key = '$1'"
}

feedback_start()
{
	service_spawn feedback "$D/feedback.log" "$BIN/kairan-feedback" 2>/dev/null
	FEEDBACK=$SERVICE_PID
	services_wait 10 healthy
}

# arguments: address; stdout: path of the link to confirm in the newest mail to it, as it was sent
confirm_link()
{
	"$PYTHON" - "$TRUTH" "$1" "$URL" <<'PY'
import json, sys
for line in reversed(open(sys.argv[1]).read().splitlines()):
    mail = json.loads(line)
    if mail['to'][0] == sys.argv[2]:
        print(*{link.removeprefix(sys.argv[3]) for link in mail['links'] if '/c/' in link})
        break
PY
}

# arguments: address; waits for the mail to it and leaves the link in C, its run and row in CRUN and CSEND
mail_to()
{
	wait_for 20 "count(*) = 1 FROM kairan.send WHERE address = '$1' AND state = 'sent'" || return 1
	C=$(confirm_link "$1")
	read -r CRUN CSEND <<<"$(one "run_id || ' ' || id FROM kairan.send WHERE address = '$1'")"
	[ "${#C}" = 37 ]
}

relay_set 'links = 1'
customers_add 30 shop.example user
sql -c "UPDATE kairan.customer SET locale = 'ja' WHERE id = 2"
campaign_add weekly "list='news'" "from_name='回覧 Shop'"
campaign_add other "list='offers'"
RUN=$(run_add weekly a)
producer_start
dispatcher_start one
tap_ok 'a run is sent' run_wait "$RUN" finished 30
feedback_start
tap_is $? 0 'kairan-feedback serves'
address_of()
{
	one "address FROM kairan.send WHERE run_id = $RUN AND id = $1"
}
send_of()
{
	one "id FROM kairan.send WHERE run_id = $RUN AND recipient_id = $1"
}

# ---- the page ---------------------------------------------------------------------------

T=$(token "$RUN" 1)
A=$(address_of 1)
before=$(one 'count(*) FROM kairan.feedback_event')
tap_is "$(get "/u/$T")" 200 'GET shows a page'
tap_ok 'in English by default' says 'Stop these mails?'
tap_ok 'that names list and sender' says 'the mails of “news” from 回覧 Shop'
tap_is "$(grep -c "$A" "$D/page")" 0 'and the address only in part'
tap_ok 'which is enough to know it' says "${A:0:1}•••@shop.example"
tap_is "$(get "/u/$T" -H 'Accept-Language: fr, ja;q=0.8, en;q=0.3')" 200 'A browser may wish another language'
tap_ok 'and gets it' says '配信を停止しますか'
tap_is "$(get "/u/$(token "$RUN" "$(send_of 2)")")" 200 'a customer has a language, too'
tap_ok 'which serves when the browser names none' says '配信を停止しますか'
tap_is "$(get "/u/$T?lang=ja" -H 'Accept-Language: en')" 200 'the reader has the last word'
tap_ok 'about it' says '配信を停止しますか'
tap_like "$(tr -d '\r' <"$D/head")" "[Cc]ontent-[Ss]ecurity-[Pp]olicy: default-src 'none'; style-src 'sha256-" 'nothing foreign may load'
tap_like "$(tr -d '\r' <"$D/head")" 'Referrer-Policy: no-referrer' 'the token stays here'
tap_like "$(tr -d '\r' <"$D/head")" 'Cache-Control: no-store' 'and in no cache'
tap_is "$(grep -ciE '<script|<img|src=|https?://' "$D/page")" 0 'no script, image or foreign address is in it'
for _ in 1 2 3; do
	get "/u/$T" >/dev/null
	get "/u/$T" -I >/dev/null
	get "/u/$T" -A 'Mozilla/5.0 (scanner; prefetch)' -H 'Purpose: prefetch' >/dev/null
done
tap_is "$(get "/u/$T?List-Unsubscribe=One-Click&scope=all" -I)" 200 'HEAD is answered'
tap_is "$(get "/u/$T?List-Unsubscribe=One-Click&scope=all")" 200 'so is GET with the words of a POST'
tap_is "$(post "/u/$T" -X PUT --data 'List-Unsubscribe=One-Click')" 400 'other methods are refused'
tap_is "$(suppressed "$A") $(one 'count(*) FROM kairan.feedback_event')" "- $before" \
	'A38: GET, HEAD and prefetchers change nothing'

# ---- one click --------------------------------------------------------------------------

# a run whose jobs wait: the dispatcher is away
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
NEXT=$(run_add weekly b)
tap_ok 'the next run waits' wait_for 20 "state = 'running' AND pushed = 30 FROM kairan.run WHERE id = $NEXT"
start=$(date +%s%N)
tap_is "$(one_click "/u/$T")" 200 'one click is taken'
took=$((($(date +%s%N) - start) / 1000000))
tap_is "$(suppressed "$A")" 'list:news unsubscribe web' 'and has suppressed when it is answered'
tap_ok "within a second ($took ms)" test "$took" -lt 1000
tap_ok 'the answer is no redirect' says 'You are unsubscribed'
tap_is "$(grep -ci '^set-cookie\|^location' "$D/head")" 0 'and wants no cookie'
tap_is "$(post "/u/$(token "$RUN" 2)" -F 'List-Unsubscribe=One-Click')" 200 'one click as multipart/form-data'
tap_is "$(suppressed "$(address_of 2)")" 'list:news unsubscribe web' 'works as well'
tap_is "$(post "/u/$(token "$RUN" 3)" -H 'Content-Type:' --data '')" 200 'so does a POST without a body'
tap_is "$(suppressed "$(address_of 3)")" 'list:news unsubscribe web' 'since the token says it all'
events=$(one 'count(*) FROM kairan.feedback_event')
for _ in 1 2 3 4 5; do one_click "/u/$T" >>"$D/again"; done
tap_is "$(cat "$D/again")" 200200200200200 'again and again is answered the same'
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$events" 'and leaves one event'
for _ in 1 2 3 4 5 6; do one_click "/u/$(token "$RUN" 4)" >/dev/null & done
wait -n 2>/dev/null; sleep 1
tap_is "$(suppressed "$(address_of 4)")" 'list:news unsubscribe web' 'at the same time, too'
dispatcher_start one
tap_ok 'the waiting run goes on' run_wait "$NEXT" finished 30
tap_is "$(run_states "$NEXT")" 'sent 26, skipped 4' 'and the next claim leaves them out'
tap_is "$(one "count(*) FROM kairan.send n JOIN kairan.send o USING (recipient_id)
	WHERE o.run_id = $RUN AND o.id <= 4 AND n.run_id = $NEXT AND n.state = 'skipped' AND n.reason = 'suppressed'")" 4 \
	'those and no others'
run_check "$NEXT" 'nobody of them got it'
OTHER=$(run_add other a)
tap_ok 'another list goes out' run_wait "$OTHER" finished 30
tap_is "$(run_states "$OTHER")" 'sent 30' 'to all of them'

# ---- scope, undo ------------------------------------------------------------------------

tap_is "$(post "/u/$(token "$RUN" 5)" --data 'scope=all')" 200 'the page can stop everything'
tap_is "$(suppressed "$(address_of 5)")" 'all unsubscribe web' 'which holds for every list'
tap_ok 'it says so' says 'gets no more mails from 回覧 Shop'
tap_ok 'and offers to take it back' says 'It was a mistake'
tap_is "$(post "/u/$(token "$RUN" 5)" --data 'do=undo')" 200 'a mistake'
tap_ok 'is taken back' says 'You stay subscribed'
tap_is "$(suppressed "$(address_of 5)")" - 'nothing is left'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'unsubscribe_undone'")" 1 'but a trace'
tap_is "$(one_click "/u/$(token "$RUN" 5)")" 200 'the same link afterwards'
tap_is "$(suppressed "$(address_of 5)")" 'list:news unsubscribe web' 'unsubscribes anew'
sql -c "UPDATE kairan.suppression SET created_at = now() - interval '2 hours'"
tap_is "$(post "/u/$(token "$RUN" 5)" --data 'do=undo')" 200 'two hours later'
tap_ok 'it is too late' says 'cannot be taken back'
tap_is "$(suppressed "$(address_of 5)")" 'list:news unsubscribe web' 'and stays'
sql -c "INSERT INTO kairan.suppression (address_key, reason) VALUES ('$(address_of 6)', 'complaint')"
tap_is "$(post "/u/$(token "$RUN" 6)" --data 'do=undo') $(suppressed "$(address_of 6)")" '200 all complaint ' \
	'a complaint cannot be taken back here'

# ---- tokens -----------------------------------------------------------------------------

GOOD=$(token "$RUN" 7)
state()
{
	one "md5(coalesce(string_agg(s::text, '' ORDER BY address_key, scope), '')) || count(*) FROM kairan.suppression s"
}
was=$(state)
flip=${GOOD:0:20}$([ "${GOOD:20:1}" = a ] && echo b || echo a)${GOOD:21}
for bad in "$flip" "${GOOD:0:33}" "${GOOD}a" "$(printf 'a%.0s' {1..34})" '' "$(token "$RUN" 7 b)" "$(token "$RUN" 7 c)" \
	"$(token 999 1)" "$(token "$RUN" 9999)" '%00' '..%2f..%2fetc' "$(printf 'x%.0s' {1..3000})"; do
	one_click "/u/$bad" >>"$D/codes"
	echo >>"$D/codes"
	wc -c <"$D/page" >>"$D/sizes"
done
tap_is "$(sort -u "$D/codes" | xargs)" 404 'A37: forged, cut, foreign, for another purpose, of no row: 404'
tap_is "$(sort -u "$D/sizes" | wc -l)" 1 'A37: with a page of one size'
tap_ok 'that is friendly' says 'This link does not work'
tap_is "$(state)" "$was" 'A37: and nothing has changed'
tap_is "$(get "/u/$(echo "$GOOD" | tr a-z A-Z)")" 200 'capital letters are the same token'
for _ in $(seq 1 200); do
	printf 'url = %s/u/%s\noutput = /dev/null\n' "$URL" "$(head -c 34 /dev/urandom | base32 | tr -d '=\n' | tr A-Z a-z | head -c 34)"
done >"$D/guesses"
tap_is "$(curl -s -K "$D/guesses" -w '%{http_code}\n' -X POST | sort | uniq -c | xargs)" '200 404' \
	'A37: guessing finds nothing'

# a new key signs, the old one still verifies, a third is gone
cp "$D/keys" "$D/keys.old"
{ printf '2 %064d\n' 7; cat "$D/keys.old"; } >"$D/keys"
service_stop "$FEEDBACK"
feedback_start
tap_is "$(one_click "/u/$GOOD")" 200 'a token of the old key'
tap_is "$(suppressed "$(address_of 7)")" 'list:news unsubscribe web' 'still unsubscribes'
tap_is "$(one_click "/u/$(token "$RUN" 8)")" 200 'so does one of the new key'
cp "$D/keys" "$D/keys.both"
printf '3 %064d\n' 9 >"$D/keys"
tap_is "$(one_click "/u/$(token "$RUN" 9)") $(suppressed "$(address_of 9)")" '404 -' 'a key that we do not have means nothing'
cp "$D/keys.both" "$D/keys"

# consent that is newer than an unsubscribe
sql -c "DELETE FROM kairan.suppression WHERE address_key = '$(address_of 7)'" \
	-c "UPDATE kairan.customer SET consent_at = now() WHERE email = '$(address_of 7)'"
tap_is "$(one_click "/u/$GOOD") $(suppressed "$(address_of 7)")" '200 -' 'A39: a replay after a newer consent changes nothing'
tap_ok 'A39: but asks' says 'Stop these mails?'
tap_is "$(post "/u/$GOOD" --data 'scope=list') $(suppressed "$(address_of 7)")" '200 list:news unsubscribe web' \
	'and the button acts'

# ---- broken bodies, limits --------------------------------------------------------------

head -c 100000 /dev/zero | tr '\0' a >"$D/big"
tap_is "$(post "/u/$(token "$RUN" 10)" --data-binary "@$D/big")" 413 'a large body is refused'
tap_is "$(suppressed "$(address_of 10)")" - 'and not obeyed'
tap_is "$(post "/a/$(token "$RUN" 10)" -H 'Content-Type: multipart/form-data; boundary=x' --data $'--x\r\nbroken')" 422 \
	'a broken form is shown again'
tap_is "$(get "/x/$T") $(get /u) $(get /)" '404 404 404' 'other paths are unknown'

# ---- by mail ----------------------------------------------------------------------------

lmtp()
{
	"$PYTHON" -c '
import smtplib, socket, sys
class L(smtplib.LMTP):
    def connect(self, host="", port=0, source_address=None):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.settimeout(20)
        self.sock.connect(sys.argv[1]); self.file = None
        return self.getreply()
c = L("/x")
c.ehlo_or_helo_if_needed(); c.mail(""); c.rcpt(sys.argv[2])
print(c.data(sys.stdin.buffer.read())[0]); c.quit()' "$D/lmtp" "$1"
}
tap_is "$(printf 'From: x@y.example\nSubject: unsubscribe\n\n' | lmtp "u+$(token "$RUN" 11)@bounces.example.org")" 250 \
	'a mail to u+TOKEN'
tap_is "$(suppressed "$(address_of 11)")" 'list:news unsubscribe mail' 'unsubscribes as well'
tap_is "$(printf 'From: x@y.example\nAuto-Submitted: auto-replied\nSubject: away\n\n' | lmtp "u+$(token "$RUN" 12)@bounces.example.org")" 250 \
	'a reply of a machine to it'
tap_is "$(suppressed "$(address_of 12)")" - 'does not'

# ---- a new address ----------------------------------------------------------------------

W=$(token "$RUN" 13)
OLD=$(address_of 13)
WHO=$(one "recipient_id FROM kairan.send WHERE run_id = $RUN AND id = 13")
ask()
{
	post "/a/$1" --data-urlencode "old=$2" --data-urlencode "new=$3"
}
tap_is "$(get "/a/$W")" 200 'the form for a new address'
tap_ok 'is there' says 'Your new address'
tap_is "$(ask "$W" "$OLD" 'not an address')" 422 'what is no address is refused'
tap_ok 'with the form again' says 'not a complete mail address'
tap_is "$(ask "$W" "$OLD" '"><script>alert(1)</script>@x.example')" 422 'markup is no address'
tap_is "$(grep -c '<script' "$D/page")" 0 'A35: and is shown as text'
tap_is "$(ask "$W" "$OLD" $'x@y.example\r\nBcc: z@y.example')" 422 'A25: nor are line ends'
tap_is "$(ask "$W" someone@else.example new@phone.example)" 422 'who does not know the present address moves nobody'
tap_is "$(ask "$W" "$OLD" "$OLD")" 422 'both the same'
tap_is "$(one "count(*) FROM kairan.campaign WHERE name LIKE 'kairan-address%'")" 0 'no mail was ordered so far'
tap_is "$(ask "$W" "${OLD^^}" new@phone.example)" 200 'both right'
tap_ok 'says that a mail comes' says 'We are writing to new@phone.example'
tap_is "$(one "email FROM kairan.customer WHERE id = $WHO") $(suppressed "$OLD")" "$OLD -" 'nothing has changed yet'
mail_to new@phone.example	# not within tap_ok, whose subshell would keep what it finds
tap_is $? 0 'the mail goes the way of all mails, with a link in it'
tap_is "$(one "c.name FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE r.id = $CRUN")" kairan-address-en \
	'as a campaign of its own'
tap_is "$(parts "$CRUN" "$CSEND" "$URL$C")" 'multipart/alternative text/plain text/html True' 'with an html part that has the same link'
tap_ok 'its run is finished and counted' run_wait "$CRUN" finished 10
run_check "$CRUN" 'and right'
tap_is "$(get "$C")" 200 'the link shows a page'
tap_ok 'with a button' says 'Yes, I confirm'
get "$C" -I >/dev/null
tap_is "$(one "email FROM kairan.customer WHERE id = $WHO")" "$OLD" 'A38: looking at it confirms nothing'
tap_is "$(post "/c/$(token "$CRUN" "$CSEND")" --data do=confirm) $(post "/c/$W" --data do=confirm) $(post "/c/$(token "$RUN" 13 c)" --data do=confirm)" \
	'404 404 404' 'tokens of another purpose or of a mail that asked nothing'
tap_is "$(post "$C" --data do=confirm -A 'Test Browser 1.0')" 200 'the button confirms'
tap_ok 'thanks' says 'go to new@phone.example from now on'
tap_is "$(one "email FROM kairan.customer WHERE id = $WHO")" new@phone.example 'the customer has the new address'
tap_is "$(suppressed "$OLD")" 'all manual address_change' 'and the old one is suppressed'
tap_is "$(one "kind || ' ' || (confirmed_at IS NOT NULL) || ' ' || (applied_at IS NOT NULL) || ' ' || (evidence LIKE '%Test Browser 1.0%')
	FROM kairan.confirmation WHERE run_id = $CRUN")" 'address true true true' 'time and evidence are kept'
tap_is "$(post "$C" --data do=confirm)" 200 'a second press is answered the same'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE reason = 'confirmed_address'")" 1 'and counted once'
tap_is "$(ask "$W" "$OLD" third@phone.example)" 422 'the old mail moves nobody any more'

# back again, and not too often
V=$(token "$RUN" 14)
VOLD=$(address_of 14)
for n in 1 2 3 4; do ask "$V" "$VOLD" "many$n@phone.example" >>"$D/many"; done
tap_is "$(cat "$D/many")" 200200200429 'a customer gets three mails a day'
tap_is "$(ask "$(token "$RUN" 15)" "$(address_of 15)" many1@phone.example)$(ask "$(token "$RUN" 16)" "$(address_of 16)" many1@phone.example)$(ask "$(token "$RUN" 17)" "$(address_of 17)" many1@phone.example)" \
	200200429 'so does an address, whoever asks'
sql -c "INSERT INTO kairan.suppression (address_key, reason) VALUES ('dead@phone.example', 'bounce')"
tap_is "$(ask "$(token "$RUN" 18)" "$(address_of 18)" dead@phone.example)" 200 'of a suppressed address nobody learns'
tap_is "$(one "count(*) FROM kairan.send WHERE address_key = 'dead@phone.example'")" 0 'but it gets no mail'
sql -c "INSERT INTO kairan.suppression (address_key, scope, reason) VALUES ('$(address_of 19)', 'list:offers', 'unsubscribe')"
ask "$(token "$RUN" 19)" "$(address_of 19)" moved@phone.example >/dev/null
mail_to moved@phone.example
tap_is $? 0 'another one is asked'
tap_is "$(post "$C" --data do=confirm)" 200 'and confirms'
tap_is "$(suppressed moved@phone.example)" 'list:offers unsubscribe ' 'what was unsubscribed stays so at the new address'
ask "$(token "$RUN" 20)" "$(address_of 20)" late@phone.example >/dev/null
mail_to late@phone.example
tap_is $? 0 'one more'
sql -c "UPDATE kairan.send SET claimed_at = now() - interval '8 days' WHERE run_id = $CRUN AND id = $CSEND"
tap_is "$(post "$C" --data do=confirm)" 410 'a link of eight days ago is too old'
tap_is "$(one "count(*) FROM kairan.customer WHERE email = 'late@phone.example'")" 0 'and changes nothing'

# ---- double opt-in ----------------------------------------------------------------------

kairan()
{
	KAIRAN_DATABASE_URL="${KAIRAN_DATABASE_URL}&user=kairan_operator" "$BIN/kairan" "$@" 2>"$D/kairan.err"
}
tap_is "$(kairan customer invite hanako@new.example --language ja --success https://shop.example/welcome?x=1 --list news)" \
	'hanako@new.example: invited' 'an invitation'
tap_is "$(one "status || ' ' || (consent_at IS NULL) FROM kairan.customer WHERE email = 'hanako@new.example'")" 'unconfirmed true' \
	'makes a customer who has not consented'
sql -c "INSERT INTO kairan.suppression (address_key, scope, reason) VALUES ('hanako@new.example', 'list:news', 'unsubscribe')"
mail_to hanako@new.example
tap_is $? 0 'is sent'
tap_is "$(get "$C")" 200 'its page'
tap_ok 'is in Japanese' says '受け取りますか'
tap_like "$(tr -d '\r' <"$D/head")" "form-action 'self' https://shop.example;" 'and may lead to the shop'
tap_is "$(post "$C" --data do=confirm)" 303 'confirming'
tap_like "$(tr -d '\r' <"$D/head")" 'Location: https://shop.example/welcome\?x=1' 'leads to the page of whoever invited'
tap_is "$(one "status || ' ' || (consent_at > now() - interval '1 minute') FROM kairan.customer WHERE email = 'hanako@new.example'")" \
	'active true' 'and is consent'
tap_is "$(suppressed hanako@new.example)" - 'which lifts the unsubscribe of that list'
tap_is "$(one "count(*) FROM kairan.confirmed JOIN kairan.customer c ON c.id = recipient_id WHERE email = 'hanako@new.example'")" 1 \
	'segments can ask for it'
printf 'Subject: Join us\n\n{{confirm_url}}\n' >"$D/own.txt"
printf '<a href="{{confirm_url}}">Join</a>\n' >"$D/own.html"
printf '<a href={{confirm_url}}>Join</a>\n' >"$D/bad.html"
kairan customer invite ken@new.example --text "$D/own.txt" --html "$D/bad.html" >"$D/out"
tap_is $? 2 'html that is not fit is refused'
tap_like "$(cat "$D/kairan.err")" 'bad.html: line 1, column 11: ' 'with file, line and column'
kairan customer invite ken@new.example --html "$D/own.html" >"$D/out"
tap_is $? 2 'html alone as well'
tap_is "$(kairan customer invite ken@new.example --text "$D/own.txt" --html "$D/own.html")" 'ken@new.example: invited' 'a text of our own with html'
mail_to ken@new.example
tap_is $? 0 'is sent'
tap_is "$(parts "$CRUN" "$CSEND" "$URL$C")" 'multipart/alternative text/plain text/html True' 'as both parts, with the same link'
tap_is "$(kairan customer invite dead@phone.example; echo $?)" $'dead@phone.example: suppressed\n6' 'who is suppressed is not invited'
tap_is "$(kairan customer invite 'no address'; echo $?)" $'no address: invalid, no @ in the address\n6' 'nor is what is no address'
kairan customer invite x@new.example --success 'javascript:alert(1)' >/dev/null
tap_is $? 2 'A36: only https pages may be led to'
kairan customer invite --segment "c.email LIKE 'user2_@shop.example'" --failure https://shop.example/late >"$D/out"
tap_is $? 0 'a segment is invited'
tap_ok 'by a run like any other' wait_for 30 "r.state = 'finished' FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id
	WHERE c.segment LIKE '%user2_%'"
CRUN=$(one "r.id FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id WHERE c.segment LIKE '%user2_%'")
run_check "$CRUN" 'exactly once'
kairan customer invite --segment "c.email LIKE 'user2_@shop.example'" --failure https://shop.example/late >"$D/out"
tap_is $? 6 'the same again invites nobody'
kairan customer invite --segment 'c.nothing = 1' >/dev/null
tap_is $? 2 'a wrong segment is refused'
sql -c "UPDATE kairan.send SET claimed_at = now() - interval '8 days' WHERE run_id = $CRUN AND id = 1"
tap_is "$(post "/c/$(token "$CRUN" 1 c)" --data do=confirm)" 303 'too late'
tap_like "$(tr -d '\r' <"$D/head")" 'Location: https://shop.example/late' 'leads to the page for that'

tap_is "$(kairan customer export moved@phone.example | grep -c '"confirmed_at": "20')" 1 'what was confirmed is in the data of a person'
kairan customer erase moved@phone.example --yes >"$D/out"
tap_is "$(one "count(*) FROM kairan.confirmation WHERE address LIKE 'moved@%' OR address_key LIKE 'moved@%'")" 0 'and is erased with him'

# customers in a table of the owner: what was confirmed waits for him
sql -c 'CREATE TABLE public.member AS SELECT id, email AS mail FROM kairan.customer' -c 'DROP TABLE kairan.customer' \
	-c 'CREATE VIEW kairan.customer AS SELECT id, mail AS email FROM public.member' \
	-c 'GRANT SELECT ON kairan.customer TO kairan_dispatcher, kairan_segment, kairan_operator'
service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?" # it has statements on the table before
dispatcher_start one
OLD=$(address_of 21)
tap_is "$(ask "$(token "$RUN" 21)" "$OLD" view@phone.example)" 200 'with a view, a new address'
mail_to view@phone.example
tap_is $? 0 'is asked'
tap_is "$(post "$C" --data do=confirm)" 200 'and confirmed'
tap_is "$(one "old_address || ' ' || new_address FROM kairan.address_change")" "$OLD view@phone.example" 'it waits for the owner'
tap_is "$(kairan customer invite nobody@new.example; echo $?)" $'nobody@new.example: unknown\n6' 'a view gets no customers from us'

# ---- without PostgreSQL, logs, end ------------------------------------------------------

# shellcheck disable=SC2016
tap_is "$(one "string_agg(p.proname, ' ') FROM pg_proc p WHERE pronamespace = 'kairan'::regnamespace AND prosecdef
	AND NOT coalesce(proconfig::text LIKE '%search_path=kairan, pg_temp%', false)")" '' 'A51: every definer has a fixed search_path'
programs_stopped 'producer and dispatcher end well' "$PRODUCER" "$DISPATCHER"
pg_stop "$D" fast
unserved()
{
	[ "$(get "/u/$T")" = 503 ] && says 'try again'
}
tap_ok 'without PostgreSQL the page says so' services_wait 10 unserved
tap_is "$(one_click "/u/$T")" 503 'and one click is asked to come again'
service_stop "$FEEDBACK"
tap_is $? 0 'it ends with 0'
tap_is "$(grep -cE 'example\.(com|org)|phone\.example|shop\.example|new\.example' "$D/feedback.log")" 0 'A45: no address is in the log'
tap_is "$(grep -cE "$T|$C|$GOOD" "$D/feedback.log")" 0 'nor a token'
tap_is "$(grep -cE 'Sanitizer|runtime error' "$D/feedback.log")" 0 'no sanitizer complained'
rm -r "$FAKE_RELAY_MAIL"
tap_done
