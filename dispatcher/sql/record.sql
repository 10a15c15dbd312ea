-- RECORD: outcomes of claimed rows. $1 run, $2 dispatcher, $3 the state they are in (sending, or
-- in_doubt for late ones), then arrays: $4 ids, $5 attempts, $6 states, $7 codes, $8 enhanced codes,
-- $9 classes, $10 reasons, $11 replies, $12 remotes, $13 remote ids, $14 seconds to the next try
-- (below 0: so many, without a step of the retry ladder).
-- Only the holder of the attempt may settle it, so repeating does nothing; nor does it when it comes as
-- late, as only those that somebody else put in doubt (owner_lost) are settled late. A bounce may have been
-- heard before its sending is recorded: then what it said stays. So may the acceptance of what would
-- be in doubt, and the rejection by SES of what it had taken. Events that wait for the id that the
-- remote gave are due now. Returns how many were settled.
WITH o AS (
	SELECT * FROM unnest($4::int[], $5::smallint[], $6::kairan.send_state[], $7::smallint[], $8::text[],
	    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::int[])
	    AS o(id, attempt, state, code, enhanced, class, reason, reply, remote, remote_id, wait_s)),
u AS (
	UPDATE kairan.send s SET code = o.code, remote_id = o.remote_id,
	    state = CASE WHEN s.rejected_attempt = s.attempt AND o.state IN ('sent', 'in_doubt') THEN 'failed'
		WHEN s.accepted_attempt = s.attempt AND o.state = 'in_doubt' THEN 'sent' ELSE o.state END,
	    enhanced = CASE WHEN s.bounced_at IS NULL AND s.rejected_attempt IS DISTINCT FROM s.attempt THEN o.enhanced ELSE s.enhanced END,
	    class = CASE WHEN s.bounced_at IS NULL AND s.rejected_attempt IS DISTINCT FROM s.attempt THEN o.class ELSE s.class END,
	    reason = CASE WHEN s.bounced_at IS NULL AND s.rejected_attempt IS DISTINCT FROM s.attempt THEN o.reason ELSE s.reason END,
	    reply = CASE WHEN s.bounced_at IS NULL AND s.rejected_attempt IS DISTINCT FROM s.attempt THEN o.reply ELSE s.reply END,
	    remote = CASE WHEN s.bounced_at IS NULL AND s.rejected_attempt IS DISTINCT FROM s.attempt THEN o.remote ELSE s.remote END,
	    settled_at = now(), tries = s.tries + (o.state = 'deferred' AND o.wait_s >= 0)::int,
	    not_before = CASE WHEN o.state = 'deferred' THEN now() + make_interval(secs => abs(o.wait_s)) END
	FROM o
	WHERE s.run_id = /*run*/$1 AND s.id = o.id AND s.attempt = o.attempt AND s.owner = $2
	    AND s.state = $3::kairan.send_state
	    AND ($3::kairan.send_state <> 'in_doubt' OR s.reason = 'owner_lost')
	RETURNING s.id, s.lane/*origin, s.origin*/, s.state, s.not_before, s.remote_id,
	    CASE WHEN s.rejected_attempt = s.attempt THEN s.class ELSE o.class END AS class, split_part(s.address_key, '@', 2) AS domain),
q AS (
	INSERT INTO kairan.retry AS r (run_id, send_id, due_at)
	SELECT $1::int, id, not_before FROM u WHERE state = 'deferred'
	ON CONFLICT (run_id, send_id) DO UPDATE SET due_at = excluded.due_at, pushed_at = NULL),
t AS (
	INSERT INTO kairan.tally AS t (run_id, owner, minute, claimed, in_doubt, sent, deferred, failed,
	    skipped, attempts, hard)
	SELECT $1, $2, date_trunc('minute', now()),
	    CASE WHEN $3::kairan.send_state = 'sending' THEN - count(*) ELSE 0 END,
	    count(*) FILTER (WHERE state = 'in_doubt')
		- CASE WHEN $3::kairan.send_state = 'in_doubt' THEN count(*) ELSE 0 END,
	    count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'deferred'),
	    count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'skipped'),
	    count(*) FILTER (WHERE state <> 'skipped'), count(*) FILTER (WHERE state = 'failed' AND class = 'hard')
	FROM u HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET claimed = t.claimed + excluded.claimed,
	    in_doubt = t.in_doubt + excluded.in_doubt, sent = t.sent + excluded.sent,
	    deferred = t.deferred + excluded.deferred, failed = t.failed + excluded.failed,
	    skipped = t.skipped + excluded.skipped, attempts = t.attempts + excluded.attempts,
	    hard = t.hard + excluded.hard),
d AS (
	INSERT INTO kairan.tally_domain AS t (run_id, owner, hour, domain, attempted, sent, hard, soft, block, other)
	SELECT $1, $2, date_trunc('hour', now()), domain, count(*), count(*) FILTER (WHERE state = 'sent'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'hard'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'soft'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'block'),
	    count(*) FILTER (WHERE state = 'failed' AND coalesce(class, '') NOT IN ('hard', 'soft', 'block'))
	FROM u WHERE state IN ('sent', 'failed') GROUP BY domain ORDER BY domain
	ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
	    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, soft = t.soft + excluded.soft,
	    block = t.block + excluded.block, other = t.other + excluded.other),
l AS (
	INSERT INTO kairan.tally_lane AS t (run_id, lane, owner, attempted, sent, hard)
	SELECT $1, lane, $2, count(*), count(*) FILTER (WHERE state = 'sent'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'hard')
	FROM u WHERE lane > 0 AND state IN ('sent', 'failed') GROUP BY lane ORDER BY lane
	ON CONFLICT (run_id, lane, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
	    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard),
/*origin g AS (
	INSERT INTO kairan.tally_origin AS t (run_id, owner, hour, origin, attempted, sent, hard, soft, block, other)
	SELECT $1, $2, date_trunc('hour', now()), origin, count(*), count(*) FILTER (WHERE state = 'sent'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'hard'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'soft'),
	    count(*) FILTER (WHERE state = 'failed' AND class = 'block'),
	    count(*) FILTER (WHERE state = 'failed' AND coalesce(class, '') NOT IN ('hard', 'soft', 'block'))
	FROM u WHERE state IN ('sent', 'failed') AND origin IS NOT NULL GROUP BY origin ORDER BY origin
	ON CONFLICT (run_id, hour, origin, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
	    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, soft = t.soft + excluded.soft,
	    block = t.block + excluded.block, other = t.other + excluded.other),*/
w AS (
	UPDATE kairan.feedback_wait f SET due_at = now() FROM u WHERE f.message_id = u.remote_id)
SELECT count(*) FROM u
