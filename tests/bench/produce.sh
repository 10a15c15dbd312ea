#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# produce: send rows per second, from the customer table to a sealed run, against a bare
# INSERT … SELECT of the same rows into a table with the same columns and indexes, in turn.
#   produce.sh [CUSTOMERS]      default 1,000,000
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/services.sh
. tests/bench/lib.sh
customers=${1:-1000000}
rounds=${ROUNDS:-3}

bench_services
bench_customers "$customers"
bench_campaign bench-produce 'Hello {{name}}' ''

ours=() bare=()
rss=0
for ((i = 1; i <= rounds; i++)); do
	sql "DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE kairan.send INCLUDING DEFAULTS) WITH (fillfactor = 35);
	    ALTER TABLE bare ADD PRIMARY KEY (run_id, id), ADD UNIQUE (recipient_id), ADD UNIQUE (address_key)"
	sql 'CHECKPOINT'
	start=$(now_ms)
	sql 'INSERT INTO bare (run_id, id, recipient_id, address, address_key)
	    SELECT 1, row_number() OVER (), id, email, lower(email COLLATE "C") FROM kairan.customer'
	bare+=("$(per_second "$customers" "$start")")
	sql 'DROP TABLE bare'
	sql 'CHECKPOINT'
	sql "SELECT kairan.run_make('bench-produce', 'round-$i')" >/dev/null
	program_spawn producer "$SERVICES_DIR/producer.log" "$programs/kairan-producer"
	wait_sql "SELECT state = 'running' FROM kairan.run WHERE run_key = 'round-$i'" 600
	peak=$(peak_mb "$SERVICE_PID")
	[ "$peak" -le "$rss" ] || rss=$peak
	# the producer's own clock would be kinder: from the start of planning to the seal
	ours+=("$(sql "SELECT round($customers / extract(epoch FROM b.at - a.at))
	    FROM kairan.run r JOIN kairan.run_event a ON a.run_id = r.id AND a.event = 'planning'
	    JOIN kairan.run_event b ON b.run_id = r.id AND b.event = 'running' WHERE r.run_key = 'round-$i'")")
	bench_cancel "round-$i"
	service_stop "$SERVICE_PID"
done
bench_line produce "$(median "${ours[@]}")" 'send rows/s' \
	'bare INSERT ... SELECT into a table with the same indexes' "$(median "${bare[@]}")" 0.8 \
	"\"customers\":$customers,\"rounds\":$rounds,\"rss_mb\":$rss,\"rss_target_mb\":64"
