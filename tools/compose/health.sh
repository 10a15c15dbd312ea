#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# health relay|program|feedback|mails: what the healthchecks of docker-compose.yml ask. bash,
# for /dev/tcp: the images have no curl and no netcat.
set -euo pipefail

# arguments: port, text to send, what the first line must begin with
says()
{
	local line=''

	exec 3<>"/dev/tcp/127.0.0.1/$1"
	[ -z "$2" ] || printf '%b' "$2" >&3
	IFS= read -r -t 4 line <&3 || true
	[ -n "$2" ] || printf 'QUIT\r\n' >&3
	case $line in
	"$3"*) return 0 ;;
	esac
	printf 'port %s says: %s\n' "$1" "$line" >&2
	return 1
}

case ${1:-} in
relay) says 25 '' '220 ' ;;
program) kairan status --json >/dev/null ;;
feedback)
	says 2424 '' '220 '
	# any answer will do: nobody but the sender of notices has business there
	says 8080 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' 'HTTP/1.1 '
	;;
mails) find /var/mail/kairan -type f -path '*/new/*' -printf . | wc -c ;;
*)
	echo 'usage: health.sh relay|program|feedback|mails' >&2
	exit 2
	;;
esac
