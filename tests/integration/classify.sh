#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kairan-feedback classify: one line a file, whatever is in it; no configuration, no database.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. tools/tap.sh
program=$(realpath -m "${KAIRAN_BIN:-bin}")/kairan-feedback
[ -x "$program" ] || tap_skip_all "$program is not built"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit
export KAIRAN_CONFIG=/nonexistent KAIRAN_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none

cat >bounce.txt <<'EOF'
This is the mail system at host mx.test.

<a@one.test>: host mx.one.test[192.0.2.1] said: 550 5.1.1 No such user
    (in reply to RCPT TO command)
EOF
printf 'From: a@b.test\nSubject: Re: news\n\nThank you!\n' >reply.eml
head -c 3000000 /dev/zero >zeros
: >empty

tap_is "$("$program" classify bounce.txt)" '{"file":"bounce.txt","kind":"bounce","feedback_type":null,"recipients":[{"address":"a@one.test","status":"5.1.1","smtp":"550","class":"hard","reason":"user_unknown","text":"host mx.one.test[192.0.2.1] said: 550 5.1.1 No such user     (in reply to RCPT TO command)"}]}' 'a bounce'
tap_is "$("$program" classify - <reply.eml)" '{"file":"-","kind":"other","feedback_type":null,"recipients":[]}' 'standard input'
tap_is "$("$program" classify reply.eml zeros empty bounce.txt | sed -E 's/.*"file":"([^"]*)","kind":"([^"]*)".*/\1 \2/' | paste -sd,)" \
	'reply.eml other,zeros other,empty other,bounce.txt bounce' 'one line for each, in order'
lines=$("$program" classify missing bounce.txt . 2>errors)
tap_is "$?" 1 'exit status for what cannot be read'
tap_is "$(wc -l <<<"$lines")" 3 'with a line for it'
tap_is "$(grep -c 'missing: No such file' errors)" 1 'and the reason on standard error'
"$program" classify >/dev/null 2>&1
tap_is "$?" 2 'no file is usage'
tap_is "$("$program" classify --help | grep -c '^Example')" 1 'help has an example'
tap_done
