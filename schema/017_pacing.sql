-- SPDX-License-Identifier: Apache-2.0
-- Even sending: who goes first and with what weight, and how a new route grows.

-- ---------------------------------------------------------------- priority and weights

ALTER TABLE stream ADD kind text NOT NULL DEFAULT 'bulk' CHECK (kind IN ('transactional', 'triggered', 'bulk'));
COMMENT ON COLUMN stream.kind IS 'Who goes first where runs share a limit: transactional, then triggered, then bulk. Single mails are transactional in any stream';
UPDATE stream SET kind = 'transactional' WHERE name = 'transactional';

ALTER TABLE campaign ADD weight int NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100);
COMMENT ON COLUMN campaign.weight IS 'Its part of a limit that it shares with other campaigns of the same kind';

-- Runs that are not over, and those that ended lately.
CREATE INDEX run_ended ON run (coalesce(finished_at, 'infinity'));

CREATE FUNCTION urgent_in_use(the_stream int DEFAULT NULL) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
		WHERE coalesce(r.finished_at, 'infinity') > now() - interval '7 days'
		    AND r.state IN ('running', 'paused', 'finished')
		    AND (r.snapshot ? 'mail' OR s.kind = 'transactional')
		    AND (the_stream IS NULL OR c.stream_id = the_stream))
$$;
COMMENT ON FUNCTION urgent_in_use(int) IS 'Whether transactional mail went out in the last 7 days, of a stream or of any: then other mail leaves a part of the limits to it';

CREATE FUNCTION mail_waits() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM run WHERE coalesce(finished_at, 'infinity') = 'infinity' AND state = 'running'
		AND snapshot ? 'mail' AND planned > pushed)
$$;
COMMENT ON FUNCTION mail_waits() IS 'Whether a single mail was handed in that the producer has not handed over yet';

REVOKE ALL ON FUNCTION urgent_in_use(int), mail_waits() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION urgent_in_use(int) TO kairan_producer, kairan_operator;
GRANT EXECUTE ON FUNCTION mail_waits() TO kairan_producer;
GRANT UPDATE (kind) ON stream TO kairan_operator;

-- ---------------------------------------------------------------- warm-up

CREATE TABLE warmup (
	pool text PRIMARY KEY DEFAULT 'kairan',
	schedule text NOT NULL CHECK (length(schedule) BETWEEN 1 AND 31),
	day int NOT NULL DEFAULT 0 CHECK (day >= 0),
	day_began timestamptz NOT NULL DEFAULT now(),
	held text NOT NULL DEFAULT '',
	started_at timestamptz NOT NULL DEFAULT now(),
	started_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE warmup IS 'A new route that grows by a schedule: how many recipients it may have in 24 hours';
COMMENT ON COLUMN warmup.pool IS 'The pool of limiters, and so the route';
COMMENT ON COLUMN warmup.schedule IS 'Its name in the table of schedules; kairan pace set --warmup';
COMMENT ON COLUMN warmup.day IS 'Good days behind it';
COMMENT ON COLUMN warmup.day_began IS 'When the day began';
COMMENT ON COLUMN warmup.held IS 'Why the next day does not begin; empty: nothing holds it';
COMMENT ON COLUMN warmup.started_at IS 'When it was started';
COMMENT ON COLUMN warmup.started_by IS 'By whom, a user of the database';

CREATE FUNCTION warmup_rates(OUT attempted bigint, OUT hard bigint, OUT sent bigint, OUT complained bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT coalesce(sum(t.sent + t.failed), 0)::bigint, coalesce(sum(t.hard), 0)::bigint, coalesce(sum(t.sent), 0)::bigint,
	    coalesce(sum(t.complained), 0)::bigint FROM tally t WHERE t.minute > now() - interval '24 hours'
$$;
COMMENT ON FUNCTION warmup_rates() IS 'What a warm-up is judged by: mails, hard bounces and complaints of the last 24 hours';

REVOKE ALL ON FUNCTION warmup_rates() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION warmup_rates() TO kairan_producer, kairan_operator;
GRANT SELECT ON warmup TO kairan_producer, kairan_operator, kairan_monitor;
GRANT UPDATE (day, day_began, held) ON warmup TO kairan_producer;
GRANT INSERT, UPDATE, DELETE ON warmup TO kairan_operator;

-- ---------------------------------------------------------------- spread

ALTER TABLE campaign ADD spread_s int CHECK (spread_s BETWEEN 60 AND 31622400);
COMMENT ON COLUMN campaign.spread_s IS 'Seconds over which a run is spread evenly, counted from its beginning; NULL: as fast as its limits let it';

-- ---------------------------------------------------------------- quiet hours

ALTER TABLE campaign ADD quiet_from smallint CHECK (quiet_from BETWEEN 0 AND 1439),
    ADD quiet_till smallint CHECK (quiet_till BETWEEN 0 AND 1439),
    ADD time_zone text NOT NULL DEFAULT 'UTC', ADD zone_field text NOT NULL DEFAULT 'time_zone',
    ADD CHECK ((quiet_from IS NULL) = (quiet_till IS NULL) AND quiet_from <> quiet_till);
COMMENT ON COLUMN campaign.quiet_from IS 'Minute of the recipient''s day from which nothing is sent to him; NULL: no quiet hours';
COMMENT ON COLUMN campaign.quiet_till IS 'Minute of his day from which it is sent again';
COMMENT ON COLUMN campaign.time_zone IS 'His time zone when the customer has none that is known';
COMMENT ON COLUMN campaign.zone_field IS 'Column or attribute of the customer with his time zone';
ALTER TABLE run_lane ADD time_zone text NOT NULL DEFAULT '';
COMMENT ON COLUMN run_lane.time_zone IS 'Of its recipients, when the run has quiet hours; it then has a list of its own';
