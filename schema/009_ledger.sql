-- SPDX-License-Identifier: Apache-2.0
-- The feedback ledger: fewer passes over a batch, events that wait for their row, what was heard
-- while a row is still being sent, rests with probation, and how long data is kept.

-- ---------------------------------------------------------------- columns

ALTER TABLE send ADD accepted_attempt smallint, ADD rejected_attempt smallint;
COMMENT ON COLUMN send.accepted_attempt IS 'Last attempt of which acceptance was heard from outside; RECORD knows by it that the row is not in doubt';
COMMENT ON COLUMN send.rejected_attempt IS 'Last attempt that SES took and then rejected; RECORD knows by it that the row was not sent';

-- runs that are being planned just now have tables that are not attached yet
DO $unattached$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'kairan'::regnamespace AND c.relkind = 'r'
	    AND NOT c.relispartition AND c.relname ~ '^send_[0-9]+$' LOOP
		EXECUTE format('ALTER TABLE %s ADD accepted_attempt smallint, ADD rejected_attempt smallint', t);
	END LOOP;
END
$unattached$;

ALTER TABLE feedback_event ADD message_id text;
COMMENT ON COLUMN feedback_event.message_id IS 'Message id that SES gave; joins the event to its row when there was no token';

ALTER TABLE stream ADD probation_daily int NOT NULL DEFAULT 100 CHECK (probation_daily >= 0);
COMMENT ON COLUMN stream.probation_daily IS 'Addresses whose rest is over that come back on probation, a day at most';

-- One reason does not hide another: who unsubscribed from everything stays so when his bounce is
-- lifted.
ALTER TABLE suppression DROP CONSTRAINT suppression_pkey, ADD PRIMARY KEY (address_key, scope, reason),
    ADD rests int NOT NULL DEFAULT 0, ADD rest_until timestamptz, ADD probation_at timestamptz,
    ADD stream_id int;
COMMENT ON TABLE suppression IS 'Addresses that are not written to, with the evidence, each reason in a row of its own; keyed by address, so that importing a customer again does not revive it';
COMMENT ON COLUMN suppression.expires_at IS 'Until when; NULL: for good; infinity: rests until a probation begins';
COMMENT ON COLUMN suppression.probation IS 'Written to again, on trial: a delivery, or a month without bounce, lifts the entry, the next bounce makes it rest longer';
COMMENT ON COLUMN suppression.rests IS 'How often it has rested';
COMMENT ON COLUMN suppression.rest_until IS 'End of its rest, from when it may come back; NULL: never by itself';
COMMENT ON COLUMN suppression.probation_at IS 'When its last probation began';
COMMENT ON COLUMN suppression.stream_id IS 'Stream whose daily number of probations it takes part in';
CREATE INDEX suppression_rest ON suppression (stream_id, rest_until) WHERE rest_until IS NOT NULL;
CREATE INDEX suppression_probation ON suppression (address_key) WHERE probation;
UPDATE suppression SET rests = 1, rest_until = expires_at, expires_at = 'infinity',
    stream_id = (SELECT min(id) FROM stream)
WHERE source = 'policy' AND expires_at > now();

CREATE TABLE probation_day (
	stream_id int NOT NULL,
	day date NOT NULL,
	begun int NOT NULL,
	PRIMARY KEY (stream_id, day)
);
COMMENT ON TABLE probation_day IS 'Probations begun, by stream and day (UTC)';
COMMENT ON COLUMN probation_day.stream_id IS 'Stream';
COMMENT ON COLUMN probation_day.day IS 'Day';
COMMENT ON COLUMN probation_day.begun IS 'How many addresses came back on trial';

CREATE TABLE feedback_wait (
	id bigint PRIMARY KEY,
	month date NOT NULL,
	semantic_key text NOT NULL COLLATE "C",
	run_id int,
	send_id int,
	message_id text COLLATE "C",
	address_key text COLLATE "C",
	since timestamptz NOT NULL DEFAULT now(),
	due_at timestamptz NOT NULL DEFAULT now(),
	tries smallint NOT NULL DEFAULT 0
);
CREATE INDEX feedback_wait_due ON feedback_wait (due_at);
CREATE INDEX feedback_wait_message ON feedback_wait (message_id) WHERE message_id IS NOT NULL;
COMMENT ON TABLE feedback_wait IS 'Events whose row is not known yet; looked for again until it is, or for three days';
COMMENT ON COLUMN feedback_wait.id IS 'feedback_event.id';
COMMENT ON COLUMN feedback_wait.month IS 'Month of the event';
COMMENT ON COLUMN feedback_wait.semantic_key IS 'Its key';
COMMENT ON COLUMN feedback_wait.run_id IS 'Run that its token names; NULL: no token';
COMMENT ON COLUMN feedback_wait.send_id IS 'Row that its token names';
COMMENT ON COLUMN feedback_wait.message_id IS 'Message id of SES, for those without a token';
COMMENT ON COLUMN feedback_wait.address_key IS 'Address it speaks of';
COMMENT ON COLUMN feedback_wait.since IS 'When it arrived';
COMMENT ON COLUMN feedback_wait.due_at IS 'When it is looked for next';
COMMENT ON COLUMN feedback_wait.tries IS 'How often it was looked for';

-- ---------------------------------------------------------------- what was heard

DROP FUNCTION ingest_run(int, bigint[]);

-- New events act on the rows of one run. Events come as values, so that the inbox is not read
-- again. Facts only ever go from empty to the earliest time. Returns the events whose row is not
-- there, or not as far as they are.
CREATE FUNCTION ingest_run(the_run int, fresh feedback_event[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	list_scope text;
	this_campaign int;
	st stream;
	other_address boolean;
	has_soft boolean;
	delivered_keys text[];
	missing bigint[];
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN (SELECT array_agg(e.id) FROM unnest(fresh) e WHERE e.run_id = the_run AND e.send_id IS NOT NULL);
	END IF;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id
	INTO list_scope, this_campaign
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id WHERE r.id = the_run;
	SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;

	WITH e AS MATERIALIZED (
		SELECT f.*, coalesce(f.occurred_at, f.received_at) AS at,
		    f.kind IN ('bounced', 'rejected') AND f.source <> 'smtp' AS is_why
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	a AS (
		SELECT send_id, max(attempt) AS attempt,
		    min(at) FILTER (WHERE kind = 'delivered') AS delivered_at,
		    -- SES did not send those on its lists: suppressed here too, but no bounce of ours
		    min(at) FILTER (WHERE kind = 'bounced' AND source <> 'smtp'
			AND coalesce(reason, '') NOT IN ('on_account_suppression_list', 'on_tenant_suppression_list')) AS bounced_at,
		    min(at) FILTER (WHERE kind = 'complained') AS complained_at,
		    min(at) FILTER (WHERE kind = 'unsubscribed') AS unsubscribed_at,
		    min(at) FILTER (WHERE kind = 'opened') AS opened_at,
		    min(at) FILTER (WHERE kind = 'clicked') AS clicked_at,
		    max(attempt) FILTER (WHERE kind = 'rejected') AS rejected,
		    max(attempt) FILTER (WHERE kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened',
			'clicked', 'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    (array_agg(class ORDER BY id DESC) FILTER (WHERE is_why))[1] AS class,
		    (array_agg(reason ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reason,
		    (array_agg(enhanced ORDER BY id DESC) FILTER (WHERE is_why))[1] AS enhanced,
		    (array_agg(reply ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reply,
		    (array_agg(remote ORDER BY id DESC) FILTER (WHERE is_why))[1] AS remote
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.attempt, s.address_key, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
		    s.opened_at, s.clicked_at, a.delivered_at AS new_delivered_at, a.bounced_at AS new_bounced_at,
		    a.complained_at AS new_complained_at, a.unsubscribed_at AS new_unsubscribed_at,
		    a.opened_at AS new_opened_at, a.clicked_at AS new_clicked_at, a.rejected, a.accepted,
		    a.class, a.reason, a.enhanced, a.reply, a.remote
		FROM send s JOIN a ON a.send_id = s.id
		WHERE s.run_id = the_run AND s.attempt > 0 AND s.attempt >= a.attempt
		ORDER BY s.id FOR UPDATE OF s),
	u AS (
		UPDATE send s SET
		    delivered_at = least(s.delivered_at, old.new_delivered_at),
		    bounced_at = least(s.bounced_at, old.new_bounced_at),
		    complained_at = least(s.complained_at, old.new_complained_at),
		    unsubscribed_at = least(s.unsubscribed_at, old.new_unsubscribed_at),
		    opened_at = least(s.opened_at, old.new_opened_at),
		    clicked_at = least(s.clicked_at, old.new_clicked_at),
		    rejected_attempt = greatest(s.rejected_attempt, old.rejected::smallint),
		    accepted_attempt = greatest(s.accepted_attempt, old.accepted::smallint),
		    state = CASE WHEN old.rejected = s.attempt AND s.state IN ('sent', 'in_doubt') THEN 'failed'
			WHEN old.accepted IS NOT NULL AND s.state = 'in_doubt' THEN 'sent' ELSE s.state END,
		    class = coalesce(old.class, s.class), reason = coalesce(old.reason, s.reason),
		    enhanced = coalesce(old.enhanced, s.enhanced), reply = coalesce(old.reply, s.reply),
		    remote = coalesce(old.remote, s.remote)
		FROM old
		WHERE s.run_id = the_run AND s.id = old.id
		RETURNING s.id, split_part(s.address_key, '@', 2) AS domain, s.state AS new_state, old.state AS old_state,
		    old.class,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int AS delivered,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int AS bounced,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int AS complained,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int AS unsubscribed,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int AS opened,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int AS clicked),
	d AS (
		INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent, delivered, hard, soft,
		    block, other, complained)
		SELECT the_run, -1, date_trunc('hour', now()), domain,
		    sum((new_state IN ('sent', 'failed'))::int - (old_state IN ('sent', 'failed'))::int),
		    sum((new_state = 'sent')::int - (old_state = 'sent')::int), sum(delivered),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), coalesce(sum(bounced) FILTER (WHERE class = 'soft'), 0),
		    coalesce(sum(bounced) FILTER (WHERE class = 'block'), 0),
		    coalesce(sum(bounced) FILTER (WHERE coalesce(class, '') NOT IN ('hard', 'soft', 'block')), 0), sum(complained)
		FROM u GROUP BY domain ORDER BY domain
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
		    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
		    other = t.other + excluded.other, complained = t.complained + excluded.complained),
	m AS (
		INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, hard, complained, unsubscribed, opened,
		    clicked, sent, failed, in_doubt)
		SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), sum(complained),
		    sum(unsubscribed), sum(opened), sum(clicked),
		    sum((new_state = 'sent')::int - (old_state = 'sent')::int),
		    sum((new_state = 'failed')::int - (old_state = 'failed')::int),
		    sum((new_state = 'in_doubt')::int - (old_state = 'in_doubt')::int)
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
		FROM e JOIN old o ON o.id = e.send_id
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
		ORDER BY o.address_key, t.scope, t.reason, e.id
		ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL,
		    rest_until = NULL, probation = false
		WHERE suppression.expires_at IS NOT NULL)
	SELECT coalesce(bool_or(e.address_key IS DISTINCT FROM o.address_key) FILTER (WHERE o.id IS NOT NULL), false),
	    coalesce(bool_or(e.kind = 'bounced' AND e.class = 'soft' AND o.id IS NOT NULL), false),
	    array_agg(o.address_key) FILTER (WHERE e.kind = 'delivered' AND o.id IS NOT NULL),
	    array_agg(e.id) FILTER (WHERE o.id IS NULL)
	INTO other_address, has_soft, delivered_keys, missing
	FROM e LEFT JOIN old o ON o.id = e.send_id;

	IF other_address THEN -- the row knows the address, whatever the report said or left out
		UPDATE feedback_event f SET address_key = s.address_key
		FROM unnest(fresh) e JOIN send s ON s.run_id = the_run AND s.id = e.send_id AND s.attempt >= e.attempt
		WHERE e.run_id = the_run AND f.month = e.month AND f.semantic_key = e.semantic_key
		    AND f.address_key IS DISTINCT FROM s.address_key;
	END IF;
	IF delivered_keys IS NOT NULL THEN
		DELETE FROM suppression p WHERE p.probation AND p.address_key = ANY (delivered_keys);
	END IF;
	IF has_soft THEN
		PERFORM ingest_soft(the_run, fresh, st);
	END IF;
	RETURN missing;
END
$$;
COMMENT ON FUNCTION ingest_run(int, feedback_event[]) IS 'Lets new events act on the send rows of one run and on suppression; returns those whose row is not there';

-- Soft bounces count up to a limit; then the address rests. A delivery sets the count back. On
-- probation one is enough, and the rest is twice as long as the last, up to a year.
CREATE FUNCTION ingest_soft(the_run int, fresh feedback_event[], st stream) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
	INSERT INTO suppression AS p (address_key, scope, reason, source, evidence, event_id, expires_at, rests,
	    rest_until, stream_id)
	SELECT DISTINCT ON (s.address_key) s.address_key, 'all', 'bounce', 'policy',
	    soft.n || ' soft bounces in ' || st.soft_bounce_days || ' days, last ' || coalesce(e.enhanced, ''), e.id,
	    'infinity', 1, now() + make_interval(days => st.soft_rest_days), st.id
	FROM unnest(fresh) e JOIN send s ON s.run_id = the_run AND s.id = e.send_id AND s.attempt >= e.attempt
	CROSS JOIN LATERAL (SELECT count(DISTINCT (f.run_id, f.send_id)) AS n FROM feedback_event f
		WHERE f.address_key = s.address_key AND f.kind = 'bounced' AND f.class = 'soft'
		AND f.received_at > now() - make_interval(days => st.soft_bounce_days)
		AND NOT EXISTS (SELECT FROM feedback_event d WHERE d.address_key = s.address_key
			AND d.kind = 'delivered' AND d.received_at > f.received_at)) AS soft
	WHERE e.run_id = the_run AND e.kind = 'bounced' AND e.class = 'soft' AND (soft.n >= st.soft_bounce_limit
	    OR EXISTS (SELECT FROM suppression t WHERE t.address_key = s.address_key AND t.probation))
	ORDER BY s.address_key, e.id DESC
	ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source, evidence = excluded.evidence,
	    event_id = excluded.event_id, expires_at = 'infinity', probation = false, rests = p.rests + 1,
	    rest_until = now() + least(interval '365 days', make_interval(days => st.soft_rest_days) * (1 << least(p.rests, 9))),
	    stream_id = excluded.stream_id
	WHERE p.probation OR p.expires_at <= now()
$$;
COMMENT ON FUNCTION ingest_soft(int, feedback_event[], stream) IS 'Lets addresses rest that bounce softly too often, and longer when they do on probation';

-- The one way by which anything heard changes a row or suppresses an address; dispatcher (for
-- refusals during the session) and feedback both call it. Facts are monotone and repeats do
-- nothing, so order and number of calls do not matter. Returns how many events were new.
DROP FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[], int[],
    text[], text[], text[], text[]);
CREATE FUNCTION ingest(p_source text[], p_kind text[], p_key text[], p_occurred timestamptz[],
    p_run int[], p_send int[], p_attempt int[], p_address text[], p_class text[], p_reason text[],
    p_code int[], p_enhanced text[], p_reply text[], p_remote text[], p_detail text[],
    p_message_id text[] DEFAULT NULL)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	fresh feedback_event[];
	missing bigint[] := '{}';
	r int;
BEGIN
	WITH i AS (
		INSERT INTO feedback_event (month, semantic_key, occurred_at, source, kind, run_id, send_id,
		    attempt, address_key, class, reason, code, enhanced, reply, remote, detail, message_id)
		SELECT date_trunc('month', coalesce(occurred, now()) AT TIME ZONE 'UTC')::date, key, occurred,
		    source, kind, run, send, attempt, address, class, reason, code, enhanced, reply, remote, detail, message_id
		FROM unnest(p_source, p_kind, p_key, p_occurred, p_run, p_send, p_attempt, p_address,
		    p_class, p_reason, p_code, p_enhanced, p_reply, p_remote, p_detail, p_message_id)
		    AS t(source, kind, key, occurred, run, send, attempt, address, class, reason, code,
			enhanced, reply, remote, detail, message_id)
		ON CONFLICT (month, semantic_key) DO NOTHING RETURNING feedback_event)
	SELECT array_agg(feedback_event) INTO fresh FROM i;
	IF fresh IS NULL THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT DISTINCT e.run_id FROM unnest(fresh) e
	    WHERE e.run_id IS NOT NULL AND e.send_id IS NOT NULL ORDER BY 1 LOOP
		missing := missing || ingest_run(r, fresh);
	END LOOP;
	-- Without a token of ours only a verified notification of our own account may suppress, and
	-- only the address that it names.
	INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
	SELECT DISTINCT ON (e.address_key, k.reason) e.address_key, 'all', k.reason, e.source,
	    concat_ws(' ', 'unlinked', e.enhanced, e.reason, e.reply), e.id
	FROM unnest(fresh) e
	CROSS JOIN LATERAL (SELECT CASE e.kind WHEN 'complained' THEN 'complaint' ELSE 'bounce' END AS reason) k
	WHERE e.send_id IS NULL AND e.source = 'sns' AND e.address_key IS NOT NULL
	    AND (e.kind = 'complained' OR (e.kind = 'bounced' AND e.class = 'hard'))
	ORDER BY e.address_key, k.reason, e.id
	ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source,
	    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL,
	    rest_until = NULL, probation = false
	WHERE suppression.expires_at IS NOT NULL;
	INSERT INTO feedback_wait (id, month, semantic_key, run_id, send_id, message_id, address_key)
	SELECT e.id, e.month, e.semantic_key, e.run_id, e.send_id, e.message_id, e.address_key FROM unnest(fresh) e
	WHERE e.id = ANY (missing)
	    OR (e.send_id IS NULL AND e.source = 'sns' AND e.message_id IS NOT NULL AND e.address_key IS NOT NULL
		AND e.kind <> 'other');
	RETURN cardinality(fresh);
END
$$;
COMMENT ON FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[], int[], text[], text[], text[], text[], text[]) IS 'Takes events into the inbox and lets the new ones act on send and suppression; returns the number of new ones';

-- Looks for the rows of events that wait: by their token, or, for notifications of our own
-- account, by message id and address together (so that the index on the address serves). Between
-- looks the waits grow; after three days an event is left as it is.
CREATE FUNCTION feedback_join(at_most int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	due bigint[];
	found feedback_event[];
	joined bigint[];
	missing bigint[] := '{}';
	young int[];
	r int;
BEGIN
	SELECT array_agg(w.id) INTO due FROM (SELECT id FROM feedback_wait WHERE due_at <= now()
		ORDER BY due_at LIMIT at_most FOR UPDATE SKIP LOCKED) w;
	IF due IS NULL THEN
		RETURN 0;
	END IF;
	-- mail of which something is still to be heard
	SELECT array_agg(id) INTO young FROM run
	WHERE planned > 0 AND coalesce(finished_at, 'infinity') > now() - interval '30 days';
	UPDATE feedback_event f SET run_id = s.run_id, send_id = s.id, attempt = s.attempt
	FROM feedback_wait w JOIN send s ON s.address_key = w.address_key AND s.remote_id = w.message_id
	    AND s.run_id = ANY (young)
	WHERE w.id = ANY (due) AND w.send_id IS NULL AND f.month = w.month AND f.semantic_key = w.semantic_key;
	SELECT array_agg(f) INTO found FROM feedback_wait w
	JOIN feedback_event f ON f.month = w.month AND f.semantic_key = w.semantic_key
	WHERE w.id = ANY (due) AND f.send_id IS NOT NULL;
	FOR r IN SELECT DISTINCT e.run_id FROM unnest(found) e ORDER BY 1 LOOP
		missing := missing || ingest_run(r, found);
	END LOOP;
	SELECT array_agg(e.id) INTO joined FROM unnest(found) e WHERE e.id <> ALL (missing);
	DELETE FROM feedback_wait WHERE id = ANY (joined) OR (id = ANY (due) AND since < now() - interval '3 days');
	UPDATE feedback_wait SET tries = tries + 1,
	    due_at = now() + least(interval '6 hours', interval '5 s' * (1 << least(tries, 13)::int))
	WHERE id = ANY (due);
	RETURN coalesce(cardinality(joined), 0);
END
$$;
COMMENT ON FUNCTION feedback_join(int) IS 'Joins waiting events to rows that have appeared, at most so many; returns how many';

-- ---------------------------------------------------------------- suppression: rests and probation

-- A few of those whose rest is over come back each day. Nobody comes back for whom there is
-- another reason.
CREATE FUNCTION probation_begin() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	s record;
	today date := (now() AT TIME ZONE 'UTC')::date;
	n bigint;
	total bigint := 0;
BEGIN
	-- nothing bad in all the time in which bounces are counted: as good as a delivery
	DELETE FROM suppression p USING stream st WHERE p.probation AND p.stream_id = st.id
	    AND p.probation_at < now() - make_interval(days => st.soft_bounce_days);
	FOR s IN SELECT st.id, st.probation_daily - coalesce(d.begun, 0) AS free FROM stream st
	    LEFT JOIN probation_day d ON d.stream_id = st.id AND d.day = today
	    WHERE st.probation_daily > coalesce(d.begun, 0) LOOP
		WITH k AS (SELECT p.address_key, p.scope, p.reason FROM suppression p
			WHERE p.stream_id = s.id AND p.rest_until <= now() AND NOT p.probation
			ORDER BY p.rest_until LIMIT s.free FOR UPDATE SKIP LOCKED)
		UPDATE suppression p SET probation = true, probation_at = now(), expires_at = now() FROM k
		WHERE p.address_key = k.address_key AND p.scope = k.scope AND p.reason = k.reason;
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n > 0 THEN
			INSERT INTO probation_day AS d (stream_id, day, begun) VALUES (s.id, today, n)
			ON CONFLICT (stream_id, day) DO UPDATE SET begun = d.begun + excluded.begun;
		END IF;
		total := total + n;
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION probation_begin() IS 'Lets addresses whose rest is over come back on trial, stream.probation_daily a day; returns how many';

-- When most of what a domain says in a few hours is "unknown user", the domain is more likely
-- wrong than all those people gone: what it has suppressed is made provisional. It rests like a
-- soft bounce, comes back on probation, and the next hard bounce makes it final.
CREATE FUNCTION suppress_provisional() RETURNS TABLE (domain text, addresses bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	FOR domain IN SELECT t.domain FROM tally_domain t WHERE t.hour > now() - interval '7 hours'
	    GROUP BY t.domain HAVING sum(t.hard) >= 50
		AND at_least_per_cent(sum(t.hard)::bigint, greatest(sum(t.attempted), sum(t.hard))::bigint) >= 50 LOOP
		UPDATE suppression s SET source = 'provisional', rests = greatest(s.rests, 1), expires_at = 'infinity',
		    rest_until = now() + make_interval(days => coalesce(st.soft_rest_days, 14)),
		    stream_id = coalesce(st.id, (SELECT min(id) FROM stream))
		FROM suppression o
		LEFT JOIN feedback_event f ON f.id = o.event_id LEFT JOIN run r ON r.id = f.run_id
		LEFT JOIN campaign c ON c.id = r.campaign_id LEFT JOIN stream st ON st.id = c.stream_id
		WHERE split_part(o.address_key, '@', 2) = domain AND o.scope = 'all' AND o.reason = 'bounce'
		    AND o.expires_at IS NULL AND o.rests = 0 AND o.created_at > now() - interval '7 hours'
		    AND s.address_key = o.address_key AND s.scope = o.scope AND s.reason = o.reason;
		GET DIAGNOSTICS addresses = ROW_COUNT;
		CONTINUE WHEN addresses = 0;
		INSERT INTO audit (action, object, detail) VALUES ('suppress.provisional', domain, addresses || ' addresses');
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION suppress_provisional() IS 'Makes hard bounces provisional of domains that call at least half of everybody unknown, 50 or more within 7 hours; returns them by domain';

CREATE VIEW suppression_state AS
SELECT s.address_key, s.scope, s.reason, s.source,
    CASE WHEN s.probation THEN 'probation'
	WHEN s.rest_until IS NOT NULL AND s.rest_until <= now() THEN 'waits for probation'
	WHEN s.source = 'provisional' AND s.rest_until IS NOT NULL THEN 'provisional'
	WHEN s.rest_until IS NOT NULL THEN 'rests'
	WHEN s.expires_at <= now() THEN 'expired'
	WHEN s.expires_at IS NOT NULL THEN 'for a time' ELSE 'for good' END AS state,
    s.created_at, coalesce(s.rest_until, s.expires_at) AS expires_at, s.rests, s.probation_at, st.name AS stream,
    s.evidence
FROM suppression s LEFT JOIN stream st ON st.id = s.stream_id;
COMMENT ON VIEW suppression_state IS 'Suppressed addresses with what will become of them';
COMMENT ON COLUMN suppression_state.address_key IS 'Address';
COMMENT ON COLUMN suppression_state.scope IS 'all, stream:NAME or list:NAME';
COMMENT ON COLUMN suppression_state.reason IS 'bounce, complaint, unsubscribe or manual';
COMMENT ON COLUMN suppression_state.source IS 'Where it came from';
COMMENT ON COLUMN suppression_state.state IS 'for good, for a time, expired; rests, provisional, waits for probation, probation';
COMMENT ON COLUMN suppression_state.created_at IS 'Since when';
COMMENT ON COLUMN suppression_state.expires_at IS 'Until when, or the end of its rest';
COMMENT ON COLUMN suppression_state.rests IS 'How often it has rested';
COMMENT ON COLUMN suppression_state.probation_at IS 'When its last probation began';
COMMENT ON COLUMN suppression_state.stream IS 'Stream whose daily number of probations it takes part in';
COMMENT ON COLUMN suppression_state.evidence IS 'What it rests on';

-- Whoever bounced may still unsubscribe from everything.
CREATE OR REPLACE FUNCTION page_look(the_run int, the_send int, the_attempt int, undo_minutes int) RETURNS TABLE (
    address text, locale text, list text, sender text, list_off boolean, all_off boolean, may_undo boolean,
    is_repeat boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT address_masked(s.address), to_jsonb(cu) ->> 'locale', l.list,
	    coalesce(nullif(r.snapshot ->> 'from_name', ''), r.snapshot ->> 'from_address', c.from_address),
	    EXISTS (SELECT FROM suppression p WHERE p.address_key = s.address_key AND p.scope = 'list:' || l.list
		AND p.expires_at IS NULL),
	    EXISTS (SELECT FROM suppression p WHERE p.address_key = s.address_key AND p.scope = 'all' AND p.expires_at IS NULL
		AND p.reason <> 'bounce'),
	    EXISTS (SELECT FROM suppression p JOIN feedback_event f ON f.id = p.event_id
		WHERE p.address_key = s.address_key AND p.scope IN ('all', 'list:' || l.list) AND p.reason = 'unsubscribe'
		AND f.run_id = s.run_id AND f.send_id = s.id AND p.created_at > now() - make_interval(mins => undo_minutes)),
	    -- the very request that was obeyed before, coming again after a newer consent
	    coalesce(s.unsubscribed_at < (to_jsonb(cu) ->> 'consent_at')::timestamptz, false)
	FROM send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	CROSS JOIN LATERAL (SELECT CASE WHEN c.list = '' THEN st.name ELSE c.list END AS list) l
	WHERE s.run_id = the_run AND s.id = the_send AND s.attempt > 0 AND s.attempt >= the_attempt
$$;

-- ---------------------------------------------------------------- what a dead owner held

-- Claims run along the ids, so what is in hand lies below what was pushed last: pages are read
-- from there downwards, then upwards, until as many are found as the tally says there are.
CREATE FUNCTION send_held(the_run int, the_owner int, want bigint, lost boolean) RETURNS SETOF send
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	page CONSTANT int := 20000;
	middle int;
	top int;
	low int;
	n bigint;
	seen bigint := 0;
	downwards boolean := true;
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN;
	END IF;
	SELECT least(r.pushed, r.planned), r.planned INTO middle, top FROM run r WHERE r.id = the_run;
	-- rows may have been claimed before `pushed` was moved behind them, and runs of single mails
	-- grow without it
	EXECUTE format('SELECT greatest($1, coalesce(max(id), 0)) FROM send_%s WHERE run_id = $2', the_run) INTO top USING top, the_run;
	low := middle - page;
	WHILE seen < want LOOP
		IF downwards AND low <= - page THEN
			downwards := false;
			low := middle;
		END IF;
		EXIT WHEN NOT downwards AND low >= top;
		RETURN QUERY EXECUTE format($q$
			SELECT * FROM send_%s WHERE run_id = $1 AND id > $2 AND id <= $3 AND owner = $4
			    AND (state = 'sending' OR ($5 AND state = 'in_doubt' AND reason = 'owner_lost'))$q$, the_run)
		    USING the_run, low, low + page, the_owner, lost;
		GET DIAGNOSTICS n = ROW_COUNT;
		seen := seen + n;
		low := low + CASE WHEN downwards THEN - page ELSE page END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION send_held(int, int, bigint, boolean) IS 'Rows of a run that an owner has claimed and not settled, also those in doubt because it seemed lost; looks for no more than so many';

CREATE OR REPLACE FUNCTION recover_rows(dead int)
RETURNS TABLE (run_id int, id int, attempt smallint, tries smallint, state send_state, address text)
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT h.run_id, h.id, h.attempt, h.tries, h.state, h.address
	FROM (SELECT t.run_id, sum(t.claimed) + greatest(sum(t.in_doubt), 0) AS want FROM tally t
		WHERE t.owner = dead GROUP BY t.run_id) AS t
	CROSS JOIN LATERAL send_held(t.run_id, dead, t.want::bigint, true) AS h
	WHERE t.want > 0
	ORDER BY h.run_id, h.state, h.id
$$;

-- Nobody can say from here whether a dead owner wrote the final dot: its rows are in doubt, unless
-- somebody was heard of meanwhile.
CREATE OR REPLACE FUNCTION dispatcher_bury(dead int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	r record;
	c record;
	ids int[];
	total bigint := 0;
BEGIN
	UPDATE dispatcher SET fenced_at = coalesce(fenced_at, now()) WHERE id = dead AND stopped_at IS NULL;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	FOR r IN SELECT t.run_id, sum(t.claimed)::bigint AS want FROM tally t WHERE t.owner = dead
	    GROUP BY t.run_id HAVING sum(t.claimed) > 0 ORDER BY 1 LOOP
		SELECT array_agg(h.id) INTO ids FROM send_held(r.run_id, dead, r.want, false) h;
		WITH u AS (
			UPDATE send s SET settled_at = now(), not_before = NULL,
			    state = CASE WHEN s.rejected_attempt = s.attempt THEN 'failed'
				WHEN s.accepted_attempt = s.attempt THEN 'sent' ELSE 'in_doubt' END::send_state,
			    reason = CASE WHEN s.rejected_attempt = s.attempt OR s.accepted_attempt = s.attempt THEN s.reason
				ELSE 'owner_lost' END
			WHERE s.run_id = r.run_id AND s.id = ANY (ids) AND s.owner = dead AND s.state = 'sending'
			RETURNING s.state, split_part(s.address_key, '@', 2) AS domain),
		d AS (
			INSERT INTO tally_domain AS t (run_id, hour, domain, owner, attempted, sent, other)
			SELECT r.run_id, date_trunc('hour', now()), domain, dead, count(*), count(*) FILTER (WHERE state = 'sent'),
			    count(*) FILTER (WHERE state = 'failed')
			FROM u WHERE state IN ('sent', 'failed') GROUP BY domain
			ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
			    sent = t.sent + excluded.sent, other = t.other + excluded.other)
		SELECT count(*) AS n, count(*) FILTER (WHERE state = 'sent') AS sent,
		    count(*) FILTER (WHERE state = 'failed') AS failed INTO c FROM u;
		IF c.n > 0 THEN
			PERFORM tally_add(r.run_id, dead, d_claimed => - c.n, d_sent => c.sent, d_failed => c.failed,
			    d_in_doubt => c.n - c.sent - c.failed);
		END IF;
		total := total + c.n;
	END LOOP;
	UPDATE dispatcher SET stopped_at = now() WHERE id = dead;
	RETURN total;
END
$$;

-- ---------------------------------------------------------------- retention

ALTER TABLE run ADD dropped_at timestamptz;
COMMENT ON COLUMN run.dropped_at IS 'When its recipients were dropped; counts stay in tally, tally_domain and run_reason';

CREATE TABLE run_reason (
	run_id int NOT NULL,
	state send_state NOT NULL,
	class text,
	reason text,
	code smallint,
	enhanced text,
	recipients bigint NOT NULL
);
CREATE INDEX run_reason_run ON run_reason (run_id);
COMMENT ON TABLE run_reason IS 'What became of the recipients of runs whose rows were dropped, without addresses';
COMMENT ON COLUMN run_reason.run_id IS 'Run';
COMMENT ON COLUMN run_reason.state IS 'State of the recipients';
COMMENT ON COLUMN run_reason.class IS 'hard, soft, block, message, config';
COMMENT ON COLUMN run_reason.reason IS 'Short word';
COMMENT ON COLUMN run_reason.code IS 'SMTP reply code';
COMMENT ON COLUMN run_reason.enhanced IS 'Enhanced status code';
COMMENT ON COLUMN run_reason.recipients IS 'How many';

-- One run. Empty: dropped; else why it stays.
CREATE FUNCTION run_drop(the_run int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	p record;
	r run;
	rows bigint;
	open_rows bigint;
BEGIN
	SELECT * INTO r FROM run WHERE id = the_run FOR UPDATE;
	IF NOT FOUND OR r.state NOT IN ('finished', 'cancelled', 'failed', 'missed') OR r.finished_at IS NULL THEN
		RETURN 'it is not finished';
	ELSIF r.dropped_at IS NOT NULL THEN
		RETURN 'it was dropped before';
	END IF;
	IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = 'send'::regclass
	    AND i.inhrelid = to_regclass('kairan.send_' || the_run)) THEN
		SELECT * INTO p FROM campaign_progress WHERE run_id = the_run;
		EXECUTE format($q$SELECT count(*), count(*) FILTER (WHERE state IN ('sending', 'in_doubt')
			OR (state IN ('queued', 'deferred') AND $1 <> 'cancelled')) FROM send_%s$q$, the_run)
		INTO rows, open_rows USING r.state::text;
		IF open_rows > 0 THEN
			RETURN open_rows || ' recipients are not settled';
		ELSIF rows <> p.planned THEN
			RETURN 'its counts do not agree with its rows';
		END IF;
		EXECUTE format($q$INSERT INTO run_reason (run_id, state, class, reason, code, enhanced, recipients)
			SELECT %1$s, state, class, reason, code, enhanced, count(*) FROM send_%1$s GROUP BY 2, 3, 4, 5, 6$q$, the_run);
		EXECUTE format('DROP TABLE send_%s', the_run);
	END IF;
	IF to_regclass('kairan.exclusion_' || the_run) IS NOT NULL THEN
		EXECUTE format('DROP TABLE exclusion_%s', the_run);
	END IF;
	PERFORM plan_discard(the_run);
	DELETE FROM retry WHERE run_id = the_run;
	UPDATE run SET dropped_at = now() WHERE id = the_run;
	INSERT INTO audit (action, object, detail)
	VALUES ('retention.run', 'run ' || the_run, coalesce(rows, 0) || ' recipients, run finished ' || r.finished_at);
	RETURN '';
END
$$;
COMMENT ON FUNCTION run_drop(int) IS 'Drops the recipients of a run that is over, after summing them up; empty when done, else why not';

-- Links in mails need their rows for 60 days; less is refused. 0: keep for ever.
CREATE FUNCTION retention_apply(send_days int, event_days int, dry boolean, at_most int)
RETURNS TABLE (what text, object text, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	r record;
	n bigint;
BEGIN
	IF send_days BETWEEN 1 AND 59 OR event_days BETWEEN 1 AND 59 THEN
		RAISE EXCEPTION 'retention of less than 60 days: links in mails must work for that long'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	FOR r IN SELECT run.id, c.name, run.run_key FROM run JOIN campaign c ON c.id = run.campaign_id
	    WHERE send_days > 0 AND run.dropped_at IS NULL AND run.state IN ('finished', 'cancelled', 'failed', 'missed')
	    AND run.finished_at < now() - make_interval(days => send_days) ORDER BY run.finished_at LIMIT at_most LOOP
		what := 'run';
		object := r.id || ' ' || r.name || ' ' || r.run_key;
		outcome := 'to be dropped';
		IF NOT dry THEN
			BEGIN
				outcome := coalesce(nullif(run_drop(r.id), ''), 'dropped');
			EXCEPTION WHEN lock_not_available THEN
				outcome := 'in use, later';
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
	FOR r IN SELECT c.oid::regclass AS name, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
	    WHERE i.inhparent = 'feedback_event'::regclass AND c.relname ~ '^feedback_event_[0-9]{4}_[0-9]{2}$'
	    AND event_days > 0 AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month'
		<= (now() AT TIME ZONE 'UTC')::date - event_days ORDER BY 2 LOOP
		what := 'events';
		object := r.relname;
		outcome := 'to be dropped';
		IF NOT dry THEN
			BEGIN
				EXECUTE format('DROP TABLE %s', r.name);
				INSERT INTO audit (action, object, detail) VALUES ('retention.events', r.relname, 'dropped');
				outcome := 'dropped';
			EXCEPTION WHEN lock_not_available THEN
				outcome := 'in use, later';
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
	SELECT count(*) INTO n FROM feedback_event_rest e
	WHERE event_days > 0 AND e.month + interval '1 month' <= (now() AT TIME ZONE 'UTC')::date - event_days;
	IF n > 0 THEN
		what := 'events';
		object := 'feedback_event_rest';
		outcome := n || ' to be deleted';
		IF NOT dry THEN
			DELETE FROM feedback_event_rest e
			WHERE e.month + interval '1 month' <= (now() AT TIME ZONE 'UTC')::date - event_days;
			INSERT INTO audit (action, object, detail) VALUES ('retention.events', object, n || ' deleted');
			outcome := n || ' deleted';
		END IF;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION retention_apply(int, int, boolean, int) IS 'Drops recipients of runs that ended so many days ago, and events of months so long past; dry: only shows';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION ingest_run(int, feedback_event[]), ingest_soft(int, feedback_event[], stream),
    ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[], int[], text[], text[],
	text[], text[], text[]),
    feedback_join(int), probation_begin(), suppress_provisional(), send_held(int, int, bigint, boolean), run_drop(int),
    retention_apply(int, int, boolean, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ingest(text[], text[], text[], timestamptz[], int[], int[], int[], text[], text[], text[],
    int[], text[], text[], text[], text[], text[]) TO kairan_dispatcher, kairan_feedback, kairan_operator;
GRANT EXECUTE ON FUNCTION feedback_join(int) TO kairan_producer, kairan_operator;
GRANT EXECUTE ON FUNCTION probation_begin(), suppress_provisional() TO kairan_producer;
GRANT EXECUTE ON FUNCTION retention_apply(int, int, boolean, int) TO kairan_producer, kairan_operator;
GRANT SELECT, UPDATE (due_at) ON feedback_wait TO kairan_dispatcher;
GRANT SELECT ON feedback_wait, probation_day, run_reason, suppression_state TO kairan_operator;
GRANT SELECT ON run_reason TO kairan_monitor;
