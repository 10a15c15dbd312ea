-- SPDX-License-Identifier: Apache-2.0
-- Where domains have their mail, as far as runs asked DNS for it; what was planned for each lane.

CREATE TABLE domain_mx (
	domain text PRIMARY KEY,
	hosts text NOT NULL,
	resolved_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE domain_mx IS 'Mail servers of the larger domains that the table of providers does not name; asked for when a run is planned (pace.mx_groups)';
COMMENT ON COLUMN domain_mx.domain IS 'Domain, lower case';
COMMENT ON COLUMN domain_mx.hosts IS 'Its mail servers of the lowest preference by name, a blank between; empty: it has no MX record that names one';
COMMENT ON COLUMN domain_mx.resolved_at IS 'When DNS said so';
COMMENT ON COLUMN domain_mx.expires_at IS 'Asked for again after; it still counts while DNS does not answer, and goes 30 days later';
GRANT SELECT, INSERT, UPDATE, DELETE ON domain_mx TO kairan_producer;
GRANT SELECT ON domain_mx TO kairan_operator;

ALTER TABLE run_lane ADD by_mx bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN run_lane.by_mx IS 'Of those planned, how many have a domain that was found by its mail servers';
COMMENT ON COLUMN run_lane.name IS 'Provider, domain of a large site, mx: and the mail server of a site of several domains, or tail-NN';
GRANT UPDATE (by_mx) ON run_lane TO kairan_producer;

-- ---------------------------------------------------------------- what was planned

ALTER TABLE run_plan ADD expected_p90 timestamptz, ADD p90_from text;
COMMENT ON COLUMN run_plan.expected_finish IS 'When the last recipient would be sent to (P50)';
COMMENT ON COLUMN run_plan.expected_p90 IS 'By when in nine runs of ten';
COMMENT ON COLUMN run_plan.p90_from IS 'How that was reckoned: earlier runs, or a minute of silence';
ALTER TABLE run_lane ADD planned_per_min float8, ADD expected_finish timestamptz;
COMMENT ON COLUMN run_lane.planned_per_min IS 'Messages in a minute that were planned at most; null: nothing was expected of the run';
COMMENT ON COLUMN run_lane.expected_finish IS 'When its last recipient would be sent to';
GRANT UPDATE (planned_per_min, expected_finish) ON run_lane TO kairan_producer;

CREATE FUNCTION plan_overrun(OUT runs bigint, OUT p90 float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT count(*), percentile_cont(0.9) WITHIN GROUP (ORDER BY
	    extract(epoch FROM r.finished_at - x.made_at) / extract(epoch FROM x.expected_finish - x.made_at))
	FROM (SELECT * FROM run_plan WHERE expected_finish > made_at + interval '1 min' ORDER BY made_at DESC LIMIT 50) AS x
	JOIN run r ON r.id = x.run_id AND r.state = 'finished'
$$;
COMMENT ON FUNCTION plan_overrun() IS 'Of the last 50 runs that were expected to take a minute or more: how many are finished, and how many times as long as expected nine of ten took at most';

-- By when outcomes were recorded; reads all recipients of the run.
CREATE FUNCTION plan_compare(the_run int) RETURNS TABLE (name text, provider text, recipients bigint, by_mx bigint,
    planned_per_min float8, expected_finish timestamptz, sent bigint, most_per_min bigint, finish timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH lanes AS (SELECT l.*, CASE WHEN l.name LIKE 'tail-%' THEN 'small sites' ELSE l.name END AS shown FROM run_lane l WHERE l.run_id = the_run),
	planned AS (SELECT shown, min(provider) AS provider, sum(recipients)::bigint AS recipients, sum(by_mx)::bigint AS by_mx,
	    sum(planned_per_min) AS planned_per_min, max(expected_finish) AS expected_finish FROM lanes GROUP BY 1),
	minutes AS (SELECT l.shown, count(*) AS n, max(s.settled_at) AS last FROM send s JOIN lanes l ON l.lane = s.lane
	    WHERE s.run_id = the_run AND s.state IN ('sent', 'failed', 'in_doubt') GROUP BY 1, date_trunc('minute', s.settled_at)),
	came AS (SELECT shown, sum(n)::bigint AS sent, max(n) AS most, max(last) AS finish FROM minutes GROUP BY 1)
	SELECT p.shown, p.provider, p.recipients, p.by_mx, p.planned_per_min, p.expected_finish, coalesce(c.sent, 0), coalesce(c.most, 0), c.finish
	FROM planned p LEFT JOIN came c USING (shown) ORDER BY p.recipients DESC, p.shown
$$;
COMMENT ON FUNCTION plan_compare(int) IS 'What was planned for the providers and large sites of a run, and what came of it: recipients with an outcome, the most in one minute, the last';

REVOKE ALL ON FUNCTION plan_overrun(), plan_compare(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plan_overrun() TO kairan_producer, kairan_operator;
GRANT EXECUTE ON FUNCTION plan_compare(int) TO kairan_operator;
