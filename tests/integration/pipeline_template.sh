#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A template of Amazon SES with lists, nested fields and a partial from a file, from the campaign
# file to the message on the wire; the customers who lack a field, by each policy. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
mkdir "$D/c"
cat >"$D/c/order.json" <<'JSON'
{"Template": {"TemplateName": "order",
 "SubjectPart": "{{order.number}}: {{#each items}}{{name}}{{#unless @last}}, {{/unless}}{{/each}}",
 "HtmlPart": "<h1>{{> greeting}}</h1>\n<ul>\n{{#each items}}\n<li><a href=\"{{url}}\">{{name}}</a> {{price}}</li>\n{{/each}}\n</ul><a href=\"{{amazonSESUnsubscribeUrl}}\">stop</a>",
 "TextPart": "{{> greeting}}\r\n{{#each items}}{{@index}} {{name}} {{price}}\r\n{{/each}}{{#if vip}}VIP{{else if name}}dear{{/if}}"}}
JSON
printf 'Hello %s' '{{default name "you"}}' >"$D/c/greeting.html"
printf 'Hello %s\n' '{{default name "you"}}' >"$D/c/greeting.txt"
for policy in fail skip blank; do
	cat >"$D/c/$policy.campaign" <<CAMPAIGN
[campaign]
name = $policy
stream = marketing
template = order.json
from = Shop <news@example.org>
segment = everyone
missing_field = $policy
CAMPAIGN
done
sql -f - <<'SQL'
ALTER TABLE kairan.customer ADD COLUMN "order" jsonb;
INSERT INTO kairan.customer (email, name, "order", attributes) VALUES
    ('ok1@large.example', '<Aki>', '{"number": "A-1"}',
	'{"vip": true, "items": [{"name": "Tea & \"Cup\"", "price": 3.50, "url": "https://shop.example/t?a=1&b=2"},
	{"name": "茶", "price": 12, "url": "javascript:alert(1)"}]}'),
    ('ok2@large.example', 'Ben', '{"number": "A-2"}', '{"items": []}'),
    ('ok3@large.example', 'no list', '{"number": "A-3"}', '{}'),
    ('ok4@large.example', 'no price', '{"number": "A-4"}', '{"items": [{"name": "x", "url": "/"}]}'),
    ('ok5@large.example', 'no order', NULL, '{"items": []}'),
    ('ok6@large.example', 'no list but a text', '{"number": "A-6"}', '{"items": "soon"}');
SQL
for policy in fail skip blank; do
	tap_ok "the campaign $policy is created" env KAIRAN_DATABASE_URL="$SUPER" \
		"$BIN/kairan" campaign create "$D/c/$policy.campaign" --quiet
done
tap_is "$(one "count(*) FROM kairan.template WHERE html LIKE '%{{#*inline \"greeting\"}}%'")" 1 \
	'the file of the partial is kept with the template'
producer_start
dispatcher_start one

states()
{
	one "string_agg(format('%s %s %s %s', split_part(address, '@', 1), state, reason, reply), ', ' ORDER BY address)
		FROM kairan.send WHERE run_id = $1 AND state <> 'sent'"
}

RUN=$(run_add fail a)
tap_ok 'the run ends' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 2, failed 4' 'with those who lack a field failed'
tap_is "$(states "$RUN")" \
	'ok3 failed missing_field items, ok4 failed missing_field items[].price, ok5 failed missing_field order.number, ok6 failed bad_data items' \
	'each with reason and field'
run_check "$RUN" 'exactly once'
RUN=$(run_add skip a)
tap_ok 'the run that skips ends' run_wait "$RUN" finished 30
tap_is "$(states "$RUN")" \
	'ok3 skipped missing_field items, ok4 skipped missing_field items[].price, ok5 skipped missing_field order.number, ok6 failed bad_data items' \
	'what is missing is skipped, what is wrong fails'
RUN=$(run_add blank a)
tap_ok 'the run with blanks ends' run_wait "$RUN" finished 30
tap_is "$(states "$RUN")" 'ok6 failed bad_data items' 'what is missing is left blank'

# ---- what was sent is what preview shows -------------------------------------------------

"$BIN/kairan" campaign preview "$D/c/fail.campaign" --eml --recipient '{"email": "ok1@large.example", "name": "<Aki>",
	"order": {"number": "A-1"}, "attributes": {"vip": true, "items": [
	{"name": "Tea & \"Cup\"", "price": 3.50, "url": "https://shop.example/t?a=1&b=2"},
	{"name": "茶", "price": 12, "url": "javascript:alert(1)"}]}}' >"$D/preview.eml"
tap_is "$("$PYTHON" - "$D/preview.eml" <<'PYTHON'
import email, email.policy, sys
m = email.message_from_binary_file(open(sys.argv[1], "rb"), policy=email.policy.default)
html = m.get_body(("html",)).get_content().replace("\r\n", "\n")
text = m.get_body(("plain",)).get_content().replace("\r\n", "\n")
want = ("<h1>Hello &lt;Aki&gt;</h1>\n<ul>\n"
        '<li><a href="https://shop.example/t?a=1&amp;b=2">Tea &amp; &quot;Cup&quot;</a> 3.50</li>\n'
        '<li><a href="#">茶</a> 12</li>\n</ul><a href="https://unsubscribe.example/sample">stop</a>')
print(m["subject"] == 'A-1: Tea & "Cup", 茶', html.strip() == want,
      text.strip() == 'Hello <Aki>\n0 Tea & "Cup" 3.50\n1 茶 12\nVIP')
PYTHON
)" 'True True True' 'preview without a database shows it, read by the email package of Python'
tap_is "$("$PYTHON" - "$TRUTH" <<'PYTHON'
import email.header, json, sys
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["to"] == ["ok1@large.example"]:
        print(str(email.header.make_header(email.header.decode_header(r["subject"]))))
        break
PYTHON
)" 'A-1: Tea & "Cup", 茶' 'the dispatcher sent the same subject from the row'
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
