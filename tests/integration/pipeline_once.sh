#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What schedulers and other programs see: kairan-producer --once and its exit status; the hook, as
# a command and as a web address, on finished, paused and failed. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

pipeline_start
customers_add 200 large.example
cat >"$D/hook" <<'HOOK'
#!/bin/sh
cat >>"$1"
echo >>"$1"
HOOK
chmod 755 "$D/hook"
HOOK_PORT=$(services_free_port)
cat >"$D/web.py" <<'WEB'
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        with open(sys.argv[2], 'ab') as out:
            out.write(body + b'\n')
        refuse = b'"run_key": "failing"' in body and self.server.fail
        self.server.fail = self.server.fail and not refuse
        self.send_response(500 if refuse else 204)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Hook)
server.fail = True
server.serve_forever()
WEB
service_spawn web "$D/web.log" "$PYTHON" "$D/web.py" "$HOOK_PORT" "$D/posted" 2>/dev/null
WEB=$SERVICE_PID

# arguments: none; status of kairan-producer --once in STATUS
once()
{
	STATUS=0
	timeout 60 "$BIN/kairan-producer" --once >>"$D/producer.log" 2>&1 || STATUS=$?
}

# ---- once ----------------------------------------------------------------------------------

campaign_add news "hook_command='$D/hook $D/hooked'" "hook_url='http://127.0.0.1:$HOOK_PORT/hook'"
once
tap_is "$STATUS" 6 'nothing is due: 6'
RUN=$(run_add news a)
dispatcher_start one
once
tap_is "$STATUS $(one "state FROM kairan.run WHERE id = $RUN")" '0 finished' 'a due run is worked until it is finished: 0'
run_check "$RUN" 'exactly once'
once
tap_is "$STATUS" 6 'then nothing is due again'
RUN=$(one "run_id FROM kairan.run_make('news', 'later', now() + interval '1 hour')")
once
tap_is "$STATUS $(one "state FROM kairan.run WHERE id = $RUN")" '6 scheduled' 'nor is a run whose time has not come'
sql -c "SELECT kairan.run_move($RUN, '{scheduled}', 'cancelled')" >"$D/out"
STATUS=0
KAIRAN_DATABASE_URL="host=$D/none dbname=kairan" timeout 60 "$BIN/kairan-producer" --once >>"$D/producer.log" 2>&1 || STATUS=$?
tap_is "$STATUS" 75 'PostgreSQL is absent: 75'
STATUS=0
KAIRAN_PRODUCER_PAGE=none "$BIN/kairan-producer" --once >>"$D/producer.log" 2>&1 || STATUS=$?
tap_is "$STATUS" 2 'a wrong setting: 2'

# ---- hooks -----------------------------------------------------------------------------------

# arguments: file; stdout: event and run key of each line
events()
{
	"$PYTHON" -c 'import json, sys
for line in open(sys.argv[1]):
    j = json.loads(line)
    print(j["event"], j["run_key"], end=" ")' "$1"
}

hooks_wait()
{
	wait_for 15 'count(*) = 0 FROM kairan.run_event WHERE hooked_at IS NULL'
}

tap_is "$(events "$D/hooked")|$(events "$D/posted")" 'finished a |finished a ' 'both hooks are told of the end, once'
producer_start
sql -c "UPDATE kairan.stream SET rate_per_s = 20 WHERE name = 'marketing'"
RUN=$(run_add news halted)
run_wait "$RUN" running 10 || true
wait_for 10 "kairan.run_move($RUN, '{running}', 'paused')" || tap_note 'no pause'
hooks_wait || tap_note 'a hook is left'
tap_is "$(events "$D/hooked")|$(events "$D/posted")" 'finished a paused halted |finished a paused halted ' 'of a pause'
sql -c "SELECT kairan.run_move($RUN, '{paused}', 'cancelled')" >"$D/out"
sql -c "UPDATE kairan.campaign SET segment = '1 / (c.id - 50) > 0'"
RUN=$(run_add news failing)
tap_ok 'a run whose segment fails' run_wait "$RUN" failed 10
tap_ok 'a hook that failed is called again' wait_for 30 "hooked_at IS NOT NULL AND hook_tries = 2 FROM kairan.run_event
	WHERE run_id = $RUN AND event = 'failed'"
tap_is "$(events "$D/posted")" 'finished a paused halted failed failing failed failing ' 'of a failure, and of nothing else'
tap_like "$(tail -n 1 "$D/posted")" '"reason": "[^"]*division by zero' 'with the reason'
service_stop "$WEB" || true
programs_stopped 'both programs end well' "$DISPATCHER" "$PRODUCER"
tap_done
