-- SPDX-License-Identifier: Apache-2.0
-- One index less on the inbox; a breaker for lanes, and none that opens on a handful of mails.

-- ---------------------------------------------------------------- inbox

-- Whoever looks for an event by its number knows its address or its row, too, and those have
-- indexes.
DROP INDEX feedback_event_id;

-- As before, but that the event is found by its address.
CREATE OR REPLACE FUNCTION suppress_provisional() RETURNS TABLE (domain text, addresses bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	FOR domain IN SELECT t.domain FROM tally_domain t WHERE t.hour > now() - interval '7 hours'
	    GROUP BY t.domain HAVING sum(t.hard) >= 50
		AND at_least_per_cent(sum(t.hard)::bigint, greatest(sum(t.attempted), sum(t.hard))::bigint) >= 50 LOOP
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
