#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The relay route speaks LMTP (RFC 2033) with a real Dovecot over its unix socket: every mail once in the
# mailbox, whole, and a recipient whom Dovecot does not have is a failure of his own. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh
# shellcheck source=tests/support/make_ca.sh
. tests/support/make_ca.sh
# shellcheck source=tests/support/dovecot.sh
. tests/support/dovecot.sh

dovecot_available || tap_skip_all "$DOVECOT_WHY_NOT"

pipeline_start
ca_make "$D/ca"
ca_issue "$D/ca" leaf IP:127.0.0.1
dovecot_start "$D" "$D/ca/leaf.pem" "$D/ca/leaf.key" || tap_bail 'no Dovecot'

customers_add 60 box.example
customers_add 3 box.example gone
for ((i = 1; i <= 60; i++)); do dovecot_user "ok$i@box.example"; done
campaign_add lmtp
producer_start
dispatcher_start lmtp KAIRAN_RELAY_HOST="unix:$DOVECOT_LMTP" KAIRAN_RELAY_PROTOCOL=lmtp
RUN=$(run_add lmtp once)
run_wait "$RUN" finished 60 || true
tap_is "$(run_states "$RUN")" 'sent 60, failed 3' 'all whom Dovecot knows are sent, the others have failed'
tap_is "$(one "string_agg(DISTINCT address || ' ' || enhanced || ' ' || reason, ', ') FROM kairan.send WHERE run_id = $RUN AND state = 'failed' AND address LIKE 'gone1@%'")" \
	'gone1@box.example 5.1.1 user_unknown' '  ... by the answer of Dovecot to their own RCPT'

# What lies in the mailbox, by the recipient of its trace line and by its Message-ID.
mails=$(find "$DOVECOT_MAIL/new" -type f | wc -l)
tap_is "$mails" 60 'as many mails lie in the mailbox'
tap_is "$(cat "$DOVECOT_MAIL"/new/* | tr -d '\r' | sed -n 's/^Delivered-To: *//p' | sort -u | wc -l)" 60 '  ... one for each recipient'
tap_is "$(cat "$DOVECOT_MAIL"/new/* | tr -d '\r' | grep -i '^Message-ID:' | sort -u | wc -l)" 60 '  ... none of them twice'
tap_is "$(one "count(*) FROM kairan.send WHERE run_id = $RUN AND state = 'sent' AND (reply IS NULL OR reply !~ 'Saved')")" 0 \
	'  ... and the answer after the dot is that of the delivery'

dovecot_stop
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
