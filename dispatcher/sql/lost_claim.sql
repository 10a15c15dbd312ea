-- After a claim whose commit is unknown: which of these rows did it take? $1 run, $2 dispatcher,
-- $3 ids, $4 time of the last claim that is known: rows of that and earlier ones may have been
-- pushed a second time while they are being sent. Those returned were not sent and are released.
SELECT id, attempt FROM kairan.send
WHERE run_id = $1 AND id = ANY ($3::int[]) AND owner = $2 AND state = 'sending'
    AND claimed_at > $4::timestamptz
