# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# services: private PostgreSQL, Redis and Postfix for tests, benches and the demo; sourced.
# Owns a short directory of its own, listens on unix sockets there, ends only what it started,
# and leaves nothing behind. Services on the usual ports never matter.
#
#   . tests/support/services.sh          sets the EXIT, INT and TERM traps
#   services_dir                         makes SERVICES_DIR
#   pg_start "$SERVICES_DIR" 'shared_buffers = 256MB'     exports KAIRAN_DATABASE_URL
#   pg_schema FILE                       what `kairan init` makes, without it; its words in FILE
#   redis_start "$SERVICES_DIR" --maxmemory 64mb          exports KAIRAN_REDIS_URL
#   service_spawn NAME LOGFILE COMMAND...                 PID in SERVICE_PID
#   pg_stop DIR [fast|immediate], redis_stop DIR [TERM|KILL], service_stop PID [SIGNAL], service_forget PID
#   stop_all                             runs at exit; calling it earlier is fine
#
# pg_start and redis_start on a directory used before start again on the same data.
# KAIRAN_TEST_CLUSTER: data of a PostgreSQL that pg_start made and pg_stop ended; new ones begin as
# its copy, which spares initdb. FAST=1: PostgreSQL without fsync. KEEP=1: the directory stays, for a look at the logs.
# KEEP_DATABASE=1: PostgreSQL goes on, too, and how to end it is said.

# Servers are there, and an ordinary user's PATH does not say so. Debian's psql is a Perl program that
# looks for clusters first; the real one takes a fifth of the time.
PATH=/usr/lib/postgresql/15/bin:$PATH:/usr/sbin:/sbin
SERVICES_DIR=
SERVICE_PID=
_services_dirs=()	# removed at the end
_services_pg=()		# directories with a running PostgreSQL
_services_redis=()	# directories with a running Redis
_services_postfix=()	# directories with a running Postfix (postfix.sh)
_services_pids=()	# from service_spawn
_services_owner=$BASHPID
UNIX_PATH_MAX=107

services_say()
{
	printf '# %s\n' "$*" >&2
}

services_fail()
{
	printf '# services: %s\n' "$*" >&2
	return 1
}

# arguments: a name; makes that variable (default SERVICES_DIR) a new private directory that
# others may pass through but not list: PostgreSQL and Postfix run under their own users.
services_dir()
{
	local base=${TMPDIR:-/tmp} dir

	# long or odd names do not fit into socket paths and Postfix lists
	case $base in
	/*[!A-Za-z0-9._/-]* | [!/]*) base=/tmp ;;
	esac
	[ ${#base} -le 60 ] || base=/tmp
	if [ "$(id -u)" -eq 0 ] && ! services_as_postgres test -x "$base" 2>/dev/null; then
		base=/tmp
	fi
	dir=$(mktemp -d "${base%/}/kairan.XXXXXX") || return 1
	chmod 711 "$dir" || return 1
	_services_dirs+=("$dir")
	printf -v "${1:-SERVICES_DIR}" %s "$dir"
}

# PostgreSQL refuses root; anybody else runs it as himself.
services_as_postgres()
{
	if [ "$(id -u)" -eq 0 ]; then
		(cd / && exec setpriv --reuid postgres --regid postgres --init-groups \
			env HOME=/nonexistent "$@")
	else
		(cd / && exec "$@")
	fi
}

# arguments: text; stdout: fit for a URL
services_url_encode()
{
	local text=$1 out='' char i
	local LC_ALL=C

	for ((i = 0; i < ${#text}; i++)); do
		char=${text:i:1}
		case $char in
		[A-Za-z0-9._~/-]) out+=$char ;;
		*)
			printf -v char '%%%02X' "'$char"
			out+=$char
			;;
		esac
	done
	printf '%s' "$out"
}

# stdout: a TCP port on 127.0.0.1 that is free now
services_free_port()
{
	perl -MSocket -e '
		socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
		bind($s, sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
		print((sockaddr_in(getsockname($s)))[0], "\n");'
}

# arguments: seconds, command...; true as soon as the command is. The seconds are those of an idle machine, a
# busy one gets three times as many. A look costs processes, psql and a backend often, on the cores of what is
# waited for: they become fewer.
services_wait()
{
	local deadline=$((SECONDS + 3 * $1)) looks=0

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		looks=$((looks + 1))
		sleep "0.$((looks < 5 ? 0 : looks < 15 ? 1 : 3))5"
	done
}

# argument: SQL condition. one(), of whoever sources this, prints an expression as the owner.
is_true()
{
	[ "$(one "$1")" = t ]
}

# arguments: seconds, SQL condition
wait_for()
{
	services_wait "$1" is_true "$2"
}

# ---- PostgreSQL ------------------------------------------------------------------------

pg_bindir()
{
	local dir

	for dir in /usr/lib/postgresql/15/bin "$(pg_config --bindir 2>/dev/null || true)"; do
		if [ -x "$dir/initdb" ]; then
			printf '%s\n' "$dir"
			return 0
		fi
	done
	services_fail 'no PostgreSQL server is installed (Debian package postgresql-15)'
}

# arguments: DIR, then lines for postgresql.conf
# Socket in DIR/pg.sock, data in DIR/pg, log in DIR/pg.log; superuser postgres; database kairan.
pg_start()
{
	local dir=$1 bin sock owner fsync=on line fresh=no

	shift
	bin=$(pg_bindir) || return 1
	sock=$dir/pg.sock
	if [ $((${#sock} + ${#_pg_socket_name})) -gt "$UNIX_PATH_MAX" ]; then
		services_fail "the path is too long for a socket: $sock"
		return 1
	fi
	[ "${FAST:-0}" = 0 ] || fsync=off
	owner=$(id -un)
	[ "$owner" != root ] || owner=postgres
	if [ ! -s "$dir/pg/PG_VERSION" ]; then
		fresh=yes
		mkdir -p "$dir/pg" "$sock" || return 1
		: >"$dir/pg.log"
		chmod 700 "$dir/pg" "$sock"
		[ "$(id -u)" -ne 0 ] || chown "$owner" "$dir/pg" "$sock" "$dir/pg.log"
		if [ -n "${KAIRAN_TEST_CLUSTER:-}" ]; then
			cp -a "$KAIRAN_TEST_CLUSTER/." "$dir/pg" || return 1
			fresh=copied
		elif ! services_as_postgres "$bin/initdb" -D "$dir/pg" -U postgres -A trust -E UTF8 \
			--locale=C.UTF-8 --no-sync --no-instructions >"$dir/pg.initdb.log" 2>&1; then
			cat "$dir/pg.initdb.log" >&2
			services_fail 'initdb failed'
			return 1
		fi
	fi
	{
		printf '%s\n' "listen_addresses = ''" "port = 5432" "fsync = $fsync" \
			"unix_socket_directories = '\"${sock//\'/\'\'}\"'" \
			'unix_socket_permissions = 0700' 'timezone = UTC' 'log_timezone = UTC' \
			"log_line_prefix = '%m %p %a '"
		for line in "$@"; do
			printf '%s\n' "$line"
		done
	} >"$dir/pg.conf"
	chmod 644 "$dir/pg.conf"
	if ! services_as_postgres "$bin/pg_ctl" -D "$dir/pg" -w -t 60 -s -l "$dir/pg.log" \
		-o "-c config_file='${dir//\'/\'\\\'\'}/pg.conf' -c data_directory='${dir//\'/\'\\\'\'}/pg'" \
		start >"$dir/pg.start.log" 2>&1; then
		cat "$dir/pg.start.log" >&2
		tail -n 20 "$dir/pg.log" >&2
		services_fail 'PostgreSQL did not start'
		return 1
	fi
	_services_pg+=("$dir")
	if [ "$fresh" = yes ]; then
		services_as_postgres "$bin/createdb" -h "$sock" -p 5432 -U postgres kairan || return 1
	fi
	KAIRAN_DATABASE_URL="postgresql:///kairan?host=$(services_url_encode "$sock")&port=5432&user=postgres"
	export KAIRAN_DATABASE_URL
}
_pg_socket_name=/.s.PGSQL.5432

# arguments: DIR (default SERVICES_DIR), mode fast (default), smart or immediate (as if killed)
pg_stop()
{
	local dir=${1:-$SERVICES_DIR} bin left=() each

	bin=$(pg_bindir) || return 1
	for each in "${_services_pg[@]+"${_services_pg[@]}"}"; do
		[ "$each" = "$dir" ] || left+=("$each")
	done
	_services_pg=("${left[@]+"${left[@]}"}")
	[ -e "$dir/pg/postmaster.pid" ] || return 0
	services_as_postgres "$bin/pg_ctl" -D "$dir/pg" -s -w -t 60 -m "${2:-fast}" stop
}

# arguments: file for what psql says
pg_schema()
{
	local file number

	{
		echo 'BEGIN; CREATE SCHEMA kairan; SET search_path = kairan;
			CREATE TABLE migration (version int PRIMARY KEY);'
		for file in schema/[0-9]*.sql; do
			cat "$file"
			number=${file##*/}
			echo "INSERT INTO migration VALUES ($((10#${number%%_*})));"
		done
		echo 'COMMIT;'
	} | psql -X -q -v ON_ERROR_STOP=1 "$KAIRAN_DATABASE_URL" -f - >"$1" 2>&1 || {
		cat "$1"
		return 1
	}
}

# ---- Redis -----------------------------------------------------------------------------

# arguments: DIR, then options for redis-server (they win). Socket DIR/redis.sock, pid DIR/redis.pid
redis_start()
{
	local dir=$1 sock

	shift
	sock=$dir/redis.sock
	if [ ${#sock} -gt "$UNIX_PATH_MAX" ]; then
		services_fail "the path is too long for a socket: $sock"
		return 1
	fi
	command -v redis-server >/dev/null ||
		{ services_fail 'redis-server is not installed (Debian package redis-server)'; return 1; }
	mkdir -p "$dir/redis" || return 1
	rm -f "$sock"
	if ! redis-server --port 0 --unixsocket "$sock" --unixsocketperm 700 --dir "$dir/redis" \
		--save '' --appendonly no --daemonize yes --pidfile "$dir/redis.pid" \
		--logfile "$dir/redis.log" "$@" >"$dir/redis.start.log" 2>&1 ||
		! services_wait 15 redis-cli -s "$sock" ping; then
		cat "$dir/redis.start.log" >&2
		tail -n 20 "$dir/redis.log" >&2 || true
		services_fail 'Redis did not start'
		return 1
	fi
	_services_redis+=("$dir")
	KAIRAN_REDIS_URL="unix://$(services_url_encode "$sock")"
	export KAIRAN_REDIS_URL
}

# arguments: DIR (default SERVICES_DIR), signal TERM (default) or KILL
redis_stop()
{
	local dir=${1:-$SERVICES_DIR} left=() each pid

	for each in "${_services_redis[@]+"${_services_redis[@]}"}"; do
		[ "$each" = "$dir" ] || left+=("$each")
	done
	_services_redis=("${left[@]+"${left[@]}"}")
	pid=$(cat "$dir/redis.pid" 2>/dev/null) || return 0
	_services_end "$pid" "${2:-TERM}"
	rm -f "$dir/redis.pid"
}

# ---- any other program -----------------------------------------------------------------

# arguments: NAME, LOGFILE, COMMAND...; runs it in the background, ended by stop_all
service_spawn()
{
	local name=$1 log=$2

	shift 2
	"$@" >>"$log" 2>&1 </dev/null &
	SERVICE_PID=$!
	_services_pids+=("$SERVICE_PID")
	# a signal between fork and exec would meet this shell's traps
	services_wait 2 _services_execed "$SERVICE_PID" || true
	services_say "$name runs as $SERVICE_PID, log $log"
}

# argument: PID of service_spawn that has ended: the number may be another's by the time of stop_all
service_forget()
{
	local left=() each

	for each in "${_services_pids[@]+"${_services_pids[@]}"}"; do
		[ "$each" = "$1" ] || left+=("$each")
	done
	_services_pids=("${left[@]+"${left[@]}"}")
}

# arguments: PID of service_spawn, signal (default TERM); returns the program's exit status
service_stop()
{
	local pid=$1 status=0

	service_forget "$pid"
	_services_end "$pid" "${2:-TERM}"
	wait "$pid" 2>/dev/null || status=$?
	return "$status"
}

_services_execed()
{
	! cmp -s "/proc/$1/cmdline" "/proc/$_services_owner/cmdline"
}

# ended or only a remainder that its parent has not collected
_services_gone()
{
	local state

	state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null) || return 0
	case $state in
	'' | Z*) return 0 ;;
	*) return 1 ;;
	esac
}

# arguments: pid, signal; asks, waits 15 s, then kills
_services_end()
{
	kill -"$2" "$1" 2>/dev/null || return 0
	services_wait 15 _services_gone "$1" && return 0
	services_say "process $1 did not end by $2, killed"
	kill -KILL "$1" 2>/dev/null || true
	services_wait 5 _services_gone "$1" || true
}

_services_keep_pg()
{
	local pid

	read -r pid <"$1/pg/postmaster.pid" || return 0
	services_say "PostgreSQL goes on as $pid; to end it: kill -INT $pid"
}

# `return` always names its value here: in a trap a bare one repeats the status of the script.
stop_all()
{
	local each

	[ "$BASHPID" = "$_services_owner" ] || return 0
	for each in "${_services_pids[@]+"${_services_pids[@]}"}"; do
		service_stop "$each" || true
	done
	for each in "${_services_postfix[@]+"${_services_postfix[@]}"}"; do
		postfix_stop "$each" || true
	done
	for each in "${_services_redis[@]+"${_services_redis[@]}"}"; do
		redis_stop "$each" KILL || true
	done
	for each in $(printf '%s\n' "${_services_pg[@]+"${_services_pg[@]}"}" | sort -u); do
		if [ "${KEEP_DATABASE:-0}" != 0 ]; then
			_services_keep_pg "$each"
		else
			pg_stop "$each" immediate || true
		fi
	done
	for each in "${_services_dirs[@]+"${_services_dirs[@]}"}"; do
		if [ "${KEEP:-0}" != 0 ]; then
			services_say "kept: $each"
		else
			rm -rf "$each"
		fi
	done
	_services_dirs=()
}

# A second signal while stopping is ignored: stopping takes a second and must be complete.
_services_exit()
{
	local status=$?

	trap '' INT TERM HUP
	stop_all
	exit "$status"
}

trap _services_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
