-- RELEASE of rows that are in sending, or were put in doubt because their owner seemed lost: nothing
-- past DATA was written of them. $1 run, $2 dispatcher, $3 ids, $4 attempts. Returns the ids that are
-- queued again.
SELECT kairan.send_unsend($1, $2, $3::int[], $4::smallint[])
