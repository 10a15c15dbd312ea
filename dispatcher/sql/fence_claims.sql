-- After a claim whose commit is unknown: its statement may still be on its way, or wait for a lock in
-- a process of PostgreSQL that has not noticed that we are gone. The update waits for one that has
-- begun (CLAIM updates this row first) and makes those that come later find nothing: their $5 is too
-- low. What was taken is looked up after this commit. $1 dispatcher, $2 claims of it that were
-- acknowledged: when PostgreSQL knows of fewer, it has lost commits; raising the number would hide that,
-- and claims find nothing anyway.
UPDATE kairan.dispatcher SET claim_seq = claim_seq + 1048576 WHERE id = $1 AND claim_seq >= $2::bigint
RETURNING claim_seq
