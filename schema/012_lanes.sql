-- SPDX-License-Identifier: Apache-2.0
-- Lanes: which mailbox provider, large site or part of the tail a recipient belongs to. The order
-- of a run keeps each of them near its share at every moment; those with a pace of their own are
-- handed out and released by themselves.

ALTER TABLE domain ADD lane smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN domain.lane IS 'Its lane in run_lane';

-- Never changed after planning, so that it may stand in an index and rows still stay on their page.
ALTER TABLE send ADD lane smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN send.lane IS 'Its lane in run_lane; 0: the run has no lanes';

CREATE TABLE run_lane (
	run_id int NOT NULL,
	lane smallint NOT NULL CHECK (lane > 0),
	name text NOT NULL,
	provider text NOT NULL,
	paced boolean NOT NULL,
	recipients bigint NOT NULL DEFAULT 0,
	pushed int NOT NULL DEFAULT 0,
	handed bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, lane)
) WITH (fillfactor = 50);
COMMENT ON TABLE run_lane IS 'Lanes of a run: its providers, large sites, and 16 parts of the tail';
COMMENT ON COLUMN run_lane.run_id IS 'Run';
COMMENT ON COLUMN run_lane.lane IS 'Number, from 1';
COMMENT ON COLUMN run_lane.name IS 'Provider, domain of a large site, or tail-NN';
COMMENT ON COLUMN run_lane.provider IS 'Group of the provider table';
COMMENT ON COLUMN run_lane.paced IS 'When the run was planned, it had a limit or an hour guard of its own: its recipients wait in a list of their own. The others share one';
COMMENT ON COLUMN run_lane.recipients IS 'Recipients planned';
COMMENT ON COLUMN run_lane.pushed IS 'When paced: its send ids up to here were handed over';
COMMENT ON COLUMN run_lane.handed IS 'When paced: how many these were';
GRANT SELECT, INSERT, DELETE, UPDATE (recipients, pushed, handed) ON run_lane TO kairan_producer;
GRANT SELECT ON run_lane TO kairan_dispatcher, kairan_operator, kairan_monitor;

-- Working tables of a run that is being planned now have no lanes: its planning begins anew.
UPDATE run SET staged = 0 WHERE state = 'planning';

-- As before, with lanes: those with a list of their own are read by lane.
CREATE OR REPLACE FUNCTION plan_seal(the_run int, the_epoch bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET maintenance_work_mem = '128MB'
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run FOR UPDATE;
	PERFORM plan_fence(the_run, the_epoch);
	IF (SELECT plan_cursor <> staged FROM run WHERE id = the_run) THEN
		RAISE EXCEPTION 'run % is not completely planned', the_run;
	END IF;
	EXECUTE format('ALTER TABLE send_%1$s ADD PRIMARY KEY (run_id, id), ADD UNIQUE (run_id, recipient_id), ADD UNIQUE (run_id, address_key)', the_run);
	IF EXISTS (SELECT FROM run_lane WHERE run_id = the_run AND paced) THEN
		EXECUTE format('CREATE INDEX ON send_%s (lane, id)', the_run);
	END IF;
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
