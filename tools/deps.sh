#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# deps: makes sure the Debian 12 packages that a target needs are installed.
#
#   tools/deps.sh [build] [services] [test] [fuzz] [bench] [demo] [compose] [pages]     default: build
#   tools/deps.sh --list SET...                                          print the names only
#
# With everything there it prints one line and changes nothing. Otherwise it installs exactly
# the missing packages. It never removes or upgrades a named package, starts or enables no
# service, and creates no default PostgreSQL cluster. Not on Debian 12: prints what is missing
# and ends with 1. KAIRAN_SKIP_DEPS=1 skips the check (you brought the libraries yourself).
set -euo pipefail

# The one place where package names are kept.
packages_of()
{
	case $1 in
	build)
		echo gcc libc6-dev make pkg-config libpq-dev libhiredis-dev libssl-dev libjansson-dev \
			libcurl4-openssl-dev libuv1-dev libmicrohttpd-dev libinih-dev libidn2-dev libunistring-dev \
			libc-ares-dev libseccomp-dev
		;;
	services) echo postgresql-15 postgresql-client-15 redis-server redis-tools postfix ;;
	test)
		packages_of build
		packages_of services
		echo libcmocka-dev clang-format shellcheck mandoc perl python3 curl openssl \
			python3-dkim python3-nacl opendkim-tools knot unbound jq dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd libgmime-3.0-dev \
			prometheus
		;;
	fuzz)
		packages_of build
		echo clang libclang-rt-14-dev
		;;
	bench)
		packages_of demo
		echo libgmime-3.0-dev nginx-light wrk stunnel4 nodejs node-nodemailer
		;;
	demo)
		packages_of build
		packages_of services
		echo curl openssl python3
		;;
	compose) echo docker.io docker-compose debootstrap ;;
	pages) echo chromium fonts-noto-cjk ;;
	*) return 1 ;;
	esac
}

# Packages whose services stay off when this script brings them in.
is_service_package()
{
	case $1 in
	postgresql* | redis* | postfix* | nginx* | knot | unbound | dovecot* | stunnel4 | prometheus* | docker.io | containerd | ssl-cert) return 0 ;;
	*) return 1 ;;
	esac
}

say()
{
	printf 'deps: %s\n' "$*"
}

complain()
{
	printf 'deps: %s\n' "$*" >&2
}

have_dpkg()
{
	command -v dpkg-query >/dev/null
}

# stdout: one installed package name a line
installed_packages()
{
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u
}

# arguments: names; stdout: those that are not installed
missing_of()
{
	if ! have_dpkg; then
		printf '%s\n' "$@"
		return
	fi
	comm -23 <(printf '%s\n' "$@" | sort -u) <(installed_packages)
}

is_debian_12()
{
	have_dpkg && command -v apt-get >/dev/null && [ -r /etc/os-release ] &&
		(
			# shellcheck disable=SC1091
			. /etc/os-release
			[ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ]
		)
}

# ---- the part that runs as root --------------------------------------------------------

policy=/usr/sbin/policy-rc.d
policy_saved=/usr/sbin/policy-rc.d.before-kairan-deps
cluster_dir=/etc/postgresql-common/createcluster.d
cluster_snippet=$cluster_dir/zz-kairan-deps.conf
policy_made=no
made_dirs=()
log=
before=

# Everything temporary is undone here, on success, failure and signals alike.
restore()
{
	local dir

	if [ "$policy_made" = yes ]; then
		rm -f "$policy"
		if [ -e "$policy_saved" ] || [ -L "$policy_saved" ]; then
			mv -f "$policy_saved" "$policy"
		fi
		policy_made=no
	fi
	rm -f "$cluster_snippet"
	for dir in "${made_dirs[@]+"${made_dirs[@]}"}"; do
		rmdir --ignore-fail-on-non-empty "$dir" 2>/dev/null || true
	done
	made_dirs=()
	rm -f "${log:-/nonexistent}" "${before:-/nonexistent}"
}

# An existing policy that already forbids starting stays untouched; any other one is moved
# aside as it is and moved back.
forbid_starting()
{
	local answer=0

	# left behind by a run that was killed
	if [ -e "$policy_saved" ] || [ -L "$policy_saved" ]; then
		mv -f "$policy_saved" "$policy"
	fi
	if [ -x "$policy" ]; then
		"$policy" kairan-deps-probe start >/dev/null 2>&1 || answer=$?
		[ "$answer" -ne 101 ] || return 0
	fi
	policy_made=yes
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		mv "$policy" "$policy_saved"
	fi
	printf '#!/bin/sh\n# put here for a moment by tools/deps.sh of Kairan\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# Debian's createcluster.conf includes this directory, so no conffile is touched.
forbid_main_cluster()
{
	local dir

	for dir in /etc/postgresql-common "$cluster_dir"; do
		if [ ! -d "$dir" ]; then
			mkdir "$dir"
			made_dirs=("$dir" "${made_dirs[@]+"${made_dirs[@]}"}")
		fi
	done
	printf 'create_main_cluster = false\n' >"$cluster_snippet"
}

# arguments: packages that came with this run; their units go back to disabled
disable_units_of()
{
	local package unit script

	for package in "$@"; do
		is_service_package "$package" || continue
		while IFS= read -r unit; do
			unit=${unit##*/}
			case $unit in
			*@.*) continue ;;
			esac
			if command -v systemctl >/dev/null; then
				systemctl --quiet disable "$unit" >/dev/null 2>&1 || true
			fi
		done < <(dpkg-query -L "$package" | grep -E '/systemd/system/[^/]+\.(service|socket|timer|path)$')
		while IFS= read -r script; do
			if command -v update-rc.d >/dev/null; then
				update-rc.d "${script##*/}" disable >/dev/null 2>&1 || true
			fi
		done < <(dpkg-query -L "$package" | grep -E '^/etc/init\.d/[^/]+$')
	done
}

apt()
{
	apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Another mail server would have to go for Postfix: then Postfix is left out, said clearly.
without_conflicts()
{
	local package left=()

	if apt install -s --no-remove --no-install-recommends "$@" >/dev/null 2>&1; then
		printf '%s\n' "$@"
		return
	fi
	for package in "$@"; do
		[ "$package" = postfix ] || left+=("$package")
	done
	if [ ${#left[@]} -lt $# ] &&
		{ [ ${#left[@]} -eq 0 ] ||
			apt install -s --no-remove --no-install-recommends "${left[@]}" >/dev/null 2>&1; }; then
		complain 'postfix is left out: it would replace the mail server installed here.' \
			'Tests and the demo that need it say so and are skipped.'
		[ ${#left[@]} -eq 0 ] || printf '%s\n' "${left[@]}"
		return
	fi
	printf '%s\n' "$@"
}

install_as_root()
{
	local wanted=() status=0

	umask 022
	exec 9>/run/lock/kairan-deps.lock
	flock 9
	mapfile -t wanted < <(missing_of "$@")
	if [ ${#wanted[@]} -eq 0 ]; then
		say "all $# packages are installed"
		return
	fi
	say "installing: ${wanted[*]}"
	trap restore EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	log=$(mktemp)
	before=$(mktemp)
	installed_packages >"$before"
	apt update >"$log" 2>&1 || complain 'apt-get update failed; trying with the lists that are here'
	mapfile -t wanted < <(without_conflicts "${wanted[@]}")
	[ ${#wanted[@]} -gt 0 ] || return 0

	forbid_starting
	forbid_main_cluster
	export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true NEEDRESTART_SUSPEND=1
	case " ${wanted[*]} " in
	*' postfix '*)
		printf 'postfix postfix/main_mailer_type select No configuration\n' | debconf-set-selections
		;;
	esac
	apt install -y --no-remove --no-upgrade --no-install-recommends "${wanted[@]}" \
		>>"$log" 2>&1 </dev/null || status=$?
	mapfile -t wanted < <(comm -13 "$before" <(installed_packages))
	disable_units_of "${wanted[@]+"${wanted[@]}"}"
	if [ "$status" -ne 0 ]; then
		tail -n 30 "$log" >&2
		complain "apt-get install failed ($status)"
		return 1
	fi
	say "installed ${#wanted[@]} packages, no service started or enabled"
}

# ---- the part that anybody runs --------------------------------------------------------

become_root()
{
	local self

	self=$(realpath "${BASH_SOURCE[0]}")
	if [ "$(id -u)" -eq 0 ]; then
		install_as_root "$@"
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		sudo -n -- bash "$self" --install "$@"
	elif command -v sudo >/dev/null && [ -t 0 ]; then
		say 'some packages are missing; sudo will ask for your password'
		sudo -- bash "$self" --install "$@"
	else
		complain 'some packages are missing, and neither root nor sudo is at hand. As root, run:'
		complain "  apt-get install --no-install-recommends $*"
		return 1
	fi
}

main()
{
	local set list=no wanted=() missing=()

	case ${1:-} in
	--list)
		list=yes
		shift
		;;
	--install)
		shift
		[ "$(id -u)" -eq 0 ] || { complain '--install is for root'; return 2; }
		install_as_root "$@"
		return
		;;
	-h | --help)
		sed -n '4,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
		return
		;;
	esac
	[ $# -gt 0 ] || set -- build
	for set in "$@"; do
		if ! packages_of "$set" >/dev/null; then
			complain "unknown set '$set': build, services, test, fuzz, bench, demo, compose"
			return 2
		fi
	done
	mapfile -t wanted < <(for set in "$@"; do packages_of "$set"; done | tr ' ' '\n' | sort -u)
	if [ "$list" = yes ]; then
		printf '%s\n' "${wanted[@]}"
		return
	fi
	if [ "${KAIRAN_SKIP_DEPS:-0}" != 0 ]; then
		say 'not checked (KAIRAN_SKIP_DEPS)'
		return
	fi
	mapfile -t missing < <(missing_of "${wanted[@]}")
	if [ ${#missing[@]} -eq 0 ]; then
		say "all ${#wanted[@]} packages for '$*' are installed"
		return
	fi
	if ! is_debian_12; then
		complain 'this is not Debian 12, so nothing is installed. Please bring these yourself'
		complain '(names as in Debian 12), then set KAIRAN_SKIP_DEPS=1:'
		printf '  %s\n' "${missing[@]}" >&2
		return 1
	fi
	become_root "${missing[@]}"
}

main "$@"
