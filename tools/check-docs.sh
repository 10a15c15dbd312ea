#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every configuration key stands in man/kairan.conf.5, every command of kairan in a manual page
# of section 1, every program has its page, and mandoc finds no error in any of them. Every metric of
# docs/METRICS.md is drawn by the dashboard.
set -euo pipefail
cd "$(dirname "$0")/.."
programs=${KAIRAN_BIN:-bin}
[ -x "$programs/kairan" ] || programs=build/san
failed=0
complain() {
	echo "check-docs: $*" >&2
	failed=1
}

# man/kairan.conf.5 has a subsection for each section and an item for each key
while read -r section key; do
	awk -v section="$section" -v key="$key" '
		/^\.S[hs]/ { here = index($0, section) > 0 }
		here && /^\.It/ && $NF == key { found = 1 }
		END { exit !found }' man/kairan.conf.5 || complain "key $section.$key is missing in man/kairan.conf.5"
done < <("$programs/kairan" config --sample | awk '
	/^\[/ { gsub(/[][]/, ""); section = $0; next }
	/^#[a-z0-9_]+ =/ { sub(/^#/, "", $1); print section, $1 }')

# the list of `kairan help`: two blanks, then the words of a command
while read -r words; do
	grep -qF -- "${words##* }" man/kairan*.1 || complain "command '$words' is missing in man/*.1"
done < <("$programs/kairan" help | sed -nE 's/^  ([a-z]+( [a-z]+)?)  .*/\1/p')

for page in kairan.1 kairan-campaign.1 kairan-sendmail.1 kairan-simulate.1 kairan-campaign.5 kairan.conf.5 kairan-producer.8 \
	kairan-dispatcher.8 kairan-feedback.8; do
	[ -e "man/$page" ] || complain "man/$page is missing"
done
for page in man/*; do
	mandoc -T lint -W error "$page" >&2 || complain "$page has errors"
done
while read -r metric; do
	grep -qE "\b${metric}(_bucket)?\b" docs/grafana/kairan.json || complain "docs/grafana/kairan.json has no panel with $metric"
done < <(sed -nE 's/^\| `(kairan_[a-z_]+)`.*/\1/p' docs/METRICS.md)
[ "$failed" = 0 ] && echo "manual is complete"
exit "$failed"
