#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kairan campaign and kairan status against a private PostgreSQL and Redis, with the rights of
# kairan_operator. The dispatcher is played by SQL. TAP, run by prove.
# KAIRAN_BIN: folder of the programs (default bin).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh

K=$(realpath "${KAIRAN_BIN:-bin}/kairan" 2>/dev/null)
SINK=$(PATH=$PATH:/usr/sbin command -v smtp-sink || true)
EXAMPLES=$PWD/docs/examples
export FAST=1

[ -x "$K" ] || tap_skip_all 'kairan is not built'
services_dir || tap_bail 'no directory'
D=$SERVICES_DIR
pg_start "$D" || tap_bail 'no PostgreSQL'
redis_start "$D" || tap_bail 'no Redis'
SUPER=$KAIRAN_DATABASE_URL
export KAIRAN_KEYS_FILE=$D/keys KAIRAN_CONFIG=$D/kairan.conf
: >"$KAIRAN_CONFIG"

sql()
{
	psql -X -q -At -v ON_ERROR_STOP=1 "$SUPER" "$@"
}

# arguments: wanted exit code, NAME, command...; output in $OUT
OUT=
expect()
{
	local wanted=$1 name=$2 got=0

	shift 2
	OUT=$("$@" 2>&1) || got=$?
	tap_is "$got" "$wanted" "$name"
	[ "$got" = "$wanted" ] || tap_note "$OUT"
}

"$K" init >"$D/init.log" 2>&1 || { cat "$D/init.log"; tap_bail 'init failed'; }
KAIRAN_DATABASE_URL=${SUPER/user=postgres/user=kairan_operator}

# ---- preview without a database
expect 0 'preview of a file with an object needs no database' env KAIRAN_DATABASE_URL= "$K" \
	campaign preview "$EXAMPLES/newsletter.campaign" \
	--recipient '{"email":"aiko@shop.example","name":"愛子","attributes":{"japanese":true}}'
tap_like "$OUT" 'Subject: +11月のお知らせ' 'the Japanese subject'
tap_like "$OUT" '愛子 様' 'the Japanese text'
expect 0 'preview in English' "$K" campaign preview "$EXAMPLES/newsletter.campaign" \
	--recipient '{"email":"a@shop.example","name":"<b>"}' --html
tap_like "$OUT" 'Dear &lt;b&gt;,' 'a field is escaped in HTML'
expect 0 'preview as a message' "$K" campaign preview "$EXAMPLES/newsletter.campaign" --eml
tap_like "$OUT" 'Content-Type: multipart/alternative' 'the message has two parts'
expect 1 'a recipient without an address' "$K" campaign preview "$EXAMPLES/newsletter.campaign" \
	--recipient '{}'
expect 2 'broken JSON' "$K" campaign preview "$EXAMPLES/newsletter.campaign" --recipient '{x'

# ---- lint without a database
for file in "$EXAMPLES/newsletter" tools/demo/november-news tools/demo/december-sale; do
	expect 0 "$(basename "$file") has no lint errors" env KAIRAN_DATABASE_URL= "$K" campaign lint "$file.campaign"
done
mkdir -p "$D/l"
cp "$EXAMPLES"/newsletter.* "$D/l/"
sed -i 's|https://shop.example/en/november|http://bit.ly/x|' "$D/l/newsletter.html"
sed -i 's|^Dear .*|Dear {{city}},|' "$D/l/newsletter.txt"
expect 1 'lint with errors' env KAIRAN_DATABASE_URL= "$K" campaign lint "$D/l/newsletter.campaign"
tap_like "$OUT" 'l/newsletter.html:19:13: error: http://bit.ly/x hides .* \[url-shortener\]' 'names file, line, column and rule'
tap_like "$OUT" 'newsletter.campaign: note: the stream and the fields of customers were not looked up .* no database is configured' 'says what it could not look at'
tap_like "$OUT" 'november-news: 1 error, 1 warning, 2 notes' 'and counts'
tap_is "$(grep -c $'\033' <<<"$OUT")" 0 'without colours in a pipe'
expect 1 'lint in JSON' env KAIRAN_DATABASE_URL= "$K" campaign lint "$D/l/newsletter.campaign" --json
tap_is "$(python3 -c 'import json,sys; print(*[(f["rule"], f["line"], f["column"]) for f in json.load(sys.stdin)])' <<<"$OUT")" \
	"('url-shortener', 19, 13) ('link-not-https', 19, 13) ('field-no-default', 9, 8) ('not-looked-up', None, None)" \
	'is an array of findings'
expect 1 'a database that is absent ends nothing' \
	env KAIRAN_DATABASE_URL="host=$D/none" "$K" campaign lint "$D/l/newsletter.campaign"
expect 0 'a rule is explained' "$K" campaign lint --explain url-shortener
tap_like "$OUT" 'url-shortener \(error\)' 'by name'
expect 0 'all are' "$K" campaign lint --explain all
while read -r rule _; do
	grep -q "^\.It Cm .*\b$rule\b" man/kairan-campaign.1 || tap_note "missing: $rule"
	grep -q "^\.It Cm .*\b$rule\b" man/kairan-campaign.1 && echo "$rule"
done < <(grep -v '^ ' <<<"$OUT") >"$D/l/known"
tap_is "$(wc -l <"$D/l/known")" "$(grep -cv '^ ' <<<"$OUT")" 'and each rule is in the manual'
expect 2 'an unknown rule' "$K" campaign lint --explain none
expect 2 'lint of no file' "$K" campaign lint "$D/none.campaign"
expect 2 'lint of nothing' "$K" campaign lint

# ---- partials from files; errors name the file they are in
mkdir -p "$D/p/parts"
cat >"$D/p/p.campaign" <<'CAMPAIGN'
[campaign]
name = parts
stream = marketing
subject = {{#each items}}{{this.name}} {{/each}}
from = news@shop.example
html = parts/body.html
segment = everyone
CAMPAIGN
echo '<p>{{> head}}{{#each items}}{{../name}}:{{name}} {{/each}}</p>' >"$D/p/parts/body.html"
echo '<b>{{> deep.inc}}</b>' >"$D/p/parts/head.html"
printf 'Hi\n {{name}}' >"$D/p/parts/deep.inc"
GOOD='{"email":"a@shop.example","name":"<A>","attributes":{"items":[{"name":"Tea"},{"name":"Cup"}]}}'
expect 0 'lists and partials without a database' env KAIRAN_DATABASE_URL= "$K" campaign preview "$D/p/p.campaign" \
	--html --recipient "$GOOD"
tap_is "$(tr -d '\n' <<<"$OUT")" '<p><b>Hi &lt;A&gt;</b>&lt;A&gt;:Tea &lt;A&gt;:Cup </p>' 'are shown'
expect 1 'a list that is missing' "$K" campaign preview "$D/p/p.campaign" --recipient '{"email":"a@shop.example"}'
tap_like "$OUT" 'no field "items"' 'stops the recipient by name'
printf 'Hi\n {{na me}}' >"$D/p/parts/deep.inc"
expect 1 'an error in a partial of a partial' "$K" campaign preview "$D/p/p.campaign" --recipient "$GOOD"
tap_like "$OUT" 'parts/deep.inc:2:4: not a field name.*"na me"' 'names its file, line, column and text'
echo 'x{{> ../../p/parts/head}}' >"$D/p/parts/deep.inc"
expect 2 'a partial outside of the folder' "$K" campaign preview "$D/p/p.campaign" --recipient "$GOOD"
tap_like "$OUT" 'parts/deep.inc:1:2: ' 'is refused where it is named'
echo '{{> head}}' >"$D/p/parts/deep.inc"
expect 1 'a partial that holds itself' "$K" campaign preview "$D/p/p.campaign" --recipient "$GOOD"
tap_like "$OUT" 'parts/deep.inc:1:1: this partial holds itself: "head"' 'is named'
echo 'x{{> none}}' >"$D/p/parts/deep.inc"
expect 2 'a partial that is no file' "$K" campaign preview "$D/p/p.campaign" --recipient "$GOOD"
tap_like "$OUT" 'parts/deep.inc:1:2: .*parts/none.html: No such file' 'says what was looked for'
echo 'x' >"$D/p/parts/deep.inc"
sed -i 's/{{this.name}}/{{this..name}}/' "$D/p/p.campaign"
expect 1 'an error in a subject' "$K" campaign preview "$D/p/p.campaign" --recipient "$GOOD"
tap_like "$OUT" 'p.campaign:4: subject, column 18: .*"\.name"' 'names the line of the campaign file'

# ---- create
expect 0 'create without customers' "$K" campaign create "$EXAMPLES/newsletter.campaign"
tap_like "$OUT" 'warning: .*japanese' 'a field nobody has is a warning under a condition'
sql -f - <<'SQL' || tap_bail 'no customers'
INSERT INTO kairan.customer (email, name, attributes, consent_at)
SELECT 'user' || i || '@d' || i % 7 || '.example', 'User ' || i, jsonb_build_object('japanese', i % 2 = 0), now()
FROM generate_series(1, 1000) AS i;
INSERT INTO kairan.suppression (address_key, reason) SELECT 'user' || i || '@d' || i % 7 || '.example', 'complaint'
FROM generate_series(1, 10) AS i;
SQL
expect 0 'create again updates' env KAIRAN_FEEDBACK_DOMAIN=bounce.shop.example "$K" campaign create "$EXAMPLES/newsletter.campaign" --json
tap_like "$OUT" '"created":false.*"customers":1000,"warnings":\[\]' 'and counts the segment'
tap_is "$(sql -c 'SELECT count(*) FROM kairan.template')" 1 'the same texts are the same template'
tap_is "$(sql -c 'SELECT template_id FROM kairan.campaign')" 1 'which the campaign points to'

# ---- lint with the database
sql -c "UPDATE kairan.customer SET attributes = attributes || '{\"city\": \"Sendai\"}' WHERE id % 4 <> 0"
expect 1 'lint with customers' "$K" campaign lint "$D/l/newsletter.campaign"
tap_like "$OUT" 'newsletter.txt:9:8: warning: 250 of 1000 customers have no field "city"' 'counts who lacks a field'
tap_like "$OUT" 'no-list-unsubscribe' 'and sees that the stream has no way out'
sed -i 's/c.status = /c.attributes ? '"'city'"' AND c.status = /' "$D/l/newsletter.campaign"
expect 1 'lint of a segment that has the field' "$K" campaign lint "$D/l/newsletter.campaign"
tap_is "$(grep -c field-absent <<<"$OUT")" 0 'counts within the segment alone'
sed -i 's/c.status = /c.statux = /' "$D/l/newsletter.campaign"
expect 1 'lint of a broken segment' "$K" campaign lint "$D/l/newsletter.campaign"
tap_like "$OUT" 'the fields of customers were not looked up .*statux' 'says why nothing was counted'
sed -i 's/statux/status/;s/^name = .*/name = linted/' "$D/l/newsletter.campaign"
expect 0 'create of a campaign with lint errors' "$K" campaign create "$D/l/newsletter.campaign"
tap_like "$OUT" 'warning: .*lint finds 2 errors; see: kairan campaign lint ' 'counts them and refuses nothing'
sql -c "DELETE FROM kairan.campaign WHERE name = 'linted'; DELETE FROM kairan.template WHERE id NOT IN (SELECT template_id FROM kairan.campaign)"
sql -c "UPDATE kairan.customer SET attributes = attributes - 'city'"

# arguments: sed script, wanted exit code, wanted text, NAME
refused()
{
	mkdir -p "$D/c"
	cp "$EXAMPLES"/newsletter.* "$D/c/"
	printf '{{japanese}}\n日本 {{ nobody }}\n' >"$D/c/nobody.txt"
	ln -sf /etc/passwd "$D/c/link.txt"
	ln -sfn /etc "$D/c/etc"
	mkfifo "$D/c/fifo.txt" 2>/dev/null
	sed -e "$1" "$EXAMPLES/newsletter.campaign" >"$D/c/x.campaign"
	expect "$2" "$4" timeout 30 "$K" campaign create "$D/c/x.campaign"
	tap_like "$OUT" "$3" "$4: says why"
}
before=$(sql -c 'SELECT c::text FROM kairan.campaign c')
refused 's/^stream =.*/stream = marketting/' 2 'x.campaign:9: .*there are: marketing, transactional' 'unknown stream'
refused 's/^list =/lists =/' 2 "x.campaign:15: there is no key 'lists'" 'unknown key'
refused 's/c.status =/c.statux =/' 2 'x.campaign:19: .*statux does not exist' 'segment with a wrong column'
refused 's/^segment =.*/segment = true); DELETE FROM kairan.customer; --/' 2 'x.campaign:19' 'segment of two statements'
refused 's/^segment =.*/segment = EXISTS (SELECT FROM kairan.suppression)/' 2 'permission denied' 'segment that reads another table'
refused 's/^segment =.*/segment = 1 \/ (c.id - 5) > 0/' 2 'division by zero' 'segment that fails on a row'
refused 's/^segment =.*/segment = staff/;/^  AND/d' 2 'no segment "staff"; there are: everyone' 'unknown segment'
refused 's/^# \[exclude/[exclude/;s/^# campaigns/campaigns/' 2 'no campaign "october-news"' 'unknown campaign to leave out'
refused 's/^text =.*/text = nobody.txt/' 2 'nobody.txt:2:7: no customer has a field "nobody"' 'unknown field'
refused 's/^text =.*/text = link.txt/' 2 'symbolic' 'symbolic link as template'
refused 's/^text =.*/text = etc\/passwd/' 2 'symbolic' 'symbolic link on the way'
refused 's/^text =.*/text = fifo.txt/' 2 'not a regular file' 'pipe as template'
refused 's/^text =.*/text = ..\/c\/newsletter.txt/' 2 'without' 'template outside of the folder'
refused 's/^# \[sched/[sched/;s/^# start.*/not_after = 2020-01-01 10:00 UTC/' 5 'has passed' 'not_after in the past'
refused 's/^name =.*/name = other/;s/^# \[sched/[sched/;s/^# start.*/start = 2020-01-01 10:00 UTC/' 2 'has passed' 'start in the past'
refused 's/^# \[sched/[sched/;s/^# start.*/start = 2099-02-30 10:00 UTC/' 2 'x.campaign:30: ' 'a day that is not'
refused 's/^# \[sched/[sched/;s/^# start.*/time_zone = Asia\/Tokio/' 2 'x.campaign:30: time_zone "Asia/Tokio": there is no time zone .*like Asia/Tokyo' \
	'a time zone that does not exist'
refused 's/^# \[sched/[sched/;s/^# start.*/time_zone = ..\/etc\/passwd/' 2 'time_zone "../etc/passwd": this is no time zone' 'a path as time zone'
tap_is "$(sql -c 'SELECT c::text FROM kairan.campaign c')" "$before" 'nothing refused was written'
tap_is "$(sql -c 'SELECT count(*) FROM kairan.customer')" 1000 'all customers are there'

sed -e 's/^# \[sched/[sched/;s/^# start.*/canary = 1500/' "$EXAMPLES/newsletter.campaign" >"$D/c/x.campaign"
expect 0 'create with a canary' "$K" campaign create "$D/c/x.campaign"
tap_like "$OUT" 'canary +1,500 recipients first, then 30 minutes of waiting' 'says so'
tap_is "$(sql -c 'SELECT canary, canary_wait_s FROM kairan.campaign')" '1500|1800' 'the campaign has it'
expect 0 'without it again' "$K" campaign create "$EXAMPLES/newsletter.campaign"
tap_is "$(sql -c 'SELECT canary IS NULL FROM kairan.campaign')" t 'it is gone'

# ---- schedule
expect 0 'schedule' "$K" campaign schedule november-news --at '2099-01-01 10:00 Asia/Tokyo' --repeat 'every 2 days' --window 2h
tap_is "$(sql -c "SELECT start_at = '2099-01-01 01:00Z', window_s, recurrence FROM kairan.campaign")" 't|7200|every 2 days' 'the schedule is kept'
expect 0 'an update without [schedule]' "$K" campaign create "$EXAMPLES/newsletter.campaign"
tap_is "$(sql -c "SELECT start_at = '2099-01-01 01:00Z' FROM kairan.campaign")" t 'leaves the schedule alone'
expect 2 'schedule in the past' "$K" campaign schedule november-news --at '2020-01-01 10:00 UTC'
expect 2 'schedule without a zone' "$K" campaign schedule november-news --at '2099-01-01 10:00'
expect 0 'cancel without a run takes the schedule back' "$K" campaign cancel november-news
tap_is "$(sql -c "SELECT start_at IS NULL FROM kairan.campaign")" t 'it is gone'
expect 6 'then there is nothing to cancel' "$K" campaign cancel november-news

# ---- start
expect 2 'start of no campaign' "$K" campaign start nobody
expect 5 'start too late' "$K" campaign start november-news --not-after '2020-01-01 10:00 UTC'
expect 0 'start' "$K" campaign start november-news --run-key one
expect 6 'start again' "$K" campaign start november-news --run-key one --json
tap_like "$OUT" '"sent":0,"already":true' 'says so in JSON'
tap_is "$(sql -c 'SELECT count(*) FROM kairan.run')" 1 'one run'
expect 0 'pause before planning' "$K" campaign pause november-news
expect 6 'pause again' "$K" campaign pause november-news
expect 0 'resume' "$K" campaign resume november-news
tap_is "$(sql -c 'SELECT state FROM kairan.run')" scheduled 'a run that was not planned is scheduled again'

# arguments: run; planned by the producer, which is ended as soon as the run is running
plan()
{
	KAIRAN_DATABASE_URL=${SUPER/user=postgres/user=kairan_producer} \
		service_spawn producer "$D/producer.log" "$(dirname "$K")/kairan-producer"
	services_wait 30 is_running "$1" || tap_bail 'planning failed'
	service_stop "$SERVICE_PID" || tap_bail 'the producer ended badly'
}

is_running()
{
	[ "$(sql -c "SELECT state FROM kairan.run WHERE id = $1")" = running ]
}
plan 1
expect 0 'pause while running' "$K" campaign pause november-news
expect 3 'waiting for a paused run' "$K" campaign start november-news --run-key one --wait
expect 0 'resume while planned' "$K" campaign resume november-news
tap_is "$(sql -c 'SELECT state FROM kairan.run')" running 'a planned run runs on'

# arguments: run; every recipient gets an outcome, the run ends
settle()
{
	sql -v run="$1" -f - >"$D/settle.log" 2>&1 <<'SQL' || tap_bail 'settling failed'
SET search_path = kairan;
UPDATE send SET attempt = 1, settled_at = now(), remote = 'mx.example',
    state = (CASE WHEN id % 50 = 0 THEN 'failed' WHEN id = 7 THEN 'in_doubt' ELSE 'sent' END)::send_state,
    class = CASE id % 100 WHEN 0 THEN 'soft' WHEN 50 THEN 'hard' END, code = CASE id % 50 WHEN 0 THEN 550 END,
    reason = CASE id % 50 WHEN 0 THEN '=1+1' END, reply = CASE id % 50 WHEN 0 THEN '<script>no & "user"</script>' END
WHERE run_id = :run AND state = 'queued';
INSERT INTO tally (run_id, owner, minute, sent, failed, in_doubt, attempts)
SELECT :run, 1, date_trunc('minute', now()), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'in_doubt'), count(*) FROM send WHERE run_id = :run;
SELECT run_move(:run, '{running}', 'finished');
SQL
}
"$K" campaign start november-news --run-key one --wait --json >"$D/wait.out" 2>"$D/wait.err" &
waiting=$!
sleep 1
settle 1
wait "$waiting"
tap_is $? 4 'a wait ends with 4 when recipients are in doubt'
tap_like "$(cat "$D/wait.out")" '"state":"finished".*"sent":970,"failed":19,"in_doubt":1.*"already":true' 'and prints the counts'
expect 6 'start after the end' "$K" campaign start november-news --run-key one --wait
tap_like "$OUT" 'run one of november-news was sent before \(2.*nothing sent' 'was sent before'
expect 0 'status' "$K" campaign status november-news --json
tap_like "$OUT" '"planned":990' 'the suppressed are left out'
expect 0 'list' "$K" campaign list --json
tap_like "$OUT" '"newest_run":"one"' 'lists the newest run'

# ---- report
expect 0 'report' "$K" campaign report november-news --csv "$D/r.csv" --html "$D/r.html"
tap_is "$(wc -l <"$D/r.csv")" 1001 'a line per customer, left out or not'
tap_is "$(grep -c ',excluded,' "$D/r.csv")" 10 'and the left out among them'
tap_is "$(grep -c ",'=1+1," "$D/r.csv")" 19 'a formula is disarmed'
tap_is "$(stat -c %a "$D/r.csv")" 600 'readable by the owner alone'
tap_like "$(cat "$D/r.html")" '&lt;script&gt;no &amp; &quot;user&quot;' 'the page escapes replies'
tap_is "$(grep -c '<script' "$D/r.html")" 0 'and has no script'
tap_is "$(grep -cE '(src|href)=' "$D/r.html")" 0 'and refers to nothing outside'
expect 1 'a report into no folder' "$K" campaign report november-news --csv "$D/none/r.csv"
expect 0 'CSV to standard output' "$K" campaign report november-news --csv -
tap_is "$(wc -l <<<"$OUT")" 1001 'is the same'

# ---- retry, cancel
expect 2 'retry needs --failed' "$K" campaign retry november-news
expect 0 'retry' "$K" campaign retry november-news --failed --json
tap_like "$OUT" '"queued":9' 'queues those who failed for a while'
expect 6 'retry again' "$K" campaign retry november-news --failed
expect 0 'cancel' "$K" campaign cancel november-news --json
tap_like "$OUT" '"recipients":9' 'cancels the rest'
tap_is "$(sql -c "SELECT state, count(*) FROM kairan.send GROUP BY 1 ORDER BY 1")" 'sent|970
failed|10
in_doubt|1
cancelled|9' 'and nobody else'
expect 6 'resume of a cancelled run' "$K" campaign resume november-news --run-key one
tap_is "$(sql -c "SELECT string_agg(DISTINCT action, ', ') FROM kairan.audit WHERE action LIKE 'campaign%'")" \
	'campaign cancel, campaign create, campaign pause, campaign resume, campaign retry, campaign schedule, campaign start, campaign update' \
	'everything was audited'

# ---- test
if [ -n "$SINK" ]; then
	port=$(services_free_port)
	mkdir -p "$D/mail"
	chmod 777 "$D/mail"
	as=()
	[ "$(id -u)" -ne 0 ] || as=(-u nobody) # it does not run as root, and only root may change the user
	service_spawn smtp-sink "$D/sink.log" env -C "$D/mail" "$SINK" "${as[@]}" -d one. "127.0.0.1:$port" 10
	export KAIRAN_RELAY_HOST=127.0.0.1 KAIRAN_RELAY_PORT=$port
	services_wait 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
	expect 0 'test' "$K" campaign test november-news --to me@shop.example --recipient 2
	tap_like "$(cat "$D"/mail/one.*)" 'Subject: =\?UTF-8\?.*' 'the message arrived'
	expect 0 'test in English' "$K" campaign test november-news --to me@shop.example --recipient 1
	tap_like "$(cat "$D"/mail/one.*)" 'Subject: \[TEST\] News of November' 'and is marked'
	tap_is "$(sql -c 'SELECT count(*) FROM kairan.run')" 1 'a test is no run'
	service_stop "$SERVICE_PID"
	expect 75 'test without a relay' "$K" campaign test november-news --to me@shop.example
else
	tap_skip 'campaign test' 'smtp-sink (postfix) is not installed'
fi

# ---- status
expect 0 'status' "$K" status
tap_like "$OUT" 'november-news one' 'shows the run'
tap_like "$OUT" 'marketing +fine' 'and the reputation'
expect 0 'status in JSON' "$K" status --json
tap_like "$OUT" '"redis":\{"ok":true' 'has Redis'
# --foreground: else timeout follows its signal with a SIGCONT to the whole group, which can cancel the stop by which a sanitizer looks for leaks at the end, for ever
timeout --foreground -s INT 2 "$K" status --watch 1 >"$D/watch.out" 2>&1
tap_is $? 124 'watch goes on until it is interrupted'
tap_like "$(tail -3 "$D/watch.out")" 'fine' 'and ends cleanly'
redis_stop
expect 75 'status without Redis' "$K" status
tap_like "$OUT" 'Redis +absent' 'says so'
pg_stop
expect 75 'status without PostgreSQL' "$K" status --json
tap_like "$OUT" '"postgresql":\{"ok":false' 'says so in JSON'
expect 75 'list without PostgreSQL' "$K" campaign list
tap_done
