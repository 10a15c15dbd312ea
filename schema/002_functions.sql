-- SPDX-License-Identifier: Apache-2.0
-- The edges of the state machine that several programs share. Functions that write run as the
-- owner (SECURITY DEFINER) with a fixed search_path; who may call them is in 004_rights.sql.

-- ---------------------------------------------------------------- runs

CREATE FUNCTION run_event_add(the_run int, event text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$ INSERT INTO run_event (run_id, event, at) VALUES (the_run, event, clock_timestamp()) $$;
COMMENT ON FUNCTION run_event_add(int, text) IS 'Notes a change of state of a run; the producer calls the hook for it';

CREATE FUNCTION run_move(the_run int, from_states run_state[], to_state run_state, why text DEFAULT '')
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	UPDATE run SET state = to_state, reason = why,
	    started_at = CASE WHEN to_state = 'planning' THEN coalesce(started_at, now()) ELSE started_at END,
	    finished_at = CASE WHEN to_state IN ('finished', 'cancelled', 'failed', 'missed') THEN now()
		ELSE NULL END
	WHERE id = the_run AND state = ANY (from_states);
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM run_event_add(the_run, to_state::text);
	RETURN true;
END
$$;
COMMENT ON FUNCTION run_move(int, run_state[], run_state, text) IS 'Moves a run to another state if it is in one of the given ones; false if not';

-- A dispatcher that cannot compose a run says so instead of leaving it to run for ever.
CREATE FUNCTION run_refuse(the_run int, why text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$ SELECT run_move(the_run, ARRAY['running']::run_state[], 'paused', why) $$;
COMMENT ON FUNCTION run_refuse(int, text) IS 'Pauses a running run that cannot be sent as it is';

-- A run and its template and sender are fixed here; the same key gives the same run.
CREATE FUNCTION run_make(campaign_name text, key text, due timestamptz DEFAULT now(),
    latest timestamptz DEFAULT NULL, OUT run_id int, OUT is_new boolean, OUT run_state run_state)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	c campaign;
BEGIN
	SELECT * INTO c FROM campaign WHERE name = campaign_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no campaign "%"', campaign_name USING ERRCODE = 'no_data_found';
	END IF;
	INSERT INTO run (campaign_id, run_key, template_id, due_at, not_after, snapshot)
	VALUES (c.id, key, c.template_id, due,
	    coalesce(latest, CASE WHEN c.window_s IS NOT NULL THEN due + make_interval(secs => c.window_s) END,
		c.not_after),
	    jsonb_build_object('campaign', c.name, 'from_name', c.from_name, 'from_address', c.from_address,
		'reply_to', c.reply_to, 'list', c.list, 'headers', c.headers,
		'missing_field', c.missing_field, 'bad_field', c.bad_field, 'on_doubt', c.on_doubt))
	ON CONFLICT (campaign_id, run_key) DO NOTHING
	RETURNING id INTO run_id;
	is_new := run_id IS NOT NULL;
	IF is_new THEN
		PERFORM run_event_add(run_id, 'scheduled');
	END IF;
	SELECT r.id, r.state INTO run_id, run_state FROM run r
	WHERE r.campaign_id = c.id AND r.run_key = key;
END
$$;
COMMENT ON FUNCTION run_make(text, text, timestamptz, timestamptz) IS 'Makes the run of a campaign for this key, or finds it when it was made before';

-- Campaigns whose start time has come get a run named after that time; recurring ones get their
-- next start time. Occurrences that were slept through are made once, and then missed if their
-- window is over, so that nothing is sent late by surprise.
CREATE FUNCTION schedule_next(last timestamptz, recurrence text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = kairan, pg_temp
AS $$
DECLARE
	step interval;
	due timestamptz := last;
BEGIN
	step := CASE recurrence WHEN 'daily' THEN interval '1 day' WHEN 'weekly' THEN interval '7 days'
	    WHEN 'monthly' THEN interval '1 month'
	    ELSE regexp_replace(recurrence, '^every ', '')::interval END;
	IF step < interval '1 minute' THEN
		RAISE EXCEPTION 'recurrence "%" is shorter than a minute', recurrence;
	END IF;
	FOR n IN 1 .. 1000000 LOOP
		due := last + n * step;
		EXIT WHEN due > now();
	END LOOP;
	RETURN due;
END
$$;
COMMENT ON FUNCTION schedule_next(timestamptz, text) IS 'First occurrence after now of a recurrence that began at last';

CREATE FUNCTION schedule_due() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	c record;
	n int := 0;
BEGIN
	FOR c IN SELECT id, name, start_at, recurrence FROM campaign WHERE start_at <= now()
	    ORDER BY start_at FOR UPDATE SKIP LOCKED LOOP
		PERFORM run_make(c.name, to_char(c.start_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), c.start_at);
		UPDATE campaign SET start_at = CASE WHEN c.recurrence <> '' THEN schedule_next(c.start_at, c.recurrence) END
		WHERE id = c.id;
		n := n + 1;
	END LOOP;
	RETURN n;
END
$$;
COMMENT ON FUNCTION schedule_due() IS 'Makes the runs of campaigns whose start time has come; returns how many';

-- ---------------------------------------------------------------- planning

-- A producer that was stopped for a while may wake up in the middle of planning, when another one
-- leads or the run is even being sent. Each step asks first; the lock keeps plan_begin away for
-- the rest of the caller's transaction, but not those who pause or cancel.
CREATE FUNCTION plan_fence(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run AND state = 'planning' FOR KEY SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'run % is not being planned', the_run
		    USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	PERFORM FROM lease WHERE name = 'producer' AND epoch <> the_epoch;
	IF FOUND THEN
		RAISE EXCEPTION 'another producer leads' USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
END
$$;
COMMENT ON FUNCTION plan_fence(int, bigint) IS 'Error when the run is not being planned, or when an epoch is given and the lease of the producer has another one';

CREATE FUNCTION plan_begin(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run FOR UPDATE;
	PERFORM plan_fence(the_run, the_epoch);
	EXECUTE format('DROP TABLE IF EXISTS candidate_%1$s, domain_%1$s, exclusion_%1$s, send_%1$s', the_run);
	EXECUTE format('CREATE UNLOGGED TABLE candidate_%s (LIKE candidate INCLUDING COMMENTS)', the_run);
	EXECUTE format('CREATE UNLOGGED TABLE domain_%s (LIKE domain INCLUDING COMMENTS)', the_run);
	EXECUTE format('CREATE TABLE exclusion_%1$s (LIKE exclusion INCLUDING DEFAULTS INCLUDING COMMENTS, CONSTRAINT of_run CHECK (run_id = %1$s))', the_run);
	EXECUTE format('CREATE TABLE send_%1$s (LIKE send INCLUDING DEFAULTS INCLUDING COMMENTS, CONSTRAINT of_run CHECK (run_id = %1$s)) WITH (fillfactor = 35)', the_run);
	EXECUTE format('COMMENT ON TABLE send_%1$s IS %2$L', the_run, 'Recipients of run ' || the_run);
	EXECUTE format('COMMENT ON TABLE exclusion_%1$s IS %2$L', the_run, 'Left out of run ' || the_run);
	EXECUTE format('GRANT SELECT, INSERT ON candidate_%1$s, domain_%1$s TO kairan_producer', the_run);
	EXECUTE format('GRANT INSERT ON send_%1$s TO kairan_producer', the_run);
	UPDATE run SET plan_cursor = 0, staged = 0, audience = 0, planned = 0, excluded = '{}' WHERE id = the_run;
END
$$;
COMMENT ON FUNCTION plan_begin(int, bigint) IS 'Makes the empty working tables of a run, dropping those of a broken attempt; nothing was handed out before plan_seal';

-- Exclusions, each with rule and evidence. Only candidates without a number can be excluded: the
-- producer's filters let nobody through. Returns how many are left.
CREATE FUNCTION plan_stage(the_run int, matched bigint, the_epoch bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET work_mem = '256MB'
AS $$
DECLARE
	scopes text[];
	kept bigint;
	left_out boolean;
	doubtful boolean;
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	SELECT ARRAY['all', 'stream:' || s.name, 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END]
	INTO scopes FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
	WHERE r.id = the_run;
	EXECUTE format($q$
		INSERT INTO exclusion_%1$s (run_id, recipient_id, address_key, rule, evidence)
		SELECT DISTINCT ON (recipient_id) %1$s, recipient_id, address_key, rule, evidence FROM (
			SELECT recipient_id, address_key, 0 AS rank,
			    CASE WHEN address_key IS NULL THEN 'invalid_address' ELSE 'excluded_segment' END AS rule,
			    note AS evidence
			FROM candidate_%1$s WHERE j IS NULL AND note IS NOT NULL
			UNION ALL
			SELECT k.recipient_id, k.address_key, 1,
			    CASE s.reason WHEN 'bounce' THEN 'bounced' WHEN 'complaint' THEN 'complained'
				WHEN 'unsubscribe' THEN 'unsubscribed' ELSE 'suppressed' END,
			    concat_ws(' ', s.scope, s.source, to_char(s.created_at, 'YYYY-MM-DD"T"HH24:MI:SSOF'), s.evidence)
			FROM candidate_%1$s k JOIN suppression s ON s.address_key = k.address_key
			WHERE k.j IS NULL AND s.scope = ANY ($1) AND (s.expires_at IS NULL OR s.expires_at > now())
			UNION ALL
			SELECT k.recipient_id, k.address_key, 2, 'excluded_campaign', 'campaign ' || c.name || ' run ' || r.run_key
			FROM campaign mine JOIN run myrun ON myrun.campaign_id = mine.id AND myrun.id = %1$s
			JOIN campaign c ON c.name = ANY (mine.exclude_campaigns)
			JOIN run r ON r.campaign_id = c.id AND r.id <> %1$s
			JOIN send s ON s.run_id = r.id AND s.state IN ('sending', 'sent', 'in_doubt')
			JOIN candidate_%1$s k ON k.address_key = s.address_key AND k.j IS NULL
		) AS e ORDER BY recipient_id, rank$q$, the_run) USING scopes;
	EXECUTE format('SELECT EXISTS (SELECT FROM exclusion_%s)', the_run) INTO left_out;
	IF left_out THEN
		EXECUTE format('DELETE FROM candidate_%1$s k USING exclusion_%1$s e WHERE e.recipient_id = k.recipient_id', the_run);
	END IF;
	-- only rows that were not numbered can have a twin that came before
	EXECUTE format('SELECT EXISTS (SELECT FROM candidate_%s WHERE j IS NULL)', the_run) INTO doubtful;
	IF doubtful THEN
		EXECUTE format($q$
			WITH d AS (SELECT DISTINCT address_key FROM candidate_%1$s WHERE j IS NULL),
			twin AS (
				SELECT k.recipient_id, k.address_key,
				    min(k.recipient_id) OVER (PARTITION BY k.address_key) AS first
				FROM candidate_%1$s k JOIN d ON d.address_key = k.address_key),
			gone AS (DELETE FROM candidate_%1$s k USING twin t
				WHERE t.recipient_id = k.recipient_id AND t.recipient_id <> t.first
				RETURNING k.recipient_id, k.address_key, t.first)
			INSERT INTO exclusion_%1$s (run_id, recipient_id, address_key, rule, evidence)
			SELECT %1$s, recipient_id, address_key, 'duplicate_address', 'same address as customer ' || first
			FROM gone$q$, the_run);
	END IF;
	EXECUTE format('ANALYZE domain_%s', the_run);
	EXECUTE format('SELECT $1 - count(*) FROM exclusion_%s', the_run) INTO kept USING matched;
	EXECUTE format($q$
		UPDATE run SET audience = $1, staged = $2, plan_cursor = 0, excluded = (
			SELECT coalesce(jsonb_object_agg(rule, n), '{}') FROM (
				SELECT rule, count(*) AS n FROM exclusion_%1$s GROUP BY rule) AS t)
		WHERE id = %1$s$q$, the_run) USING matched, kept;
	RETURN kept;
END
$$;
COMMENT ON FUNCTION plan_stage(int, bigint, bigint) IS 'Takes those out of the candidates of a run that are excluded, with rule and evidence; returns how many are left';

-- True when the working tables of a run under way are whole (not emptied by a crash).
CREATE FUNCTION plan_is_staged(the_run int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	there bigint;
	expected bigint;
BEGIN
	SELECT staged INTO expected FROM run WHERE id = the_run;
	IF expected = 0 OR to_regclass('kairan.candidate_' || the_run) IS NULL THEN
		RETURN false;
	END IF;
	EXECUTE format('SELECT count(*) FROM candidate_%s', the_run) INTO there;
	RETURN there = expected;
END
$$;
COMMENT ON FUNCTION plan_is_staged(int) IS 'Whether planning of a run can go on where it stopped';

-- Only from here on can anyone see the send rows of the run.
CREATE FUNCTION plan_seal(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET maintenance_work_mem = '128MB'
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run FOR UPDATE;
	PERFORM plan_fence(the_run, the_epoch);
	IF (SELECT plan_cursor <> staged FROM run WHERE id = the_run) THEN
		RAISE EXCEPTION 'run % is not completely planned', the_run;
	END IF;
	EXECUTE format('ALTER TABLE send_%1$s ADD PRIMARY KEY (run_id, id), ADD UNIQUE (run_id, recipient_id), ADD UNIQUE (run_id, address_key)', the_run);
	EXECUTE format('ANALYZE send_%s', the_run);
	EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', the_run);
	EXECUTE format('ALTER TABLE exclusion_%s ADD PRIMARY KEY (run_id, recipient_id)', the_run);
	EXECUTE format('ALTER TABLE exclusion ATTACH PARTITION exclusion_%1$s FOR VALUES IN (%1$s)', the_run);
	EXECUTE format('REVOKE INSERT ON send_%s FROM kairan_producer', the_run);
	EXECUTE format('DROP TABLE candidate_%1$s, domain_%1$s', the_run);
	UPDATE run SET planned = staged, low_water = 1, pushed = 0 WHERE id = the_run;
	PERFORM run_move(the_run, ARRAY['planning']::run_state[], 'running');
END
$$;
COMMENT ON FUNCTION plan_seal(int, bigint) IS 'Indexes the send rows of a planned run, makes them part of send, and sets it running';

-- What planning left behind of a run that will not be sent. A sealed run has no such tables: its
-- rows are partitions.
CREATE FUNCTION plan_discard(the_run int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	name text;
BEGIN
	IF EXISTS (SELECT FROM run WHERE id = the_run AND state NOT IN ('failed', 'cancelled', 'missed')) THEN
		RETURN;
	END IF;
	FOREACH name IN ARRAY ARRAY['candidate_', 'domain_', 'exclusion_', 'send_'] LOOP
		IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('kairan.' || name || the_run)
		    AND NOT relispartition) THEN
			EXECUTE format('DROP TABLE %I', name || the_run);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION plan_discard(int) IS 'Drops the working tables of a run that failed or was cancelled while it was planned';

-- ---------------------------------------------------------------- states

CREATE FUNCTION tally_add(the_run int, who int, d_claimed bigint DEFAULT 0, d_sent bigint DEFAULT 0,
    d_deferred bigint DEFAULT 0, d_failed bigint DEFAULT 0, d_in_doubt bigint DEFAULT 0,
    d_skipped bigint DEFAULT 0, d_cancelled bigint DEFAULT 0, d_expired bigint DEFAULT 0)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	INSERT INTO tally AS t (run_id, owner, minute, claimed, sent, deferred, failed, in_doubt, skipped,
	    cancelled, expired)
	VALUES (the_run, who, date_trunc('minute', now()), d_claimed, d_sent, d_deferred, d_failed, d_in_doubt,
	    d_skipped, d_cancelled, d_expired)
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET claimed = t.claimed + excluded.claimed,
	    sent = t.sent + excluded.sent, deferred = t.deferred + excluded.deferred,
	    failed = t.failed + excluded.failed, in_doubt = t.in_doubt + excluded.in_doubt,
	    skipped = t.skipped + excluded.skipped, cancelled = t.cancelled + excluded.cancelled,
	    expired = t.expired + excluded.expired
$$;
COMMENT ON FUNCTION tally_add(int, int, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint) IS 'Adds changes of the numbers of rows by state';

-- Moves every row of a run that is in one of the given states; returns how many.
CREATE FUNCTION send_move_all(the_run int, from_states send_state[], to_state send_state, why text,
    owners int[] DEFAULT NULL, classes text[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	c record;
	total bigint := 0;
BEGIN
	FOR c IN EXECUTE format($q$
		WITH old AS (SELECT id, state FROM send WHERE run_id = %1$s AND state = ANY ($1)
			AND ($4::int[] IS NULL OR owner = ANY ($4)) AND ($5::text[] IS NULL OR class = ANY ($5))
			FOR UPDATE),
		u AS (UPDATE send s SET state = $2, reason = $3, settled_at = now(), not_before = NULL
			FROM old WHERE s.run_id = %1$s AND s.id = old.id RETURNING old.state)
		SELECT state, count(*) AS n FROM u GROUP BY state$q$, the_run)
	    USING from_states, to_state, why, owners, classes LOOP
		total := total + c.n;
		PERFORM tally_add(the_run, 0,
		    d_claimed => c.n * ((to_state = 'sending')::int - (c.state = 'sending')::int),
		    d_sent => c.n * ((to_state = 'sent')::int - (c.state = 'sent')::int),
		    d_deferred => c.n * ((to_state = 'deferred')::int - (c.state = 'deferred')::int),
		    d_failed => c.n * ((to_state = 'failed')::int - (c.state = 'failed')::int),
		    d_in_doubt => c.n * ((to_state = 'in_doubt')::int - (c.state = 'in_doubt')::int),
		    d_skipped => c.n * ((to_state = 'skipped')::int - (c.state = 'skipped')::int),
		    d_cancelled => c.n * ((to_state = 'cancelled')::int - (c.state = 'cancelled')::int),
		    d_expired => c.n * ((to_state = 'expired')::int - (c.state = 'expired')::int));
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION send_move_all(int, send_state[], send_state, text, int[], text[]) IS 'Moves all rows of a run from some states to another, with the counts';

-- Until a journal exists nobody can say whether a dead owner wrote the final dot: its rows are
-- in doubt, never queued again.
CREATE FUNCTION dispatcher_bury(dead int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	r record;
	total bigint := 0;
BEGIN
	UPDATE dispatcher SET fenced_at = coalesce(fenced_at, now()) WHERE id = dead AND stopped_at IS NULL;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT id FROM run WHERE state IN ('running', 'paused', 'cancelled', 'finished')
	    AND EXISTS (SELECT FROM tally t WHERE t.run_id = run.id AND t.owner = dead) LOOP
		total := total + send_move_all(r.id, ARRAY['sending']::send_state[], 'in_doubt',
		    'owner_lost', ARRAY[dead]);
	END LOOP;
	UPDATE dispatcher SET stopped_at = now() WHERE id = dead;
	RETURN total;
END
$$;
COMMENT ON FUNCTION dispatcher_bury(int) IS 'Fences a dead dispatcher and puts what it held in doubt; returns how many recipients';

-- retry --failed: only those whose failure was temporary, and only while the address is fine.
CREATE FUNCTION run_retry_failed(the_run int) RETURNS bigint
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
		PERFORM run_move(the_run, ARRAY['finished', 'failed', 'cancelled']::run_state[], 'running', 'retry of failed recipients');
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION run_retry_failed(int) IS 'Queues the temporarily failed recipients of a run again; returns how many';

-- ---------------------------------------------------------------- what was heard

CREATE FUNCTION feedback_month_open(m date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	first date := date_trunc('month', m)::date;
	name text := 'feedback_event_' || to_char(first, 'YYYY_MM');
BEGIN
	IF to_regclass('kairan.' || name) IS NULL
	    AND NOT EXISTS (SELECT FROM feedback_event_rest WHERE month = first) THEN
		EXECUTE format('CREATE TABLE %I PARTITION OF feedback_event FOR VALUES FROM (%L) TO (%L)',
		    name, first, first + interval '1 month');
		EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'Events of ' || to_char(first, 'YYYY-MM'));
	END IF;
END
$$;
COMMENT ON FUNCTION feedback_month_open(date) IS 'Makes the partition of feedback_event for a month';

CREATE FUNCTION suppression_rank(reason text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE reason WHEN 'complaint' THEN 4 WHEN 'bounce' THEN 3 WHEN 'manual' THEN 2 ELSE 1 END $$;
COMMENT ON FUNCTION suppression_rank(text) IS 'Which reason stays when an address is suppressed twice: complaint, bounce, manual, unsubscribe';

-- Events that speak of send rows of one run. Plans are made while the inbox is small and kept,
-- so sequential scans are ruled out. Facts only ever go from empty to the earliest time.
CREATE FUNCTION ingest_run(the_run int, fresh bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	list_scope text;
	soft_limit int;
BEGIN
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, s.soft_bounce_limit
	INTO list_scope, soft_limit
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
	WHERE r.id = the_run;

	WITH e AS MATERIALIZED (
		SELECT *, coalesce(occurred_at, received_at) AS at,
		    kind IN ('bounced', 'rejected') AND source <> 'smtp' AS is_why
		FROM feedback_event WHERE id = ANY (fresh) AND run_id = the_run AND send_id IS NOT NULL),
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
		    bool_or(kind = 'rejected') AS rejected,
		    bool_or(kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened', 'clicked',
			'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    (array_agg(class ORDER BY id DESC) FILTER (WHERE is_why))[1] AS class,
		    (array_agg(reason ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reason,
		    (array_agg(enhanced ORDER BY id DESC) FILTER (WHERE is_why))[1] AS enhanced,
		    (array_agg(reply ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reply,
		    (array_agg(remote ORDER BY id DESC) FILTER (WHERE is_why))[1] AS remote
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
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
		    state = CASE WHEN old.rejected AND s.state IN ('sent', 'in_doubt') THEN 'failed'
			WHEN old.accepted AND s.state = 'in_doubt' THEN 'sent' ELSE s.state END,
		    class = coalesce(old.class, s.class), reason = coalesce(old.reason, s.reason),
		    enhanced = coalesce(old.enhanced, s.enhanced), reply = coalesce(old.reply, s.reply),
		    remote = coalesce(old.remote, s.remote)
		FROM old
		WHERE s.run_id = the_run AND s.id = old.id
		RETURNING s.id, s.state AS new_state, old.state AS old_state,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int AS delivered,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int AS bounced,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int AS complained,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int AS unsubscribed,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int AS opened,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int AS clicked),
	sup AS (
		INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
		SELECT DISTINCT ON (s.address_key, t.scope) s.address_key, t.scope, t.reason, e.source,
		    concat_ws(' ', 'run ' || the_run || ' recipient ' || s.id, e.enhanced, e.reason, e.reply), e.id
		FROM e JOIN send s ON s.run_id = the_run AND s.id = e.send_id AND s.attempt > 0
		    AND s.attempt >= e.attempt
		CROSS JOIN LATERAL (SELECT
			CASE WHEN e.kind = 'unsubscribed' AND e.reason IS DISTINCT FROM 'all' THEN list_scope ELSE 'all' END AS scope,
			CASE e.kind WHEN 'bounced' THEN 'bounce' WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END AS reason) t
		WHERE (e.kind = 'bounced' AND e.class = 'hard') OR e.kind IN ('complained', 'unsubscribed')
		ORDER BY s.address_key, t.scope, suppression_rank(t.reason) DESC, e.id
		ON CONFLICT (address_key, scope) DO UPDATE SET reason = excluded.reason, source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL
		WHERE suppression_rank(excluded.reason) > suppression_rank(suppression.reason)
		    OR suppression.expires_at IS NOT NULL)
	INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, complained, unsubscribed, opened,
	    clicked, sent, failed, in_doubt)
	SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced), sum(complained),
	    sum(unsubscribed), sum(opened), sum(clicked),
	    sum((new_state = 'sent')::int - (old_state = 'sent')::int),
	    sum((new_state = 'failed')::int - (old_state = 'failed')::int),
	    sum((new_state = 'in_doubt')::int - (old_state = 'in_doubt')::int)
	FROM u HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET delivered = t.delivered + excluded.delivered,
	    bounced = t.bounced + excluded.bounced, complained = t.complained + excluded.complained,
	    unsubscribed = t.unsubscribed + excluded.unsubscribed, opened = t.opened + excluded.opened,
	    clicked = t.clicked + excluded.clicked, sent = t.sent + excluded.sent,
	    failed = t.failed + excluded.failed, in_doubt = t.in_doubt + excluded.in_doubt;

	-- The row knows the address, whatever the report said or left out.
	UPDATE feedback_event f SET address_key = s.address_key FROM send s
	WHERE f.id = ANY (fresh) AND f.run_id = the_run AND s.run_id = the_run AND s.id = f.send_id
	    AND f.address_key IS DISTINCT FROM s.address_key;

	-- Soft bounces count up to a limit; then the address rests for two weeks.
	INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id, expires_at)
	SELECT s.address_key, 'all', 'bounce', 'policy', soft.n || ' soft bounces in 30 days, last ' ||
	    coalesce(e.enhanced, ''), e.id, now() + interval '14 days'
	FROM feedback_event e JOIN send s ON s.run_id = the_run AND s.id = e.send_id
	CROSS JOIN LATERAL (SELECT count(DISTINCT (f.run_id, f.send_id)) AS n FROM feedback_event f
		WHERE f.address_key = s.address_key AND f.kind = 'bounced' AND f.class = 'soft'
		AND f.received_at > now() - interval '30 days'
		AND NOT EXISTS (SELECT FROM feedback_event d WHERE d.address_key = s.address_key
			AND d.kind = 'delivered' AND d.received_at > f.received_at)) AS soft
	WHERE e.id = ANY (fresh) AND e.run_id = the_run AND e.kind = 'bounced' AND e.class = 'soft'
	    AND soft.n >= soft_limit
	ORDER BY s.address_key
	ON CONFLICT (address_key, scope) DO NOTHING;
END
$$;
COMMENT ON FUNCTION ingest_run(int, bigint[]) IS 'Lets new events act on the send rows of one run and on suppression';

-- The one way by which anything heard changes a row or suppresses an address; dispatcher (for
-- refusals during the session) and feedback both call it. Facts are monotone and repeats do
-- nothing, so order and number of calls do not matter. Returns how many events were new.
CREATE FUNCTION ingest(p_source text[], p_kind text[], p_key text[], p_occurred timestamptz[],
    p_run int[], p_send int[], p_attempt int[], p_address text[], p_class text[], p_reason text[],
    p_code int[], p_enhanced text[], p_reply text[], p_remote text[], p_detail text[])
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	fresh bigint[];
	r int;
BEGIN
	WITH e AS (
		SELECT * FROM unnest(p_source, p_kind, p_key, p_occurred, p_run, p_send, p_attempt, p_address,
		    p_class, p_reason, p_code, p_enhanced, p_reply, p_remote, p_detail)
		    AS t(source, kind, key, occurred, run, send, attempt, address, class, reason, code,
			enhanced, reply, remote, detail)),
	i AS (
		INSERT INTO feedback_event (month, semantic_key, occurred_at, source, kind, run_id, send_id,
		    attempt, address_key, class, reason, code, enhanced, reply, remote, detail)
		SELECT date_trunc('month', coalesce(occurred, now()) AT TIME ZONE 'UTC')::date, key, occurred,
		    source, kind, run, send, attempt, address, class, reason, code, enhanced, reply, remote, detail
		FROM e ON CONFLICT (month, semantic_key) DO NOTHING RETURNING id)
	SELECT array_agg(id) INTO fresh FROM i;
	IF fresh IS NULL THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT DISTINCT t.run FROM unnest(p_run, p_send) AS t(run, send)
	    WHERE t.run IS NOT NULL AND t.send IS NOT NULL ORDER BY 1 LOOP
		IF to_regclass('kairan.send_' || r) IS NOT NULL THEN
			PERFORM ingest_run(r, fresh);
		END IF;
	END LOOP;
	-- Without a token of ours only a verified notification of our own account may suppress, and
	-- only the address that it names.
	INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
	SELECT DISTINCT ON (address_key) address_key, 'all',
	    CASE kind WHEN 'complained' THEN 'complaint' ELSE 'bounce' END, source,
	    concat_ws(' ', 'unlinked', enhanced, reason, reply), id
	FROM feedback_event
	WHERE id = ANY (fresh) AND send_id IS NULL AND source = 'sns' AND address_key IS NOT NULL
	    AND (kind = 'complained' OR (kind = 'bounced' AND class = 'hard'))
	ORDER BY address_key, kind DESC
	ON CONFLICT (address_key, scope) DO UPDATE SET reason = excluded.reason, source = excluded.source,
	    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL
	WHERE suppression_rank(excluded.reason) > suppression_rank(suppression.reason)
	    OR suppression.expires_at IS NOT NULL;
	RETURN cardinality(fresh);
END
$$;
COMMENT ON FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[], int[], text[], text[], text[], text[]) IS 'Takes events into the inbox and lets the new ones act on send and suppression; returns the number of new ones';
