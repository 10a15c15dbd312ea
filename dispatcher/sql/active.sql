-- Sign of life, and the runs that are running. $1 dispatcher, $2 what keeps it from sending, if
-- anything. Without the row "alive" we are fenced and must stop; its last column is the number of
-- our claims that PostgreSQL knows of.
WITH me AS (
	UPDATE kairan.dispatcher SET heartbeat_at = now(), trouble = $2
	WHERE id = $1 AND fenced_at IS NULL AND stopped_at IS NULL RETURNING claim_seq)
SELECT 0 AS run, 'alive' AS what, claim_seq FROM me
UNION ALL
SELECT id, 'run', 0 FROM kairan.run WHERE state = 'running'
ORDER BY 1
