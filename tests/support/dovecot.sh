# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # read by the tests
#
# dovecot: a private Dovecot with one mailbox by IMAP and POP3, and LMTP into it, for tests; sourced after
# services.sh. Nothing of the system's own Dovecot is read or written. Needs root.
#
#   dovecot_available || skip "$DOVECOT_WHY_NOT"
#   dovecot_start DIR CERTIFICATE KEY     user kairan, password in DIR/password
#   dovecot_stop
#
# Exports DOVECOT_IMAP, DOVECOT_IMAPS, DOVECOT_POP3, DOVECOT_POP3S (ports on 127.0.0.1), DOVECOT_LMTP (a unix
# socket) and DOVECOT_MAIL (the Maildir). LMTP takes mail for kairan and for whom dovecot_user ADDRESS named.

DOVECOT_IMAP='' DOVECOT_IMAPS='' DOVECOT_POP3='' DOVECOT_POP3S='' DOVECOT_LMTP='' DOVECOT_MAIL='' DOVECOT_USERS='' DOVECOT_WHY_NOT=''

dovecot_available()
{
	if [ ! -x /usr/sbin/dovecot ] || [ ! -x /usr/lib/dovecot/imap ] || [ ! -x /usr/lib/dovecot/pop3 ] ||
		[ ! -x /usr/lib/dovecot/lmtp ]; then
		DOVECOT_WHY_NOT='Dovecot is not installed (Debian packages dovecot-imapd, dovecot-pop3d, dovecot-lmtpd)'
	elif [ "$(id -u)" -ne 0 ]; then
		DOVECOT_WHY_NOT='a private Dovecot needs root'
	else
		return 0
	fi
	return 1
}

dovecot_start()
{
	local dir=$1/dovecot

	mkdir -p "$dir/run" "$dir/lib" "$dir/mail"
	DOVECOT_MAIL=$dir/mail
	DOVECOT_IMAP=$(services_free_port) DOVECOT_IMAPS=$(services_free_port)
	DOVECOT_POP3=$(services_free_port) DOVECOT_POP3S=$(services_free_port)
	printf 'correct-horse\n' >"$1/password"
	chmod 600 "$1/password"
	DOVECOT_LMTP=$dir/run/lmtp-of-tests DOVECOT_USERS=$dir/users
	printf 'kairan:{PLAIN}correct-horse::::::\n' >"$DOVECOT_USERS"
	chown -R nobody "$dir/mail"
	chmod 755 "$dir" "$dir/run" "$dir/mail"
	cat >"$dir/dovecot.conf" <<-EOT
		base_dir = $dir/run
		state_dir = $dir/lib
		log_path = $dir/dovecot.log
		protocols = imap pop3 lmtp
		listen = 127.0.0.1
		ssl = yes
		ssl_cert = <$2
		ssl_key = <$3
		disable_plaintext_auth = no
		mail_location = maildir:$dir/mail
		first_valid_uid = 1
		mail_uid = nobody
		mail_gid = nogroup
		passdb {
		  driver = passwd-file
		  args = $dir/users
		}
		userdb {
		  driver = static
		  args = uid=nobody gid=nogroup home=$dir/mail
		}
		service imap-login {
		  chroot =
		  inet_listener imap {
		    port = $DOVECOT_IMAP
		  }
		  inet_listener imaps {
		    port = $DOVECOT_IMAPS
		  }
		}
		service pop3-login {
		  chroot =
		  inet_listener pop3 {
		    port = $DOVECOT_POP3
		  }
		  inet_listener pop3s {
		    port = $DOVECOT_POP3S
		  }
		}
		service lmtp {
		  unix_listener $DOVECOT_LMTP {
		    mode = 0666
		  }
		}
		service anvil {
		  chroot =
		}
	EOT
	service_spawn dovecot "$dir/start.log" /usr/sbin/dovecot -F -c "$dir/dovecot.conf" 2>/dev/null
	DOVECOT_PID=$SERVICE_PID
	services_wait 10 _dovecot_answers || { cat "$dir/start.log" "$dir/dovecot.log" >&2; return 1; }
}

# arguments: addresses that have a mailbox from now on
dovecot_user()
{
	printf '%s:{PLAIN}correct-horse::::::\n' "$@" >>"$DOVECOT_USERS"
}

_dovecot_answers()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$DOVECOT_IMAP") 2>/dev/null
}

dovecot_stop()
{
	service_stop "$DOVECOT_PID"
}
