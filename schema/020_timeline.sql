-- SPDX-License-Identifier: Apache-2.0
-- Quarantine behind a fail-over: a standby that is promoted begins a new timeline, and may have missed
-- commits. On a new timeline nobody claims before everybody was heard who may have claimed on an earlier one.

-- The control file tells the timeline only after the next checkpoint; the name of the file of the log that is
-- being written tells it at once. Never called during recovery: whoever asks is about to write.
CREATE FUNCTION timeline() RETURNS int
LANGUAGE sql STABLE
AS $$ SELECT ('x' || left(pg_walfile_name('0/1'), 8))::bit(32)::int $$;
COMMENT ON FUNCTION timeline() IS 'Timeline of PostgreSQL; a promoted standby and a recovery to a point in time begin a new one, a restart does not';

ALTER TABLE installation ADD timeline int NOT NULL DEFAULT timeline();
COMMENT ON COLUMN installation.timeline IS 'Timeline on which dispatchers may claim; another one is in quarantine';

ALTER TABLE dispatcher ADD began int NOT NULL DEFAULT timeline(),
    ADD heard int NOT NULL DEFAULT timeline(),
    ADD unheard boolean NOT NULL DEFAULT false,
    ADD joined_at timestamptz NOT NULL DEFAULT now();
UPDATE dispatcher SET joined_at = started_at;
COMMENT ON COLUMN dispatcher.began IS 'Timeline on which it registered';
COMMENT ON COLUMN dispatcher.heard IS 'Newest timeline on which it was heard: none of its claims are missing, or its journal was told to the rows';
COMMENT ON COLUMN dispatcher.unheard IS 'It ended on a timeline on which it had not been heard';
COMMENT ON COLUMN dispatcher.joined_at IS 'Since when a fail-over waits for its lock, without a gap';

-- Holds for programs that know nothing of timelines, too: on a timeline on which it was not heard a
-- dispatcher claims nothing, and its end does not count as a word. A raise by fence_claims is no claim.
CREATE FUNCTION dispatcher_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = kairan, pg_temp
AS $$
BEGIN
	IF NEW.heard = timeline() THEN
		RETURN NEW;
	END IF;
	IF NEW.claim_seq = OLD.claim_seq + 1 THEN
		RETURN NULL;
	END IF;
	NEW.unheard := OLD.unheard OR (OLD.stopped_at IS NULL AND NEW.stopped_at IS NOT NULL);
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION dispatcher_guard() IS 'No claims by who was not heard on this timeline';

CREATE TRIGGER dispatcher_guard BEFORE UPDATE ON dispatcher FOR EACH ROW
WHEN (OLD.heard <> timeline()) EXECUTE FUNCTION dispatcher_guard();

-- Who may have claimed in what was lost: whoever had not ended in what was kept; when all had ended, who
-- ended last, since a dispatcher that is alone claims as soon as it has registered (dispatcher_enter()). The
-- word of one life is that of its lock: a registration whose answer was lost leaves a row that nobody is.
CREATE VIEW quarantine AS
SELECT d.id, d.name, d.host, d.lock_id, d.heartbeat_at, d.stopped_at IS NOT NULL AND NOT d.unheard AS ended
FROM dispatcher d
WHERE EXISTS (SELECT FROM installation i WHERE i.timeline <> timeline())
    AND (d.unheard OR (d.stopped_at IS NULL AND d.heard <> timeline())
	OR (d.id = (SELECT l.id FROM dispatcher l WHERE l.began <> timeline() ORDER BY l.stopped_at DESC, l.id DESC LIMIT 1)
	    AND NOT EXISTS (SELECT FROM dispatcher o WHERE o.began <> timeline()
		AND (o.stopped_at IS NULL OR o.unheard OR o.heard = timeline()))))
    AND NOT EXISTS (SELECT FROM dispatcher w WHERE w.lock_id = d.lock_id AND w.began <> timeline() AND w.heard = timeline());
COMMENT ON VIEW quarantine IS 'Dispatchers that have not been heard since PostgreSQL failed over: until they are, nobody claims';
COMMENT ON COLUMN quarantine.id IS 'dispatcher.id';
COMMENT ON COLUMN quarantine.name IS 'Configured name';
COMMENT ON COLUMN quarantine.host IS 'Host it ran on';
COMMENT ON COLUMN quarantine.lock_id IS 'Names its lock and its journal';
COMMENT ON COLUMN quarantine.heartbeat_at IS 'Last sign of life that was kept';
COMMENT ON COLUMN quarantine.ended IS 'It had ended, as the last of all';

-- Whoever is not heard on this timeline stays in the set until he is: it only shrinks, so nothing is locked.
CREATE FUNCTION quarantine_look() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	missing text := (SELECT string_agg(DISTINCT q.name || ' on ' || q.host, ', ') FROM quarantine q);
BEGIN
	IF missing IS NULL THEN
		UPDATE installation SET timeline = timeline() WHERE timeline <> timeline();
		IF FOUND THEN
			-- registrations that nobody is, of locks that were heard
			UPDATE dispatcher SET heard = timeline(), unheard = false
			WHERE unheard OR (stopped_at IS NULL AND heard <> timeline());
			INSERT INTO audit (action, object, detail) VALUES ('quarantine.end', 'timeline ' || timeline(), 'every dispatcher was heard');
		END IF;
	END IF;
	RETURN coalesce(missing, '');
END
$$;
COMMENT ON FUNCTION quarantine_look() IS 'Ends the quarantine when nobody is missing; returns who is';

-- A new life. here: the timeline on which its journal was compared; no row when it is another one by now.
-- known: the first life that its journal knows of, 0: none; whole: and it has no holes. Such a journal speaks
-- for the lives of its lock from then on: those that are not in it have claimed nothing. One with holes is
-- enough for a life that had ended, since that had settled everything, and a later one would be known.
--
-- A standby that misses this registration would not wait for its claims. So a lock that a fail-over would
-- not wait for yet has to wait itself until standbys know of it: join_s from the time at which it joined.
CREATE FUNCTION dispatcher_enter(the_name text, the_host text, the_lock text, here int, known int, whole boolean, join_s int)
RETURNS TABLE (id int, wait_s float8)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	since timestamptz;
BEGIN
	PERFORM FROM installation FOR UPDATE; -- who is alone is decided for one after the other
	IF timeline() <> here THEN
		RETURN;
	END IF;
	SELECT min(d.joined_at) INTO since FROM dispatcher d WHERE d.lock_id = the_lock
	    AND (d.stopped_at IS NULL OR d.unheard OR NOT EXISTS (SELECT FROM dispatcher o
		WHERE o.stopped_at IS NULL OR o.unheard OR (o.stopped_at, o.id) > (d.stopped_at, d.id)));
	IF since IS NULL THEN
		since := CASE WHEN EXISTS (SELECT FROM dispatcher) THEN now() ELSE now() - make_interval(secs => join_s) END;
	END IF;
	RETURN QUERY INSERT INTO dispatcher AS d (name, host, lock_id, began, heard, joined_at)
	VALUES (the_name, the_host, the_lock, here, here, since)
	RETURNING d.id, greatest(0, join_s - extract(epoch FROM now() - since))::float8;
	UPDATE dispatcher d SET heard = here, unheard = false FROM quarantine q
	WHERE q.id = d.id AND d.lock_id = the_lock AND known > 0 AND d.id >= known AND (whole OR q.ended);
END
$$;
COMMENT ON FUNCTION dispatcher_enter(text, text, text, int, int, boolean, int) IS 'Registers a life of a dispatcher; returns its number, and for how many seconds it has to wait before it claims';

-- A person's word: what it had claimed as far as PostgreSQL knows is in doubt; what it claimed in the commits
-- that were lost is sent to again.
CREATE FUNCTION quarantine_forget(the_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	gone int[] := (SELECT array_agg(q.id) FROM quarantine q WHERE q.name = the_name);
	doubtful bigint;
BEGIN
	SELECT coalesce(sum(dispatcher_bury(g)), 0) INTO doubtful FROM unnest(gone) AS g;
	UPDATE dispatcher SET heard = timeline(), unheard = false WHERE id = ANY (gone);
	IF gone IS NOT NULL THEN
		INSERT INTO audit (action, object, detail) VALUES ('quarantine.forget', the_name, doubtful || ' recipients in doubt');
	END IF;
	RETURN coalesce(cardinality(gone), 0);
END
$$;
COMMENT ON FUNCTION quarantine_forget(text) IS 'Goes on without a dispatcher that does not come back; returns how many of its lives were waited for';

-- A copy that is adopted waits for nobody: whoever registered did so elsewhere.
CREATE OR REPLACE FUNCTION installation_adopt(who text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	here bigint := (SELECT s.system_identifier FROM pg_control_system() AS s);
	held bigint := 0;
BEGIN
	IF EXISTS (SELECT FROM installation i WHERE i.system_id <> here) THEN
		held := runs_hold('this database is a copy that was adopted: resume what shall go out from here');
		UPDATE dispatcher SET heard = timeline(), unheard = false WHERE unheard OR (stopped_at IS NULL AND heard <> timeline());
	END IF;
	UPDATE installation SET system_id = here, timeline = timeline(), since = now(), adopted_by = session_user
	WHERE installation.system_id <> here;
	INSERT INTO audit (action, object, detail) VALUES ('dispatcher.adopt', who, held || ' runs paused');
	RETURN held;
END
$$;

REVOKE ALL ON FUNCTION timeline(), dispatcher_guard(), quarantine_look(), quarantine_forget(text),
    dispatcher_enter(text, text, text, int, int, boolean, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION timeline() TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator, kairan_monitor;
GRANT EXECUTE ON FUNCTION quarantine_look(), dispatcher_enter(text, text, text, int, int, boolean, int) TO kairan_dispatcher;
GRANT EXECUTE ON FUNCTION quarantine_forget(text) TO kairan_operator;
GRANT UPDATE (heard) ON dispatcher TO kairan_dispatcher;
GRANT SELECT ON quarantine TO kairan_dispatcher, kairan_operator, kairan_monitor;
