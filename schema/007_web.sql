-- SPDX-License-Identifier: Apache-2.0
-- Pages for recipients: unsubscribe and its undo, change of address, double opt-in. The feedback
-- program verifies tokens and calls these; it still sees no customer and no template itself.

-- ---------------------------------------------------------------- what was confirmed

CREATE TABLE confirmation (
	run_id int NOT NULL,
	send_id int NOT NULL,
	kind text NOT NULL CHECK (kind IN ('address', 'invite')),
	recipient_id bigint NOT NULL,
	address text NOT NULL COLLATE "C",
	address_key text NOT NULL COLLATE "C",
	old_address_key text COLLATE "C",
	asked_at timestamptz NOT NULL DEFAULT now(),
	confirmed_at timestamptz,
	applied_at timestamptz,
	evidence text NOT NULL DEFAULT '',
	PRIMARY KEY (run_id, send_id)
);
CREATE INDEX confirmation_recipient ON confirmation (recipient_id);
CREATE INDEX confirmation_address ON confirmation (address_key);
COMMENT ON TABLE confirmation IS 'Asked for and confirmed by mail: new addresses and consents. The row names the mail that carried the question';
COMMENT ON COLUMN confirmation.run_id IS 'Run of the mail that asked';
COMMENT ON COLUMN confirmation.send_id IS 'send.id of that mail';
COMMENT ON COLUMN confirmation.kind IS 'address: a new address; invite: consent to get mail';
COMMENT ON COLUMN confirmation.recipient_id IS 'customer.id';
COMMENT ON COLUMN confirmation.address IS 'Address that was asked, and that confirmed';
COMMENT ON COLUMN confirmation.address_key IS 'The same as suppressed and counted';
COMMENT ON COLUMN confirmation.old_address_key IS 'Address it replaces';
COMMENT ON COLUMN confirmation.asked_at IS 'When the mail was ordered';
COMMENT ON COLUMN confirmation.confirmed_at IS 'When the button on the page was pressed; empty: not yet';
COMMENT ON COLUMN confirmation.applied_at IS 'When the customer row was changed; empty after confirmed_at: the customers are a view, or another customer has the address, and the owner has to do it';
COMMENT ON COLUMN confirmation.evidence IS 'Mail and browser with which it was confirmed';

CREATE VIEW confirmed AS
SELECT recipient_id, max(confirmed_at) AS confirmed_at FROM confirmation
WHERE confirmed_at IS NOT NULL GROUP BY recipient_id;
COMMENT ON VIEW confirmed IS 'Customers who confirmed by mail, for segments: c.id IN (SELECT recipient_id FROM kairan.confirmed)';
COMMENT ON COLUMN confirmed.recipient_id IS 'customer.id';
COMMENT ON COLUMN confirmed.confirmed_at IS 'Last time';

CREATE VIEW address_change AS
SELECT recipient_id, old_address_key AS old_address, address AS new_address, confirmed_at FROM confirmation
WHERE kind = 'address' AND confirmed_at IS NOT NULL AND applied_at IS NULL;
COMMENT ON VIEW address_change IS 'Confirmed new addresses that your own customer table does not have yet; set confirmation.applied_at when it has';
COMMENT ON COLUMN address_change.recipient_id IS 'customer.id';
COMMENT ON COLUMN address_change.old_address IS 'Address that is suppressed now';
COMMENT ON COLUMN address_change.new_address IS 'Address that was confirmed';
COMMENT ON COLUMN address_change.confirmed_at IS 'When';

-- ---------------------------------------------------------------- helpers

CREATE FUNCTION address_masked(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT left(address, 1) || '•••@' || split_part(address, '@', 2) $$;
COMMENT ON FUNCTION address_masked(text) IS 'An address as pages show it: t•••@example.jp';

CREATE FUNCTION customer_is_table() RETURNS boolean
LANGUAGE sql STABLE SET search_path = kairan, pg_temp
AS $$ SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass('kairan.customer') $$;
COMMENT ON FUNCTION customer_is_table() IS 'Whether kairan.customer is our own table, not a view on yours';

-- Nothing may be added to a run between the look and the end: mail_add() takes the same lock.
CREATE FUNCTION run_end(the_run int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	PERFORM FROM run WHERE id = the_run AND state = 'running' FOR UPDATE;
	IF NOT FOUND THEN
		RETURN true;
	END IF;
	PERFORM FROM send WHERE run_id = the_run AND state IN ('queued', 'sending', 'deferred') LIMIT 1;
	IF FOUND THEN
		RETURN false;
	END IF;
	PERFORM run_move(the_run, ARRAY['running']::run_state[], 'finished');
	RETURN true;
END
$$;
COMMENT ON FUNCTION run_end(int) IS 'Finishes a running run whose rows are all settled; false when some are not';

-- One mail to one customer through the path of all mails: a run a day and campaign that grows by
-- a row. A recipient and an address are at most once in a run, so the days have three runs, and
-- nobody can make us write to an address more often than that.
CREATE FUNCTION mail_add(campaign_name text, recipient bigint, to_address text, to_key text,
    OUT the_run int, OUT the_send int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	key text;
	r record;
	taken boolean;
BEGIN
	FOR part IN 1 .. 3 LOOP
		key := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || CASE WHEN part > 1 THEN '/' || part ELSE '' END;
		SELECT m.run_id INTO the_run FROM run_make(campaign_name, key) m;
		SELECT * INTO r FROM run WHERE id = the_run FOR UPDATE;
		IF r.state = 'scheduled' THEN
			EXECUTE format('CREATE TABLE send_%1$s (LIKE send INCLUDING DEFAULTS INCLUDING COMMENTS, CONSTRAINT of_run CHECK (run_id = %1$s), PRIMARY KEY (run_id, id), UNIQUE (run_id, recipient_id), UNIQUE (run_id, address_key)) WITH (fillfactor = 35)', the_run);
			EXECUTE format('COMMENT ON TABLE send_%1$s IS %2$L', the_run, 'Recipients of run ' || the_run);
			EXECUTE format('ALTER TABLE send ATTACH PARTITION send_%1$s FOR VALUES IN (%1$s)', the_run);
			UPDATE run SET low_water = 1, started_at = now() WHERE id = the_run;
			PERFORM run_move(the_run, ARRAY['scheduled']::run_state[], 'running');
		ELSIF r.state NOT IN ('running', 'finished') THEN
			CONTINUE; -- a person paused or cancelled it
		END IF;
		SELECT EXISTS (SELECT FROM send WHERE run_id = the_run AND recipient_id = recipient)
		    OR EXISTS (SELECT FROM send WHERE run_id = the_run AND address_key = to_key) INTO taken;
		IF NOT taken THEN
			UPDATE run SET planned = planned + 1, staged = staged + 1, audience = audience + 1,
			    plan_cursor = plan_cursor + 1, started_at = now()
			WHERE id = the_run RETURNING planned INTO the_send;
			INSERT INTO send (run_id, id, recipient_id, address, address_key)
			VALUES (the_run, the_send, recipient, to_address, to_key);
			PERFORM run_move(the_run, ARRAY['finished']::run_state[], 'running');
			RETURN;
		END IF;
	END LOOP;
	the_run := NULL;
END
$$;
COMMENT ON FUNCTION mail_add(text, bigint, text, text) IS 'Orders one mail of a campaign to one customer at this address; empty when it or he was written to three times today';

-- The campaigns behind mail_add() and invitations belong to the programs; their texts come with each call.
CREATE FUNCTION mail_campaign(campaign_name text, p_from_name text, p_from_address text, p_subject text, p_body text,
    p_segment text DEFAULT 'false') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	text_digest text := encode(sha256(convert_to(p_subject || E'\n\n' || p_body, 'UTF8')), 'hex');
BEGIN
	INSERT INTO template (digest, subject, body) VALUES (text_digest, p_subject, p_body) ON CONFLICT (digest) DO NOTHING;
	INSERT INTO campaign (name, stream_id, template_id, from_name, from_address, segment)
	SELECT campaign_name, s.id, t.id, p_from_name, p_from_address, p_segment FROM stream s, template t
	WHERE s.name = 'transactional' AND t.digest = text_digest
	ON CONFLICT (name) DO UPDATE SET template_id = excluded.template_id, from_name = excluded.from_name,
	    from_address = excluded.from_address, segment = excluded.segment, updated_at = now()
	WHERE (campaign.template_id, campaign.from_name, campaign.from_address, campaign.segment)
	    IS DISTINCT FROM (excluded.template_id, excluded.from_name, excluded.from_address, excluded.segment);
	IF NOT EXISTS (SELECT FROM campaign WHERE name = campaign_name) THEN
		RAISE EXCEPTION 'there is no stream "transactional"' USING ERRCODE = 'no_data_found';
	END IF;
END
$$;
COMMENT ON FUNCTION mail_campaign(text, text, text, text, text, text) IS 'Makes or changes a campaign of the programs on the stream transactional';

-- ---------------------------------------------------------------- unsubscribe

-- The row behind a verified token, and what its page says. No row when the run is gone or the
-- token is of another database.
CREATE FUNCTION page_look(the_run int, the_send int, the_attempt int, undo_minutes int) RETURNS TABLE (
    address text, locale text, list text, sender text, list_off boolean, all_off boolean, may_undo boolean,
    is_repeat boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT address_masked(s.address), to_jsonb(cu) ->> 'locale', l.list,
	    coalesce(nullif(r.snapshot ->> 'from_name', ''), r.snapshot ->> 'from_address', c.from_address),
	    EXISTS (SELECT FROM suppression p WHERE p.address_key = s.address_key AND p.scope = 'list:' || l.list
		AND p.expires_at IS NULL),
	    EXISTS (SELECT FROM suppression p WHERE p.address_key = s.address_key AND p.scope = 'all' AND p.expires_at IS NULL),
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
COMMENT ON FUNCTION page_look(int, int, int, int) IS 'What the unsubscribe page of a mail says; no row when the mail is not known';

-- "It was a mistake", soon after: takes back what this very mail's link did, and nothing else.
CREATE FUNCTION unsubscribe_undo(the_run int, the_send int, the_attempt int, undo_minutes int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	key text;
	gone int;
BEGIN
	SELECT s.address_key INTO key FROM send s
	WHERE s.run_id = the_run AND s.id = the_send AND s.attempt > 0 AND s.attempt >= the_attempt;
	DELETE FROM suppression p USING feedback_event f
	WHERE p.address_key = key AND p.reason = 'unsubscribe' AND f.id = p.event_id AND f.run_id = the_run
	    AND f.send_id = the_send AND p.created_at > now() - make_interval(mins => undo_minutes);
	GET DIAGNOSTICS gone = ROW_COUNT;
	IF gone > 0 THEN
		PERFORM ingest(ARRAY['web'], ARRAY['other'], ARRAY[concat_ws('|', 'web', 'undo', the_run, the_send, clock_timestamp())],
		    ARRAY[NULL::timestamptz], ARRAY[the_run], ARRAY[the_send], ARRAY[the_attempt], ARRAY[key], ARRAY[NULL::text],
		    ARRAY['unsubscribe_undone'], ARRAY[NULL::int], ARRAY[NULL::text], ARRAY[NULL::text], ARRAY[NULL::text],
		    ARRAY[NULL::text]);
	END IF;
	RETURN gone > 0;
END
$$;
COMMENT ON FUNCTION unsubscribe_undo(int, int, int, int) IS 'Lifts what an unsubscribe by this mail suppressed within the last minutes; false when there is nothing';

-- ---------------------------------------------------------------- change of address

CREATE FUNCTION address_ask(the_run int, the_send int, the_attempt int, old_key text, new_address text, new_key text,
    campaign_name text, from_name text, from_address text, subject text, body text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	s send;
	m record;
	present text;
BEGIN
	SELECT * INTO s FROM send WHERE run_id = the_run AND id = the_send AND attempt > 0 AND attempt >= the_attempt;
	IF NOT FOUND THEN
		RETURN 'unknown';
	END IF;
	SELECT coalesce(address_key(c.email), lower(c.email)) INTO present FROM customer c WHERE c.id = s.recipient_id;
	-- a mail that was passed on, or that went to an address of long ago, moves nobody
	IF present IS DISTINCT FROM s.address_key OR present IS DISTINCT FROM old_key THEN
		RETURN 'mismatch';
	ELSIF new_key = old_key THEN
		RETURN 'same';
	END IF;
	-- somebody who moves back
	DELETE FROM suppression p WHERE p.address_key = new_key AND p.source = 'address_change' AND EXISTS (
		SELECT FROM confirmation k WHERE k.recipient_id = s.recipient_id AND k.old_address_key = new_key
		AND k.confirmed_at IS NOT NULL);
	IF EXISTS (SELECT FROM suppression p WHERE p.address_key = new_key AND p.scope IN ('all', 'stream:transactional')
	    AND (p.expires_at IS NULL OR p.expires_at > now())) THEN
		RETURN 'asked'; -- nobody learns from us who is on the list
	END IF;
	PERFORM mail_campaign(campaign_name, from_name, from_address, subject, body);
	SELECT * INTO m FROM mail_add(campaign_name, s.recipient_id, new_address, new_key);
	IF m.the_run IS NULL THEN
		RETURN 'limit';
	END IF;
	INSERT INTO confirmation (run_id, send_id, kind, recipient_id, address, address_key, old_address_key)
	VALUES (m.the_run, m.the_send, 'address', s.recipient_id, new_address, new_key, old_key);
	RETURN 'asked';
END
$$;
COMMENT ON FUNCTION address_ask(int, int, int, text, text, text, text, text, text, text, text) IS 'Orders the mail that asks a new address to confirm: asked, same, mismatch, limit or unknown';

-- ---------------------------------------------------------------- confirm

-- state: open, done, expired.
CREATE FUNCTION confirm_look(the_run int, the_send int, the_attempt int, days int) RETURNS TABLE (
    kind text, state text, address text, locale text, sender text, success_url text, failure_url text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	SELECT coalesce(k.kind, 'invite'),
	    CASE WHEN k.confirmed_at IS NOT NULL THEN 'done'
		WHEN coalesce(s.claimed_at, k.asked_at) < now() - make_interval(days => days) THEN 'expired' ELSE 'open' END,
	    s.address, coalesce(to_jsonb(cu) ->> 'locale', r.snapshot ->> 'language'),
	    coalesce(nullif(r.snapshot ->> 'from_name', ''), r.snapshot ->> 'from_address'),
	    coalesce(r.snapshot ->> 'success_url', ''), coalesce(r.snapshot ->> 'failure_url', '')
	FROM send s JOIN run r ON r.id = s.run_id
	LEFT JOIN confirmation k ON k.run_id = s.run_id AND k.send_id = s.id
	LEFT JOIN customer cu ON cu.id = s.recipient_id
	WHERE s.run_id = the_run AND s.id = the_send AND s.attempt > 0 AND s.attempt >= the_attempt
	    AND (k.kind IS NOT NULL OR r.snapshot ? 'invite')
$$;
COMMENT ON FUNCTION confirm_look(int, int, int, int) IS 'What the page behind a confirmation link says; no row when the mail asked for nothing';

-- Our own table is changed at once; a view is left to its owner.
CREATE FUNCTION confirm_apply(k confirmation) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	changed int;
BEGIN
	IF NOT customer_is_table() THEN
		RETURN false;
	END IF;
	IF k.kind = 'invite' THEN
		UPDATE customer SET consent_at = now(), updated_at = now(),
		    status = CASE WHEN status = 'unconfirmed' THEN 'active' ELSE status END
		WHERE id = k.recipient_id AND coalesce(address_key(email), lower(email)) = k.address_key;
	ELSE
		UPDATE customer SET email = k.address, updated_at = now()
		WHERE id = k.recipient_id AND coalesce(address_key(email), lower(email)) = k.old_address_key
		    AND NOT EXISTS (SELECT FROM customer o WHERE lower(o.email COLLATE "C") = k.address_key);
	END IF;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed > 0;
END
$$;
COMMENT ON FUNCTION confirm_apply(confirmation) IS 'Changes the customer row as confirmed; false when that is for the owner to do';

CREATE FUNCTION confirm_do(the_run int, the_send int, the_attempt int, days int, agent text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	now_is record;
	k confirmation;
BEGIN
	PERFORM FROM send WHERE run_id = the_run AND id = the_send FOR UPDATE; -- two presses at once
	SELECT * INTO now_is FROM confirm_look(the_run, the_send, the_attempt, days);
	IF NOT FOUND OR now_is.state <> 'open' THEN
		RETURN coalesce(now_is.state, 'unknown');
	END IF;
	INSERT INTO confirmation (run_id, send_id, kind, recipient_id, address, address_key, asked_at)
	SELECT s.run_id, s.id, 'invite', s.recipient_id, s.address, s.address_key, r.started_at
	FROM send s JOIN run r ON r.id = s.run_id WHERE s.run_id = the_run AND s.id = the_send
	ON CONFLICT DO NOTHING;
	UPDATE confirmation c SET confirmed_at = now(),
	    evidence = format('button on the page of run %s recipient %s attempt %s; browser: %s', the_run, the_send, the_attempt, agent)
	WHERE c.run_id = the_run AND c.send_id = the_send RETURNING * INTO k;
	IF confirm_apply(k) THEN
		UPDATE confirmation c SET applied_at = now() WHERE c.run_id = the_run AND c.send_id = the_send;
	END IF;
	IF k.kind = 'address' THEN
		-- what the person did not want at the old address is not wanted at the new one
		INSERT INTO suppression (address_key, scope, reason, source, evidence)
		SELECT k.address_key, p.scope, p.reason, p.source, 'taken over from the address before' FROM suppression p
		WHERE p.address_key = k.old_address_key AND p.reason = 'unsubscribe'
		ON CONFLICT DO NOTHING;
		INSERT INTO suppression (address_key, scope, reason, source, evidence)
		VALUES (k.old_address_key, 'all', 'manual', 'address_change', 'the recipient gave a new address')
		ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM suppression p USING run r WHERE r.id = the_run AND p.address_key = k.address_key
		    AND p.reason = 'unsubscribe' AND p.scope = 'list:' || (r.snapshot ->> 'for_list');
	END IF;
	PERFORM ingest(ARRAY['web'], ARRAY['other'], ARRAY[concat_ws('|', 'web', 'confirmed', the_run, the_send)],
	    ARRAY[NULL::timestamptz], ARRAY[the_run], ARRAY[the_send], ARRAY[the_attempt], ARRAY[k.address_key], ARRAY[NULL::text],
	    ARRAY['confirmed_' || k.kind], ARRAY[NULL::int], ARRAY[NULL::text], ARRAY[NULL::text], ARRAY[NULL::text],
	    ARRAY[NULL::text]);
	RETURN 'confirmed';
END
$$;
COMMENT ON FUNCTION confirm_do(int, int, int, int, text) IS 'Confirms the address or consent that a mail asked for: confirmed, done (before), expired or unknown';

-- ---------------------------------------------------------------- invitations

CREATE FUNCTION invite_add(campaign_name text, to_address text, to_key text, options jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	who bigint;
	m record;
BEGIN
	IF customer_is_table() THEN
		SELECT id INTO who FROM customer WHERE lower(email COLLATE "C") = to_key;
		IF who IS NULL THEN
			INSERT INTO customer (email, status, locale) VALUES (to_address, 'unconfirmed', options ->> 'language')
			RETURNING id INTO who;
		END IF;
	ELSE
		SELECT min(id) INTO who FROM customer WHERE coalesce(address_key(email), lower(email)) = to_key;
	END IF;
	IF who IS NULL THEN
		RETURN 'unknown';
	ELSIF EXISTS (SELECT FROM suppression p WHERE p.address_key = to_key AND p.scope IN ('all', 'stream:transactional')
	    AND (p.expires_at IS NULL OR p.expires_at > now())) THEN
		RETURN 'suppressed';
	END IF;
	SELECT * INTO m FROM mail_add(campaign_name, who, to_address, to_key);
	IF m.the_run IS NULL THEN
		RETURN 'limit';
	END IF;
	UPDATE run SET snapshot = snapshot || options WHERE id = m.the_run;
	RETURN 'invited';
END
$$;
COMMENT ON FUNCTION invite_add(text, text, text, jsonb) IS 'Orders one invitation: invited, suppressed, limit (three a day), or unknown (no such customer in your view)';

CREATE FUNCTION invite_run(campaign_name text, key text, options jsonb, OUT the_run int, OUT is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	SELECT m.run_id, m.is_new INTO the_run, is_new FROM run_make(campaign_name, key) m;
	IF is_new THEN
		UPDATE run SET snapshot = snapshot || options WHERE id = the_run;
	END IF;
END
$$;
COMMENT ON FUNCTION invite_run(text, text, jsonb) IS 'Makes the run that invites a segment';

-- ---------------------------------------------------------------- a person's data

CREATE FUNCTION customer_erase(address text) RETURNS TABLE (what text, n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	key text := coalesce(address_key(address), lower(address));
	blank text := 'erased-' || md5(random()::text || clock_timestamp()::text);
BEGIN
	what := 'customer';
	IF (SELECT relkind FROM pg_class WHERE oid = 'customer'::regclass) IN ('r', 'p') THEN
		DELETE FROM customer c WHERE coalesce(address_key(c.email), lower(c.email)) = key;
		GET DIAGNOSTICS n = ROW_COUNT;
		RETURN NEXT;
	END IF;
	what := 'send';
	UPDATE send s SET address = blank, address_key = blank, reply = NULL, remote_id = NULL
	WHERE s.address_key = key AND s.state NOT IN ('queued', 'sending', 'deferred');
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'feedback_event';
	UPDATE feedback_event f SET address_key = NULL, reply = NULL, detail = NULL WHERE f.address_key = key;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN NEXT;
	what := 'exclusion';
	UPDATE exclusion e SET address_key = NULL, evidence = '' WHERE e.address_key = key;
	GET DIAGNOSTICS n = ROW_COUNT;
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
COMMENT ON FUNCTION customer_erase(text) IS 'Forgets a person: customer row, addresses and texts everywhere; keeps the suppressed key alone, so that an import does not revive it. Rows that are being sent keep their address until they are settled';

CREATE FUNCTION customer_export(address text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH k AS (SELECT coalesce(address_key(address), lower(address)) AS key)
	SELECT jsonb_build_object('address', k.key,
	    'customer', (SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') FROM customer c
		WHERE coalesce(address_key(c.email), lower(c.email)) = k.key),
	    'sent', (SELECT coalesce(jsonb_agg(to_jsonb(s) - '{owner,attempt,tries}'::text[] ORDER BY s.run_id, s.id), '[]')
		FROM send s WHERE s.address_key = k.key),
	    'left_out', (SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.run_id), '[]') FROM exclusion e WHERE e.address_key = k.key),
	    'heard', (SELECT coalesce(jsonb_agg(to_jsonb(f) ORDER BY f.id), '[]') FROM feedback_event f WHERE f.address_key = k.key),
	    'confirmed', (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.asked_at), '[]') FROM confirmation o
		WHERE k.key IN (o.address_key, o.old_address_key)),
	    'suppressed', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.scope), '[]') FROM suppression p WHERE p.address_key = k.key))
	FROM k
$$;
COMMENT ON FUNCTION customer_export(text) IS 'Everything that is kept of a person, as JSON';

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION address_masked(text), customer_is_table(), run_end(int), mail_add(text, bigint, text, text),
    mail_campaign(text, text, text, text, text, text), page_look(int, int, int, int), unsubscribe_undo(int, int, int, int),
    address_ask(int, int, int, text, text, text, text, text, text, text, text), confirm_look(int, int, int, int),
    confirm_apply(confirmation), confirm_do(int, int, int, int, text), invite_add(text, text, text, jsonb),
    invite_run(text, text, jsonb), customer_erase(text), customer_export(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION run_end(int) TO kairan_producer;
GRANT EXECUTE ON FUNCTION page_look(int, int, int, int), unsubscribe_undo(int, int, int, int),
    address_ask(int, int, int, text, text, text, text, text, text, text, text), confirm_look(int, int, int, int),
    confirm_do(int, int, int, int, text) TO kairan_feedback;
GRANT EXECUTE ON FUNCTION mail_campaign(text, text, text, text, text, text), invite_add(text, text, text, jsonb),
    invite_run(text, text, jsonb), customer_is_table(), customer_erase(text), customer_export(text) TO kairan_operator;
GRANT SELECT ON confirmation, confirmed, address_change TO kairan_operator;
GRANT UPDATE (applied_at) ON confirmation TO kairan_operator;
GRANT SELECT ON confirmed TO kairan_segment;
