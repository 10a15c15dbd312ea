-- CLAIM: the compare-and-set. $1 dispatcher, $2 run, $3 ids, $4 suppression scopes of the run,
-- $5 claims of this dispatcher that were acknowledged: when PostgreSQL knows of fewer, it has lost
-- commits, and nothing is claimed; when of many more, fence_claims has been in between. The last
-- fixed columns are the number of this claim and the row's lane. On a new timeline of PostgreSQL nobody
-- claims before everybody was heard on it. $6 our lock: behind a fail-over that lost our registration our
-- number may be another dispatcher's. $7 our route: whose lanes are claimed, whatever list an id stood in; empty:
-- all lanes that have none.
-- Rows that are not free any more, not due, or whose owner is fenced or run not running, are
-- left alone; suppressed ones become skipped; those of a lane that the breaker has paused are put off
-- or whose origin it has, until that is resumed (lane_release(), origin_release(); origins: see run_sql.h). Only returned rows may be sent. not_before stays
-- set while a deferred row is being sent, so that the tally knows where it came from; what was said of the
-- last attempt stays whole until RECORD has something newer.
-- scope || '': one look into the index of suppression for each address, not one for each scope.
WITH me AS (
	UPDATE kairan.dispatcher SET claim_seq = claim_seq + 1, heartbeat_at = now()
	WHERE id = $1 AND fenced_at IS NULL AND stopped_at IS NULL AND claim_seq >= $5::bigint
	    AND claim_seq < $5::bigint + 1048576
	    AND EXISTS (SELECT FROM kairan.run WHERE id = $2 AND state = 'running')
	    AND EXISTS (SELECT FROM kairan.installation WHERE one AND timeline = kairan.timeline())
	    AND lock_id = $6
	RETURNING id, claim_seq),
w AS (
	SELECT array_agg(lane) AS routed, array_agg(lane) FILTER (WHERE route = $7) AS ours
	FROM kairan.run_lane WHERE run_id = $2 AND route <> ''),
b AS (
	SELECT array_agg(lane) AS lanes/*origin, (SELECT array_agg(origin) FROM kairan.origin_break
		WHERE run_id = $2 AND resumed_at IS NULL) AS origins*/ FROM kairan.lane_break WHERE run_id = $2 AND resumed_at IS NULL),
h AS (
	UPDATE kairan.send s SET state = 'deferred', reason = 'breaker', not_before = 'infinity'
	FROM me, (SELECT x.id, x.state FROM unnest($3::int[]) AS j(id) JOIN kairan.send x ON x.id = j.id
		WHERE x.run_id = /*run*/$2 AND x.state IN ('queued', 'deferred') AND (x.not_before IS NULL OR x.not_before <= now())
		    AND /*origin (*/(SELECT lanes FROM b) IS NOT NULL AND x.lane = ANY ((SELECT lanes FROM b)::smallint[])
		    /*origin OR x.origin = ANY ((SELECT origins FROM b)::smallint[]))*/
		ORDER BY x.id FOR UPDATE OF x) AS o
	WHERE s.run_id = /*run*/$2 AND s.id = o.id
	RETURNING s.id, o.state AS was),
q AS (
	INSERT INTO kairan.retry AS r (run_id, send_id, due_at) SELECT $2, id, 'infinity' FROM h
	ON CONFLICT (run_id, send_id) DO UPDATE SET due_at = excluded.due_at, pushed_at = NULL),
c AS (
	UPDATE kairan.send s SET (state, reason) = (
		SELECT CASE WHEN count(*) = 0 THEN 'sending' ELSE 'skipped' END::kairan.send_state,
		    CASE WHEN count(*) > 0 THEN 'suppressed' ELSE s.reason END
		FROM kairan.suppression p WHERE p.address_key = s.address_key AND p.scope || '' = ANY ($4::text[])
		    AND (p.expires_at IS NULL OR p.expires_at > now())),
	    attempt = s.attempt + 1, owner = $1, claimed_at = now()
	FROM me, unnest($3::int[]) AS j(id)
	WHERE s.run_id = /*run*/$2 AND s.id = j.id AND s.state IN ('queued', 'deferred')
	    AND (s.not_before IS NULL OR s.not_before <= now())
	    AND s.lane <> ALL (coalesce((SELECT lanes FROM b), '{}')::smallint[])
	    /*origin AND s.origin <> ALL (coalesce((SELECT origins FROM b), '{}')::smallint[])*/
	    AND CASE WHEN $7::text = '' THEN s.lane <> ALL (coalesce((SELECT routed FROM w), '{}')::smallint[])
		ELSE s.lane = ANY ((SELECT ours FROM w)::smallint[]) END
	RETURNING s.id, s.state, s.attempt, s.tries, s.recipient_id, s.address, s.not_before, s.claimed_at, s.lane),
t AS (
	INSERT INTO kairan.tally AS t (run_id, owner, minute, claimed, deferred, skipped)
	SELECT $2, $1, date_trunc('minute', now()), count(*) FILTER (WHERE state = 'sending'),
	    (SELECT count(*) FROM h WHERE was = 'queued') - count(not_before), count(*) FILTER (WHERE state = 'skipped')
	FROM c HAVING count(*) > 0 OR EXISTS (SELECT FROM h)
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET claimed = t.claimed + excluded.claimed,
	    deferred = t.deferred + excluded.deferred, skipped = t.skipped + excluded.skipped)
SELECT c.id, c.attempt, c.tries, c.address, cu.id IS NOT NULL, c.claimed_at,
    (SELECT claim_seq FROM me), c.lane/*fields*/
FROM c LEFT JOIN kairan.customer cu ON cu.id = c.recipient_id
WHERE c.state = 'sending'
