#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Planning: killed and taken up again, two producers, exclusions and their evidence, segments
# that are wrong or slow, schedules; the rights of the roles and the comments of the schema.
# TAP, run by prove.
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

# arguments: run, name
planned_well()
{
	tap_is "$(one "string_agg(v, '; ') FROM (SELECT v FROM test.violations($1) AS v LIMIT 5) AS t")" '' "$2"
	tap_is "$(one "audience = planned + (SELECT count(*) FROM kairan.exclusion WHERE run_id = $1) AND planned = staged
		FROM kairan.run WHERE id = $1")" t 'audience = planned + excluded'
	tap_is "$(one "min(id) || ' ' || max(id) || ' ' || count(DISTINCT id) FROM kairan.send WHERE run_id = $1")" \
		"$(one "'1 ' || planned || ' ' || planned FROM kairan.run WHERE id = $1")" 'numbered without a gap'
	tap_is "$(one "string_agg(c, ' ' ORDER BY c) FROM (SELECT substring(pg_get_indexdef(indexrelid) FROM '[(].*') AS c FROM pg_index
		WHERE indrelid = 'kairan.send_$1'::regclass AND indisunique AND indisvalid) AS i")" \
		'(address_key) (recipient_id) (run_id, id)' 'nobody can be in it twice'
}

# ---- who is left out ----------------------------------------------------------------------

customers_add 100 large.example
sql -f - <<'SQL'
DROP INDEX kairan.customer_email;
INSERT INTO kairan.customer (email, status) VALUES ('OK1@Large.Example', 'active'), (' ok2@large.example ', 'active'),
	('no address', 'active'), ('', 'active'), ('a@b@large.example', 'active'), ('x@localhost', 'active'),
	('back\slash@large.example', 'active'), ('staff1@large.example', 'staff'), ('staff2@large.example', 'staff'),
	('ok@bücher.example', 'active'), ('ok@xn--bcher-kva.example', 'active');
INSERT INTO kairan.suppression (address_key, scope, reason, source, evidence, expires_at) VALUES
	('ok11@large.example', 'all', 'bounce', 'dsn', '5.1.1 gone', NULL),
	('ok12@large.example', 'stream:marketing', 'complaint', 'arf', '', NULL),
	('ok13@large.example', 'list:news', 'unsubscribe', 'web', '', NULL),
	('ok14@large.example', 'all', 'manual', 'somebody', '', now() + interval '1 day'),
	('ok15@large.example', 'list:other', 'manual', '', '', NULL),
	('ok16@large.example', 'all', 'manual', '', '', now() - interval '1 s');
INSERT INTO kairan.segment (name, condition) VALUES ('staff', $$c.status = 'staff'$$), ('third', $$c.email LIKE 'ok3@%'$$);
SQL
campaign_add earlier segment="'c.email LIKE ''ok2_@large.example'''"
campaign_add rules "list='news'" "segment='everyone'" "exclude_campaigns='{earlier}'" "exclude_segments='{staff,third}'"
producer_start
dispatcher_start one
RUN=$(run_add earlier a)
tap_ok 'an earlier campaign was sent' run_wait "$RUN" finished 20
RUN=$(run_add rules a)
tap_ok 'a run with exclusions is sent' run_wait "$RUN" finished 20
run_check "$RUN" 'exactly once'
planned_well "$RUN" 'the counts agree'
tap_is "$(one "jsonb_pretty(excluded) FROM kairan.run WHERE id = $RUN" | tr -d '{} \n')" \
	'"bounced":1,"complained":1,"suppressed":1,"unsubscribed":1,"invalid_address":5,"excluded_segment":3,"duplicate_address":3,"excluded_campaign":10' \
	'counts by rule'
evidence()
{
	one "string_agg(evidence, ', ' ORDER BY e.recipient_id) FROM kairan.exclusion e JOIN kairan.customer c ON c.id = e.recipient_id
		WHERE run_id = $RUN AND $1"
}
tap_is "$(evidence "rule = 'excluded_segment'")" 'segment: third, segment: staff, segment: staff' 'evidence: segment'
tap_is "$(evidence "rule = 'duplicate_address'")" \
	"$(one "'same address as customer 1, same address as customer 2, same address as customer ' || id
		FROM kairan.customer WHERE email = 'ok@bücher.example'")" 'evidence: the customer kept'
tap_is "$(evidence "rule = 'excluded_campaign' AND address_key = 'ok21@large.example'")" 'campaign earlier run a' 'evidence: campaign and run'
tap_like "$(evidence "rule = 'bounced'")" '^all dsn 20.*5\.1\.1 gone$' 'evidence: suppression'
tap_is "$(one "count(*) FROM kairan.exclusion WHERE run_id = $RUN AND rule = 'invalid_address' AND evidence <> '' AND address_key IS NULL")" 5 \
	'evidence: what is wrong with an address'
tap_is "$(one "kairan.address_key('A@Bücher.example')")" 'a@xn--bcher-kva.example' 'the internationalised domain is known in SQL'

# ---- segments that are wrong --------------------------------------------------------------

# arguments: segment as an SQL string, expected reason, NAME
segment_fails()
{
	sql -c "UPDATE kairan.campaign SET segment = $1 WHERE name = 'earlier'"
	RUN=$(run_add earlier "$3")
	tap_ok "$3: the run fails" run_wait "$RUN" failed 10
	tap_like "$(one "reason FROM kairan.run WHERE id = $RUN")" "$2" 'and says why'
}
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
producer_start KAIRAN_PRODUCER_SEGMENT_TIMEOUT_S=1
segment_fails "'c.nothing = 1'" 'segment: column c.nothing does not exist' 'no such column'
segment_fails "'true) TO STDOUT; DELETE FROM kairan.customer; --'" 'segment: ' 'two statements'
segment_fails "'EXISTS (SELECT FROM kairan.suppression)'" 'permission denied' 'another table'
segment_fails "'pg_sleep(0.1) IS NULL'" 'timeout' 'too slow'
segment_fails "'1 / (c.id - 50) > 0'" 'division by zero' 'an error in the middle'
segment_fails "'nextval(''kairan.customer_id_seq'') > 0'" 'read-only|permission' 'one that writes'
tap_is "$(one 'count(*) FROM kairan.customer')" 111 'all customers are there'
sql -c "UPDATE kairan.campaign SET segment = 'false' WHERE name = 'earlier'"
RUN=$(run_add earlier nobody)
tap_ok 'an empty segment is a run that finishes' run_wait "$RUN" finished 10

# ---- windows and schedules ----------------------------------------------------------------

RUN=$(one "run_id FROM kairan.run_make('earlier', 'late', now() - interval '2 hours', now() - interval '1 hour')")
tap_ok 'a run whose window is over is missed' run_wait "$RUN" missed 10
tap_is "$(one "count(*) FROM kairan.run_event WHERE run_id = $RUN AND event = 'missed'")" 1 'and says so once'
RUN=$(one "run_id FROM kairan.run_make('earlier', 'early', now() + interval '1 hour')")
sleep 0.5
tap_is "$(one "state FROM kairan.run WHERE id = $RUN")" scheduled 'a run before its time waits'
sql -c "UPDATE kairan.campaign SET start_at = date_trunc('minute', now()) - interval '10 min', recurrence = 'every 7 minutes',
	window_s = 240 WHERE name = 'earlier'"
tap_ok 'a recurring campaign gets its next time' wait_for 10 "start_at > now() FROM kairan.campaign WHERE name = 'earlier'"
tap_is "$(one "extract(epoch FROM start_at - (date_trunc('minute', now()) - interval '10 min')) / 60 IN (13, 14)
	FROM kairan.campaign WHERE name = 'earlier'")" t 'by its rhythm'
wait_for 10 "count(*) = 0 FROM kairan.run WHERE run_key LIKE '20%Z' AND state = 'scheduled'" || tap_note 'nobody looks at it'
tap_like "$(one "string_agg(run_key || ' ' || state, ', ') FROM kairan.run WHERE run_key LIKE '20%Z'")" \
	'^20[-0-9]*T[0-9:]*Z missed$' 'the occurrence that was slept through has its own key, and is missed'
sql -c "UPDATE kairan.campaign SET start_at = now() - interval '1 s' WHERE name = 'earlier'"
tap_ok 'the next one is sent' wait_for 10 "count(*) = 1 FROM kairan.run WHERE run_key LIKE '20%Z' AND state = 'finished'"

# ---- a view of one's own ------------------------------------------------------------------

sql -f - <<'SQL'
ALTER TABLE kairan.customer RENAME TO customer_table;
CREATE TABLE public.people (number int PRIMARY KEY, mail text);
INSERT INTO public.people SELECT i, 'ok' || i || '@view.example' FROM generate_series(1, 50) AS i;
CREATE VIEW kairan.customer AS SELECT number AS id, mail AS email FROM public.people;
GRANT SELECT ON kairan.customer TO kairan_segment, kairan_dispatcher;
UPDATE kairan.campaign SET start_at = NULL, segment = 'c.id <= 40' WHERE name = 'earlier';
SQL
RUN=$(run_add earlier view)
tap_ok 'customers may be a view with id and email' run_wait "$RUN" finished 20
tap_is "$(run_states "$RUN")" 'sent 40' 'they are sent to'
run_check "$RUN" 'exactly once'
sql -c 'DROP VIEW kairan.customer' -c 'ALTER TABLE kairan.customer_table RENAME TO customer'
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"

# ---- killed while planning ----------------------------------------------------------------

sql -c 'TRUNCATE kairan.customer'
customers_add 25000 large.example
sql -c "UPDATE kairan.campaign SET segment = 'true', exclude_segments = '{}', exclude_campaigns = '{}'"
RUN=$(run_add rules killed)
SMALL=(KAIRAN_PRODUCER_PAGE=20) # planning takes a second or two
producer_start "${SMALL[@]}"
wait_for 20 "plan_cursor > 2000 FROM kairan.run WHERE id = $RUN" || tap_note 'planning does not begin'
service_stop "$PRODUCER" KILL || true
at=$(one "plan_cursor FROM kairan.run WHERE id = $RUN")
tap_ok "the producer is killed after $at rows" test "$at" -lt 24000
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN")" 0 'nobody sees them yet'
sql -c "DELETE FROM kairan.lease"
producer_start KAIRAN_PRODUCER_PAGE=1000
tap_ok 'another one takes it up' run_wait "$RUN" running 30
planned_well "$RUN" 'no doubles'
service_stop "$PRODUCER" || tap_note "the producer ended with $?"
for _ in 1 2 3; do
	RUN=$(run_add rules "killed at random $_ $RANDOM")
	producer_start "${SMALL[@]}"
	sleep "0.$((RANDOM % 9))"
	service_stop "$PRODUCER" KILL || true
	sql -c "DELETE FROM kairan.lease"
done
producer_start
wait_for 40 "count(*) = 0 FROM kairan.run WHERE state = 'planning' OR (state = 'scheduled' AND due_at < now())" ||
	tap_note 'planning does not end'
tap_is "$(one "count(*) || ' ' || count(DISTINCT planned) || ' ' || max(planned) FROM kairan.run WHERE run_key LIKE 'killed at%' AND state = 'running'")" \
	"3 1 $(one "planned FROM kairan.run WHERE run_key = 'killed'")" 'killed at any moment: all are planned in full'
planned_well "$RUN" 'no doubles'

# ---- two producers -------------------------------------------------------------------------

FIRST=$PRODUCER
leading=$(grep -c ': leading' "$D/producer.log")
producer_start "${SMALL[@]}"
sleep 1
tap_is "$(grep -c ': leading' "$D/producer.log")" "$leading" 'of two producers only the first one leads'
service_stop "$FIRST" || tap_note "the first one ended with $?"
RUN=$(run_add rules two)
wait_for 20 "plan_cursor > 1000 FROM kairan.run WHERE id = $RUN" || tap_note 'the second one does not take over'
tap_ok 'which plans it' run_wait "$RUN" running 40
# the first one is stopped in the middle of a page, which another one writes meanwhile; then it wakes up
sql -f - <<'SQL'
CREATE FUNCTION test.tries() RETURNS smallint LANGUAGE sql AS 'SELECT pg_sleep(0.002); SELECT 0::smallint';
GRANT USAGE ON SCHEMA test TO kairan_producer;
ALTER TABLE kairan.send ALTER tries SET DEFAULT test.tries();
UPDATE kairan.campaign SET segment = 'c.id % 25 = 0' WHERE name = 'rules';
SQL
service_stop "$PRODUCER" || tap_note "the second one ended with $?"
producer_start
RUN=$(run_add rules half)
wait_for 20 "count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'COPY kairan.send_$RUN %' AND state = 'active'" ||
	tap_note 'no page is written'
kill -STOP "$PRODUCER"
FIRST=$PRODUCER
sql -c "CREATE OR REPLACE FUNCTION test.tries() RETURNS smallint LANGUAGE sql AS 'SELECT 0::smallint'" \
	-c "DELETE FROM kairan.lease" -c "INSERT INTO kairan.lease VALUES ('producer', 'nobody', 1000, now())"
producer_start
tap_ok 'the second one has written the page as well' wait_for 40 "count(*) > 0 FROM pg_locks WHERE NOT granted
	AND relation = to_regclass('kairan.send_$RUN')"
kill -CONT "$FIRST"
tap_ok 'a producer that slept while another one planned: planning ends' wait_for 40 "state <> 'planning' FROM kairan.run WHERE id = $RUN"
planned_well "$RUN" 'no doubles'
tap_is "$(one "state || ' ' || audience FROM kairan.run WHERE id = $RUN")" 'running 1000' 'in full'
tap_ok 'and the sleeper learns why his page does not count' services_wait 10 grep -q 'another producer has written them' "$D/producer.log"
tap_ok 'statistics come when there is nothing to plan' wait_for 20 "count(*) = 0 FROM kairan.run WHERE statistics_due"
tap_ok 'of the rows' is_true "count(*) > 5 FROM pg_stats WHERE schemaname = 'kairan' AND tablename = 'send_$RUN'"
sql -c 'ALTER TABLE kairan.send ALTER tries SET DEFAULT 0' -c "UPDATE kairan.campaign SET segment = 'true' WHERE name = 'rules'"
if sql -c "SELECT kairan.plan_begin($RUN)" >"$D/out" 2>&1; then sealed=no; else sealed=yes; fi
tap_is "$sealed $(one "count(*) = planned FROM kairan.send, kairan.run r WHERE run_id = $RUN AND r.id = $RUN GROUP BY planned")" 'yes t' \
	'a run that is planned cannot be begun again'
programs_stopped 'both end well' "$PRODUCER" "$FIRST"

# ---- rights ---------------------------------------------------------------------------------

# arguments: role, statement, NAME
denied()
{
	local out

	out=$(sql -c "SET ROLE $1" -c "$2" 2>&1) || true
	tap_like "$out" 'permission denied' "$1 $3"
}
denied kairan_dispatcher "INSERT INTO kairan.send (run_id, id, recipient_id, address, address_key) VALUES (1, 9, 9, '', '')" 'makes no rows'
denied kairan_dispatcher 'DELETE FROM kairan.send' 'deletes none'
denied kairan_dispatcher "UPDATE kairan.send SET address = 'x'" 'changes no address'
denied kairan_dispatcher "INSERT INTO kairan.suppression VALUES ('a@b.example')" 'does not suppress'
denied kairan_dispatcher 'DELETE FROM kairan.suppression' 'lifts no suppression'
denied kairan_dispatcher "UPDATE kairan.run SET state = 'running'" 'starts no run'
denied kairan_dispatcher "SELECT kairan.run_move(1, '{paused}', 'running')" 'resumes no run'
denied kairan_dispatcher "UPDATE kairan.dispatcher SET fenced_at = NULL" 'unfences none'
denied kairan_producer 'SELECT FROM kairan.customer' 'reads no customer'
denied kairan_producer "UPDATE kairan.send SET state = 'sent'" 'changes no state'
denied kairan_producer "DELETE FROM kairan.suppression" 'lifts no suppression'
denied kairan_producer "UPDATE kairan.campaign SET segment = 'true'" 'changes no campaign'
denied kairan_segment "UPDATE kairan.customer SET email = ''" 'writes nothing'
denied kairan_segment 'SELECT FROM kairan.send' 'reads nothing but customers'
for table in send customer suppression exclusion feedback_event in_doubt; do
	denied kairan_monitor "SELECT FROM kairan.$table" "does not see $table"
done
denied kairan_monitor "SELECT kairan.why('a@b.example')" 'asks for no story'
tap_is "$(one "string_agg(relname, ' ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE relnamespace = 'kairan'::regnamespace AND relkind IN ('r', 'p', 'v') AND attname IN ('address', 'address_key', 'email')
	AND has_column_privilege('kairan_monitor', c.oid, attname, 'SELECT')")" '' 'kairan_monitor sees no column with an address'
tap_is "$(one "string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'kairan'::regnamespace
	AND has_function_privilege('public', oid, 'EXECUTE')")" '' 'no function is for everyone'

# ---- comments, and the address key ----------------------------------------------------------

# A run just after one of as many, before PostgreSQL has statistics: comparing each with each takes a minute and more.
sql -c 'DELETE FROM kairan.customer' \
	-c "INSERT INTO kairan.customer (email) SELECT 'many' || i || '@d' || i % 500 || '.example' FROM generate_series(1, 40000) AS i"
campaign_add many
producer_start
RUN=$(run_add many one)
tap_ok 'a run of 40,000 is planned' run_wait "$RUN" running 60
sql -c "UPDATE kairan.send SET state = 'sent', attempt = 1, settled_at = now() WHERE run_id = $RUN" \
	-c "SELECT kairan.run_move($RUN, '{running}', 'finished')" >"$D/out"
# the producer's own, planner, hooks, and one to read by: none is left for indexes
sql -c 'ALTER ROLE kairan_producer CONNECTION LIMIT 4'
RUN=$(run_add many two)
tap_ok 'so is the next one, at once, and without connections to spare' run_wait "$RUN" running 30
planned_well "$RUN" 'no doubles'
tap_ok 'which were refused' grep -q 'too many connections for role "kairan_producer"' "$D/pg.log"
sql -c 'ALTER ROLE kairan_producer CONNECTION LIMIT -1'
programs_stopped 'the producer ends well' "$PRODUCER"

tap_is "$(one "string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'kairan'::regnamespace AND relkind IN ('r', 'p', 'v')
	AND relname <> 'migration' AND obj_description(oid, 'pg_class') IS NULL")" '' 'every table and view has a comment'
tap_is "$(one "string_agg(relname || '.' || attname, ' ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE relnamespace = 'kairan'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped
	AND relname NOT IN ('migration', 'feedback_event_rest') AND col_description(c.oid, attnum) IS NULL
	AND relname !~ '^feedback_event_[0-9]'")" '' 'every column has one'
tap_is "$(one "string_agg(proname, ' ') FROM pg_proc WHERE pronamespace = 'kairan'::regnamespace
	AND obj_description(oid, 'pg_proc') IS NULL")" '' 'every function has one'
sql -c 'CREATE TABLE test.address (line text)' \
	-c "\\copy test.address FROM 'tests/data/addresses.tsv' WITH (FORMAT csv, QUOTE E'\\x1e', DELIMITER E'\\x1d')"
sql -f - <<'SQL'
CREATE VIEW test.pair AS SELECT split_part(line, E'\t', 1) AS address, nullif(split_part(line, E'\t', 2), '-') AS key
	FROM test.address WHERE line LIKE E'%\t%';
-- what the producer notes when it meets such a domain
INSERT INTO kairan.idn SELECT DISTINCT ON (1) lower(split_part(address, '@', 2)), split_part(key, '@', 2)
	FROM test.pair WHERE key IS NOT NULL AND split_part(address, '@', 2) ~ '[^\x01-\x7f]' ON CONFLICT DO NOTHING;
SQL
tap_ok 'there are addresses to compare' test "$(one 'count(*) FROM test.pair')" -gt 50
tap_is "$(one "string_agg(format('%s: %s, not %s', address, kairan.address_key(address), key), '; ') FROM test.pair
	WHERE kairan.address_key(address) IS DISTINCT FROM key")" '' 'address_key() answers in SQL as addr_parse() does in C'
tap_done
