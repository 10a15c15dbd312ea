#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lines and branches of a coverage.txt (tools/coverage.sh: file, lines, run, branches, taken) in all and of the
# modules that must not be wrong, beside their aims; status 1 when one is missed, or a module has no file.
set -euo pipefail
cd "$(dirname "$0")/.."
missed=0
# arguments: file, name, extended regular expression for files, least lines and branches in per cent (0: no aim)
total()
{
	awk -v name="$2" -v wanted="$3" -v lines="$4" -v branches="$5" '
		$1 ~ wanted { l += $2; r += $3; b += $4; t += $5 }
		END {
			short = l == 0 || 100 * r < lines * l || 100 * t < branches * b
			printf "%-34s lines %5.1f %% of %5d   branches %5.1f %% of %5d%s\n", name,
				l ? 100 * r / l : 0, l, b ? 100 * t / b : 100, b,
				short ? "   MISSED: " (lines > 0 ? lines " % and " : "") branches " %" : ""
			exit short
		}' "$1" || missed=1
}
total "$1" 'all' '.' 90 80
total "$1" 'state machine of a recipient' '^(dispatcher/(claim/claim|settle|journal/recover|journal/mark)|common/pace/ladder)\.c$' 0 100
total "$1" 'SMTP engine' '^dispatcher/smtp/smtp(_ehlo|_body)?\.c$' 0 0
total "$1" 'reader of replies' '^common/smtp_reply\.c$' 0 100
total "$1" 'journal' '^dispatcher/journal/journal(_slot)?\.c$' 0 100
total "$1" 'verification of SNS' '^feedback/(parse/sns|source/sns_(intake|cert))\.c$' 0 100
total "$1" 'tokens' '^common/token\.c$' 0 100
total "$1" 'addresses' '^common/addr\.c$' 0 100
total "$1" 'dot-stuffing' '^dispatcher/smtp/smtp_body\.c$' 0 100
total "$1" 'parser of mails, its wire' '^feedback/parse/(mail|mail_text|mail_wire|inbound|notice|bounce_text|dsn|arf)\.c$' 0 0
exit "$missed"
