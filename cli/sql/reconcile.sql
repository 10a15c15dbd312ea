-- What we say of recipients $2 .. $3 of run $1 against what was heard of them. $4 interval: how old a
-- row must be before its evidence is missed. $5: since when evidence is heard at all, NULL: never yet. $6: how
-- many ids to name of a kind (all of doubt_proved). One row per kind. Both sides are read by
-- their keys (run, id), a range at a time, so that it costs the same whatever else there is.
-- A rejection speaks of its attempt alone: what that attempt was accepted for before is no proof, and
-- other attempts are not refused by it.
WITH a AS (
	SELECT send_id, attempt, bool_or(kairan.is_acceptance(kind, source)) AS accepted,
	    bool_or(kind = 'rejected') AS rejected, bool_or(kind = 'delivered') AS delivered,
	    bool_or(kind = 'bounced' AND kairan.bounce_counts(reason)) AS bounced,
	    bool_or(kind = 'complained') AS complained
	FROM kairan.feedback_event
	WHERE run_id = $1 AND send_id BETWEEN $2 AND $3 AND source <> 'smtp' AND kind <> 'other'
	GROUP BY send_id, attempt),
e AS (
	SELECT send_id, max(attempt) AS attempt, bool_or(accepted) AS accepted, bool_or(accepted AND NOT rejected) AS taken,
	    max(attempt) FILTER (WHERE rejected) AS refused, bool_or(delivered) AS delivered, bool_or(bounced) AS bounced,
	    bool_or(complained) AS complained
	FROM a GROUP BY send_id),
s AS (
	SELECT id, state, attempt, settled_at, claimed_at, delivered_at, bounced_at, complained_at
	FROM kairan.send WHERE run_id = $1 AND id BETWEEN $2 AND $3),
d AS (
	SELECT coalesce(s.id, e.send_id) AS id, CASE
	    WHEN s.id IS NULL THEN 'no_such_row'
	    WHEN e.attempt > s.attempt THEN 'unknown_attempt'
	    WHEN s.state = 'in_doubt' AND e.refused = s.attempt THEN 'doubt_refused'
	    WHEN s.state = 'in_doubt' AND e.taken THEN 'doubt_proved'
	    WHEN s.state = 'sent' AND e.refused = s.attempt THEN 'sent_but_refused'
	    WHEN s.state IN ('failed', 'skipped', 'cancelled', 'expired') AND e.taken
		THEN 'failed_but_taken'
	    WHEN s.state IN ('queued', 'deferred') AND e.taken THEN 'queued_but_taken'
	    WHEN s.state = 'sending' AND e.taken AND s.claimed_at < now() - $4::interval THEN 'queued_but_taken'
	    WHEN (e.delivered AND s.delivered_at IS NULL) OR (e.bounced AND s.bounced_at IS NULL)
		OR (e.complained AND s.complained_at IS NULL) THEN 'fact_not_noted'
	    WHEN s.state = 'sent' AND s.settled_at >= $5::timestamptz AND e.accepted IS NOT TRUE AND s.settled_at < now() - $4::interval
		THEN 'no_evidence'
	    END AS kind
	FROM s FULL JOIN e ON e.send_id = s.id)
SELECT kind, count(*), array_to_string(CASE WHEN kind = 'doubt_proved' THEN array_agg(id ORDER BY id)
    ELSE (array_agg(id ORDER BY id))[1:$6::int] END, ',')
FROM d WHERE kind IS NOT NULL GROUP BY kind ORDER BY kind
