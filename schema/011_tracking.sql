-- SPDX-License-Identifier: Apache-2.0
-- Opens and clicks, off until a stream asks for them, and the mail in a browser. Statistics: nothing
-- that is sent or suppressed depends on them.

ALTER TABLE stream ADD track_opens boolean NOT NULL DEFAULT false, ADD track_clicks boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN stream.track_opens IS 'Put a pixel into the html of runs that start later, and count who loads it; needs web.base';
COMMENT ON COLUMN stream.track_clicks IS 'Let the links of runs that start later lead over our own server, and count them; needs web.base';

CREATE TABLE link (
	run_id int NOT NULL REFERENCES run ON DELETE CASCADE,
	id text NOT NULL COLLATE "C",
	url text NOT NULL CHECK (url ~* '^https?://'),
	PRIMARY KEY (run_id, id)
);
COMMENT ON TABLE link IS 'Where the links of the mails of a run lead; kept before the first mail is sent. A click is answered with what stands here and nothing else';
COMMENT ON COLUMN link.run_id IS 'Run';
COMMENT ON COLUMN link.id IS 'Made from the destination (SHA-256), so it is the same in every run';
COMMENT ON COLUMN link.url IS 'Destination';

CREATE TABLE track (
	run_id int NOT NULL REFERENCES run ON DELETE CASCADE,
	send_id int NOT NULL,
	kind text NOT NULL CHECK (kind IN ('open', 'click')),
	link text NOT NULL COLLATE "C",
	who text NOT NULL CHECK (who IN ('person', 'proxy', 'machine')),
	why text NOT NULL,
	first_at timestamptz NOT NULL,
	last_at timestamptz NOT NULL,
	hits bigint NOT NULL,
	PRIMARY KEY (run_id, send_id, kind, link, who)
) WITH (fillfactor = 80);
COMMENT ON TABLE track IS 'Opens and clicks of each recipient. However often a link is asked for, its row is one';
COMMENT ON COLUMN track.run_id IS 'Run';
COMMENT ON COLUMN track.send_id IS 'send.id';
COMMENT ON COLUMN track.kind IS 'open or click';
COMMENT ON COLUMN track.link IS 'link.id; empty: the pixel, or all clicks together';
COMMENT ON COLUMN track.who IS 'person; proxy: a person behind an image proxy; machine: prefetched or scanned, nobody need have looked';
COMMENT ON COLUMN track.why IS 'Rule by which it was judged the first time, as kairan-feedback(8) lists them';
COMMENT ON COLUMN track.first_at IS 'First time';
COMMENT ON COLUMN track.last_at IS 'Last time';
COMMENT ON COLUMN track.hits IS 'How often';

CREATE TABLE track_day (
	run_id int NOT NULL REFERENCES run ON DELETE CASCADE,
	day date NOT NULL,
	kind text NOT NULL,
	link text NOT NULL COLLATE "C",
	who text NOT NULL,
	recipients bigint NOT NULL,
	hits bigint NOT NULL,
	PRIMARY KEY (run_id, day, kind, link, who)
) WITH (fillfactor = 50);
COMMENT ON TABLE track_day IS 'track counted by day as it grows; no view scans track';
COMMENT ON COLUMN track_day.run_id IS 'Run';
COMMENT ON COLUMN track_day.day IS 'Day in UTC';
COMMENT ON COLUMN track_day.kind IS 'open or click';
COMMENT ON COLUMN track_day.link IS 'link.id; empty: the pixel, or all clicks together';
COMMENT ON COLUMN track_day.who IS 'person, proxy or machine';
COMMENT ON COLUMN track_day.recipients IS 'Recipients counted here for the first time in the run';
COMMENT ON COLUMN track_day.hits IS 'All hits';

-- ---------------------------------------------------------------- counting

-- The hits of one run. settled_at is when the remote took the mail: what comes within soon_s of it (or of the
-- delivery, when that is known) is a filter on the way, not a reader. Rows in the order of their keys, so that two
-- programs wait for each other at most.
CREATE FUNCTION track_run(the_run int, sends int[], attempts int[], kinds text[], links text[], whos text[], whys text[],
    firsts timestamptz[], lasts timestamptz[], counts int[], soon_s float8) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp SET enable_seqscan = off
AS $$
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
	ON CONFLICT (run_id, owner, minute) DO UPDATE SET opened = y.opened + excluded.opened, clicked = y.clicked + excluded.clicked
$$;
COMMENT ON FUNCTION track_run(int, int[], int[], text[], text[], text[], text[], timestamptz[], timestamptz[], int[], float8) IS 'Adds hits of one run; those of unknown mails are dropped';

CREATE FUNCTION track_add(runs int[], sends int[], attempts int[], kinds text[], links text[], whos text[], whys text[],
    firsts timestamptz[], lasts timestamptz[], counts int[], soon_s float8) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	the_run int;
BEGIN
	FOR the_run IN SELECT DISTINCT r.id FROM unnest(runs) x JOIN run r ON r.id = x ORDER BY 1 LOOP
		PERFORM track_run(the_run, array_agg(h.send), array_agg(h.attempt), array_agg(h.kind), array_agg(h.link),
		    array_agg(h.who), array_agg(h.why), array_agg(h.first), array_agg(h.last), array_agg(h.n), soon_s)
		FROM unnest(runs, sends, attempts, kinds, links, whos, whys, firsts, lasts, counts)
		    AS h(run, send, attempt, kind, link, who, why, first, last, n)
		WHERE h.run = the_run;
	END LOOP;
END
$$;
COMMENT ON FUNCTION track_add(int[], int[], int[], text[], text[], text[], text[], timestamptz[], timestamptz[], int[], float8) IS 'Adds a batch of hits to track, track_day, send and tally';

-- A person who is forgotten leaves no habits behind. send.address is not touched by sending, so this costs nothing there.
CREATE FUNCTION track_forget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	DELETE FROM track WHERE run_id = NEW.run_id AND send_id = NEW.id;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION track_forget() IS 'Deletes the opens and clicks of an erased recipient; the counts stay';
CREATE TRIGGER track_forget AFTER UPDATE OF address ON send FOR EACH ROW
WHEN (NEW.address LIKE 'erased-%' AND NEW.address IS DISTINCT FROM OLD.address) EXECUTE FUNCTION track_forget();

-- ---------------------------------------------------------------- views

CREATE VIEW engagement AS
SELECT c.name AS campaign, r.run_key, r.id AS run_id, y.sent, y.opened, per_cent(y.opened, y.sent) AS opened_per_cent,
    d.opened_by_proxy, d.opened_by_machine, d.open_hits, d.machine_open_hits,
    y.clicked, per_cent(y.clicked, y.sent) AS clicked_per_cent, d.clicked_by_machine, d.click_hits, d.machine_click_hits
FROM run r JOIN campaign c ON c.id = r.campaign_id
CROSS JOIN LATERAL (SELECT coalesce(sum(t.sent), 0)::bigint AS sent, coalesce(sum(t.opened), 0)::bigint AS opened,
	coalesce(sum(t.clicked), 0)::bigint AS clicked FROM tally t WHERE t.run_id = r.id) y
CROSS JOIN LATERAL (SELECT
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'open' AND k.who = 'proxy'), 0)::bigint AS opened_by_proxy,
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'open' AND k.who = 'machine'), 0)::bigint AS opened_by_machine,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'open' AND k.who <> 'machine'), 0)::bigint AS open_hits,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'open' AND k.who = 'machine'), 0)::bigint AS machine_open_hits,
	coalesce(sum(k.recipients) FILTER (WHERE k.kind = 'click' AND k.who = 'machine'), 0)::bigint AS clicked_by_machine,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'click' AND k.who <> 'machine'), 0)::bigint AS click_hits,
	coalesce(sum(k.hits) FILTER (WHERE k.kind = 'click' AND k.who = 'machine'), 0)::bigint AS machine_click_hits
	FROM track_day k WHERE k.run_id = r.id AND k.link = '') d;
COMMENT ON VIEW engagement IS 'Opens and clicks of each run, people and machines apart. Opens are a guess at best: mail programs that load no images are not seen, proxies that load them for everyone are';
COMMENT ON COLUMN engagement.campaign IS 'Campaign';
COMMENT ON COLUMN engagement.run_key IS 'Run key';
COMMENT ON COLUMN engagement.run_id IS 'Run';
COMMENT ON COLUMN engagement.sent IS 'Taken by the remote';
COMMENT ON COLUMN engagement.opened IS 'Recipients who opened it, as far as can be told; those heard of from Amazon SES included';
COMMENT ON COLUMN engagement.opened_per_cent IS 'opened of sent, in per cent';
COMMENT ON COLUMN engagement.opened_by_proxy IS 'Recipients of these seen through an image proxy';
COMMENT ON COLUMN engagement.opened_by_machine IS 'Recipients whose pixel was loaded by a machine; some of them may have opened it as well';
COMMENT ON COLUMN engagement.open_hits IS 'Times people loaded the pixel';
COMMENT ON COLUMN engagement.machine_open_hits IS 'Times machines did';
COMMENT ON COLUMN engagement.clicked IS 'Recipients who clicked; those heard of from Amazon SES included';
COMMENT ON COLUMN engagement.clicked_per_cent IS 'clicked of sent, in per cent';
COMMENT ON COLUMN engagement.clicked_by_machine IS 'Recipients whose links were followed by a machine';
COMMENT ON COLUMN engagement.click_hits IS 'Clicks of people';
COMMENT ON COLUMN engagement.machine_click_hits IS 'Links followed by machines';

CREATE VIEW link_clicks AS
SELECT c.name AS campaign, r.run_key, r.id AS run_id, l.url,
    coalesce(sum(k.recipients) FILTER (WHERE k.who <> 'machine'), 0)::bigint AS recipients,
    coalesce(sum(k.hits) FILTER (WHERE k.who <> 'machine'), 0)::bigint AS clicks,
    coalesce(sum(k.recipients) FILTER (WHERE k.who = 'machine'), 0)::bigint AS machine_recipients,
    coalesce(sum(k.hits) FILTER (WHERE k.who = 'machine'), 0)::bigint AS machine_clicks
FROM link l JOIN run r ON r.id = l.run_id JOIN campaign c ON c.id = r.campaign_id
LEFT JOIN track_day k ON k.run_id = l.run_id AND k.kind = 'click' AND k.link = l.id
GROUP BY c.name, r.run_key, r.id, l.url;
COMMENT ON VIEW link_clicks IS 'Clicks on each link of a run, people and machines apart; ORDER BY recipients DESC';
COMMENT ON COLUMN link_clicks.campaign IS 'Campaign';
COMMENT ON COLUMN link_clicks.run_key IS 'Run key';
COMMENT ON COLUMN link_clicks.run_id IS 'Run';
COMMENT ON COLUMN link_clicks.url IS 'Destination';
COMMENT ON COLUMN link_clicks.recipients IS 'Recipients who clicked';
COMMENT ON COLUMN link_clicks.clicks IS 'Their clicks';
COMMENT ON COLUMN link_clicks.machine_recipients IS 'Recipients for whom a machine followed it';
COMMENT ON COLUMN link_clicks.machine_clicks IS 'How often machines did';

-- ---------------------------------------------------------------- the mail in a browser

-- is_gone: the customer was erased; the texts are empty then.
CREATE FUNCTION view_source(the_run int, the_send int, the_attempt int) RETURNS TABLE (
    is_gone boolean, locale text, campaign text, subject text, html text, body text, from_address text,
    unsubscribe_base text, path_domain text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT g.gone, to_jsonb(cu) ->> 'locale', c.name, CASE WHEN g.gone THEN '' ELSE t.subject END,
	    CASE WHEN g.gone THEN '' ELSE t.html END, CASE WHEN g.gone THEN '' ELSE t.body END,
	    r.snapshot ->> 'from_address', st.unsubscribe_base, st.return_path_domain
	FROM send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
	JOIN template t ON t.id = r.template_id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	CROSS JOIN LATERAL (SELECT cu.id IS NULL OR s.address LIKE 'erased-%' AS gone) g
	WHERE s.run_id = the_run AND s.id = the_send AND s.attempt > 0 AND s.attempt >= the_attempt
$$;
COMMENT ON FUNCTION view_source(int, int, int) IS 'Templates of a mail, to show it in a browser; no row when the mail is not known';

-- Where a field comes from is the rule of claims (customer_field): the column of that name, a path into a column, a
-- path into attributes. Only fields that the templates of the run name are given.
CREATE FUNCTION view_values(the_run int, the_send int, names text[], is_json boolean[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	columns text[] := ARRAY(SELECT attname::text FROM pg_attribute
		WHERE attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT attisdropped);
	texts text := (SELECT concat_ws(' ', t.subject, t.html, t.body) FROM run r JOIN template t ON t.id = r.template_id
		WHERE r.id = the_run);
	parts text[] := '{}';
	head text;
	name text;
BEGIN
	FOR i IN 1 .. coalesce(array_length(names, 1), 0) LOOP
		name := names[i];
		head := split_part(name, '.', 1);
		parts := parts || CASE
		    WHEN strpos(texts, name) = 0 OR i > 1000 THEN 'NULL'
		    WHEN name = ANY (columns) THEN format(CASE WHEN is_json[i] THEN 'to_jsonb(cu.%I)::text' ELSE 'cu.%I::text' END, name)
		    WHEN strpos(name, '.') > 1 AND head = ANY (columns) THEN
			format('(to_jsonb(cu.%I) %s %L::text[])::text', head, CASE WHEN is_json[i] THEN '#>' ELSE '#>>' END,
			    (string_to_array(name, '.'))[2:])
		    WHEN 'attributes' = ANY (columns) THEN
			format('(cu.attributes %s %L::text[])::text', CASE WHEN is_json[i] THEN '#>' ELSE '#>>' END,
			    string_to_array(name, '.'))
		    ELSE 'NULL' END;
	END LOOP;
	IF parts <> '{}' THEN
		RETURN QUERY EXECUTE format('SELECT v FROM send s JOIN customer cu ON cu.id = s.recipient_id,
			unnest(ARRAY[%s]::text[]) WITH ORDINALITY AS f(v, n) WHERE s.run_id = $1 AND s.id = $2 ORDER BY n',
			array_to_string(parts, ', ')) USING the_run, the_send;
	END IF;
END
$$;
COMMENT ON FUNCTION view_values(int, int, text[], boolean[]) IS 'Values of the fields of a template for one recipient, one row each';

CREATE FUNCTION view_file(the_run int, the_send int, the_attempt int, cid text) RETURNS TABLE (type text, bytes text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT f.type, encode(b.bytes, 'base64')
	FROM send s JOIN run r ON r.id = s.run_id JOIN template_file f ON f.template_id = r.template_id
	JOIN blob b ON b.digest = f.digest
	WHERE s.run_id = the_run AND s.id = the_send AND s.attempt > 0 AND s.attempt >= the_attempt
	    AND f.content_id = cid AND cid <> '' AND f.type LIKE 'image/%' AND f.type NOT LIKE '%svg%'
	LIMIT 1
$$;
COMMENT ON FUNCTION view_file(int, int, int, text) IS 'An image that the html of a mail shows, in base64';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION track_run(int, int[], int[], text[], text[], text[], text[], timestamptz[], timestamptz[], int[], float8),
    track_add(int[], int[], int[], text[], text[], text[], text[], timestamptz[], timestamptz[], int[], float8), track_forget(),
    view_source(int, int, int), view_values(int, int, text[], boolean[]), view_file(int, int, int, text) FROM PUBLIC;
GRANT INSERT ON link TO kairan_dispatcher;
GRANT SELECT ON link TO kairan_feedback;
GRANT EXECUTE ON FUNCTION
    track_add(int[], int[], int[], text[], text[], text[], text[], timestamptz[], timestamptz[], int[], float8),
    view_source(int, int, int), view_values(int, int, text[], boolean[]), view_file(int, int, int, text) TO kairan_feedback;
GRANT SELECT ON link, track, track_day, engagement, link_clicks TO kairan_operator;
GRANT SELECT ON track_day, engagement, link_clicks TO kairan_monitor;
