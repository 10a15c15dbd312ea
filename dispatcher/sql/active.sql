-- Sign of life, and the runs that are running. $1 dispatcher, $2 what keeps it from sending, if
-- anything, $3 claims of this dispatcher that were acknowledged: when PostgreSQL knows of no fewer, it is
-- heard on this timeline, $4 our lock, $5 our route. Without the row "alive" we are fenced and must stop; its third column is the
-- number of our claims that PostgreSQL knows of, its fourth who has to be heard before anybody claims
-- (NULL or empty: nobody), its fifth 1 when we registered on an earlier timeline. Of a run it says whether its stream has a rate, or the account
-- has been given one; when lanes were given lists of their own after it was loaded, which have one; and
-- whether it goes before others.
WITH me AS (
	UPDATE kairan.dispatcher SET heartbeat_at = now(), trouble = $2, route = $5,
	    heard = CASE WHEN claim_seq >= $3::bigint THEN kairan.timeline() ELSE heard END
	WHERE id = $1 AND lock_id = $4 AND fenced_at IS NULL AND stopped_at IS NULL RETURNING claim_seq, began)
SELECT 0 AS run, 'alive' AS what, claim_seq, (SELECT kairan.quarantine_look() FROM kairan.installation
    WHERE one AND timeline <> kairan.timeline()) AS lanes, (began <> kairan.timeline())::int AS urgent
FROM me
UNION ALL
SELECT r.id, 'run', (s.rate_per_s IS NOT NULL
    OR EXISTS (SELECT FROM kairan.pace_setting WHERE name = 'account_rate'))::int,
    CASE WHEN r.relisted > 0 THEN
	(SELECT string_agg(lane::text, ' ' ORDER BY lane) FROM kairan.run_lane WHERE run_id = r.id AND paced AND route = $5) END,
    (r.snapshot ? 'mail' OR s.kind = 'transactional')::int
FROM kairan.run r
JOIN kairan.campaign c ON c.id = r.campaign_id JOIN kairan.stream s ON s.id = c.stream_id
WHERE r.state = 'running'
ORDER BY 1
