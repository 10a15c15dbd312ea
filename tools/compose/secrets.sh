#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# secrets: makes the passwords of the compose set-up, once. Each volume goes only to the services
# that need it; that is why some files in them can be read by any user.
set -eu
umask 077

random()
{
	head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

if [ -e /secrets/kairan/complete ]; then
	echo 'secrets: already there'
	exit 0
fi

database=$(random)
redis=$(random)

printf '%s' "$database" >/secrets/postgres/password
printf '%s' "$redis" >/secrets/redis/password
cat >/secrets/redis/redis.conf <<END
port 6379
protected-mode no
requirepass $redis
save ""
appendonly no
dir /data
END
# the server's own user comes from an image that is not ours
chmod 0755 /secrets/postgres /secrets/redis
chmod 0444 /secrets/postgres/password /secrets/redis/password /secrets/redis/redis.conf

printf 'postgres:5432:kairan:kairan:%s\n' "$database" >/secrets/owner/pgpass
printf '%s' "$redis" >/secrets/kairan/redis-password
: >/secrets/kairan/complete
echo 'secrets: made'
