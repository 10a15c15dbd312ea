#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Opens, clicks and the mail in a browser on real services: mails go through producer, dispatcher and
# the FAKE relay and are read back by Python's parsers; pixel and links are asked for by curl. Rows of
# the attack table have their number in the name. TAP.
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
FAKE_RELAY_MAIL=$(mktemp -d)
export FAKE_RELAY_MAIL
pipeline_start
FAKE="$PYTHON tests/support/sns_fake.py"
READ="$PYTHON tests/support/track_compare.py"
PORT=$(services_free_port)
URL=http://127.0.0.1:$PORT
BROWSER='Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
export KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:$PORT KAIRAN_WEB_BASE=$URL KAIRAN_LOG_LEVEL=debug
export KAIRAN_WEB_MACHINES=$D/machines.tsv
# the mails of this test are seconds old, and it is in a hurry
printf 'soon\t0\tmachine\tsoon\tthis test\nburst\t3/3\tmachine\tburst\tthis test\n' >"$D/machines.tsv"

token()
{
	$FAKE token "$D/keys" "$1" "$2" 1 "${3:-t}"
}

# arguments: path, further curl options; the answer in $D/page, its head in $D/head; stdout: status
get()
{
	local path=$1

	shift
	curl -s -o "$D/page" -D "$D/head" -m 15 -A "$BROWSER" -w '%{http_code}' "$@" "$URL$path"
}

head_has()
{
	grep -qiF -- "$1" "$D/head"
}

location()
{
	sed -n 's/^location: *\(.*\)\r$/\1/Ip' "$D/head"
}

healthy()
{
	[ "$(get /healthz)" = 200 ]
}

feedback_start()
{
	service_spawn feedback "$D/feedback.log" "$BIN/kairan-feedback" 2>/dev/null
	FEEDBACK=$SERVICE_PID
	services_wait 10 healthy
}

customers_add 12 shop.example user
sql -c "UPDATE kairan.customer SET name = '<b>Tarō & Co</b>' WHERE id = 2" -f - <<'SQL'
INSERT INTO kairan.template (digest, subject, html, body) VALUES ('html', 'Hello {{name}}', $html$<!doctype html>
<html><head><style>a { color: red }</style></head><body>
<p>Dear {{name}}, <a href="{{view_url}}">see this in a browser</a>.
<a class="x" href="https://shop.example/sale?a=1&amp;b=2#top" title="Sale">Sale &amp; more</a>
<a href='http://shop.example/日本?q=é'>日本</a> <a href=https://shop.example/bare>bare</a>
<a href="https://shop.example/private" kairan:no-track>private</a> <a ses:no-track href="https://shop.example/ses">ses</a>
<a href="https://shop.example/{{id}}">yours</a> <a href="mailto:a@shop.example">write</a> <a href="#top">top</a>
<a href="//evil.example/">scheme</a> <a href="https:evil.example">host</a>
{{#if name}}<a href="https://shop.example/sale?a=1&amp;b=2#top">again</a>{{/if}}
<!-- <a href="https://shop.example/comment">no</a> --><img src="cid:logo" alt="logo"><img src="cid:photo" alt="photo">
<a href="https://shop.example/three">three</a> <a href="https://shop.example/four">four</a>
<a href="{{unsubscribe_url}}">unsubscribe</a></p></body></html>$html$, '');
INSERT INTO kairan.blob SELECT encode(sha256(b), 'hex'), b FROM (VALUES ('\x89504e470d0a1a0a'::bytea)) AS v(b);
INSERT INTO kairan.template_file (template_id, position, name, type, content_id, digest)
	SELECT t.id, 1, 'logo.png', 'image/png', 'logo', b.digest FROM kairan.template t, kairan.blob b WHERE t.digest = 'html';
INSERT INTO kairan.blob SELECT encode(sha256(b), 'hex'), b FROM (VALUES ('\x474946383961'::bytea)) AS v(b);
INSERT INTO kairan.template_file (template_id, position, name, type, content_id, digest)
	SELECT t.id, 2, 'photo.gif', 'image/gif', 'photo', encode(sha256('\x474946383961'::bytea), 'hex') FROM kairan.template t
	WHERE t.digest = 'html';
INSERT INTO kairan.template (digest, subject, body) VALUES ('plain', 'Hello', E'Dear {{name}},\nin a browser: {{view_url}}\n  <as it is>');
INSERT INTO kairan.campaign (name, stream_id, template_id, from_address)
	SELECT CASE t.digest WHEN 'html' THEN 'news' ELSE t.digest END, s.id, t.id, 'news@example.org'
	FROM kairan.stream s, kairan.template t WHERE s.name = 'marketing' AND t.digest IN ('html', 'plain');
SQL

# ---- the mails --------------------------------------------------------------------------

producer_start
dispatcher_start one
OFF=$(run_add news off)
tap_ok 'a run of a stream that counts nothing is sent' run_wait "$OFF" finished 30
$READ show "$FAKE_RELAY_MAIL" "$OFF" user2@shop.example >"$D/links" 2>&1
tap_is "$(grep -c "$URL/[ok]/" "$D/links")" 0 'off is the default: no link leads over us, no pixel'
tap_is "$(grep -c 'https://shop.example/sale?a=1&b=2#top' "$D/links")" 2 'and the links are as they were written'
sql -c "UPDATE kairan.stream SET track_opens = true, track_clicks = true WHERE name = 'marketing'"
PLAIN=$(run_add plain one)
tap_ok 'a run of text alone is sent' run_wait "$PLAIN" finished 30
RUN=$(run_add news on)
tap_ok 'a run of a stream that counts is sent' run_wait "$RUN" finished 30
tap_is "$($READ compare "$FAKE_RELAY_MAIL" "$OFF" "$RUN" user2@shop.example 2>&1 | tail -n 1)" \
	'same 8 of 15 links changed, 1 image more' 'the visible text and all else is unchanged, only hrefs differ, and one pixel'
$READ show "$FAKE_RELAY_MAIL" "$RUN" user2@shop.example >"$D/links"
tap_is "$(grep -c "^$URL/k/" "$D/links")" 6 'six links lead over us'
for left in https://shop.example/private https://shop.example/ses https://shop.example/2 mailto:a@shop.example '#top' \
	//evil.example/ https:evil.example; do
	tap_ok "left alone: $left" grep -qxF -- "$left" "$D/links"
done
tap_is "$(grep -c "$URL/k/.*/u/\|mailto:u+.*@bounces" "$D/links")" 1 'the link to unsubscribe is never counted'
tap_is "$($PYTHON - "$FAKE_RELAY_MAIL" <<'PY'
import email, glob, sys
mails = [email.message_from_binary_file(open(n, 'rb')) for n in glob.glob(sys.argv[1] + '/*.eml')]
print(len(mails), sum(b'no-track' in (p.get_payload(decode=True) or b'') for m in mails for p in m.walk()))
PY
)" '36 0' 'the attributes are taken out, counted or not'
tap_is "$(one "string_agg(url, ' ' ORDER BY url) FROM kairan.link WHERE run_id = $RUN")" \
	'http://shop.example/%E6%97%A5%E6%9C%AC?q=%C3%A9 https://shop.example/bare https://shop.example/four https://shop.example/sale?a=1&b=2#top https://shop.example/three' \
	'each destination is kept once, fit for a header'

# ---- pixel and links --------------------------------------------------------------------

feedback_start
tap_is $? 0 'kairan-feedback serves'
send_of()
{
	one "id FROM kairan.send WHERE run_id = $RUN AND recipient_id = $1"
}
link_of()
{
	one "id FROM kairan.link WHERE run_id = $RUN AND url LIKE '%$1%'"
}
S2=$(send_of 2)
T2=$(token "$RUN" "$S2")
SALE=$(link_of sale)
tap_ok 'the pixel in the mail is that of this recipient' grep -qxF "$URL/o/$T2" "$D/links"
tap_is "$(get "/o/$T2")" 200 'the pixel is served'
tap_ok 'as a GIF of one pixel that nobody keeps' \
	sh -c "head -c 10 '$D/page' | od -An -tx1 | grep -q '47 49 46 38 39 61 01 00 01 00' && grep -qi '^content-type: image/gif' '$D/head' && grep -qi '^cache-control: no-store' '$D/head'"
tap_is "$(get "/k/$T2/$SALE") $(location)" '302 https://shop.example/sale?a=1&b=2#top' 'a link leads to its destination'
tap_is "$(get "/k/$T2/$(link_of '%E6')") $(location)" '302 http://shop.example/%E6%97%A5%E6%9C%AC?q=%C3%A9' 'an IRI as a URL'
tap_ok 'without a referrer' head_has 'Referrer-Policy: no-referrer'
for bad in "/k/$T2/aaaaaaaaaaaaa" "/k/$T2/https://evil.example/" "/k/$T2//evil.example" "/k/$T2/" "/k/${T2%?}x/$SALE" \
	"/k/$(token "$RUN" "$S2" u)/$SALE" "/k/$(token "$OFF" 1)/$SALE" "/k/$T2/$SALE?url=https://evil.example" \
	"/o/$(token "$RUN" "$S2" k)"; do
	status=$(get "$bad")
	case $bad in
	*\?url=*) tap_is "$status $(location)" '302 https://shop.example/sale?a=1&b=2#top' 'A36: a URL in the query is not looked at' ;;
	*) tap_is "$status $(location)" '404 ' "A36: no way elsewhere: ${bad:0:4}…${bad##*"$T2"}" ;;
	esac
done
tap_is "$(get "/k/$T2/$SALE" -X POST)" 404 'nothing is posted here'
S3=$(send_of 3) S4=$(send_of 4) S5=$(send_of 5) S6=$(send_of 6) S7=$(send_of 7)
get "/o/$(token "$RUN" "$S3")" -A 'Mozilla/5.0' >/dev/null
get "/o/$(token "$RUN" "$S4")" -A 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)' >/dev/null
tap_is "$(get "/k/$(token "$RUN" "$S5")/$SALE" -I)" 302 'HEAD is answered like GET'
T6=$(token "$RUN" "$S6")
LINKS=()
for one in sale three four bare; do
	LINKS+=("$URL/k/$T6/$(link_of $one)")
done
curl -s -o /dev/null -A "$BROWSER" "${LINKS[@]}"
seq 200 | xargs -P 8 -I{} curl -s -o /dev/null -A "$BROWSER" "$URL/o/$(token "$RUN" "$S7")"
get "/o/$(token "$RUN" 999)" >/dev/null
who()
{
	one "coalesce(string_agg(concat_ws(' ', kind, who, why, hits), ', ' ORDER BY kind, who), '-')
		FROM kairan.track WHERE run_id = $RUN AND send_id = $1 AND link = ''"
}
wait_for 15 "count(*) > 0 FROM kairan.track WHERE run_id = $RUN AND send_id = $S7"
wait_for 15 "sum(hits) >= 200 FROM kairan.track WHERE run_id = $RUN AND send_id = $S7"
tap_is "$(who "$S2")" 'click person none 3, open person none 1' 'a person who opened and clicked is counted as one'
tap_is "$(who "$S3")" 'open machine apple_mpp 1' 'Apple Mail Privacy Protection is a machine'
tap_is "$(who "$S4")" 'open proxy gmail_proxy 1' "Gmail's proxy is a person behind a proxy"
tap_is "$(who "$S5")" 'click machine head 1' 'HEAD is a machine'
tap_is "$(who "$S6")" 'click machine burst 4' 'four links at once are a scanner'
tap_is "$(who "$S7") $(one "count(*) FROM kairan.track WHERE send_id = $S7")" 'open person none 200 1' 'a flood is one row'
tap_is "$(who 999)" - 'a signed token of a mail that is not there counts nothing'
tap_is "$(one "concat_ws(' ', opened, opened_by_proxy, opened_by_machine, clicked, clicked_by_machine, open_hits, click_hits,
	machine_click_hits) FROM kairan.engagement WHERE run_id = $RUN")" '3 1 1 1 2 202 3 5' 'the view tells people and machines apart'
tap_is "$(one "string_agg(concat_ws(' ', recipients, clicks, machine_clicks), ', ' ORDER BY url) FROM kairan.link_clicks WHERE run_id = $RUN")" \
	'1 1 0, 0 0 1, 0 0 1, 1 2 2, 0 0 1' 'and the links of a run'
tap_is "$(one "count(opened_at) || ' ' || count(clicked_at) FROM kairan.send WHERE run_id = $RUN")" '3 1' 'rows have the facts of people alone'
tap_is "$(one "sum(opened) || ' ' || sum(clicked) FROM kairan.tally WHERE run_id = $RUN")" '3 1' 'and so have the counts'
tap_is "$(one "count(*) FROM (SELECT kind, link, who, sum(recipients) AS r, sum(hits) AS h FROM kairan.track_day WHERE run_id = $RUN GROUP BY 1, 2, 3) d
	FULL JOIN (SELECT kind, link, who, count(*) AS r, sum(hits) AS h FROM kairan.track WHERE run_id = $RUN GROUP BY 1, 2, 3) t
	USING (kind, link, who) WHERE (d.r, d.h) IS DISTINCT FROM (t.r, t.h)")" 0 'the counts by day sum up to the rows'
KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" campaign status news --run-key on >"$D/status" 2>&1
tap_ok 'campaign status shows them apart' sh -c "grep -q '3  opened' '$D/status' && grep -q '1  images loaded by machines' '$D/status' && grep -q '2  links followed by machines' '$D/status'"
KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" campaign report news --run-key on --html "$D/report.html" >"$D/status" 2>&1
tap_ok 'and so does the report' sh -c "grep -q 'Opens and clicks' '$D/report.html' && grep -q 'shop.example/sale' '$D/report.html'"

# ---- the mail in a browser --------------------------------------------------------------

V2=$(token "$RUN" "$S2" v)
tap_ok 'the mail has the link to its page' grep -qxF "$URL/v/$V2" "$D/links"
tap_is "$(get "/v/$V2")" 200 'the page is served'
cp "$D/page" "$D/shown"
tap_ok 'with the name, escaped' grep -qF 'Dear &lt;b&gt;Tarō &amp; Co&lt;/b&gt;' "$D/page"
tap_ok 'with its links as they were written' grep -qF 'href="https://shop.example/sale?a=1&amp;b=2#top"' "$D/page"
tap_is "$(grep -c "/[ok]/$T2\|no-track" "$D/page")" 0 'and nothing that counts'
tap_ok 'nothing in it may run' head_has "Content-Security-Policy: default-src 'none'; img-src"
tap_ok 'it is in a sandbox without scripts' sh -c "grep -i '^content-security-policy:.*sandbox' '$D/head' | grep -qv allow-scripts"
tap_ok 'nobody keeps or finds it' sh -c "grep -qi '^cache-control: no-store' '$D/head' && grep -qi '^x-robots-tag: noindex' '$D/head' && grep -qi '^x-content-type-options: nosniff' '$D/head'"
tap_ok 'its image is served by us' grep -qF "src=\"$URL/v/$V2/logo\"" "$D/page"
tap_is "$(get "/v/$V2/logo") $(head -c 40 "$D/page" | od -An -tx1)" '200  89 50 4e 47 0d 0a 1a 0a' 'and is the file of the campaign'
tap_ok 'so is its other image' grep -qF "src=\"$URL/v/$V2/photo\"" "$D/shown"
tap_is "$(get "/v/$V2/photo") $(head -c 40 "$D/page" | od -An -tx1)" '200  47 49 46 38 39 61' 'which is another file'
tap_ok 'of its own type' head_has 'Content-Type: image/gif'
tap_is "$(get "/v/$V2/other") $(get "/v/$V2/../logo") $(get "/v/$(token "$RUN" "$S2" t)") $(get "/v/${V2%?}x") $(get "/v/$V2" -X POST)" \
	'404 404 404 404 404' 'no other file, no other token, nothing to post'
VP=$(token "$PLAIN" "$(one "id FROM kairan.send WHERE run_id = $PLAIN AND recipient_id = 2")" v)
tap_is "$(get "/v/$VP")" 200 'a mail of text alone has its page'
tap_ok 'which shows the text as it is, and no mark-up of a field' \
	grep -qF "Dear &lt;b&gt;Tarō &amp; Co&lt;/b&gt;," "$D/page"
tap_is "$(grep -cF '  &lt;as it is&gt;' "$D/page") $(grep -cF "$URL/v/$VP" "$D/page")" '1 1' 'with its blanks and its link'
tap_ok 'in HTML' head_has 'Content-Type: text/html; charset=utf-8'
tap_is "$(KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" customer export user2@shop.example | "$PYTHON" -c 'import json, sys
t = json.load(sys.stdin)["tracked"]
print(*sorted({(r["kind"], r["who"], r["url"] or "-") for r in t if r["run_id"] == int(sys.argv[1])}))' "$RUN")" \
	"('click', 'person', '-') ('click', 'person', 'http://shop.example/%E6%97%A5%E6%9C%AC?q=%C3%A9') ('click', 'person', 'https://shop.example/sale?a=1&b=2#top') ('open', 'person', '-')" \
	'customer export has what was counted of a person'
sql -c "SELECT * FROM kairan.customer_erase('user2@shop.example')" >/dev/null
tap_is "$(get "/v/$V2")" 410 'the mail of somebody who was erased is gone'
tap_is "$(who "$S2")" - 'and so is what he opened'
tap_is "$(one "has_table_privilege('kairan_feedback', 'kairan.customer', 'SELECT') OR has_table_privilege('kairan_feedback', 'kairan.template', 'SELECT')")" \
	f 'kairan-feedback still reads no customer and no template'
tap_is "$(one "v FROM kairan.view_values($RUN, $S3, ARRAY['email'], ARRAY[false]) AS v")" '' 'and gets no field that the mail does not show'

# ---- preview ----------------------------------------------------------------------------

mkdir "$D/c"
printf '%s\n' '[campaign]' 'name = shown' 'stream = marketing' 'subject = Hello' 'from = Shop <news@example.org>' \
	'text = shown.txt' 'html = shown.html' 'segment = everyone' >"$D/c/shown.campaign"
printf 'Here: {{view_url}}\n' >"$D/c/shown.txt"
printf '<p>{{#if view_url}}<a href="{{view_url}}">Here</a>{{/if}}</p>\n' >"$D/c/shown.html"
preview()
{
	KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" campaign preview "$D/c/shown.campaign" "$@" 2>&1
}
tap_like "$(preview --text)" "Here: $URL/v/[a-z0-9-]+" 'preview shows where the mail would be seen'
tap_like "$(preview --html)" "href=\"$URL/v/[a-z0-9-]+\"" 'in both parts'
tap_like "$(KAIRAN_WEB_BASE='' preview --text)" 'Here: https://web\.example/v/' 'without web.base it shows an example'
KAIRAN_WEB_BASE='' KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" campaign create "$D/c/shown.campaign" >"$D/out" 2>&1
tap_is $? 2 'but such a campaign is not created'
tap_like "$(cat "$D/out")" 'use view_url, but web.base is not set' 'and the reason is told'
printf 'Hello\n' >"$D/c/shown.txt"
KAIRAN_WEB_BASE='' KAIRAN_DATABASE_URL=$SUPER "$BIN/kairan" campaign create "$D/c/shown.campaign" >"$D/out" 2>&1
tap_is $? 0 'under a condition it may be missing'
tap_like "$(cat "$D/out")" 'warning: .*marketing.* counts opens and clicks, but web.base is not set' \
	'but that a stream cannot count without web.base is told'

# ---- the end ----------------------------------------------------------------------------

get "/o/$(token "$RUN" "$(send_of 8)")" >/dev/null
service_stop "$FEEDBACK"
tap_is $? 0 'kairan-feedback stops'
tap_is "$(who "$(send_of 8)")" 'open person none 1' 'and what waited is counted'
# a mail that was sent just now is opened by a machine
printf 'soon\t3600\tmachine\tsoon\tthis test\n' >"$D/machines.tsv"
feedback_start
tap_is $? 0 'it starts again with other rules'
get "/o/$(token "$RUN" "$(send_of 9)")" >/dev/null
sql -c "UPDATE kairan.send SET settled_at = now() - interval '2 hours', claimed_at = now() - interval '2 hours' WHERE run_id = $RUN AND id = $(send_of 10)"
get "/o/$(token "$RUN" "$(send_of 10)")" >/dev/null
service_stop "$FEEDBACK"
tap_is "$(who "$(send_of 9)")" 'open machine soon 1' 'who opens sooner after sending than "soon" says is a machine'
tap_is "$(who "$(send_of 10)")" 'open person none 1' 'who opens later is not'
tap_is "$(grep -c 'ERROR: \|runtime error' "$D/feedback.log")" 0 'no sanitizer complained'
programs_stopped 'all end well' "$PRODUCER" "$DISPATCHER"
rm -rf "$FAKE_RELAY_MAIL"
tap_done
