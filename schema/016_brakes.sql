-- SPDX-License-Identifier: Apache-2.0
-- What replies of providers have braked, lanes that get a list of their own for it, and the sweep of
-- recipients that are too late.

CREATE TABLE brake (
	name text PRIMARY KEY,
	mode text NOT NULL CHECK (mode IN ('free', 'rate', 'hold', 'probe', 'stop')),
	since timestamptz,
	until timestamptz,
	rate_per_s double precision,
	connections int,
	messages_per_connection int,
	why text NOT NULL,
	detail text NOT NULL CHECK (length(detail) < 640),
	changed_at timestamptz NOT NULL DEFAULT now(),
	release_by text
) WITH (fillfactor = 50);
COMMENT ON TABLE brake IS 'Destinations that replies have slowed down. Kept by the leading producer, so that a restart of anything does not forget them; a row that is not there is not braked';
COMMENT ON COLUMN brake.name IS 'Provider, domain of a large site, or account: all that leaves';
COMMENT ON COLUMN brake.mode IS 'rate: slower; hold: silence for a time; probe: one message shows whether it is over; stop: silence until kairan pace release; free: its rate is not held, but connections are, or it is remembered for a while';
COMMENT ON COLUMN brake.since IS 'Since when it is in this mode';
COMMENT ON COLUMN brake.until IS 'hold: when the probe is due; probe: when the next one is; rate: no faster before';
COMMENT ON COLUMN brake.rate_per_s IS 'Messages per second, of all dispatchers together; in hold, probe and stop what was had before';
COMMENT ON COLUMN brake.connections IS 'Most connections of one dispatcher; empty: as configured';
COMMENT ON COLUMN brake.messages_per_connection IS 'Most messages of one connection; empty: as configured';
COMMENT ON COLUMN brake.why IS 'Reaction of the provider table that acted last, and the reply code';
COMMENT ON COLUMN brake.detail IS 'Everything that the producer needs to go on from here (common/pace/brake.c)';
COMMENT ON COLUMN brake.changed_at IS 'Last change';
COMMENT ON COLUMN brake.release_by IS 'Who asked for its release; the producer then removes the row';
GRANT SELECT, INSERT, UPDATE, DELETE ON brake TO kairan_producer;
GRANT SELECT ON brake TO kairan_dispatcher, kairan_operator, kairan_monitor;
GRANT UPDATE (release_by) ON brake TO kairan_operator;

ALTER TABLE run ADD relisted int NOT NULL DEFAULT 0;
COMMENT ON COLUMN run.relisted IS 'How often lanes were given lists of their own after planning; dispatchers and producer then read them anew';

-- Lanes of running runs that are braked get a list of their own, so that they can wait alone. What
-- was handed over in the list of all others asks for a permit of the new list when it is claimed.
-- Without the index that plan_seal() makes for such lanes they are found by the primary key.
CREATE FUNCTION lanes_relist(names text[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH l AS (UPDATE run_lane l SET paced = true, pushed = r.pushed,
		    handed = CASE WHEN r.planned > 0 THEN l.recipients * r.pushed / r.planned ELSE 0 END
		FROM run r WHERE r.id = l.run_id AND r.state = 'running' AND NOT l.paced AND l.name = ANY (names)
		RETURNING l.run_id),
	r AS (UPDATE run SET relisted = relisted + 1 WHERE id IN (SELECT run_id FROM l))
	SELECT count(*) FROM l
$$;
COMMENT ON FUNCTION lanes_relist(text[]) IS 'Gives lanes of running runs with these names a list of their own; returns how many';

COMMENT ON COLUMN run_lane.paced IS 'Its recipients wait in a list of their own: when the run was planned it had a limit or an hour guard of its own, or it was braked later. The others share one';

-- Whoever has waited for another try for too long, or with unsent for a try at all, by the age of the
-- run. Claimed rows are settled by their dispatcher, or buried with it.
CREATE FUNCTION send_expire(age interval, unsent interval DEFAULT NULL) RETURNS TABLE (run_id int, recipients bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	p record;
BEGIN
	FOR p IN SELECT g.run_id AS id, CASE WHEN g.started_at < now() - unsent THEN ARRAY['deferred', 'queued']::send_state[]
			ELSE ARRAY['deferred']::send_state[] END AS states
		FROM campaign_progress g WHERE g.state IN ('running', 'paused') AND g.planned > 0
		AND (g.deferred > 0 AND g.started_at < now() - age OR g.queued > 0 AND g.started_at < now() - unsent) LOOP
		run_id := p.id;
		recipients := send_move_all(p.id, p.states, 'expired', 'too_late');
		IF recipients > 0 THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION send_expire(interval, interval) IS 'Ends recipients of runs older than that: those that wait for another try, and with the second age those never tried; returns how many by run';

REVOKE ALL ON FUNCTION lanes_relist(text[]), send_expire(interval, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lanes_relist(text[]), send_expire(interval, interval) TO kairan_producer;
