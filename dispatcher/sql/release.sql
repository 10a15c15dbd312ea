-- RELEASE: a live owner gives back what it did not send (nothing past DATA was written). $1 run,
-- $2 dispatcher, $3 ids, $4 attempts. Returns the ids that are queued again, and their lanes.
WITH u AS (
	UPDATE kairan.send s SET state = 'queued', not_before = NULL
	FROM unnest($3::int[], $4::smallint[]) AS o(id, attempt)
	WHERE s.run_id = /*run*/$1 AND s.id = o.id AND s.attempt = o.attempt AND s.owner = $2
	    AND s.state = 'sending'
	RETURNING s.id, s.lane),
t AS (
	INSERT INTO kairan.tally AS t (run_id, owner, minute, claimed, released)
	SELECT $1::int, $2, date_trunc('minute', now()), - count(*), count(*) FROM u HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET claimed = t.claimed + excluded.claimed,
	    released = t.released + excluded.released)
SELECT id, lane FROM u
