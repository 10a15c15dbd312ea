#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check-exim: a campaign of 340 recipients through a real Exim, as TAP: STARTTLS, PIPELINING, CHUNKING
# and DSN are used, mailboxes have each mail once, and what Exim sends back is classified and matched.
#
# Exim's package conflicts with Postfix, so nothing is installed: the packages are fetched by apt-get
# into a folder, unpacked there, and run in it by chroot with the libraries of this system beside
# them. The folder goes at the end. Needs root or `sudo -n`, and `mknod`; listens on the loopback only.
#
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$(id -u)" -eq 0 ] || exec sudo -n -- env "KAIRAN_BIN=${KAIRAN_BIN:-}" "KEEP=${KEEP:-0}" bash "$PWD/tools/check-exim.sh"
export KAIRAN_BIN=${KAIRAN_BIN:-bin}
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh

EXIM_ID=64990 # user and group of Exim, known in its folder only

# ---- Exim -------------------------------------------------------------------------------------------

# arguments: folder; the packages of Exim that are not installed here
exim_fetch()
{
	local wanted

	mkdir -p "$1/packages"
	chmod 777 "$1/packages" # apt-get downloads as a user of its own
	# only asked what it would do
	wanted=$(apt-get -s install --no-install-recommends exim4-daemon-light 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
	if [ -z "$wanted" ]; then
		apt-get -q update >"$1/update.log" 2>&1
		wanted=$(apt-get -s install --no-install-recommends exim4-daemon-light | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
	fi
	# shellcheck disable=SC2086 # several names
	(cd "$1/packages" && apt-get -q download ${wanted:-exim4-daemon-light exim4-base exim4-config})
}

# arguments: folder, which becomes the root of Exim
exim_unpack()
{
	local root=$1/jail package library

	mkdir -p "$root"
	for package in "$1"/packages/*.deb; do
		dpkg-deb -x "$package" "$root"
	done
	mkdir -p "$root/dev" "$root/tmp" "$root/mail" "$root/etc/exim4" "$root/var/spool/exim4" "$root/var/log/exim4"
	mknod -m 666 "$root/dev/null" c 1 3
	mknod -m 666 "$root/dev/urandom" c 1 9
	# what it is linked with and did not bring along; a line is "NAME => PATH (…)" or "PATH (…)"
	LD_LIBRARY_PATH=$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu") \
		ldd "$root/usr/sbin/exim4" | sed -nE 's/.*[[:space:]](\/[^ ]+) \(.*/\1/p' >"$1/libraries"
	while IFS= read -r library; do
		case $library in
		"$root"/*) ;;
		*) cp -L --parents "$library" "$root" ;;
		esac
	done <"$1/libraries"
	printf 'root:x:0:0::/:/bin/false\nDebian-exim:x:%d:%d::/var/spool/exim4:/bin/false\n' "$EXIM_ID" "$EXIM_ID" >"$root/etc/passwd"
	printf 'root:x:0:\nmail:x:8:\nDebian-exim:x:%d:\n' "$EXIM_ID" >"$root/etc/group"
	chown -R "$EXIM_ID:$EXIM_ID" "$root/var/spool/exim4" "$root/var/log/exim4" "$root/mail"
	chmod 1777 "$root/tmp"
}

# arguments: folder, port, port of kairan-feedback (LMTP), port of the remote server
exim_configure()
{
	install -m 640 -g "$EXIM_ID" "$D/ca/exim.pem" "$D/ca/exim.key" "$1/jail/etc/exim4/"
	cat >"$1/jail/etc/exim4/exim4.conf" <<-EOT
		primary_hostname = exim.example
		domainlist local_domains = box.example
		local_interfaces = 127.0.0.1
		daemon_smtp_ports = $2
		log_selector = +pipelining +tls_cipher
		keep_environment =
		tls_advertise_hosts = *
		tls_certificate = /etc/exim4/exim.pem
		tls_privatekey = /etc/exim4/exim.key
		chunking_advertise_hosts = *
		dsn_advertise_hosts = *
		pipelining_advertise_hosts = *
		smtp_accept_max = 100
		smtp_accept_max_per_connection = 0
		smtp_accept_max_nonmail = 1000
		acl_smtp_rcpt = at_rcpt
		acl_smtp_data = accept

		begin acl
		at_rcpt:
		  deny local_parts = ^gone
		       message = 550 5.1.1 <\$local_part@\$domain>: no such user
		  accept

		begin routers
		unknown:
		  driver = redirect
		  domains = +local_domains
		  local_parts = ^unknown
		  allow_fail
		  data = :fail: no such user here
		full:
		  driver = accept
		  domains = +local_domains
		  local_parts = ^full
		  transport = full_maildir
		mailboxes:
		  driver = accept
		  domains = +local_domains
		  transport = maildir
		bounces:
		  driver = manualroute
		  domains = bounces.example.org
		  route_data = 127.0.0.1
		  self = send
		  transport = feedback
		remote:
		  driver = manualroute
		  domains = remote.example
		  route_data = 127.0.0.1
		  self = send
		  transport = remote

		begin transports
		maildir:
		  driver = appendfile
		  directory = /mail/\$domain_data
		  maildir_format
		  delivery_date_add
		  envelope_to_add
		  return_path_add
		  user = Debian-exim
		full_maildir:
		  driver = appendfile
		  directory = /mail/full
		  maildir_format
		  quota = 1
		  user = Debian-exim
		feedback:
		  driver = smtp
		  protocol = lmtp
		  port = $3
		  allow_localhost
		  hosts_try_fastopen =
		remote:
		  driver = smtp
		  port = $4
		  allow_localhost
		  hosts_avoid_tls = *

		begin retry
		# a full mailbox has no rule: it is returned at once
		box.example quota
		* * F,1m,1s
	EOT
}

exim_greets()
{
	local line=''

	{ exec 8<>"/dev/tcp/127.0.0.1/$EXIM_PORT"; } 2>/dev/null || return 1
	read -r -t 5 line <&8 || true
	printf 'QUIT\r\n' >&8 || true
	exec 8>&-
	[ "${line:0:3}" = 220 ]
}

exim_start()
{
	local folder=$D/exim

	exim_fetch "$folder" >"$folder.fetch.log" 2>&1 || { cat "$folder.fetch.log"; tap_bail 'Exim cannot be fetched'; }
	exim_unpack "$folder" >"$folder.unpack.log" 2>&1 || { cat "$folder.unpack.log"; tap_bail 'Exim cannot be unpacked here'; }
	exim_configure "$folder" "$EXIM_PORT" "$LMTP_PORT" "$RELAY_PORT"
	service_spawn exim "$folder.log" chroot "$folder/jail" /usr/sbin/exim4 -bdf -q1s 2>/dev/null
	services_wait 30 exim_greets || { cat "$folder.log" "$folder/jail/var/log/exim4/"*; tap_bail 'Exim does not start'; }
	EXIM_LOG=$folder/jail/var/log/exim4/mainlog EXIM_MAIL=$folder/jail/mail
}

# ---- the campaign --------------------------------------------------------------------------------------

pipeline_start
[ -x "$BIN/kairan-feedback" ] || tap_bail "$BIN/kairan-feedback is not built"
EXIM_PORT=$(services_free_port)
LMTP_PORT=$(services_free_port)
ca_make "$D/ca"
ca_issue "$D/ca" exim DNS:exim.example
mkdir "$D/exim"
exim_start
tap_note "$("$D/exim/jail/usr/sbin/exim4" --version 2>/dev/null | head -n 1 || dpkg-deb -f "$D"/exim/packages/exim4-daemon-light*.deb Version)"

service_spawn feedback "$D/feedback.log" env "KAIRAN_FEEDBACK_LMTP_LISTEN=127.0.0.1:$LMTP_PORT" "$BIN/kairan-feedback" 2>/dev/null
FEEDBACK=$SERVICE_PID
customers_add 240 box.example
customers_add 30 box.example unknown
customers_add 10 box.example full
customers_add 20 box.example gone
customers_add 20 remote.example
customers_add 20 remote.example hard
campaign_add through
# a third of these addresses is dead on purpose
sql -c 'UPDATE kairan.stream SET bounce_line_per_cent = 99'
producer_start

SETTINGS=("KAIRAN_RELAY_PORT=$EXIM_PORT" KAIRAN_RELAY_TLS=required "KAIRAN_RELAY_TLS_CA_FILE=$D/ca/ca.pem"
	KAIRAN_RELAY_TLS_NAME=exim.example KAIRAN_RELAY_CONNECTIONS=4)

# arguments: local part begins with, columns; stdout: their different values among those recipients
said()
{
	one "string_agg(DISTINCT concat_ws(' ', $2), '; ') FROM kairan.send WHERE run_id = $RUN AND address LIKE '$1%'"
}

# arguments: run key, settings of the dispatcher; everything that a run through Exim must show
campaign()
{
	local key=$1

	shift
	dispatcher_start "$key" "${SETTINGS[@]}" "$@"
	RUN=$(run_add through "$key")
	tap_ok "$key: the run ends" run_wait "$RUN" finished 60
	tap_is "$(run_states "$RUN")" 'sent 320, failed 20' '  ... all are sent but those refused at RCPT'
	tap_is "$(said gone 'code, enhanced, class, reason')" '550 5.1.1 hard user_unknown' '  ... who are told apart'
	tap_ok '  ... 60 bounces come back and are matched' wait_for 60 "count(*) = 60 FROM kairan.send WHERE run_id = $RUN AND bounced_at IS NOT NULL"
	tap_is "$(said unknown 'bounced_at IS NOT NULL, class, reason')" 't hard user_unknown' '  ... unknown users, in the words of Exim'
	tap_is "$(said hard 'bounced_at IS NOT NULL, class, reason, enhanced')" 't hard user_unknown 5.1.1' '  ... unknown users of a server behind it'
	tap_is "$(said full 'bounced_at IS NOT NULL, class, reason')" 't soft mailbox_full' '  ... full mailboxes'
	tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND bounced_at IS NOT NULL AND address LIKE 'ok%'")" 0 '  ... nobody else'
	service_stop "$DISPATCHER" || tap_note "the dispatcher ended with $?"
}

# arguments: pattern; how many messages Exim took by a line that has it
received()
{
	grep ' <= b+' "$EXIM_LOG" | grep -cE "$1" || true
}

campaign chunking KAIRAN_RELAY_CHUNKING=yes
tap_is "$(received 'P=esmtps .*X=TLS1\.3')" 320 'all by STARTTLS'
tap_is "$(received ' K ')" 320 '  ... with CHUNKING'
# L. or L*: whether clients may speak before the greeting; L-: nobody pipelined
tap_is "$(received ' L[.*]? ')" 320 '  ... with PIPELINING'
tap_is "$(one "count(*) FROM kairan.feedback_event WHERE run_id IS NULL OR send_id IS NULL")" 0 'no bounce is without its recipient'

sql -c 'DELETE FROM kairan.suppression'
campaign plain KAIRAN_RELAY_CHUNKING=no
tap_is "$(received ' K ')" 320 'by DATA the second time'
sql -c 'DELETE FROM kairan.suppression'

"$PYTHON" tests/support/maildir_truth.py --name exim "$EXIM_MAIL/box.example" >>"$TRUTH"
truth_load
tap_is "$(one "string_agg(n::text, ' ') FROM (SELECT count(*) AS n FROM test.truth WHERE address LIKE 'ok%' GROUP BY run ORDER BY run) AS t")" '260 260' \
	'each run is in the mailboxes'
tap_is "$(one "count(*) FROM (SELECT FROM test.truth WHERE kept GROUP BY run, send HAVING count(*) > 1) AS t")" 0 '  ... nobody twice'
programs_stopped 'the programs end well' "$PRODUCER" "$FEEDBACK"
tap_done
