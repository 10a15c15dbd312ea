-- SPDX-License-Identifier: Apache-2.0
-- Amazon SES: the kinds of content it puts together itself.

ALTER TABLE stream ADD ses_content text NOT NULL DEFAULT 'raw' CHECK (ses_content IN ('raw', 'simple', 'bulk'));
COMMENT ON COLUMN stream.ses_content IS 'How runs that start later go to the API of Amazon SES: raw: whole mails; simple: subject, texts and headers, SES makes the mail; bulk: one template and up to 50 recipients in a request';

-- The sandbox: an account that may send to its own verified identities and the mailbox simulator only.
CREATE TABLE ses_sandbox (
	region     text PRIMARY KEY,
	identities text[] NOT NULL,
	looked_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ses_sandbox IS 'Regions of Amazon SES in which the account is in the sandbox, as the producer last heard; without a row, or with one of more than an hour ago, everybody is written to';
COMMENT ON COLUMN ses_sandbox.region IS 'Region; each has identities and limits of its own';
COMMENT ON COLUMN ses_sandbox.identities IS 'Verified addresses and domains, lower case';
COMMENT ON COLUMN ses_sandbox.looked_at IS 'When SES was asked';
GRANT SELECT, INSERT, UPDATE, DELETE ON ses_sandbox TO kairan_producer;
GRANT SELECT ON ses_sandbox TO kairan_operator;

COMMENT ON COLUMN exclusion.rule IS 'bounced, complained, unsubscribed, suppressed, duplicate_address, invalid_address, excluded_campaign, excluded_segment, already_planned, unverified_sandbox';

-- As before, and what the producer notes of the sandbox has a rule of its own, behind all others.
CREATE OR REPLACE FUNCTION plan_exclude(the_run int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET work_mem = '256MB'
AS $$
DECLARE
	scopes text[];
	earlier boolean;
	of_earlier text := '';
BEGIN
	SELECT ARRAY['all', 'stream:' || s.name, 'list:' || CASE WHEN c.list = '' THEN s.name ELSE c.list END],
	    cardinality(c.exclude_campaigns) > 0
	INTO scopes, earlier FROM run r JOIN campaign c ON c.id = r.campaign_id JOIN stream s ON s.id = c.stream_id
	WHERE r.id = the_run;
	IF earlier THEN
		of_earlier := $q$
			UNION ALL
			SELECT k.recipient_id, k.address_key, 2, 'excluded_campaign', 'campaign ' || c.name || ' run ' || r.run_key
			FROM campaign mine JOIN run myrun ON myrun.campaign_id = mine.id AND myrun.id = %1$s
			JOIN campaign c ON c.name = ANY (mine.exclude_campaigns)
			JOIN run r ON r.campaign_id = c.id AND r.id <> %1$s
			JOIN send s ON s.run_id = r.id AND s.state IN ('sending', 'sent', 'in_doubt')
			JOIN candidate_%1$s k ON k.address_key = s.address_key AND k.j IS NULL$q$;
	END IF;
	EXECUTE format($q$
		INSERT INTO exclusion_%1$s (run_id, recipient_id, address_key, rule, evidence)
		SELECT DISTINCT ON (recipient_id) %1$s, recipient_id, address_key, rule, evidence FROM (
			SELECT recipient_id, address_key, CASE WHEN note LIKE 'sandbox: %%' THEN 3 ELSE 0 END AS rank,
			    CASE WHEN address_key IS NULL THEN 'invalid_address' WHEN note LIKE 'sandbox: %%' THEN 'unverified_sandbox'
				ELSE 'excluded_segment' END AS rule,
			    CASE WHEN note LIKE 'sandbox: %%' THEN substr(note, 10) ELSE note END AS evidence
			FROM candidate_%1$s WHERE j IS NULL AND note IS NOT NULL
			UNION ALL
			SELECT k.recipient_id, k.address_key, 1,
			    CASE s.reason WHEN 'bounce' THEN 'bounced' WHEN 'complaint' THEN 'complained'
				WHEN 'unsubscribe' THEN 'unsubscribed' ELSE 'suppressed' END,
			    concat_ws(' ', s.scope, s.source, to_char(s.created_at, 'YYYY-MM-DD"T"HH24:MI:SSOF'), s.evidence)
			FROM candidate_%1$s k JOIN suppression s ON s.address_key = k.address_key
			WHERE k.j IS NULL AND s.scope = ANY ($1) AND (s.expires_at IS NULL OR s.expires_at > now())$q$ || of_earlier || $q$
		) AS e ORDER BY recipient_id, rank$q$, the_run) USING scopes;
END
$$;
