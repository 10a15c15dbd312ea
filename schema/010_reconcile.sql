-- SPDX-License-Identifier: Apache-2.0
-- What operators look at: views that stay fast whatever the size of send, figures for
-- /metrics, and what `kairan reconcile` needs.

-- As for the programs: the planner guesses high where sides are joined by ranges, and compiling such plans
-- (JIT) takes a hundred times as long as running them.
DO $roles$
BEGIN
	ALTER ROLE kairan_operator SET jit = off;
	ALTER ROLE kairan_monitor SET jit = off;
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE 'not allowed to set jit for kairan_operator and kairan_monitor';
END
$roles$;

-- ---------------------------------------------------------------- indexes

-- the events of a run, and of one of its rows: why(), reconcile
CREATE INDEX feedback_event_send ON feedback_event (run_id, send_id) WHERE send_id IS NOT NULL;
-- the last days of all runs: reputation, sending_statistics. The column never changes, so updates of
-- the counts stay on their page.
CREATE INDEX tally_minute ON tally (minute);

-- ---------------------------------------------------------------- who is in doubt

-- send has no index on its state (every update would leave its page), and a scan for a handful of
-- rows would read all of them. Few rows are ever in doubt, so each change notes itself here,
-- whoever makes it.
CREATE TABLE doubtful (
	run_id int NOT NULL,
	send_id int NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (run_id, send_id)
);
COMMENT ON TABLE doubtful IS 'Send rows in state in_doubt, kept by triggers on send so that they are found without a scan; the view in_doubt shows them';
COMMENT ON COLUMN doubtful.run_id IS 'Run';
COMMENT ON COLUMN doubtful.send_id IS 'send.id';
COMMENT ON COLUMN doubtful.since IS 'When it was put in doubt';

CREATE FUNCTION doubtful_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	IF NEW.state = 'in_doubt' THEN
		INSERT INTO doubtful (run_id, send_id) VALUES (NEW.run_id, NEW.id) ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM doubtful WHERE run_id = NEW.run_id AND send_id = NEW.id;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION doubtful_note() IS 'Keeps the table doubtful';
CREATE TRIGGER doubt_changed AFTER UPDATE OF state ON send FOR EACH ROW
    WHEN ((OLD.state = 'in_doubt') <> (NEW.state = 'in_doubt')) EXECUTE FUNCTION doubtful_note();
CREATE TRIGGER doubt_made AFTER INSERT ON send FOR EACH ROW
    WHEN (NEW.state = 'in_doubt') EXECUTE FUNCTION doubtful_note();
INSERT INTO doubtful (run_id, send_id, since)
SELECT run_id, id, coalesce(settled_at, claimed_at, now()) FROM send WHERE state = 'in_doubt';

-- OFFSET 0: one look by key per row, whatever the planner believes about send
CREATE OR REPLACE VIEW in_doubt AS
SELECT c.name AS campaign, r.run_key, q.run_id, s.id, s.recipient_id, s.address, s.attempt, s.owner,
    d.name AS dispatcher, d.host, s.claimed_at, s.settled_at, s.reason, s.remote, s.reply
FROM doubtful q JOIN run r ON r.id = q.run_id JOIN campaign c ON c.id = r.campaign_id
CROSS JOIN LATERAL (SELECT * FROM send WHERE send.run_id = q.run_id AND send.id = q.send_id
	AND send.state = 'in_doubt' OFFSET 0) AS s
LEFT JOIN dispatcher d ON d.id = s.owner;

-- ---------------------------------------------------------------- views

-- A run at a time, and only runs where something did not arrive: named by campaign and run key it
-- reads that run alone.
CREATE OR REPLACE VIEW top_replies AS
SELECT c.name AS campaign, r.run_key, s.state, s.class, s.reason, s.code, s.enhanced, s.reply, s.recipients
FROM run r JOIN campaign c ON c.id = r.campaign_id
CROSS JOIN LATERAL (SELECT coalesce(sum(t.deferred + t.failed + t.in_doubt), 0) + coalesce(sum(t.bounced), 0) AS n
	FROM tally t WHERE t.run_id = r.id) AS lost
CROSS JOIN LATERAL (
	SELECT b.state, b.class, b.reason, b.code, b.enhanced,
	    regexp_replace(regexp_replace(b.reply, '<?[^<>@ ]+@[^<>@ ]+>?', '<address>', 'g'), '[0-9A-F]{8,}', '#', 'g')
		COLLATE "default" AS reply,
	    sum(b.recipients)::bigint AS recipients
	-- the recipient's own address is taken out by plain replacement, so that few texts are left for the dear one
	FROM (SELECT state, class, reason, code, enhanced, count(*) AS recipients,
		replace(replace(send.reply, '<' || address || '>', '<address>'), address, '<address>') AS reply FROM send
		WHERE send.run_id = r.id AND lost.n > 0
		AND (state IN ('deferred', 'failed', 'in_doubt') OR bounced_at IS NOT NULL)
		GROUP BY 1, 2, 3, 4, 5, 7) AS b
	GROUP BY 1, 2, 3, 4, 5, 6) AS s;
COMMENT ON VIEW top_replies IS 'What remote hosts said of those that did not arrive; ORDER BY recipients DESC. Reads the rows of each run it is asked about: name campaign and run_key';

-- As before, grouped by keys: the names follow from them and need not be sorted.
CREATE OR REPLACE VIEW bounce_rate AS
SELECT c.name AS campaign, r.run_key, st.name AS stream, coalesce(p.provider, 'other') AS provider,
    d.domain, d.hour, sum(d.attempted)::bigint AS attempted, sum(d.sent)::bigint AS sent,
    sum(d.delivered)::bigint AS delivered, sum(d.hard)::bigint AS hard,
    sum(d.soft + d.block + d.other)::bigint AS other_failures, sum(d.complained)::bigint AS complained,
    per_cent(sum(d.hard)::bigint, sum(d.attempted)::bigint) AS hard_per_cent,
    per_cent(sum(d.complained)::bigint, sum(d.sent)::bigint) AS complained_per_cent,
    sum(d.soft)::bigint AS soft, sum(d.block)::bigint AS block
FROM tally_domain d JOIN run r ON r.id = d.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id
LEFT JOIN provider_domain p ON p.domain = d.domain
GROUP BY r.id, d.hour, d.domain, c.id, st.id, p.domain;

CREATE OR REPLACE VIEW sending_statistics AS
SELECT date_bin('15 minutes', t.minute, '2000-01-01 00:00Z') AS quarter, st.name AS stream,
    sum(t.attempts)::bigint AS attempts, sum(t.sent)::bigint AS sent, sum(t.deferred)::bigint AS deferred,
    sum(t.failed)::bigint AS failed, sum(t.delivered)::bigint AS delivered, sum(t.bounced)::bigint AS bounced,
    sum(t.complained)::bigint AS complained
FROM tally t JOIN run r ON r.id = t.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id
GROUP BY 1, 2;
CREATE INDEX tally_quarter ON tally (date_bin('15 minutes', minute, '2000-01-01 00:00Z'));

-- As before, but what was heard is found by the rows' key.
CREATE OR REPLACE FUNCTION why(address text) RETURNS TABLE (at timestamptz, what text, campaign text, run_key text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH k AS (SELECT coalesce(address_key(address), lower(address)) AS key),
	s AS MATERIALIZED (SELECT s.*, c.name AS campaign, r.run_key, coalesce(r.started_at, r.created_at) AS planned_at
		FROM k JOIN send s ON s.address_key = k.key JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id)
	SELECT * FROM (
		SELECT s.created_at, 'suppressed', NULL::text, NULL::text,
		    concat_ws(' ', s.scope, s.reason, 'by ' || nullif(s.source, ''),
			CASE WHEN s.expires_at IS NOT NULL THEN 'until ' || s.expires_at END, s.evidence)
		FROM suppression s, k WHERE s.address_key = k.key
		UNION ALL
		SELECT coalesce(r.started_at, r.created_at), 'left out', c.name, r.run_key, concat_ws(': ', e.rule, nullif(e.evidence, ''))
		FROM k, exclusion e JOIN run r ON r.id = e.run_id JOIN campaign c ON c.id = r.campaign_id
		WHERE e.address_key = k.key
		UNION ALL
		SELECT s.planned_at, 'planned', s.campaign, s.run_key, 'recipient ' || s.id || ', customer ' || s.recipient_id FROM s
		UNION ALL
		SELECT coalesce(s.settled_at, s.claimed_at, now()), s.state::text, s.campaign, s.run_key,
		    concat_ws(' ', 'attempt ' || nullif(s.attempt, 0), 'by ' || d.name, s.class, s.reason, s.code, s.enhanced,
			s.reply, CASE WHEN s.remote <> '' THEN 'from ' || s.remote END,
			CASE WHEN s.not_before IS NOT NULL THEN 'next try ' || s.not_before END)
		FROM s LEFT JOIN dispatcher d ON d.id = s.owner
		UNION ALL
		SELECT coalesce(f.occurred_at, f.received_at), f.kind, s.campaign, s.run_key,
		    concat_ws(' ', 'heard from ' || f.source || ' (event ' || f.id || ')', f.class, f.reason, f.code, f.enhanced, f.reply)
		FROM s CROSS JOIN LATERAL (SELECT * FROM feedback_event f WHERE f.run_id = s.run_id AND f.send_id = s.id OFFSET 0) AS f
		UNION ALL
		SELECT coalesce(f.occurred_at, f.received_at), f.kind, NULL, NULL,
		    concat_ws(' ', 'heard from ' || f.source || ' (event ' || f.id || '), not linked to a send', f.class, f.reason, f.enhanced, f.reply)
		FROM feedback_event f, k WHERE f.address_key = k.key AND f.send_id IS NULL
	) AS story(at, what, campaign, run_key, detail)
	ORDER BY date_trunc('second', at), CASE what WHEN 'planned' THEN 0 WHEN 'sent' THEN 1 WHEN 'suppressed' THEN 3 ELSE 2 END, at
$$;

-- ---------------------------------------------------------------- doubt

ALTER TABLE doubt DROP CONSTRAINT doubt_how_check,
    ADD CONSTRAINT doubt_how_check CHECK (how IN ('assumed_sent', 'proved_sent', 'resent', 'resent_by_policy'));
COMMENT ON TABLE doubt IS 'Recipients that were taken out of doubt: by a person, by on_doubt = resend, or by evidence that reconcile found';
COMMENT ON COLUMN doubt.how IS 'assumed_sent, proved_sent, resent, or resent_by_policy';

-- As before, with proved_sent, and with the counts by domain: who is sent now counts as attempted.
CREATE OR REPLACE FUNCTION doubt_settle(the_run int, ids int[], the_how text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
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
		    AND (the_how <> 'proved_sent' OR EXISTS (SELECT FROM feedback_event f
			WHERE f.run_id = the_run AND f.send_id = s.id AND f.attempt BETWEEN 1 AND s.attempt AND is_acceptance(f.kind, f.source)))
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
COMMENT ON FUNCTION doubt_settle(int, int[], text) IS 'Takes recipients of a run out of doubt: assumed_sent, proved_sent (only those with evidence that they were taken), resent, resent_by_policy (at most one extra copy); NULL ids: all; returns how many';

CREATE FUNCTION is_acceptance(kind text, source text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT source <> 'smtp' AND kind IN ('accepted', 'delivered', 'delayed', 'bounced', 'complained', 'unsubscribed', 'opened', 'clicked') $$;
COMMENT ON FUNCTION is_acceptance(text, text) IS 'True for events that can only be when the remote had taken the message';

-- ---------------------------------------------------------------- figures for /metrics

CREATE FUNCTION figures() RETURNS TABLE (figure text, label text, state text, value float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT g.run_id, g.state, g.reason, g.queued, g.sending, g.deferred, g.due_at, g.started_at, c.stream_id,
		    (SELECT max(t.minute) FROM tally t WHERE t.run_id = g.run_id) AS moved_at
		FROM campaign_progress g JOIN run r ON r.id = g.run_id JOIN campaign c ON c.id = r.campaign_id
		WHERE g.state IN ('scheduled', 'planning', 'running', 'paused')),
	rep AS MATERIALIZED (SELECT * FROM reputation)
	SELECT 'recipients', st.name, w.state, coalesce(sum(CASE w.state WHEN 'queued' THEN p.queued
	    WHEN 'sending' THEN p.sending ELSE p.deferred END), 0)::float8
	FROM stream st CROSS JOIN (VALUES ('queued'), ('sending'), ('deferred')) AS w(state)
	LEFT JOIN p ON p.stream_id = st.id AND p.state IN ('running', 'paused') GROUP BY 2, 3
	UNION ALL
	SELECT 'runs', st.name, w.state, count(p.run_id)::float8
	FROM stream st CROSS JOIN (VALUES ('scheduled'), ('planning'), ('running'), ('paused')) AS w(state)
	LEFT JOIN p ON p.stream_id = st.id AND p.state::text = w.state GROUP BY 2, 3
	UNION ALL
	SELECT 'runs_broken', st.name, NULL, count(p.run_id)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'paused' AND p.reason LIKE 'breaker:%' GROUP BY 2
	UNION ALL
	SELECT 'queue_oldest', st.name, NULL, coalesce(max(extract(epoch FROM now() - p.started_at)), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'running' AND p.queued > 0 GROUP BY 2
	UNION ALL
	-- minutes are counted from their beginning: nothing stands still before its minute is over
	SELECT 'queue_idle', st.name, NULL, coalesce(max(greatest(0, extract(epoch FROM now()
	    - greatest(p.moved_at + interval '1 minute', p.started_at)))), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'running' AND p.queued > 0 GROUP BY 2
	UNION ALL
	SELECT 'overdue', st.name, NULL, coalesce(max(greatest(0, extract(epoch FROM now() - p.due_at))), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'scheduled' GROUP BY 2
	UNION ALL
	SELECT 'in_doubt', st.name, NULL, count(q.run_id)::float8
	FROM stream st LEFT JOIN (doubtful q JOIN run r ON r.id = q.run_id JOIN campaign c ON c.id = r.campaign_id)
	    ON c.stream_id = st.id GROUP BY 2
	UNION ALL
	SELECT v.figure, st.name, NULL, v.value FROM stream st LEFT JOIN rep ON rep.stream = st.name
	CROSS JOIN LATERAL (VALUES ('attempted', coalesce(rep.attempted, 0)::float8), ('sent', coalesce(rep.sent, 0)::float8),
	    ('hard', coalesce(rep.hard, 0)::float8), ('complained', coalesce(rep.complained, 0)::float8),
	    ('bounce_ratio', (coalesce(rep.bounce_per_cent, 0) / 100)::float8),
	    ('bounce_at_least', (coalesce(rep.bounce_at_least_per_cent, 0) / 100)::float8),
	    ('complaint_ratio', (coalesce(rep.complaint_per_cent, 0) / 100)::float8),
	    ('complaint_at_least', (coalesce(rep.complaint_at_least_per_cent, 0) / 100)::float8),
	    ('bounce_line', (st.bounce_line_per_cent / 100)::float8),
	    ('complaint_line', (st.complaint_line_per_cent / 100)::float8),
	    ('rate_limit', st.rate_per_s)) AS v(figure, value) WHERE v.value IS NOT NULL
	UNION ALL
	SELECT 'dispatchers', NULL, w.state, count(d.id)::float8
	FROM (VALUES ('sending'), ('troubled'), ('silent'), ('fenced')) AS w(state)
	LEFT JOIN dispatcher d ON d.stopped_at IS NULL AND w.state = CASE WHEN d.fenced_at IS NOT NULL THEN 'fenced'
	    WHEN d.heartbeat_at < now() - interval '1 minute' THEN 'silent' WHEN d.trouble <> '' THEN 'troubled'
	    ELSE 'sending' END GROUP BY 3
	UNION ALL
	SELECT 'lease', l.name, NULL, extract(epoch FROM l.expires_at - now())::float8 FROM lease l
	UNION ALL
	SELECT 'hooks', NULL, NULL, count(*)::float8 FROM run_event WHERE hooked_at IS NULL AND event IN ('finished', 'paused', 'failed')
	UNION ALL
	SELECT 'database', NULL, NULL, pg_database_size(current_database())::float8
$$;
COMMENT ON FUNCTION figures() IS 'What kairan-producer shows under /metrics of the database: figure, stream (or name of a lease), state, value. No addresses';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION doubtful_note(), is_acceptance(text, text), figures() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_acceptance(text, text) TO kairan_operator;
GRANT EXECUTE ON FUNCTION figures() TO kairan_producer, kairan_operator, kairan_monitor;
GRANT SELECT ON doubtful TO kairan_operator;
