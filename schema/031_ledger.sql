-- SPDX-License-Identifier: Apache-2.0
-- Rates and a breaker by origin: where customers come from. The breaker of a resumed run answers for what came after, lanes
-- included; what SES rejected proves nothing.

-- ---------------------------------------------------------------- where customers come from

ALTER TABLE campaign ADD origin_field text NOT NULL DEFAULT '';
COMMENT ON COLUMN campaign.origin_field IS 'Column or attribute of the customer that says where he comes from (form, import, partner); runs are counted and judged by it. Empty: not at all';

-- Empty in runs without origins: it takes no room there. Never changed after planning.
ALTER TABLE send ADD origin smallint;
COMMENT ON COLUMN send.origin IS 'Where the customer comes from, a number in run_origin; empty: the run does not ask';

CREATE TABLE run_origin (
	run_id int NOT NULL,
	origin smallint NOT NULL CHECK (origin > 0),
	name text NOT NULL,
	recipients bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, origin)
);
COMMENT ON TABLE run_origin IS 'Origins of the recipients of a run, at most 202: values of campaign.origin_field, none, other';
COMMENT ON COLUMN run_origin.run_id IS 'Run';
COMMENT ON COLUMN run_origin.origin IS 'Number, from 1';
COMMENT ON COLUMN run_origin.name IS 'Value; none: the customer has none; other: values that are too many, too long or look like an address';
COMMENT ON COLUMN run_origin.recipients IS 'Recipients planned';

CREATE TABLE tally_origin (
	run_id int NOT NULL,
	hour timestamptz NOT NULL,
	origin smallint NOT NULL,
	owner int NOT NULL,
	attempted bigint NOT NULL DEFAULT 0,
	sent bigint NOT NULL DEFAULT 0,
	delivered bigint NOT NULL DEFAULT 0,
	hard bigint NOT NULL DEFAULT 0,
	soft bigint NOT NULL DEFAULT 0,
	block bigint NOT NULL DEFAULT 0,
	other bigint NOT NULL DEFAULT 0,
	complained bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, hour, origin, owner)
) WITH (fillfactor = 50);
CREATE INDEX tally_origin_hour ON tally_origin USING brin (hour);
COMMENT ON TABLE tally_origin IS 'Outcomes by origin and hour in which they were heard, written with them; what origin_rate shows';
COMMENT ON COLUMN tally_origin.run_id IS 'Run';
COMMENT ON COLUMN tally_origin.hour IS 'Hour in which it was recorded';
COMMENT ON COLUMN tally_origin.origin IS 'Number in run_origin';
COMMENT ON COLUMN tally_origin.owner IS 'dispatcher.id; 0: commands; -1: feedback';
COMMENT ON COLUMN tally_origin.attempted IS 'Taken or refused for good by the remote';
COMMENT ON COLUMN tally_origin.sent IS 'Taken by the remote';
COMMENT ON COLUMN tally_origin.delivered IS 'With evidence of delivery';
COMMENT ON COLUMN tally_origin.hard IS 'Dead addresses: refused in the session or bounced later';
COMMENT ON COLUMN tally_origin.soft IS 'Failures of the mailbox that may pass';
COMMENT ON COLUMN tally_origin.block IS 'Failures that are about us: reputation, policy, content';
COMMENT ON COLUMN tally_origin.other IS 'Failures of other classes';
COMMENT ON COLUMN tally_origin.complained IS 'Complaints';

CREATE TABLE origin_break (
	run_id int NOT NULL,
	origin smallint NOT NULL,
	why text NOT NULL,
	opened_at timestamptz NOT NULL DEFAULT now(),
	resumed_at timestamptz,
	resumed_by text,
	attempted bigint NOT NULL DEFAULT 0,
	sent bigint NOT NULL DEFAULT 0,
	hard bigint NOT NULL DEFAULT 0,
	complained bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, origin)
);
COMMENT ON TABLE origin_break IS 'Origins of runs that the breaker has paused, as lane_break for lanes';
COMMENT ON COLUMN origin_break.run_id IS 'Run';
COMMENT ON COLUMN origin_break.origin IS 'Number in run_origin';
COMMENT ON COLUMN origin_break.why IS 'The rate and the line it is over';
COMMENT ON COLUMN origin_break.opened_at IS 'Paused since';
COMMENT ON COLUMN origin_break.resumed_at IS 'When it was resumed; empty: it is paused';
COMMENT ON COLUMN origin_break.resumed_by IS 'By whom, a user of the database';
COMMENT ON COLUMN origin_break.attempted IS 'What had been attempted when it was resumed: it is judged by what came after';
COMMENT ON COLUMN origin_break.sent IS 'Sent by then';
COMMENT ON COLUMN origin_break.hard IS 'Dead addresses by then';
COMMENT ON COLUMN origin_break.complained IS 'Complaints by then';

CREATE TABLE origin_base (
	run_id int NOT NULL,
	origin smallint NOT NULL,
	attempted bigint NOT NULL,
	sent bigint NOT NULL,
	hard bigint NOT NULL,
	complained bigint NOT NULL,
	PRIMARY KEY (run_id, origin)
);
COMMENT ON TABLE origin_base IS 'What origins had done when the breaker paused their run last, as lane_base for lanes';
COMMENT ON COLUMN origin_base.run_id IS 'Run';
COMMENT ON COLUMN origin_base.origin IS 'Number in run_origin';
COMMENT ON COLUMN origin_base.attempted IS 'Attempted by then';
COMMENT ON COLUMN origin_base.sent IS 'Sent by then';
COMMENT ON COLUMN origin_base.hard IS 'Dead addresses of mail that was claimed by then, heard at any time';
COMMENT ON COLUMN origin_base.complained IS 'Complaints about such mail';

CREATE VIEW origin_count AS
SELECT o.run_id, o.origin, o.name, o.recipients, sum(t.attempted)::bigint AS attempted, sum(t.sent)::bigint AS sent,
    sum(t.hard)::bigint AS hard, sum(t.complained)::bigint AS complained
FROM run_origin o JOIN tally_origin t ON t.run_id = o.run_id AND t.origin = o.origin
GROUP BY o.run_id, o.origin;
COMMENT ON VIEW origin_count IS 'What became of the recipients of each origin of a run so far';
COMMENT ON COLUMN origin_count.run_id IS 'Run';
COMMENT ON COLUMN origin_count.origin IS 'Number of the origin';
COMMENT ON COLUMN origin_count.name IS 'Its name';
COMMENT ON COLUMN origin_count.recipients IS 'Recipients planned';
COMMENT ON COLUMN origin_count.attempted IS 'Taken or refused for good by the remote';
COMMENT ON COLUMN origin_count.sent IS 'Taken by the remote';
COMMENT ON COLUMN origin_count.hard IS 'Dead addresses';
COMMENT ON COLUMN origin_count.complained IS 'Complaints';

CREATE VIEW origin_rate AS
SELECT c.name AS campaign, r.run_key, st.name AS stream, o.name AS origin, t.hour,
    sum(t.attempted)::bigint AS attempted, sum(t.sent)::bigint AS sent, sum(t.delivered)::bigint AS delivered,
    sum(t.hard)::bigint AS hard, sum(t.soft + t.block + t.other)::bigint AS other_failures,
    sum(t.complained)::bigint AS complained, per_cent(sum(t.hard)::bigint, sum(t.attempted)::bigint) AS hard_per_cent,
    per_cent(sum(t.complained)::bigint, sum(t.sent)::bigint) AS complained_per_cent,
    sum(t.soft)::bigint AS soft, sum(t.block)::bigint AS block
FROM tally_origin t JOIN run r ON r.id = t.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id JOIN run_origin o ON o.run_id = t.run_id AND o.origin = t.origin
GROUP BY r.id, t.hour, t.origin, c.id, st.id, o.name;
COMMENT ON VIEW origin_rate IS 'Sent, bounced and complained by campaign, run, stream, origin of the customers (campaign.origin_field) and hour; sum what you do not need apart';
COMMENT ON COLUMN origin_rate.campaign IS 'Name of the campaign';
COMMENT ON COLUMN origin_rate.run_key IS 'Key of the run';
COMMENT ON COLUMN origin_rate.stream IS 'Stream';
COMMENT ON COLUMN origin_rate.origin IS 'Where the customers come from';
COMMENT ON COLUMN origin_rate.hour IS 'Hour in which it was heard';
COMMENT ON COLUMN origin_rate.attempted IS 'Taken or refused for good by the remote';
COMMENT ON COLUMN origin_rate.sent IS 'Taken by the remote';
COMMENT ON COLUMN origin_rate.delivered IS 'With evidence of delivery';
COMMENT ON COLUMN origin_rate.hard IS 'Dead addresses';
COMMENT ON COLUMN origin_rate.other_failures IS 'Other failures and bounces';
COMMENT ON COLUMN origin_rate.complained IS 'Complaints';
COMMENT ON COLUMN origin_rate.hard_per_cent IS 'Dead addresses of attempted';
COMMENT ON COLUMN origin_rate.complained_per_cent IS 'Complaints of sent';
COMMENT ON COLUMN origin_rate.soft IS 'Of other_failures: mailboxes, may pass';
COMMENT ON COLUMN origin_rate.block IS 'Of other_failures: about us (reputation, policy, content)';

CREATE VIEW origin_reputation AS
SELECT w.stream, w.origin, w.attempted, w.sent, w.hard, per_cent(w.hard, w.attempted) AS bounce_per_cent,
    at_least_per_cent(w.hard, w.attempted) AS bounce_at_least_per_cent, w.complained,
    per_cent(w.complained, w.sent) AS complaint_per_cent,
    at_least_per_cent(w.complained, w.sent) AS complaint_at_least_per_cent,
    CASE WHEN w.attempted < w.breaker_least THEN 'fine'
	WHEN at_least_per_cent(w.hard, w.attempted) >= 10 OR at_least_per_cent(w.complained, w.sent) >= 0.5 THEN 'stop'
	WHEN at_least_per_cent(w.hard, w.attempted) >= 5 OR at_least_per_cent(w.complained, w.sent) >= 0.1 THEN 'review'
	ELSE 'fine' END AS judgement
FROM (SELECT st.name AS stream, st.breaker_least, o.name AS origin, sum(t.attempted)::bigint AS attempted, sum(t.sent)::bigint AS sent,
	sum(t.hard)::bigint AS hard, sum(t.complained)::bigint AS complained
	FROM tally_origin t JOIN run r ON r.id = t.run_id JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
	JOIN run_origin o ON o.run_id = t.run_id AND o.origin = t.origin
	WHERE t.hour > now() - interval '7 days' GROUP BY st.id, o.name) AS w
WHERE w.attempted > 0;
COMMENT ON VIEW origin_reputation IS 'Bounce and complaint rates of the last 7 days by stream and origin of the customers, judged as reputation judges a stream; ORDER BY bounce_at_least_per_cent DESC shows the worst';
COMMENT ON COLUMN origin_reputation.stream IS 'Stream';
COMMENT ON COLUMN origin_reputation.origin IS 'Where the customers come from';
COMMENT ON COLUMN origin_reputation.attempted IS 'Taken or refused for good';
COMMENT ON COLUMN origin_reputation.sent IS 'Taken by the remote';
COMMENT ON COLUMN origin_reputation.hard IS 'Dead addresses';
COMMENT ON COLUMN origin_reputation.bounce_per_cent IS 'Dead addresses of attempted';
COMMENT ON COLUMN origin_reputation.bounce_at_least_per_cent IS 'Bounce rate that is certain to 99 %';
COMMENT ON COLUMN origin_reputation.complained IS 'Complaints';
COMMENT ON COLUMN origin_reputation.complaint_per_cent IS 'Complaints of sent';
COMMENT ON COLUMN origin_reputation.complaint_at_least_per_cent IS 'Complaint rate that is certain to 99 %';
COMMENT ON COLUMN origin_reputation.judgement IS 'fine, review or stop, by the lines of Amazon SES';

-- ---- planning

-- In the transaction that reads the customers; only of a run with origins.
CREATE FUNCTION origin_begin(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	EXECUTE format('ALTER TABLE candidate_%s ADD origin smallint', the_run);
END
$$;
COMMENT ON FUNCTION origin_begin(int, bigint) IS 'Makes room for the origins of a run in its working table';

CREATE FUNCTION origin_plan(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	IF EXISTS (SELECT FROM run_origin WHERE run_id = the_run) THEN
		EXECUTE format('UPDATE run_origin o SET recipients = n.n FROM (SELECT origin, count(*) AS n FROM send_%1$s GROUP BY origin) AS n
			WHERE o.run_id = %1$s AND o.origin = n.origin', the_run);
	END IF;
END
$$;
COMMENT ON FUNCTION origin_plan(int, bigint) IS 'Counts the planned recipients of each origin of a run';

-- Rows of a run that is being planned now have no such column: its planning begins anew.
UPDATE run SET staged = 0 WHERE state = 'planning';

-- ---- the breaker

CREATE FUNCTION breaker_open_origins(the_run int, st stream) RETURNS TABLE (origin text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	o record;
BEGIN
	FOR o IN SELECT n.origin, n.name, breaker_why(st, 'origin ' || n.name || ' in this run', n.attempted - coalesce(b.attempted, 0),
		n.sent - coalesce(b.sent, 0), n.hard - coalesce(b.hard, 0), n.complained - coalesce(b.complained, 0)) AS why
	    FROM origin_count n JOIN run r ON r.id = n.run_id
	    LEFT JOIN origin_break b ON b.run_id = n.run_id AND b.origin = n.origin
	    WHERE n.run_id = the_run AND n.recipients < r.planned AND (b.run_id IS NULL OR b.resumed_at IS NOT NULL) LOOP
		CONTINUE WHEN o.why IS NULL;
		INSERT INTO origin_break AS b (run_id, origin, why) VALUES (the_run, o.origin, replace(o.why, 'bounce_rate', 'origin_rate'))
		ON CONFLICT (run_id, origin) DO UPDATE SET why = excluded.why, opened_at = now(), resumed_at = NULL, resumed_by = NULL;
		INSERT INTO audit (action, object, detail) VALUES ('breaker.origin', 'run ' || the_run || ' origin ' || o.name, o.why);
		origin := o.name;
		why := o.why;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION breaker_open_origins(int, stream) IS 'Pauses origins of a run whose bounce or complaint rate is certain to be over the line of its stream; returns them with the reason';

CREATE FUNCTION origin_release(the_run int, the_origin smallint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	n bigint;
BEGIN
	WITH q AS (SELECT t.send_id FROM retry t WHERE t.run_id = the_run AND t.due_at = 'infinity'),
	u AS (
		UPDATE send s SET not_before = now() FROM q
		WHERE s.run_id = the_run AND s.id = q.send_id AND s.origin = the_origin AND s.state = 'deferred'
		    AND s.not_before = 'infinity'
		RETURNING s.id)
	UPDATE retry t SET due_at = now(), pushed_at = NULL FROM u WHERE t.run_id = the_run AND t.send_id = u.id;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION origin_release(int, smallint) IS 'Makes recipients due whom claims put off while their origin was paused; returns how many';

CREATE FUNCTION origin_resume(the_run int, the_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	number smallint;
BEGIN
	UPDATE origin_break b SET resumed_at = now(), resumed_by = session_user, attempted = n.attempted, sent = n.sent,
	    hard = n.hard, complained = n.complained
	FROM origin_count n WHERE n.run_id = the_run AND n.name = the_name AND b.run_id = the_run AND b.origin = n.origin
	    AND b.resumed_at IS NULL
	RETURNING b.origin INTO number;
	RETURN CASE WHEN number IS NOT NULL THEN origin_release(the_run, number) END;
END
$$;
COMMENT ON FUNCTION origin_resume(int, text) IS 'Goes on with an origin that the breaker has paused; returns how many recipients waited, NULL when it is not paused';

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
	INSERT INTO origin_base AS o (run_id, origin, attempted, sent, hard, complained)
	SELECT n.run_id, n.origin, n.attempted, n.sent, n.hard, n.complained FROM origin_count n WHERE n.run_id = NEW.id
	ON CONFLICT (run_id, origin) DO UPDATE SET attempted = excluded.attempted, sent = excluded.sent, hard = excluded.hard,
	    complained = excluded.complained;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION lane_base_note() IS 'Keeps lane_base and origin_base when the breaker or a canary pauses a run';
CREATE TRIGGER lane_base AFTER UPDATE OF breaker_from ON run FOR EACH ROW
    WHEN (NEW.breaker_from IS NOT NULL AND NEW.breaker_from IS DISTINCT FROM OLD.breaker_from) EXECUTE FUNCTION lane_base_note();
INSERT INTO lane_base (run_id, lane, attempted, sent, hard, complained)
SELECT n.run_id, n.lane, n.attempted, n.sent, n.hard, n.complained FROM lane_count n JOIN run r ON r.id = n.run_id
WHERE r.breaker_from IS NOT NULL AND r.state IN ('running', 'paused');

-- As before, for lane_base and origins, too.
CREATE OR REPLACE FUNCTION tally_before(the_run int, since timestamptz, changed send_change[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	WITH c AS (
		SELECT s.lane, s.origin, s.claimed_at, coalesce((c.class = 'hard')::int, 0) - coalesce((c.before = 'hard')::int, 0) AS hard, c.complained
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
		WHERE b.run_id = the_run AND b.lane = o.lane),
	m AS (
		UPDATE origin_break b SET hard = b.hard + o.hard, complained = b.complained + o.complained
		FROM (SELECT c.origin, sum(c.hard) AS hard, sum(c.complained) AS complained FROM c
			JOIN origin_break k ON k.run_id = the_run AND k.origin = c.origin AND c.claimed_at < k.resumed_at GROUP BY c.origin) AS o
		WHERE b.run_id = the_run AND b.origin = o.origin),
	n AS (
		UPDATE origin_base b SET hard = b.hard + o.hard, complained = b.complained + o.complained
		FROM (SELECT c.origin, sum(c.hard) AS hard, sum(c.complained) AS complained FROM c WHERE c.claimed_at < since GROUP BY c.origin) AS o
		WHERE b.run_id = the_run AND b.origin = o.origin)
	INSERT INTO tally AS t (run_id, owner, minute, hard_before, complained_before)
	SELECT the_run, -1, date_trunc('minute', now()), sum(hard), sum(complained) FROM c WHERE claimed_at < since HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET hard_before = t.hard_before + excluded.hard_before,
	    complained_before = t.complained_before + excluded.complained_before;
END
$$;

-- What is left out of the rates of a run: what its paused lanes and origins did in the time that is looked at, and resumed
-- ones until then. A recipient is in a lane and in an origin: where both are left out, it is the larger count of the two,
-- since nobody counts those that are in both.
CREATE FUNCTION breaker_left_out(the_run int, since timestamptz, OUT attempted numeric, OUT sent numeric, OUT hard numeric, OUT complained numeric)
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	WITH p AS (
		SELECT 'lane' AS what, b.resumed_at IS NULL AS paused, n.attempted, n.sent, n.hard, n.complained,
		    b.attempted AS b_attempted, b.sent AS b_sent, b.hard AS b_hard, b.complained AS b_complained,
		    o.attempted AS o_attempted, o.sent AS o_sent, o.hard AS o_hard, o.complained AS o_complained
		FROM lane_break b JOIN lane_count n ON n.run_id = b.run_id AND n.lane = b.lane
		LEFT JOIN lane_base o ON since IS NOT NULL AND o.run_id = b.run_id AND o.lane = b.lane WHERE b.run_id = the_run
		UNION ALL
		SELECT 'origin', b.resumed_at IS NULL, n.attempted, n.sent, n.hard, n.complained,
		    b.attempted, b.sent, b.hard, b.complained, o.attempted, o.sent, o.hard, o.complained
		FROM origin_break b JOIN origin_count n ON n.run_id = b.run_id AND n.origin = b.origin
		LEFT JOIN origin_base o ON since IS NOT NULL AND o.run_id = b.run_id AND o.origin = b.origin WHERE b.run_id = the_run),
	w AS (
		SELECT sum(greatest(CASE WHEN paused THEN attempted ELSE b_attempted END - coalesce(o_attempted, 0), 0)) AS attempted,
		    sum(greatest(CASE WHEN paused THEN sent ELSE b_sent END - coalesce(o_sent, 0), 0)) AS sent,
		    sum(greatest(CASE WHEN paused THEN hard ELSE b_hard END - coalesce(o_hard, 0), 0)) AS hard,
		    sum(greatest(CASE WHEN paused THEN complained ELSE b_complained END - coalesce(o_complained, 0), 0)) AS complained
		FROM p GROUP BY what)
	SELECT coalesce(max(attempted), 0), coalesce(max(sent), 0), coalesce(max(hard), 0), coalesce(max(complained), 0) FROM w
$$;
COMMENT ON FUNCTION breaker_left_out(int, timestamptz) IS 'What lanes and origins of a run did since then that the breaker does not hold against the run';

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
	    breaker_left_out(the_run, since) AS k
$$;

-- As before, with origins: one that is bad is over its line long before the lanes that it is spread over.
DROP FUNCTION breaker_check();
CREATE FUNCTION breaker_check() RETURNS TABLE (run_id int, lane text, origin text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r record;
	st stream;
BEGIN
	PERFORM lane_release(b.run_id, b.lane) FROM lane_break b WHERE b.resumed_at > now() - interval '10 s';
	PERFORM origin_release(b.run_id, b.origin) FROM origin_break b WHERE b.resumed_at > now() - interval '10 s';
	FOR r IN SELECT run.id, run.breaker_from, c.stream_id FROM run JOIN campaign c ON c.id = run.campaign_id
	    JOIN stream s ON s.id = c.stream_id
	    WHERE run.state = 'running' AND s.breaker <> 'off'
	    -- what is sent is sent: only while there is something to hold back
	    AND run.planned > (SELECT t.sent + t.failed + t.in_doubt + t.skipped + t.cancelled + t.expired
		FROM run_total t WHERE t.run_id = run.id) LOOP
		SELECT s.* INTO st FROM stream s WHERE s.id = r.stream_id;
		RETURN QUERY SELECT r.id, NULL::text, o.origin, o.why FROM breaker_open_origins(r.id, st) o;
		RETURN QUERY SELECT r.id, o.lane, NULL::text, o.why FROM breaker_open_lanes(r.id, st) o;
		why := breaker_why_run(r.id, r.breaker_from, st);
		IF why IS NOT NULL THEN
			st.breaker_least := greatest(1, st.breaker_least / 5);
			RETURN QUERY SELECT r.id, NULL::text, o.origin, o.why FROM breaker_open_origins(r.id, st) o;
			RETURN QUERY SELECT r.id, o.lane, NULL::text, o.why FROM breaker_open_lanes(r.id, st) o;
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
		origin := NULL;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION breaker_check() IS 'Pauses origins and lanes of running runs, and runs, whose bounce or complaint rate is certain to be over the line of their stream; returns them with the reason';

-- As before, without paused origins.
CREATE OR REPLACE FUNCTION canary_count(the_run int, recipients int, OUT tried bigint, OUT sent bigint, OUT hard bigint,
    OUT complained bigint, OUT not_taken bigint)
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT count(*), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE dead),
	    count(complained_at), count(*) FILTER (WHERE NOT dead AND (state <> 'sent' OR bounced_at IS NOT NULL))
	FROM (SELECT s.state, s.bounced_at, s.complained_at,
		coalesce(s.class = 'hard' AND (s.bounced_at IS NOT NULL OR s.state = 'failed'), false) AS dead
		FROM send s
		WHERE s.run_id = the_run AND s.id <= recipients AND s.state IN ('sending', 'sent', 'deferred', 'failed', 'in_doubt')
		    AND NOT EXISTS (SELECT FROM lane_break b WHERE b.run_id = the_run AND b.lane = s.lane AND b.resumed_at IS NULL)
		    AND NOT EXISTS (SELECT FROM origin_break b WHERE b.run_id = the_run AND b.origin = s.origin AND b.resumed_at IS NULL)) AS t
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
		SELECT s.id, s.attempt, s.address_key, s.origin FROM send s JOIN q ON q.send_id = s.id
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
	g AS (INSERT INTO tally_origin AS t (run_id, owner, hour, origin, attempted, sent)
		SELECT the_run, 0, date_trunc('hour', now()), origin, count(*), count(*)
		FROM d WHERE goal = 'sent' AND origin IS NOT NULL GROUP BY 4 ORDER BY 4
		ON CONFLICT (run_id, hour, origin, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
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

-- ---------------------------------------------------------------- counts by origin

-- For runs with origins alone: the rows are at hand, since ingest_rows() has just changed them.
CREATE FUNCTION tally_origin_add(the_run int, changed send_change[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	INSERT INTO tally_origin AS t (run_id, owner, hour, origin, attempted, sent, delivered, hard, soft, block, other, complained)
	SELECT the_run, -1, date_trunc('hour', now()), s.origin,
	    sum((c.became IN ('sent', 'failed'))::int - (c.was IN ('sent', 'failed'))::int),
	    sum((c.became = 'sent')::int - (c.was = 'sent')::int), sum(c.delivered),
	    count(*) FILTER (WHERE c.class = 'hard') - count(*) FILTER (WHERE c.before = 'hard'),
	    count(*) FILTER (WHERE c.class = 'soft') - count(*) FILTER (WHERE c.before = 'soft'),
	    count(*) FILTER (WHERE c.class = 'block') - count(*) FILTER (WHERE c.before = 'block'),
	    count(*) FILTER (WHERE c.class NOT IN ('hard', 'soft', 'block'))
		- count(*) FILTER (WHERE c.before NOT IN ('hard', 'soft', 'block')), sum(c.complained)
	FROM unnest(changed) c JOIN send s ON s.run_id = the_run AND s.id = c.id
	WHERE s.origin IS NOT NULL GROUP BY s.origin ORDER BY s.origin
	ON CONFLICT (run_id, hour, origin, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
	    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
	    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
	    other = t.other + excluded.other, complained = t.complained + excluded.complained;
END
$$;
COMMENT ON FUNCTION tally_origin_add(int, send_change[]) IS 'Counts what was heard in a run by origin';

-- As before; counts by origin, too.
CREATE OR REPLACE FUNCTION ingest_run(the_run int, fresh feedback_event[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = auto
AS $$
DECLARE
	list_scope text;
	this_campaign int;
	st stream;
	other_address boolean;
	has_soft boolean;
	delivered_keys text[];
	delivered_ids int[];
	missing bigint[];
	changed send_change[];
	erased int[];
	since timestamptz;
	judged boolean;
	has_origins boolean;
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN (SELECT array_agg(e.id) FROM unnest(fresh) e WHERE e.run_id = the_run AND e.send_id IS NOT NULL);
	END IF;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id, r.breaker_from,
	    r.breaker_from IS NOT NULL OR EXISTS (SELECT FROM lane_break b WHERE b.run_id = the_run)
		OR EXISTS (SELECT FROM origin_break b WHERE b.run_id = the_run),
	    EXISTS (SELECT FROM run_origin o WHERE o.run_id = the_run)
	INTO list_scope, this_campaign, since, judged, has_origins
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id WHERE r.id = the_run;

	changed := ingest_rows(the_run, fresh);
	IF (SELECT bool_or(c.again) FROM unnest(changed) c) THEN
		changed := ingest_again(the_run, changed);
	END IF;

	WITH e AS (
		SELECT f.id, f.send_id, f.source, f.kind, f.address_key, f.class, f.reason, f.enhanced, f.reply, event_at(f) AS at
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	u AS (SELECT *, split_part(address_key, '@', 2) AS domain FROM unnest(changed)),
	d AS (
		INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent, delivered, hard, soft,
		    block, other, complained)
		SELECT the_run, -1, date_trunc('hour', now()), domain,
		    sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int), sum(delivered),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'),
		    count(*) FILTER (WHERE class = 'soft') - count(*) FILTER (WHERE before = 'soft'),
		    count(*) FILTER (WHERE class = 'block') - count(*) FILTER (WHERE before = 'block'),
		    count(*) FILTER (WHERE class NOT IN ('hard', 'soft', 'block'))
			- count(*) FILTER (WHERE before NOT IN ('hard', 'soft', 'block')), sum(complained)
		FROM u GROUP BY domain ORDER BY domain
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
		    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
		    other = t.other + excluded.other, complained = t.complained + excluded.complained),
	l AS (
		INSERT INTO tally_lane AS t (run_id, lane, owner, attempted, sent, hard, complained)
		SELECT the_run, lane, -1, sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'), sum(complained)
		FROM u WHERE lane > 0 AND (class IS DISTINCT FROM before OR complained > 0 OR became <> was) GROUP BY lane ORDER BY lane
		ON CONFLICT (run_id, lane, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained),
	m AS (
		INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, hard, complained, unsubscribed, opened,
		    clicked, sent, failed, in_doubt)
		SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'), sum(complained),
		    sum(unsubscribed), sum(opened), sum(clicked),
		    sum((became = 'sent')::int - (was = 'sent')::int),
		    sum((became = 'failed')::int - (was = 'failed')::int),
		    sum((became = 'in_doubt')::int - (was = 'in_doubt')::int)
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
		FROM e JOIN u o ON o.id = e.send_id
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
		    AND (e.kind = 'bounced' OR NOT consent_since(o.address_key, e.at))
		    AND o.domain <> ''
		ORDER BY o.address_key, t.scope, t.reason, e.id
		ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL,
		    rest_until = NULL, probation = false
		WHERE suppression.expires_at IS NOT NULL)
	SELECT coalesce(bool_or(e.address_key IS DISTINCT FROM o.address_key) FILTER (WHERE o.id IS NOT NULL), false),
	    coalesce(bool_or(e.kind = 'bounced' AND e.class = 'soft' AND o.id IS NOT NULL), false),
	    array_agg(o.address_key) FILTER (WHERE e.kind = 'delivered' AND o.class IS NULL AND o.id IS NOT NULL),
	    array_agg(o.id) FILTER (WHERE e.kind = 'delivered' AND o.class IS NULL AND o.id IS NOT NULL),
	    array_agg(e.id) FILTER (WHERE o.id IS NULL)
	INTO other_address, has_soft, delivered_keys, delivered_ids, missing
	FROM e LEFT JOIN u o ON o.id = e.send_id;

	IF has_origins THEN
		PERFORM tally_origin_add(the_run, changed);
	END IF;
	IF judged THEN
		PERFORM tally_before(the_run, since, changed);
	END IF;
	IF other_address THEN -- the row knows the address, whatever the report said or left out
		UPDATE feedback_event f SET address_key = s.address_key
		FROM unnest(fresh) e JOIN unnest(changed) s ON s.id = e.send_id
		WHERE e.run_id = the_run AND f.month = e.month AND f.semantic_key = e.semantic_key
		    AND f.address_key IS DISTINCT FROM s.address_key;
		erased := ARRAY(SELECT c.id FROM unnest(changed) c WHERE c.address_key LIKE 'erased-%');
		IF erased <> '{}' THEN
			PERFORM send_erase(the_run, erased, NULL);
		END IF;
	END IF;
	IF delivered_keys IS NOT NULL THEN
		WITH d AS (DELETE FROM suppression p WHERE p.probation AND p.address_key = ANY (delivered_keys) RETURNING p.address_key, p.rests)
		INSERT INTO probation_lifted (address_key, run_id, send_id, rests)
		SELECT d.address_key, the_run, k.id, d.rests FROM d JOIN unnest(delivered_keys, delivered_ids) AS k(key, id) ON k.key = d.address_key
		ON CONFLICT DO NOTHING;
		IF FOUND THEN
			DELETE FROM probation_lifted l WHERE l.lifted_at < now() - interval '14 days';
		END IF;
	END IF;
	IF has_soft THEN
		SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;
		PERFORM ingest_soft(the_run, fresh, changed, st);
	END IF;
	RETURN missing;
END
$$;

-- As before; counts by origin, too.
CREATE OR REPLACE FUNCTION dispatcher_bury(dead int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	r record;
	c record;
	ids int[];
	total bigint := 0;
BEGIN
	UPDATE dispatcher SET fenced_at = coalesce(fenced_at, now()) WHERE id = dead AND stopped_at IS NULL;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT t.run_id, sum(t.claimed)::bigint AS want FROM tally t WHERE t.owner = dead
	    GROUP BY t.run_id HAVING sum(t.claimed) > 0 ORDER BY 1 LOOP
		SELECT array_agg(h.id) INTO ids FROM send_held(r.run_id, dead, r.want, false) h;
		WITH u AS (
			UPDATE send s SET settled_at = now(), not_before = NULL,
			    state = CASE WHEN s.rejected_attempt = s.attempt THEN 'failed'
				WHEN s.accepted_attempt = s.attempt THEN 'sent' ELSE 'in_doubt' END::send_state,
			    reason = CASE WHEN s.rejected_attempt = s.attempt OR s.accepted_attempt = s.attempt THEN s.reason
				ELSE 'owner_lost' END
			WHERE s.run_id = r.run_id AND s.id = ANY (ids) AND s.owner = dead AND s.state = 'sending'
			RETURNING s.state, s.origin, split_part(s.address_key, '@', 2) AS domain),
		d AS (
			INSERT INTO tally_domain AS t (run_id, hour, domain, owner, attempted, sent, other)
			SELECT r.run_id, date_trunc('hour', now()), domain, dead, count(*), count(*) FILTER (WHERE state = 'sent'),
			    count(*) FILTER (WHERE state = 'failed')
			FROM u WHERE state IN ('sent', 'failed') GROUP BY domain
			ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
			    sent = t.sent + excluded.sent, other = t.other + excluded.other),
		g AS (
			INSERT INTO tally_origin AS t (run_id, hour, origin, owner, attempted, sent, other)
			SELECT r.run_id, date_trunc('hour', now()), origin, dead, count(*), count(*) FILTER (WHERE state = 'sent'),
			    count(*) FILTER (WHERE state = 'failed')
			FROM u WHERE state IN ('sent', 'failed') AND origin IS NOT NULL GROUP BY origin
			ON CONFLICT (run_id, hour, origin, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
			    sent = t.sent + excluded.sent, other = t.other + excluded.other)
		SELECT count(*) AS n, count(*) FILTER (WHERE state = 'sent') AS sent,
		    count(*) FILTER (WHERE state = 'failed') AS failed INTO c FROM u;
		IF c.n > 0 THEN
			PERFORM tally_add(r.run_id, dead, d_claimed => - c.n, d_sent => c.sent, d_failed => c.failed,
			    d_in_doubt => c.n - c.sent - c.failed);
		END IF;
		total := total + c.n;
	END LOOP;
	UPDATE dispatcher SET stopped_at = now() WHERE id = dead;
	RETURN total;
END
$$;

-- As before; says where the customer comes from, and why a lane or origin waits.
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
		SELECT s.planned_at, 'planned', s.campaign, s.run_key, 'recipient ' || s.id || ', customer ' || s.recipient_id ||
		    coalesce(', origin ' || o.name, '') ||
		    CASE WHEN s.id <= n.recipients THEN ', of the canary' ELSE '' END
		FROM s LEFT JOIN canary n ON n.run_id = s.run_id LEFT JOIN run_origin o ON o.run_id = s.run_id AND o.origin = s.origin
		UNION ALL
		SELECT coalesce(s.settled_at, s.claimed_at, now()), s.state::text, s.campaign, s.run_key,
		    concat_ws(' ', 'attempt ' || nullif(s.attempt, 0), 'by ' || d.name, s.class, s.reason, s.code, s.enhanced,
			s.reply, CASE WHEN s.remote <> '' THEN 'from ' || s.remote END,
			CASE WHEN s.not_before IS NOT NULL THEN 'next try ' || s.not_before END,
			CASE WHEN s.state = 'queued' THEN 'held back by the canary: ' || n.words END,
			CASE WHEN s.state = 'deferred' AND s.not_before = 'infinity' THEN coalesce(bo.why, bl.why) END)
		FROM s LEFT JOIN dispatcher d ON d.id = s.owner
		LEFT JOIN canary_progress n ON n.run_id = s.run_id AND s.id > n.recipients AND canary_is_open(n.phase)
		LEFT JOIN origin_break bo ON bo.run_id = s.run_id AND bo.origin = s.origin AND bo.resumed_at IS NULL
		LEFT JOIN lane_break bl ON bl.run_id = s.run_id AND bl.lane = s.lane AND bl.resumed_at IS NULL
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

-- As before, and what was noted with the addresses of others.
CREATE OR REPLACE FUNCTION customer_erase(address text) RETURNS TABLE (what text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	the_key text := coalesce(address_key(address), lower(address));
	spellings text[];
	blank text := 'erased-' || md5(random()::text || clock_timestamp()::text);
	pseudonym text := left(md5(coalesce(address_key(address), lower(address))), 12);
	spelling text;
	r record;
	changed bigint;
BEGIN
	-- as others may have written it
	SELECT array_agg(split_part(the_key, '@', 1) || '@' || d) INTO spellings
	FROM (SELECT split_part(the_key, '@', 2) AS d UNION SELECT i.u_label FROM idn i WHERE i.a_label = split_part(the_key, '@', 2)) AS i;
	what := 'customer';
	IF (SELECT relkind FROM pg_class WHERE oid = 'customer'::regclass) IN ('r', 'p') THEN
		DELETE FROM customer c WHERE c.id = ANY (ARRAY(SELECT customer_find(the_key)));
		GET DIAGNOSTICS n = ROW_COUNT;
		RETURN NEXT;
	END IF;
	what := 'send';
	n := 0;
	FOR r IN SELECT s.run_id, array_agg(s.id) AS ids FROM send s WHERE s.address_key = the_key GROUP BY s.run_id ORDER BY 1 LOOP
		n := n + send_erase(r.run_id, r.ids, blank);
		UPDATE mail m SET key = 'erased-' || m.id FROM mail_send l
		WHERE l.run_id = r.run_id AND l.send_id = ANY (r.ids) AND m.id = l.mail_id
		    AND EXISTS (SELECT FROM unnest(spellings) AS k WHERE position(k IN lower(m.key)) > 0);
	END LOOP;
	RETURN NEXT;
	what := 'feedback_event';
	-- a program of the version before may have made one with the address beside one without
	DELETE FROM feedback_event f WHERE f.address_key = the_key AND f.semantic_key LIKE '%@%'
	    AND EXISTS (SELECT FROM feedback_event o WHERE o.month = f.month AND o.semantic_key = event_key(f.semantic_key) AND o.id <> f.id);
	UPDATE feedback_event f SET address_key = NULL, reply = NULL, detail = NULL,
	    remote = CASE WHEN f.remote NOT LIKE '%@%' THEN f.remote END,
	    semantic_key = CASE WHEN EXISTS (SELECT FROM unnest(spellings) AS k WHERE position(k IN lower(event_key(f.semantic_key))) > 0)
		THEN 'erased|' || encode(sha256(convert_to(f.semantic_key, 'UTF8')), 'hex') ELSE event_key(f.semantic_key) END
	WHERE f.address_key = the_key
	    OR (f.address_key IS NULL AND EXISTS (SELECT FROM unnest(spellings) AS k
		WHERE position(k IN lower(concat_ws(' ', f.reply, f.detail, f.semantic_key))) > 0));
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'feedback_wait';
	DELETE FROM feedback_wait w WHERE w.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	DELETE FROM probation_lifted l WHERE l.address_key = the_key;
	what := 'kept_notice';
	DELETE FROM kept_notice k WHERE EXISTS (SELECT FROM unnest(spellings) AS w
	    WHERE position(w IN lower(concat_ws(' ', k.recipients, k.why, encode(k.content, 'escape'), k.semantic_key))) > 0);
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'exclusion';
	n := 0;
	FOR r IN SELECT e.run_id FROM exclusion e WHERE e.address_key = the_key GROUP BY e.run_id ORDER BY 1 LOOP
		UPDATE exclusion e SET address_key = NULL, evidence = '' WHERE e.run_id = r.run_id AND e.address_key = the_key;
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
	END LOOP;
	RETURN NEXT;
	what := 'confirmation';
	UPDATE confirmation k SET address = blank, address_key = blank, evidence = '' WHERE k.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE confirmation k SET old_address_key = NULL WHERE k.old_address_key = the_key;
	RETURN NEXT;
	what := 'ses_mirror';
	DELETE FROM ses_mirror m WHERE m.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'audit';
	n := 0;
	FOREACH spelling IN ARRAY spellings LOOP
		UPDATE audit a SET object = text_erased(a.object, spelling, pseudonym), detail = text_erased(a.detail, spelling, pseudonym)
		WHERE position(spelling IN lower(a.object || ' ' || a.detail)) > 0;
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
		UPDATE suppression p SET evidence = text_erased(p.evidence, spelling, pseudonym) WHERE position(spelling IN lower(p.evidence)) > 0;
		UPDATE run o SET reason = text_erased(o.reason, spelling, pseudonym) WHERE position(spelling IN lower(o.reason)) > 0;
		UPDATE dispatcher d SET trouble = text_erased(d.trouble, spelling, pseudonym) WHERE position(spelling IN lower(d.trouble)) > 0;
	END LOOP;
	RETURN NEXT;
	what := 'suppression';
	UPDATE suppression s SET evidence = '', event_id = NULL WHERE s.address_key = the_key;
	-- whoever wanted to be forgotten does not want mail
	INSERT INTO suppression (address_key, reason, source) VALUES (the_key, 'manual', 'erased') ON CONFLICT DO NOTHING;
	n := 1;
	RETURN NEXT;
	INSERT INTO audit (action, object, detail) VALUES ('customer.erase', pseudonym, 'a person''s data was erased');
END
$$;

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION lane_base_note(), send_is_taken(int, int, smallint), origin_begin(int, bigint), origin_plan(int, bigint),
    breaker_open_origins(int, stream), origin_release(int, smallint), origin_resume(int, text), breaker_left_out(int, timestamptz),
    tally_origin_add(int, send_change[]), breaker_check() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION origin_begin(int, bigint), origin_plan(int, bigint), breaker_check() TO kairan_producer;
GRANT EXECUTE ON FUNCTION origin_resume(int, text) TO kairan_operator;
GRANT SELECT, INSERT, DELETE ON run_origin TO kairan_producer;
GRANT SELECT ON origin_reputation, origin_break TO kairan_producer;
GRANT SELECT ON run_origin, origin_break TO kairan_dispatcher;
GRANT INSERT, SELECT, UPDATE ON tally_origin TO kairan_dispatcher;
GRANT SELECT ON lane_base, origin_base, origin_break, run_origin, tally_origin, origin_count, origin_rate, origin_reputation
    TO kairan_operator, kairan_monitor;
