-- SPDX-License-Identifier: Apache-2.0
-- Addresses whose local part is not ASCII (RFC 6531). The same rules as common/addr.c.

CREATE OR REPLACE FUNCTION address_key(address text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
SET search_path = kairan, pg_temp
AS $$
	SELECT CASE
		WHEN octet_length(l) > 64 OR octet_length(l) + 1 + octet_length(d) > 254
		    OR d !~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN NULL
		WHEN l ~ '^(?!-)[a-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~-]+)*$' THEN l || '@' || d
		WHEN l ~ '^[\x01-\x7f]*$' OR getdatabaseencoding() <> 'UTF8' THEN NULL
		-- invisible characters: the table of is_invisible() in common/addr.c
		WHEN l ~ '^(?!-)[a-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+)*$'
		    AND l !~ ('[\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f'
			'\u2028-\u202e\u2060-\u206f\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]')
		    AND l IS NFKC NORMALIZED THEN l || '@' || d END
	FROM (SELECT CASE WHEN local ~ '^[\x01-\x7f]*$' OR getdatabaseencoding() <> 'UTF8' THEN local ELSE normalize(local, NFC) END AS l,
		CASE WHEN domain ~ '^[\x01-\x7f]*$' THEN domain ELSE (SELECT a_label FROM idn WHERE u_label = lower(written)) END AS d
	    FROM (SELECT lower(split_part(address, '@', 1) COLLATE "C") AS local,
		substr(address, position('@' IN address) + 1) AS written,
		lower(substr(address, position('@' IN address) + 1) COLLATE "C") AS domain
		WHERE position('@' IN address) > 0) AS parts) AS t
$$;
COMMENT ON FUNCTION address_key(text) IS 'The key under which an address is suppressed and counted: local part with ASCII letters in lower case (in NFC) @ lower-case A-label domain, no dot or plus folding; NULL when it is not an address';

-- The mails that ask to confirm may have an html part.
DROP FUNCTION mail_campaign(text, text, text, text, text, text);
DROP FUNCTION address_ask(int, int, int, text, text, text, text, text, text, text, text);

CREATE FUNCTION mail_campaign(campaign_name text, p_from_name text, p_from_address text, p_subject text, p_body text,
    p_segment text, p_html text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	text_digest text := encode(sha256(convert_to(p_subject || E'\n\n' || p_body ||
	    CASE WHEN p_html = '' THEN '' ELSE E'\n\n' || p_html END, 'UTF8')), 'hex');
BEGIN
	INSERT INTO template (digest, subject, body, html) VALUES (text_digest, p_subject, p_body, p_html) ON CONFLICT (digest) DO NOTHING;
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
COMMENT ON FUNCTION mail_campaign(text, text, text, text, text, text, text) IS 'Makes or changes a campaign of the programs on the stream transactional';

CREATE FUNCTION address_ask(the_run int, the_send int, the_attempt int, old_key text, new_address text, new_key text,
    campaign_name text, from_name text, from_address text, subject text, body text, html text) RETURNS text
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
	PERFORM mail_campaign(campaign_name, from_name, from_address, subject, body, 'false', html);
	SELECT * INTO m FROM mail_add(campaign_name, s.recipient_id, new_address, new_key);
	IF m.the_run IS NULL THEN
		RETURN 'limit';
	END IF;
	INSERT INTO confirmation (run_id, send_id, kind, recipient_id, address, address_key, old_address_key)
	VALUES (m.the_run, m.the_send, 'address', s.recipient_id, new_address, new_key, old_key);
	RETURN 'asked';
END
$$;
COMMENT ON FUNCTION address_ask(int, int, int, text, text, text, text, text, text, text, text, text) IS 'Orders the mail that asks a new address to confirm: asked, same, mismatch, limit or unknown';

REVOKE ALL ON FUNCTION mail_campaign(text, text, text, text, text, text, text),
    address_ask(int, int, int, text, text, text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION address_ask(int, int, int, text, text, text, text, text, text, text, text, text) TO kairan_feedback;
GRANT EXECUTE ON FUNCTION mail_campaign(text, text, text, text, text, text, text) TO kairan_operator;

-- What is kept of a person includes what he opened and clicked.
CREATE OR REPLACE FUNCTION customer_export(address text) RETURNS jsonb
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
	    'tracked', (SELECT coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('url', l.url) ORDER BY t.first_at, t.kind, t.link, t.who), '[]')
		FROM send s JOIN track t ON t.run_id = s.run_id AND t.send_id = s.id
		LEFT JOIN link l ON l.run_id = t.run_id AND l.id = t.link WHERE s.address_key = k.key),
	    'confirmed', (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.asked_at), '[]') FROM confirmation o
		WHERE k.key IN (o.address_key, o.old_address_key)),
	    'suppressed', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.scope), '[]') FROM suppression p WHERE p.address_key = k.key))
	FROM k
$$;
