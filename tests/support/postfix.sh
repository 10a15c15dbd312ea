# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# postfix: a private Postfix that owns many reserved domains, for tests, benches and the demo;
# sourced after services.sh. Real replies and real bounces, no network, no DNS, and nothing of
# the system's own Postfix is read or written. Needs root, or `sudo -n`.
#
#   postfix_available || skip "$POSTFIX_WHY_NOT"
#   postfix_start DIR domains=FILE [users=FILE] [unknown=PREFIX] [reject=FILE] [defer=FILE]
#                 [feedback='DOMAIN NEXTHOP'] [layout=domain|user] [conf='KEY = VALUE']...
#   postfix_stop DIR, postfix_rules DIR [reject=FILE] [defer=FILE], postfix_count DIR [DOMAIN]
#
# domains=   one domain a line; mail for them lands in POSTFIX_MAIL/DOMAIN/new/ (a Maildir),
#            with layout=user in POSTFIX_MAIL/DOMAIN/LOCALPART/new/
# users=     the addresses that exist, one a line; without it all exist whose local part does
#            not begin with PREFIX (default "unknown")
#            The others are accepted and come back as a real DSN: 5.1.1, unknown user.
# reject=    addresses or domains answered at RCPT with 550 5.1.1
# defer=     addresses or domains answered at RCPT with 450 4.2.0
# feedback=  where mail to the bounce domain goes: lmtp:inet:127.0.0.1:PORT or
#            lmtp:unix:/path (the user postfix must be able to connect)
#
# Exports POSTFIX_PORT (127.0.0.1), POSTFIX_MAIL (readable by the caller) and POSTFIX_LOG.

POSTFIX_PORT=
POSTFIX_MAIL=
POSTFIX_LOG=
POSTFIX_WHY_NOT=

_postfix_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -n -- "$@"
	fi
}

# false: POSTFIX_WHY_NOT says in words what is missing
postfix_available()
{
	PATH=$PATH:/usr/sbin:/sbin
	if ! command -v postfix >/dev/null || [ ! -x /usr/lib/postfix/sbin/master ]; then
		POSTFIX_WHY_NOT='Postfix is not installed (Debian package postfix)'
	elif [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
		POSTFIX_WHY_NOT='a private Postfix needs root, and sudo asks for a password here'
	else
		POSTFIX_WHY_NOT=
		return 0
	fi
	return 1
}

# arguments: FILE of domains or addresses, text of the reply; stdout: access(5) lines
_postfix_access()
{
	[ -z "$1" ] || awk -v reply="$2" 'NF && $1 !~ /^#/ { print tolower($1) " " reply }' "$1"
}

# arguments: DIR, FILE to reject, FILE to defer
_postfix_write_access()
{
	{
		_postfix_access "$2" '550 5.1.1 User unknown'
		_postfix_access "$3" '450 4.2.0 Mailbox busy, try again later'
	} >"$1/etc/access"
}

# arguments: DIR, FILE of domains, FILE of users, prefix, layout; mailbox table to stdout
_postfix_mailboxes()
{
	if [ -n "$3" ]; then
		awk -v layout="$5" 'NF && $1 !~ /^#/ {
			a = tolower($1); at = index(a, "@"); d = substr(a, at + 1)
			print a " " d "/" (layout == "user" ? substr(a, 1, at - 1) "/" : "") }' "$3"
	else
		# virtual(8) allows no substitution, so one line a domain
		printf 'if !/^%s/\n' "$4"
		awk 'NF && $1 !~ /^#/ { d = tolower($1); p = d; gsub(/[.]/, "\\.", p)
			print "/@" p "$/ " d "/" }' "$2"
		printf 'endif\n'
	fi
}

_postfix_main_cf()
{
	cat <<-EOT
		compatibility_level = 3.6
		queue_directory = $1/queue
		data_directory = $1/data
		maillog_file = $1/mail.log
		maillog_file_prefixes = $1
		inet_interfaces = 127.0.0.1
		inet_protocols = ipv4
		myhostname = mta.example
		myorigin = mta.example
		mydestination =
		mynetworks = 127.0.0.0/8
		local_recipient_maps =
		local_transport = error:5.1.1 no local mail here
		alias_maps =
		alias_database =
		biff = no
		recipient_delimiter = +
		enable_long_queue_ids = yes

		smtpd_relay_restrictions = permit_mynetworks, reject
		smtpd_recipient_restrictions = check_recipient_access texthash:$1/etc/access
		smtpd_reject_unlisted_recipient = no
		smtpd_peername_lookup = no
		smtpd_soft_error_limit = 100000
		smtpd_hard_error_limit = 100000
		smtpd_recipient_limit = 1000
		smtpd_client_connection_count_limit = 0
		smtpd_timeout = 300s
		local_header_rewrite_clients =

		disable_dns_lookups = yes
		smtp_dns_support_level = disabled
		smtp_host_lookup = native
		lmtp_host_lookup = native
		default_transport = error:5.1.2 no mail leaves this machine
		transport_maps = texthash:$1/etc/transport

		virtual_mailbox_domains = texthash:$1/etc/domains
		virtual_mailbox_maps = $2
		virtual_mailbox_base = $1/mail
		virtual_mailbox_limit = 0
		virtual_minimum_uid = 1
		virtual_uid_maps = static:$3
		virtual_gid_maps = static:$4

		default_process_limit = 50
		in_flow_delay = 0
		qmgr_message_active_limit = 20000
		qmgr_message_recipient_limit = 20000
		initial_destination_concurrency = 20
		default_destination_concurrency_limit = 20
		default_destination_concurrency_failed_cohort_limit = 10
		minimal_backoff_time = 2s
		maximal_backoff_time = 4s
		queue_run_delay = 2s
		maximal_queue_lifetime = 60s
		bounce_queue_lifetime = 60s
	EOT
}

_postfix_master_cf()
{
	cat <<-EOT
		127.0.0.1:$1 inet n - n - 100 smtpd
		postlog unix-dgram n - n - 1 postlogd
		pickup unix n - n 60 1 pickup
		cleanup unix n - n - 0 cleanup
		qmgr unix n - n 300 1 qmgr
		tlsmgr unix - - n 1000? 1 tlsmgr
		rewrite unix - - n - - trivial-rewrite
		bounce unix - - n - 0 bounce
		defer unix - - n - 0 bounce
		trace unix - - n - 0 bounce
		flush unix n - n 1000? 0 flush
		proxymap unix - - n - - proxymap
		smtp unix - - n - - smtp
		relay unix - - n - - smtp
		showq unix n - n - - showq
		error unix - - n - - error
		retry unix - - n - - error
		discard unix - - n - - discard
		virtual unix - n n - 16 virtual
		lmtp unix - - n - 10 lmtp
		anvil unix - - n - 1 anvil
		scache unix - - n - 1 scache
	EOT
}

# arguments: nexthop of feedback=, private directory; stdout: the same without blanks in it
_postfix_nexthop()
{
	case $1 in
	lmtp:unix:*[[:space:]]*)
		ln -sfn "$(dirname "${1#lmtp:unix:}")" "$2/feedback"
		printf 'lmtp:unix:%s/feedback/%s\n' "$2" "$(basename "$1")"
		;;
	*) printf '%s\n' "$1" ;;
	esac
}

_postfix_logs()
{
	grep -q 'postfix/master\[' "$1/mail.log"
}

# It greets, and its log is written.
_postfix_up()
{
	_postfix_root postfix -c "$1/etc" start >>"$1/start.log" 2>&1 &&
		services_wait 15 _postfix_greets "$POSTFIX_PORT" "$1/etc/main.cf" && services_wait 10 _postfix_logs "$1"
}

# The queue and the Maildirs live in memory where that is possible: every message is synced.
postfix_start()
{
	local dir=$1 domains='' users='' prefix=unknown reject='' defer='' feedback='' layout=domain
	local arg pf base=/tmp extra=() uid gid maps

	shift
	for arg in "$@"; do
		case $arg in
		domains=*) domains=${arg#*=} ;;
		users=*) users=${arg#*=} ;;
		unknown=*) prefix=${arg#*=} ;;
		reject=*) reject=${arg#*=} ;;
		defer=*) defer=${arg#*=} ;;
		feedback=*) feedback=${arg#*=} ;;
		layout=*) layout=${arg#*=} ;;
		conf=*) extra+=("${arg#*=}") ;;
		*) services_fail "postfix_start does not know '$arg'"; return 1 ;;
		esac
	done
	postfix_available || { services_fail "$POSTFIX_WHY_NOT"; return 1; }
	[ -r "$domains" ] || { services_fail 'postfix_start needs domains=FILE'; return 1; }
	if [ "$layout" = user ] && [ -z "$users" ]; then
		services_fail 'layout=user needs users=FILE'
		return 1
	fi
	[ ! -w /dev/shm ] || base=/dev/shm
	pf=$(mktemp -d "$base/kairan-postfix.XXXXXX") || return 1
	chmod 711 "$pf"
	ln -sfn "$pf" "$dir/postfix"
	mkdir "$pf/etc" "$pf/queue" "$pf/data" "$pf/mail"
	uid=$(id -u)
	gid=$(id -g)
	if [ "$uid" -eq 0 ]; then
		uid=$(id -u nobody)
		gid=$(id -g nobody)
		chown nobody "$pf/mail"
	fi
	if [ -n "$users" ]; then maps=texthash; else maps=regexp; fi
	awk 'NF && $1 !~ /^#/ { print tolower($1) " here" }' "$domains" >"$pf/etc/domains"
	_postfix_mailboxes "$pf" "$domains" "$users" "$prefix" "$layout" >"$pf/etc/mailboxes"
	_postfix_write_access "$pf" "$reject" "$defer"
	if [ -n "$feedback" ]; then
		printf '%s %s\n' "${feedback%% *}" "$(_postfix_nexthop "${feedback#* }" "$pf")"
	fi >"$pf/etc/transport"
	POSTFIX_PORT=$(services_free_port) || return 1
	_postfix_main_cf "$pf" "$maps:$pf/etc/mailboxes" "$uid" "$gid" >"$pf/etc/main.cf"
	printf '%s\n' "${extra[@]+"${extra[@]}"}" >>"$pf/etc/main.cf"
	_postfix_master_cf "$POSTFIX_PORT" >"$pf/etc/master.cf"
	: >"$pf/etc/dynamicmaps.cf"
	: >"$pf/mail.log"
	_postfix_root chown -R root:root "$pf/etc" "$pf/queue" "$pf/mail.log" || return 1
	_postfix_root chown postfix "$pf/data" || return 1
	_services_postfix+=("$dir")
	# seen once: its postlogd did not run, and everybody waited for room in the queue of what is to be logged
	if ! _postfix_up "$pf" && { _postfix_root postfix -c "$pf/etc" abort >>"$pf/start.log" 2>&1 || true; ! _postfix_up "$pf"; }; then
		cat "$pf/start.log" "$pf/mail.log" >&2
		services_fail 'Postfix did not start'
		return 1
	fi
	POSTFIX_MAIL=$pf/mail
	POSTFIX_LOG=$pf/mail.log
	export POSTFIX_PORT POSTFIX_MAIL POSTFIX_LOG
}

_postfix_greets()
{
	local line=''

	# TLS from the first byte: a connection must do
	if grep -q '^smtpd_tls_wrappermode *= *yes' "$2"; then
		(exec 8<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
		return
	fi
	{ exec 8<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
	read -r -t 5 line <&8 || true
	printf 'QUIT\r\n' >&8 || true
	exec 8>&-
	[ "${line:0:3}" = 220 ]
}

# New answers at RCPT from now on; a list not named is empty.
postfix_rules()
{
	local dir=$1 arg reject='' defer='' pf

	shift
	for arg in "$@"; do
		case $arg in
		reject=*) reject=${arg#*=} ;;
		defer=*) defer=${arg#*=} ;;
		*) services_fail "postfix_rules does not know '$arg'"; return 1 ;;
		esac
	done
	pf=$(readlink "$dir/postfix") || return 1
	mkdir -p "$dir/postfix-rules/etc" || return 1
	_postfix_write_access "$dir/postfix-rules" "$reject" "$defer"
	_postfix_root cp "$dir/postfix-rules/etc/access" "$pf/etc/access" || return 1
	_postfix_root postfix -c "$pf/etc" reload >>"$pf/start.log" 2>&1 || return 1
}

# arguments: DIR, domain (default: all); stdout: messages in the Maildirs
postfix_count()
{
	local mail

	mail=$(readlink "$1/postfix")/mail
	[ -z "${2:-}" ] || mail=$mail/$2
	if [ -d "$mail" ]; then
		find "$mail" -type f -path '*/new/*' -printf . | wc -c
	else
		echo 0
	fi
}

postfix_stop()
{
	local dir=${1:-$SERVICES_DIR} left=() each pf

	for each in "${_services_postfix[@]+"${_services_postfix[@]}"}"; do
		[ "$each" = "$dir" ] || left+=("$each")
	done
	_services_postfix=("${left[@]+"${left[@]}"}")
	pf=$(readlink "$dir/postfix") || return 0
	_postfix_root postfix -c "$pf/etc" abort >>"$dir/postfix.stop.log" 2>&1 || true
	if [ "${KEEP:-0}" != 0 ]; then
		services_say "kept: $pf"
	else
		_postfix_root rm -rf "$pf"
		rm -f "$dir/postfix"
	fi
}
