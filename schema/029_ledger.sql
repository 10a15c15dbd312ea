-- SPDX-License-Identifier: Apache-2.0
-- The ledger forgets whom it should forget, and judges late news by what they belong to.

-- ---------------------------------------------------------------- keys without addresses

-- As common/event.c does with keys that are too long.
CREATE FUNCTION event_key_cut(key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN octet_length(key) > 512 THEN encode(sha256(convert_to(key, 'UTF8')), 'hex') ELSE key END
$$;
COMMENT ON FUNCTION event_key_cut(text) IS 'A semantic key, or its SHA-256 when it is longer than 512 bytes';

-- common/event.c makes keys that hold the digest of an address (feedback_key_of); this makes the same of those that hold
-- the address: ses|type|id|WHO[|time] and source|WHO|what|status|report. One expression, so that it becomes part of the
-- statement that calls it.
CREATE FUNCTION event_key(key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE
	WHEN key LIKE 'ses|%' AND split_part(key, '|', 4) LIKE '%@%' THEN kairan.event_key_cut(concat_ws('|', split_part(key, '|', 1), split_part(key, '|', 2),
	    split_part(key, '|', 3), left(encode(sha256(convert_to(split_part(key, '|', 4), 'UTF8')), 'hex'), 32)) || substr(key, 4
	    + length(split_part(key, '|', 1)) + length(split_part(key, '|', 2)) + length(split_part(key, '|', 3)) + length(split_part(key, '|', 4))))
	WHEN key NOT LIKE 'webhook|%' AND key LIKE '%|%@%|%|%|%' AND split_part(key, '|', 2) LIKE '%@%' THEN kairan.event_key_cut(concat_ws('|', split_part(key, '|', 1),
	    left(encode(sha256(convert_to(split_part(key, '|', 2), 'UTF8')), 'hex'), 32)) || substr(key, 2
	    + length(split_part(key, '|', 1)) + length(split_part(key, '|', 2))))
	ELSE key END
$$;
COMMENT ON FUNCTION event_key(text) IS 'A semantic key with the digest of an address in the place of the address';

UPDATE feedback_wait SET semantic_key = event_key(semantic_key) WHERE semantic_key <> event_key(semantic_key);
UPDATE feedback_event SET semantic_key = event_key(semantic_key) WHERE semantic_key LIKE '%@%' AND semantic_key <> event_key(semantic_key);

-- ---------------------------------------------------------------- one person

-- Mails that nobody could read, what people wrote, reports without a recipient: few, and looked through for an address.
CREATE INDEX feedback_event_nobody ON feedback_event (id) WHERE address_key IS NULL;

-- Not part of a longer address.
CREATE FUNCTION text_erased(said text, address text, instead text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT regexp_replace(said, '(?<![[:alnum:]!#$%&''*+/=?^_`{|}~.-])' || regexp_replace(address, '([^[:alnum:]@])', '\\\1', 'g')
	    || '(?![[:alnum:]-]|\.[[:alnum:]])', instead, 'gi')
$$;
COMMENT ON FUNCTION text_erased(text, text, text) IS 'A text with something else in the place of an address';

-- Rows that keep their address until they are settled are left for the next time.
CREATE FUNCTION send_erase(the_run int, ids int[], blank text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	changed bigint;
BEGIN
	UPDATE send s SET address = coalesce(blank, s.address), address_key = coalesce(blank, s.address_key), reply = NULL, remote_id = NULL,
	    remote = CASE WHEN s.remote NOT LIKE '%@%' THEN s.remote END
	WHERE s.run_id = the_run AND s.id = ANY (ids) AND s.state NOT IN ('queued', 'sending', 'deferred');
	GET DIAGNOSTICS changed = ROW_COUNT;
	-- what nobody else was told
	DELETE FROM tally_reply t WHERE t.run_id = the_run AND t.recipients = 0 AND t.reply IS NOT NULL;
	UPDATE feedback_event f SET reply = NULL, detail = NULL, remote = CASE WHEN f.remote NOT LIKE '%@%' THEN f.remote END
	WHERE f.run_id = the_run AND f.send_id = ANY (ids);
	RETURN changed;
END
$$;
COMMENT ON FUNCTION send_erase(int, int[], text) IS 'Takes what was said of recipients of a run out of their rows and events, and puts blank in the place of their address; NULL: it is there already';

-- As before, and wherever else an address may stand: keys of events, events that wait or are of nobody, notices that were
-- kept, mails, the audit, the mirror of the list of Amazon SES, reasons.
CREATE OR REPLACE FUNCTION customer_erase(address text) RETURNS TABLE (what text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	the_key text := coalesce(address_key(address), lower(address));
	spellings text[];
	blank text := 'erased-' || md5(random()::text || clock_timestamp()::text);
	pseudonym text := left(md5(coalesce(address_key(address), lower(address))), 12);
	spelling text;
	r record;
	changed bigint;
BEGIN
	-- as others may have written it
	SELECT array_agg(split_part(the_key, '@', 1) || '@' || d) INTO spellings
	FROM (SELECT split_part(the_key, '@', 2) AS d UNION SELECT i.u_label FROM idn i WHERE i.a_label = split_part(the_key, '@', 2)) AS i;
	what := 'customer';
	IF (SELECT relkind FROM pg_class WHERE oid = 'customer'::regclass) IN ('r', 'p') THEN
		DELETE FROM customer c WHERE c.id = ANY (ARRAY(SELECT customer_find(the_key)));
		GET DIAGNOSTICS n = ROW_COUNT;
		RETURN NEXT;
	END IF;
	what := 'send';
	n := 0;
	FOR r IN SELECT s.run_id, array_agg(s.id) AS ids FROM send s WHERE s.address_key = the_key GROUP BY s.run_id ORDER BY 1 LOOP
		n := n + send_erase(r.run_id, r.ids, blank);
		UPDATE mail m SET key = 'erased-' || m.id FROM mail_send l
		WHERE l.run_id = r.run_id AND l.send_id = ANY (r.ids) AND m.id = l.mail_id
		    AND EXISTS (SELECT FROM unnest(spellings) AS k WHERE position(k IN lower(m.key)) > 0);
	END LOOP;
	RETURN NEXT;
	what := 'feedback_event';
	-- a program of the version before may have made one with the address beside one without
	DELETE FROM feedback_event f WHERE f.address_key = the_key AND f.semantic_key LIKE '%@%'
	    AND EXISTS (SELECT FROM feedback_event o WHERE o.month = f.month AND o.semantic_key = event_key(f.semantic_key) AND o.id <> f.id);
	UPDATE feedback_event f SET address_key = NULL, reply = NULL, detail = NULL,
	    remote = CASE WHEN f.remote NOT LIKE '%@%' THEN f.remote END,
	    semantic_key = CASE WHEN EXISTS (SELECT FROM unnest(spellings) AS k WHERE position(k IN lower(event_key(f.semantic_key))) > 0)
		THEN 'erased|' || encode(sha256(convert_to(f.semantic_key, 'UTF8')), 'hex') ELSE event_key(f.semantic_key) END
	WHERE f.address_key = the_key
	    OR (f.address_key IS NULL AND EXISTS (SELECT FROM unnest(spellings) AS k
		WHERE position(k IN lower(concat_ws(' ', f.reply, f.detail, f.semantic_key))) > 0));
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'feedback_wait';
	DELETE FROM feedback_wait w WHERE w.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	DELETE FROM probation_lifted l WHERE l.address_key = the_key;
	what := 'kept_notice';
	DELETE FROM kept_notice k WHERE EXISTS (SELECT FROM unnest(spellings) AS w
	    WHERE position(w IN lower(concat_ws(' ', k.recipients, k.why, encode(k.content, 'escape'), k.semantic_key))) > 0);
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'exclusion';
	n := 0;
	FOR r IN SELECT e.run_id FROM exclusion e WHERE e.address_key = the_key GROUP BY e.run_id ORDER BY 1 LOOP
		UPDATE exclusion e SET address_key = NULL, evidence = '' WHERE e.run_id = r.run_id AND e.address_key = the_key;
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
	END LOOP;
	RETURN NEXT;
	what := 'confirmation';
	UPDATE confirmation k SET address = blank, address_key = blank, evidence = '' WHERE k.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE confirmation k SET old_address_key = NULL WHERE k.old_address_key = the_key;
	RETURN NEXT;
	what := 'ses_mirror';
	DELETE FROM ses_mirror m WHERE m.address_key = the_key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'audit';
	n := 0;
	FOREACH spelling IN ARRAY spellings LOOP
		UPDATE audit a SET object = text_erased(a.object, spelling, pseudonym), detail = text_erased(a.detail, spelling, pseudonym)
		WHERE position(spelling IN lower(a.object || ' ' || a.detail)) > 0;
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
		UPDATE run o SET reason = text_erased(o.reason, spelling, pseudonym) WHERE position(spelling IN lower(o.reason)) > 0;
		UPDATE dispatcher d SET trouble = text_erased(d.trouble, spelling, pseudonym) WHERE position(spelling IN lower(d.trouble)) > 0;
	END LOOP;
	RETURN NEXT;
	what := 'suppression';
	UPDATE suppression s SET evidence = '', event_id = NULL WHERE s.address_key = the_key;
	-- whoever wanted to be forgotten does not want mail
	INSERT INTO suppression (address_key, reason, source) VALUES (the_key, 'manual', 'erased') ON CONFLICT DO NOTHING;
	n := 1;
	RETURN NEXT;
	INSERT INTO audit (action, object, detail) VALUES ('customer.erase', pseudonym, 'a person''s data was erased');
END
$$;

-- ---------------------------------------------------------------- late bounces

-- As before, and never empty of what was sent: more may be heard than was sent in the same time.
CREATE OR REPLACE FUNCTION at_least_per_cent(part bigint, whole bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN whole > 0 AND part >= 0 THEN round((100 * greatest(0,
	    (p + z * z / (2 * whole) - z * sqrt(p * (1 - p) / whole + z * z / (4.0 * whole * whole))) / (1 + z * z / whole)))::numeric, 3) END
	FROM (SELECT least(part, whole)::float8 / nullif(whole, 0) AS p, 2.326::float8 AS z) AS t
$$;

CREATE OR REPLACE FUNCTION breaker_why(st stream, what text, attempted bigint, sent bigint, hard bigint, complained bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT CASE
	WHEN attempted >= st.breaker_least AND at_least_per_cent(hard, attempted) >= st.bounce_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s are dead addresses (line %s %%); see the view bounce_rate',
		    round(per_cent(least(hard, attempted), attempted), 1), attempted, what, st.bounce_line_per_cent)
	WHEN sent >= st.breaker_least AND at_least_per_cent(complained, sent) >= st.complaint_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s complained (line %s %%); see the view bounce_rate',
		    round(per_cent(least(complained, sent), sent), 2), sent, what, st.complaint_line_per_cent) END
$$;

ALTER TABLE tally ADD hard_before bigint NOT NULL DEFAULT 0, ADD complained_before bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN tally.hard_before IS 'Of hard: mail of before the run was paused by the breaker (run.breaker_from); what came after is not judged by it';
COMMENT ON COLUMN tally.complained_before IS 'Of complained: the same';

-- Only for runs that the breaker has paused, or a lane of which: what is heard of mail that left before belongs to what a
-- person knew when he went on.
CREATE FUNCTION tally_before(the_run int, since timestamptz, changed send_change[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	WITH c AS (
		SELECT s.lane, s.claimed_at, coalesce((c.class = 'hard')::int, 0) - coalesce((c.before = 'hard')::int, 0) AS hard, c.complained
		FROM unnest(changed) c JOIN send s ON s.run_id = the_run AND s.id = c.id
		WHERE c.class IS DISTINCT FROM c.before OR c.complained > 0),
	l AS (
		UPDATE lane_break b SET hard = b.hard + o.hard, complained = b.complained + o.complained
		FROM (SELECT c.lane, sum(c.hard) AS hard, sum(c.complained) AS complained FROM c
			JOIN lane_break k ON k.run_id = the_run AND k.lane = c.lane AND c.claimed_at < k.resumed_at GROUP BY c.lane) AS o
		WHERE b.run_id = the_run AND b.lane = o.lane)
	INSERT INTO tally AS t (run_id, owner, minute, hard_before, complained_before)
	SELECT the_run, -1, date_trunc('minute', now()), sum(hard), sum(complained) FROM c WHERE claimed_at < since HAVING count(*) > 0
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET hard_before = t.hard_before + excluded.hard_before,
	    complained_before = t.complained_before + excluded.complained_before;
END
$$;
COMMENT ON FUNCTION tally_before(int, timestamptz, send_change[]) IS 'Notes what was heard of mail that had left before the breaker paused its run or lane';

-- As before, without what was heard of mail that had left before.
CREATE OR REPLACE FUNCTION breaker_why_run(the_run int, since timestamptz, st stream) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT breaker_why(st, 'this run', (t.attempted - k.attempted)::bigint, (t.sent - k.sent)::bigint,
	    (t.hard - k.hard)::bigint, (t.complained - k.complained)::bigint)
	-- claimed ones count as tried: a bounce may be heard before its sending is recorded
	FROM (SELECT sum(sent + failed + claimed) AS attempted, sum(sent + claimed) AS sent,
		sum(hard - CASE WHEN since IS NULL THEN 0 ELSE hard_before END) AS hard,
		sum(complained - CASE WHEN since IS NULL THEN 0 ELSE complained_before END) AS complained
		FROM tally WHERE run_id = the_run AND minute >= coalesce(since, '-infinity')) AS t,
	    (SELECT coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.attempted ELSE b.attempted END), 0) AS attempted,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.sent ELSE b.sent END), 0) AS sent,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.hard ELSE b.hard END), 0) AS hard,
		coalesce(sum(CASE WHEN b.resumed_at IS NULL THEN n.complained ELSE b.complained END), 0) AS complained
		FROM lane_break b JOIN lane_count n ON n.run_id = b.run_id AND n.lane = b.lane WHERE b.run_id = the_run) AS k
$$;

-- ---------------------------------------------------------------- probation

-- A host may take a mail and bounce it later, so what a delivery has lifted is remembered until such a bounce would be there.
CREATE TABLE probation_lifted (
	address_key text NOT NULL COLLATE "C",
	run_id int NOT NULL,
	send_id int NOT NULL,
	rests int NOT NULL,
	lifted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (address_key, run_id, send_id)
);
COMMENT ON TABLE probation_lifted IS 'Probations that a delivery has ended in the last 14 days; a bounce of the same mail takes that back';
COMMENT ON COLUMN probation_lifted.address_key IS 'Address that was on probation';
COMMENT ON COLUMN probation_lifted.run_id IS 'Run of the mail that was delivered';
COMMENT ON COLUMN probation_lifted.send_id IS 'Its send.id';
COMMENT ON COLUMN probation_lifted.rests IS 'How often the address had rested';
COMMENT ON COLUMN probation_lifted.lifted_at IS 'When the delivery was heard';

-- As before, and of a mail whose delivery had lifted a probation.
CREATE OR REPLACE FUNCTION ingest_soft(the_run int, fresh feedback_event[], changed send_change[], st stream) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
BEGIN
	INSERT INTO suppression AS p (address_key, scope, reason, source, evidence, event_id, expires_at, rests,
	    rest_until, stream_id)
	SELECT DISTINCT ON (s.address_key) s.address_key, 'all', 'bounce', 'policy',
	    soft.n || ' soft bounces in ' || st.soft_bounce_days || ' days, last ' || coalesce(e.enhanced, ''), e.id,
	    'infinity', coalesce(l.rests, 0) + 1,
	    now() + least(interval '365 days', make_interval(days => st.soft_rest_days) * (1 << least(coalesce(l.rests, 0), 9))), st.id
	FROM unnest(fresh) e JOIN unnest(changed) s ON s.id = e.send_id
	LEFT JOIN probation_lifted l ON l.address_key = s.address_key AND l.run_id = the_run AND l.send_id = s.id
	CROSS JOIN LATERAL (SELECT count(DISTINCT (f.run_id, f.send_id)) AS n, max(event_at(f)) - min(event_at(f)) AS span
		FROM feedback_event f WHERE f.address_key = s.address_key AND f.kind = 'bounced' AND f.class = 'soft'
		AND event_at(f) > now() - make_interval(days => st.soft_bounce_days)
		AND NOT EXISTS (SELECT FROM feedback_event d WHERE d.address_key = s.address_key
			AND d.kind = 'delivered' AND event_at(d) > event_at(f)
			-- a host may take a mail and bounce it later: that is no delivery
			AND NOT EXISTS (SELECT FROM feedback_event b WHERE b.address_key = d.address_key
				AND b.kind = 'bounced' AND b.run_id = d.run_id AND b.send_id = d.send_id))) AS soft
	WHERE e.run_id = the_run AND e.kind = 'bounced' AND e.class = 'soft'
	    AND event_at(e) > now() - make_interval(days => st.soft_bounce_days)
	    AND ((soft.n >= st.soft_bounce_limit
		AND (st.soft_bounce_limit = 1 OR soft.span >= make_interval(days => st.soft_bounce_days) / 2))
	    OR EXISTS (SELECT FROM suppression t WHERE t.address_key = s.address_key AND t.probation)
	    OR l.rests IS NOT NULL)
	ORDER BY s.address_key, e.id DESC
	ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source, evidence = excluded.evidence,
	    event_id = excluded.event_id, expires_at = 'infinity', probation = false, rests = p.rests + 1,
	    rest_until = now() + least(interval '365 days', make_interval(days => st.soft_rest_days) * (1 << least(p.rests, 9))),
	    stream_id = excluded.stream_id
	WHERE p.probation OR p.expires_at <= now();
END
$$;

-- ---------------------------------------------------------------- what is heard

-- As before; of a person who was erased nothing is written down again, and what is heard of mail of before a pause is noted. A mail
-- that has bounced lifts no probation.
CREATE OR REPLACE FUNCTION ingest_run(the_run int, fresh feedback_event[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = auto
AS $$
DECLARE
	list_scope text;
	this_campaign int;
	st stream;
	other_address boolean;
	has_soft boolean;
	delivered_keys text[];
	delivered_ids int[];
	missing bigint[];
	changed send_change[];
	erased int[];
	since timestamptz;
	judged boolean;
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN (SELECT array_agg(e.id) FROM unnest(fresh) e WHERE e.run_id = the_run AND e.send_id IS NOT NULL);
	END IF;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id, r.breaker_from,
	    r.breaker_from IS NOT NULL OR EXISTS (SELECT FROM lane_break b WHERE b.run_id = the_run)
	INTO list_scope, this_campaign, since, judged
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id WHERE r.id = the_run;

	changed := ingest_rows(the_run, fresh);
	IF (SELECT bool_or(c.again) FROM unnest(changed) c) THEN
		changed := ingest_again(the_run, changed);
	END IF;

	WITH e AS (
		SELECT f.id, f.send_id, f.source, f.kind, f.address_key, f.class, f.reason, f.enhanced, f.reply, event_at(f) AS at
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	u AS (SELECT *, split_part(address_key, '@', 2) AS domain FROM unnest(changed)),
	d AS (
		INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent, delivered, hard, soft,
		    block, other, complained)
		SELECT the_run, -1, date_trunc('hour', now()), domain,
		    sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int), sum(delivered),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'),
		    count(*) FILTER (WHERE class = 'soft') - count(*) FILTER (WHERE before = 'soft'),
		    count(*) FILTER (WHERE class = 'block') - count(*) FILTER (WHERE before = 'block'),
		    count(*) FILTER (WHERE class NOT IN ('hard', 'soft', 'block'))
			- count(*) FILTER (WHERE before NOT IN ('hard', 'soft', 'block')), sum(complained)
		FROM u GROUP BY domain ORDER BY domain
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
		    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
		    other = t.other + excluded.other, complained = t.complained + excluded.complained),
	l AS (
		INSERT INTO tally_lane AS t (run_id, lane, owner, attempted, sent, hard, complained)
		SELECT the_run, lane, -1, sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'), sum(complained)
		FROM u WHERE lane > 0 AND (class IS DISTINCT FROM before OR complained > 0 OR became <> was) GROUP BY lane ORDER BY lane
		ON CONFLICT (run_id, lane, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained),
	m AS (
		INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, hard, complained, unsubscribed, opened,
		    clicked, sent, failed, in_doubt)
		SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced),
		    count(*) FILTER (WHERE class = 'hard') - count(*) FILTER (WHERE before = 'hard'), sum(complained),
		    sum(unsubscribed), sum(opened), sum(clicked),
		    sum((became = 'sent')::int - (was = 'sent')::int),
		    sum((became = 'failed')::int - (was = 'failed')::int),
		    sum((became = 'in_doubt')::int - (was = 'in_doubt')::int)
		FROM u HAVING count(*) > 0
		ON CONFLICT (run_id, owner, minute) DO UPDATE SET delivered = t.delivered + excluded.delivered,
		    bounced = t.bounced + excluded.bounced, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained,
		    unsubscribed = t.unsubscribed + excluded.unsubscribed, opened = t.opened + excluded.opened,
		    clicked = t.clicked + excluded.clicked, sent = t.sent + excluded.sent,
		    failed = t.failed + excluded.failed, in_doubt = t.in_doubt + excluded.in_doubt),
	sup AS (
		INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
		SELECT DISTINCT ON (o.address_key, t.scope, t.reason) o.address_key, t.scope, t.reason, e.source,
		    concat_ws(' ', 'run ' || the_run || ' recipient ' || o.id, e.enhanced, e.reason, e.reply), e.id
		FROM e JOIN u o ON o.id = e.send_id
		CROSS JOIN LATERAL (SELECT
			CASE WHEN e.kind = 'unsubscribed' AND e.reason IS DISTINCT FROM 'all' THEN list_scope ELSE 'all' END AS scope,
			CASE e.kind WHEN 'bounced' THEN 'bounce' WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END AS reason) t
		WHERE (e.kind IN ('complained', 'unsubscribed') OR (e.kind = 'bounced' AND e.class = 'hard'))
		    -- where "unknown" may also mean "not now", campaigns must agree
		    AND (e.kind <> 'bounced' OR (SELECT coalesce(max(m.campaigns), 1) FROM ambiguous_domain m
				WHERE m.domain = split_part(o.address_key, '@', 2))
			    <= 1 + (SELECT count(DISTINCT r.campaign_id) FROM feedback_event f JOIN run r ON r.id = f.run_id
				WHERE f.address_key = o.address_key AND f.kind = 'bounced' AND f.class = 'hard'
				AND r.campaign_id <> this_campaign))
		    AND (e.kind = 'bounced' OR NOT consent_since(o.address_key, e.at))
		    AND o.domain <> ''
		ORDER BY o.address_key, t.scope, t.reason, e.id
		ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL,
		    rest_until = NULL, probation = false
		WHERE suppression.expires_at IS NOT NULL)
	SELECT coalesce(bool_or(e.address_key IS DISTINCT FROM o.address_key) FILTER (WHERE o.id IS NOT NULL), false),
	    coalesce(bool_or(e.kind = 'bounced' AND e.class = 'soft' AND o.id IS NOT NULL), false),
	    array_agg(o.address_key) FILTER (WHERE e.kind = 'delivered' AND o.class IS NULL AND o.id IS NOT NULL),
	    array_agg(o.id) FILTER (WHERE e.kind = 'delivered' AND o.class IS NULL AND o.id IS NOT NULL),
	    array_agg(e.id) FILTER (WHERE o.id IS NULL)
	INTO other_address, has_soft, delivered_keys, delivered_ids, missing
	FROM e LEFT JOIN u o ON o.id = e.send_id;

	IF judged THEN
		PERFORM tally_before(the_run, since, changed);
	END IF;
	IF other_address THEN -- the row knows the address, whatever the report said or left out
		UPDATE feedback_event f SET address_key = s.address_key
		FROM unnest(fresh) e JOIN unnest(changed) s ON s.id = e.send_id
		WHERE e.run_id = the_run AND f.month = e.month AND f.semantic_key = e.semantic_key
		    AND f.address_key IS DISTINCT FROM s.address_key;
		erased := ARRAY(SELECT c.id FROM unnest(changed) c WHERE c.address_key LIKE 'erased-%');
		IF erased <> '{}' THEN
			PERFORM send_erase(the_run, erased, NULL);
		END IF;
	END IF;
	IF delivered_keys IS NOT NULL THEN
		WITH d AS (DELETE FROM suppression p WHERE p.probation AND p.address_key = ANY (delivered_keys) RETURNING p.address_key, p.rests)
		INSERT INTO probation_lifted (address_key, run_id, send_id, rests)
		SELECT d.address_key, the_run, k.id, d.rests FROM d JOIN unnest(delivered_keys, delivered_ids) AS k(key, id) ON k.key = d.address_key
		ON CONFLICT DO NOTHING;
		IF FOUND THEN
			DELETE FROM probation_lifted l WHERE l.lifted_at < now() - interval '14 days';
		END IF;
	END IF;
	IF has_soft THEN
		SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;
		PERFORM ingest_soft(the_run, fresh, changed, st);
	END IF;
	RETURN missing;
END
$$;

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION event_key_cut(text), event_key(text), text_erased(text, text, text), send_erase(int, int[], text),
    tally_before(int, timestamptz, send_change[]) FROM PUBLIC;
GRANT SELECT ON probation_lifted TO kairan_operator;
