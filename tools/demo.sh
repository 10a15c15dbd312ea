#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo: a day of Kairan on real parts: PostgreSQL, Redis and Postfix of its own, 5,000
# customers, two campaigns, bounces, complaints. No mail can leave this machine.
#
#   tools/demo.sh [--customers N] [--bin DIR]      make demo
#   KEEP=1 tools/demo.sh                           leaves everything up
#   tools/demo.sh down                             ends what KEEP=1 left up
#
# Works in demo/, which is made anew each time. --bin DIR takes the programs from there and
# builds nothing. The last line on standard output is one JSON object; the exit status is 0
# when all its figures fit together.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
demo=$root/demo
data=$root/tools/demo
bin=$root/bin
customers=5000
keep=${KEEP:-0}
left_up=no
daemons=()	# name=pid
waiter=		# pid of `kairan campaign start`
failed_rules=0
python=/usr/bin/python3
started=$SECONDS

# The caller's own database, relay or client settings must not be met.
skip_deps=${KAIRAN_SKIP_DEPS:-0}
unset "${!KAIRAN_@}" "${!PG@}"
export KEEP=0 PGCLIENTENCODING=UTF8 PYTHONUTF8=1

# shellcheck source=tests/support/services.sh
. "$root/tests/support/services.sh"
# shellcheck source=tests/support/postfix.sh
. "$root/tests/support/postfix.sh"

bold='' dim='' plain='' live=no
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m' live=yes
fi

complain()
{
	printf 'demo: %s\n' "$*" >&2
}

die()
{
	complain "$@"
	exit 1
}

step()
{
	printf '\n%s== %s%s %s(%d s)%s\n' "$bold" "$*" "$plain" "$dim" $((SECONDS - started)) "$plain"
}

say()
{
	printf '   %s\n' "$*"
}

# ---- tools ------------------------------------------------------------------------------

kairan()
{
	"$bin/kairan" "$@"
}

helper()
{
	"$python" "$data/demo.py" "$@"
}

# stdin: JSON object; stdout: the values of the keys in the arguments
get()
{
	helper get "$@"
}

# stdout: one value, or lines of values with tabs between
sql()
{
	psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -d "$database" -c "$1"
}

# What an operator would type, and what he would see
table()
{
	printf '%s   %s%s\n' "$dim" "$1" "$plain"
	psql -X -q -v ON_ERROR_STOP=1 -P pager=off -P footer=off -P format=wrapped -P columns=97 \
		-d "$database" -c "$1" | sed -e '$d' -e 's/^/  /'
}

# files in the queue of Postfix
queue_length()
{
	local queue

	queue=$(readlink "$demo/postfix")/queue
	# a file that moves between two folders while find looks may be missed or complained about
	{ _postfix_root find "$queue/maildrop" "$queue/incoming" "$queue/active" "$queue/deferred" \
		-type f 2>/dev/null || true; } | wc -l
}

# Until Postfix has nothing in hand: every mail lies in a Maildir, or its report was taken.
wait_for_queue()
{
	local deadline=$((SECONDS + 90)) quiet=0 left back

	while [ "$quiet" -lt 4 ]; do
		left=$(queue_length)
		back=$(sql 'SELECT coalesce(sum(bounced), 0) FROM kairan.campaign_progress')
		if [ "$live" = yes ]; then
			printf '\r\033[K   %d in the queue of Postfix, %d reports came back' "$left" "$back"
		fi
		if [ "$left" -eq 0 ]; then quiet=$((quiet + 1)); else quiet=0; fi
		if [ "$SECONDS" -ge "$deadline" ]; then
			_postfix_root find "$(readlink "$demo/postfix")/queue" -type f -ls >"$demo/queue"
			die "the queue of Postfix does not empty: $left left; see demo/queue, demo/postfix.log"
		fi
		sleep 0.15
	done
	[ "$live" = no ] || printf '\r\033[K'
}

# ---- the way down -----------------------------------------------------------------------

# Ends the programs in demo/pids, whoever started them, then the services.
stop_everything()
{
	local name pid

	[ -e "$demo/.made-by-demo" ] || return 0
	while read -r name pid; do
		case $(readlink "/proc/$pid/exe" 2>/dev/null) in
		*/"$name" | */"$name (deleted)") _services_end "$pid" TERM ;;
		esac
	done < <(cat "$demo/pids" 2>/dev/null)
	rm -f "$demo/pids"
	if [ -e "$demo/postfix" ]; then
		_postfix_root cat "$demo/postfix/mail.log" >"$demo/postfix.log" || true
		postfix_stop "$demo" || true
	fi
	if [ -e "$demo/run.path" ]; then
		kairan local down "$demo" >"$demo/down.log" 2>&1 || cat "$demo/down.log" >&2
	fi
}

remove_folder()
{
	local real

	[ -e "$demo" ] || [ -L "$demo" ] || return 0
	[ -e "$demo/.made-by-demo" ] || [ -L "$demo" ] ||
		die "$demo was not made by this script; move it away"
	real=$(realpath -m "$demo")
	rm -rf "$real" || die "$real cannot be removed; was it made by another user?"
	rm -f "$demo"
}

finish()
{
	local status=$?

	trap '' INT TERM HUP
	set +e
	[ -z "$waiter" ] || kill "$waiter" 2>/dev/null
	if [ "$left_up" = no ]; then
		[ "$status" -eq 0 ] || [ "$live" = no ] || echo
		[ "$status" -eq 0 ] || [ ! -e "$demo/pids" ] ||
			complain "ended with $status; the logs stay in $demo"
		stop_everything
	fi
	exit "$status"
}
trap finish EXIT

down()
{
	[ -e "$demo/.made-by-demo" ] || { say 'there is nothing to end'; return 0; }
	stop_everything
	remove_folder
	say 'ended and removed'
}

# ---- the way up -------------------------------------------------------------------------

build()
{
	[ "$bin" = "$root/bin" ] || return 0
	KAIRAN_SKIP_DEPS=$skip_deps "$root/tools/deps.sh" build services demo
	make -C "$root" -j"$(nproc)" --no-print-directory >/dev/null
}

# Postfix is started by root. Asked for now, so that no question comes in the middle.
ask_for_root()
{
	if [ "$(id -u)" -ne 0 ] && [ -t 0 ] && command -v sudo >/dev/null &&
		! sudo -n true 2>/dev/null; then
		say 'Postfix, which runs under users of its own, needs root: sudo asks for your password'
		sudo -v || true
	fi
	postfix_available || die "$POSTFIX_WHY_NOT"
	started=$SECONDS
}

# PostgreSQL runs as the user postgres when root calls; that user must reach the folder.
make_folder()
{
	local real

	stop_everything
	remove_folder
	mkdir "$demo"
	chmod 711 "$demo"
	if [ "$(id -u)" -eq 0 ] && ! services_as_postgres test -x "$demo" 2>/dev/null; then
		rmdir "$demo"
		real=$(mktemp -d /var/tmp/kairan-demo.XXXXXX)
		chmod 711 "$real"
		ln -s "$real" "$demo"
	fi
	: >"$demo/.made-by-demo"
	: >"$demo/pids"
}

write_config()
{
	{
		# the first line says that kairan may write it again
		sed 1d "$demo/local.conf"
		cat <<-EOT

			# The demo's own part; it wins over what stands above.
			[dispatcher]
			name = demo
			# busy mailboxes are tried again after seconds instead of minutes
			retry_ladder = 2s,3s,5s
			[producer]
			poll_ms = 200
			[relay]
			host = 127.0.0.1
			port = $POSTFIX_PORT
			ehlo = kairan.example
			idle_s = 1
			[feedback]
			domain = $bounce_domain
			lmtp_listen = 127.0.0.1:$lmtp_port
			http_listen = 127.0.0.1:$http_port
			sns_topics = $topic
			sns_cert_dir = $demo/sns/certs
			sns_ca_file = $demo/sns/ca.pem
		EOT
	} >"$demo/kairan.conf"
}

# Each daemon is in a session of its own, so that Ctrl-C reaches this script alone.
daemon()
{
	service_spawn "$1" "$demo/$1.log" setsid "$bin/$1" --config "$demo/kairan.conf" 2>/dev/null
	printf '%s %d\n' "$1" "$SERVICE_PID" >>"$demo/pids"
	daemons+=("$1=$SERVICE_PID")
}

check_daemons()
{
	local each

	for each in "${daemons[@]}"; do
		! _services_gone "${each#*=}" || die "${each%=*} ended by itself; see demo/${each%=*}.log"
	done
}

# What makes the first try of some mailboxes fail with 450
greylist()
{
	policy_port=$(services_free_port)
	service_spawn greylist "$demo/greylist.log" setsid "$python" "$data/demo.py" greylist \
		"$policy_port" "$demo/busy" 2>/dev/null
	printf '%s %d\n' "$(basename "$(realpath "$python")")" "$SERVICE_PID" >>"$demo/pids"
	services_wait 15 test -s "$demo/greylist.log" || die 'the policy server does not start'
}

feedback_is_ready()
{
	curl -sf -m 5 -o "$demo/health" "http://127.0.0.1:$http_port/healthz"
}

services_up()
{
	local run

	run=$(kairan local up "$demo" --json | get run)
	mv "$demo/kairan.conf" "$demo/local.conf"
	database="host=$run port=5432 dbname=kairan user=kairan_operator"
	say "PostgreSQL and Redis: sockets in $run"
	lmtp_port=$(services_free_port)
	http_port=$(services_free_port)
	greylist
	postfix_start "$demo" "domains=$demo/domains" "users=$demo/mailboxes" layout=user \
		"feedback=$bounce_domain lmtp:inet:127.0.0.1:$lmtp_port" \
		"conf=smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:$policy_port"
	say "Postfix: 127.0.0.1:$POSTFIX_PORT, owner of $(wc -l <"$demo/domains") domains"
	"$python" "$root/tests/support/sns_fake.py" init "$demo/sns"
	write_config
	rm "$demo/local.conf"
	export KAIRAN_CONFIG=$demo/kairan.conf
	daemon kairan-producer
	daemon kairan-dispatcher
	daemon kairan-feedback
	services_wait 15 feedback_is_ready || die "kairan-feedback does not answer; see $demo"
	say 'kairan-producer, kairan-dispatcher and kairan-feedback run'
	# which provider a domain belongs to, as for the real names that Kairan knows
	psql -X -q -v ON_ERROR_STOP=1 -d "$database" \
		-c '\copy kairan.provider_domain FROM STDIN' <"$demo/providers"
}

# ---- the day ----------------------------------------------------------------------------

import()
{
	local answer

	answer=$(kairan customer import "$demo/customers.csv" --rejects "$demo/rejects.csv" --json \
		2>"$demo/import.log") || { cat "$demo/import.log" >&2; die 'the import failed'; }
	read -r imported rejected cleaned < <(get imported rejected cleaned <<<"$answer")
	say "$imported customers imported, $cleaned of them cleaned, $rejected lines rejected:"
	sed -n '2,7s/^\([0-9]*\),/   line \1: /p' "$demo/rejects.csv"
	say "… all of them in demo/rejects.csv"
}

send_campaign()
{
	local name=$1 status=0

	kairan campaign create "$data/$name.campaign" >"$demo/create.log"
	say "tools/demo/$name.campaign:$(sed -n 's/ *\([0-9,]* customers\) before.*/ \1/p' \
		"$demo/create.log") in the segment"
	"$bin/kairan" campaign start "$name" --run-key "$run_key" --wait &
	waiter=$!
	while kill -0 "$waiter" 2>/dev/null; do
		check_daemons
		sleep 0.2
	done
	wait "$waiter" || status=$?
	waiter=
	[ "$status" -eq 0 ] || die "kairan campaign start $name ended with $status"
}

first_campaign()
{
	send_campaign november-news
	say "$(sql "SELECT count(*) || ' mailboxes were busy (450) at first and were reached by a second try'
		FROM kairan.send WHERE tries > 0 AND state = 'sent'")"
}

# arguments: file of orders; stdout: counts of the HTTP statuses, as "400 200"
post()
{
	"$python" "$root/tests/support/sns_fake.py" send "$demo/sns" \
		"http://127.0.0.1:$http_port/sns" --topic "$topic" <"$1" |
		sed -n 's/.*"status": \([0-9]*\).*/\1/p' | sort | uniq -c | xargs
}

providers_speak()
{
	local answers total

	helper orders "$POSTFIX_MAIL" "$complaints" "$deliveries" >"$demo/orders"
	total=$(wc -l <"$demo/orders")
	answers=$(post "$demo/orders")
	say "$deliveries deliveries and $complaints complaints posted, signed: answers $answers"
	[ "$answers" = "$total 200" ] || die "not every notification was accepted: $answers"
	sed -n '1s/^{/{"forge": "signature", /p' "$demo/orders" >"$demo/forged"
	answers=$(post "$demo/forged")
	say "one with a forged signature: $answers"
	[ "$answers" = '1 403' ] || die "the forged notification was not refused: $answers"
}

first_campaign_again()
{
	local before after status=0

	before=$(kairan campaign status november-news --run-key "$run_key" --json | get sent)
	kairan campaign start november-news --run-key "$run_key" --wait || status=$?
	[ "$status" -eq 6 ] || die "a second start ended with $status instead of 6 (nothing to do)"
	after=$(kairan campaign status november-news --run-key "$run_key" --json | get sent)
	rerun=$((after - before))
}

tables()
{
	local address

	step 'What the operator sees: progress'
	table 'SELECT campaign, planned, sent, failed, in_doubt, delivered, bounced, complained
   FROM kairan.campaign_progress ORDER BY run_id'
	step 'Bounce rate by domain'
	table "SELECT provider, domain, sum(sent) AS sent, sum(hard) AS bounced,
      round(100.0 * sum(hard) / sum(sent), 1) AS per_cent, sum(complained) AS complained
   FROM kairan.bounce_rate WHERE campaign = 'november-news'
   GROUP BY 1, 2 ORDER BY bounced DESC, domain LIMIT 12"
	step 'Suppressions by reason'
	table 'SELECT reason, source, scope, addresses FROM kairan.suppression_summary ORDER BY 1, 2'
	step 'Who was left out of the second campaign'
	table "SELECT rule, count(*) AS customers, left(min(evidence), 60) AS for_example
   FROM kairan.exclusion WHERE run_id = $run2 GROUP BY rule ORDER BY rule"
	address=$(sql "SELECT address FROM kairan.send WHERE run_id = $run1 AND bounced_at IS NOT NULL
		ORDER BY address_key LIKE '%@docomo.example' DESC, id LIMIT 1")
	step "Why $address gets no mail any more"
	table "SELECT to_char(at, 'HH24:MI:SS') AS at, what, campaign, detail
   FROM kairan.why('$address')"
}

next_steps()
{
	step 'What to try next'
	if [ "$keep" = 0 ]; then
		say "make demo KEEP=1         leaves everything up: look around with psql and kairan"
	else
		say "mail:    ls '$POSTFIX_MAIL'/*/*/new"
		say "psql:    psql '$database'"
		say "status:  '$bin/kairan' --config '$demo/kairan.conf' status --watch"
		say "end it:  make demo-down    (tools/demo.sh down)"
	fi
	say 'demo/november.html       the report of the first campaign, for a browser'
	say 'tools/demo/              the campaign files and templates: copy them'
	say 'bin/kairan local up      PostgreSQL and Redis in a folder, for a list of your own'
	say 'bin/kairan help'
}

# ---- the figures ------------------------------------------------------------------------

rule()
{
	[ "$2" -ne 0 ] && return
	complain "rule broken: $1"
	failed_rules=$((failed_rules + 1))
}

# arguments: name of the campaign; sets the variables of figures()
take_figures()
{
	local queued sending deferred skipped cancelled expired

	read -r planned sent failed in_doubt delivered bounced complained queued sending deferred \
		skipped cancelled expired run < <(
		kairan campaign status "$1" --run-key "$run_key" --json |
			get planned sent failed in_doubt delivered bounced complained queued sending \
				deferred skipped cancelled expired run_id
	)
	other=$((queued + sending + deferred + skipped + cancelled + expired))
	rule "$1: planned = sent + failed + in_doubt + other" \
		$((planned == sent + failed + in_doubt + other))
	rule "$1: the view counts as many sent as there are rows" \
		$((sent == $(sql "SELECT count(*) FROM kairan.send WHERE run_id = $run AND state = 'sent'")))
	rule "$1: nobody is in doubt" $((in_doubt == 0))
	rule "$1: all others were sent to" $((other == 0))
}

# Those that the second run left out, against those that were heard of the first one.
exclusions_differ()
{
	sql "WITH heard AS (
		SELECT address_key, 'bounced' AS rule FROM kairan.send
		WHERE run_id = $run1 AND bounced_at IS NOT NULL AND complained_at IS NULL
		UNION SELECT address_key, 'complained' FROM kairan.send
		WHERE run_id = $run1 AND complained_at IS NOT NULL),
	left_out AS (SELECT address_key, rule FROM kairan.exclusion WHERE run_id = $run2)
	SELECT count(*) FROM ((TABLE heard EXCEPT TABLE left_out)
		UNION ALL (TABLE left_out EXCEPT TABLE heard)) AS difference"
}

figures()
{
	local planned sent failed in_doubt delivered bounced complained other run
	local first out_bounced out_complained sent1 bounced1 planned1 complained1 messages duplicates

	take_figures november-news
	run1=$run
	first="\"planned\":$planned,\"sent\":$sent,\"failed\":$failed,\"in_doubt\":$in_doubt"
	first+=",\"other\":$other,\"delivered\":$delivered,\"bounced\":$bounced,\"complained\":$complained"
	planned1=$planned sent1=$sent bounced1=$bounced complained1=$complained
	rule "customers = $customers" $((imported == customers))
	rule "rejected lines = $bad_lines" $((rejected == bad_lines))
	rule 'at least nine of ten customers are planned' $((10 * planned >= 9 * customers))
	rule "bounced = $unknown, the unknown users" $((bounced == unknown))
	rule 'three of a hundred customers bounce' \
		$((customers < 5000 || 100 * bounced >= 3 * customers))
	rule "complained = $complaints" $((complained == complaints))
	rule "delivered = $deliveries, those that were confirmed" $((delivered == deliveries))
	rule 'the view bounce_rate counts each of them as a dead address' \
		$((bounced == $(sql "SELECT sum(hard) FROM kairan.bounce_rate
			WHERE campaign = 'november-news'")))
	rule 'the second start sends nothing' $((rerun == 0))

	take_figures december-sale
	run2=$run
	read -r out_bounced out_complained < <(
		sql "SELECT excluded FROM kairan.run WHERE id = $run2" | get bounced complained
	)
	rule 'campaign 2 leaves out the bounced' $((out_bounced == bounced1))
	rule 'campaign 2 leaves out the complained' $((out_complained == complained1))
	rule 'campaign 2 leaves out exactly those' $(($(exclusions_differ) == 0))
	rule 'campaign 2 plans the others' $((planned == planned1 - bounced1 - complained1))

	read -r messages duplicates < <(helper count "$POSTFIX_MAIL" | get messages duplicates)
	rule 'messages in the Maildirs = sent - bounced' \
		$((messages == sent1 + sent - bounced1 - bounced))
	rule 'no duplicates in the Maildirs' $((duplicates == 0))
	result=$(printf '{"customers":%d,"rejected_lines":%d,"campaign1":{%s},"rerun":{"sent":%d},' \
		"$imported" "$rejected" "$first" "$rerun")
	result+=$(printf '"campaign2":{"planned":%d,"excluded":{"bounced":%d,"complained":%d},"sent":%d},' \
		"$planned" "$out_bounced" "$out_complained" "$sent")
	result+=$(printf '"mailboxes":{"messages":%d,"duplicates":%d}}' "$messages" "$duplicates")
}

# A daemon that does not end with 0 is a fault, too.
stop_daemons()
{
	local each status

	for each in "${daemons[@]}"; do
		status=0
		service_stop "${each#*=}" || status=$?
		rule "${each%=*} ends with 0, not $status" $((status == 0))
	done
	daemons=()
}

day()
{
	step "A list of $customers customers"
	make_folder
	read -r bad_lines unknown < <(helper customers "$customers" "$demo" | get bad_lines unknown)
	say "demo/customers.csv: $bad_lines lines are bad on purpose, $unknown users are unknown"
	step 'PostgreSQL, Redis and Postfix of our own'
	services_up
	step 'Import'
	import
	step 'Campaign 1: a newsletter in Japanese and English'
	first_campaign
	step 'What cannot be delivered comes back'
	wait_for_queue
	say "$(sql 'SELECT sum(bounced) FROM kairan.campaign_progress') bounces came back over LMTP"
	step 'One mail of each language, as it lies in its Maildir'
	helper show "$POSTFIX_MAIL" ja
	helper show "$POSTFIX_MAIL" en
	step 'Providers confirm deliveries and report complaints (a fake Amazon SNS, signed)'
	providers_speak
	step 'Campaign 1 is started again with the same run key'
	first_campaign_again
	step 'Campaign 2 leaves out the bounced and the complained'
	send_campaign december-sale
	wait_for_queue
	figures
	kairan campaign report november-news --html "$demo/november.html" >"$demo/report.log"
	tables
	next_steps
}

main()
{
	local action=day

	while [ $# -gt 0 ]; do
		case $1 in
		--customers)
			customers=${2:-}
			shift
			;;
		--bin)
			bin=$(cd "${2:-}" && pwd -P)
			shift
			;;
		down) action=down ;;
		-h | --help)
			sed -n '4,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
			return
			;;
		*) complain "unknown argument '$1'; see tools/demo.sh --help"; exit 2 ;;
		esac
		shift
	done
	if [ "$action" = down ]; then
		down
		return
	fi
	case $customers in
	'' | *[!0-9]* | ??????*) complain '--customers takes a number from 500 to 99999'; exit 2 ;;
	esac
	[ "$customers" -ge 500 ] || { complain '--customers takes a number from 500 to 99999'; exit 2; }
	complaints=$((customers * 6 / 1000))
	deliveries=$((customers * 8 / 100))
	bounce_domain=bounce.aoba.example
	topic=arn:aws:sns:eu-west-1:123456789012:kairan-demo
	run_key=$(date -u +%F)
	build
	ask_for_root
	day
	if [ "$keep" = 0 ]; then
		stop_daemons
		stop_everything
		rm -rf "$demo/pg" "$demo/redis" "$demo/run" "$demo/sns" "$demo/state" "$demo/token.key"
	else
		left_up=yes
	fi
	printf '\n%s\n' "$result"
	[ "$failed_rules" -eq 0 ] || exit 1
}

main "$@"
