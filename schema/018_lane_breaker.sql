-- SPDX-License-Identifier: Apache-2.0
-- One index less on the inbox; a breaker for lanes, and none that opens on a handful of mails.

-- ---------------------------------------------------------------- inbox

-- Whoever looks for an event by its number knows its address or its row, too, and those have
-- indexes.
DROP INDEX feedback_event_id;

-- As before, but that the event is found by its address.
CREATE OR REPLACE FUNCTION suppress_provisional() RETURNS TABLE (domain text, addresses bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	FOR domain IN SELECT t.domain FROM tally_domain t WHERE t.hour > now() - interval '7 hours'
	    GROUP BY t.domain HAVING sum(t.hard) >= 50
		AND at_least_per_cent(sum(t.hard)::bigint, greatest(sum(t.attempted), sum(t.hard))::bigint) >= 50 LOOP
		UPDATE suppression s SET source = 'provisional', rests = greatest(s.rests, 1), expires_at = 'infinity',
		    rest_until = now() + make_interval(days => coalesce(st.soft_rest_days, 14)),
		    stream_id = coalesce(st.id, (SELECT min(id) FROM stream))
		FROM suppression o
		LEFT JOIN feedback_event f ON f.address_key = o.address_key AND f.id = o.event_id LEFT JOIN run r ON r.id = f.run_id
		LEFT JOIN campaign c ON c.id = r.campaign_id LEFT JOIN stream st ON st.id = c.stream_id
		WHERE split_part(o.address_key, '@', 2) = domain AND o.scope = 'all' AND o.reason = 'bounce'
		    AND o.expires_at IS NULL AND o.rests = 0 AND o.created_at > now() - interval '7 hours'
		    AND s.address_key = o.address_key AND s.scope = o.scope AND s.reason = o.reason;
		GET DIAGNOSTICS addresses = ROW_COUNT;
		CONTINUE WHEN addresses = 0;
		INSERT INTO audit (action, object, detail) VALUES ('suppress.provisional', domain, addresses || ' addresses');
		RETURN NEXT;
	END LOOP;
END
$$;

-- ---------------------------------------------------------------- what lanes did

CREATE TABLE tally_lane (
	run_id int NOT NULL,
	lane smallint NOT NULL,
	owner int NOT NULL,
	attempted bigint NOT NULL DEFAULT 0,
	sent bigint NOT NULL DEFAULT 0,
	hard bigint NOT NULL DEFAULT 0,
	complained bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, lane, owner)
) WITH (fillfactor = 50);
COMMENT ON TABLE tally_lane IS 'Outcomes by lane of a run, written with them; what the breaker judges a lane by';
COMMENT ON COLUMN tally_lane.run_id IS 'Run';
COMMENT ON COLUMN tally_lane.lane IS 'Its lane in run_lane';
COMMENT ON COLUMN tally_lane.owner IS 'dispatcher.id; -1: feedback';
COMMENT ON COLUMN tally_lane.attempted IS 'Taken or refused for good by the remote';
COMMENT ON COLUMN tally_lane.sent IS 'Taken by the remote';
COMMENT ON COLUMN tally_lane.hard IS 'Dead addresses: refused in the session or bounced later';
COMMENT ON COLUMN tally_lane.complained IS 'Complaints';

-- As before; counts by lane, too.
CREATE OR REPLACE FUNCTION ingest_run(the_run int, fresh feedback_event[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	list_scope text;
	this_campaign int;
	st stream;
	other_address boolean;
	has_soft boolean;
	delivered_keys text[];
	missing bigint[];
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN (SELECT array_agg(e.id) FROM unnest(fresh) e WHERE e.run_id = the_run AND e.send_id IS NOT NULL);
	END IF;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id
	INTO list_scope, this_campaign
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id WHERE r.id = the_run;
	SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;

	WITH e AS MATERIALIZED (
		SELECT f.*, coalesce(f.occurred_at, f.received_at) AS at,
		    f.kind IN ('bounced', 'rejected') AND f.source <> 'smtp' AS is_why
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	a AS (
		SELECT send_id, max(attempt) AS attempt,
		    min(at) FILTER (WHERE kind = 'delivered') AS delivered_at,
		    -- SES did not send those on its lists: suppressed here too, but no bounce of ours
		    min(at) FILTER (WHERE kind = 'bounced' AND source <> 'smtp'
			AND coalesce(reason, '') NOT IN ('on_account_suppression_list', 'on_tenant_suppression_list')) AS bounced_at,
		    min(at) FILTER (WHERE kind = 'complained') AS complained_at,
		    min(at) FILTER (WHERE kind = 'unsubscribed') AS unsubscribed_at,
		    min(at) FILTER (WHERE kind = 'opened') AS opened_at,
		    min(at) FILTER (WHERE kind = 'clicked') AS clicked_at,
		    max(attempt) FILTER (WHERE kind = 'rejected') AS rejected,
		    max(attempt) FILTER (WHERE kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened',
			'clicked', 'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    (array_agg(class ORDER BY id DESC) FILTER (WHERE is_why))[1] AS class,
		    (array_agg(reason ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reason,
		    (array_agg(enhanced ORDER BY id DESC) FILTER (WHERE is_why))[1] AS enhanced,
		    (array_agg(reply ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reply,
		    (array_agg(remote ORDER BY id DESC) FILTER (WHERE is_why))[1] AS remote
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.attempt, s.address_key, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
		    s.opened_at, s.clicked_at, a.delivered_at AS new_delivered_at, a.bounced_at AS new_bounced_at,
		    a.complained_at AS new_complained_at, a.unsubscribed_at AS new_unsubscribed_at,
		    a.opened_at AS new_opened_at, a.clicked_at AS new_clicked_at, a.rejected, a.accepted,
		    a.class, a.reason, a.enhanced, a.reply, a.remote
		FROM send s JOIN a ON a.send_id = s.id
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
			WHEN old.accepted IS NOT NULL AND s.state = 'in_doubt' THEN 'sent' ELSE s.state END,
		    class = coalesce(old.class, s.class), reason = coalesce(old.reason, s.reason),
		    enhanced = coalesce(old.enhanced, s.enhanced), reply = coalesce(old.reply, s.reply),
		    remote = coalesce(old.remote, s.remote)
		FROM old
		WHERE s.run_id = the_run AND s.id = old.id
		RETURNING s.id, s.lane, split_part(s.address_key, '@', 2) AS domain, s.state AS new_state, old.state AS old_state,
		    old.class,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int AS delivered,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int AS bounced,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int AS complained,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int AS unsubscribed,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int AS opened,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int AS clicked),
	d AS (
		INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent, delivered, hard, soft,
		    block, other, complained)
		SELECT the_run, -1, date_trunc('hour', now()), domain,
		    sum((new_state IN ('sent', 'failed'))::int - (old_state IN ('sent', 'failed'))::int),
		    sum((new_state = 'sent')::int - (old_state = 'sent')::int), sum(delivered),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), coalesce(sum(bounced) FILTER (WHERE class = 'soft'), 0),
		    coalesce(sum(bounced) FILTER (WHERE class = 'block'), 0),
		    coalesce(sum(bounced) FILTER (WHERE coalesce(class, '') NOT IN ('hard', 'soft', 'block')), 0), sum(complained)
		FROM u GROUP BY domain ORDER BY domain
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
		    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
		    other = t.other + excluded.other, complained = t.complained + excluded.complained),
	l AS (
		INSERT INTO tally_lane AS t (run_id, lane, owner, attempted, sent, hard, complained)
		SELECT the_run, lane, -1, sum((new_state IN ('sent', 'failed'))::int - (old_state IN ('sent', 'failed'))::int),
		    sum((new_state = 'sent')::int - (old_state = 'sent')::int),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), sum(complained)
		FROM u WHERE lane > 0 AND (bounced > 0 OR complained > 0 OR new_state <> old_state) GROUP BY lane ORDER BY lane
		ON CONFLICT (run_id, lane, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained),
	m AS (
		INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, hard, complained, unsubscribed, opened,
		    clicked, sent, failed, in_doubt)
		SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), sum(complained),
		    sum(unsubscribed), sum(opened), sum(clicked),
		    sum((new_state = 'sent')::int - (old_state = 'sent')::int),
		    sum((new_state = 'failed')::int - (old_state = 'failed')::int),
		    sum((new_state = 'in_doubt')::int - (old_state = 'in_doubt')::int)
		FROM u HAVING count(*) > 0
		ON CONFLICT (run_id, owner, minute) DO UPDATE SET delivered = t.delivered + excluded.delivered,
		    bounced = t.bounced + excluded.bounced, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained,
		    unsubscribed = t.unsubscribed + excluded.unsubscribed, opened = t.opened + excluded.opened,
		    clicked = t.clicked + excluded.clicked, sent = t.sent + excluded.sent,
		    failed = t.failed + excluded.failed, in_doubt = t.in_doubt + excluded.in_doubt),
	sup AS (
		INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
		SELECT DISTINCT ON (o.address_key, t.scope, t.reason) o.address_key, t.scope, t.reason, e.source,
		    concat_ws(' ', 'run ' || the_run || ' recipient ' || o.id, e.enhanced, e.reason, e.reply), e.id
		FROM e JOIN old o ON o.id = e.send_id
		CROSS JOIN LATERAL (SELECT
			CASE WHEN e.kind = 'unsubscribed' AND e.reason IS DISTINCT FROM 'all' THEN list_scope ELSE 'all' END AS scope,
			CASE e.kind WHEN 'bounced' THEN 'bounce' WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END AS reason) t
		WHERE (e.kind IN ('complained', 'unsubscribed') OR (e.kind = 'bounced' AND e.class = 'hard'))
		    -- where "unknown" may also mean "not now", campaigns must agree
		    AND (e.kind <> 'bounced' OR (SELECT coalesce(max(m.campaigns), 1) FROM ambiguous_domain m
				WHERE m.domain = split_part(o.address_key, '@', 2))
			    <= 1 + (SELECT count(DISTINCT r.campaign_id) FROM feedback_event f JOIN run r ON r.id = f.run_id
				WHERE f.address_key = o.address_key AND f.kind = 'bounced' AND f.class = 'hard'
				AND r.campaign_id <> this_campaign))
		ORDER BY o.address_key, t.scope, t.reason, e.id
		ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL,
		    rest_until = NULL, probation = false
		WHERE suppression.expires_at IS NOT NULL)
	SELECT coalesce(bool_or(e.address_key IS DISTINCT FROM o.address_key) FILTER (WHERE o.id IS NOT NULL), false),
	    coalesce(bool_or(e.kind = 'bounced' AND e.class = 'soft' AND o.id IS NOT NULL), false),
	    array_agg(o.address_key) FILTER (WHERE e.kind = 'delivered' AND o.id IS NOT NULL),
	    array_agg(e.id) FILTER (WHERE o.id IS NULL)
	INTO other_address, has_soft, delivered_keys, missing
	FROM e LEFT JOIN old o ON o.id = e.send_id;

	IF other_address THEN -- the row knows the address, whatever the report said or left out
		UPDATE feedback_event f SET address_key = s.address_key
		FROM unnest(fresh) e JOIN send s ON s.run_id = the_run AND s.id = e.send_id AND s.attempt >= e.attempt
		WHERE e.run_id = the_run AND f.month = e.month AND f.semantic_key = e.semantic_key
		    AND f.address_key IS DISTINCT FROM s.address_key;
	END IF;
	IF delivered_keys IS NOT NULL THEN
		DELETE FROM suppression p WHERE p.probation AND p.address_key = ANY (delivered_keys);
	END IF;
	IF has_soft THEN
		PERFORM ingest_soft(the_run, fresh, st);
	END IF;
	RETURN missing;
END
$$;

-- ---------------------------------------------------------------- breaker

ALTER TABLE stream ADD breaker_least int NOT NULL DEFAULT 50 CHECK (breaker_least > 0);
COMMENT ON COLUMN stream.breaker_least IS 'Mails below which the breaker says nothing: one bounce of one mail is certain to be over 15 %';

CREATE TABLE lane_break (
	run_id int NOT NULL,
	lane smallint NOT NULL,
	why text NOT NULL,
	opened_at timestamptz NOT NULL DEFAULT now(),
	resumed_at timestamptz,
	resumed_by text,
	attempted bigint NOT NULL DEFAULT 0,
	sent bigint NOT NULL DEFAULT 0,
	hard bigint NOT NULL DEFAULT 0,
	complained bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, lane)
);
COMMENT ON TABLE lane_break IS 'Lanes of runs that the breaker has paused; claims put their recipients off until somebody resumes the lane';
COMMENT ON COLUMN lane_break.run_id IS 'Run';
COMMENT ON COLUMN lane_break.lane IS 'Its lane in run_lane';
COMMENT ON COLUMN lane_break.why IS 'The rate and the line it is over';
COMMENT ON COLUMN lane_break.opened_at IS 'Paused since';
COMMENT ON COLUMN lane_break.resumed_at IS 'When it was resumed; NULL: it is paused';
COMMENT ON COLUMN lane_break.resumed_by IS 'By whom, a user of the database';
COMMENT ON COLUMN lane_break.attempted IS 'What had been attempted when it was resumed: it is judged by what came after';
COMMENT ON COLUMN lane_break.sent IS 'Sent by then';
COMMENT ON COLUMN lane_break.hard IS 'Dead addresses by then';
COMMENT ON COLUMN lane_break.complained IS 'Complaints by then';

-- As before, but nothing is said about a handful of mails.
CREATE OR REPLACE FUNCTION breaker_why(st stream, what text, attempted bigint, sent bigint, hard bigint, complained bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT CASE
	WHEN attempted >= st.breaker_least AND at_least_per_cent(hard, attempted) >= st.bounce_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s are dead addresses (line %s %%); see the view bounce_rate',
		    round(per_cent(hard, attempted), 1), attempted, what, st.bounce_line_per_cent)
	WHEN sent >= st.breaker_least AND at_least_per_cent(complained, sent) >= st.complaint_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s complained (line %s %%); see the view bounce_rate',
		    round(per_cent(complained, sent), 2), sent, what, st.complaint_line_per_cent) END
$$;

CREATE OR REPLACE VIEW reputation AS
SELECT w.stream, w.sent, w.hard, per_cent(w.hard, w.attempted) AS bounce_per_cent,
    5 AS bounce_review_per_cent, 10 AS bounce_stop_per_cent, w.complained,
    per_cent(w.complained, w.sent) AS complaint_per_cent,
    0.1 AS complaint_review_per_cent, 0.5 AS complaint_stop_per_cent,
    CASE WHEN w.attempted < w.breaker_least THEN 'fine'
	WHEN at_least_per_cent(w.hard, w.attempted) >= 10 OR at_least_per_cent(w.complained, w.sent) >= 0.5 THEN 'stop'
	WHEN at_least_per_cent(w.hard, w.attempted) >= 5 OR at_least_per_cent(w.complained, w.sent) >= 0.1 THEN 'review'
	ELSE 'fine' END AS judgement,
    w.attempted, at_least_per_cent(w.hard, w.attempted) AS bounce_at_least_per_cent,
    at_least_per_cent(w.complained, w.sent) AS complaint_at_least_per_cent
FROM (SELECT st.name AS stream, st.breaker_least, sum(t.sent + t.failed)::bigint AS attempted, sum(t.sent)::bigint AS sent,
	sum(t.hard)::bigint AS hard, sum(t.complained)::bigint AS complained
	FROM stream st JOIN campaign c ON c.stream_id = st.id JOIN run r ON r.campaign_id = c.id
	JOIN tally t ON t.run_id = r.id
	WHERE t.minute > now() - interval '7 days' GROUP BY st.name, st.breaker_least) AS w
WHERE w.attempted > 0;

CREATE VIEW lane_count AS
SELECT l.run_id, l.lane, l.name, l.recipients, sum(t.attempted)::bigint AS attempted, sum(t.sent)::bigint AS sent,
    sum(t.hard)::bigint AS hard, sum(t.complained)::bigint AS complained
FROM run_lane l JOIN tally_lane t ON t.run_id = l.run_id AND t.lane = l.lane
GROUP BY l.run_id, l.lane;
COMMENT ON VIEW lane_count IS 'What became of the recipients of each lane of a run so far';
COMMENT ON COLUMN lane_count.run_id IS 'Run';
COMMENT ON COLUMN lane_count.lane IS 'Number of the lane';
COMMENT ON COLUMN lane_count.name IS 'Its name';
COMMENT ON COLUMN lane_count.recipients IS 'Recipients planned';
COMMENT ON COLUMN lane_count.attempted IS 'Taken or refused for good by the remote';
COMMENT ON COLUMN lane_count.sent IS 'Taken by the remote';
COMMENT ON COLUMN lane_count.hard IS 'Dead addresses';
COMMENT ON COLUMN lane_count.complained IS 'Complaints';

-- Lanes of a run that go over a line by what came since they were resumed last. Tail lanes hold
-- many sites and are no group; a lane that is the whole run is the business of the run's breaker.
CREATE FUNCTION breaker_open_lanes(the_run int, st stream) RETURNS TABLE (lane text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	l record;
BEGIN
	FOR l IN SELECT n.lane, n.name, breaker_why(st, n.name || ' in this run', n.attempted - coalesce(b.attempted, 0),
		n.sent - coalesce(b.sent, 0), n.hard - coalesce(b.hard, 0), n.complained - coalesce(b.complained, 0)) AS why
	    FROM lane_count n JOIN run r ON r.id = n.run_id
	    LEFT JOIN lane_break b ON b.run_id = n.run_id AND b.lane = n.lane
	    WHERE n.run_id = the_run AND n.name NOT LIKE 'tail-%' AND n.recipients < r.planned
		AND (b.run_id IS NULL OR b.resumed_at IS NOT NULL) LOOP
		CONTINUE WHEN l.why IS NULL;
		INSERT INTO lane_break AS b (run_id, lane, why) VALUES (the_run, l.lane, l.why)
		ON CONFLICT (run_id, lane) DO UPDATE SET why = excluded.why, opened_at = now(), resumed_at = NULL, resumed_by = NULL;
		INSERT INTO audit (action, object, detail) VALUES ('breaker.lane', 'run ' || the_run || ' lane ' || l.name, l.why);
		lane := l.name;
		why := l.why;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION breaker_open_lanes(int, stream) IS 'Pauses lanes of a run whose bounce or complaint rate is certain to be over the line of its stream; returns them with the reason';

-- What claims put off while the lane was paused is due now. Called again for a while after, since
-- a claim under way may not have seen that the lane was resumed.
CREATE FUNCTION lane_release(the_run int, the_lane smallint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	n bigint;
BEGIN
	WITH q AS (SELECT t.send_id FROM retry t WHERE t.run_id = the_run AND t.due_at = 'infinity'),
	u AS (
		UPDATE send s SET not_before = now() FROM q
		WHERE s.run_id = the_run AND s.id = q.send_id AND s.lane = the_lane AND s.state = 'deferred'
		    AND s.not_before = 'infinity'
		RETURNING s.id)
	UPDATE retry t SET due_at = now(), pushed_at = NULL FROM u WHERE t.run_id = the_run AND t.send_id = u.id;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION lane_release(int, smallint) IS 'Makes recipients due whom claims put off while their lane was paused; returns how many';

CREATE FUNCTION lane_resume(the_run int, the_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	number smallint;
BEGIN
	UPDATE lane_break b SET resumed_at = now(), resumed_by = session_user, attempted = n.attempted, sent = n.sent,
	    hard = n.hard, complained = n.complained
	FROM lane_count n WHERE n.run_id = the_run AND n.name = the_name AND b.run_id = the_run AND b.lane = n.lane
	    AND b.resumed_at IS NULL
	RETURNING b.lane INTO number;
	RETURN CASE WHEN number IS NOT NULL THEN lane_release(the_run, number) END;
END
$$;
COMMENT ON FUNCTION lane_resume(int, text) IS 'Goes on with a lane that the breaker has paused; returns how many recipients waited, NULL when it is not paused';

-- Why the breaker of a run opens. What a paused lane did, and one did until it was resumed, is not
-- held against the rest of the run.
CREATE FUNCTION breaker_why_run(the_run int, since timestamptz, st stream) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT breaker_why(st, 'this run', (t.attempted - k.attempted)::bigint, (t.sent - k.sent)::bigint,
	    (t.hard - k.hard)::bigint, (t.complained - k.complained)::bigint)
	-- claimed ones count as tried: a bounce may be heard before its sending is recorded
	FROM (SELECT sum(sent + failed + claimed) AS attempted, sum(sent + claimed) AS sent, sum(hard) AS hard,
		sum(complained) AS complained FROM tally WHERE run_id = the_run AND minute >= coalesce(since, '-infinity')) AS t,
	    (SELECT coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.attempted ELSE b.attempted END), 0) AS attempted,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.sent ELSE b.sent END), 0) AS sent,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.hard ELSE b.hard END), 0) AS hard,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.complained ELSE b.complained END), 0) AS complained
		FROM lane_break b JOIN lane_count n ON n.run_id = b.run_id AND n.lane = b.lane WHERE b.run_id = the_run) AS k
$$;
COMMENT ON FUNCTION breaker_why_run(int, timestamptz, stream) IS 'Why the counts of a run since then, without its paused lanes, open the breaker; empty when they do not';

-- As before, lanes first: when it is one lane that brings the run over a line, that lane is paused,
-- by a fifth of the mails that it takes otherwise.
DROP FUNCTION breaker_check();
CREATE FUNCTION breaker_check() RETURNS TABLE (run_id int, lane text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r record;
	st stream;
BEGIN
	PERFORM lane_release(b.run_id, b.lane) FROM lane_break b WHERE b.resumed_at > now() - interval '10 s';
	FOR r IN SELECT run.id, run.breaker_from, c.stream_id FROM run JOIN campaign c ON c.id = run.campaign_id
	    JOIN stream s ON s.id = c.stream_id
	    WHERE run.state = 'running' AND s.breaker <> 'off'
	    -- what is sent is sent: only while there is something to hold back
	    AND run.planned > (SELECT coalesce(sum(t.sent + t.failed + t.in_doubt + t.skipped + t.cancelled + t.expired), 0)
		FROM tally t WHERE t.run_id = run.id) LOOP
		SELECT s.* INTO st FROM stream s WHERE s.id = r.stream_id;
		RETURN QUERY SELECT r.id, o.lane, o.why FROM breaker_open_lanes(r.id, st) o;
		why := breaker_why_run(r.id, r.breaker_from, st);
		IF why IS NOT NULL THEN
			st.breaker_least := greatest(1, st.breaker_least / 5);
			RETURN QUERY SELECT r.id, o.lane, o.why FROM breaker_open_lanes(r.id, st) o;
			SELECT s.breaker_least INTO st.breaker_least FROM stream s WHERE s.id = r.stream_id;
			why := breaker_why_run(r.id, r.breaker_from, st);
		END IF;
		IF why IS NULL AND st.breaker = 'stream' AND r.breaker_from IS NULL THEN
			SELECT breaker_why(st, 'the stream in 7 days', p.attempted, p.sent, p.hard, p.complained)
			INTO why FROM reputation p WHERE p.stream = st.name;
		END IF;
		CONTINUE WHEN why IS NULL OR NOT run_move(r.id, ARRAY['running']::run_state[], 'paused', why);
		UPDATE run SET breaker_from = date_trunc('minute', now()) + interval '1 minute' WHERE run.id = r.id;
		run_id := r.id;
		lane := NULL;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION breaker_check() IS 'Pauses lanes of running runs, and runs, whose bounce or complaint rate is certain to be over the line of their stream; returns them with the reason';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION breaker_check(), breaker_why_run(int, timestamptz, stream), breaker_open_lanes(int, stream),
    lane_release(int, smallint), lane_resume(int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION breaker_check() TO kairan_producer;
GRANT EXECUTE ON FUNCTION lane_resume(int, text) TO kairan_operator;
GRANT INSERT, SELECT, UPDATE ON tally_lane TO kairan_dispatcher;
GRANT SELECT ON lane_break TO kairan_dispatcher;
GRANT SELECT ON tally_lane, lane_count, lane_break TO kairan_operator, kairan_monitor;
