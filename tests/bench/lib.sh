# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib: what the benches share; sourced behind tests/support/services.sh. Figures go to standard
# output as JSON lines, everything else to standard error.

# shellcheck disable=SC2034 # used by the scripts that source this
programs=${KAIRAN_BIN:-$PWD/bin}

sql()
{
	psql -XAtq -v ON_ERROR_STOP=1 "$KAIRAN_DATABASE_URL" -c "$1"
}

now_ms()
{
	date +%s%3N
}

# arguments: count, start in ms; stdout: count per second, whole
per_second()
{
	local ms=$(($(now_ms) - $2))

	echo $(($1 * 1000 / (ms > 0 ? ms : 1)))
}

median()
{
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# arguments: pid; stdout: highest resident memory so far, MB
peak_mb()
{
	awk '/^VmHWM:/ { print int($2 / 1024 + 0.5) }' "/proc/$1/status"
}

# arguments: pid; stdout: user + system CPU in ms
cpu_ms()
{
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"
}

# arguments: pids; stdout: ns of CPU that the kernel counted for their first threads so far, in all
cpu_ns()
{
	{ printf '/proc/%s/schedstat\n' "$@" | xargs cat 2>/dev/null || true; } | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# arguments: condition on pg_stat_activity; stdout: such processes of PostgreSQL
pg_pids()
{
	sql "SELECT coalesce(string_agg(pid::text, ' '), '0') FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ($1)"
}

# arguments: as service_spawn; the program logs in with its own role, whose settings count
program_spawn()
{
	KAIRAN_DATABASE_URL=${KAIRAN_DATABASE_URL/&user=postgres/} service_spawn "$@"
}

# stdout: CPU in ms of the private PostgreSQL so far, all of its processes
pg_cpu_ms()
{
	local main
	main=$(head -n 1 "$SERVICES_DIR/pg/postmaster.pid")

	{ echo "$main"; pgrep -P "$main"; } | sed 's,.*,/proc/&/stat,' | xargs cat 2>/dev/null |
		awk -v hz="$(getconf CLK_TCK)" -v main="$main" '{ is_main = $1 == main; sub(/.*\) /, "")
			sum += $12 + $13 + (is_main ? $14 + $15 : 0) } END { print int(sum * 1000 / hz) }'
}

# arguments: query that answers t, seconds, seconds between two looks (default 0.05)
wait_sql()
{
	local end=$((SECONDS + $2))

	until [ "$(sql "$1")" = t ]; do
		[ "$SECONDS" -lt "$end" ] || services_fail "timed out: $1"
		sleep "${3:-0.25}" # each look costs a process of psql and one of PostgreSQL, on the same cores
	done
}

# smtp-sink on loopback; SINK (pid), SINK_PORT
bench_sink()
{
	local user=()

	[ "$(id -u)" -ne 0 ] || user=(-u nobody)
	SINK_PORT=$(services_free_port)
	service_spawn sink "$SERVICES_DIR/sink.log" smtp-sink "${user[@]+"${user[@]}"}" "127.0.0.1:$SINK_PORT" 1000
	# shellcheck disable=SC2034 # used by the scripts that source this
	SINK=$SERVICE_PID
	sleep 0.3
}

# PostgreSQL with its default durability (fsync on), Redis, schema, a key file.
bench_services()
{
	services_dir
	pg_start "$SERVICES_DIR" 'shared_buffers = 128MB' 'max_wal_size = 4GB'
	redis_start "$SERVICES_DIR"
	export KAIRAN_KEYS_FILE=$SERVICES_DIR/token.key KAIRAN_DISPATCHER_STATE_DIR=$SERVICES_DIR
	export KAIRAN_FEEDBACK_DOMAIN=bounce.example KAIRAN_LOG_LEVEL=warn
	"$programs/kairan" init >&2
}

# arguments: how many. The domain mix of a list: a few large ones and a long tail.
bench_customers()
{
	sql "INSERT INTO kairan.customer (email, name, locale, attributes)
	    SELECT 'u' || i || '@' || CASE WHEN i % 10 < 3 THEN 'gmail.example' WHEN i % 10 < 5 THEN 'docomo.example'
		WHEN i % 10 < 6 THEN 'softbank.example' WHEN i % 10 < 7 THEN 'yahoo.example'
		ELSE 'd' || (i::bigint * 7919) % 20000 || '.example' END,
	    'Customer ' || i, CASE WHEN i % 2 = 0 THEN 'ja' ELSE 'en' END,
	    jsonb_build_object('plan', 'gold', 'points', i % 1000)
	    FROM generate_series(1, $1) AS i; ANALYZE kairan.customer"
}

# arguments: name, text template, HTML template
bench_campaign()
{
	psql -XAtq -v ON_ERROR_STOP=1 -v name="$1" -v text="$2" -v html="$3" "$KAIRAN_DATABASE_URL" <<-'SQL' >/dev/null
		INSERT INTO kairan.template (digest, subject, html, body) VALUES (:'name', 'News for {{name}}', :'html', :'text');
		INSERT INTO kairan.campaign (name, stream_id, template_id, from_name, from_address)
		SELECT :'name', (SELECT id FROM kairan.stream WHERE name = 'marketing'), t.id, 'Bench', 'bench@shop.example'
		FROM kairan.template t WHERE digest = :'name';
	SQL
}

# arguments: run key. What `kairan campaign cancel` does: else the producer would do it in the next round.
bench_cancel()
{
	sql "SELECT kairan.run_move(id, '{running}', 'cancelled'), kairan.send_move_all(id, '{queued,deferred}', 'cancelled', 'cancelled')
	    FROM kairan.run WHERE run_key = '$1'" >/dev/null
}

# arguments: bytes; TEXT and HTML of a template whose mail has about that length, both parts alike
bench_template()
{
	local line='<p>Dear {{name}}, you have {{points}} points on your {{plan}} plan this month.</p>'
	local filler='<p>The shop is open every day from nine to seven; come and see what is new in autumn.</p>'

	# shellcheck disable=SC2034 # used by the scripts that source this
	HTML=$line TEXT='Dear {{name}}, you have {{points}} points on your {{plan}} plan.'
	while [ $((${#HTML} + ${#TEXT} + 1200)) -lt "$1" ]; do
		HTML+=$'\n'$filler
		TEXT+=$'\nThe shop is open every day from nine to seven.'
	done
}

# arguments: bench, programs of Debian packages; ends the bench with a reason when one is not here
bench_needs()
{
	local bench=$1 program

	shift
	for program in "$@"; do
		command -v "$program" >/dev/null || { echo "$bench skipped: $program (Debian package) is not here" >&2; exit 0; }
	done
}

# nginx over TLS that answers as SendEmail and GetAccount do and checks nothing; SES_PORT, and SES_LOGGED_PORT,
# which notes the length of each body in $SERVICES_DIR/size; the CA's certificate in $SERVICES_DIR/ses/ca.pem
bench_ses_endpoint()
{
	local location='location = /v2/email/outbound-emails { default_type application/json; client_max_body_size 40m;
			return 200 "{\"MessageId\":\"010201234567890a-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0-000000\"}"; }
		location = /v2/email/account { default_type application/json;
			return 200 "{\"SendQuota\":{\"Max24HourSend\":-1,\"MaxSendRate\":1000000,\"SentLast24Hours\":0},\"SendingEnabled\":true}"; }'

	python3 tests/support/ses_fake.py init "$SERVICES_DIR/ses" >&2
	SES_PORT=$(services_free_port)
	SES_LOGGED_PORT=$(services_free_port)
	cat >"$SERVICES_DIR/nginx.conf" <<-CONF
		worker_processes 1; daemon off; pid $SERVICES_DIR/nginx.pid; error_log $SERVICES_DIR/nginx.error;
		events { worker_connections 1000; }
		http {
		log_format size '\$content_length'; client_body_temp_path $SERVICES_DIR/body; proxy_temp_path $SERVICES_DIR/body;
		fastcgi_temp_path $SERVICES_DIR/body; uwsgi_temp_path $SERVICES_DIR/body; scgi_temp_path $SERVICES_DIR/body;
		keepalive_requests 1000000; access_log off;
		ssl_certificate $SERVICES_DIR/ses/server.pem; ssl_certificate_key $SERVICES_DIR/ses/server.key;
		server { listen 127.0.0.1:$SES_PORT ssl; $location }
		server { listen 127.0.0.1:$SES_LOGGED_PORT ssl; access_log $SERVICES_DIR/size size; $location }
		}
	CONF
	service_spawn nginx "$SERVICES_DIR/nginx.log" nginx -e "$SERVICES_DIR/nginx.error" -c "$SERVICES_DIR/nginx.conf"
	services_wait 10 curl -fsS --cacert "$SERVICES_DIR/ses/ca.pem" -o /dev/null "https://127.0.0.1:$SES_PORT/v2/email/account"
}

# arguments: bytes of a body, connections; stdout: such requests a second that wrk posts to nginx
bench_wrk()
{
	cat >"$SERVICES_DIR/post.lua" <<-LUA
		wrk.method = "POST"
		wrk.path = "/v2/email/outbound-emails"
		wrk.headers["Content-Type"] = "application/json"
		wrk.headers["Authorization"] = string.rep("a", 250)
		wrk.body = string.rep("x", $1)
	LUA
	wrk -t1 -c"$2" -d5s -s "$SERVICES_DIR/post.lua" "https://127.0.0.1:$SES_PORT" | awk '/^Requests\/sec:/ { print int($2) }'
}

# As bench_line for what should be small: its ratio is the yardstick by the value, so that here as well
# a ratio of at least the target is good.
bench_line_less()
{
	printf '{"bench":"%s","value":%s,"unit":"%s","yardstick":"%s","yardstick_value":%s,"ratio":%s,"target":%s%s}\n' \
		"$1" "$2" "$3" "$4" "$5" "$(awk -v a="$2" -v b="$5" 'BEGIN { print (a > 0) ? sprintf("%.2f", b / a) : 0 }')" \
		"$6" "${7:+,$7}"
}

# arguments: bench, value, unit, yardstick, yardstick value, target, further members
bench_line()
{
	printf '{"bench":"%s","value":%s,"unit":"%s","yardstick":"%s","yardstick_value":%s,"ratio":%s,"target":%s%s}\n' \
		"$1" "$2" "$3" "$4" "$5" "$(awk -v a="$2" -v b="$5" 'BEGIN { print (b > 0) ? sprintf("%.2f", a / b) : 0 }')" \
		"$6" "${7:+,$7}"
}
