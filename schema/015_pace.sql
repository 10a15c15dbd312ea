-- SPDX-License-Identifier: Apache-2.0
-- What operators set about the pace while programs run, and what the producer expected of a run.

CREATE TABLE pace_setting (
	name text PRIMARY KEY CHECK (name IN ('account_rate', 'hour_guard') OR name LIKE 'group:%'),
	value text NOT NULL CHECK (length(value) BETWEEN 1 AND 40),
	set_at timestamptz NOT NULL DEFAULT now(),
	set_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE pace_setting IS 'What kairan pace set has changed; lies over [pace] of the configuration. A row that is not there means what the file says';
COMMENT ON COLUMN pace_setting.name IS 'account_rate, hour_guard, or group:NAME for the rate of a provider';
COMMENT ON COLUMN pace_setting.value IS 'A rate such as 20/s, or strict, all, off';
COMMENT ON COLUMN pace_setting.set_at IS 'When';
COMMENT ON COLUMN pace_setting.set_by IS 'By whom, a user of the database';
GRANT SELECT ON pace_setting TO kairan_producer, kairan_dispatcher, kairan_operator, kairan_monitor;
GRANT INSERT, UPDATE, DELETE ON pace_setting TO kairan_operator;
GRANT UPDATE (rate_per_s) ON stream TO kairan_operator;

CREATE TABLE run_plan (
	run_id int PRIMARY KEY,
	made_at timestamptz NOT NULL DEFAULT now(),
	expected_finish timestamptz NOT NULL,
	messages bigint NOT NULL,
	rate_per_s double precision NOT NULL,
	basis text NOT NULL
);
COMMENT ON TABLE run_plan IS 'What the producer expected when it had planned a run; compared with what came of it';
COMMENT ON COLUMN run_plan.run_id IS 'Run';
COMMENT ON COLUMN run_plan.made_at IS 'When';
COMMENT ON COLUMN run_plan.expected_finish IS 'When the last recipient would be sent to';
COMMENT ON COLUMN run_plan.messages IS 'Recipients planned';
COMMENT ON COLUMN run_plan.rate_per_s IS 'Messages per second that the run would have; 0: no limit';
COMMENT ON COLUMN run_plan.basis IS 'Where that rate came from: stream, account, seen (the fastest minute of the last 30 days), none';
GRANT SELECT, INSERT, UPDATE ON run_plan TO kairan_producer;
GRANT SELECT ON run_plan TO kairan_operator, kairan_monitor;

-- The rate of a stream, how many other runs share it and the account, and the fastest minute that
-- all dispatchers together have had.
CREATE FUNCTION plan_rates(the_stream text, the_run int DEFAULT NULL, OUT rate_per_s float8, OUT of_stream bigint,
    OUT of_account bigint, OUT seen_per_s float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH others AS (SELECT c.stream_id FROM campaign_progress p JOIN run r ON r.id = p.run_id
		JOIN campaign c ON c.id = r.campaign_id
		WHERE p.state = 'running' AND p.queued > 0 AND p.run_id IS DISTINCT FROM the_run)
	SELECT s.rate_per_s, (SELECT count(*) FROM others o WHERE o.stream_id = s.id), (SELECT count(*) FROM others),
	    (SELECT max(n) / 60 FROM (SELECT sum(attempts)::float8 AS n FROM tally
		WHERE owner > 0 AND minute > now() - interval '30 days' GROUP BY minute) AS t)
	FROM stream s WHERE s.name = the_stream
$$;
COMMENT ON FUNCTION plan_rates(text, int) IS 'What a forecast for a run of this stream needs: its rate, how many other runs under way share stream and account, and the fastest minute of 30 days';
REVOKE ALL ON FUNCTION plan_rates(text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plan_rates(text, int) TO kairan_producer, kairan_operator;
