#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Recipients, hostile ones among them, composed by the code that sends and read back by Python's
# email package and by GMime: RECIPIENTS, by default 2,500 (make check-messages: 10,000). TAP, run by
# prove. KAIRAN_BIN: folder of the programs; the composing one is beside them.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh

python=/usr/bin/python3
programs=${KAIRAN_BIN:-build/release}/tests/support
[ -x "$python" ] || tap_skip_all 'python3 is not installed'
for program in compose_many read_gmime; do
	[ -x "$programs/$program" ] || tap_skip_all "$programs/$program is not built (make unit-tests)"
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" tests/integration/message_bulk.py make "${RECIPIENTS:-2500}" >"$folder/lines"
"$programs/compose_many" <"$folder/lines" >"$folder/messages"
"$programs/read_gmime" <"$folder/messages" >"$folder/gmime"
"$python" tests/integration/message_bulk.py check "$folder/lines" "$folder/messages" "$folder/gmime"
