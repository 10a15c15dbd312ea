-- SPDX-License-Identifier: Apache-2.0
--
-- views.sql: procedures that fill runs for views.sh. What Kairan's own statements would have left behind, by the
-- set: 2,000 domains, 40 lanes, 5 % failed, 2.7 % deferred, 2 % bounced later, 50 in doubt in a big run, an
-- event of nine rows in ten, outcomes over 48 hours, opens for two weeks.

SET search_path = kairan;

-- rows of a run and their indexes; not logged when wal_level is minimal, as the table is of the same transaction
CREATE PROCEDURE bench_send(r int, n int, began timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE send_%s (LIKE send INCLUDING DEFAULTS INCLUDING COMMENTS)', r);
	EXECUTE format($q$INSERT INTO send_%1$s (run_id, id, recipient_id, state, attempt, owner, lane, code, address, address_key,
		claimed_at, settled_at, delivered_at, bounced_at, class, reason, enhanced, reply, remote)
	SELECT %1$s, i, i, CASE WHEN i %% greatest(%2$s / 50, 37) = 0 THEN 'in_doubt' WHEN i %% 20 = 0 THEN 'failed' WHEN i %% 37 = 0 THEN 'deferred' ELSE 'sent' END::send_state,
		1, 1 + i %% 2, 1 + i %% 40, 250, a, a, t, t, CASE WHEN i %% 10 <> 0 AND i %% 37 <> 0 THEN t + interval '1 minute' END,
		CASE WHEN i %% 50 = 1 THEN t + interval '1 hour' END, CASE WHEN i %% 20 = 0 OR i %% 50 = 1 THEN 'hard' END,
		CASE WHEN i %% 20 = 0 THEN 'user_unknown' END, '2.0.0',
		CASE WHEN i %% 20 = 0 THEN '550 5.1.1 <' || a || '>: user unknown ' || i %% 7 ELSE 'queued as ' || upper(to_hex(i + 268435456)) END, 'mx.example'
	FROM (SELECT i, 'user' || i || '@d' || i %% 2000 || '.example' AS a, %3$L::timestamptz + interval '2 days' * random() AS t
		FROM generate_series(1, %2$s) AS i) AS x$q$, r, n, began);
	EXECUTE format('ALTER TABLE send_%1$s ADD CONSTRAINT of_run CHECK (run_id = %1$s), ADD PRIMARY KEY (run_id, id)', r);
	EXECUTE format('CREATE UNIQUE INDEX ON send_%1$s (recipient_id)', r);
	EXECUTE format('CREATE UNIQUE INDEX ON send_%1$s (address_key)', r);
	EXECUTE format('CREATE INDEX ON send_%1$s (lane, id)', r);
	EXECUTE format('CREATE TABLE exclusion_%1$s (LIKE exclusion INCLUDING DEFAULTS INCLUDING COMMENTS, CHECK (run_id = %1$s))', r);
	EXECUTE format($q$INSERT INTO exclusion_%1$s SELECT %1$s, %2$s + i, 'gone' || i || '@d' || i %% 2000 || '.example', 'suppressed', 'bounce'
		FROM generate_series(1, %2$s / 50) AS i$q$, r, n);
	EXECUTE format('ALTER TABLE exclusion_%s ADD PRIMARY KEY (run_id, recipient_id)', r);
	EXECUTE format('ANALYZE send_%1$s, exclusion_%1$s', r);
	COMMIT;
	EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', r);
	EXECUTE format('ALTER TABLE exclusion ATTACH PARTITION exclusion_%1$s FOR VALUES IN (%1$s)', r);
	COMMIT;
END
$$;

-- the summaries of a run
CREATE PROCEDURE bench_counts(r int) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO doubtful (run_id, send_id) SELECT run_id, id FROM send_%s WHERE state = ''in_doubt''', r);
	EXECUTE format('INSERT INTO retry (run_id, send_id, due_at) SELECT run_id, id, ''infinity'' FROM send_%s WHERE state = ''deferred'' AND id < 100000', r);
	PERFORM tally_reply_fill(r);
	INSERT INTO tally (run_id, owner, minute, sent, failed, deferred, in_doubt, attempts, hard)
		SELECT r, owner, date_trunc('minute', settled_at), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE state = 'failed'),
		count(*) FILTER (WHERE state = 'deferred'), count(*) FILTER (WHERE state = 'in_doubt'), count(*),
		count(*) FILTER (WHERE state = 'failed') FROM send WHERE run_id = r GROUP BY 2, 3;
	INSERT INTO tally (run_id, owner, minute, delivered, bounced, hard)
		SELECT r, -1, date_trunc('minute', settled_at), count(delivered_at), count(bounced_at), count(bounced_at)
		FROM send WHERE run_id = r AND (delivered_at IS NOT NULL OR bounced_at IS NOT NULL) GROUP BY 3;
	-- opens, which are heard for two weeks in ever fewer minutes
	INSERT INTO tally AS t (run_id, owner, minute, opened, clicked)
		SELECT r, -1, date_trunc('minute', started_at + interval '14 days' * power(i / 50000.0::float8, 4)), n * count(*), n * count(*) / 10
		FROM (SELECT started_at, least(planned, 50000) AS opens, greatest(planned / 50000, 1) AS n FROM run WHERE id = r) AS o,
		generate_series(1, opens) AS i WHERE started_at + interval '14 days' * power(i / 50000.0::float8, 4) < now() GROUP BY 3, n
		ON CONFLICT (run_id, owner, minute) DO UPDATE SET opened = excluded.opened, clicked = excluded.clicked;
	INSERT INTO tally_domain (run_id, hour, domain, owner, attempted, sent, delivered, hard)
		SELECT r, date_trunc('hour', settled_at), split_part(address_key, '@', 2), owner, count(*), count(*) FILTER (WHERE state = 'sent'),
		count(delivered_at), count(*) FILTER (WHERE class = 'hard') FROM send WHERE run_id = r AND state IN ('sent', 'failed') GROUP BY 2, 3, 4;
	INSERT INTO run_lane (run_id, lane, name, provider, paced, recipients)
		SELECT r, lane, 'lane-' || lane, 'p' || lane, lane < 10, count(*) FROM send WHERE run_id = r GROUP BY lane;
	INSERT INTO tally_lane (run_id, lane, owner, attempted, sent, hard)
		SELECT r, lane, owner, count(*), count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE class = 'hard')
		FROM send WHERE run_id = r GROUP BY lane, owner;
	INSERT INTO link SELECT r, 'l' || i, 'https://shop.example/' || i FROM generate_series(1, 20) AS i;
	INSERT INTO track_day SELECT r, (started_at + make_interval(days => d))::date, k, l, w, 10, 12 FROM run, generate_series(0, 13) AS d,
		(VALUES ('open', ''), ('click', ''), ('click', 'l1'), ('click', 'l2')) AS x(k, l), unnest(ARRAY['person', 'proxy', 'machine']) AS w WHERE id = r;
	COMMIT;
END
$$;

-- what was heard of a run
CREATE PROCEDURE bench_events(r int) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO feedback_event (month, semantic_key, occurred_at, received_at, source, kind, run_id, send_id, attempt, address_key)
		SELECT date_trunc('month', delivered_at)::date, r || '|' || id, delivered_at, delivered_at, 'sns', 'delivered', r, id, 1, address_key
		FROM send WHERE run_id = r AND delivered_at IS NOT NULL;
	INSERT INTO feedback_event (month, semantic_key, occurred_at, received_at, source, kind, run_id, send_id, attempt, address_key, class)
		SELECT date_trunc('month', bounced_at)::date, 'b|' || r || '|' || id, bounced_at, bounced_at, 'sns', 'bounced', r, id, 1, address_key, 'hard'
		FROM send WHERE run_id = r AND bounced_at IS NOT NULL;
	INSERT INTO suppression (address_key, scope, reason, source, event_id)
		SELECT address_key, 'all', 'bounce', 'sns', 1 FROM send WHERE run_id = r AND class = 'hard' ON CONFLICT DO NOTHING;
	COMMIT;
END
$$;

-- every JOBS-th of the runs that are not filled yet, by one of several connections
CREATE PROCEDURE bench_fill(job int, jobs int) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT id, planned, started_at FROM run WHERE id % jobs = job AND to_regclass('kairan.send_' || id) IS NULL ORDER BY id LOOP
		CALL bench_send(r.id, r.planned::int, r.started_at);
		CALL bench_counts(r.id);
		CALL bench_events(r.id);
	END LOOP;
END
$$;
