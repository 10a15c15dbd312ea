#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run COMMAND...: starts a program in its container. Redis's password comes from its file into the
# URL, in the environment of that one process; PostgreSQL's stay in the file PGPASSFILE names.
set -eu

case ${KAIRAN_REDIS_URL:-} in
redis://*@*) ;;
redis://*)
	KAIRAN_REDIS_URL="redis://:$(cat /secrets/kairan/redis-password)@${KAIRAN_REDIS_URL#redis://}"
	export KAIRAN_REDIS_URL
	;;
esac
exec "$@"
