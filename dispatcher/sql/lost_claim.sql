-- After a claim whose commit is unknown: which of these rows did it take? $1 run, $2 dispatcher,
-- $3 ids. They were not sent, so they are released.
SELECT id, attempt FROM kairan.send
WHERE run_id = $1 AND id = ANY ($3::int[]) AND owner = $2 AND state = 'sending'
