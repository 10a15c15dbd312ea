#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kairan-feedback classify: one line a file, whatever is in it; no configuration, no database.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
program=$PWD/${KAIRAN_BIN:-build/release}/kairan-feedback
case ${KAIRAN_BIN:-} in /*) program=$KAIRAN_BIN/kairan-feedback ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit
export KAIRAN_CONFIG=/nonexistent KAIRAN_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none

count=0
failed=0
is() { # name got expected
	count=$((count + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $count - $1"
	else
		echo "not ok $count - $1"
		printf '# got      %s\n# expected %s\n' "$2" "$3"
		failed=1
	fi
}

cat >bounce.txt <<'EOF'
This is the mail system at host mx.test.

<a@one.test>: host mx.one.test[192.0.2.1] said: 550 5.1.1 No such user
    (in reply to RCPT TO command)
EOF
printf 'From: a@b.test\nSubject: Re: news\n\nThank you!\n' >reply.eml
head -c 3000000 /dev/zero >zeros
: >empty

is "a bounce" "$("$program" classify bounce.txt)" '{"file":"bounce.txt","kind":"bounce","feedback_type":null,"recipients":[{"address":"a@one.test","status":"5.1.1","smtp":"550","class":"hard","reason":"user_unknown","text":"host mx.one.test[192.0.2.1] said: 550 5.1.1 No such user     (in reply to RCPT TO command)"}]}'
is "standard input" "$("$program" classify - <reply.eml)" '{"file":"-","kind":"other","feedback_type":null,"recipients":[]}'
is "one line for each, in order" "$("$program" classify reply.eml zeros empty bounce.txt | sed -E 's/.*"file":"([^"]*)","kind":"([^"]*)".*/\1 \2/' | paste -sd,)" \
	"reply.eml other,zeros other,empty other,bounce.txt bounce"
lines=$("$program" classify missing bounce.txt . 2>errors)
is "exit status for what cannot be read" "$?" 1
is "with a line for it" "$(wc -l <<<"$lines")" 3
is "and the reason on standard error" "$(grep -c 'missing: No such file' errors)" 1
"$program" classify >/dev/null 2>&1
is "no file is usage" "$?" 2
is "help has an example" "$("$program" classify --help | grep -c '^Example')" 1
echo "1..$count"
exit "$failed"
