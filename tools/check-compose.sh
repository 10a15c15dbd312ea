#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check-compose [--services]: brings docker-compose.yml up for real and looks at it, as TAP.
#
# It uses Debian's own docker.io and docker-compose with a private engine: own data, socket and
# pid, no rule added to the firewall, no docker0. Base image: debian:bookworm-slim made by
# debootstrap, kept in build/compose/. postgres:15 and redis:7 are STAND-INS built from Debian's
# packages (tools/compose/standin/): this proves our file, our images, the healthchecks and how
# the services find each other, not the official images. OFFICIAL=1 pulls all of them instead.
#
#   --services   only secrets, postgres, redis and relay; the four programs are not built
#
# Needs root or `sudo -n`, about 3 GB in ${TMPDIR:-/var/tmp} and 3 minutes. KEEP=1 leaves nothing
# running but keeps the engine's directory.
#
# shellcheck disable=SC2317  # called through trap, tap_ok and wait_for
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/tap.sh
. "$here/tools/tap.sh"

work=
engine_pid=
project=kairancheck
expected_mails=40
only_services=no

compose()
{
	(cd "$here" && docker-compose -p "$project" -f docker-compose.yml -f "$work/check.override.yml" "$@")
}

docker_cli()
{
	/usr/bin/docker "$@"
}

# argument: seconds, command...
wait_for()
{
	local deadline=$((SECONDS + $1))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.5
	done
}

engine_gone()
{
	! kill -0 "$engine_pid" 2>/dev/null
}

cleanup()
{
	local status=$? mounted

	trap '' INT TERM HUP
	if [ -n "$engine_pid" ]; then
		compose down -v -t 5 --remove-orphans >>"$work/down.log" 2>&1 || true
		kill "$engine_pid" 2>/dev/null || true
		if ! wait_for 60 engine_gone; then
			kill -KILL "$engine_pid" 2>/dev/null || true
		fi
	fi
	if [ -n "$work" ]; then
		while IFS= read -r mounted; do
			umount -l "$mounted" 2>/dev/null || true
		done < <(awk -v w="$work/" 'index($2, w) == 1 { print $2 }' /proc/mounts | sort -r)
		if [ "${KEEP:-0}" != 0 ]; then
			tap_note "kept: $work"
		else
			rm -rf "$work"
		fi
	fi
	exit "$status"
}

# ---- engine and images -----------------------------------------------------------------

engine_start()
{
	# never the engine of this machine
	dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
		-H "unix://$work/docker.sock" --bridge=none --iptables=false --ip6tables=false \
		--ip-forward=false --ip-masq=false >"$work/dockerd.log" 2>&1 &
	engine_pid=$!
	export DOCKER_HOST="unix://$work/docker.sock" DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
	unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH COMPOSE_FILE COMPOSE_PROFILES
	wait_for 60 docker_cli version || {
		tail -n 20 "$work/dockerd.log" >&2
		tap_bail 'dockerd did not start'
	}
}

base_image()
{
	local tar=$here/build/compose/bookworm.tar site rootfs=$work/rootfs

	if [ ! -s "$tar" ]; then
		tap_note 'making the base image with debootstrap'
		# shellcheck disable=SC2016  # apt's own format
		site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
		debootstrap --variant=minbase bookworm "$rootfs" \
			"${site:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
			{ tail -n 20 "$work/debootstrap.log" >&2; tap_bail 'debootstrap failed'; }
		mkdir -p "${tar%/*}"
		tar -C "$rootfs" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' \
			-cf "$tar.new" .
		mv "$tar.new" "$tar"
		rm -rf "$rootfs"
	fi
	docker_cli import -c 'CMD ["bash"]' "$tar" debian:bookworm-slim >/dev/null
}

# arguments: log name, command...; the end of the log is shown when it fails
logged()
{
	local log=$work/$1.log

	shift
	if ! "$@" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		return 1
	fi
}

standin_images()
{
	logged standin-postgres docker_cli build --network host -t postgres:15 "$here/tools/compose/standin/postgres" &&
		logged standin-redis docker_cli build --network host -t redis:7 "$here/tools/compose/standin/redis"
}

# What only this check needs stays out of the shipped file.
override_file()
{
	local service

	printf 'services:\n'
	for service in secrets relay setup producer dispatcher feedback kairan; do
		printf '  %s:\n    build: {network: host}\n' "$service"
	done
}

free_port()
{
	perl -MSocket -e '
		socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
		bind($s, sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
		print((sockaddr_in(getsockname($s)))[0]);'
}

# ---- what is looked at -----------------------------------------------------------------

# arguments: service, template for docker inspect
inspect()
{
	local id

	id=$(compose ps -q "$1" 2>/dev/null | head -n 1)
	[ -n "$id" ] || return 1
	docker_cli inspect -f "$2" "$id"
}

is_healthy()
{
	[ "$(inspect "$1" '{{.State.Health.Status}}')" = healthy ]
}

finished_well()
{
	[ "$(inspect "$1" '{{.State.Status}} {{.State.ExitCode}}')" = 'exited 0' ]
}

# the file's own secrets: no value that looks like one
has_no_secret()
{
	local value='(password|secret|token|key)[a-z_]*:[[:space:]]*["'\'']?[^[:space:]/"'\''{]'
	local url='://[^/@[:space:]]*:[^@[:space:]]+@'

	! grep -nEi "$value|$url" "$here/docker-compose.yml" |
		grep -vE 'secrets?-?[a-z]*:[[:space:]]*(\{|/|$)'
}

check_service()
{
	tap_ok "$1 becomes healthy" wait_for 120 is_healthy "$1"
	if ! is_healthy "$1"; then
		tap_note "$(compose logs --no-color --tail=20 "$1" 2>&1)"
	fi
	tap_is "$(inspect "$1" '{{.HostConfig.ReadonlyRootfs}}')" true "$1 has a read-only root"
}

check_program()
{
	local user

	check_service "$1"
	user=$(inspect "$1" '{{.Config.User}}') || user=
	tap_is "$user" kairan "$1 does not run as root"
}

mails_in_relay()
{
	compose exec -T relay /usr/lib/kairan/health.sh mails
}

mails_are()
{
	[ "$(mails_in_relay)" -eq "$1" ]
}

relay_takes_mail()
{
	compose exec -T relay sendmail -f check@bounce.example aiko@alpha.example <<<$'Subject: check\n\nhello\n'
}

postgres_asks_password()
{
	local out

	out=$(compose exec -T postgres psql -w -h postgres -U kairan -d kairan -c 'select 1' 2>&1) && return 1
	[[ $out == *'no password supplied'* ]]
}

postgres_takes_password()
{
	# the file is read inside the container
	# shellcheck disable=SC2016
	compose exec -T postgres sh -c \
		'PGPASSWORD="$(cat /secrets/postgres/password)" psql -h postgres -U kairan -d kairan -Atc "select 1"'
}

redis_asks_password()
{
	[[ $(compose exec -T redis redis-cli ping 2>&1) == *NOAUTH* ]]
}

published_elsewhere()
{
	# shellcheck disable=SC2016  # a Go template
	compose ps -q | xargs -r /usr/bin/docker inspect -f \
		'{{range $p, $b := .HostConfig.PortBindings}}{{range $b}}{{.HostIp}} {{end}}{{end}}' |
		tr ' ' '\n' | grep -v -e '^127\.0\.0\.1$' -e '^$'
}

check_services()
{
	tap_ok 'secrets ends with 0' wait_for 60 finished_well secrets
	check_service postgres
	check_service redis
	check_service relay
	tap_ok 'PostgreSQL asks for the password' postgres_asks_password
	tap_ok 'PostgreSQL takes the password from the volume' postgres_takes_password
	tap_ok 'Redis asks for the password' redis_asks_password
	tap_is "$(published_elsewhere || true)" '' 'nothing is published but on 127.0.0.1'
}

check_programs()
{
	tap_ok 'setup ends with 0' wait_for 120 finished_well setup
	finished_well setup || tap_note "$(compose logs --no-color --tail=40 setup 2>&1)"
	check_program producer
	check_program dispatcher
	check_program feedback
	tap_ok "the campaign's $expected_mails mails arrive" wait_for 120 mails_are "$expected_mails"
	tap_note "mails in the relay: $(mails_in_relay)"
	tap_ok 'kairan status answers' compose run --rm kairan status
	tap_ok 'a second up changes nothing' compose up -d
	tap_ok 'no mail is sent twice' mails_are "$expected_mails"
}

main()
{
	local base=${TMPDIR:-/var/tmp} free

	case ${1:-} in
	--services) only_services=yes ;;
	'') ;;
	*)
		sed -n '4,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
		exit 2
		;;
	esac
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
			exec sudo -n env OFFICIAL="${OFFICIAL:-0}" KEEP="${KEEP:-0}" bash "$here/tools/check-compose.sh" "$@"
		fi
		tap_skip_all 'a private container engine needs root, and sudo asks for a password here'
	fi
	"$here/tools/deps.sh" compose | sed 's/^/# /' || tap_bail 'the engine is not installed'
	free=$(df -Pk "$base" | awk 'NR == 2 { print $4 }')
	[ "$free" -gt $((4 << 20)) ] || tap_skip_all "$base has less than 4 GB free"

	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	work=$(mktemp -d "$base/kairan-compose.XXXXXX")
	override_file >"$work/check.override.yml"
	tap_ok 'docker-compose.yml is valid for compose v1' docker-compose -f "$here/docker-compose.yml" config -q
	if docker compose version >/dev/null 2>&1; then
		tap_ok 'docker-compose.yml is valid for compose v2' docker compose -f "$here/docker-compose.yml" config -q
	else
		tap_skip 'docker-compose.yml is valid for compose v2' 'no compose v2 here'
	fi
	tap_ok 'docker-compose.yml holds no secret' has_no_secret
	engine_start
	if [ "${OFFICIAL:-0}" != 0 ]; then
		tap_note 'the official images'
		tap_ok 'official images are pulled' logged pull docker_cli pull postgres:15
		tap_ok 'redis is pulled' logged pull-redis docker_cli pull redis:7
	else
		tap_note 'postgres:15 and redis:7 are stand-ins built from Debian packages, not the official images'
		tap_ok 'the base image is made' base_image
		tap_ok 'the stand-ins are built' standin_images
	fi
	KAIRAN_HTTP_PORT=$(free_port)
	export KAIRAN_HTTP_PORT
	if [ "$only_services" = yes ]; then
		tap_ok 'images are built' logged build compose build secrets relay
		tap_ok 'the services come up' logged up compose up -d secrets postgres redis relay
		check_services
		tap_ok 'the relay takes a mail' relay_takes_mail
		tap_ok 'the mail arrives' wait_for 20 mails_are 1
	else
		tap_ok 'images are built' logged build compose build
		tap_ok 'everything comes up' logged up compose up -d
		check_services
		check_programs
	fi
	tap_done
}

main "$@"
