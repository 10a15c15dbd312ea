-- SPDX-License-Identifier: Apache-2.0
-- What remote hosts say, counted as it is heard, so that top_replies reads counts and not the rows of a run.

-- The recipient's own address goes by plain replacement, which costs little, and leaves few texts for the dear patterns.
CREATE FUNCTION reply_plain(reply text, address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT CASE WHEN address <> '' THEN replace(replace(reply, '<' || address || '>', '<address>'), address, '<address>')
	    ELSE reply END COLLATE "default"
$$;
COMMENT ON FUNCTION reply_plain(text, text) IS 'A reply without the address of its recipient';

-- Other addresses, and what differs from mail to mail: tokens of eight and more letters and digits that hold a digit.
CREATE FUNCTION reply_pattern(plain text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
	SELECT left(regexp_replace(regexp_replace(plain, '<?[^<>@ ]+@[^<>@ ]+>?', '<address>', 'g'),
	    '\m(?=[0-9A-Za-z]*[0-9])[0-9A-Za-z]{8,}\M', '#', 'g'), 300)
$$;
COMMENT ON FUNCTION reply_pattern(text) IS 'A reply without addresses and queue ids, at most 300 characters';

-- A key may have several rows: a writer passes over a row that another one holds, so nobody waits and nobody can
-- wait in a circle. A key has about as many rows as there are writers at a time.
CREATE TABLE tally_reply (
	run_id int NOT NULL,
	digest bigint NOT NULL,
	state send_state NOT NULL,
	class text,
	reason text,
	code smallint,
	enhanced text,
	reply text,
	recipients bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX tally_reply_key ON tally_reply (run_id, digest);
COMMENT ON TABLE tally_reply IS 'Recipients that did not arrive, by what was said of them, kept by triggers on send; what top_replies shows';
COMMENT ON COLUMN tally_reply.run_id IS 'Run';
COMMENT ON COLUMN tally_reply.digest IS 'Hash of the columns up to reply';
COMMENT ON COLUMN tally_reply.state IS 'State of the recipients';
COMMENT ON COLUMN tally_reply.class IS 'hard, soft, block, message, config';
COMMENT ON COLUMN tally_reply.reason IS 'Short word';
COMMENT ON COLUMN tally_reply.code IS 'SMTP reply code';
COMMENT ON COLUMN tally_reply.enhanced IS 'Enhanced status code';
COMMENT ON COLUMN tally_reply.reply IS 'Text, with addresses and queue ids taken out';
COMMENT ON COLUMN tally_reply.recipients IS 'How many; below 0 when another row of the same key has them';

CREATE FUNCTION is_lost(state send_state, bounced_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT state IN ('deferred', 'failed', 'in_doubt') OR bounced_at IS NOT NULL $$;
COMMENT ON FUNCTION is_lost(send_state, timestamptz) IS 'Did this recipient not arrive, as far as known?';

CREATE FUNCTION reply_digest(state send_state, class text, reason text, code smallint, enhanced text, pattern text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT hashtextextended(concat_ws(E'\x01', state::text, coalesce(class, ''), coalesce(reason, ''), coalesce(code::text, ''),
	coalesce(enhanced, ''), pattern), 0) $$;
COMMENT ON FUNCTION reply_digest(send_state, text, text, smallint, text, text) IS 'Key of tally_reply';

-- The reply comes without the recipient's own address, so that rows of one statement are few texts here.
CREATE FUNCTION tally_reply_add(run int, n bigint, state send_state, class text, reason text, code smallint, enhanced text,
    reply text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	pattern text := reply_pattern(reply);
	key bigint := reply_digest(state, class, reason, code, enhanced, pattern);
BEGIN
	UPDATE tally_reply t SET recipients = t.recipients + n
	WHERE t.ctid = (SELECT o.ctid FROM tally_reply o WHERE o.run_id = run AND o.digest = key LIMIT 1 FOR UPDATE SKIP LOCKED);
	IF NOT FOUND THEN
		INSERT INTO tally_reply VALUES (run, key, state, class, reason, code, enhanced, pattern, n);
	END IF;
END
$$;
COMMENT ON FUNCTION tally_reply_add(int, bigint, send_state, text, text, smallint, text, text) IS 'Counts recipients in tally_reply, or takes them out again';

-- Fires for rows that did or do not arrive alone: the others, nearly all, cost the look at their state.
CREATE FUNCTION tally_reply_note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND (OLD.state, OLD.class, OLD.reason, OLD.code, OLD.enhanced, OLD.reply, OLD.bounced_at IS NULL)
	    IS NOT DISTINCT FROM (NEW.state, NEW.class, NEW.reason, NEW.code, NEW.enhanced, NEW.reply, NEW.bounced_at IS NULL) THEN
		RETURN NULL;
	END IF;
	IF TG_OP <> 'INSERT' AND is_lost(OLD.state, OLD.bounced_at) THEN
		PERFORM tally_reply_add(OLD.run_id, -1, OLD.state, OLD.class, OLD.reason, OLD.code, OLD.enhanced,
		    reply_plain(OLD.reply, OLD.address));
	END IF;
	IF TG_OP <> 'DELETE' AND is_lost(NEW.state, NEW.bounced_at) THEN
		PERFORM tally_reply_add(NEW.run_id, 1, NEW.state, NEW.class, NEW.reason, NEW.code, NEW.enhanced,
		    reply_plain(NEW.reply, NEW.address));
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION tally_reply_note() IS 'Keeps the table tally_reply';
CREATE TRIGGER reply_changed AFTER UPDATE ON send FOR EACH ROW
    WHEN (is_lost(OLD.state, OLD.bounced_at) OR is_lost(NEW.state, NEW.bounced_at)) EXECUTE FUNCTION tally_reply_note();
CREATE TRIGGER reply_made AFTER INSERT ON send FOR EACH ROW
    WHEN (is_lost(NEW.state, NEW.bounced_at)) EXECUTE FUNCTION tally_reply_note();
CREATE TRIGGER reply_gone AFTER DELETE ON send FOR EACH ROW
    WHEN (is_lost(OLD.state, OLD.bounced_at)) EXECUTE FUNCTION tally_reply_note();

CREATE FUNCTION tally_reply_drop() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	DELETE FROM tally_reply WHERE run_id = NEW.id;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION tally_reply_drop() IS 'What was said goes with the recipients of a run';
CREATE TRIGGER replies_dropped AFTER UPDATE OF dropped_at ON run FOR EACH ROW
    WHEN (OLD.dropped_at IS NULL AND NEW.dropped_at IS NOT NULL) EXECUTE FUNCTION tally_reply_drop();

-- Rows that no trigger saw: those there are, and those of a partition that was filled before it was attached.
CREATE FUNCTION tally_reply_fill(the_run int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	DELETE FROM tally_reply WHERE run_id = the_run;
	INSERT INTO tally_reply
	SELECT the_run, reply_digest(state, class, reason, code, enhanced, pattern), state, class, reason, code, enhanced, pattern, sum(n)
	FROM (SELECT state, class, reason, code, enhanced, reply_pattern(plain) AS pattern, n
	    FROM (SELECT s.state, s.class, s.reason, s.code, s.enhanced, reply_plain(s.reply, s.address) AS plain, count(*) AS n
		FROM send s WHERE run_id = the_run AND is_lost(state, bounced_at) GROUP BY 1, 2, 3, 4, 5, 6) AS few) AS lost
	GROUP BY state, class, reason, code, enhanced, pattern
$$;
COMMENT ON FUNCTION tally_reply_fill(int) IS 'Counts the rows of a run anew';
SELECT tally_reply_fill(id) FROM run WHERE dropped_at IS NULL;

CREATE OR REPLACE VIEW top_replies AS
SELECT c.name AS campaign, r.run_key, t.state, t.class, t.reason, t.code, t.enhanced, t.reply,
    sum(t.recipients)::bigint AS recipients
FROM tally_reply t JOIN run r ON r.id = t.run_id JOIN campaign c ON c.id = r.campaign_id
GROUP BY r.id, c.id, t.state, t.class, t.reason, t.code, t.enhanced, t.reply
HAVING sum(t.recipients) > 0;
COMMENT ON VIEW top_replies IS 'What remote hosts said of those that did not arrive; ORDER BY recipients DESC. Counted as it is heard (tally_reply), whatever the size of send';

REVOKE ALL ON FUNCTION tally_reply_add(int, bigint, send_state, text, text, smallint, text, text), tally_reply_note(), tally_reply_drop(), tally_reply_fill(int) FROM PUBLIC;
GRANT SELECT ON tally_reply TO kairan_operator, kairan_monitor;

-- As before, summed run by run in the order of tally_domain's key, before names are joined to it: no wide rows to sort.
CREATE OR REPLACE VIEW bounce_rate AS
SELECT c.name AS campaign, r.run_key, st.name AS stream, coalesce(p.provider, 'other') AS provider,
    d.domain, d.hour, d.attempted, d.sent, d.delivered, d.hard, d.soft + d.block + d.other AS other_failures, d.complained,
    per_cent(d.hard, d.attempted) AS hard_per_cent, per_cent(d.complained, d.sent) AS complained_per_cent, d.soft, d.block
FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream st ON st.id = c.stream_id
CROSS JOIN LATERAL (SELECT t.hour, t.domain, sum(t.attempted)::bigint AS attempted, sum(t.sent)::bigint AS sent,
	sum(t.delivered)::bigint AS delivered, sum(t.hard)::bigint AS hard, sum(t.soft)::bigint AS soft,
	sum(t.block)::bigint AS block, sum(t.other)::bigint AS other, sum(t.complained)::bigint AS complained
	FROM tally_domain t WHERE t.run_id = r.id GROUP BY t.hour, t.domain) AS d
LEFT JOIN provider_domain p ON p.domain = d.domain;

-- Whoever changes a row of send asks is_lost(); the others run as their owner.
REVOKE ALL ON FUNCTION is_lost(send_state, timestamptz), reply_plain(text, text), reply_pattern(text),
    reply_digest(send_state, text, text, smallint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_lost(send_state, timestamptz) TO kairan_producer, kairan_dispatcher, kairan_feedback, kairan_operator;
