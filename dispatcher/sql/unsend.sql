-- RELEASE of rows that are in sending, or were put in doubt because their owner seemed lost: nothing
-- past DATA was written of them. $1 run, $2 dispatcher, $3 ids, $4 attempts. Returns the ids that are
-- queued again, and their lanes.
SELECT s.id, s.lane FROM kairan.send_unsend($1, $2, $3::int[], $4::smallint[]) AS u(id)
JOIN kairan.send s ON s.run_id = /*run*/$1 AND s.id = u.id
