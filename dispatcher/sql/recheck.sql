-- Claims older than 60 s, before they are sent: which are suppressed meanwhile? $1 run, $2 ids,
-- $3 scopes. PostgreSQL wants $1 to be used when the text names the run.
SELECT s.id FROM kairan.send s
WHERE s.run_id = /*run*/$1 AND $1::int > 0 AND s.id = ANY ($2::int[]) AND EXISTS (
	SELECT FROM kairan.suppression p WHERE p.address_key = s.address_key AND p.scope = ANY ($3::text[])
	    AND (p.expires_at IS NULL OR p.expires_at > now()))
