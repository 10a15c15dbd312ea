-- SPDX-License-Identifier: Apache-2.0
-- Planning a run soon after another: exclusions by joins that are planned with statistics.

-- Exclusions, each with rule and evidence. Earlier runs are looked at only when the campaign names any:
-- as part of one statement that join was made for every run, row by row when statistics were missing.
CREATE FUNCTION plan_exclude(the_run int) RETURNS void
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
			SELECT recipient_id, address_key, 0 AS rank,
			    CASE WHEN address_key IS NULL THEN 'invalid_address' ELSE 'excluded_segment' END AS rule,
			    note AS evidence
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
COMMENT ON FUNCTION plan_exclude(int) IS 'Notes the candidates of a run that are excluded, with rule and evidence';
REVOKE ALL ON FUNCTION plan_exclude(int) FROM PUBLIC;

-- Only candidates without a number can be excluded: the producer's filters let nobody through.
CREATE OR REPLACE FUNCTION plan_stage(the_run int, matched bigint, the_epoch bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp SET work_mem = '256MB'
AS $$
DECLARE
	kept bigint;
	doubtful boolean;
BEGIN
	PERFORM plan_fence(the_run, the_epoch);
	EXECUTE format('SELECT EXISTS (SELECT FROM candidate_%s WHERE j IS NULL)', the_run) INTO doubtful;
	IF doubtful THEN
		EXECUTE format('ANALYZE candidate_%s', the_run);
		PERFORM plan_exclude(the_run);
		EXECUTE format('DELETE FROM candidate_%1$s k USING exclusion_%1$s e WHERE e.recipient_id = k.recipient_id', the_run);
	END IF;
	-- only rows that were not numbered can have a twin that came before
	EXECUTE format('SELECT EXISTS (SELECT FROM candidate_%s WHERE j IS NULL)', the_run) INTO doubtful;
	IF doubtful THEN
		EXECUTE format($q$
			WITH d AS (SELECT DISTINCT address_key FROM candidate_%1$s WHERE j IS NULL),
			twin AS (
				SELECT k.recipient_id, k.address_key,
				    min(k.recipient_id) OVER (PARTITION BY k.address_key) AS first
				FROM candidate_%1$s k JOIN d ON d.address_key = k.address_key),
			gone AS (DELETE FROM candidate_%1$s k USING twin t
				WHERE t.recipient_id = k.recipient_id AND t.recipient_id <> t.first
				RETURNING k.recipient_id, k.address_key, t.first)
			INSERT INTO exclusion_%1$s (run_id, recipient_id, address_key, rule, evidence)
			SELECT %1$s, recipient_id, address_key, 'duplicate_address', 'same address as customer ' || first
			FROM gone$q$, the_run);
	END IF;
	EXECUTE format('ANALYZE domain_%s', the_run);
	EXECUTE format('SELECT $1 - count(*) FROM exclusion_%s', the_run) INTO kept USING matched;
	EXECUTE format($q$
		UPDATE run SET audience = $1, staged = $2, plan_cursor = 0, excluded = (
			SELECT coalesce(jsonb_object_agg(rule, n), '{}') FROM (
				SELECT rule, count(*) AS n FROM exclusion_%1$s GROUP BY rule) AS t)
		WHERE id = %1$s$q$, the_run) USING matched, kept;
	RETURN kept;
END
$$;
