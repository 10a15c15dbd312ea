-- Sign of life, and the runs that are running. $1 dispatcher, $2 what keeps it from sending, if
-- anything. Without the row "alive" we are fenced and must stop.
WITH me AS (
	UPDATE kairan.dispatcher SET heartbeat_at = now(), trouble = $2
	WHERE id = $1 AND fenced_at IS NULL AND stopped_at IS NULL RETURNING id)
SELECT 0 AS run, 'alive' AS what FROM me
UNION ALL
SELECT id, 'run' FROM kairan.run WHERE state = 'running'
ORDER BY 1
