-- SPDX-License-Identifier: Apache-2.0
-- What comes back: counts by domain and hour that grow with the outcomes, so that no view scans
-- send; the suppression policy of a stream; the breaker; undoing a provider's false bounces.

-- ---------------------------------------------------------------- counts

ALTER TABLE tally ADD hard bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN tally.hard IS 'Rows found to be dead addresses: refused in the session, or bounced later';

CREATE TABLE tally_domain (
	run_id int NOT NULL,
	hour timestamptz NOT NULL,
	domain text NOT NULL COLLATE "C",
	owner int NOT NULL,
	attempted bigint NOT NULL DEFAULT 0,
	sent bigint NOT NULL DEFAULT 0,
	delivered bigint NOT NULL DEFAULT 0,
	hard bigint NOT NULL DEFAULT 0,
	soft bigint NOT NULL DEFAULT 0,
	block bigint NOT NULL DEFAULT 0,
	other bigint NOT NULL DEFAULT 0,
	complained bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (run_id, hour, domain, owner)
) WITH (fillfactor = 70);
CREATE INDEX tally_domain_hour ON tally_domain USING brin (hour);
COMMENT ON TABLE tally_domain IS 'Outcomes by recipient domain and hour in which they were heard, written with them; what bounce_rate shows';
COMMENT ON COLUMN tally_domain.run_id IS 'Run';
COMMENT ON COLUMN tally_domain.hour IS 'Hour in which it was recorded';
COMMENT ON COLUMN tally_domain.domain IS 'Recipient domain';
COMMENT ON COLUMN tally_domain.owner IS 'dispatcher.id; -1: feedback';
COMMENT ON COLUMN tally_domain.attempted IS 'Taken or refused for good by the remote; a retry by command counts again';
COMMENT ON COLUMN tally_domain.sent IS 'Taken by the remote';
COMMENT ON COLUMN tally_domain.delivered IS 'With evidence of delivery';
COMMENT ON COLUMN tally_domain.hard IS 'Dead addresses: refused in the session or bounced later';
COMMENT ON COLUMN tally_domain.soft IS 'Failures of the mailbox that may pass';
COMMENT ON COLUMN tally_domain.block IS 'Failures that are about us: reputation, policy, content';
COMMENT ON COLUMN tally_domain.other IS 'Failures of other classes';
COMMENT ON COLUMN tally_domain.complained IS 'Complaints';

-- what there is already
INSERT INTO tally_domain (run_id, hour, domain, owner, attempted, sent, delivered, hard, soft, block, other, complained)
SELECT run_id, date_trunc('hour', settled_at), split_part(address_key, '@', 2), -1, count(*),
    count(*) FILTER (WHERE state = 'sent'), count(delivered_at),
    count(*) FILTER (WHERE lost AND class = 'hard'), count(*) FILTER (WHERE lost AND class = 'soft'),
    count(*) FILTER (WHERE lost AND class = 'block'),
    count(*) FILTER (WHERE lost AND coalesce(class, '') NOT IN ('hard', 'soft', 'block')), count(complained_at)
FROM (SELECT *, bounced_at IS NOT NULL OR state = 'failed' AS lost FROM send
	WHERE settled_at IS NOT NULL AND state IN ('sent', 'failed')) AS s
GROUP BY 1, 2, 3;
INSERT INTO tally AS t (run_id, owner, minute, hard)
SELECT run_id, -1, date_trunc('minute', coalesce(bounced_at, settled_at)), count(*) FROM send
WHERE class = 'hard' AND (bounced_at IS NOT NULL OR state = 'failed') GROUP BY 1, 3
ON CONFLICT (run_id, owner, minute) DO UPDATE SET hard = t.hard + excluded.hard;

CREATE OR REPLACE VIEW bounce_rate AS
SELECT c.name AS campaign, r.run_key, st.name AS stream, coalesce(p.provider, 'other') AS provider,
    d.domain, d.hour, sum(d.attempted)::bigint AS attempted, sum(d.sent)::bigint AS sent,
    sum(d.delivered)::bigint AS delivered, sum(d.hard)::bigint AS hard,
    sum(d.soft + d.block + d.other)::bigint AS other_failures, sum(d.complained)::bigint AS complained,
    per_cent(sum(d.hard)::bigint, sum(d.attempted)::bigint) AS hard_per_cent,
    per_cent(sum(d.complained)::bigint, sum(d.sent)::bigint) AS complained_per_cent,
    sum(d.soft)::bigint AS soft, sum(d.block)::bigint AS block
FROM tally_domain d JOIN run r ON r.id = d.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id
LEFT JOIN provider_domain p ON p.domain = d.domain
GROUP BY c.name, r.run_key, st.name, p.provider, d.domain, d.hour;
COMMENT ON COLUMN bounce_rate.hour IS 'Hour in which it was heard';
COMMENT ON COLUMN bounce_rate.soft IS 'Of other_failures: mailboxes, may pass';
COMMENT ON COLUMN bounce_rate.block IS 'Of other_failures: about us (reputation, policy, content)';

-- Of a few mails nothing can be said: the rate that the true one is not below, with a certainty of
-- 99 % (Wilson score interval, one side).
CREATE FUNCTION at_least_per_cent(part bigint, whole bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN whole > 0 AND part >= 0 AND part <= whole THEN round((100 * greatest(0,
	    (p + z * z / (2 * whole) - z * sqrt(p * (1 - p) / whole + z * z / (4.0 * whole * whole))) / (1 + z * z / whole)))::numeric, 3) END
	FROM (SELECT part::float8 / nullif(whole, 0) AS p, 2.326::float8 AS z) AS t
$$;
COMMENT ON FUNCTION at_least_per_cent(bigint, bigint) IS 'Lower end of the rate part of whole in per cent, certain to 99 %: 1 of 5 is at least 2.8, 1000 of 5000 at least 18.7';

CREATE OR REPLACE VIEW reputation AS
SELECT w.stream, w.sent, w.hard, per_cent(w.hard, w.attempted) AS bounce_per_cent,
    5 AS bounce_review_per_cent, 10 AS bounce_stop_per_cent, w.complained,
    per_cent(w.complained, w.sent) AS complaint_per_cent,
    0.1 AS complaint_review_per_cent, 0.5 AS complaint_stop_per_cent,
    CASE WHEN at_least_per_cent(w.hard, w.attempted) >= 10 OR at_least_per_cent(w.complained, w.sent) >= 0.5 THEN 'stop'
	WHEN at_least_per_cent(w.hard, w.attempted) >= 5 OR at_least_per_cent(w.complained, w.sent) >= 0.1 THEN 'review'
	ELSE 'fine' END AS judgement,
    w.attempted, at_least_per_cent(w.hard, w.attempted) AS bounce_at_least_per_cent,
    at_least_per_cent(w.complained, w.sent) AS complaint_at_least_per_cent
FROM (SELECT st.name AS stream, sum(t.sent + t.failed)::bigint AS attempted, sum(t.sent)::bigint AS sent,
	sum(t.hard)::bigint AS hard, sum(t.complained)::bigint AS complained
	FROM stream st JOIN campaign c ON c.stream_id = st.id JOIN run r ON r.campaign_id = c.id
	JOIN tally t ON t.run_id = r.id
	WHERE t.minute > now() - interval '7 days' GROUP BY st.name) AS w
WHERE w.attempted > 0;
COMMENT ON VIEW reputation IS 'Bounce and complaint rates of the last 7 days by stream, beside the lines at which Amazon SES reviews (5 %, 0.1 %) and stops (10 %, 0.5 %) an account; judged by the rate that is certain, not by a handful of mails';
COMMENT ON COLUMN reputation.attempted IS 'Taken or refused for good';
COMMENT ON COLUMN reputation.bounce_at_least_per_cent IS 'Bounce rate that is certain to 99 %';
COMMENT ON COLUMN reputation.complaint_at_least_per_cent IS 'Complaint rate that is certain to 99 %';

-- ---------------------------------------------------------------- policy

ALTER TABLE stream ADD soft_bounce_days int NOT NULL DEFAULT 30 CHECK (soft_bounce_days BETWEEN 1 AND 365),
    ADD soft_rest_days int NOT NULL DEFAULT 14 CHECK (soft_rest_days BETWEEN 1 AND 3650),
    ADD breaker text NOT NULL DEFAULT 'run' CHECK (breaker IN ('off', 'run', 'stream')),
    ADD bounce_line_per_cent numeric NOT NULL DEFAULT 5 CHECK (bounce_line_per_cent > 0),
    ADD complaint_line_per_cent numeric NOT NULL DEFAULT 0.1 CHECK (complaint_line_per_cent > 0);
COMMENT ON COLUMN stream.soft_bounce_limit IS 'Soft bounces within soft_bounce_days without a delivery after which an address rests for soft_rest_days';
COMMENT ON COLUMN stream.soft_bounce_days IS 'Days in which soft bounces are counted';
COMMENT ON COLUMN stream.soft_rest_days IS 'Days an address rests after too many soft bounces';
COMMENT ON COLUMN stream.breaker IS 'run: a run whose own rates are certain to be over a line is paused; stream: also when those of the stream in 7 days are; off';
COMMENT ON COLUMN stream.bounce_line_per_cent IS 'Hard bounces at which the breaker pauses; SES reviews an account at 5';
COMMENT ON COLUMN stream.complaint_line_per_cent IS 'Complaints at which the breaker pauses; SES reviews an account at 0.1';

CREATE TABLE ambiguous_domain (
	domain text PRIMARY KEY COLLATE "C",
	campaigns int NOT NULL DEFAULT 2 CHECK (campaigns > 0),
	note text NOT NULL DEFAULT ''
);
COMMENT ON TABLE ambiguous_domain IS 'Domains that say "unknown user" also when they refuse for another reason: an address is suppressed only when several campaigns agree';
COMMENT ON COLUMN ambiguous_domain.domain IS 'Recipient domain';
COMMENT ON COLUMN ambiguous_domain.campaigns IS 'How many campaigns must have heard it';
COMMENT ON COLUMN ambiguous_domain.note IS 'Why';
INSERT INTO ambiguous_domain (domain, note) VALUES
	('docomo.ne.jp', '550 stands for unknown, refused by the settings of the handset, or blocked for a time');

-- Events that speak of send rows of one run. Plans are made while the inbox is small and kept,
-- so sequential scans are ruled out. Facts only ever go from empty to the earliest time.
CREATE OR REPLACE FUNCTION ingest_run(the_run int, fresh bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	list_scope text;
	st stream;
	this_campaign int;
BEGIN
	SELECT s.* INTO st FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
	WHERE r.id = the_run;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id
	INTO list_scope, this_campaign
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
	WHERE r.id = the_run;

	WITH e AS MATERIALIZED (
		SELECT *, coalesce(occurred_at, received_at) AS at,
		    kind IN ('bounced', 'rejected') AND source <> 'smtp' AS is_why
		FROM feedback_event WHERE id = ANY (fresh) AND run_id = the_run AND send_id IS NOT NULL),
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
		    bool_or(kind = 'rejected') AS rejected,
		    bool_or(kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened', 'clicked',
			'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    (array_agg(class ORDER BY id DESC) FILTER (WHERE is_why))[1] AS class,
		    (array_agg(reason ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reason,
		    (array_agg(enhanced ORDER BY id DESC) FILTER (WHERE is_why))[1] AS enhanced,
		    (array_agg(reply ORDER BY id DESC) FILTER (WHERE is_why))[1] AS reply,
		    (array_agg(remote ORDER BY id DESC) FILTER (WHERE is_why))[1] AS remote
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
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
		    state = CASE WHEN old.rejected AND s.state IN ('sent', 'in_doubt') THEN 'failed'
			WHEN old.accepted AND s.state = 'in_doubt' THEN 'sent' ELSE s.state END,
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
	sup AS (
		INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id)
		SELECT DISTINCT ON (s.address_key, t.scope) s.address_key, t.scope, t.reason, e.source,
		    concat_ws(' ', 'run ' || the_run || ' recipient ' || s.id, e.enhanced, e.reason, e.reply), e.id
		FROM e JOIN send s ON s.run_id = the_run AND s.id = e.send_id AND s.attempt > 0
		    AND s.attempt >= e.attempt
		CROSS JOIN LATERAL (SELECT
			CASE WHEN e.kind = 'unsubscribed' AND e.reason IS DISTINCT FROM 'all' THEN list_scope ELSE 'all' END AS scope,
			CASE e.kind WHEN 'bounced' THEN 'bounce' WHEN 'complained' THEN 'complaint' ELSE 'unsubscribe' END AS reason) t
		WHERE (e.kind = 'bounced' AND e.class = 'hard'
			-- where "unknown" may also mean "not now", campaigns must agree
			AND (SELECT coalesce(max(m.campaigns), 1) FROM ambiguous_domain m
				WHERE m.domain = split_part(s.address_key, '@', 2))
			    <= 1 + (SELECT count(DISTINCT r.campaign_id) FROM feedback_event f JOIN run r ON r.id = f.run_id
				WHERE f.address_key = s.address_key AND f.kind = 'bounced' AND f.class = 'hard'
				AND r.campaign_id <> this_campaign))
		    OR e.kind IN ('complained', 'unsubscribed')
		ORDER BY s.address_key, t.scope, suppression_rank(t.reason) DESC, e.id
		ON CONFLICT (address_key, scope) DO UPDATE SET reason = excluded.reason, source = excluded.source,
		    evidence = excluded.evidence, event_id = excluded.event_id, created_at = now(), expires_at = NULL
		WHERE suppression_rank(excluded.reason) > suppression_rank(suppression.reason)
		    OR suppression.expires_at IS NOT NULL)
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
	    failed = t.failed + excluded.failed, in_doubt = t.in_doubt + excluded.in_doubt;

	-- The row knows the address, whatever the report said or left out.
	UPDATE feedback_event f SET address_key = s.address_key FROM send s
	WHERE f.id = ANY (fresh) AND f.run_id = the_run AND s.run_id = the_run AND s.id = f.send_id
	    AND f.address_key IS DISTINCT FROM s.address_key;

	-- Soft bounces count up to a limit; then the address rests. A delivery sets the count back.
	INSERT INTO suppression (address_key, scope, reason, source, evidence, event_id, expires_at)
	SELECT s.address_key, 'all', 'bounce', 'policy', soft.n || ' soft bounces in ' || st.soft_bounce_days ||
	    ' days, last ' || coalesce(e.enhanced, ''), e.id, now() + make_interval(days => st.soft_rest_days)
	FROM feedback_event e JOIN send s ON s.run_id = the_run AND s.id = e.send_id
	CROSS JOIN LATERAL (SELECT count(DISTINCT (f.run_id, f.send_id)) AS n FROM feedback_event f
		WHERE f.address_key = s.address_key AND f.kind = 'bounced' AND f.class = 'soft'
		AND f.received_at > now() - make_interval(days => st.soft_bounce_days)
		AND NOT EXISTS (SELECT FROM feedback_event d WHERE d.address_key = s.address_key
			AND d.kind = 'delivered' AND d.received_at > f.received_at)) AS soft
	WHERE e.id = ANY (fresh) AND e.run_id = the_run AND e.kind = 'bounced' AND e.class = 'soft'
	    AND soft.n >= st.soft_bounce_limit
	ORDER BY s.address_key
	ON CONFLICT (address_key, scope) DO NOTHING;
END
$$;

-- ---------------------------------------------------------------- breaker

ALTER TABLE run ADD breaker_from timestamptz;
COMMENT ON COLUMN run.breaker_from IS 'The breaker looks at what came after; set when it pauses, so that a resumed run is judged by what follows';

-- What is over a line with certainty, and why; NULL: nothing.
CREATE FUNCTION breaker_why(st stream, what text, attempted bigint, sent bigint, hard bigint, complained bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$
	SELECT CASE
	WHEN at_least_per_cent(hard, attempted) >= st.bounce_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s are dead addresses (line %s %%); see the view bounce_rate',
		    round(per_cent(hard, attempted), 1), attempted, what, st.bounce_line_per_cent)
	WHEN at_least_per_cent(complained, sent) >= st.complaint_line_per_cent THEN
		format('breaker: %s %% of %s recipients of %s complained (line %s %%); see the view bounce_rate',
		    round(per_cent(complained, sent), 2), sent, what, st.complaint_line_per_cent) END
$$;
COMMENT ON FUNCTION breaker_why(stream, text, bigint, bigint, bigint, bigint) IS 'Why these counts open the breaker of a stream; empty when they do not';

CREATE FUNCTION breaker_check() RETURNS TABLE (run_id int, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT run.id, coalesce(
		-- claimed ones count as tried: a bounce may be heard before its sending is recorded
		(SELECT breaker_why(st, 'this run', sum(t.sent + t.failed + t.claimed)::bigint, sum(t.sent + t.claimed)::bigint,
			sum(t.hard)::bigint, sum(t.complained)::bigint)
			FROM tally t WHERE t.run_id = run.id AND t.minute >= coalesce(run.breaker_from, '-infinity')),
		CASE WHEN st.breaker = 'stream' AND run.breaker_from IS NULL THEN
			(SELECT breaker_why(st, 'the stream in 7 days', p.attempted, p.sent, p.hard, p.complained)
			FROM reputation p WHERE p.stream = st.name) END) AS why
	    FROM run JOIN campaign c ON c.id = run.campaign_id JOIN stream st ON st.id = c.stream_id
	    WHERE run.state = 'running' AND st.breaker <> 'off'
	    -- what is sent is sent: only while there is something to hold back
	    AND run.planned > (SELECT coalesce(sum(t.sent + t.failed + t.in_doubt + t.skipped + t.cancelled + t.expired), 0)
		FROM tally t WHERE t.run_id = run.id) LOOP
		CONTINUE WHEN r.why IS NULL OR NOT run_move(r.id, ARRAY['running']::run_state[], 'paused', r.why);
		UPDATE run SET breaker_from = date_trunc('minute', now()) + interval '1 minute' WHERE run.id = r.id;
		run_id := r.id;
		why := r.why;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION breaker_check() IS 'Pauses running runs whose bounce or complaint rate is certain to be over the line of their stream; returns them with the reason';

-- ---------------------------------------------------------------- undo

CREATE FUNCTION suppress_undo(the_provider text, the_domain text, since timestamptz, until timestamptz, phrase text, dry boolean)
RETURNS TABLE (domain text, addresses bigint, for_example text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	keys text[];
BEGIN
	SELECT array_agg(s.address_key) INTO keys FROM suppression s
	WHERE s.reason = 'bounce' AND s.scope = 'all' AND s.created_at >= since AND s.created_at < until
	    AND (phrase IS NULL OR s.evidence ILIKE '%' || phrase || '%')
	    AND (the_domain IS NULL OR split_part(s.address_key, '@', 2) = the_domain)
	    AND (the_provider IS NULL OR split_part(s.address_key, '@', 2) IN
		(SELECT p.domain FROM provider_domain p WHERE p.provider = the_provider));
	RETURN QUERY SELECT split_part(s.address_key, '@', 2), count(*), left(min(s.evidence), 100)
	    FROM suppression s WHERE s.address_key = ANY (keys) AND s.scope = 'all' GROUP BY 1 ORDER BY 2 DESC, 1;
	IF NOT dry THEN
		DELETE FROM suppression s WHERE s.address_key = ANY (keys) AND s.scope = 'all' AND s.reason = 'bounce';
		-- else the same events would count again
		UPDATE feedback_event f SET class = 'block', reason = 'undone' WHERE f.address_key = ANY (keys)
		    AND f.kind = 'bounced' AND f.class = 'hard' AND f.received_at >= since AND f.received_at < until;
	END IF;
END
$$;
COMMENT ON FUNCTION suppress_undo(text, text, timestamptz, timestamptz, text, boolean) IS 'Lifts suppressions by bounce that a provider caused by mistake in a span of time; returns them by domain. dry: only shows';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION at_least_per_cent(bigint, bigint), breaker_why(stream, text, bigint, bigint, bigint, bigint), breaker_check(),
    suppress_undo(text, text, timestamptz, timestamptz, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION at_least_per_cent(bigint, bigint) TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator, kairan_monitor;
GRANT EXECUTE ON FUNCTION breaker_check() TO kairan_producer;
GRANT INSERT, SELECT, UPDATE ON tally_domain TO kairan_dispatcher;
GRANT SELECT ON tally_domain, ambiguous_domain TO kairan_operator, kairan_monitor;
GRANT INSERT, UPDATE, DELETE ON ambiguous_domain TO kairan_operator;
GRANT EXECUTE ON FUNCTION suppress_undo(text, text, timestamptz, timestamptz, text, boolean) TO kairan_operator;
