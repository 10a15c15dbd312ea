-- SPDX-License-Identifier: Apache-2.0
-- The same effects of a batch of events for less: no sort for each row, no plan for each batch, and
-- arrays that are read by their number.

CREATE TYPE send_change AS (
	id int,
	lane smallint,
	address_key text COLLATE "C",
	class text,
	was send_state,
	became send_state,
	delivered int,
	bounced int,
	complained int,
	unsubscribed int,
	opened int,
	clicked int
);
COMMENT ON TYPE send_change IS 'What a batch of events changed on a row of send; delivered and those behind it: 1 when heard for the first time';

-- As before. What touches send is a statement of its own, which is planned for its run: a plan for any run begins
-- by opening the partitions of all. It is small, as planning it each time has to cost little. The event that says why
-- a row bounced is the greatest of an aggregate, since one with an order would set up a sort for each row.
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
	missing bigint[];
	changed send_change[];
BEGIN
	IF to_regclass('kairan.send_' || the_run) IS NULL THEN
		RETURN (SELECT array_agg(e.id) FROM unnest(fresh) e WHERE e.run_id = the_run AND e.send_id IS NOT NULL);
	END IF;
	SELECT 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END, c.id
	INTO list_scope, this_campaign
	FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id WHERE r.id = the_run;

	WITH e AS (
		SELECT f.id, f.send_id, f.attempt, f.source, f.kind, f.class, f.reason, f.enhanced, f.reply, f.remote,
		    coalesce(f.occurred_at, f.received_at) AS at, f.kind IN ('bounced', 'rejected') AND f.source <> 'smtp' AS is_why
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
		    -- what the last of them says; its number in front decides
		    max(ARRAY[lpad(id::text, 19, '0'), class, reason, enhanced, reply, remote]) FILTER (WHERE is_why) AS why
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.attempt, s.address_key, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
		    s.opened_at, s.clicked_at, a.delivered_at AS new_delivered_at, a.bounced_at AS new_bounced_at,
		    a.complained_at AS new_complained_at, a.unsubscribed_at AS new_unsubscribed_at,
		    a.opened_at AS new_opened_at, a.clicked_at AS new_clicked_at, a.rejected, a.accepted,
		    a.why[2] AS class, a.why[3] AS reason, a.why[4] AS enhanced, a.why[5] AS reply, a.why[6] AS remote
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
		RETURNING (s.id, s.lane, s.address_key, old.class, old.state, s.state,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int)::send_change AS change)
	SELECT array_agg(change) INTO changed FROM u;

	WITH e AS (
		SELECT f.id, f.send_id, f.source, f.kind, f.address_key, f.class, f.reason, f.enhanced, f.reply
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	u AS (SELECT *, split_part(address_key, '@', 2) AS domain FROM unnest(changed)),
	d AS (
		INSERT INTO tally_domain AS t (run_id, owner, hour, domain, attempted, sent, delivered, hard, soft,
		    block, other, complained)
		SELECT the_run, -1, date_trunc('hour', now()), domain,
		    sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int), sum(delivered),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), coalesce(sum(bounced) FILTER (WHERE class = 'soft'), 0),
		    coalesce(sum(bounced) FILTER (WHERE class = 'block'), 0),
		    coalesce(sum(bounced) FILTER (WHERE coalesce(class, '') NOT IN ('hard', 'soft', 'block')), 0), sum(complained)
		FROM u GROUP BY domain ORDER BY domain
		ON CONFLICT (run_id, hour, domain, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, delivered = t.delivered + excluded.delivered,
		    hard = t.hard + excluded.hard, soft = t.soft + excluded.soft, block = t.block + excluded.block,
		    other = t.other + excluded.other, complained = t.complained + excluded.complained),
	l AS (
		INSERT INTO tally_lane AS t (run_id, lane, owner, attempted, sent, hard, complained)
		SELECT the_run, lane, -1, sum((became IN ('sent', 'failed'))::int - (was IN ('sent', 'failed'))::int),
		    sum((became = 'sent')::int - (was = 'sent')::int),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), sum(complained)
		FROM u WHERE lane > 0 AND (bounced > 0 OR complained > 0 OR became <> was) GROUP BY lane ORDER BY lane
		ON CONFLICT (run_id, lane, owner) DO UPDATE SET attempted = t.attempted + excluded.attempted,
		    sent = t.sent + excluded.sent, hard = t.hard + excluded.hard, complained = t.complained + excluded.complained),
	m AS (
		INSERT INTO tally AS t (run_id, owner, minute, delivered, bounced, hard, complained, unsubscribed, opened,
		    clicked, sent, failed, in_doubt)
		SELECT the_run, -1, date_trunc('minute', now()), sum(delivered), sum(bounced),
		    coalesce(sum(bounced) FILTER (WHERE class = 'hard'), 0), sum(complained),
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
	FROM e LEFT JOIN u o ON o.id = e.send_id;

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
		SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;
		PERFORM ingest_soft(the_run, fresh, st);
	END IF;
	RETURN missing;
END
$$;

-- The one way by which anything heard changes a row or suppresses an address; dispatcher (for
-- refusals during the session) and feedback both call it. Facts are monotone and repeats do
-- nothing, so order and number of calls do not matter. Returns how many events were new.
CREATE OR REPLACE FUNCTION ingest(p_source text[], p_kind text[], p_key text[], p_occurred timestamptz[],
    p_run int[], p_send int[], p_attempt int[], p_address text[], p_class text[], p_reason text[],
    p_code int[], p_enhanced text[], p_reply text[], p_remote text[], p_detail text[],
    p_message_id text[] DEFAULT NULL)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
	fresh feedback_event[];
	runs int[];
	has_unlinked boolean;
	missing bigint[] := '{}';
	r int;
BEGIN
	WITH i AS (
		INSERT INTO feedback_event (month, semantic_key, occurred_at, source, kind, run_id, send_id,
		    attempt, address_key, class, reason, code, enhanced, reply, remote, detail, message_id)
		SELECT date_trunc('month', coalesce(p_occurred[n], now()) AT TIME ZONE 'UTC')::date, p_key[n], p_occurred[n],
		    p_source[n], p_kind[n], p_run[n], p_send[n], p_attempt[n], p_address[n], p_class[n], p_reason[n],
		    p_code[n], p_enhanced[n], p_reply[n], p_remote[n], p_detail[n], p_message_id[n]
		FROM generate_series(1, cardinality(p_key)) AS n
		ON CONFLICT (month, semantic_key) DO NOTHING
		RETURNING feedback_event, run_id, send_id, source)
	SELECT array_agg(feedback_event), array_agg(DISTINCT run_id ORDER BY run_id) FILTER (WHERE run_id IS NOT NULL AND send_id IS NOT NULL),
	    bool_or(send_id IS NULL AND source = 'sns')
	INTO fresh, runs, has_unlinked FROM i;
	IF fresh IS NULL THEN
		RETURN 0;
	END IF;
	FOREACH r IN ARRAY coalesce(runs, '{}') LOOP
		missing := missing || ingest_run(r, fresh);
	END LOOP;
	IF has_unlinked THEN
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
	END IF;
	IF has_unlinked OR missing <> '{}' THEN
		INSERT INTO feedback_wait (id, month, semantic_key, run_id, send_id, message_id, address_key)
		SELECT e.id, e.month, e.semantic_key, e.run_id, e.send_id, e.message_id, e.address_key FROM unnest(fresh) e
		WHERE e.id = ANY (missing)
		    OR (e.send_id IS NULL AND e.source = 'sns' AND e.message_id IS NOT NULL AND e.address_key IS NOT NULL
			AND e.kind <> 'other');
	END IF;
	RETURN cardinality(fresh);
END
$$;
