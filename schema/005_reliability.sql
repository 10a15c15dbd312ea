-- SPDX-License-Identifier: Apache-2.0
-- Crash safety: journal, doubt, recovery.

-- A claim that is acknowledged must be durable, whatever the default of the cluster.
DO $durable$
BEGIN
	ALTER ROLE kairan_dispatcher SET synchronous_commit = 'on';
EXCEPTION WHEN insufficient_privilege THEN
	RAISE NOTICE 'not allowed to set synchronous_commit for kairan_dispatcher; it refuses to start when it is off';
END
$durable$;

-- ---------------------------------------------------------------- whose database is this

CREATE TABLE installation (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	system_id bigint NOT NULL,
	since timestamptz NOT NULL DEFAULT now(),
	adopted_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE installation IS 'The PostgreSQL cluster that dispatchers send from; a copy of this database in another cluster does not send until it is adopted';
COMMENT ON COLUMN installation.one IS 'There is one row';
COMMENT ON COLUMN installation.system_id IS 'System identifier of the cluster';
COMMENT ON COLUMN installation.since IS 'Since when';
COMMENT ON COLUMN installation.adopted_by IS 'Database user who first started a dispatcher here, or adopted the copy';

CREATE FUNCTION installation_enter() RETURNS TABLE (system_id bigint, is_ours boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	here bigint := (SELECT s.system_identifier FROM pg_control_system() AS s);
BEGIN
	INSERT INTO installation (system_id) VALUES (here) ON CONFLICT DO NOTHING;
	RETURN QUERY SELECT here, i.system_id = here FROM installation i;
END
$$;
COMMENT ON FUNCTION installation_enter() IS 'Identifier of this cluster, and whether it is the one that sends; the first to ask makes it so';

-- Everything that would go out is held, so that a person looks first.
CREATE FUNCTION runs_hold(why text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT count(*) FILTER (WHERE run_move(id, ARRAY['running']::run_state[], 'paused', why))
	FROM run WHERE state = 'running'
$$;
COMMENT ON FUNCTION runs_hold(text) IS 'Pauses every running run; returns how many';

CREATE FUNCTION installation_adopt(who text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	here bigint := (SELECT s.system_identifier FROM pg_control_system() AS s);
	held bigint := 0;
BEGIN
	IF EXISTS (SELECT FROM installation i WHERE i.system_id <> here) THEN
		held := runs_hold('this database is a copy that was adopted: resume what shall go out from here');
	END IF;
	UPDATE installation SET system_id = here, since = now(), adopted_by = session_user WHERE installation.system_id <> here;
	INSERT INTO audit (action, object, detail) VALUES ('dispatcher.adopt', who, held || ' runs paused');
	RETURN held;
END
$$;
COMMENT ON FUNCTION installation_adopt(text) IS 'Makes this copy of the database one that sends, with all running runs paused; returns how many';

-- ---------------------------------------------------------------- recovery

ALTER TABLE dispatcher ADD recovered_at timestamptz;
COMMENT ON COLUMN dispatcher.recovered_at IS 'When a later life with the same journal had settled what this one held';
UPDATE dispatcher SET recovered_at = now() WHERE stopped_at IS NOT NULL;

CREATE FUNCTION dispatcher_fence(dead int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$ UPDATE dispatcher SET fenced_at = coalesce(fenced_at, now()) WHERE id = dead $$;
COMMENT ON FUNCTION dispatcher_fence(int) IS 'From now on this dispatcher claims nothing; it stops when it sees this';

-- What a dead dispatcher had in hand: claimed rows, and those that were put in doubt only because
-- it seemed lost. What it put in doubt itself stays so: its journal may have forgotten those.
CREATE FUNCTION recover_rows(dead int)
RETURNS TABLE (run_id int, id int, attempt smallint, tries smallint, state send_state, address text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT t.run_id FROM tally t WHERE t.owner = dead GROUP BY t.run_id ORDER BY 1 LOOP
		IF to_regclass('kairan.send_' || r.run_id) IS NOT NULL THEN
			RETURN QUERY EXECUTE format($q$
				SELECT run_id, id, attempt, tries, state, address FROM send_%s
				WHERE owner = $1 AND (state = 'sending' OR (state = 'in_doubt' AND reason = 'owner_lost'))
				ORDER BY id$q$, r.run_id) USING dead;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION recover_rows(int) IS 'Recipients that a dead dispatcher held without an outcome of its own';

CREATE FUNCTION send_unsend(the_run int, the_owner int, ids int[], attempts smallint[]) RETURNS SETOF int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	goal send_state;
	gone bigint;
	doubted bigint;
	moved int[];
BEGIN
	-- a run that ended meanwhile is not begun again behind the back of who saw it end
	SELECT CASE WHEN state IN ('running', 'paused') THEN 'queued'
	    WHEN state = 'cancelled' THEN 'cancelled' ELSE 'failed' END
	INTO goal FROM run WHERE id = the_run FOR UPDATE;
	WITH old AS (
		SELECT s.id, s.state FROM send s
		JOIN unnest(ids, attempts) AS o(id, attempt) ON o.id = s.id AND o.attempt = s.attempt
		WHERE s.run_id = the_run AND s.owner = the_owner
		    AND (s.state = 'sending' OR (s.state = 'in_doubt' AND s.reason = 'owner_lost')) FOR UPDATE OF s),
	u AS (
		UPDATE send s SET state = goal, not_before = NULL,
		    class = CASE WHEN goal = 'failed' THEN 'soft' END,
		    reason = CASE WHEN goal = 'queued' THEN NULL ELSE 'not_sent' END
		FROM old WHERE s.run_id = the_run AND s.id = old.id RETURNING s.id, old.state)
	SELECT array_agg(u.id ORDER BY u.id), count(*) FILTER (WHERE u.state = 'sending'),
	    count(*) FILTER (WHERE u.state = 'in_doubt') INTO moved, gone, doubted FROM u;
	IF gone + doubted > 0 THEN
		PERFORM tally_add(the_run, the_owner, d_claimed => - gone, d_in_doubt => - doubted,
		    d_failed => CASE WHEN goal = 'failed' THEN gone + doubted ELSE 0 END,
		    d_cancelled => CASE WHEN goal = 'cancelled' THEN gone + doubted ELSE 0 END);
		UPDATE tally SET released = released + gone + doubted
		WHERE run_id = the_run AND owner = the_owner AND minute = date_trunc('minute', now());
	END IF;
	IF goal = 'queued' THEN
		RETURN QUERY SELECT unnest(moved);
	END IF;
END
$$;
COMMENT ON FUNCTION send_unsend(int, int, int[], smallint[]) IS 'Takes back claims of which nothing was sent, even when they were put in doubt because the owner seemed lost; returns those that are queued again. In a run that has ended they become failed, which `campaign retry --failed` finds';

CREATE FUNCTION dispatcher_recovered(dead int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	UPDATE dispatcher SET stopped_at = coalesce(stopped_at, now()), recovered_at = now() WHERE id = dead
$$;
COMMENT ON FUNCTION dispatcher_recovered(int) IS 'Notes that everything a dead dispatcher held is settled';

-- After PostgreSQL has lost commits: what a journal knows counts for more than what rows say. A
-- row that moved on meanwhile (a later attempt) is left alone.
CREATE FUNCTION journal_assert(runs int[], ids int[], attempts smallint[], owners int[], remote_ids text[],
    accepted boolean[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	r record;
	total bigint := 0;
BEGIN
	FOR r IN
		WITH j AS (SELECT * FROM unnest(runs, ids, attempts, owners, remote_ids, accepted)
			AS t(run_id, id, attempt, owner, remote_id, accepted)),
		old AS (SELECT s.run_id, s.id, s.state FROM send s JOIN j ON j.run_id = s.run_id AND j.id = s.id
			WHERE s.attempt <= j.attempt AND (s.state IN ('queued', 'deferred', 'sending')
			    OR (s.state = 'in_doubt' AND j.accepted)) FOR UPDATE OF s),
		u AS (UPDATE send s SET state = CASE WHEN j.accepted THEN 'sent' ELSE 'in_doubt' END::send_state,
			attempt = j.attempt, owner = j.owner, remote_id = j.remote_id, settled_at = now(), not_before = NULL,
			reason = CASE WHEN j.accepted THEN NULL ELSE 'commit_lost' END
			FROM old JOIN j USING (run_id, id)
			WHERE s.run_id = old.run_id AND s.id = old.id RETURNING s.run_id, old.state AS was, s.state)
		SELECT u.run_id, u.was, u.state, count(*) AS n FROM u GROUP BY 1, 2, 3 LOOP
		total := total + r.n;
		PERFORM tally_add(r.run_id, 0,
		    d_claimed => CASE WHEN r.was = 'sending' THEN - r.n ELSE 0 END,
		    d_deferred => CASE WHEN r.was = 'deferred' THEN - r.n ELSE 0 END,
		    d_sent => CASE WHEN r.state = 'sent' THEN r.n ELSE 0 END,
		    d_in_doubt => CASE WHEN r.state = 'in_doubt' THEN r.n ELSE 0 END
			- CASE WHEN r.was = 'in_doubt' THEN r.n ELSE 0 END);
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION journal_assert(int[], int[], smallint[], int[], text[], boolean[]) IS 'Puts right the rows whose outcomes PostgreSQL has lost, from the journal of a dispatcher; returns how many';

-- ---------------------------------------------------------------- doubt

CREATE TABLE doubt (
	run_id int NOT NULL,
	send_id int NOT NULL,
	attempt int NOT NULL,
	how text NOT NULL CHECK (how IN ('assumed_sent', 'resent', 'resent_by_policy')),
	at timestamptz NOT NULL DEFAULT now(),
	who text NOT NULL DEFAULT session_user,
	PRIMARY KEY (run_id, send_id, attempt)
);
COMMENT ON TABLE doubt IS 'Recipients that were taken out of doubt without evidence, by a person or by on_doubt = resend';
COMMENT ON COLUMN doubt.run_id IS 'Run';
COMMENT ON COLUMN doubt.send_id IS 'send.id';
COMMENT ON COLUMN doubt.attempt IS 'The attempt that was in doubt';
COMMENT ON COLUMN doubt.how IS 'assumed_sent, resent, or resent_by_policy';
COMMENT ON COLUMN doubt.at IS 'When';
COMMENT ON COLUMN doubt.who IS 'Database user';

-- One statement decides per row: it must still be in doubt with this attempt. NULL ids: all.
CREATE FUNCTION doubt_settle(the_run int, ids int[], the_how text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	n bigint;
	goal send_state := CASE WHEN the_how = 'assumed_sent' THEN 'sent' ELSE 'queued' END;
	was run_state;
BEGIN
	SELECT state INTO was FROM run WHERE id = the_run FOR UPDATE;
	IF goal = 'queued' AND was NOT IN ('running', 'paused', 'finished') THEN
		RAISE EXCEPTION 'run % is %: nothing is sent again', the_run, was
		    USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	WITH d AS (
		SELECT id, attempt FROM send WHERE run_id = the_run AND state = 'in_doubt'
		    AND (ids IS NULL OR id = ANY (ids))
		    -- by itself a second copy goes out once, never a third
		    AND (the_how <> 'resent_by_policy' OR NOT EXISTS (SELECT FROM doubt o
			WHERE o.run_id = the_run AND o.send_id = send.id AND o.how LIKE 'resent%'))
		FOR UPDATE),
	k AS (INSERT INTO doubt (run_id, send_id, attempt, how) SELECT the_run, id, attempt, the_how FROM d
		ON CONFLICT (run_id, send_id, attempt) DO UPDATE SET how = excluded.how, at = now(), who = excluded.who),
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
COMMENT ON FUNCTION doubt_settle(int, int[], text) IS 'Takes recipients of a run out of doubt: assumed_sent, resent, resent_by_policy (at most one extra copy); NULL ids: all; returns how many';

-- on_doubt = resend: whoever is in doubt for longer than evidence usually takes gets it once more.
CREATE FUNCTION doubt_policy(patience interval) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT coalesce(sum(doubt_settle(d.run_id, d.ids, 'resent_by_policy')), 0)::bigint FROM (
		SELECT s.run_id, array_agg(s.id) AS ids FROM campaign_progress p JOIN run r ON r.id = p.run_id
		JOIN send s ON s.run_id = r.id AND s.state = 'in_doubt' AND s.settled_at < now() - patience
		WHERE p.in_doubt > 0 AND r.state IN ('running', 'finished') AND r.snapshot ->> 'on_doubt' = 'resend'
		    AND NOT EXISTS (SELECT FROM doubt o WHERE o.run_id = s.run_id AND o.send_id = s.id AND o.how LIKE 'resent%')
		GROUP BY s.run_id) AS d
$$;
COMMENT ON FUNCTION doubt_policy(interval) IS 'Queues recipients in doubt again in runs with on_doubt = resend, each at most once; returns how many';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION installation_enter(), installation_adopt(text), runs_hold(text), dispatcher_fence(int),
    recover_rows(int), send_unsend(int, int, int[], smallint[]), dispatcher_recovered(int),
    journal_assert(int[], int[], smallint[], int[], text[], boolean[]), doubt_settle(int, int[], text),
    doubt_policy(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION installation_enter(), installation_adopt(text), runs_hold(text), dispatcher_fence(int),
    recover_rows(int), send_unsend(int, int, int[], smallint[]), dispatcher_recovered(int),
    journal_assert(int[], int[], smallint[], int[], text[], boolean[]) TO kairan_dispatcher;
GRANT EXECUTE ON FUNCTION doubt_policy(interval) TO kairan_producer;
GRANT EXECUTE ON FUNCTION doubt_settle(int, int[], text) TO kairan_operator;
GRANT EXECUTE ON FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[],
    int[], text[], text[], text[], text[]) TO kairan_operator;
GRANT SELECT ON installation, doubt TO kairan_operator;
GRANT SELECT ON installation TO kairan_dispatcher;
