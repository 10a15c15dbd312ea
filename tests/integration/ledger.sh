#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# ledger: whatever the order in which things are heard, rows and counts end the same; events wait
# for their rows; rests and probation; what a dead owner held; retention. Real PostgreSQL, the
# statements of the programs. TAP, run by prove.
# shellcheck disable=SC2317 # functions called by name
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
. tools/tap.sh
. tests/support/services.sh
. tests/support/feedback.sh

feedback_start

# arguments: run, state, rows, domain
run_make()
{
	sql -c "SET search_path = kairan; INSERT INTO run (id, campaign_id, run_key, template_id, state, planned, pushed) OVERRIDING SYSTEM VALUE
			VALUES ($1, 1, 'k$1', 1, 'running', $3, $3);
		CREATE TABLE send_$1 PARTITION OF send FOR VALUES IN ($1) WITH (fillfactor = 35);
		INSERT INTO send (run_id, id, recipient_id, state, attempt, owner, address, address_key)
		SELECT $1, i, i, '$2', 1, 1, 'u' || i || '@$4', 'u' || i || '@$4' FROM generate_series(1, $3) AS i;
		INSERT INTO tally (run_id, owner, minute, claimed, sent, in_doubt) SELECT $1, 1, now(),
		    CASE '$2' WHEN 'sending' THEN $3 ELSE 0 END, CASE '$2' WHEN 'sent' THEN $3 ELSE 0 END,
		    CASE '$2' WHEN 'in_doubt' THEN $3 ELSE 0 END"
}

# arguments: kind, class, reason, run, send (NULL: no token), address, time, [message id], [source]
hear_sql()
{
	echo "SELECT kairan.ingest(ARRAY['${9:-sns}'], ARRAY['$1'], ARRAY['$1|$4|$5|$6|$7|${8:-}'], ARRAY['$7'::timestamptz], ARRAY[$4]::int[],
		ARRAY[$5]::int[], ARRAY[CASE WHEN $5::int IS NULL THEN NULL ELSE 1 END]::int[], ARRAY['$6'], ARRAY[nullif('$2', '')],
		ARRAY[nullif('$3', '')], ARRAY[NULL]::int[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[],
		ARRAY[NULL]::text[], ARRAY[nullif('${8:-}', '')]);"
}

hear()
{
	hear_sql "$@" | sql -o /dev/null -f -
}

# arguments: run, send, state, [remote id], [state before]; by the dispatcher's own statement
record()
{
	{
		echo 'PREPARE record AS'
		cat dispatcher/sql/record.sql
		echo ";
		EXECUTE record ($1, 1, '${5:-sending}', '{$2}', '{1}', '{$3}', '{250}', '{NULL}', '{NULL}', '{NULL}', '{NULL}',
		    '{mx.example}', '{${4:-NULL}}', '{0}');"
	} | sql -o /dev/null -f -
}

# What the tally says of a run, and what its rows say.
counts_agree()
{
	tap_is "$(one "(SELECT (sum(sent), sum(failed), sum(in_doubt), sum(claimed), sum(delivered), sum(bounced), sum(complained))::text
			FROM kairan.tally WHERE run_id = $1)")" \
		"$(one "(SELECT (count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed'),
			count(*) FILTER (WHERE state = 'in_doubt'), count(*) FILTER (WHERE state = 'sending'), count(delivered_at),
			count(bounced_at), count(complained_at))::text FROM kairan.send WHERE run_id = $1)")" "$2"
}

# ---- every order -------------------------------------------------------------------------

# a permutation is a number 0 .. 23; the events are those of one mail: taken, delivered, bounced
# later by the mailbox behind it, and complained about
EVENTS=('accepted||accepted|2026-11-20 10:00:00Z' 'delivered||delivered|2026-11-20 10:00:01Z'
	'bounced|hard|user_unknown|2026-11-20 10:00:02Z' 'complained||abuse|2026-11-20 10:00:03Z')
ROW="(state, delivered_at, bounced_at, complained_at, unsubscribed_at, class, reason, accepted_attempt, rejected_attempt)::text"

# arguments: number; stdout: 4 indexes
order()
{
	local left=(0 1 2 3) n=$1 size i

	for size in 4 3 2 1; do
		i=$((n % size))
		n=$((n / size))
		printf '%s ' "${left[i]}"
		left=("${left[@]:0:i}" "${left[@]:i+1}")
	done
}

# arguments: run, how (token, or message: its id is recorded last)
all_orders()
{
	local n i kind class reason at

	for ((n = 0; n < 24; n++)); do
		for i in $(order "$n"); do
			IFS='|' read -r kind class reason at <<<"${EVENTS[i]}"
			if [ "$2" = token ]; then
				hear_sql "$kind" "$class" "$reason" "$1" $((n + 1)) "u$((n + 1))@perm.example" "$at"
			else
				hear_sql "$kind" "$class" "$reason" NULL NULL "u$((n + 1))@perm$1.example" "$at" "ses-$1-$((n + 1))"
			fi
		done
	done | sql -o /dev/null -f -
}

tap_is "$(for n in {0..23}; do order $n; echo; done | sort -u | wc -l)" 24 'there are 24 orders'
run_make 10 in_doubt 24 perm.example
all_orders 10 token
tap_is "$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 10")" \
	'1 (sent,"2026-11-20 10:00:01+00","2026-11-20 10:00:02+00","2026-11-20 10:00:03+00",,hard,user_unknown,1,)' \
	'in doubt: all 24 orders of Send, Delivery, Bounce and Complaint end in the same row'
counts_agree 10 'and are counted alike'
tap_is "$(one "count(*) || ' ' || string_agg(DISTINCT reason, ' ' ORDER BY reason) FROM kairan.suppression WHERE address_key LIKE '%@perm.example'")" \
	'48 bounce complaint' 'and suppress alike'

run_make 11 sending 24 perm.example
all_orders 11 token
for i in {1..24}; do record 11 "$i" sent; done
tap_is "$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 11")" \
	"$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 10")" 'heard before it was recorded: the same row'
counts_agree 11 'counted alike'

run_make 12 sending 24 perm12.example
all_orders 12 message
tap_is "$(one "count(*) FROM kairan.feedback_wait WHERE message_id LIKE 'ses-12-%'")" 96 'without token, and the message id not recorded yet: they wait'
sql -c "SELECT kairan.feedback_join(1000)" >/dev/null
tap_is "$(one "count(delivered_at) FROM kairan.send WHERE run_id = 12")" 0 'a look finds no row'
for i in {1..24}; do record 12 "$i" sent "ses-12-$i"; done
tap_is "$(one "kairan.feedback_join(1000)")" 96 'recording the id makes them due at once'
tap_is "$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 12")" \
	"$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 10")" 'message id last: all 24 orders end in the same row'
counts_agree 12 'counted alike'
tap_is "$(one "count(*) FROM kairan.feedback_wait WHERE message_id LIKE 'ses-12-%'")" 0 'nothing waits any more'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE run_id = 12 AND message_id IS NOT NULL")" 96 'the inbox knows their row'

# attempt 1 was taken and rejected behind, attempt 2 has no answer: all orders leave the doubt
run_make 53 sending 6 reject.example
sql -c 'UPDATE kairan.send SET attempt = 2 WHERE run_id = 53'
step=('accepted||accepted|2026-11-20 10:00:00Z' 'rejected|message|rejected|2026-11-20 10:00:01Z')
n=0
for list in '0 1 2' '0 2 1' '1 0 2' '1 2 0' '2 0 1' '2 1 0'; do
	n=$((n + 1))
	for i in $list; do
		if [ "$i" = 2 ]; then
			{
				echo 'PREPARE record AS'
				cat dispatcher/sql/record.sql
				echo "; EXECUTE record (53, 1, 'sending', '{$n}', '{2}', '{in_doubt}', '{NULL}', '{NULL}', '{NULL}', '{no_answer}', '{NULL}', '{NULL}', '{NULL}', '{0}');"
			} | sql -o /dev/null -f -
		else
			IFS='|' read -r kind class reason at <<<"${step[i]}"
			hear "$kind" "$class" "$reason" 53 "$n" "u$n@reject.example" "$at"
		fi
	done
done
tap_is "$(one "string_agg(DISTINCT format('%s %s %s %s', state, reason, accepted_attempt, rejected_attempt), '; ') FROM kairan.send WHERE run_id = 53")" \
	'in_doubt no_answer 1 1' 'what was taken and rejected proves nothing of the next attempt, in any order'
counts_agree 53 'and is counted so'
tap_is "$(one "kairan.doubt_settle(53, NULL, 'proved_sent')")" 0 'nor is it a proof that settles doubt'
sql -c "SELECT kairan.ingest(ARRAY['sns'], ARRAY['accepted'], ARRAY['accepted|53|3|2'], ARRAY[now()], ARRAY[53], ARRAY[3], ARRAY[2], ARRAY['u3@reject.example'],
	ARRAY[NULL], ARRAY['accepted'], ARRAY[NULL]::int[], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL], ARRAY[NULL])" >/dev/null
tap_is "$(one "string_agg(id || ' ' || state, ' ' ORDER BY id) FROM kairan.send WHERE run_id = 53 AND id IN (3, 4)")" '3 sent 4 in_doubt' 'the acceptance of the attempt itself is'

# several bounces of one mail, one of them early in time: all orders, and all ways of hearing them together
WHYS=('bounced soft mailbox_full 1' 'bounced hard user_unknown 3' 'bounced hard mailbox_disabled 2' 'delivered NULL NULL 0')

# arguments: run, send, indexes of events that come together
together_sql()
{
	local run=$1 send=$2 kinds='' keys='' times='' classes='' reasons='' runs='' sends='' ones='' nulls='' sources='' c kind class reason at

	shift 2
	for c; do
		read -r kind class reason at <<<"${WHYS[c]}"
		kinds+=,$kind keys+=",why-$run-$send-$c" times+=",2026-11-20 10:00:0${at}Z" classes+=,$class reasons+=,$reason
		runs+=,$run sends+=,$send ones+=,1 nulls+=,NULL sources+=,sns
	done
	echo "SELECT kairan.ingest('{${sources#,}}', '{${kinds#,}}', '{${keys#,}}', '{${times#,}}', '{${runs#,}}', '{${sends#,}}', '{${ones#,}}', '{${nulls#,}}',
		'{${classes#,}}', '{${reasons#,}}', '{${nulls#,}}', '{${nulls#,}}', '{${nulls#,}}', '{${nulls#,}}', '{${nulls#,}}');"
}

run_make 14 sent 192 why.example
sql -c "UPDATE kairan.send SET lane = 1 WHERE run_id = 14"
send=0
for ((n = 0; n < 24; n++)); do
	read -r -a these < <(order $n)
	for ((cuts = 0; cuts < 8; cuts++)); do
		send=$((send + 1))
		now=("${these[0]}")
		for i in 1 2 3; do
			if ((cuts >> (i - 1) & 1)); then
				together_sql 14 $send "${now[@]}"
				now=()
			fi
			now+=("${these[i]}")
		done
		together_sql 14 $send "${now[@]}"
	done
done | sql -o /dev/null -f -
tap_is "$(one "count(DISTINCT $ROW) || ' ' || min($ROW) FROM kairan.send WHERE run_id = 14")" \
	'1 (sent,"2026-11-20 10:00:00+00","2026-11-20 10:00:01+00",,,hard,mailbox_disabled,1,)' \
	'several bounces of a mail, alone or together in all orders: the worst says why, the earliest of those'
tap_is "$(one "(sum(hard), sum(soft), sum(block), sum(other)) || ' ' || (SELECT (sum(hard), sum(bounced))::text FROM kairan.tally WHERE run_id = 14)
		|| ' ' || (SELECT sum(hard) FROM kairan.tally_lane WHERE run_id = 14) FROM kairan.tally_domain WHERE run_id = 14")" \
	'(192,0,0,0) (192,192) 192' 'and counts once, as what it turned out to be'
hear bounced soft mailbox_full 14 1 u1@why.example '2026-11-20 09:00:00Z'
tap_is "$(one "class || ' ' || bounced_at FROM kairan.send WHERE run_id = 14 AND id = 1")" 'hard 2026-11-20 09:00:00+00' 'a milder one that is heard later changes no reason'
sql -c "DELETE FROM kairan.feedback_event WHERE run_id = 14 AND class = 'hard'"
hear bounced soft mailbox_full 14 2 u2@why.example '2026-11-20 09:00:00Z'
tap_is "$(one "class FROM kairan.send WHERE run_id = 14 AND id = 2")" hard 'nor when the worse one is no longer kept'
run_make 15 sent 8 list.example
send=0
for reason in on_account_suppression_list on_tenant_suppression_list validation_suppressed not_sent; do
	hear bounced hard $reason 15 $((send += 1)) "u$send@list.example" '2026-11-20 10:00:00Z'
done
hear bounced soft mailbox_full 15 2 u2@list.example '2026-11-20 10:00:05Z'
hear bounced soft mailbox_full 15 5 u5@list.example '2026-11-20 10:00:05Z'
hear bounced hard not_sent 15 5 u5@list.example '2026-11-20 10:00:00Z'
tap_is "$(one "string_agg(DISTINCT class || ' ' || reason, ', ') FROM kairan.send WHERE run_id = 15 AND id IN (2, 5)") $(
	one "(sum(bounced), sum(hard)) || ' ' || (SELECT (sum(hard), sum(soft))::text FROM kairan.tally_domain WHERE run_id = 15) FROM kairan.tally WHERE run_id = 15") $(
	one "count(*) FROM kairan.suppression WHERE address_key LIKE '%@list.example'")" 'soft mailbox_full (2,0) (0,2) 5' \
	'what SES did not send is no bounce of ours, but suppressed'

# ---- rows that come later ----------------------------------------------------------------

hear delivered '' delivered 13 5 u5@later.example '2026-11-20 11:00:00Z'
hear delivered '' delivered NULL NULL u6@later.example '2026-11-20 11:00:00Z' other-id
hear delivered '' delivered NULL NULL u7@other.example '2026-11-20 11:00:00Z' later-7
hear delivered '' delivered NULL NULL u8@later.example '2026-11-20 11:00:00Z' later-8 dsn
tap_is "$(one "count(*) FROM kairan.feedback_wait WHERE run_id = 13 OR message_id IN ('other-id', 'later-7', 'later-8')")" 3 \
	'a row that is not there is waited for; what a mail claims to be is not'
run_make 13 sent 10 later.example
sql -c "UPDATE kairan.send SET remote_id = 'later-' || id WHERE run_id = 13; UPDATE kairan.feedback_wait SET due_at = now()"
tap_is "$(one "kairan.feedback_join(1000)")" 1 'the row appears: joined'
tap_is "$(one "string_agg(id::text, ' ') FROM kairan.send WHERE run_id = 13 AND delivered_at IS NOT NULL")" 5 \
	'message id and address must both fit'
sql -c "UPDATE kairan.feedback_wait SET due_at = now()"
tap_is "$(one "kairan.feedback_join(1)") $(one "count(*) FROM kairan.feedback_wait WHERE due_at > now()")" '0 1' 'a look takes no more than asked for'
sql -c "UPDATE kairan.feedback_wait SET due_at = now(), since = now() - interval '4 days'"
sql -c "SELECT kairan.feedback_join(1000)" >/dev/null
tap_is "$(one "count(*) FROM kairan.feedback_wait")" 0 'after three days nobody waits any more'

hear bounced hard user_unknown NULL NULL u9@docomo.ne.jp '2026-11-20 11:30:00Z' ambiguous-1
hear bounced hard user_unknown NULL NULL u9@plain.example '2026-11-20 11:30:00Z' ambiguous-2
hear complained '' abuse NULL NULL u8@docomo.ne.jp '2026-11-20 11:30:00Z' ambiguous-3
tap_is "$(one "string_agg(address_key || ' ' || reason, ', ' ORDER BY address_key) FROM kairan.suppression WHERE address_key IN ('u8@docomo.ne.jp', 'u9@docomo.ne.jp', 'u9@plain.example')")" \
	'u8@docomo.ne.jp complaint, u9@plain.example bounce' 'without a token, too, one "unknown" of an ambiguous domain is not enough'

# ---- while it is being sent --------------------------------------------------------------

run_make 20 sending 6 busy.example
hear rejected message content 20 1 u1@busy.example '2026-11-20 12:00:00Z'
tap_is "$(one "state || ' ' || coalesce(rejected_attempt, 0) FROM kairan.send WHERE run_id = 20 AND id = 1")" 'sending 1' 'rejected while it is being sent: remembered'
record 20 1 sent
tap_is "$(one "state || ' ' || class || ' ' || reason FROM kairan.send WHERE run_id = 20 AND id = 1")" 'failed message content' 'and it has failed once that is recorded'
hear accepted '' accepted 20 2 u2@busy.example '2026-11-20 12:00:00Z'
record 20 2 in_doubt
tap_is "$(one "state FROM kairan.send WHERE run_id = 20 AND id = 2")" sent 'taken by SES while it is being sent: not in doubt'
record 20 3 in_doubt
tap_is "$(one "state FROM kairan.send WHERE run_id = 20 AND id = 3")" in_doubt 'without a word it is'
record 20 4 sent
hear rejected message content 20 4 u4@busy.example '2026-11-20 12:00:00Z'
tap_is "$(one "state FROM kairan.send WHERE run_id = 20 AND id = 4")" failed 'rejected later'
counts_agree 20 'the counts agree'
tap_is "$(one "sum(attempted) || ' ' || sum(sent) || ' ' || sum(other) FROM kairan.tally_domain WHERE run_id = 20")" '3 1 1' 'those by domain, too'
tap_is "$(one "kairan.doubt_settle(20, ARRAY[3], 'assumed_sent')") $(one "sum(attempted) || ' ' || sum(sent) FROM kairan.tally_domain WHERE run_id = 20")" \
	'1 4 2' 'a person settles a doubt: counted by domain'

# ---- reasons beside each other -----------------------------------------------------------

run_make 21 sent 3 both.example
hear bounced hard user_unknown 21 1 u1@both.example '2026-11-20 13:00:00Z'
hear unsubscribed '' all 21 1 u1@both.example '2026-11-20 13:00:01Z' '' web
tap_is "$(one "string_agg(scope || ' ' || reason, ', ' ORDER BY reason) FROM kairan.suppression WHERE address_key = 'u1@both.example'")" \
	'all bounce, all unsubscribe' 'an unsubscribe from everything is stored beside the bounce'
tap_is "$(one "addresses FROM kairan.suppress_undo(NULL, 'both.example', now() - interval '1 hour', now() + interval '1 s', NULL, true)")" 1 'undo counts one address, not its reasons'
sql -c "SELECT kairan.suppress_undo(NULL, 'both.example', now() - interval '1 hour', now() + interval '1 s', NULL, false)" >/dev/null
tap_is "$(one "string_agg(reason, ' ') FROM kairan.suppression WHERE address_key = 'u1@both.example'")" unsubscribe 'and stays when that is undone'
hear bounced hard user_unknown 21 2 u2@both.example '2026-11-20 13:00:00Z'
tap_is "$(one "all_off FROM kairan.page_look(21, 2, 1, 60)")" f 'the page still offers it to whom has bounced'

# ---- consent -----------------------------------------------------------------------------

run_make 24 sent 4 consent.example
sql -c "INSERT INTO kairan.customer (email, consent_at) SELECT CASE i WHEN 1 THEN 'U' ELSE 'u' END || i || '@consent.example', '2026-11-20 12:00:00Z' FROM generate_series(1, 5) AS i"
hear complained '' abuse 24 1 u1@consent.example '2026-11-20 11:00:00Z'
hear unsubscribed '' all 24 2 u2@consent.example '2026-11-20 11:00:00Z'
hear complained '' abuse 24 3 u3@consent.example '2026-11-20 13:00:00Z'
hear bounced hard user_unknown 24 4 u4@consent.example '2026-11-20 11:00:00Z'
hear complained '' abuse NULL NULL u5@consent.example '2026-11-20 11:00:00Z' consent-5
tap_is "$(one "string_agg(address_key || ' ' || reason, ', ' ORDER BY address_key) FROM kairan.suppression WHERE address_key LIKE '%@consent.example'")" \
	'u3@consent.example complaint, u4@consent.example bounce' 'a complaint or unsubscribe from before the consent does not override it; a dead address is one'
tap_is "$(one "count(complained_at) || ' ' || count(unsubscribed_at) FROM kairan.send WHERE run_id = 24")" '2 1' 'but the facts are noted'

# ---- rests and probation -----------------------------------------------------------------

sql -c "UPDATE kairan.stream SET soft_bounce_limit = 2, probation_daily = 2 WHERE name = 'marketing'"
# arguments: address, time; a mail of its own each time
SOFT=100
soft()
{
	SOFT=$((SOFT + 1))
	run_make "$SOFT" sent 1 soft.example
	sql -c "UPDATE kairan.send SET address = '$1', address_key = '$1' WHERE run_id = $SOFT"
	hear "${3:-bounced}" "${4-soft}" mailbox_full "$SOFT" 1 "$1" "$2"
}
# argument: days; stdout: the time then
ago()
{
	date -u -d "$(echo "$1" | awk '{ print int($1 * 86400) }') seconds ago" '+%F %TZ'
}
state_of()
{
	one "coalesce((SELECT state || ' ' || rests || ' ' || round(extract(epoch FROM expires_at - now()) / 86400) FROM kairan.suppression_state
		WHERE address_key = '$1'), '-')"
}
soft a@soft.example "$(ago 18)"
tap_is "$(state_of a@soft.example)" - 'one soft bounce does nothing'
soft a@soft.example "$(ago 10)"
tap_is "$(state_of a@soft.example)" - 'nor do two within less than half of the days'
soft a@soft.example "$(ago 2)"
tap_is "$(state_of a@soft.example)" 'rests 1 14' 'when they are spread it rests for two weeks'
for i in 400 380 360; do soft archive@soft.example "$(ago $i)"; done
soft archive@soft.example "$(ago 1)"
tap_is "$(state_of archive@soft.example)" - 'an archive that is read again counts by the time at which it happened'
soft healed@soft.example "$(ago 10)" delivered ''
soft healed@soft.example "$(ago 20)"
soft healed@soft.example "$(ago 12)"
soft healed@soft.example "$(ago 1)"
tap_is "$(state_of healed@soft.example)" - 'a delivery in between that was heard first sets the count back'
tap_is "$(one "kairan.probation_begin()")" 0 'nobody comes back before'
for i in 18 10 2; do
	soft late@soft.example "$(ago "$i")" delivered ''
	hear bounced soft mailbox_full "$SOFT" 1 late@soft.example "$(ago "$((i - 1))")"
done
tap_is "$(state_of late@soft.example)" 'rests 1 14' 'a mail that was taken and bounced later was not delivered'
for a in b c d; do soft "$a@soft.example" "$(ago 18)"; soft "$a@soft.example" "$(ago 2)"; done
sql -c "UPDATE kairan.suppression SET rest_until = now() - interval '1 day' * (5 - ascii(address_key) + 97) WHERE source = 'policy'"
tap_is "$(state_of d@soft.example)" 'waits for probation 1 -2' 'the rest is over, but'
tap_is "$(one "expires_at > now() FROM kairan.suppression WHERE address_key = 'd@soft.example'")" t 'it is still not written to'
tap_is "$(one "kairan.probation_begin()") $(one "kairan.probation_begin()")" '2 0' 'two a day come back, as the stream says'
tap_is "$(one "string_agg(left(address_key, 1), ' ' ORDER BY address_key) FROM kairan.suppression WHERE probation AND expires_at <= now()")" 'a b' 'those who waited longest'
soft a@soft.example "$(ago 1)" delivered ''
tap_is "$(state_of a@soft.example)" - 'a delivery lifts it'
tap_is "$(one "kairan.probation_begin()")" 0 'without making room for another on that day'
soft b@soft.example "$(ago 1)"
tap_is "$(state_of b@soft.example)" 'rests 2 28' 'another soft bounce: it rests twice as long'
sql -c "UPDATE kairan.suppression SET rest_until = now() - interval '9 days' WHERE address_key = 'b@soft.example'; DELETE FROM kairan.probation_day"
sql -c "SELECT kairan.probation_begin()" >/dev/null
soft b@soft.example "$(ago 0.5)" bounced hard
tap_is "$(one "state FROM kairan.suppression_state WHERE address_key = 'b@soft.example'")" 'for good' 'a hard bounce on probation is final'
sql -c "UPDATE kairan.suppression SET probation_at = now() - interval '31 days' WHERE probation; DELETE FROM kairan.probation_day"
tap_is "$(one "count(*) FROM kairan.suppression WHERE probation")" 1 'one is on probation'
sql -c "SELECT kairan.probation_begin()" >/dev/null
tap_is "$(one "count(*) FROM kairan.suppression WHERE probation AND probation_at < now() - interval '30 days'")" 0 'a month without bounce lifts it'
# arguments: address; puts it on probation after a first rest
on_trial()
{
	sql -c "INSERT INTO kairan.suppression (address_key, reason, source, expires_at, rests, rest_until, stream_id, probation, probation_at)
		VALUES ('$1', 'bounce', 'policy', now(), 1, now() - interval '1 day', 1, true, now())"
}
for a in both1 both2 both3 both4; do on_trial "$a@trial.example"; done
soft both1@trial.example "$(ago 0.2)" delivered ''
tap_is "$(state_of both1@trial.example)" - 'a mail is delivered, and the probation is over'
hear bounced soft mailbox_full "$SOFT" 1 both1@trial.example "$(ago 0.1)"
tap_is "$(state_of both1@trial.example)" 'rests 2 28' 'until the same mail bounces: it rests longer'
soft both2@trial.example "$(ago 0.1)"
hear delivered '' '' "$SOFT" 1 both2@trial.example "$(ago 0.2)"
tap_is "$(state_of both2@trial.example)" 'rests 2 28' 'the bounce heard first: the same'
SOFT=$((SOFT + 1))
run_make "$SOFT" sent 1 trial.example
sql -c "UPDATE kairan.send SET address = 'both3@trial.example', address_key = 'both3@trial.example' WHERE run_id = $SOFT"
sql -o /dev/null -c "SELECT kairan.ingest('{sns,sns}', '{delivered,bounced}', '{trial-1,trial-2}', ARRAY[now(), now()], '{$SOFT,$SOFT}', '{1,1}', '{1,1}', '{NULL,NULL}',
	'{NULL,soft}', '{NULL,mailbox_full}', '{NULL,NULL}', '{NULL,NULL}', '{NULL,NULL}', '{NULL,NULL}', '{NULL,NULL}')"
tap_is "$(state_of both3@trial.example)" 'rests 2 28' 'both heard at once: the same'
soft both4@trial.example "$(ago 0.2)" delivered ''
soft both4@trial.example "$(ago 0.1)"
tap_is "$(state_of both4@trial.example)" - 'another mail that bounces softly does not take the delivery back'
hear bounced hard user_unknown "$((SOFT - 1))" 1 both4@trial.example "$(ago 0.1)"
tap_is "$(one "state FROM kairan.suppression_state WHERE address_key = 'both4@trial.example'")" 'for good' 'a hard bounce behind a delivery is final'
export KAIRAN_DATABASE_URL=${SUPER/user=postgres/user=kairan_operator}
"$BIN/kairan" suppress list --state 'waits for probation' --json >"$D/list" 2>&1
tap_like "$(cat "$D/list")$(one "string_agg(state, ' ') FROM kairan.suppression_state WHERE address_key LIKE '%@soft.example'")" 'probation' 'suppress list shows it'
export KAIRAN_DATABASE_URL=${SUPER/&user=postgres/}

# a provider that calls everybody unknown for a while
run_make 22 sent 60 outage.example
for i in {1..60}; do echo "SELECT kairan.ingest('{dsn}', '{bounced}', '{out$i}', '{now}', '{22}', '{$i}', '{1}', '{NULL}', '{hard}', '{user_unknown}', '{550}',
	'{5.1.1}', '{NULL}', '{NULL}', '{NULL}');"; done | sql -o /dev/null -f -
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key LIKE '%@outage.example' AND expires_at IS NULL")" 60 'sixty of sixty are unknown'
tap_is "$(one "domain || ' ' || addresses FROM kairan.suppress_provisional() WHERE domain = 'outage.example'")" 'outage.example 60' 'such bounces are provisional'
tap_is "$(one "state || ' ' || count(*) FROM kairan.suppression_state WHERE address_key LIKE '%@outage.example' GROUP BY state")" 'provisional 60' 'they rest'
tap_is "$(one "count(*) FROM kairan.suppression WHERE address_key = 'u1@both.example' AND source = 'provisional'")" 0 'others are left alone'
tap_is "$(one "count(*) FROM kairan.suppress_provisional()")" 0 'once'
run_make 23 sent 60 late.example
sql -c "INSERT INTO kairan.tally_domain (run_id, hour, domain, owner, attempted, sent) VALUES (23, date_trunc('hour', now() - interval '30 hours'), 'late.example', 1, 100000, 100000)"
for i in {1..60}; do echo "SELECT kairan.ingest('{dsn}', '{bounced}', '{late$i}', ARRAY[now() - interval '28 hours'], '{23}', '{$i}', '{1}', '{NULL}', '{hard}', '{user_unknown}', '{550}',
	'{5.1.1}', '{NULL}', '{NULL}', '{NULL}');"; done | sql -o /dev/null -f -
tap_is "$(one "count(*) FROM kairan.suppress_provisional()") $(one "count(*) FROM kairan.suppression WHERE address_key LIKE '%@late.example' AND expires_at IS NULL")" '0 60' \
	'sixty of a hundred thousand stay final, however late they are heard'

# ---- the breaker and what is heard late -----------------------------------------------------

# arguments: run; why the breaker would pause it, and its lanes
breaker_says()
{
	one "coalesce(kairan.breaker_why_run($1, r.breaker_from, s), '-') || coalesce((SELECT string_agg(' ' || o.lane, '' ORDER BY o.lane)
		FROM kairan.breaker_open_lanes($1, s) o), '') FROM kairan.run r, kairan.stream s WHERE r.id = $1 AND s.name = 'marketing'"
}
# arguments: run, first recipient, last one, [kind], [class]; dead addresses, each heard of once
dead()
{
	for ((i = $2; i <= $3; i++)); do hear_sql "${4:-bounced}" "${5-hard}" user_unknown "$1" "$i" "u$i@breaker.example" "$(ago 0)"; done | sql -o /dev/null -f -
}
# 120 mails left before the breaker paused the run 10 minutes ago, 60 after somebody went on
run_make 50 sent 180 breaker.example
sql -c "SET search_path = kairan; UPDATE run SET planned = 1000, breaker_from = date_trunc('minute', now()) - interval '10 min' WHERE id = 50;
	UPDATE send SET claimed_at = now() - CASE WHEN id <= 120 THEN interval '1 hour' ELSE interval '1 min' END, lane = 1 WHERE run_id = 50;
	UPDATE tally SET sent = 60 WHERE run_id = 50;
	INSERT INTO tally (run_id, owner, minute, sent) VALUES (50, 1, date_trunc('minute', now()) - interval '1 hour', 120)"
dead 50 1 30
tap_is "$(breaker_says 50)" - '30 late bounces beside 60 new mails are not theirs'
dead 50 31 100
dead 50 101 110 complained ''
tap_is "$(breaker_says 50)" - 'nor are 100, nor late complaints'
dead 50 121 124
tap_is "$(breaker_says 50)" - 'four of 60 may be chance'
dead 50 125 140
tap_like "$(breaker_says 50)" '^breaker: 33.3 % of 60 recipients of this run are dead addresses' 'twenty are not, whatever is heard late'
tap_is "$(one "sum(hard) || ' ' || sum(hard_before) || ' ' || sum(complained_before) FROM kairan.tally WHERE run_id = 50")" '120 100 10' 'all of them are counted'
tap_is "$(one "kairan.at_least_per_cent(100, 60) = kairan.at_least_per_cent(60, 60)")" t 'more than all are all'
# the same of a lane that was paused alone
run_make 51 sent 180 breaker.example
sql -c "SET search_path = kairan; UPDATE run SET planned = 1000 WHERE id = 51;
	UPDATE send SET claimed_at = now() - CASE WHEN id <= 120 THEN interval '1 hour' ELSE interval '1 min' END, lane = 1 WHERE run_id = 51;
	INSERT INTO run_lane (run_id, lane, name, provider, paced, recipients) VALUES (51, 1, 'breaker.example', 'other', false, 180);
	INSERT INTO tally_lane (run_id, lane, owner, attempted, sent) VALUES (51, 1, 1, 180, 180);
	INSERT INTO lane_break (run_id, lane, why, resumed_at, attempted, sent) VALUES (51, 1, 'x', now() - interval '10 min', 120, 120)"
dead 51 1 100
tap_is "$(breaker_says 51)" - 'late bounces of a lane are not held against what it sent after it was resumed'
dead 51 121 140
tap_is "$(breaker_says 51)" "$(one "kairan.breaker_why(s, 'this run', 60, 60, 20, 0) FROM kairan.stream s WHERE name = 'marketing'") breaker.example" 'those of new mails are'

# a run that the breaker has paused with one of its lanes: what that lane did before is not taken off what the others do now
run_make 52 sent 300 breaker.example
sql -c "SET search_path = kairan; UPDATE run SET planned = 1000 WHERE id = 52;
	UPDATE send SET claimed_at = now() - CASE WHEN id <= 200 THEN interval '1 hour' ELSE interval '1 min' END,
	    lane = CASE WHEN id <= 200 THEN 1 ELSE 2 END WHERE run_id = 52;
	INSERT INTO run_lane (run_id, lane, name, provider, paced, recipients) VALUES (52, 1, 'breaker.example', 'other', false, 500), (52, 2, 'tail-01', 'other', false, 500);
	UPDATE tally SET sent = 0 WHERE run_id = 52;
	INSERT INTO tally (run_id, owner, minute, sent) VALUES (52, 1, date_trunc('minute', now()) - interval '1 hour', 200);
	INSERT INTO tally_lane (run_id, lane, owner, attempted, sent) VALUES (52, 1, 1, 200, 200);
	INSERT INTO lane_break (run_id, lane, why) VALUES (52, 1, 'x')"
dead 52 1 20
sql -c "SET search_path = kairan; UPDATE tally SET minute = minute - interval '1 hour' WHERE run_id = 52 AND owner = -1;
	UPDATE run SET breaker_from = date_trunc('minute', now()) - interval '10 min' WHERE id = 52;
	UPDATE tally SET sent = 100 WHERE run_id = 52 AND sent = 0 AND owner = 1;
	INSERT INTO tally_lane (run_id, lane, owner, attempted, sent) VALUES (52, 2, 1, 100, 100)"
dead 52 21 80
tap_is "$(breaker_says 52)" - 'late bounces of a lane that is still paused are not theirs'
dead 52 201 220
tap_is "$(breaker_says 52)" "$(one "kairan.breaker_why(s, 'this run', 100, 100, 20, 0) FROM kairan.stream s WHERE name = 'marketing'")" \
	'the others are judged by what they did since, whatever the lane had done before'
sql -c "UPDATE kairan.lane_break b SET resumed_at = now(), attempted = n.attempted, sent = n.sent, hard = n.hard FROM kairan.lane_count n
	WHERE b.run_id = 52 AND n.run_id = 52 AND n.lane = b.lane"
tap_is "$(breaker_says 52)" "$(one "kairan.breaker_why(s, 'this run', 100, 100, 20, 0) FROM kairan.stream s WHERE name = 'marketing'")" \
	'and when it was resumed'

# ---- what a dead owner held --------------------------------------------------------------

sql -c "SET search_path = kairan; INSERT INTO dispatcher (id, name, host, lock_id) OVERRIDING SYSTEM VALUE VALUES (500, 'd', 'h', 'l');
	INSERT INTO run (id, campaign_id, run_key, template_id, state, planned, pushed) OVERRIDING SYSTEM VALUE VALUES (30, 1, 'k30', 1, 'running', 90000, 50000);
	CREATE TABLE send_30 PARTITION OF send FOR VALUES IN (30) WITH (fillfactor = 35);
	INSERT INTO send (run_id, id, recipient_id, state, attempt, owner, address, address_key)
	SELECT 30, i, i, CASE WHEN i IN (1, 49990, 50005, 90000) THEN 'sending' WHEN i < 49990 THEN 'sent' ELSE 'queued' END::send_state, 1, 500, 'u' || i || '@x.example',
	    'u' || i || '@x.example' FROM generate_series(1, 90000) AS i;
	INSERT INTO tally (run_id, owner, minute, claimed, sent) VALUES (30, 500, now(), 4, 49988)"
hear accepted '' accepted 30 1 u1@x.example '2026-11-20 15:00:00Z'
tap_is "$(one "string_agg(id::text, ' ' ORDER BY id) FROM kairan.recover_rows(500)")" '1 49990 50005 90000' 'what a dead owner held is found wherever it is'
tap_is "$(one "kairan.dispatcher_bury(500)")" 4 'it is buried'
tap_is "$(one "string_agg(id || ' ' || state, ', ' ORDER BY id) FROM kairan.send WHERE run_id = 30 AND id IN (1, 49990, 50005, 90000)")" \
	'1 sent, 49990 in_doubt, 50005 in_doubt, 90000 in_doubt' 'in doubt, but for whom was heard of'
counts_agree 30 'the counts agree'
tap_is "$(one "string_agg(id::text, ' ' ORDER BY id) FROM kairan.recover_rows(500)")" '49990 50005 90000' 'when it comes back it finds those'

# ---- totals ------------------------------------------------------------------------------

sql -c "UPDATE kairan.tally SET minute = minute - interval '2 hours'"
progress=$(one "string_agg(p::text, ';' ORDER BY run_id) FROM kairan.campaign_progress p")
tap_is "$(sql -c 'SET ROLE kairan_producer' -c 'SELECT kairan.tally_fold(2)')" 2 'minutes that are over are added up, some at a time'
tap_is "$(one "kairan.tally_fold(1000) > 0")" t 'then the others'
tap_is "$(one "kairan.tally_fold(1000) || ' ' || count(*) FROM kairan.tally WHERE NOT folded")" '0 0' 'once'
tap_is "$(one "string_agg(p::text, ';' ORDER BY run_id) FROM kairan.campaign_progress p")" "$progress" 'progress says the same'
sql -c "INSERT INTO kairan.tally AS t (run_id, owner, minute, claimed, sent) SELECT run_id, owner, minute, -1, 1 FROM kairan.tally WHERE run_id = 30 AND owner = 500
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET claimed = t.claimed - 1, sent = t.sent + 1"
tap_is "$(one "(sent, sending)::text FROM kairan.campaign_progress WHERE run_id = 30")" \
	"$(one "(sum(sent), sum(claimed))::text FROM kairan.tally WHERE run_id = 30")" 'a late change of such a minute counts'
sql -c "UPDATE kairan.tally SET claimed = claimed + 1, sent = sent - 1 WHERE run_id = 30 AND owner = 500"
tap_is "$(one "string_agg(p::text, ';' ORDER BY run_id) FROM kairan.campaign_progress p")" "$progress" 'and back'

# ---- plans -------------------------------------------------------------------------------

# argument: SQL; stdout: what the plans of all its statements, those in functions too, do with partitions of send; "late"
# before what was planned for other partitions as well, "many" before what read more than 1,000 rows
send_nodes()
{
	{
		echo "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_timing = off;
			SET auto_explain.log_analyze = on; SET auto_explain.log_format = json; SET client_min_messages = log; BEGIN;"
		printf '%s\n' "$1" 'ROLLBACK;'
	} | sql -o /dev/null -f - 2>&1 | awk -F'"' '/ERROR/ { print }
		{ number = $3; gsub(/[^0-9]/, "", number); number += 0 }
		$2 == "Node Type" { node = $4; name = "" }
		$2 == "Subplans Removed" { late = number > 0 }
		$2 == "Relation Name" { name = $4 ~ /^send_[0-9]+$/ ? (late ? "late " : "") node " " $4 : ""; late = 0; if (name) print name }
		name && ($2 == "Actual Rows" || $2 ~ /^Rows Removed/) && number > 1000 { print "many " name }' | sort -u
}

sql -c 'ANALYZE kairan.send_30' -c "CREATE UNIQUE INDEX ON kairan.send_30 (recipient_id)" -c "CREATE UNIQUE INDEX ON kairan.send_30 (address_key)"
views=$(one "string_agg(format('SELECT * FROM kairan.%I;', viewname), E'\n') FROM pg_views WHERE schemaname = 'kairan'")
nodes=$(send_nodes "UPDATE kairan.run SET snapshot = '{\"on_doubt\": \"resend\"}' WHERE id = 30; $views
	SELECT * FROM kairan.why('u7@x.example'); SELECT kairan.customer_export('u7@x.example'); SELECT kairan.customer_erase('u7@x.example');
	SELECT * FROM kairan.figures(); SELECT kairan.doubt_policy('0 s'); SELECT * FROM kairan.breaker_check(); SELECT kairan.canary_check();
	SELECT * FROM kairan.retries_due('{}', '{}', 10); SELECT kairan.retries_forget(); SELECT kairan.feedback_join(10); SELECT kairan.mail_forget(1);
	SELECT kairan.send_expire('1 day'); SELECT kairan.retention_apply(60, 60, true, 10); SELECT * FROM kairan.warmup_rates();")
tap_is "$(grep -c '^Index Scan send_30$' <<<"$nodes") $(grep -E 'ERROR|(Seq Scan|many .*) send_30' <<<"$nodes")" '1 ' 'no view and no round of the producer reads a run from end to end'

of_run=
for ((i = 0; i < 7; i++)); do # PostgreSQL considers a plan for all runs behind the fifth time
	of_run+="SELECT * FROM kairan.page_look(30, 5, 1, 60); SELECT * FROM kairan.view_source(30, 5, 1); SELECT * FROM kairan.view_file(30, 5, 1, 'x');
		SELECT * FROM kairan.confirm_look(30, 5, 1, 7); SELECT kairan.unsubscribe_undo(30, 5, 1, 60); SELECT * FROM kairan.in_doubt WHERE run_id = 30;
		SELECT * FROM kairan.send_unsend(30, 500, '{5}', '{1}'); SELECT kairan.retries_forget(); SELECT * FROM kairan.retries_due('{}', '{}', 10);
		SELECT kairan.track_add('{30}', '{5}', '{1}', '{open}', '{\"\"}', '{person}', '{x}', ARRAY[now()], ARRAY[now()], '{1}', 5);
		$(hear_sql delivered '' '' 30 6 "p$i@x.example" "2026-11-20 15:00:0${i}Z") $(hear_sql bounced soft mailbox_full 30 7 "p$i@x.example" "2026-11-20 15:00:0${i}Z")
		$(hear_sql bounced hard user_unknown 30 8 "p$i@x.example" "2026-11-20 15:00:0${i}Z")"
done
nodes=$(send_nodes "INSERT INTO kairan.retry (run_id, send_id, due_at, pushed_at) VALUES (30, 9, now(), now() - interval '1 min'); $of_run")
tap_is "$(grep -vE '^(Index Scan|ModifyTable) send_30$' <<<"$nodes")" '' 'what is about a mail of one run opens no other run'
tap_is "$(grep -c 'ModifyTable send_30' <<<"$nodes")" 1 'and was seen at work'

# ---- a person is forgotten ---------------------------------------------------------------

# arguments: none; lines of the whole database that hold the address, its part before the @, or either in other letters
left_of_person()
{
	pg_dump --data-only --dbname="$SUPER" | grep -iE '(^|[^a-z])taro\.yamada' | sort
}

PERSON=Taro.Yamada@person.example KEY=taro.yamada@person.example OTHER=hanataro.yamada@person.example
run_make 40 sent 6 person.example
said="550 5.1.1 <$PERSON>: no mailbox Taro.Yamada here"
sql -c "SET search_path = kairan; INSERT INTO customer (email, name) VALUES ('$PERSON', 'Taro');
	UPDATE send SET address = '$PERSON', address_key = '$KEY', remote_id = 'ses-taro.yamada' WHERE run_id = 40 AND id IN (1, 2);
	UPDATE send SET state = 'failed', class = 'hard', reason = 'user_unknown', reply = '$said', remote = 'lmtp $KEY' WHERE run_id = 40 AND id = 2;
	UPDATE send SET address = '$OTHER', address_key = '$OTHER' WHERE run_id = 40 AND id = 3;
	UPDATE tally SET sent = sent - 1, failed = failed + 1 WHERE run_id = 40;
	CREATE TABLE exclusion_41 PARTITION OF exclusion FOR VALUES IN (41);
	INSERT INTO exclusion VALUES (41, 1, '$KEY', 'bounced', 'all sns $said');
	INSERT INTO confirmation (run_id, send_id, kind, recipient_id, address, address_key, evidence) VALUES (40, 1, 'invite', 1, '$PERSON', '$KEY', 'mail to $PERSON');
	INSERT INTO confirmation (run_id, send_id, kind, recipient_id, address, address_key, old_address_key) VALUES (40, 3, 'address', 1, '$OTHER', '$OTHER', '$KEY');
	INSERT INTO ses_mirror (region, address_key) VALUES ('eu-west-1', '$KEY');
	INSERT INTO probation_lifted (address_key, run_id, send_id, rests) VALUES ('$KEY', 40, 1, 1);
	INSERT INTO mail (stream_id, key, digest, content) VALUES (1, 'welcome-$PERSON', 'd', 'To: $PERSON');
	INSERT INTO mail_send SELECT 40, 1, max(id) FROM mail;
	UPDATE run SET reason = 'a person stopped it: $PERSON, $OTHER' WHERE id = 40"
# by the ways of today: with and without token, a mail that belongs to nobody, a letter, a document that cannot be read
{
	printf '{"kind":"bounce","address":"%s","feedback_id":"fb-3","ses_id":"w-1","timestamp":"2026-11-20T10:00:00.000Z"}\n' "$PERSON"
	printf '{"kind":"delivery","address":"%s","ses_id":"w-2","timestamp":"2026-11-20T10:00:00.000Z"}\n' "$PERSON"
	printf '{"kind":"bounce","address":"%s","ses_id":"w-3","feedback_id":"fb-4","token":"%s","timestamp":"2026-11-20T10:00:00.000Z"}\n' "$PERSON" \
		"$($SNS token "$D/keys" 40 1 1 b)"
} | $SNS sign "$D/sns" --topic "$TOPIC" >"$D/person.jsonl"
"$BIN/kairan" feedback replay "$D/person.jsonl" >"$D/out" 2>&1
tap_is $? 0 'what Amazon SES says of a person is heard'
# the keys of earlier versions held the address
old_keys="replace(semantic_key, left(encode(sha256('$KEY'), 'hex'), 32), '$KEY')"
sql -c "UPDATE kairan.feedback_event SET semantic_key = $old_keys" -c "UPDATE kairan.feedback_wait SET semantic_key = $old_keys"
tap_is "$(one "count(*) FROM (SELECT semantic_key FROM kairan.feedback_event UNION ALL SELECT semantic_key FROM kairan.feedback_wait) k WHERE semantic_key LIKE '%|$KEY%'")" \
	5 'keys of an earlier version'
{ echo 'SET search_path = kairan;'; grep '^UPDATE feedback_' schema/029_ledger.sql; } | sql -f -
events=$(one 'count(*) FROM kairan.feedback_event')
"$BIN/kairan" feedback replay "$D/person.jsonl" >"$D/out" 2>&1
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$events" 'after the upgrade what was heard before it finds itself'
dsn 1 5.1.1 | sed "s/^To: .*/To: postmaster@$DOMAIN/; s/user1@example.com/$PERSON/" >"$D/person.eml"
printf 'From: Taro <%s>\nTo: news@example.org\nSubject: hello\n\nPlease call me.\n' "$PERSON" >"$D/letter.eml"
"$BIN/kairan" feedback replay "$D/person.eml" "$D/letter.eml" >"$D/out" 2>&1
sql -o /dev/null -c "SELECT kairan.ingest('{sns}', '{other}', '{sns|m-aside}', ARRAY[now()], '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{unreadable}', '{NULL}', '{NULL}',
	'{NULL}', '{NULL}', ARRAY['{\"destination\":[\"$PERSON\"]'])"
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE semantic_key ILIKE '%yamada%'")" 0 'keys of what is heard hold no address'
# kept by programs of an earlier version that had not been restarted yet
sql -c "SET search_path = kairan; INSERT INTO feedback_event (month, semantic_key, source, kind, address_key, reply, message_id) VALUES
	('2026-11-01', 'ses|bounce|fb-1|$KEY', 'sns', 'bounced', '$KEY', '$said', 'm-1'), ('2026-11-01', 'ses|bounce|fb-2|$KEY', 'sns', 'bounced', '$KEY', NULL, 'm-2'),
	('2026-11-01', event_key('ses|bounce|fb-2|$KEY'), 'sns', 'bounced', '$KEY', NULL, 'm-2'),
	('2026-11-01', 'dsn|$PERSON|failed|5.1.1|<1@mta.example>', 'dsn', 'bounced', '$KEY', '$said', NULL),
	('2026-11-01', 'webhook|$KEY-7', 'webhook', 'bounced', '$KEY', NULL, NULL)"
"$BIN/kairan" suppress add "$PERSON" --note "wrote from $PERSON" >/dev/null
"$BIN/kairan" suppress add "$PERSON" "$OTHER" >/dev/null
"$BIN/kairan" suppress add "$PERSON" --scope list:news >/dev/null
"$BIN/kairan" suppress remove "$PERSON" --scope list:news >/dev/null
"$BIN/kairan" suppress add friend@other.example --note "same household as $PERSON" >/dev/null
# what people wrote is kept in files
mkdir -p "$D/replies/new" "$D/replies/cur" "$D/replies/tmp"
cp "$D/letter.eml" "$D/replies/new/1"
printf 'From: friend@other.example\n\nPlease ask %s.\n' "${PERSON^^}" >"$D/replies/cur/2:2,S"
printf 'From: %s\n\nI wrote from x%s and %s.jp\n' "$OTHER" "$PERSON" "$PERSON" >"$D/replies/new/3"
tap_ok 'and holds the person in many places' test "$(left_of_person | wc -l)" -ge 20
tap_is "$(KAIRAN_REPLY_MAILDIR=$D/nowhere "$BIN/kairan" customer erase "$PERSON" --yes >"$D/out" 2>&1; echo $?) $(left_of_person | wc -l | sed 's/[0-9][0-9]/many/')" '1 many' \
	'where letters cannot be searched nothing is erased'
tap_like "$(cat "$D/out")" 'reply.maildir: cannot search .*nothing was erased in the database yet' 'and said so'
KAIRAN_REPLY_MAILDIR=$D/replies "$BIN/kairan" customer erase "$PERSON" --yes >"$D/out" 2>&1
code=$?
tap_is "$(grep -o 'letter *2' "$D/out" | tr -s ' ') $(find "$D/replies" -type f -printf '%f ')" 'letter 2 3 ' 'letters that name the person go, those of somebody else stay'
tap_is "$(one "evidence LIKE 'same household as %' AND evidence NOT ILIKE '%yamada%' FROM kairan.suppression WHERE address_key = 'friend@other.example'")" t 'a note to another address names nobody'
tap_is "$code $(grep -i error "$D/out")" '0 ' 'a person is erased'
# a row for each reason for which the address is suppressed, and nothing else: address, scope, reason, source
SUPPRESSED=$'taro.yamada@person.example\tall\tbounce\tsns\t\ntaro.yamada@person.example\tall\tmanual\tperson\t'
tap_is "$(left_of_person | cut -f 1-5)" "$SUPPRESSED" 'of whom the key of the suppression alone is left, in all of the database'
tap_is "$(one "count(*) FROM kairan.audit WHERE object = '$OTHER' OR object LIKE '% $OTHER'")" 1 'who is named alike is left alone'
tap_is "$(one "reason FROM kairan.run WHERE id = 40")" "a person stopped it: $(printf %s "$KEY" | md5sum | cut -c 1-12), $OTHER" 'in the same text, too'
counts_agree 40 'the counts stay'
events=$(one 'count(*) FROM kairan.feedback_event')
"$BIN/kairan" feedback replay "$D/person.jsonl" "$D/person.eml" >"$D/out" 2>&1
tap_is "$(one 'count(*) FROM kairan.feedback_event')" "$events" 'what was heard before finds itself, erased or not'
sql -o /dev/null -c "SELECT kairan.ingest('{dsn}', '{bounced}', '{late-1}', ARRAY[now()], '{40}', '{1}', '{1}', '{$KEY}', '{hard}', '{user_unknown}', '{550}', '{5.1.1}',
	ARRAY['$said'], ARRAY['mx.example'], ARRAY['{\"address\":\"$PERSON\"}'])"
tap_is "$(one "(bounced_at IS NOT NULL)::text FROM kairan.send WHERE run_id = 40 AND id = 1")" true 'what comes late is heard'
tap_is "$(left_of_person | cut -f 1-5)" "$SUPPRESSED" 'and of the person nothing is written down again'
tap_is "$(one "kairan.event_key('ses|bounce|fb-1|u@x.test') || ' ' || kairan.event_key('ses|send|0100-aa-000000|u@x.test|2026-11-21T17:05:40.000Z')")" \
	'ses|bounce|fb-1|019799238927d6e2065b081100f02169 ses|send|0100-aa-000000|019799238927d6e2065b081100f02169|2026-11-21T17:05:40.000Z' \
	'the schema makes the keys that the programs make (test_ses.c)'
tap_is "$(one "string_agg(k, ' ') FROM (VALUES ('dsn|7.42.3|failed|5.1.1|<2026.AAA@mta.test>'), ('ses|send|m||2026-11-21T17:05:40.000Z'), ('smtp|1|2|3'), ('webhook|a@b|c|d|e'),
	('ses|bounce|fb|taro')) AS v(k) WHERE k <> kairan.event_key(k)")" '' 'and leaves those that hold none'

# ---- retention ---------------------------------------------------------------------------

sql -c "UPDATE kairan.run SET finished_at = now() - interval '100 days', state = 'finished' WHERE id IN (10, 13, 20, 30);
	UPDATE kairan.run SET finished_at = now() - interval '100 days' WHERE id = 21;
	UPDATE kairan.send SET state = 'sent' WHERE run_id = 20 AND state = 'sending'"
progress=$(one "p FROM kairan.campaign_progress p WHERE run_id = 10")
tap_is "$(sql -c "SELECT * FROM kairan.retention_apply(30, 0, false, 10)" 2>&1 | grep -c 'less than 60 days')" 1 'less than 60 days is refused'
export KAIRAN_RETENTION_SEND_DAYS=90 KAIRAN_RETENTION_EVENT_DAYS=90
export KAIRAN_DATABASE_URL=${SUPER/user=postgres/user=kairan_operator}
sql -c "SELECT kairan.feedback_month_open('2020-01-01'); SELECT kairan.ingest('{dsn}', '{other}', '{old}', '{2020-01-05}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}',
	'{x}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}'); SELECT kairan.ingest('{dsn}', '{other}', '{older}', '{2019-01-05}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}',
	'{x}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}')" >/dev/null
"$BIN/kairan" retention show >"$D/show" 2>&1
tap_is "$? $(grep -c 'to be dropped' "$D/show") $(one "to_regclass('kairan.send_10') IS NOT NULL")" '0 5 t' 'retention show lists and drops nothing'
"$BIN/kairan" retention apply >"$D/apply" 2>&1
tap_is "$?" 0 'retention apply'
tap_is "$(one "string_agg(id::text, ' ' ORDER BY id) FROM kairan.run WHERE dropped_at IS NOT NULL")" '10 13 20' 'runs that are over are dropped'
tap_like "$(cat "$D/apply")" '30 news k30.*recipients are not settled' 'not one whose recipients are not settled'
tap_is "$(one "state || ' ' || (to_regclass('kairan.send_21') IS NOT NULL) FROM kairan.run WHERE id = 21")" 'running true' 'and never one that runs'
tap_is "$(one "p FROM kairan.campaign_progress p WHERE run_id = 10")" "$progress" 'its counts stay'
tap_is "$(one "sum(recipients) FROM kairan.run_reason WHERE run_id = 10")" 24 'and what became of its recipients'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE semantic_key IN ('old', 'older')")" 0 'old events are gone'
tap_is "$(one "to_regclass('kairan.feedback_event_2020_01') IS NULL")" t 'with their month'
tap_is "$(one "count(*) FROM kairan.audit WHERE action LIKE 'retention.%'")" 5 'all of it is audited'
"$BIN/kairan" retention apply >"$D/apply" 2>&1
tap_is "$(one "count(*) FROM kairan.audit WHERE action LIKE 'retention.%'")" 5 'once'
tap_done
