#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The server runs as the user redis, as in the official image.
set -eu

if [ "$(id -u)" = 0 ]; then
	find . ! -user redis -exec chown redis '{}' +
	exec setpriv --reuid redis --regid redis --init-groups "$0" "$@"
fi
exec "$@"
