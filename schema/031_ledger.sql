-- SPDX-License-Identifier: Apache-2.0
-- The breaker of a resumed run answers for what came after, lanes included; what SES rejected proves nothing.

-- ---------------------------------------------------------------- lanes of a run that was paused

CREATE TABLE lane_base (
	run_id int NOT NULL,
	lane smallint NOT NULL,
	attempted bigint NOT NULL,
	sent bigint NOT NULL,
	hard bigint NOT NULL,
	complained bigint NOT NULL,
	PRIMARY KEY (run_id, lane)
);
COMMENT ON TABLE lane_base IS 'What lanes had done when the breaker paused their run last (run.breaker_from)';
COMMENT ON COLUMN lane_base.run_id IS 'Run';
COMMENT ON COLUMN lane_base.lane IS 'Its lane in run_lane';
COMMENT ON COLUMN lane_base.attempted IS 'Attempted by then';
COMMENT ON COLUMN lane_base.sent IS 'Sent by then';
COMMENT ON COLUMN lane_base.hard IS 'Dead addresses of mail that was claimed by then, heard at any time';
COMMENT ON COLUMN lane_base.complained IS 'Complaints about such mail';

CREATE FUNCTION lane_base_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	INSERT INTO lane_base AS o (run_id, lane, attempted, sent, hard, complained)
	SELECT n.run_id, n.lane, n.attempted, n.sent, n.hard, n.complained FROM lane_count n WHERE n.run_id = NEW.id
	ON CONFLICT (run_id, lane) DO UPDATE SET attempted = excluded.attempted, sent = excluded.sent, hard = excluded.hard,
	    complained = excluded.complained;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION lane_base_note() IS 'Keeps lane_base when the breaker or a canary pauses a run';
CREATE TRIGGER lane_base AFTER UPDATE OF breaker_from ON run FOR EACH ROW
    WHEN (NEW.breaker_from IS NOT NULL AND NEW.breaker_from IS DISTINCT FROM OLD.breaker_from) EXECUTE FUNCTION lane_base_note();
INSERT INTO lane_base (run_id, lane, attempted, sent, hard, complained)
SELECT n.run_id, n.lane, n.attempted, n.sent, n.hard, n.complained FROM lane_count n JOIN run r ON r.id = n.run_id
WHERE r.breaker_from IS NOT NULL AND r.state IN ('running', 'paused');

-- As before, for lane_base, too.
CREATE OR REPLACE FUNCTION tally_before(the_run int, since timestamptz, changed send_change[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	WITH c AS (
		SELECT s.lane, s.claimed_at, coalesce((c.class = 'hard')::int, 0) - coalesce((c.before = 'hard')::int, 0) AS hard, c.complained
		FROM unnest(changed) c JOIN send s ON s.run_id = the_run AND s.id = c.id
		WHERE c.class IS DISTINCT FROM c.before OR c.complained > 0),
	l AS (
		UPDATE lane_break b SET hard = b.hard + o.hard, complained = b.complained + o.complained
		FROM (SELECT c.lane, sum(c.hard) AS hard, sum(c.complained) AS complained FROM c
			JOIN lane_break k ON k.run_id = the_run AND k.lane = c.lane AND c.claimed_at < k.resumed_at GROUP BY c.lane) AS o
		WHERE b.run_id = the_run AND b.lane = o.lane),
	k AS (
		UPDATE lane_base b SET hard = b.hard + o.hard, complained = b.complained + o.complained
		FROM (SELECT c.lane, sum(c.hard) AS hard, sum(c.complained) AS complained FROM c WHERE c.claimed_at < since GROUP BY c.lane) AS o
		WHERE b.run_id = the_run AND b.lane = o.lane)
	INSERT INTO tally AS t (run_id, owner, minute, hard_before, complained_before)
	SELECT the_run, -1, date_trunc('minute', now()), sum(hard), sum(complained) FROM c WHERE claimed_at < since HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET hard_before = t.hard_before + excluded.hard_before,
	    complained_before = t.complained_before + excluded.complained_before;
END
$$;

-- As before; of a lane that is left out only what it did in the same time.
CREATE OR REPLACE FUNCTION breaker_why_run(the_run int, since timestamptz, st stream) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT breaker_why(st, 'this run', greatest(t.attempted - k.attempted, 0)::bigint, greatest(t.sent - k.sent, 0)::bigint,
	    greatest(t.hard - k.hard, 0)::bigint, greatest(t.complained - k.complained, 0)::bigint)
	-- claimed ones count as tried: a bounce may be heard before its sending is recorded
	FROM (SELECT sum(sent + failed + claimed) AS attempted, sum(sent + claimed) AS sent,
		sum(hard - CASE WHEN since IS NULL THEN 0 ELSE hard_before END) AS hard,
		sum(complained - CASE WHEN since IS NULL THEN 0 ELSE complained_before END) AS complained
		FROM tally WHERE run_id = the_run AND minute >= coalesce(since, '-infinity')) AS t,
	    (SELECT coalesce(sum(greatest(d.attempted - coalesce(o.attempted, 0), 0)), 0) AS attempted,
		coalesce(sum(greatest(d.sent - coalesce(o.sent, 0), 0)), 0) AS sent,
		coalesce(sum(greatest(d.hard - coalesce(o.hard, 0), 0)), 0) AS hard,
		coalesce(sum(greatest(d.complained - coalesce(o.complained, 0), 0)), 0) AS complained
		FROM lane_break b JOIN lane_count n ON n.run_id = b.run_id AND n.lane = b.lane
		CROSS JOIN LATERAL (SELECT CASE WHEN b.resumed_at IS NULL THEN n.attempted ELSE b.attempted END AS attempted,
		    CASE WHEN b.resumed_at IS NULL THEN n.sent ELSE b.sent END AS sent,
		    CASE WHEN b.resumed_at IS NULL THEN n.hard ELSE b.hard END AS hard,
		    CASE WHEN b.resumed_at IS NULL THEN n.complained ELSE b.complained END AS complained) AS d
		LEFT JOIN lane_base o ON since IS NOT NULL AND o.run_id = b.run_id AND o.lane = b.lane
		WHERE b.run_id = the_run) AS k
$$;

-- ---------------------------------------------------------------- what an attempt proves

-- SES may take a mail and reject it behind: such an attempt reached nobody.
CREATE FUNCTION send_is_taken(the_run int, the_send int, the_attempt smallint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM feedback_event f
	    WHERE f.run_id = the_run AND f.send_id = the_send AND f.attempt BETWEEN 1 AND the_attempt AND is_acceptance(f.kind, f.source)
	    AND NOT EXISTS (SELECT FROM feedback_event j
		WHERE j.run_id = the_run AND j.send_id = the_send AND j.attempt = f.attempt AND j.kind = 'rejected'))
$$;
COMMENT ON FUNCTION send_is_taken(int, int, smallint) IS 'Whether an attempt up to this one was taken by the remote and not rejected behind, by what was heard';

-- As before; what was rejected proves no sending, in whatever order that is heard, and says nothing of a later attempt. Who
-- was taken out of doubt by such a proof (RECORD leaves no reason on those that were sent) is in doubt again.
CREATE OR REPLACE FUNCTION ingest_rows(the_run int, fresh feedback_event[]) RETURNS send_change[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	changed send_change[];
BEGIN
	WITH e AS (
		SELECT f.semantic_key, f.send_id, f.attempt, f.source, f.kind, f.class, f.reason, f.enhanced, f.reply, f.remote,
		    coalesce(f.occurred_at, f.received_at) AS at, f.kind IN ('bounced', 'rejected') AND f.source <> 'smtp' AS is_why
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	a AS (
		SELECT send_id, max(attempt) AS attempt,
		    min(at) FILTER (WHERE kind = 'delivered') AS delivered_at,
		    min(at) FILTER (WHERE kind = 'bounced' AND source <> 'smtp' AND bounce_counts(reason)) AS bounced_at,
		    min(at) FILTER (WHERE kind = 'complained') AS complained_at,
		    min(at) FILTER (WHERE kind = 'unsubscribed') AS unsubscribed_at,
		    min(at) FILTER (WHERE kind = 'opened') AS opened_at,
		    min(at) FILTER (WHERE kind = 'clicked') AS clicked_at,
		    max(attempt) FILTER (WHERE kind = 'rejected') AS rejected, bool_or(is_why AND kind = 'bounced') AS bounces,
		    max(attempt) FILTER (WHERE kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened',
			'clicked', 'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    min(ARRAY[(9 - bounce_rank(class, reason))::text, to_char(at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'),
			semantic_key, class, reason, enhanced, reply, remote] COLLATE "C") FILTER (WHERE is_why) AS why
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.attempt, s.address_key, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
		    s.opened_at, s.clicked_at, s.class AS old_class, a.delivered_at AS new_delivered_at, a.bounced_at AS new_bounced_at,
		    a.complained_at AS new_complained_at, a.unsubscribed_at AS new_unsubscribed_at,
		    a.opened_at AS new_opened_at, a.clicked_at AS new_clicked_at, a.rejected, a.accepted,
		    w.again, a.why IS NOT NULL AND NOT w.again AND (a.bounces OR a.rejected = s.attempt) AS tells,
		    a.why[4] AS class, a.why[5] AS reason, a.why[6] AS enhanced, a.why[7] AS reply, a.why[8] AS remote
		FROM send s JOIN a ON a.send_id = s.id
		CROSS JOIN LATERAL (SELECT a.why IS NOT NULL AND (s.bounced_at IS NOT NULL OR s.rejected_attempt IS NOT NULL
			OR NOT bounce_counts(s.reason)) AS again) w
		WHERE s.run_id = the_run AND s.attempt > 0 AND s.attempt >= a.attempt
		ORDER BY s.id FOR UPDATE OF s),
	u AS (
		UPDATE send s SET
		    delivered_at = least(s.delivered_at, old.new_delivered_at),
		    bounced_at = least(s.bounced_at, old.new_bounced_at),
		    complained_at = least(s.complained_at, old.new_complained_at),
		    unsubscribed_at = least(s.unsubscribed_at, old.new_unsubscribed_at),
		    opened_at = least(s.opened_at, old.new_opened_at),
		    clicked_at = least(s.clicked_at, old.new_clicked_at),
		    rejected_attempt = greatest(s.rejected_attempt, old.rejected::smallint),
		    accepted_attempt = greatest(s.accepted_attempt, old.accepted::smallint),
		    state = CASE WHEN old.rejected = s.attempt AND s.state IN ('sent', 'in_doubt') THEN 'failed'
			WHEN old.accepted IS NOT NULL AND s.state = 'in_doubt'
			    AND (coalesce(s.rejected_attempt, old.rejected) IS NULL OR send_is_taken(the_run, s.id, s.attempt)) THEN 'sent'
			WHEN s.state = 'sent' AND old.rejected < s.attempt AND s.accepted_attempt <= old.rejected AND s.reason IS NOT NULL
			    AND s.bounced_at IS NULL AND NOT send_is_taken(the_run, s.id, s.attempt) THEN 'in_doubt'
			ELSE s.state END,
		    class = CASE WHEN old.tells THEN old.class ELSE s.class END,
		    reason = CASE WHEN old.tells THEN old.reason ELSE s.reason END,
		    enhanced = CASE WHEN old.tells THEN old.enhanced ELSE s.enhanced END,
		    reply = CASE WHEN old.tells THEN old.reply ELSE s.reply END,
		    remote = CASE WHEN old.tells THEN old.remote ELSE s.remote END
		FROM old
		WHERE s.run_id = the_run AND s.id = old.id
		RETURNING (s.id, s.lane, s.address_key, old.again, CASE WHEN old.bounced_at IS NOT NULL THEN coalesce(old.old_class, '') END,
		    CASE WHEN s.bounced_at IS NOT NULL THEN coalesce(s.class, '') END, old.state, s.state,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int)::send_change AS change)
	SELECT array_agg(change) INTO changed FROM u;
	RETURN changed;
END
$$;

-- As before, without the rejections of earlier attempts.
CREATE OR REPLACE FUNCTION ingest_again(the_run int, changed send_change[]) RETURNS send_change[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	ids int[] := ARRAY(SELECT c.id FROM unnest(changed) c WHERE c.again);
	result send_change[];
BEGIN
	WITH w AS MATERIALIZED (
		SELECT s.id, s.bounced_at IS NOT NULL AS counts, f.class, f.reason, f.enhanced, f.reply, f.remote
		FROM send s CROSS JOIN LATERAL (SELECT * FROM feedback_event v
			WHERE v.run_id = the_run AND v.send_id = s.id AND v.attempt <= s.attempt
			    AND (v.kind = 'bounced' OR v.kind = 'rejected' AND v.attempt = s.attempt) AND v.source <> 'smtp'
			ORDER BY bounce_rank(v.class, v.reason) DESC, coalesce(v.occurred_at, v.received_at), v.semantic_key
			LIMIT 1) f
		WHERE s.run_id = the_run AND s.id = ANY (ids) AND bounce_rank(f.class, f.reason) >= bounce_rank(s.class, s.reason)),
	u AS (
		UPDATE send s SET class = w.class, reason = w.reason, enhanced = w.enhanced, reply = w.reply, remote = w.remote
		FROM w WHERE s.run_id = the_run AND s.id = w.id AND (s.class, s.reason, s.enhanced, s.reply, s.remote)
		    IS DISTINCT FROM (w.class, w.reason, w.enhanced, w.reply, w.remote))
	SELECT array_agg((c.id, c.lane, c.address_key, c.again, c.before, CASE WHEN w.counts THEN coalesce(w.class, '') ELSE c.class END,
	    c.was, c.became, c.delivered, c.bounced, c.complained, c.unsubscribed, c.opened, c.clicked)::send_change)
	INTO result FROM unnest(changed) c LEFT JOIN w ON w.id = c.id;
	RETURN result;
END
$$;

-- As before, with the proof of send_is_taken().
CREATE OR REPLACE FUNCTION doubt_settle(the_run int, ids int[], the_how text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	n bigint;
	goal send_state;
	was run_state;
BEGIN
	goal := CASE WHEN the_how IN ('assumed_sent', 'proved_sent') THEN 'sent'
	    WHEN the_how IN ('resent', 'resent_by_policy') THEN 'queued' END;
	IF goal IS NULL THEN
		RAISE EXCEPTION 'doubt is not settled by %', the_how USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT state INTO was FROM run WHERE id = the_run FOR UPDATE;
	IF goal = 'queued' AND was NOT IN ('running', 'paused', 'finished') THEN
		RAISE EXCEPTION 'run % is %: nothing is sent again', the_run, was
		    USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	WITH q AS (SELECT send_id FROM doubtful WHERE run_id = the_run AND (ids IS NULL OR send_id = ANY (ids))),
	d AS (
		SELECT s.id, s.attempt, s.address_key FROM send s JOIN q ON q.send_id = s.id
		WHERE s.run_id = the_run AND s.state = 'in_doubt'
		    -- by itself a second copy goes out once, never a third
		    AND (the_how <> 'resent_by_policy' OR NOT EXISTS (SELECT FROM doubt o
			WHERE o.run_id = the_run AND o.send_id = s.id AND o.how LIKE 'resent%'))
		    -- a proof is looked at again under the lock
		    AND (the_how <> 'proved_sent' OR send_is_taken(the_run, s.id, s.attempt))
		ORDER BY s.id FOR UPDATE OF s),
	k AS (INSERT INTO doubt (run_id, send_id, attempt, how) SELECT the_run, id, attempt, the_how FROM d
		ON CONFLICT (run_id, send_id, attempt) DO UPDATE SET how = excluded.how, at = now(), who = excluded.who),
	t AS (INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent)
		SELECT the_run, 0, date_trunc('hour', now()), split_part(address_key, '@', 2), count(*), count(*)
		FROM d WHERE goal = 'sent' GROUP BY 4 ORDER BY 4
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent),
	u AS (UPDATE send s SET state = goal, reason = NULL, not_before = NULL
		FROM d WHERE s.run_id = the_run AND s.id = d.id RETURNING s.id)
	SELECT count(*) INTO n FROM u;
	IF n > 0 THEN
		PERFORM tally_add(the_run, 0, d_in_doubt => - n,
		    d_sent => CASE WHEN goal = 'sent' THEN n ELSE 0 END);
		IF goal = 'queued' THEN
			UPDATE run SET low_water = 1, pushed = planned WHERE id = the_run;
			PERFORM run_move(the_run, ARRAY['finished']::run_state[], 'running', 'recipients in doubt are sent to again');
		END IF;
	END IF;
	INSERT INTO audit (action, object, detail)
	SELECT 'doubt.' || the_how, 'run ' || the_run, n || ' recipients'
	WHERE n > 0;
	RETURN n;
END
$$;

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION lane_base_note(), send_is_taken(int, int, smallint) FROM PUBLIC;
GRANT SELECT ON lane_base TO kairan_operator, kairan_monitor;
