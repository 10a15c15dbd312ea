-- SPDX-License-Identifier: Apache-2.0
-- A run is sealed sooner: indexes of its rows are built side by side and on what is compared first,
-- statistics are gathered behind the seal, and candidates are not scanned to learn what is known.

-- The producer looks often whether a run is due.
CREATE INDEX run_waiting ON run (due_at) WHERE state = 'scheduled';

ALTER TABLE run ADD statistics_due boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN run.statistics_due IS 'Its rows are there, but PostgreSQL has no statistics of them yet; the producer gathers them when it has nothing to plan';
CREATE INDEX run_statistics_due ON run (id) WHERE statistics_due;

-- Whoever has a number is counted in his domain. Only candidates without one can be excluded: the
-- producer's filters let nobody through. Mostly these are few, by chance alone one in ten thousand, and
-- an index of them spares a scan of all candidates for each question; without statistics PostgreSQL
-- takes them for one in two hundred.
CREATE OR REPLACE FUNCTION plan_stage(the_run int, matched bigint, the_epoch bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET work_mem = '256MB'
AS $$
DECLARE
	kept bigint;
	doubtful bigint;
	twins boolean := false;
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	EXECUTE format('SELECT $1 - coalesce(sum(recipients), 0) FROM domain_%s', the_run) INTO doubtful USING matched;
	IF doubtful > matched / 100 THEN
		EXECUTE format('ANALYZE candidate_%s', the_run);
	ELSIF doubtful > 0 THEN
		EXECUTE format('CREATE INDEX ON candidate_%s (recipient_id) WHERE j IS NULL', the_run);
	END IF;
	IF doubtful > 0 THEN
		PERFORM plan_exclude(the_run);
		EXECUTE format('DELETE FROM candidate_%1$s k USING exclusion_%1$s e WHERE e.recipient_id = k.recipient_id AND k.j IS NULL', the_run);
		-- only rows that were not numbered can have a twin that came before
		EXECUTE format($q$
			SELECT EXISTS (SELECT FROM candidate_%1$s k JOIN (SELECT DISTINCT address_key FROM candidate_%1$s
				WHERE j IS NULL) AS d ON d.address_key = k.address_key
			    GROUP BY k.address_key HAVING count(*) > 1)$q$, the_run) INTO twins;
	END IF;
	IF twins THEN
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

-- In a partition run_id is the same in every row, and PostgreSQL compares the first column of an index
-- much faster than the others: a recipient and an address are once in a run by an index on them alone,
-- which also finds an address without knowing the run. id is the primary key of send. Parallel workers
-- would take half as much processor time again; the producer has several indexes built at once instead.
CREATE FUNCTION plan_index(the_run int, which text[], the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET maintenance_work_mem = '128MB'
SET max_parallel_maintenance_workers = 0
AS $$
DECLARE
	w text;
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	IF (SELECT plan_cursor <> staged FROM run WHERE id = the_run) THEN
		RAISE EXCEPTION 'run % is not completely planned', the_run;
	END IF;
	FOREACH w IN ARRAY which LOOP
		-- one that a producer began before it died may still be under way
		PERFORM pg_advisory_xact_lock(hashtext('kairan.plan_index ' || w), the_run);
		IF w = 'id' THEN
			EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS send_%1$s_pkey ON send_%1$s (run_id, id)', the_run);
		ELSIF w = 'recipient' THEN
			EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS send_%1$s_recipient_id_key ON send_%1$s (recipient_id)', the_run);
		ELSIF w = 'address' THEN
			EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS send_%1$s_address_key_key ON send_%1$s (address_key)', the_run);
		ELSIF w = 'lane' AND EXISTS (SELECT FROM run_lane WHERE run_id = the_run AND paced) THEN
			EXECUTE format('CREATE INDEX IF NOT EXISTS send_%1$s_lane_id_idx ON send_%1$s (lane, id)', the_run);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION plan_index(int, text[], bigint) IS 'Builds those of the indexes id, recipient, address and lane of the send rows of a planned run that are not there yet. Several connections may, each others';

-- Only from here on can anyone see the send rows of the run: once their indexes have proved that
-- nobody is in it twice.
CREATE OR REPLACE FUNCTION plan_seal(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run FOR UPDATE;
	PERFORM plan_index(the_run, '{id,recipient,address,lane}', the_epoch);
	EXECUTE format('ALTER TABLE send_%1$s ADD CONSTRAINT send_%1$s_pkey PRIMARY KEY USING INDEX send_%1$s_pkey', the_run);
	EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', the_run);
	EXECUTE format('ALTER TABLE exclusion_%s ADD PRIMARY KEY (run_id, recipient_id)', the_run);
	EXECUTE format('ALTER TABLE exclusion ATTACH PARTITION exclusion_%1$s FOR VALUES IN (%1$s)', the_run);
	EXECUTE format('REVOKE INSERT ON send_%s FROM kairan_producer', the_run);
	EXECUTE format('DROP TABLE candidate_%1$s, domain_%1$s', the_run);
	UPDATE run SET planned = staged, low_water = 1, pushed = 0, statistics_due = true WHERE id = the_run;
	PERFORM run_move(the_run, ARRAY['planning']::run_state[], 'running');
END
$$;
COMMENT ON FUNCTION plan_seal(int, bigint) IS 'Makes the send rows of a planned run part of send, with the indexes that are not there yet, and sets it running';

-- Nobody waits for it: whatever is asked of the rows before goes by their indexes. Rows may be claimed and settled meanwhile.
CREATE FUNCTION plan_analyze() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	the_run int;
BEGIN
	SELECT id INTO the_run FROM run WHERE statistics_due ORDER BY id LIMIT 1;
	IF the_run IS NULL THEN
		RETURN NULL;
	END IF;
	IF to_regclass('kairan.send_' || the_run) IS NOT NULL THEN
		EXECUTE format('ANALYZE send_%s', the_run);
	END IF;
	UPDATE run SET statistics_due = false WHERE id = the_run;
	RETURN the_run;
END
$$;
COMMENT ON FUNCTION plan_analyze() IS 'Gathers the statistics of one run that was sealed without them, and returns its number; empty when there is none';

REVOKE ALL ON FUNCTION plan_index(int, text[], bigint), plan_analyze() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION plan_index(int, text[], bigint), plan_analyze() TO kairan_producer;
