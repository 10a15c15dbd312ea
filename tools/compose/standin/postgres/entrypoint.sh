#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD or _FILE, POSTGRES_INITDB_ARGS: as the official
# image understands them. During initialisation the server listens on its unix socket only.
set -eu

if [ "$(id -u)" = 0 ]; then
	chown postgres:postgres "$PGDATA" /var/run/postgresql
	chmod 0700 "$PGDATA"
	exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	user=${POSTGRES_USER:-postgres}
	password=/tmp/password
	umask 077
	if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
		cat "$POSTGRES_PASSWORD_FILE" >"$password"
	else
		printf '%s' "${POSTGRES_PASSWORD:?a password is needed}" >"$password"
	fi
	echo >>"$password"
	# the arguments are words for initdb
	# shellcheck disable=SC2086
	initdb -U "$user" --pwfile="$password" ${POSTGRES_INITDB_ARGS:-}
	rm -f "$password"
	printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
	pg_ctl -w -s -o "-c listen_addresses=''" start
	[ "${POSTGRES_DB:-$user}" = postgres ] ||
		createdb --no-password -U "$user" --maintenance-db=postgres "${POSTGRES_DB:-$user}"
	pg_ctl -w -s -m fast stop
fi
exec "$@" -c listen_addresses='*'
