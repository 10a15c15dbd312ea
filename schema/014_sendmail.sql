-- SPDX-License-Identifier: Apache-2.0
-- Single mails that programs hand in whole (kairan sendmail): stored once, one send row for each
-- recipient in a standing run of the stream and the sender's domain, a new one each day.

ALTER TABLE stream ADD mail_from text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN stream.mail_from IS 'Domains and addresses that kairan sendmail may have in From; empty: it may not use this stream';

-- An address gets one mail of a campaign's run, but any number of single mails. So this is no longer
-- said of all runs: plan_seal() and mail_add() say it of each run they make, and here it is said of
-- those that were made before.
ALTER TABLE send DROP CONSTRAINT send_run_id_recipient_id_key, DROP CONSTRAINT send_run_id_address_key_key;
DO $again$
DECLARE
	part regclass;
BEGIN
	FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'send'::regclass LOOP
		EXECUTE format('ALTER TABLE %s ADD UNIQUE (run_id, recipient_id), ADD UNIQUE (run_id, address_key)', part);
	END LOOP;
END
$again$;

CREATE TABLE mail (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stream_id int NOT NULL REFERENCES stream,
	key text NOT NULL COLLATE "C" CHECK (length(key) BETWEEN 1 AND 200),
	digest text NOT NULL,
	sender text NOT NULL DEFAULT '' COLLATE "C",
	content text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	created_by text NOT NULL DEFAULT session_user,
	UNIQUE (stream_id, key)
);
CREATE INDEX mail_kept ON mail (created_at) WHERE content <> '';
COMMENT ON TABLE mail IS 'Mails that programs handed in whole by kairan sendmail, each once, however many recipients it has';
COMMENT ON COLUMN mail.id IS 'Number';
COMMENT ON COLUMN mail.stream_id IS 'Stream it is sent through';
COMMENT ON COLUMN mail.key IS 'The same key again is the same mail: given by --key, made from Message-ID and content, or random';
COMMENT ON COLUMN mail.digest IS 'SHA-256 of what was handed in, with sender and recipients';
COMMENT ON COLUMN mail.sender IS 'Envelope sender it was handed in with; used when no return path of our own is set';
COMMENT ON COLUMN mail.content IS 'Header and body as they go over the wire, 7-bit; empty once forgotten';
COMMENT ON COLUMN mail.created_at IS 'When it was handed in';
COMMENT ON COLUMN mail.created_by IS 'Database user who did';

CREATE TABLE mail_send (
	run_id int NOT NULL,
	send_id int NOT NULL,
	mail_id bigint NOT NULL REFERENCES mail ON DELETE CASCADE,
	PRIMARY KEY (run_id, send_id)
);
CREATE INDEX mail_send_mail ON mail_send (mail_id);
COMMENT ON TABLE mail_send IS 'Which send rows carry which mail';
COMMENT ON COLUMN mail_send.run_id IS 'Run';
COMMENT ON COLUMN mail_send.send_id IS 'send.id';
COMMENT ON COLUMN mail_send.mail_id IS 'mail.id';

CREATE FUNCTION mail_from_ok(allowed text[], address text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT lower(address) = ANY (SELECT lower(a) FROM unnest(allowed) AS a)
	OR split_part(lower(address), '@', 2) = ANY (SELECT lower(a) FROM unnest(allowed) AS a) $$;
COMMENT ON FUNCTION mail_from_ok(text[], text) IS 'Whether stream.mail_from allows this address in From';

-- The run of today, open for rows, locked until the end of the transaction. A paused run takes mails
-- and keeps them until it is resumed; one that a person cancelled is followed by another.
CREATE FUNCTION mail_run(the_stream stream, from_address text) RETURNS run
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	domain text := split_part(from_address, '@', 2);
	campaign_name text := 'kairan-mail-' || the_stream.name || '-' || domain;
	text_digest text := encode(sha256('kairan-mail'), 'hex');
	day text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
	the_run int;
	r run;
BEGIN
	IF length(campaign_name) > 100 THEN
		campaign_name := 'kairan-mail-' || the_stream.id || '-' || md5(domain);
	END IF;
	-- what a campaign must have; nothing of it is sent
	INSERT INTO template (digest, subject, body) VALUES (text_digest, 'mail', 'mail') ON CONFLICT (digest) DO NOTHING;
	INSERT INTO campaign (name, stream_id, template_id, from_address, segment)
	SELECT campaign_name, the_stream.id, t.id, from_address, 'false' FROM template t WHERE t.digest = text_digest
	ON CONFLICT (name) DO NOTHING;
	FOR part IN 1 .. 99 LOOP
		SELECT m.run_id INTO the_run
		FROM run_make(campaign_name, day || CASE WHEN part > 1 THEN '/' || part ELSE '' END) m;
		SELECT * INTO r FROM run WHERE id = the_run FOR UPDATE;
		IF r.state = 'scheduled' THEN
			EXECUTE format('CREATE TABLE send_%1$s (LIKE send INCLUDING DEFAULTS INCLUDING COMMENTS, CONSTRAINT of_run CHECK (run_id = %1$s), PRIMARY KEY (run_id, id)) WITH (fillfactor = 35)', r.id);
			EXECUTE format('CREATE INDEX ON send_%1$s (address_key)', r.id);
			EXECUTE format('COMMENT ON TABLE send_%1$s IS %2$L', r.id, 'Recipients of single mails, run ' || r.id);
			EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', r.id);
			UPDATE run SET low_water = 1, started_at = now(), snapshot = snapshot || '{"mail": true}' WHERE id = r.id;
			PERFORM run_move(r.id, ARRAY['scheduled']::run_state[], 'running');
		END IF;
		IF r.state IN ('scheduled', 'running', 'finished', 'paused') THEN
			RETURN r;
		END IF;
	END LOOP;
	RAISE EXCEPTION 'all runs of campaign % of today are cancelled', campaign_name USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION mail_run(stream, text) IS 'The standing run of today for single mails of a stream and a sender''s domain';

-- Everything or nothing, and the same key again changes nothing.
CREATE FUNCTION mail_submit(stream_name text, p_key text, p_digest text, p_from text, p_sender text, p_content text,
    addresses text[], keys text[])
RETURNS TABLE (run_id int, send_id int, address text, state send_state, reason text, evidence text, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	st stream;
	m mail;
	r run;
	refused bigint;
BEGIN
	SELECT * INTO st FROM stream WHERE name = stream_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no stream "%"', stream_name USING ERRCODE = 'no_data_found';
	ELSIF NOT mail_from_ok(st.mail_from, p_from) THEN
		RAISE EXCEPTION 'stream "%" does not allow this From; see stream.mail_from', stream_name USING ERRCODE = 'insufficient_privilege';
	END IF;
	INSERT INTO mail (stream_id, key, digest, sender, content) VALUES (st.id, p_key, p_digest, p_sender, p_content)
	ON CONFLICT (stream_id, key) DO NOTHING RETURNING * INTO m;
	IF m.id IS NULL THEN
		SELECT * INTO m FROM mail WHERE stream_id = st.id AND key = p_key;
		IF m.digest <> p_digest THEN
			RAISE EXCEPTION 'this key was used for another mail' USING ERRCODE = 'unique_violation';
		END IF;
		RETURN QUERY SELECT s.run_id, s.id, s.address, s.state, s.reason, s.reply, false
		FROM mail_send l JOIN send s ON s.run_id = l.run_id AND s.id = l.send_id WHERE l.mail_id = m.id ORDER BY s.id;
		RETURN;
	END IF;
	r := mail_run(st, p_from);
	INSERT INTO send (run_id, id, recipient_id, address, address_key, state, reason, reply, settled_at)
	SELECT r.id, r.planned + n, 0, a, k, CASE WHEN p.reason IS NULL THEN 'queued' ELSE 'skipped' END::send_state,
	    CASE p.reason WHEN 'bounce' THEN 'bounced' WHEN 'complaint' THEN 'complained' WHEN 'unsubscribe' THEN 'unsubscribed'
		WHEN 'manual' THEN 'suppressed' END,
	    CASE WHEN p.reason IS NOT NULL THEN concat_ws(' ', p.scope, p.source, to_char(p.created_at, 'YYYY-MM-DD"T"HH24:MI:SSOF'), p.evidence) END,
	    CASE WHEN p.reason IS NOT NULL THEN now() END
	FROM unnest(addresses, keys) WITH ORDINALITY AS u (a, k, n)
	LEFT JOIN LATERAL (SELECT * FROM suppression s WHERE s.address_key = u.k
		AND s.scope IN ('all', 'stream:' || st.name, 'list:' || st.name)
		AND (s.expires_at IS NULL OR s.expires_at > now())
		ORDER BY suppression_rank(s.reason) DESC LIMIT 1) AS p ON true;
	INSERT INTO mail_send (run_id, send_id, mail_id)
	SELECT r.id, r.planned + n, m.id FROM generate_series(1, cardinality(addresses)) AS n;
	SELECT count(*) INTO refused FROM send s WHERE s.run_id = r.id AND s.id > r.planned AND s.state = 'skipped';
	IF refused > 0 THEN
		PERFORM tally_add(r.id, 0, d_skipped => refused);
	END IF;
	UPDATE run SET planned = planned + cardinality(addresses), staged = staged + cardinality(addresses),
	    audience = audience + cardinality(addresses), plan_cursor = plan_cursor + cardinality(addresses) WHERE id = r.id;
	IF refused < cardinality(addresses) THEN
		PERFORM run_move(r.id, ARRAY['finished']::run_state[], 'running');
	END IF;
	RETURN QUERY SELECT s.run_id, s.id, s.address, s.state, s.reason, s.reply, true
	FROM send s WHERE s.run_id = r.id AND s.id > r.planned ORDER BY s.id;
END
$$;
COMMENT ON FUNCTION mail_submit(text, text, text, text, text, text, text[], text[]) IS 'Takes one mail for these recipients: stored once, a send row each, suppressed ones skipped with their reason. The same key again returns what became of the first';

CREATE FUNCTION mail_forget(days int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	n bigint;
BEGIN
	UPDATE mail m SET content = '' WHERE content <> '' AND created_at < now() - make_interval(days => days)
	    AND NOT EXISTS (SELECT FROM mail_send l JOIN send s ON s.run_id = l.run_id AND s.id = l.send_id
		WHERE l.mail_id = m.id AND s.state IN ('queued', 'sending', 'deferred', 'in_doubt'));
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION mail_forget(int) IS 'Empties single mails older than this whose recipients are all settled; returns how many. The rows stay, so that their keys do';

-- A mail to a person who is forgotten goes with him, unless others still wait for it; then mail_forget() has it.
CREATE FUNCTION mail_erase() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	UPDATE mail m SET content = '' FROM mail_send mine WHERE mine.run_id = NEW.run_id AND mine.send_id = NEW.id
	    AND m.id = mine.mail_id AND NOT EXISTS (
		SELECT FROM mail_send l JOIN send s ON s.run_id = l.run_id AND s.id = l.send_id
		WHERE l.mail_id = m.id AND s.state IN ('queued', 'sending', 'deferred'));
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION mail_erase() IS 'Empties a single mail when its recipient is erased';
CREATE TRIGGER mail_erase AFTER UPDATE OF address ON send FOR EACH ROW
WHEN (NEW.address LIKE 'erased-%' AND NEW.address IS DISTINCT FROM OLD.address) EXECUTE FUNCTION mail_erase();

-- ---------------------------------------------------------------- the list of Amazon SES

CREATE TABLE ses_mirror (
	region text NOT NULL,
	address_key text NOT NULL COLLATE "C",
	mirrored_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (region, address_key)
);
CREATE INDEX ses_mirror_address ON ses_mirror (address_key);
COMMENT ON TABLE ses_mirror IS 'Addresses that stood both in suppression and in the account suppression list of Amazon SES when kairan suppress ses-* last looked; so it is known on which side one was lifted since';
COMMENT ON COLUMN ses_mirror.region IS 'Region; each has a list of its own';
COMMENT ON COLUMN ses_mirror.address_key IS 'Address as suppressed and counted';
COMMENT ON COLUMN ses_mirror.mirrored_at IS 'First seen on both sides';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION mail_from_ok(text[], text), mail_run(stream, text), mail_forget(int), mail_erase(),
    mail_submit(text, text, text, text, text, text, text[], text[]) FROM PUBLIC;
GRANT SELECT, INSERT, DELETE ON ses_mirror TO kairan_operator;
GRANT SELECT ON mail, mail_send TO kairan_dispatcher, kairan_operator;
GRANT EXECUTE ON FUNCTION mail_submit(text, text, text, text, text, text, text[], text[]) TO kairan_operator;
GRANT EXECUTE ON FUNCTION mail_forget(int) TO kairan_producer;
