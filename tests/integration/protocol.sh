#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The guards of the protocol, one by one, on the statements themselves: dispatcher/sql/*.sql and the
# functions of schema/ in a private PostgreSQL. No program runs, so each guard is met for certain and
# not by luck of a race; what programs make of them is tested elsewhere. TAP, run by prove.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh

sql()
{
	psql -X -q -At -v ON_ERROR_STOP=1 "$KAIRAN_DATABASE_URL" "$@"
}

one()
{
	sql -c "SELECT $1"
}

export FAST=1
services_dir || tap_bail 'no directory'
D=$SERVICES_DIR
pg_start "$D" 2>"$D/start.log" || { cat "$D/start.log"; tap_bail 'no PostgreSQL'; }
pg_schema "$D/schema.log" || tap_bail 'the schema does not load'
sql -f - <<'SQL' || tap_bail 'no run'
SET search_path = kairan;
INSERT INTO template (digest, subject) VALUES ('d', 'Hello');
INSERT INTO campaign (name, stream_id, template_id, from_address)
	SELECT 'news', id, 1, 'news@example.org' FROM stream WHERE name = 'marketing';
INSERT INTO dispatcher (id, name, host, lock_id, fenced_at, stopped_at) OVERRIDING SYSTEM VALUE VALUES
	(1, 'one', 'h', 'a', NULL, NULL), (2, 'two', 'h', 'b', NULL, NULL),
	(3, 'fenced', 'h', 'c', now(), NULL), (4, 'stopped', 'h', 'd', NULL, now());
SELECT installation_enter() IS NULL AS never \gset
SQL

# arguments: run, state of the run, rows; all of them queued
run_add()
{
	sql -c "SET search_path = kairan; INSERT INTO run (id, campaign_id, run_key, template_id, state, planned, pushed, started_at, snapshot)
			OVERRIDING SYSTEM VALUE VALUES ($1, 1, 'k$1', 1, '$2', $3, $3, now(), '{\"on_doubt\": \"resend\"}');
		CREATE TABLE send_$1 PARTITION OF send FOR VALUES IN ($1);
		INSERT INTO send (run_id, id, recipient_id, address, address_key)
		SELECT $1, i, i, 'u' || i || '@r$1.example', 'u' || i || '@r$1.example' FROM generate_series(1, $3) AS i"
}

# arguments: name of a statement of the dispatcher, parameters; stdout: the rows
statement()
{
	{
		echo 'PREPARE s AS'
		cat "dispatcher/sql/$1.sql"
		echo "; EXECUTE s ($2);"
	} | sql -f -
}

# The number of claims that the dispatcher knows of is the one PostgreSQL has, unless it is given.
# arguments: dispatcher, run, ids, [scopes], [claims], [lock], [route]; stdout: "id attempt" of each row that may be sent
claim()
{
	statement claim "$1, $2, '{$3}', '{${4:-all}}', ${5:-$(one "claim_seq FROM kairan.dispatcher WHERE id = $1")},
		'${6:-$(one "lock_id FROM kairan.dispatcher WHERE id = $1")}', '${7:-}'" |
		cut -d '|' -f 1,2 | sort -n | tr '|\n' ' ,'
}

# arguments: run, dispatcher, id, attempt, state, [seconds], [state it is in], [class]; stdout: how many
record()
{
	statement record "$1, $2, '${7:-sending}', '{$3}', '{$4}', '{$5}', '{250}', '{NULL}', '{${8:-NULL}}', '{NULL}', '{NULL}',
		'{mx.example}', '{NULL}', '{${6:-0}}'"
}

# arguments: run, ids; stdout: state of each
states()
{
	one "string_agg(state::text, ' ' ORDER BY id) FROM kairan.send WHERE run_id = $1 AND id IN ($2)"
}

row()
{
	one "concat_ws(' ', state, 'attempt', attempt, 'owner', owner) FROM kairan.send WHERE run_id = $1 AND id = $2"
}

# arguments: run; the tally of each state beside the rows
counts_agree()
{
	tap_is "$(one "(SELECT (sum(claimed), sum(sent), sum(deferred), sum(failed), sum(in_doubt), sum(skipped))::text
			FROM kairan.tally WHERE run_id = $1)")" \
		"$(one "(SELECT (count(*) FILTER (WHERE state = 'sending'), count(*) FILTER (WHERE state = 'sent'),
			count(*) FILTER (WHERE state = 'deferred'), count(*) FILTER (WHERE state = 'failed'),
			count(*) FILTER (WHERE state = 'in_doubt'), count(*) FILTER (WHERE state = 'skipped'))::text
			FROM kairan.send WHERE run_id = $1)")" "$2"
}

# ---- CLAIM -------------------------------------------------------------------------------

run_add 10 running 30
tap_is "$(claim 1 10 1,2)" '1 1,2 1,' 'CLAIM takes what is queued, once more by attempt'
tap_is "$(claim 2 10 1,2)|$(row 10 1)" '|sending attempt 1 owner 1' 'not what somebody has'
tap_is "$(claim 1 10 1,2)|$(row 10 1)" '|sending attempt 1 owner 1' 'nor what it has itself'
for state in sent failed in_doubt skipped cancelled expired; do
	sql -c "UPDATE kairan.send SET state = '$state' WHERE run_id = 10 AND id = 20"
	tap_is "$(claim 1 10 20) $(states 10 20)" " $state" "nor what is $state"
done
sql -c "UPDATE kairan.send SET state = 'queued' WHERE run_id = 10 AND id = 20"
tap_is "$(claim 3 10 3)|$(row 10 3)" '|queued attempt 0 owner 0' 'a dispatcher that was declared dead claims nothing'
tap_is "$(claim 4 10 3)|$(row 10 3)" '|queued attempt 0 owner 0' 'nor one that has ended'
for state in paused cancelled finished; do
	sql -c "UPDATE kairan.run SET state = '$state' WHERE id = 10"
	tap_is "$(claim 1 10 3)|$(row 10 3)" '|queued attempt 0 owner 0' "nothing of a run that is $state"
done
sql -c "UPDATE kairan.run SET state = 'running' WHERE id = 10" \
	-c "UPDATE kairan.send SET state = 'deferred', not_before = now() + interval '1 hour' WHERE run_id = 10 AND id = 4" \
	-c "UPDATE kairan.send SET state = 'deferred', not_before = now() - interval '1 s' WHERE run_id = 10 AND id = 5" \
	-c "INSERT INTO kairan.tally (run_id, owner, minute, deferred) VALUES (10, 0, now(), 2)"
tap_is "$(claim 1 10 4,5)" '5 1,' 'what was put off comes when it is due, not before'
sql -c "INSERT INTO kairan.suppression (address_key, reason, scope, expires_at) VALUES
	('u6@r10.example', 'manual', 'all', NULL), ('u7@r10.example', 'manual', 'list:other', NULL),
	('u8@r10.example', 'manual', 'stream:marketing', now() + interval '1 day'), ('u9@r10.example', 'manual', 'all', now())"
tap_is "$(claim 1 10 6,7,8,9 all,stream:marketing) $(states 10 6,8)" '7 1,9 1, skipped skipped' 'the suppressed are skipped, by scope and expiry'
run_add 70 running 4
sql -c "INSERT INTO kairan.run_lane (run_id, lane, name, provider, paced, route) VALUES (70, 1, 'docomo', 'docomo', true, 'own'),
	(70, 2, 'au', 'au', true, 'other'), (70, 3, 'tail-00', 'default', false, '')" -c 'UPDATE kairan.send SET lane = id % 4 WHERE run_id = 70'
tap_is "$(claim 1 70 1,2,3,4 all '' '' own)/$(claim 1 70 1,2,3,4 all '' '' nobody)/$(claim 1 70 1,2,3,4)/$(claim 1 70 1,2,3,4 all '' '' other)" \
	'1 1,//3 1,4 1,/2 1,' 'a dispatcher claims what is of its route, and one without a route what has none'
counts_agree 10 'the tally follows the claims'

before=$(one 'claim_seq FROM kairan.dispatcher WHERE id = 1')
tap_is "$(claim 1 10 10) $(one "claim_seq - $before FROM kairan.dispatcher WHERE id = 1")" '10 1, 1' 'every claim is counted'
tap_is "$(claim 1 10 11 all $((before + 9)))|$(row 10 11)" '|queued attempt 0 owner 0' 'PostgreSQL knows of fewer claims than it acknowledged: nothing'
old=$(one 'claim_seq FROM kairan.dispatcher WHERE id = 1')
tap_is "$(statement fence_claims "1, $((old + 1))")" '' 'nor can claims be fenced: that would hide it'
fenced=$(statement fence_claims "1, $old")
tap_is "$(claim 1 10 11 all "$old")|$(row 10 11)" '|queued attempt 0 owner 0' 'a claim that was on its way when claims were fenced finds nothing'
tap_is "$(claim 1 10 11 all "$fenced")" '11 1,' 'one that knows of the fence does'

last=$(one 'claimed_at FROM kairan.send WHERE run_id = 10 AND id = 10')
tap_is "$(statement lost_claim "10, 1, '{1,10,11}', '$last'")" '11|1' 'after a claim whose commit is unknown: only what came behind the last known one'
tap_is "$(statement lost_claim "10, 2, '{1,10,11}', '-infinity'")" '' 'and only what is its own'
sql -c "INSERT INTO kairan.suppression (address_key, reason, scope, expires_at) VALUES ('u1@r10.example', 'unsubscribe', 'list:marketing', NULL),
	('u2@r10.example', 'manual', 'all', now() - interval '1 s'), ('u10@r10.example', 'unsubscribe', 'list:other', NULL)"
tap_is "$(statement recheck "10, '{1,2,10}', '{all,list:marketing}'")" 1 'an old claim is looked at again: who unsubscribed meanwhile'

# ---- RECORD, RELEASE ---------------------------------------------------------------------

tap_is "$(record 10 2 1 1 sent) $(row 10 1)" '0 sending attempt 1 owner 1' 'RECORD by another dispatcher does nothing'
tap_is "$(record 10 1 1 2 sent) $(record 10 1 1 0 sent) $(row 10 1)" '0 0 sending attempt 1 owner 1' 'nor of another attempt'
tap_is "$(record 10 1 12 0 sent) $(row 10 12)" '0 queued attempt 0 owner 0' 'nor of what was not claimed'
tap_is "$(record 10 1 1 1 sent) $(record 10 1 1 1 sent) $(states 10 1)" '1 0 sent' 'what it holds it settles, once'
tap_is "$(record 10 1 2 1 failed 0 sending hard) $(states 10 2) $(one "class FROM kairan.send WHERE run_id = 10 AND id = 2")" '1 failed hard' \
	'a refusal is one'
counts_agree 10 'repeats are counted once'
tap_is "$(record 10 1 5 1 deferred -60) $(one "tries || ' ' || (not_before > now() + interval '50 s') FROM kairan.send WHERE run_id = 10 AND id = 5")" \
	'1 0 true' 'put off for no fault of the recipient: no step of the ladder'
tap_is "$(record 10 1 7 1 deferred 60) $(one "tries || ' ' || (not_before > now() + interval '50 s') FROM kairan.send WHERE run_id = 10 AND id = 7")" \
	'1 1 true' 'put off by the recipient: one'
attempts=$(one "sum(attempts) FROM kairan.tally WHERE run_id = 10")
tap_is "$(record 10 1 9 1 in_doubt) $(record 10 1 9 1 in_doubt) $(record 10 1 9 1 in_doubt 0 in_doubt) $(
	one "sum(attempts) - $attempts FROM kairan.tally WHERE run_id = 10")" '1 0 0 1' 'written again behind an unknown commit, and then as late: one attempt'
sql -c "UPDATE kairan.send SET reason = 'owner_lost' WHERE run_id = 10 AND id = 9"
tap_is "$(record 10 1 9 1 sent 0 in_doubt) $(states 10 9)" '1 sent' 'a late outcome settles the doubt of somebody else'
tap_is "$(one "count(*) FROM kairan.retry WHERE run_id = 10")" 2 'those put off wait for their time'

tap_is "$(statement release "10, 2, '{10}', '{1}'")$(statement release "10, 1, '{10}', '{2}'")$(statement release "10, 1, '{9}', '{1}'")" '' \
	'RELEASE: not of others, of other attempts, or of what was sent'
tap_is "$(statement release "10, 1, '{10}', '{1}'" | cut -d '|' -f 1) $(states 10 9,10)" '10 sent queued' 'what it holds'
tap_is "$(claim 2 10 10)" '10 2,' 'then somebody else may have it, by the next attempt'
tap_is "$(record 10 1 10 1 sent) $(row 10 10)" '0 sending attempt 2 owner 2' 'and the last holder settles it no more'
counts_agree 10 'the tally agrees with the rows'
tap_is "$(one "sum(attempted) || ' ' || sum(sent) || ' ' || sum(hard) FROM kairan.tally_domain WHERE run_id = 10")" '3 2 1' 'so does the one by domain'

# ---- dead owners -------------------------------------------------------------------------

run_add 11 running 8
tap_is "$(claim 2 11 1,2,3,4)" '1 1,2 1,3 1,4 1,' 'four are claimed'
tap_is "$(record 11 2 4 1 in_doubt)" 1 'one is in doubt by its own word'
tap_is "$(one 'kairan.dispatcher_bury(2)') $(states 11 1,2,3,4)" '4 in_doubt in_doubt in_doubt in_doubt' \
	'BURY: what a dead owner holds is in doubt, never queued'
tap_is "$(claim 1 11 1,2,3,4)" '' 'and cannot be claimed'
tap_is "$(claim 2 11 5)$(row 11 5)" 'queued attempt 0 owner 0' 'the buried one claims nothing when it wakes up'
tap_is "$(one "string_agg(id::text, ' ' ORDER BY id) FROM kairan.recover_rows(2) WHERE run_id = 11")" '1 2 3' \
	'RECOVER finds those of whom nothing was heard, not the one whose doubt is its own'
tap_is "$(one "string_agg(u::text, ' ') FROM kairan.send_unsend(11, 1, '{1}', '{1}') u")$(one "string_agg(u::text, ' ') FROM kairan.send_unsend(11, 2, '{1}', '{2}') u")$(
	one "string_agg(u::text, ' ') FROM kairan.send_unsend(11, 2, '{4}', '{1}') u") $(states 11 1,4)" ' in_doubt in_doubt' \
	'not sent: not by others, by other attempts, or of a doubt of its own'
tap_is "$(one "string_agg(u::text, ' ') FROM kairan.send_unsend(11, 2, '{1}', '{1}') u") $(states 11 1,4)" '1 queued in_doubt' \
	'what its journal proves is queued again'
sql -c "UPDATE kairan.run SET state = 'finished' WHERE id = 11"
tap_is "$(one "string_agg(u::text, ' ') FROM kairan.send_unsend(11, 2, '{2}', '{1}') u") $(states 11 2)" ' failed' 'but not in a run that has ended'
sql -c "UPDATE kairan.run SET state = 'running' WHERE id = 11"
counts_agree 11 'the tally agrees with the rows'
tap_is "$(one "kairan.doubt_settle(11, '{1,2}', 'resent')") $(states 11 1,2)" '0 queued failed' 'who is not in doubt is not taken out of it'
sql -c "UPDATE kairan.send SET settled_at = now() - interval '1 day' WHERE run_id = 11 AND state = 'in_doubt'"
tap_is "$(one "kairan.doubt_policy('1 hour')") $(states 11 3,4)" '2 queued queued' 'on_doubt = resend: one more copy'
sql -c "UPDATE kairan.send SET state = 'in_doubt', settled_at = now() - interval '1 day' WHERE run_id = 11 AND id IN (3, 4)" \
	-c "SELECT kairan.tally_add(11, 0, d_in_doubt => 2)" >"$D/out"
tap_is "$(one "kairan.doubt_policy('1 hour')") $(states 11 3,4)" '0 in_doubt in_doubt' 'never a third'

run_add 12 running 4
sql -c "UPDATE kairan.send SET attempt = 2, owner = 1, state = 'queued' WHERE run_id = 12 AND id = 3"
tap_is "$(one "kairan.journal_assert('{12,12,12}', '{1,2,3}', '{1,1,1}', '{1,1,1}', '{q1,NULL,NULL}', '{t,f,f}')") $(states 12 1,2,3)" \
	'2 sent in_doubt queued' 'lost commits: the journal counts for more than the row, but not for more than a later attempt'

# A second copy whose note was lost with the commits: the mark tells of it.
run_add 21 running 3
sql -c "UPDATE kairan.send SET attempt = id, owner = 1, state = 'in_doubt', settled_at = now() WHERE run_id = 21" \
	-c "SELECT kairan.tally_add(21, 0, d_in_doubt => 3)" >"$D/out"
tap_is "$(one "kairan.journal_assert('{21,21,21}', '{1,2,3}', '{2,1,3}', '{1,1,1}', '{NULL,NULL,NULL}', '{f,f,f}')") $(states 21 1,2,3)" \
	'1 in_doubt in_doubt in_doubt' 'lost commits: in doubt by a later attempt than the row knows'
tap_is "$(one "string_agg(format('%s/%s/%s', send_id, attempt, how), ' ' ORDER BY send_id) FROM kairan.doubt WHERE run_id = 21")" \
	'1/1/resent_by_policy 2/1/resent_by_policy' 'two attempts in doubt are one copy more, noted'
sql -c "UPDATE kairan.send SET settled_at = now() - interval '1 day' WHERE run_id = 21"
tap_is "$(one "kairan.doubt_policy('1 hour')") $(states 21 1,2,3)" '1 in_doubt in_doubt queued' 'so on_doubt = resend makes no third'
counts_agree 21 'the tally agrees with the rows'

# ---- what is heard -----------------------------------------------------------------------

run_add 13 running 8
sql -c "UPDATE kairan.send SET state = 'sent', attempt = 2, owner = 1 WHERE run_id = 13" \
	-c "INSERT INTO kairan.tally (run_id, owner, minute, sent) VALUES (13, 1, now(), 8)"

# arguments: kind, class, send, attempt, key, [source], [reason]; stdout: how many were new
hear()
{
	one "kairan.ingest('{${6:-sns}}', '{$1}', '{$5}', '{now}', '{13}', '{$3}', '{$4}', '{u$3@r13.example}', '{${2:-NULL}}', '{${7:-NULL}}',
		'{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}')"
}

# arguments: send; stdout: scopes and reasons
suppressed()
{
	one "string_agg(scope || ' ' || reason, ', ' ORDER BY 1) FROM kairan.suppression WHERE address_key = 'u$1@r13.example'"
}

tap_is "$(hear bounced hard 1 2 e1) $(hear bounced hard 1 2 e1) $(suppressed 1)" '1 0 all bounce' 'what is heard twice is heard once; a hard bounce suppresses'
tap_is "$(one "sum(bounced) || ' ' || sum(hard) FROM kairan.tally WHERE run_id = 13")" '1 1' 'and is counted once'
tap_is "$(hear bounced hard 1 2 e2) $(one "sum(bounced) FROM kairan.tally WHERE run_id = 13")" '1 1' 'another report of the same mail is no second bounce'
tap_is "$(hear complained '' 2 2 e3) $(suppressed 2)" '1 all complaint' 'a complaint suppresses'
tap_is "$(hear unsubscribed '' 3 2 e4) $(suppressed 3)" '1 list:marketing unsubscribe' 'who unsubscribes is suppressed for the list'
tap_is "$(hear bounced soft 4 2 e5) $(hear bounced block 4 2 e6) $(hear delivered '' 4 2 e7) $(suppressed 4)" '1 1 1 ' \
	'a soft bounce, a block and a delivery suppress nobody'
tap_is "$(hear bounced hard 5 3 e8) $(suppressed 5) $(one "bounced_at IS NULL FROM kairan.send WHERE run_id = 13 AND id = 5")" '1  t' \
	'what names an attempt that was never made does nothing'
tap_is "$(hear complained '' 6 1 e9) $(suppressed 6)" '1 all complaint' 'an earlier attempt was a mail, too'
tap_is "$(hear rejected message 7 1 e10) $(states 13 7)" '1 sent' 'a rejection of an earlier attempt says nothing of this one'
tap_is "$(hear rejected message 7 2 e11) $(states 13 7)" '1 failed' 'one of this does'
counts_agree 13 'the tally agrees with the rows'

# a relay may say 451 and keep the mail: a bounce is heard, and the recipient is tried again
run_add 14 running 1
said()
{
	one "concat_ws(' ', state, attempt, class, reason, reply) FROM kairan.send WHERE run_id = 14"
}
put_off()
{
	statement record "14, 1, 'sending', '{1}', '{$1}', '{deferred}', '{451}', '{4.3.0}', '{soft}', '{$2}', '{busy}', '{mx}', '{NULL}', '{0}'"
}
tap_is "$(claim 1 14 1)$(put_off 1 system) $(said)" '1 1,1 deferred 1 soft system busy' 'who is put off has a reason'
tap_is "$(claim 1 14 1) $(said)" '1 2, sending 2 soft system busy' 'which stays while he is tried again'
tap_is "$(put_off 2 network) $(said)" '1 deferred 2 soft network busy' 'until there is another one'
tap_is "$(one "kairan.ingest('{dsn}', '{bounced}', '{e14}', '{now}', '{14}', '{1}', '{2}', '{u1@r14.example}', '{soft}', '{mailbox_full}',
	'{NULL}', '{NULL}', '{full}', '{NULL}', '{NULL}')") $(said)" '1 deferred 2 soft mailbox_full full' 'what a bounce says counts more'
tap_is "$(claim 1 14 1)$(put_off 3 system) $(said)" '1 3,1 deferred 3 soft mailbox_full full' 'also when he is put off once more: whole, with its reason'
tap_is "$(claim 1 14 1) $(statement release "14, 1, '{1}', '{4}'" | cut -d '|' -f 1) $(said)" '1 4, 1 queued 4 soft mailbox_full full' 'or given back'

# ---- runs --------------------------------------------------------------------------------

tap_is "$(one "is_new FROM kairan.run_make('news', 'once')") $(one "is_new FROM kairan.run_make('news', 'once')") $(
	one "count(*) FROM kairan.run WHERE run_key = 'once'")" 't f 1' 'a run key is one run'
tap_is "$(sql -c "INSERT INTO kairan.run (campaign_id, run_key, template_id) VALUES (1, 'once', 1)" 2>&1 | grep -c 'run_campaign_id_run_key')" 1 \
	'and cannot be two'
sql -c "UPDATE kairan.run SET state = 'planning' WHERE run_key = 'once'" \
	-c "INSERT INTO kairan.lease (name, holder, epoch, expires_at) VALUES ('producer', 'x', 7, now() + interval '1 day') ON CONFLICT (name) DO UPDATE SET epoch = 7"
PLANNED=$(one "id FROM kairan.run WHERE run_key = 'once'")
tap_is "$(sql -c "SELECT kairan.plan_fence($PLANNED, 6)" 2>&1 | grep -c 'another producer leads') $(
	sql -c "SELECT kairan.plan_fence($PLANNED, 7)" 2>&1 | grep -c ERROR) $(sql -c 'SELECT kairan.plan_fence(13, 7)' 2>&1 | grep -c 'not being planned')" '1 0 1' \
	'PLAN: only by the producer that leads, only a run that is being planned'
# arguments: id, recipient, address; of the run that plan_seal() made
send_again()
{
	sql -c "INSERT INTO kairan.send (run_id, id, recipient_id, address, address_key) VALUES ($PLANNED, $1, $2, '$3', '$3')" 2>&1 |
		grep -c 'duplicate key'
}
sql -c "SELECT kairan.plan_begin($PLANNED, 7), kairan.plan_seal($PLANNED, 7)" >"$D/out"
tap_is "$(send_again 1 1 u1@x.example) $(send_again 2 1 u2@x.example) $(send_again 3 2 u1@x.example)" '0 1 1' \
	'a recipient or an address is in a planned run once'
tap_is "$(one "kairan.run_move(13, '{paused}', 'running')") $(one "state FROM kairan.run WHERE id = 13")" 'f running' 'a run moves only from where it is said to be'
claim 1 13 8 >"$D/out"
sql -c "UPDATE kairan.send SET state = 'sending', owner = 1 WHERE run_id = 13 AND id = 8"
tap_is "$(one "kairan.send_move_all(13, '{queued,deferred}', 'cancelled', 'x')") $(states 13 8)" '0 sending' 'what is being sent is not cancelled'

# ---- behind a fail-over ------------------------------------------------------------------

run_add 60 running 40
sql -c 'UPDATE kairan.dispatcher SET stopped_at = now() WHERE stopped_at IS NULL' \
	-c "INSERT INTO kairan.dispatcher (id, name, host, lock_id, claim_seq, stopped_at) OVERRIDING SYSTEM VALUE VALUES
		(61, 'tokyo', 'h', 't', 0, NULL), (62, 'osaka', 'h', 'o', 0, NULL), (63, 'kobe', 'h', 'k', 0, now()), (64, 'tokyo', 'h', 't', 0, NULL)" \
	-c 'ALTER TABLE kairan.dispatcher ALTER id RESTART WITH 100'

# PostgreSQL is on another timeline than the one that everything was noted on.
timeline_begin()
{
	sql -c 'UPDATE kairan.installation SET timeline = timeline - 1' -c 'UPDATE kairan.dispatcher SET began = began - 1, heard = heard - 1'
}

missing()
{
	one "string_agg(DISTINCT name, ' ') FROM kairan.quarantine"
}

# A look of a dispatcher at the runs; stdout: who is waited for, and 1 for a life of an earlier timeline
# arguments: dispatcher, claims that it knows of, [lock]
look()
{
	statement active "$1, '', $2, '${3:-$(one "lock_id FROM kairan.dispatcher WHERE id = $1")}', ''" | sed -n 's/^0|alive|[0-9]*|\(.*|[01]\)$/\1/p'
}

# arguments: name, lock, [timeline], [first life that its journal knows of], [journal has everything], [join_s]; stdout: id and wait in units of 10,000 s
enter()
{
	one "id || ' ' || round(wait_s / 10000) FROM kairan.dispatcher_enter('$1', 'h', '$2', ${3:-kairan.timeline()}, ${4:-1}, ${5:-true}, ${6:-0})"
}

tap_is "$(claim 61 60 1 all 0 other)$(look 61 0 other)" '' 'who has the number of another one neither claims nor is alive'
tap_is "$(claim 61 60 1)" '1 1,' 'before a fail-over claims find rows'
timeline_begin
tap_is "$(claim 61 60 2)|$(row 60 2)" '|queued attempt 0 owner 0' 'on a new timeline they find none'
tap_is "$(missing)" 'osaka tokyo' 'who had not ended is waited for'
sql -c 'UPDATE kairan.dispatcher SET claim_seq = claim_seq + 1 WHERE id = 62'
tap_is "$(one 'claim_seq FROM kairan.dispatcher WHERE id = 62')" 0 'a program that does not know of timelines claims nothing either'
tap_is "$(look 61 2) / $(missing)" 'osaka on h, tokyo on h|1 / osaka tokyo' 'one whose claims are missing is not heard'
tap_is "$(look 61 1) / $(missing)" 'osaka on h|1 / osaka' 'one that misses none is, with what it once registered and heard no answer to'
tap_is "$(claim 61 60 2)" '' 'and claims nothing before the others were'
sql -c 'UPDATE kairan.dispatcher SET stopped_at = now() WHERE id = 62'
tap_is "$(missing)" osaka 'an end is no word'
tap_is "$(enter osaka o 0)" '' 'a journal that was compared on another timeline is not heard'
enter osaka o '' 0 >"$D/out"
enter osaka o '' 63 >"$D/out"
enter osaka o '' 1 false >"$D/out"
tap_is "$(missing)" osaka 'nor is one that is empty, or younger, or has holes'
enter osaka o >"$D/out"
tap_is "$(missing)$(look 61 1)$(claim 61 60 2)" '|12 1,' 'when everybody was heard claims go on'
tap_is "$(one "count(*) FROM kairan.audit WHERE action = 'quarantine.end'")" 1 'and the audit has it'

sql -c 'UPDATE kairan.dispatcher SET stopped_at = now() WHERE stopped_at IS NULL AND id <> 61' -c 'UPDATE kairan.dispatcher SET stopped_at = now() WHERE id = 61'
timeline_begin
tap_is "$(missing)" tokyo 'when all had ended, the one that ended last is waited for'
enter kobe k >"$D/out"
tap_is "$(missing)" tokyo 'whoever else comes'
enter tokyo t '' '' false >"$D/out"
tap_is "$(missing)" '' 'until it comes, with any journal: it had settled everything'

sql -c 'UPDATE kairan.installation SET timeline = kairan.timeline()' -c 'UPDATE kairan.dispatcher SET heard = kairan.timeline()'
tap_is "$(enter nagoya n '' '' true 100000 | cut -d ' ' -f 2)" 10 'a dispatcher that joins others has to wait before it claims'
tap_is "$(enter nagoya n '' '' true 100000 | cut -d ' ' -f 2)" 10 'and no less when it is started once more'
tap_is "$(enter kobe k '' '' true 100000 | cut -d ' ' -f 2)" 10 'so has one that others have known for less'
sql -c "UPDATE kairan.dispatcher SET joined_at = joined_at - interval '100000 s' WHERE lock_id = 'n'"
tap_is "$(enter nagoya n '' '' true 100000 | cut -d ' ' -f 2)" 0 'but not one that has been among them for long'
sql -c "UPDATE kairan.dispatcher SET stopped_at = now() - interval '1 s' WHERE stopped_at IS NULL AND lock_id <> 'n'" \
	-c "UPDATE kairan.dispatcher SET stopped_at = now() WHERE stopped_at IS NULL"
tap_is "$(enter nagoya n '' '' true 100000 | cut -d ' ' -f 2)" 0 'nor one that was the last to end'
sql -c "UPDATE kairan.dispatcher SET stopped_at = now() WHERE stopped_at IS NULL"
tap_is "$(enter kobe k '' '' true 100000 | cut -d ' ' -f 2)" 10 'another one has'

NOW=$(enter tokyo t)
sql -c "UPDATE kairan.dispatcher SET stopped_at = now() WHERE stopped_at IS NULL AND id <> ${NOW% *}"
tap_is "$(claim "${NOW% *}" 60 3,4)" '3 1,4 1,' 'one is alone'
timeline_begin
tap_is "$(one "kairan.quarantine_forget('osaka')") $(missing)" '0 tokyo' 'who is not waited for cannot be forgotten'
tap_is "$(one "kairan.quarantine_forget('tokyo')") $(missing) $(states 60 3,4)" '1  in_doubt in_doubt' \
	'a person may go on without one: what it held is in doubt'
counts_agree 60 'and counted so'
tap_done
