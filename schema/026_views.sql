-- SPDX-License-Identifier: Apache-2.0
-- What small statements cost when many runs are kept. A partition of send is a run: a statement that knows its
-- run when it is planned opens that partition alone. A plan for any run locks the partitions of all, each time,
-- and a function in SQL is planned without its arguments, for all of them, at every call. So whatever looks
-- into send for one run is in PL/pgSQL, planned for the run that it was called with.

-- For views and functions in SQL.
CREATE FUNCTION send_of(the_run int, ids int[]) RETURNS SETOF send
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
	RETURN QUERY SELECT * FROM send s WHERE s.run_id = the_run AND s.id = ANY (ids);
END
$$;
COMMENT ON FUNCTION send_of(int, int[]) IS 'Recipients of a run; opens no other run''s partition of send';

-- ---------------------------------------------------------------- pages for recipients

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
	FROM send_of(the_run, ARRAY[the_send]) s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	CROSS JOIN LATERAL (SELECT CASE WHEN c.list = '' THEN st.name ELSE c.list END AS list) l
	WHERE s.attempt > 0 AND s.attempt >= the_attempt
$$;

CREATE OR REPLACE FUNCTION confirm_look(the_run int, the_send int, the_attempt int, days int) RETURNS TABLE (
    kind text, state text, address text, locale text, sender text, success_url text, failure_url text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT coalesce(k.kind, 'invite'),
	    CASE WHEN k.confirmed_at IS NOT NULL THEN 'done'
		WHEN coalesce(s.claimed_at, k.asked_at) < now() - make_interval(days => days) THEN 'expired' ELSE 'open' END,
	    s.address, coalesce(to_jsonb(cu) ->> 'locale', r.snapshot ->> 'language'),
	    coalesce(nullif(r.snapshot ->> 'from_name', ''), r.snapshot ->> 'from_address'),
	    coalesce(r.snapshot ->> 'success_url', ''), coalesce(r.snapshot ->> 'failure_url', '')
	FROM send_of(the_run, ARRAY[the_send]) s JOIN run r ON r.id = s.run_id
	LEFT JOIN confirmation k ON k.run_id = s.run_id AND k.send_id = s.id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	WHERE s.attempt > 0 AND s.attempt >= the_attempt
	    AND (k.kind IS NOT NULL OR r.snapshot ? 'invite')
$$;

CREATE OR REPLACE FUNCTION view_source(the_run int, the_send int, the_attempt int) RETURNS TABLE (
    is_gone boolean, locale text, campaign text, subject text, html text, body text, from_address text,
    unsubscribe_base text, path_domain text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT g.gone, to_jsonb(cu) ->> 'locale', c.name, CASE WHEN g.gone THEN '' ELSE t.subject END,
	    CASE WHEN g.gone THEN '' ELSE t.html END, CASE WHEN g.gone THEN '' ELSE t.body END,
	    r.snapshot ->> 'from_address', st.unsubscribe_base, st.return_path_domain
	FROM send_of(the_run, ARRAY[the_send]) s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
	JOIN template t ON t.id = r.template_id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	CROSS JOIN LATERAL (SELECT cu.id IS NULL OR s.address LIKE 'erased-%' AS gone) g
	WHERE s.attempt > 0 AND s.attempt >= the_attempt
$$;

CREATE OR REPLACE FUNCTION view_file(the_run int, the_send int, the_attempt int, cid text) RETURNS TABLE (type text, bytes text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT f.type, encode(b.bytes, 'base64')
	FROM send_of(the_run, ARRAY[the_send]) s JOIN run r ON r.id = s.run_id JOIN template_file f ON f.template_id = r.template_id
	JOIN blob b ON b.digest = f.digest
	WHERE s.attempt > 0 AND s.attempt >= the_attempt
	    AND f.content_id = cid AND cid <> '' AND f.type LIKE 'image/%' AND f.type NOT LIKE '%svg%'
	LIMIT 1
$$;

-- ---------------------------------------------------------------- what is heard

CREATE OR REPLACE FUNCTION track_run(the_run int, sends int[], attempts int[], kinds text[], links text[], whos text[], whys text[],
    firsts timestamptz[], lasts timestamptz[], counts int[], soon_s float8) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
	WITH j AS MATERIALIZED (
		SELECT h.send, h.kind, h.link, h.first, h.last, h.n, w.who, CASE WHEN w.who = h.who THEN h.why ELSE 'soon' END AS why
		FROM unnest(sends, attempts, kinds, links, whos, whys, firsts, lasts, counts)
		    AS h(send, attempt, kind, link, who, why, first, last, n)
		JOIN send s ON s.run_id = the_run AND s.id = h.send AND s.attempt > 0 AND s.attempt >= h.attempt
		CROSS JOIN LATERAL (SELECT CASE WHEN h.first < coalesce(s.delivered_at, s.settled_at, h.last)
			+ make_interval(secs => soon_s) THEN 'machine' ELSE h.who END AS who) w),
	g AS MATERIALIZED (
		SELECT send, kind, link, who, min(why) AS why, min(first) AS first, max(last) AS last, sum(n) AS n
		FROM (SELECT * FROM j UNION ALL SELECT send, kind, '', first, last, n, who, why FROM j WHERE kind = 'click') a
		GROUP BY send, kind, link, who),
	t AS (
		INSERT INTO track (run_id, send_id, kind, link, who, why, first_at, last_at, hits)
		SELECT the_run, send, kind, link, who, why, first, last, n FROM g ORDER BY send, kind, link, who
		ON CONFLICT (run_id, send_id, kind, link, who) DO UPDATE SET hits = track.hits + excluded.hits,
		    first_at = least(track.first_at, excluded.first_at), last_at = greatest(track.last_at, excluded.last_at)
		RETURNING send_id AS send, kind, link, who, xmax = 0 AS is_new),
	d AS (
		INSERT INTO track_day (run_id, day, kind, link, who, recipients, hits)
		SELECT the_run, (g.last AT TIME ZONE 'UTC')::date, kind, link, who, count(*) FILTER (WHERE t.is_new), sum(g.n)
		FROM g JOIN t USING (send, kind, link, who) GROUP BY 2, 3, 4, 5 ORDER BY 2, 3, 4, 5
		ON CONFLICT (run_id, day, kind, link, who) DO UPDATE SET hits = track_day.hits + excluded.hits,
		    recipients = track_day.recipients + excluded.recipients),
	f AS (
		SELECT send, min(first) FILTER (WHERE kind = 'open') AS opened, min(first) FILTER (WHERE kind = 'click') AS clicked
		FROM j WHERE who <> 'machine' GROUP BY send),
	o AS MATERIALIZED (
		SELECT s.id, f.opened, f.clicked, s.opened_at IS NULL AND f.opened IS NOT NULL AS opens,
		    s.clicked_at IS NULL AND f.clicked IS NOT NULL AS clicks
		FROM (SELECT * FROM f ORDER BY send) f JOIN send s ON s.run_id = the_run AND s.id = f.send FOR UPDATE OF s),
	u AS (
		UPDATE send s SET opened_at = coalesce(s.opened_at, o.opened), clicked_at = coalesce(s.clicked_at, o.clicked)
		FROM o WHERE s.run_id = the_run AND s.id = o.id AND (o.opens OR o.clicks))
	INSERT INTO tally AS y (run_id, owner, minute, opened, clicked)
	SELECT the_run, -1, date_trunc('minute', now()), count(*) FILTER (WHERE opens), count(*) FILTER (WHERE clicks)
	FROM o HAVING bool_or(opens OR clicks)
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET opened = y.opened + excluded.opened, clicked = y.clicked + excluded.clicked;
END
$$;

-- Sources may say a time that is still to come, or none. Without a SET clause this and what follows become part of the
-- statement that calls them.
CREATE FUNCTION event_at(e feedback_event) RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
	SELECT least(coalesce((e).occurred_at, (e).received_at), now())
$$;
COMMENT ON FUNCTION event_at(feedback_event) IS 'When what was heard happened, as far as is known';

-- An address of ASCII without an A-label has one spelling in lower case, which the index of customer finds. The others
-- may be written in ways that only address_key() knows.
CREATE FUNCTION customer_find(the_key text) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	IF the_key ~ '^[\x01-\x7f]*$' AND the_key !~ '[@.]xn--' THEN
		RETURN QUERY SELECT c.id::bigint FROM customer c WHERE lower(c.email COLLATE "C") = the_key;
	ELSE
		RETURN QUERY SELECT c.id::bigint FROM customer c WHERE coalesce(address_key(c.email), lower(c.email)) = the_key;
	END IF;
END
$$;
COMMENT ON FUNCTION customer_find(text) IS 'Numbers of the customers with this address key';

-- Called for each complaint and unsubscribe, so it only looks where the index of customer finds: what came for an address
-- that may be written in several ways holds, whatever the consent.
CREATE FUNCTION consent_since(the_key text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	RETURN the_key ~ '^[\x01-\x7f]*$' AND the_key !~ '[@.]xn--' AND EXISTS (SELECT FROM customer c
	    WHERE lower(c.email COLLATE "C") = the_key AND (to_jsonb(c) ->> 'consent_at')::timestamptz > at);
END
$$;
COMMENT ON FUNCTION consent_since(text, timestamptz) IS 'Whether a customer of this address has given consent after that time; false without a column consent_at';

-- The bounces of a domain that were heard lately are held against what it was sent since they happened, not since they
-- were heard: a source may have been away, or an archive is read again. Of mail that was older than that, against all.
CREATE OR REPLACE FUNCTION suppress_provisional() RETURNS TABLE (domain text, addresses bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	FOR domain IN SELECT q.domain FROM (
		SELECT t.domain, sum(t.hard)::bigint AS hard FROM tally_domain t WHERE t.hour > now() - interval '7 hours'
		GROUP BY t.domain HAVING sum(t.hard) >= 50
		    AND at_least_per_cent(sum(t.hard)::bigint, greatest(sum(t.attempted), sum(t.hard))::bigint) >= 50) AS q
	    CROSS JOIN LATERAL (SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY event_at(f)) - interval '6 hours' AS since
		FROM suppression o JOIN feedback_event f ON f.address_key = o.address_key AND f.id = o.event_id
		WHERE split_part(o.address_key, '@', 2) = q.domain AND o.scope = 'all' AND o.reason = 'bounce'
		    AND o.expires_at IS NULL AND o.rests = 0 AND o.created_at > now() - interval '7 hours') AS b
	    CROSS JOIN LATERAL (SELECT sum(t.attempted) FILTER (WHERE t.hour >= b.since) AS since, sum(t.attempted) AS ever
		FROM tally_domain t WHERE t.domain = q.domain AND t.hour >= least(b.since, now() - interval '30 days')) AS w
	    WHERE at_least_per_cent(q.hard, greatest(CASE WHEN w.since >= q.hard THEN w.since ELSE w.ever END, q.hard)::bigint) >= 50 LOOP
		UPDATE suppression s SET source = 'provisional', rests = greatest(s.rests, 1), expires_at = 'infinity',
		    rest_until = now() + make_interval(days => coalesce(st.soft_rest_days, 14)),
		    stream_id = coalesce(st.id, (SELECT min(id) FROM stream))
		FROM suppression o
		LEFT JOIN feedback_event f ON f.address_key = o.address_key AND f.id = o.event_id LEFT JOIN run r ON r.id = f.run_id
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

-- SES did not send to those on its lists, nor to whom it would not for another reason: suppressed here too, but no
-- bounce of ours.
CREATE FUNCTION bounce_counts(reason text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT coalesce(reason, '') NOT IN ('on_account_suppression_list', 'on_tenant_suppression_list', 'validation_suppressed',
	    'not_sent')
$$;
COMMENT ON FUNCTION bounce_counts(text) IS 'Whether a bounce for this reason counts in rates: no when SES says that it did not send';

CREATE FUNCTION bounce_rank(class text, reason text) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN NOT kairan.bounce_counts(reason) THEN 0 WHEN class = 'hard' THEN 3 WHEN class = 'soft' THEN 1
	    WHEN class IS NOT NULL THEN 2 ELSE 0 END
$$;
COMMENT ON FUNCTION bounce_rank(text, text) IS 'Which of several bounces of a mail tells why: the greatest, then the earliest';

-- What of ingest_run() touches send. Its other statements are kept with their plans; this one is small and planned for
-- the run each time, and would be planned for all runs once in each session, to find that dear. The event that says why
-- a row bounced is the least of an aggregate, since one with an order would set up a sort for each row.
CREATE FUNCTION ingest_rows(the_run int, fresh feedback_event[]) RETURNS send_change[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	changed send_change[];
BEGIN
	WITH e AS (
		SELECT f.semantic_key, f.send_id, f.attempt, f.source, f.kind, f.class, f.reason, f.enhanced, f.reply, f.remote,
		    coalesce(f.occurred_at, f.received_at) AS at, f.kind IN ('bounced', 'rejected') AND f.source <> 'smtp' AS is_why
		FROM unnest(fresh) f WHERE f.run_id = the_run AND f.send_id IS NOT NULL),
	a AS (
		SELECT send_id, max(attempt) AS attempt,
		    min(at) FILTER (WHERE kind = 'delivered') AS delivered_at,
		    min(at) FILTER (WHERE kind = 'bounced' AND source <> 'smtp' AND bounce_counts(reason)) AS bounced_at,
		    min(at) FILTER (WHERE kind = 'complained') AS complained_at,
		    min(at) FILTER (WHERE kind = 'unsubscribed') AS unsubscribed_at,
		    min(at) FILTER (WHERE kind = 'opened') AS opened_at,
		    min(at) FILTER (WHERE kind = 'clicked') AS clicked_at,
		    max(attempt) FILTER (WHERE kind = 'rejected') AS rejected,
		    max(attempt) FILTER (WHERE kind IN ('delivered', 'bounced', 'complained', 'unsubscribed', 'opened',
			'clicked', 'accepted', 'delayed') AND source <> 'smtp') AS accepted,
		    min(ARRAY[(9 - bounce_rank(class, reason))::text, to_char(at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'),
			semantic_key, class, reason, enhanced, reply, remote] COLLATE "C") FILTER (WHERE is_why) AS why
		FROM e GROUP BY send_id),
	-- what was and what is new side by side: every later step meets a row once
	old AS (
		SELECT s.id, s.attempt, s.address_key, s.state, s.delivered_at, s.bounced_at, s.complained_at, s.unsubscribed_at,
		    s.opened_at, s.clicked_at, s.class AS old_class, a.delivered_at AS new_delivered_at, a.bounced_at AS new_bounced_at,
		    a.complained_at AS new_complained_at, a.unsubscribed_at AS new_unsubscribed_at,
		    a.opened_at AS new_opened_at, a.clicked_at AS new_clicked_at, a.rejected, a.accepted,
		    w.again, a.why IS NOT NULL AND NOT w.again AS tells,
		    a.why[4] AS class, a.why[5] AS reason, a.why[6] AS enhanced, a.why[7] AS reply, a.why[8] AS remote
		FROM send s JOIN a ON a.send_id = s.id
		CROSS JOIN LATERAL (SELECT a.why IS NOT NULL AND (s.bounced_at IS NOT NULL OR s.rejected_attempt IS NOT NULL
			OR NOT bounce_counts(s.reason)) AS again) w
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
		    class = CASE WHEN old.tells THEN old.class ELSE s.class END,
		    reason = CASE WHEN old.tells THEN old.reason ELSE s.reason END,
		    enhanced = CASE WHEN old.tells THEN old.enhanced ELSE s.enhanced END,
		    reply = CASE WHEN old.tells THEN old.reply ELSE s.reply END,
		    remote = CASE WHEN old.tells THEN old.remote ELSE s.remote END
		FROM old
		WHERE s.run_id = the_run AND s.id = old.id
		RETURNING (s.id, s.lane, s.address_key, old.again, CASE WHEN old.bounced_at IS NOT NULL THEN coalesce(old.old_class, '') END,
		    CASE WHEN s.bounced_at IS NOT NULL THEN coalesce(s.class, '') END, old.state, s.state,
		    (old.delivered_at IS NULL AND s.delivered_at IS NOT NULL)::int,
		    (old.bounced_at IS NULL AND s.bounced_at IS NOT NULL)::int,
		    (old.complained_at IS NULL AND s.complained_at IS NOT NULL)::int,
		    (old.unsubscribed_at IS NULL AND s.unsubscribed_at IS NOT NULL)::int,
		    (old.opened_at IS NULL AND s.opened_at IS NOT NULL)::int,
		    (old.clicked_at IS NULL AND s.clicked_at IS NOT NULL)::int)::send_change AS change)
	SELECT array_agg(change) INTO changed FROM u;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION ingest_rows(int, feedback_event[]) IS 'Writes what was heard to the rows of a run; returns what changed on each';

-- Of several bounces of a mail the worst says why, whatever the order in which they came: all of them are looked at
-- again. A statement of its own, behind the lock of the row, sees what another one has committed meanwhile. Where events
-- are no longer kept, what they have said stays.
CREATE FUNCTION ingest_again(the_run int, changed send_change[]) RETURNS send_change[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	ids int[] := ARRAY(SELECT c.id FROM unnest(changed) c WHERE c.again);
	result send_change[];
BEGIN
	WITH w AS MATERIALIZED (
		SELECT s.id, s.bounced_at IS NOT NULL AS counts, f.class, f.reason, f.enhanced, f.reply, f.remote
		FROM send s CROSS JOIN LATERAL (SELECT * FROM feedback_event v
			WHERE v.run_id = the_run AND v.send_id = s.id AND v.attempt <= s.attempt
			    AND v.kind IN ('bounced', 'rejected') AND v.source <> 'smtp'
			ORDER BY bounce_rank(v.class, v.reason) DESC, coalesce(v.occurred_at, v.received_at), v.semantic_key
			LIMIT 1) f
		WHERE s.run_id = the_run AND s.id = ANY (ids) AND bounce_rank(f.class, f.reason) >= bounce_rank(s.class, s.reason)),
	u AS (
		UPDATE send s SET class = w.class, reason = w.reason, enhanced = w.enhanced, reply = w.reply, remote = w.remote
		FROM w WHERE s.run_id = the_run AND s.id = w.id AND (s.class, s.reason, s.enhanced, s.reply, s.remote)
		    IS DISTINCT FROM (w.class, w.reason, w.enhanced, w.reply, w.remote))
	SELECT array_agg((c.id, c.lane, c.address_key, c.again, c.before, CASE WHEN w.counts THEN coalesce(w.class, '') ELSE c.class END,
	    c.was, c.became, c.delivered, c.bounced, c.complained, c.unsubscribed, c.opened, c.clicked)::send_change)
	INTO result FROM unnest(changed) c LEFT JOIN w ON w.id = c.id;
	RETURN result;
END
$$;
COMMENT ON FUNCTION ingest_again(int, send_change[]) IS 'Writes why rows bounced of which several bounces were heard; returns what changed with that';

-- As before, told what changed instead of looking it up, and by the time at which it happened: an archive that is read
-- again makes nobody rest. Several in a few days may be one trouble of a mailbox, so they must be spread.
DROP FUNCTION ingest_soft(int, feedback_event[], stream);
CREATE FUNCTION ingest_soft(the_run int, fresh feedback_event[], changed send_change[], st stream) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
BEGIN
	INSERT INTO suppression AS p (address_key, scope, reason, source, evidence, event_id, expires_at, rests,
	    rest_until, stream_id)
	SELECT DISTINCT ON (s.address_key) s.address_key, 'all', 'bounce', 'policy',
	    soft.n || ' soft bounces in ' || st.soft_bounce_days || ' days, last ' || coalesce(e.enhanced, ''), e.id,
	    'infinity', 1, now() + make_interval(days => st.soft_rest_days), st.id
	FROM unnest(fresh) e JOIN unnest(changed) s ON s.id = e.send_id
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
	    OR EXISTS (SELECT FROM suppression t WHERE t.address_key = s.address_key AND t.probation))
	ORDER BY s.address_key, e.id DESC
	ON CONFLICT (address_key, scope, reason) DO UPDATE SET source = excluded.source, evidence = excluded.evidence,
	    event_id = excluded.event_id, expires_at = 'infinity', probation = false, rests = p.rests + 1,
	    rest_until = now() + least(interval '365 days', make_interval(days => st.soft_rest_days) * (1 << least(p.rests, 9))),
	    stream_id = excluded.stream_id
	WHERE p.probation OR p.expires_at <= now();
END
$$;
COMMENT ON FUNCTION ingest_soft(int, feedback_event[], send_change[], stream) IS 'Lets addresses rest that bounce softly too often, and longer when they do on probation';

-- As before, with these apart.
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
		FROM unnest(fresh) e JOIN unnest(changed) s ON s.id = e.send_id
		WHERE e.run_id = the_run AND f.month = e.month AND f.semantic_key = e.semantic_key
		    AND f.address_key IS DISTINCT FROM s.address_key;
	END IF;
	IF delivered_keys IS NOT NULL THEN
		DELETE FROM suppression p WHERE p.probation AND p.address_key = ANY (delivered_keys);
	END IF;
	IF has_soft THEN
		SELECT s.* INTO st FROM campaign c JOIN stream s ON s.id = c.stream_id WHERE c.id = this_campaign;
		PERFORM ingest_soft(the_run, fresh, changed, st);
	END IF;
	RETURN missing;
END
$$;

-- As before; and a mark for another attempt of somebody in doubt says that he was sent to twice, whether or not the
-- note of it was lost with the commits: on_doubt = resend must not make a third copy of it.
CREATE OR REPLACE FUNCTION journal_assert(runs int[], ids int[], attempts smallint[], owners int[], remote_ids text[],
    accepted boolean[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
DECLARE
	r record;
	total bigint := 0;
BEGIN
	FOR r IN
		WITH j AS (SELECT * FROM unnest(runs, ids, attempts, owners, remote_ids, accepted)
			AS t(run_id, id, attempt, owner, remote_id, accepted)),
		old AS (SELECT s.run_id, s.id, s.state, s.attempt FROM send s JOIN j ON j.run_id = s.run_id AND j.id = s.id
			WHERE s.attempt <= j.attempt AND (s.state IN ('queued', 'deferred', 'sending')
			    OR (s.state = 'in_doubt' AND j.accepted)
			    OR (s.state = 'in_doubt' AND s.attempt < j.attempt)) FOR UPDATE OF s),
		twice AS (SELECT s.run_id, s.id, least(s.attempt, j.attempt) AS attempt
			FROM send s JOIN j ON j.run_id = s.run_id AND j.id = s.id
			WHERE s.state = 'in_doubt' AND NOT j.accepted AND s.attempt <> j.attempt),
		noted AS (INSERT INTO doubt (run_id, send_id, attempt, how)
			SELECT t.run_id, t.id, t.attempt,
			    CASE WHEN run.snapshot ->> 'on_doubt' = 'resend' THEN 'resent_by_policy' ELSE 'resent' END
			FROM twice t JOIN run ON run.id = t.run_id ON CONFLICT (run_id, send_id, attempt) DO NOTHING),
		u AS (UPDATE send s SET state = CASE WHEN j.accepted THEN 'sent' ELSE 'in_doubt' END::send_state,
			attempt = j.attempt, owner = j.owner, remote_id = j.remote_id, settled_at = now(), not_before = NULL,
			reason = CASE WHEN j.accepted THEN NULL ELSE 'commit_lost' END
			FROM old JOIN j USING (run_id, id)
			WHERE s.run_id = old.run_id AND s.id = old.id RETURNING s.run_id, old.state AS was, s.state)
		SELECT u.run_id, u.was, u.state, count(*) AS n FROM u GROUP BY 1, 2, 3 LOOP
		total := total + r.n;
		PERFORM tally_add(r.run_id, 0,
		    d_claimed => CASE WHEN r.was = 'sending' THEN - r.n ELSE 0 END,
		    d_deferred => CASE WHEN r.was = 'deferred' THEN - r.n ELSE 0 END,
		    d_sent => CASE WHEN r.state = 'sent' THEN r.n ELSE 0 END,
		    d_in_doubt => CASE WHEN r.state = 'in_doubt' THEN r.n ELSE 0 END
			- CASE WHEN r.was = 'in_doubt' THEN r.n ELSE 0 END);
	END LOOP;
	RETURN total;
END
$$;

-- The dispatcher's role asks for generic plans, which fit its own statements, and the others would make one for all
-- runs to learn that it is dear.
ALTER FUNCTION send_unsend(int, int, int[], smallint[]) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION journal_assert(int[], int[], smallint[], int[], text[], boolean[]) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION dispatcher_bury(int) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION lane_release(int, smallint) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION doubt_settle(int, int[], text) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION run_end(int) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION canary_check() SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION feedback_join(int) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION unsubscribe_undo(int, int, int, int) SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION confirm_do(int, int, int, int, text) SET plan_cache_mode = force_custom_plan;

-- ---------------------------------------------------------------- rounds of the producer

-- Those in doubt are known (doubtful): no look at all rows of their runs.
CREATE OR REPLACE FUNCTION doubt_policy(patience interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	d record;
	old int[];
	n bigint := 0;
BEGIN
	FOR d IN SELECT q.run_id, array_agg(q.send_id) AS ids FROM doubtful q JOIN run r ON r.id = q.run_id
	    WHERE r.state IN ('running', 'finished') AND r.snapshot ->> 'on_doubt' = 'resend'
		AND NOT EXISTS (SELECT FROM doubt o WHERE o.run_id = q.run_id AND o.send_id = q.send_id AND o.how LIKE 'resent%')
	    GROUP BY q.run_id LOOP
		SELECT array_agg(s.id) INTO old FROM send s
		WHERE s.run_id = d.run_id AND s.id = ANY (d.ids) AND s.state = 'in_doubt' AND s.settled_at < now() - patience;
		IF old IS NOT NULL THEN
			n := n + doubt_settle(d.run_id, old, 'resent_by_policy');
		END IF;
	END LOOP;
	RETURN n;
END
$$;

-- As before, run by run.
CREATE OR REPLACE FUNCTION mail_forget(days int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	r record;
	needed bigint[] := '{}';
	n bigint;
BEGIN
	FOR r IN SELECT l.run_id, array_agg(l.send_id) AS ids FROM mail m JOIN mail_send l ON l.mail_id = m.id
	    WHERE m.content <> '' AND m.created_at < now() - make_interval(days => days) GROUP BY l.run_id LOOP
		needed := needed || ARRAY(SELECT l.mail_id FROM send s JOIN mail_send l ON l.run_id = r.run_id AND l.send_id = s.id
			WHERE s.run_id = r.run_id AND s.id = ANY (r.ids) AND s.state IN ('queued', 'sending', 'deferred', 'in_doubt'));
	END LOOP;
	UPDATE mail m SET content = '' WHERE m.content <> '' AND m.created_at < now() - make_interval(days => days)
	    AND m.id <> ALL (needed);
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;

-- Not those of lists (run, lane) whose share is used up; 0 is the list that lanes have together.
CREATE FUNCTION retries_due(spent_runs int[], spent_lanes int[], at_most int) RETURNS TABLE (run_id int, send_id int, lane int)
LANGUAGE plpgsql STABLE SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	d record;
	room int := at_most;
	n int;
BEGIN
	FOR d IN SELECT t.run_id, array_agg(t.send_id) AS ids FROM retry t JOIN run r ON r.id = t.run_id
	    WHERE t.due_at <= now() AND (t.pushed_at IS NULL OR t.pushed_at < now() - interval '30 s') AND r.state = 'running'
	    GROUP BY t.run_id ORDER BY t.run_id LOOP
		RETURN QUERY SELECT t.run_id, t.send_id, l.list
		FROM retry t JOIN send s ON s.run_id = d.run_id AND s.id = t.send_id
		LEFT JOIN run_lane w ON w.run_id = d.run_id AND w.lane = s.lane
		CROSS JOIN LATERAL (SELECT CASE WHEN w.paced THEN w.lane::int ELSE 0 END AS list) AS l
		WHERE t.run_id = d.run_id AND t.send_id = ANY (d.ids)
		    AND (l.list = 0 OR t.pushed_at IS NULL OR t.pushed_at < now() - interval '1 h')
		    AND NOT EXISTS (SELECT FROM unnest(spent_runs, spent_lanes) AS x(run, lane) WHERE x.run = d.run_id AND x.lane = l.list)
		ORDER BY t.due_at LIMIT room;
		GET DIAGNOSTICS n = ROW_COUNT;
		room := room - n;
		EXIT WHEN room = 0;
	END LOOP;
END
$$;
COMMENT ON FUNCTION retries_due(int[], int[], int) IS 'Deferred recipients whose time has come and who are not handed over yet, or so long ago that Redis may have lost them';

-- A row of retry that a claim or an end of its run has made needless.
CREATE FUNCTION retries_forget() RETURNS bigint
LANGUAGE plpgsql SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	d record;
	n bigint;
	total bigint;
BEGIN
	DELETE FROM retry t USING run r WHERE r.id = t.run_id AND (t.due_at <= now() OR t.due_at = 'infinity')
	    AND r.state NOT IN ('running', 'paused');
	GET DIAGNOSTICS total = ROW_COUNT;
	FOR d IN SELECT t.run_id, array_agg(t.send_id) AS ids FROM retry t
	    WHERE (t.due_at <= now() OR t.due_at = 'infinity') AND t.pushed_at < now() - interval '1 s' GROUP BY t.run_id LOOP
		DELETE FROM retry t WHERE t.run_id = d.run_id AND t.send_id = ANY (d.ids) AND t.pushed_at < now() - interval '1 s'
		    AND NOT EXISTS (SELECT FROM send s WHERE s.run_id = d.run_id AND s.id = t.send_id AND s.state = 'deferred');
		GET DIAGNOSTICS n = ROW_COUNT;
		total := total + n;
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION retries_forget() IS 'Takes recipients off the list of retries who no longer wait for one; returns how many';

-- ---------------------------------------------------------------- totals of runs

-- tally has a row for each minute in which anything happened, of which a run with tracked opens gathers thousands a week.
-- Minutes that are over are added up once; what is shown of a run is that sum and the minutes since.
ALTER TABLE tally ADD folded boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN tally.folded IS 'Counted in tally_total';
CREATE INDEX tally_open ON tally (run_id, minute) WHERE NOT folded;

CREATE TABLE tally_total (
	run_id int PRIMARY KEY,
	moved_at timestamptz NOT NULL,
	claimed bigint NOT NULL,
	released bigint NOT NULL,
	sent bigint NOT NULL,
	deferred bigint NOT NULL,
	failed bigint NOT NULL,
	in_doubt bigint NOT NULL,
	skipped bigint NOT NULL,
	cancelled bigint NOT NULL,
	expired bigint NOT NULL,
	attempts bigint NOT NULL,
	delivered bigint NOT NULL,
	bounced bigint NOT NULL,
	complained bigint NOT NULL,
	unsubscribed bigint NOT NULL,
	opened bigint NOT NULL,
	clicked bigint NOT NULL,
	hard bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE tally_total IS 'Sums of the folded rows of tally by run';
COMMENT ON COLUMN tally_total.run_id IS 'Run';
COMMENT ON COLUMN tally_total.moved_at IS 'Last of these minutes';
COMMENT ON COLUMN tally_total.claimed IS 'Claimed and not settled';
COMMENT ON COLUMN tally_total.released IS 'Given back';
COMMENT ON COLUMN tally_total.sent IS 'Became sent';
COMMENT ON COLUMN tally_total.deferred IS 'Waiting for another try';
COMMENT ON COLUMN tally_total.failed IS 'Became failed';
COMMENT ON COLUMN tally_total.in_doubt IS 'Became in_doubt';
COMMENT ON COLUMN tally_total.skipped IS 'Left out after planning';
COMMENT ON COLUMN tally_total.cancelled IS 'Cancelled';
COMMENT ON COLUMN tally_total.expired IS 'Too late';
COMMENT ON COLUMN tally_total.attempts IS 'Transactions with an outcome';
COMMENT ON COLUMN tally_total.delivered IS 'Delivery was heard';
COMMENT ON COLUMN tally_total.bounced IS 'Bounce was heard';
COMMENT ON COLUMN tally_total.complained IS 'Complaint was heard';
COMMENT ON COLUMN tally_total.unsubscribed IS 'Unsubscribe was heard';
COMMENT ON COLUMN tally_total.opened IS 'First opens';
COMMENT ON COLUMN tally_total.clicked IS 'First clicks';
COMMENT ON COLUMN tally_total.hard IS 'Dead addresses';

-- A transaction that began more than an hour ago still writes to its minute.
CREATE FUNCTION tally_late() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	UPDATE tally_total k SET
	    claimed = k.claimed + NEW.claimed - OLD.claimed, released = k.released + NEW.released - OLD.released,
	    sent = k.sent + NEW.sent - OLD.sent, deferred = k.deferred + NEW.deferred - OLD.deferred,
	    failed = k.failed + NEW.failed - OLD.failed, in_doubt = k.in_doubt + NEW.in_doubt - OLD.in_doubt,
	    skipped = k.skipped + NEW.skipped - OLD.skipped, cancelled = k.cancelled + NEW.cancelled - OLD.cancelled,
	    expired = k.expired + NEW.expired - OLD.expired, attempts = k.attempts + NEW.attempts - OLD.attempts,
	    delivered = k.delivered + NEW.delivered - OLD.delivered, bounced = k.bounced + NEW.bounced - OLD.bounced,
	    complained = k.complained + NEW.complained - OLD.complained,
	    unsubscribed = k.unsubscribed + NEW.unsubscribed - OLD.unsubscribed,
	    opened = k.opened + NEW.opened - OLD.opened, clicked = k.clicked + NEW.clicked - OLD.clicked,
	    hard = k.hard + NEW.hard - OLD.hard
	WHERE k.run_id = NEW.run_id;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION tally_late() IS 'Keeps tally_total when a folded row of tally changes';
CREATE TRIGGER folded_changed AFTER UPDATE ON tally FOR EACH ROW WHEN (OLD.folded) EXECUTE FUNCTION tally_late();

CREATE FUNCTION tally_fold(at_most int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
	WITH f AS (
		UPDATE tally t SET folded = true
		FROM (SELECT run_id, owner, minute FROM tally WHERE NOT folded AND minute < date_trunc('minute', now()) - interval '1 hour'
		    LIMIT at_most FOR UPDATE SKIP LOCKED) AS o
		WHERE t.run_id = o.run_id AND t.owner = o.owner AND t.minute = o.minute RETURNING t.*),
	k AS (
		INSERT INTO tally_total AS k (run_id, moved_at,
		    claimed, released, sent, deferred, failed, in_doubt, skipped, cancelled, expired, attempts,
		    delivered, bounced, complained, unsubscribed, opened, clicked, hard)
		SELECT run_id, max(minute),
		    sum(claimed), sum(released), sum(sent), sum(deferred), sum(failed), sum(in_doubt),
		    sum(skipped), sum(cancelled), sum(expired), sum(attempts), sum(delivered), sum(bounced),
		    sum(complained), sum(unsubscribed), sum(opened), sum(clicked), sum(hard)
		FROM f GROUP BY run_id ORDER BY run_id
		ON CONFLICT (run_id) DO UPDATE SET moved_at = greatest(k.moved_at, excluded.moved_at),
		    claimed = k.claimed + excluded.claimed, released = k.released + excluded.released,
		    sent = k.sent + excluded.sent, deferred = k.deferred + excluded.deferred,
		    failed = k.failed + excluded.failed, in_doubt = k.in_doubt + excluded.in_doubt,
		    skipped = k.skipped + excluded.skipped, cancelled = k.cancelled + excluded.cancelled,
		    expired = k.expired + excluded.expired, attempts = k.attempts + excluded.attempts,
		    delivered = k.delivered + excluded.delivered, bounced = k.bounced + excluded.bounced,
		    complained = k.complained + excluded.complained, unsubscribed = k.unsubscribed + excluded.unsubscribed,
		    opened = k.opened + excluded.opened, clicked = k.clicked + excluded.clicked,
		    hard = k.hard + excluded.hard)
	SELECT count(*) FROM f
$$;
COMMENT ON FUNCTION tally_fold(int) IS 'Adds minutes that are over for an hour to tally_total; returns how many rows';

CREATE VIEW run_total AS
SELECT r.id AS run_id, greatest(k.moved_at, t.moved_at) AS moved_at, coalesce(t.last_minute, 0) AS last_minute,
    coalesce(k.claimed, 0) + coalesce(t.claimed, 0) AS claimed,
    coalesce(k.released, 0) + coalesce(t.released, 0) AS released, coalesce(k.sent, 0) + coalesce(t.sent, 0) AS sent,
    coalesce(k.deferred, 0) + coalesce(t.deferred, 0) AS deferred,
    coalesce(k.failed, 0) + coalesce(t.failed, 0) AS failed,
    coalesce(k.in_doubt, 0) + coalesce(t.in_doubt, 0) AS in_doubt,
    coalesce(k.skipped, 0) + coalesce(t.skipped, 0) AS skipped,
    coalesce(k.cancelled, 0) + coalesce(t.cancelled, 0) AS cancelled,
    coalesce(k.expired, 0) + coalesce(t.expired, 0) AS expired,
    coalesce(k.attempts, 0) + coalesce(t.attempts, 0) AS attempts,
    coalesce(k.delivered, 0) + coalesce(t.delivered, 0) AS delivered,
    coalesce(k.bounced, 0) + coalesce(t.bounced, 0) AS bounced,
    coalesce(k.complained, 0) + coalesce(t.complained, 0) AS complained,
    coalesce(k.unsubscribed, 0) + coalesce(t.unsubscribed, 0) AS unsubscribed,
    coalesce(k.opened, 0) + coalesce(t.opened, 0) AS opened, coalesce(k.clicked, 0) + coalesce(t.clicked, 0) AS clicked,
    coalesce(k.hard, 0) + coalesce(t.hard, 0) AS hard
FROM run r LEFT JOIN tally_total k ON k.run_id = r.id
CROSS JOIN LATERAL (
	SELECT max(minute) AS moved_at,
	    sum(attempts) FILTER (WHERE minute = date_trunc('minute', now()) - interval '1 minute')::bigint AS last_minute,
	    sum(claimed)::bigint AS claimed, sum(released)::bigint AS released, sum(sent)::bigint AS sent,
	    sum(deferred)::bigint AS deferred, sum(failed)::bigint AS failed, sum(in_doubt)::bigint AS in_doubt,
	    sum(skipped)::bigint AS skipped, sum(cancelled)::bigint AS cancelled, sum(expired)::bigint AS expired,
	    sum(attempts)::bigint AS attempts, sum(delivered)::bigint AS delivered, sum(bounced)::bigint AS bounced,
	    sum(complained)::bigint AS complained, sum(unsubscribed)::bigint AS unsubscribed,
	    sum(opened)::bigint AS opened, sum(clicked)::bigint AS clicked, sum(hard)::bigint AS hard
	FROM tally y WHERE y.run_id = r.id AND NOT y.folded) AS t;
COMMENT ON VIEW run_total IS 'What happened in each run so far, summed from tally without reading it; campaign_progress shows it';
COMMENT ON COLUMN run_total.run_id IS 'Run';
COMMENT ON COLUMN run_total.moved_at IS 'Last minute in which anything happened';
COMMENT ON COLUMN run_total.last_minute IS 'Outcomes in the last full minute';
COMMENT ON COLUMN run_total.claimed IS 'Claimed and not settled';
COMMENT ON COLUMN run_total.released IS 'Given back';
COMMENT ON COLUMN run_total.sent IS 'Became sent';
COMMENT ON COLUMN run_total.deferred IS 'Waiting for another try';
COMMENT ON COLUMN run_total.failed IS 'Became failed';
COMMENT ON COLUMN run_total.in_doubt IS 'Became in_doubt';
COMMENT ON COLUMN run_total.skipped IS 'Left out after planning';
COMMENT ON COLUMN run_total.cancelled IS 'Cancelled';
COMMENT ON COLUMN run_total.expired IS 'Too late';
COMMENT ON COLUMN run_total.attempts IS 'Transactions with an outcome';
COMMENT ON COLUMN run_total.delivered IS 'Delivery was heard';
COMMENT ON COLUMN run_total.bounced IS 'Bounce was heard';
COMMENT ON COLUMN run_total.complained IS 'Complaint was heard';
COMMENT ON COLUMN run_total.unsubscribed IS 'Unsubscribe was heard';
COMMENT ON COLUMN run_total.opened IS 'First opens';
COMMENT ON COLUMN run_total.clicked IS 'First clicks';
COMMENT ON COLUMN run_total.hard IS 'Dead addresses';

CREATE OR REPLACE VIEW campaign_progress AS
SELECT c.name AS campaign, r.run_key, r.id AS run_id, r.state, r.reason, r.audience,
    r.audience - r.planned AS excluded, r.planned,
    r.planned - t.claimed - t.sent - t.deferred - t.failed - t.in_doubt - t.skipped - t.cancelled
	- t.expired AS queued,
    t.claimed AS sending, t.deferred, t.sent, t.failed, t.in_doubt, t.skipped, t.cancelled, t.expired,
    t.delivered, t.bounced, t.complained, t.unsubscribed,
    t.last_minute, r.due_at, r.started_at, r.finished_at
FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN run_total t ON t.run_id = r.id;

CREATE OR REPLACE VIEW engagement AS
SELECT c.name AS campaign, r.run_key, r.id AS run_id, y.sent, y.opened, per_cent(y.opened, y.sent) AS opened_per_cent,
    d.opened_by_proxy, d.opened_by_machine, d.open_hits, d.machine_open_hits,
    y.clicked, per_cent(y.clicked, y.sent) AS clicked_per_cent, d.clicked_by_machine, d.click_hits, d.machine_click_hits
FROM run r JOIN campaign c ON c.id = r.campaign_id
JOIN run_total y ON y.run_id = r.id
CROSS JOIN LATERAL (SELECT
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'open' AND k.who = 'proxy'), 0)::bigint AS opened_by_proxy,
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'open' AND k.who = 'machine'), 0)::bigint AS opened_by_machine,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'open' AND k.who <> 'machine'), 0)::bigint AS open_hits,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'open' AND k.who = 'machine'), 0)::bigint AS machine_open_hits,
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'click' AND k.who = 'machine'), 0)::bigint AS clicked_by_machine,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'click' AND k.who <> 'machine'), 0)::bigint AS click_hits,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'click' AND k.who = 'machine'), 0)::bigint AS machine_click_hits
	FROM track_day k WHERE k.run_id = r.id AND k.link = '') d;

CREATE OR REPLACE FUNCTION figures() RETURNS TABLE (figure text, label text, state text, value float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH p AS MATERIALIZED (
		SELECT g.run_id, g.state, g.reason, g.queued, g.sending, g.deferred, g.due_at, g.started_at, c.stream_id,
		    t.moved_at
		FROM campaign_progress g JOIN run r ON r.id = g.run_id JOIN campaign c ON c.id = r.campaign_id
		JOIN run_total t ON t.run_id = g.run_id
		WHERE g.state IN ('scheduled', 'planning', 'running', 'paused')),
	rep AS MATERIALIZED (SELECT * FROM reputation)
	SELECT 'recipients', st.name, w.state, coalesce(sum(CASE w.state WHEN 'queued' THEN p.queued
	    WHEN 'sending' THEN p.sending ELSE p.deferred END), 0)::float8
	FROM stream st CROSS JOIN (VALUES ('queued'), ('sending'), ('deferred')) AS w(state)
	LEFT JOIN p ON p.stream_id = st.id AND p.state IN ('running', 'paused') GROUP BY 2, 3
	UNION ALL
	SELECT 'runs', st.name, w.state, count(p.run_id)::float8
	FROM stream st CROSS JOIN (VALUES ('scheduled'), ('planning'), ('running'), ('paused')) AS w(state)
	LEFT JOIN p ON p.stream_id = st.id AND p.state::text = w.state GROUP BY 2, 3
	UNION ALL
	SELECT 'runs_broken', st.name, NULL, count(p.run_id)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'paused' AND p.reason LIKE 'breaker:%' GROUP BY 2
	UNION ALL
	SELECT 'queue_oldest', st.name, NULL, coalesce(max(extract(epoch FROM now() - p.started_at)), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'running' AND p.queued > 0 GROUP BY 2
	UNION ALL
	-- minutes are counted from their beginning: nothing stands still before its minute is over
	SELECT 'queue_idle', st.name, NULL, coalesce(max(greatest(0, extract(epoch FROM now()
	    - greatest(p.moved_at + interval '1 minute', p.started_at)))), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'running' AND p.queued > 0 GROUP BY 2
	UNION ALL
	SELECT 'overdue', st.name, NULL, coalesce(max(greatest(0, extract(epoch FROM now() - p.due_at))), 0)::float8
	FROM stream st LEFT JOIN p ON p.stream_id = st.id AND p.state = 'scheduled' GROUP BY 2
	UNION ALL
	SELECT 'in_doubt', st.name, NULL, count(q.run_id)::float8
	FROM stream st LEFT JOIN (doubtful q JOIN run r ON r.id = q.run_id JOIN campaign c ON c.id = r.campaign_id)
	    ON c.stream_id = st.id GROUP BY 2
	UNION ALL
	SELECT v.figure, st.name, NULL, v.value FROM stream st LEFT JOIN rep ON rep.stream = st.name
	CROSS JOIN LATERAL (VALUES ('attempted', coalesce(rep.attempted, 0)::float8), ('sent', coalesce(rep.sent, 0)::float8),
	    ('hard', coalesce(rep.hard, 0)::float8), ('complained', coalesce(rep.complained, 0)::float8),
	    ('bounce_ratio', (coalesce(rep.bounce_per_cent, 0) / 100)::float8),
	    ('bounce_at_least', (coalesce(rep.bounce_at_least_per_cent, 0) / 100)::float8),
	    ('complaint_ratio', (coalesce(rep.complaint_per_cent, 0) / 100)::float8),
	    ('complaint_at_least', (coalesce(rep.complaint_at_least_per_cent, 0) / 100)::float8),
	    ('bounce_line', (st.bounce_line_per_cent / 100)::float8),
	    ('complaint_line', (st.complaint_line_per_cent / 100)::float8),
	    ('rate_limit', st.rate_per_s)) AS v(figure, value) WHERE v.value IS NOT NULL
	UNION ALL
	SELECT 'dispatchers', NULL, w.state, count(d.id)::float8
	FROM (VALUES ('sending'), ('troubled'), ('silent'), ('fenced')) AS w(state)
	LEFT JOIN dispatcher d ON d.stopped_at IS NULL AND w.state = CASE WHEN d.fenced_at IS NOT NULL THEN 'fenced'
	    WHEN d.heartbeat_at < now() - interval '1 minute' THEN 'silent' WHEN d.trouble <> '' THEN 'troubled'
	    ELSE 'sending' END GROUP BY 3
	UNION ALL
	SELECT 'lease', l.name, NULL, extract(epoch FROM l.expires_at - now())::float8 FROM lease l
	UNION ALL
	SELECT 'hooks', NULL, NULL, count(*)::float8 FROM run_event WHERE hooked_at IS NULL AND event IN ('finished', 'paused', 'failed')
	UNION ALL
	SELECT 'database', NULL, NULL, pg_database_size(current_database())::float8
$$;

CREATE OR REPLACE FUNCTION breaker_check() RETURNS TABLE (run_id int, lane text, why text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	r record;
	st stream;
BEGIN
	PERFORM lane_release(b.run_id, b.lane) FROM lane_break b WHERE b.resumed_at > now() - interval '10 s';
	FOR r IN SELECT run.id, run.breaker_from, c.stream_id FROM run JOIN campaign c ON c.id = run.campaign_id
	    JOIN stream s ON s.id = c.stream_id
	    WHERE run.state = 'running' AND s.breaker <> 'off'
	    -- what is sent is sent: only while there is something to hold back
	    AND run.planned > (SELECT t.sent + t.failed + t.in_doubt + t.skipped + t.cancelled + t.expired
		FROM run_total t WHERE t.run_id = run.id) LOOP
		SELECT s.* INTO st FROM stream s WHERE s.id = r.stream_id;
		RETURN QUERY SELECT r.id, o.lane, o.why FROM breaker_open_lanes(r.id, st) o;
		why := breaker_why_run(r.id, r.breaker_from, st);
		IF why IS NOT NULL THEN
			st.breaker_least := greatest(1, st.breaker_least / 5);
			RETURN QUERY SELECT r.id, o.lane, o.why FROM breaker_open_lanes(r.id, st) o;
			SELECT s.breaker_least INTO st.breaker_least FROM stream s WHERE s.id = r.stream_id;
			why := breaker_why_run(r.id, r.breaker_from, st);
		END IF;
		IF why IS NULL AND st.breaker = 'stream' AND r.breaker_from IS NULL THEN
			SELECT breaker_why(st, 'the stream in 7 days', p.attempted, p.sent, p.hard, p.complained)
			INTO why FROM reputation p WHERE p.stream = st.name;
		END IF;
		CONTINUE WHEN why IS NULL OR NOT run_move(r.id, ARRAY['running']::run_state[], 'paused', why);
		UPDATE run SET breaker_from = date_trunc('minute', now()) + interval '1 minute' WHERE run.id = r.id;
		run_id := r.id;
		lane := NULL;
		RETURN NEXT;
	END LOOP;
END
$$;

-- ---------------------------------------------------------------- recipients in doubt

-- As before, run by run.
CREATE OR REPLACE VIEW in_doubt AS
SELECT c.name AS campaign, r.run_key, q.run_id, s.id, s.recipient_id, s.address, s.attempt, s.owner,
    d.name AS dispatcher, d.host, s.claimed_at, s.settled_at, s.reason, s.remote, s.reply
FROM (SELECT run_id, array_agg(send_id) AS ids FROM doubtful GROUP BY run_id) AS q
JOIN run r ON r.id = q.run_id JOIN campaign c ON c.id = r.campaign_id
CROSS JOIN LATERAL send_of(q.run_id, q.ids) AS s
LEFT JOIN dispatcher d ON d.id = s.owner
WHERE s.state = 'in_doubt';

-- ---------------------------------------------------------------- one person

-- As before, rows of send and exclusion found first and changed run by run.
CREATE OR REPLACE FUNCTION customer_erase(address text) RETURNS TABLE (what text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	key text := coalesce(address_key(address), lower(address));
	r record;
	changed bigint;
	blank text := 'erased-' || md5(random()::text || clock_timestamp()::text);
BEGIN
	what := 'customer';
	IF (SELECT relkind FROM pg_class WHERE oid = 'customer'::regclass) IN ('r', 'p') THEN
		DELETE FROM customer c WHERE c.id = ANY (ARRAY(SELECT customer_find(key)));
		GET DIAGNOSTICS n = ROW_COUNT;
		RETURN NEXT;
	END IF;
	what := 'send';
	n := 0;
	FOR r IN SELECT s.run_id, array_agg(s.id) AS ids FROM send s WHERE s.address_key = key GROUP BY s.run_id ORDER BY 1 LOOP
		UPDATE send s SET address = blank, address_key = blank, reply = NULL, remote_id = NULL
		WHERE s.run_id = r.run_id AND s.id = ANY (r.ids) AND s.state NOT IN ('queued', 'sending', 'deferred');
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
	END LOOP;
	RETURN NEXT;
	what := 'feedback_event';
	UPDATE feedback_event f SET address_key = NULL, reply = NULL, detail = NULL WHERE f.address_key = key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'exclusion';
	n := 0;
	FOR r IN SELECT e.run_id FROM exclusion e WHERE e.address_key = key GROUP BY e.run_id ORDER BY 1 LOOP
		UPDATE exclusion e SET address_key = NULL, evidence = '' WHERE e.run_id = r.run_id AND e.address_key = key;
		GET DIAGNOSTICS changed = ROW_COUNT;
		n := n + changed;
	END LOOP;
	RETURN NEXT;
	what := 'confirmation';
	UPDATE confirmation k SET address = blank, address_key = blank, evidence = '' WHERE k.address_key = key;
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE confirmation k SET old_address_key = NULL WHERE k.old_address_key = key;
	RETURN NEXT;
	what := 'suppression';
	UPDATE suppression s SET evidence = '', event_id = NULL WHERE s.address_key = key;
	-- whoever wanted to be forgotten does not want mail
	INSERT INTO suppression (address_key, reason, source) VALUES (key, 'manual', 'erased') ON CONFLICT DO NOTHING;
	n := 1;
	RETURN NEXT;
	INSERT INTO audit (action, object, detail) VALUES ('customer.erase', left(md5(key), 12), 'a person''s data was erased');
END
$$;

CREATE OR REPLACE FUNCTION customer_export(address text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH k AS (SELECT coalesce(address_key(address), lower(address)) AS key),
	s AS MATERIALIZED (SELECT send.* FROM send WHERE send.address_key = (SELECT key FROM k))
	SELECT jsonb_build_object('address', k.key,
	    'customer', (SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') FROM customer c
		WHERE c.id = ANY (ARRAY(SELECT customer_find(k.key)))),
	    'sent', (SELECT coalesce(jsonb_agg(to_jsonb(s) - '{owner,attempt,tries}'::text[] ORDER BY s.run_id, s.id), '[]') FROM s),
	    'left_out', (SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.run_id), '[]') FROM exclusion e WHERE e.address_key = k.key),
	    'heard', (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.id), '[]') FROM feedback_event f WHERE f.address_key = k.key),
	    'tracked', (SELECT coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('url', l.url) ORDER BY t.first_at, t.kind, t.link, t.who), '[]')
		FROM s JOIN track t ON t.run_id = s.run_id AND t.send_id = s.id
		LEFT JOIN link l ON l.run_id = t.run_id AND l.id = t.link),
	    'confirmed', (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.asked_at), '[]') FROM confirmation o
		WHERE k.key IN (o.address_key, o.old_address_key)),
	    'suppressed', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.scope), '[]') FROM suppression p WHERE p.address_key = k.key))
	FROM k
$$;

-- As before, asking for the other recipients of a mail one by one, and for none where there is no mail.
CREATE OR REPLACE FUNCTION mail_erase() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET plan_cache_mode = auto
AS $$
BEGIN
	UPDATE mail m SET content = '' FROM mail_send mine WHERE mine.run_id = NEW.run_id AND mine.send_id = NEW.id
	    AND m.id = mine.mail_id AND NOT EXISTS (
		SELECT FROM mail_send l CROSS JOIN LATERAL send_of(l.run_id, ARRAY[l.send_id]) AS s
		WHERE l.mail_id = m.id AND s.state IN ('queued', 'sending', 'deferred'));
	RETURN NULL;
END
$$;

-- As before; shows what it lifts, not the other reasons of the same addresses.
CREATE OR REPLACE FUNCTION suppress_undo(the_provider text, the_domain text, since timestamptz, until timestamptz, phrase text, dry boolean)
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
	    FROM suppression s WHERE s.address_key = ANY (keys) AND s.scope = 'all' AND s.reason = 'bounce' GROUP BY 1 ORDER BY 2 DESC, 1;
	IF NOT dry THEN
		DELETE FROM suppression s WHERE s.address_key = ANY (keys) AND s.scope = 'all' AND s.reason = 'bounce';
		-- else the same events would count again
		UPDATE feedback_event f SET class = 'block', reason = 'undone' WHERE f.address_key = ANY (keys)
		    AND f.kind = 'bounced' AND f.class = 'hard' AND f.received_at >= since AND f.received_at < until;
	END IF;
END
$$;

COMMENT ON COLUMN stream.soft_bounce_limit IS 'Soft bounces within soft_bounce_days without a delivery, half of these days or more between the first and the last, after which an address rests for soft_rest_days';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION send_of(int, int[]), customer_find(text), tally_late(), tally_fold(int),
    bounce_counts(text), bounce_rank(text, text), event_at(feedback_event), consent_since(text, timestamptz), ingest_rows(int, feedback_event[]), ingest_again(int, send_change[]), ingest_soft(int, feedback_event[], send_change[], stream), retries_due(int[], int[], int), retries_forget() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION retries_due(int[], int[], int), retries_forget(), tally_fold(int) TO kairan_producer;
GRANT EXECUTE ON FUNCTION bounce_counts(text) TO kairan_operator, kairan_producer, kairan_feedback, kairan_monitor;
GRANT EXECUTE ON FUNCTION send_of(int, int[]) TO kairan_operator;
GRANT SELECT ON tally_total, run_total TO kairan_operator, kairan_monitor;
