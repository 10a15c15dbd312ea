-- SPDX-License-Identifier: Apache-2.0
-- Canary: the first recipients of a run are sent to and heard of before the others are handed over.
-- Connections to a destination are shared by all dispatchers.

ALTER TABLE campaign ADD canary int CHECK (canary BETWEEN 50 AND 1000000),
    ADD canary_wait_s int CHECK (canary_wait_s BETWEEN 1 AND 604800),
    ADD CHECK ((canary IS NULL) = (canary_wait_s IS NULL));
COMMENT ON COLUMN campaign.canary IS 'So many recipients of a run are sent to first, and the others only when these fared well; NULL: all at once';
COMMENT ON COLUMN campaign.canary_wait_s IS 'Seconds between the last of them and the judgement: bounces and complaints need time to come back';

ALTER TABLE stream ADD canary_line_per_cent numeric NOT NULL DEFAULT 10 CHECK (canary_line_per_cent > 0);
COMMENT ON COLUMN stream.canary_line_per_cent IS 'Most of a canary, in per cent, that may have been refused, deferred or left in doubt for other reasons than a dead address';

-- Made with the plan of a run, in the transaction before its rows can be seen.
CREATE TABLE canary (
	run_id int PRIMARY KEY,
	recipients int NOT NULL,
	wait_s int NOT NULL,
	phase text NOT NULL DEFAULT 'sending' CHECK (phase IN ('sending', 'waiting', 'passed', 'failed', 'ended')),
	waits_until timestamptz,
	judged_at timestamptz,
	ended_by text,
	tried bigint,
	sent bigint,
	hard bigint,
	complained bigint,
	not_taken bigint
);
COMMENT ON TABLE canary IS 'How far the canary of a run is; a row that is not there: the run has none. Kept by the leading producer, so that a restart of anything neither repeats nor loses it';
COMMENT ON COLUMN canary.run_id IS 'Run';
COMMENT ON COLUMN canary.recipients IS 'send.id up to here: the order of a run has each lane near its share at every prefix';
COMMENT ON COLUMN canary.wait_s IS 'Seconds to wait when the last of them was tried';
COMMENT ON COLUMN canary.phase IS 'sending, waiting: nobody else is handed over; passed, failed (the run was paused), ended (by command, or the breaker was faster): everybody is';
COMMENT ON COLUMN canary.waits_until IS 'When it is judged; empty before the last of them was tried';
COMMENT ON COLUMN canary.judged_at IS 'When that was';
COMMENT ON COLUMN canary.ended_by IS 'Who ended it, a user of the database';
COMMENT ON COLUMN canary.tried IS 'By when it was judged: tried, without lanes that were paused';
COMMENT ON COLUMN canary.sent IS 'Of these taken by the remote';
COMMENT ON COLUMN canary.hard IS 'Of these dead addresses';
COMMENT ON COLUMN canary.complained IS 'Of these complaints';
COMMENT ON COLUMN canary.not_taken IS 'Of these still deferred, in doubt, refused or bounced for other reasons than a dead address';

CREATE FUNCTION canary_is_open(phase text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT phase IN ('sending', 'waiting') $$;
COMMENT ON FUNCTION canary_is_open(text) IS 'Whether a canary in this phase holds the others back';

-- A campaign whose run is not larger than its canary has nobody to hold back.
CREATE FUNCTION canary_plan(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	DELETE FROM canary WHERE run_id = the_run;
	INSERT INTO canary (run_id, recipients, wait_s)
	SELECT r.id, c.canary, c.canary_wait_s FROM run r JOIN campaign c ON c.id = r.campaign_id
	WHERE r.id = the_run AND c.canary < r.staged;
END
$$;
COMMENT ON FUNCTION canary_plan(int, bigint) IS 'Notes the canary of a run that is being planned, when it has one';

-- How the first recipients of a run fared. What a paused lane did is the business of that lane.
CREATE FUNCTION canary_count(the_run int, recipients int, OUT tried bigint, OUT sent bigint, OUT hard bigint,
    OUT complained bigint, OUT not_taken bigint)
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT count(*), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE dead),
	    count(complained_at), count(*) FILTER (WHERE NOT dead AND (state <> 'sent' OR bounced_at IS NOT NULL))
	FROM (SELECT s.state, s.bounced_at, s.complained_at,
		coalesce(s.class = 'hard' AND (s.bounced_at IS NOT NULL OR s.state = 'failed'), false) AS dead
		FROM send s
		WHERE s.run_id = the_run AND s.id <= recipients AND s.state IN ('sending', 'sent', 'deferred', 'failed', 'in_doubt')
		    AND NOT EXISTS (SELECT FROM lane_break b WHERE b.run_id = the_run AND b.lane = s.lane AND b.resumed_at IS NULL)) AS t
$$;
COMMENT ON FUNCTION canary_count(int, int) IS 'What became of the first recipients of a run';

-- By the same bound as the breaker: a rate counts as over its line when that is certain. There is
-- no least number of mails, since the bound says nothing about a handful by itself.
CREATE FUNCTION canary_why(k canary, st stream) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT format('canary: %s %% of %s recipients %s (line %s %%); see the view %s', round(per_cent(part, whole), 2),
	    whole, word, trim_scale(line), look)
	FROM (VALUES (1, k.hard, k.tried, st.bounce_line_per_cent::numeric, 'are dead addresses', 'bounce_rate'),
		(2, k.complained, k.sent, st.complaint_line_per_cent::numeric, 'complained', 'bounce_rate'),
		(3, k.not_taken, k.tried, st.canary_line_per_cent, 'were refused, deferred or left in doubt', 'top_replies'))
	    AS t(n, part, whole, line, word, look)
	WHERE part > 0 AND at_least_per_cent(part, whole) >= line ORDER BY n LIMIT 1
$$;
COMMENT ON FUNCTION canary_why(canary, stream) IS 'Why the others must not be sent to; empty when a canary fared well';

-- Moves the canaries of running runs on; returns those that moved.
CREATE FUNCTION canary_check() RETURNS TABLE (run_id int, phase text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r record;
	k canary;
	st stream;
BEGIN
	FOR r IN SELECT run.id, run.breaker_from, run.planned, c.stream_id FROM canary n JOIN run ON run.id = n.run_id
	    JOIN campaign c ON c.id = run.campaign_id
	    WHERE canary_is_open(n.phase) AND run.state = 'running' ORDER BY run.id LOOP
		SELECT n.* INTO k FROM canary n WHERE n.run_id = r.id AND canary_is_open(n.phase) FOR UPDATE;
		CONTINUE WHEN NOT FOUND;
		SELECT s.* INTO st FROM stream s WHERE s.id = r.stream_id;
		why := NULL;
		IF r.breaker_from IS NOT NULL AND breaker_why_run(r.id, NULL, st) IS NOT NULL THEN
			-- the breaker has paused it for its own rates, and somebody went on knowing them
			k.phase := 'ended';
		ELSIF k.phase = 'sending' THEN
			-- the counts first: they cost less than a look at the rows
			CONTINUE WHEN (SELECT p.queued > r.planned - k.recipients FROM campaign_progress p WHERE p.run_id = r.id)
			    OR EXISTS (SELECT FROM send s WHERE s.run_id = r.id AND s.id <= k.recipients
				AND (s.state = 'queued' OR s.state = 'sending' AND s.tries = 0));
			k.phase := 'waiting';
			k.waits_until := now() + make_interval(secs => k.wait_s);
		ELSE
			CONTINUE WHEN now() < k.waits_until;
			SELECT * INTO k.tried, k.sent, k.hard, k.complained, k.not_taken FROM canary_count(r.id, k.recipients);
			why := canary_why(k, st);
			k.phase := CASE WHEN why IS NULL THEN 'passed' ELSE 'failed' END;
			-- paused by somebody else meanwhile: judged when it goes on
			CONTINUE WHEN why IS NOT NULL AND NOT run_move(r.id, ARRAY['running']::run_state[], 'paused', why);
		END IF;
		IF NOT canary_is_open(k.phase) THEN
			k.judged_at := now();
		END IF;
		UPDATE canary n SET phase = k.phase, waits_until = k.waits_until, judged_at = k.judged_at, tried = k.tried,
		    sent = k.sent, hard = k.hard, complained = k.complained, not_taken = k.not_taken WHERE n.run_id = r.id;
		IF why IS NOT NULL THEN
			-- resumed, it answers only for what comes after, as behind the breaker
			UPDATE run SET breaker_from = date_trunc('minute', now()) + interval '1 minute' WHERE run.id = r.id;
			INSERT INTO audit (action, object, detail) VALUES ('canary.failed', 'run ' || r.id, why);
		END IF;
		run_id := r.id;
		phase := k.phase;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION canary_check() IS 'Lets canaries wait when they were sent, judges those that have waited, pauses the runs of those that fared badly; returns what changed';

CREATE FUNCTION canary_end(the_run int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	UPDATE canary SET phase = 'ended', judged_at = now(), ended_by = session_user
	WHERE run_id = the_run AND canary_is_open(phase);
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION canary_end(int) IS 'Lets the others of a run go without a judgement of its canary; false when nothing holds them back';

CREATE VIEW canary_progress AS
SELECT k.run_id, k.recipients, k.phase, k.waits_until, k.judged_at,
    coalesce(k.tried, least(k.recipients, greatest(p.planned - p.queued, 0))) AS tried, k.sent, k.hard, k.complained, k.not_taken,
    CASE k.phase
	WHEN 'sending' THEN format('%s of the first %s recipients are tried, then %s of waiting for what comes back',
	    least(k.recipients, greatest(p.planned - p.queued, 0)), k.recipients, make_interval(secs => k.wait_s))
	WHEN 'waiting' THEN format('waits until %s UTC for what comes back from the first %s recipients',
	    to_char(k.waits_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), k.recipients)
	WHEN 'ended' THEN 'ended without a judgement' || coalesce(' by ' || k.ended_by, ', since the breaker was faster')
	ELSE format('%s: of %s tried, %s are dead addresses, %s complained, %s were not taken', k.phase, k.tried, k.hard,
	    k.complained, k.not_taken) END AS words
FROM canary k JOIN campaign_progress p ON p.run_id = k.run_id;
COMMENT ON VIEW canary_progress IS 'Canaries of runs: the first recipients, on whom it depends whether the others are sent to';
COMMENT ON COLUMN canary_progress.run_id IS 'Run';
COMMENT ON COLUMN canary_progress.recipients IS 'How many there are';
COMMENT ON COLUMN canary_progress.phase IS 'sending, waiting, passed, failed, ended; see canary.phase';
COMMENT ON COLUMN canary_progress.waits_until IS 'When it is judged; empty before the last was tried';
COMMENT ON COLUMN canary_progress.judged_at IS 'When that was';
COMMENT ON COLUMN canary_progress.tried IS 'Tried so far, or when it was judged';
COMMENT ON COLUMN canary_progress.sent IS 'Taken by the remote, when it was judged';
COMMENT ON COLUMN canary_progress.hard IS 'Dead addresses, when it was judged';
COMMENT ON COLUMN canary_progress.complained IS 'Complaints, when it was judged';
COMMENT ON COLUMN canary_progress.not_taken IS 'Not taken for other reasons, when it was judged';
COMMENT ON COLUMN canary_progress.words IS 'The same in a sentence';

-- As before; a canary of the run has nothing to say about those that failed.
CREATE OR REPLACE FUNCTION run_retry_failed(the_run int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	n bigint;
BEGIN
	n := send_move_all(the_run, ARRAY['failed']::send_state[], 'queued', 'retried',
	    NULL, ARRAY['soft', 'block', 'config']);
	IF n > 0 THEN
		EXECUTE format('UPDATE send SET tries = 0 WHERE run_id = %s AND state = ''queued'' AND reason = ''retried''', the_run);
		UPDATE run SET low_water = 1, pushed = planned WHERE id = the_run;
		IF run_move(the_run, ARRAY['finished', 'failed', 'cancelled']::run_state[], 'running', 'retry of failed recipients') THEN
			PERFORM canary_end(the_run);
		END IF;
	END IF;
	RETURN n;
END
$$;

-- As before; who waits for a canary is told so.
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
		    CASE WHEN s.id <= n.recipients THEN ', of the canary' ELSE '' END
		FROM s LEFT JOIN canary n ON n.run_id = s.run_id
		UNION ALL
		SELECT coalesce(s.settled_at, s.claimed_at, now()), s.state::text, s.campaign, s.run_key,
		    concat_ws(' ', 'attempt ' || nullif(s.attempt, 0), 'by ' || d.name, s.class, s.reason, s.code, s.enhanced,
			s.reply, CASE WHEN s.remote <> '' THEN 'from ' || s.remote END,
			CASE WHEN s.not_before IS NOT NULL THEN 'next try ' || s.not_before END,
			CASE WHEN s.state = 'queued' THEN 'held back by the canary: ' || n.words END)
		FROM s LEFT JOIN dispatcher d ON d.id = s.owner
		LEFT JOIN canary_progress n ON n.run_id = s.run_id AND s.id > n.recipients AND canary_is_open(n.phase)
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

REVOKE ALL ON FUNCTION canary_plan(int, bigint), canary_count(int, int), canary_why(canary, stream), canary_check(),
    canary_end(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION canary_plan(int, bigint), canary_check() TO kairan_producer;
GRANT EXECUTE ON FUNCTION canary_end(int) TO kairan_operator;
GRANT SELECT ON canary TO kairan_producer;
GRANT SELECT ON canary, canary_progress TO kairan_operator, kairan_monitor;

-- ---------------------------------------------------------------- connections that dispatchers share

ALTER TABLE dispatcher ADD connects boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN dispatcher.connects IS 'It connects to the mail servers of domains itself, and shares the limits of connections with all that do';
COMMENT ON COLUMN brake.connections IS 'Most connections to a destination, of all dispatchers together; empty: as configured';

CREATE FUNCTION dispatchers_connecting(me int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	UPDATE dispatcher SET connects = true WHERE id = me AND NOT connects;
	SELECT count(*) FROM dispatcher WHERE stopped_at IS NULL AND connects
	    AND (id = me OR heartbeat_at > now() - interval '1 minute')
$$;
COMMENT ON FUNCTION dispatchers_connecting(int) IS 'Notes that a dispatcher connects to mail servers itself; returns how many do, those silent for up to a minute among them';
REVOKE ALL ON FUNCTION dispatchers_connecting(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dispatchers_connecting(int) TO kairan_dispatcher;

REVOKE ALL ON FUNCTION canary_is_open(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION canary_is_open(text) TO kairan_producer, kairan_operator, kairan_monitor;
