-- SPDX-License-Identifier: Apache-2.0
-- The same effects of a batch of events for less: no sort for each row, no plan for each batch, and
-- arrays that are read by their number.

CREATE TYPE send_change AS (
	id int,
	lane smallint,
	address_key text COLLATE "C",
	again boolean,
	before text,
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
COMMENT ON TYPE send_change IS 'What a batch of events changed on a row of send. again: why it bounced had been told before; before, class: under which class its bounce counted and counts, empty: without one, NULL: it does not; delivered and those behind it: 1 when heard for the first time';

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
		    AND (e.kind = 'bounced' OR NOT consent_since(e.address_key, coalesce(e.occurred_at, e.received_at)))
		    -- of which campaign it is nobody knows: of domains that are ambiguous only the linked ones agree
		    AND (e.kind <> 'bounced' OR NOT EXISTS (SELECT FROM ambiguous_domain m
				WHERE m.domain = split_part(e.address_key, '@', 2) AND m.campaigns > greatest(1,
				    (SELECT count(DISTINCT r.campaign_id) FROM feedback_event f JOIN run r ON r.id = f.run_id
				    WHERE f.address_key = e.address_key AND f.kind = 'bounced' AND f.class = 'hard'))))
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
