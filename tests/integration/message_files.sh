#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Campaigns with attachments, images, Sender and ISO-2022-JP: from the file through PostgreSQL and
# the dispatcher to what a mail server (smtp-sink) was given, read with Python's email package. The
# virus scanner is a FAKE. TAP, run by prove.
# shellcheck disable=SC2119 # functions of the library take settings
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/tap.sh
. tools/tap.sh
# shellcheck source=tests/support/services.sh
. tests/support/services.sh
# shellcheck source=tests/support/pipeline.sh
. tests/support/pipeline.sh

SINK=$(PATH=$PATH:/usr/sbin command -v smtp-sink || true)
[ -n "$SINK" ] || tap_skip_all 'smtp-sink (postfix) is not installed'
[ -x "$BIN/kairan" ] || tap_skip_all "$BIN/kairan is not built"
pipeline_start
K=$(realpath "$BIN/kairan")
OPERATOR=${SUPER/user=postgres/user=kairan_operator}
mkdir -p "$D/c/pictures" "$D/mail"
chmod 777 "$D/mail"
printf '\x89PNG\r\n\x1a\nlogo' >"$D/c/pictures/logo.png"
printf 'GIF89a-banner' >"$D/c/banner.gif"
head -c 300000 /dev/urandom >"$D/c/案内 2026.pdf"
cat >"$D/c/news.html" <<'HTML'
<p>{{name}}様</p><img src="cid:pictures/logo.png" alt="Shop"><img src='./banner.gif'>
<img src="https://shop.example/far.png"><img src="{{picture}}"><!-- <img src="not.there"> -->
HTML

# arguments: lines of [campaign] besides the usual ones
campaign_file()
{
	printf '%s\n' '[campaign]' 'name = files' 'stream = marketing' 'subject = {{name}}様へ' \
		'from = 回覧 <news@example.org>' 'html = news.html' 'segment = everyone' "$@" >"$D/c/files.campaign"
}

# arguments: wanted exit code, NAME, command...; output in $OUT
OUT=
expect()
{
	local wanted=$1 name=$2 got=0

	shift 2
	OUT=$(KAIRAN_DATABASE_URL=$OPERATOR "$@" 2>&1) || got=$?
	tap_is "$got" "$wanted" "$name"
	[ "$got" = "$wanted" ] || tap_note "$OUT"
}
create=("$K" campaign create "$D/c/files.campaign")
preview=("$K" campaign preview "$D/c/files.campaign" --eml)

# ---- what is refused, with a reason

campaign_file 'inline = pictures/logo.png' 'embed_images = yes' 'attachments = ../c/banner.gif'
expect 2 'A41: no way out of the folder' "${preview[@]}"
tap_like "$OUT" "files.campaign:10: attachments .*without '\\.\\.'" 'with file and line'
ln -s /etc/passwd "$D/c/link.pdf"
mkdir "$D/c/real"
ln -s real "$D/c/folder"
echo x >"$D/c/real/x.pdf"
mkfifo "$D/c/pipe.pdf"
for bad in link.pdf folder/x.pdf pipe.pdf real none.pdf; do
	campaign_file 'inline = pictures/logo.png' "attachments = $bad"
	expect 2 "A41: $bad is not attached" timeout 10 "${preview[@]}"
	tap_like "$OUT" 'files.campaign:9: ' "$bad: with file and line"
done
campaign_file 'attachments = banner.gif'
expect 2 'an image that is not there' "${preview[@]}"
tap_like "$OUT" 'names cid:pictures/logo.png, but "inline" has no such file' 'is named'
head -c $((11 << 20)) /dev/zero >"$D/c/huge.zip"
campaign_file 'inline = pictures/logo.png' 'attachments = huge.zip'
expect 2 'too large' "${preview[@]}"
tap_like "$OUT" 'huge.zip is larger than' 'is named'

# ---- the scanner

service_spawn clamd "$D/clamd.log" "$PYTHON" tests/support/fake_clamd.py "$D/clamd" $((1 << 20)) 2>/dev/null
clamd_pid=$SERVICE_PID
services_wait 10 test -S "$D/clamd" || tap_bail 'the FAKE clamd does not start'
export KAIRAN_SCAN_CLAMD=unix:$D/clamd
"$PYTHON" - "$D/c/worm.zip" <<'PY'
import sys
open(sys.argv[1], "wb").write(b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*")
PY
campaign_file 'inline = pictures/logo.png' 'attachments = worm.zip'
expect 1 'what the scanner finds is refused' "${create[@]}"
tap_like "$OUT" 'worm.zip is refused by the virus scanner: Eicar-Test-Signature' 'with its name'
head -c $((2 << 20)) /dev/zero >"$D/c/large.zip"
campaign_file 'inline = pictures/logo.png' 'attachments = large.zip'
expect 1 'what the scanner cannot take is refused' "${create[@]}"
tap_like "$OUT" 'large.zip could not be scanned for viruses: clamd answered: INSTREAM size limit exceeded' 'with the reason'
port=$(services_free_port)
service_spawn clamd-tcp "$D/clamd.log" "$PYTHON" tests/support/fake_clamd.py "$port" 2>/dev/null
services_wait 10 bash -c ": >/dev/tcp/127.0.0.1/$port" || tap_bail 'the second FAKE clamd does not start'
campaign_file 'inline = pictures/logo.png' 'attachments = worm.zip'
expect 1 'the scanner behind a port' env KAIRAN_SCAN_CLAMD="127.0.0.1:$port" "${create[@]}"
tap_like "$OUT" 'refused by the virus scanner' 'finds it too'

campaign_file 'inline = pictures/logo.png' 'embed_images = yes' 'attachments = 案内 2026.pdf' \
	'sender = 事務局 <office@example.org>' 'reply_to = "Desk, A" <desk@example.org>' \
	'iso_2022_jp = Jis.Example, 日本.example' 'missing_field = blank'
expect 0 'created' "${create[@]}"
tap_like "$OUT" 'files +pictures/logo.png' 'the files are listed'
tap_is "$(one "count(*) FROM kairan.blob")" 3 'three files are kept'
expect 0 'once more' "${create[@]}"
tap_is "$(one "count(*) || ' ' || (SELECT count(*) FROM kairan.template) FROM kairan.blob")" '3 1' 'and still three, one template'
service_stop "$clamd_pid" || true
expect 1 'no verdict, no campaign' "${create[@]}"
tap_like "$OUT" 'could not be scanned for viruses: clamd at .* cannot be reached' 'with the reason'
unset KAIRAN_SCAN_CLAMD

# ---- through the dispatcher

sql -c "UPDATE kairan.stream SET auto_submitted = true WHERE name = 'marketing'" \
	-c "INSERT INTO kairan.customer (email, name) VALUES ('a@utf8.example', '漢字'), ('b@jis.example', '漢字'),
		('c@jis.example', '絵文字😀'), ('d@xn--wgv71a.example', 'ｶﾅ')"
sink_port=$(services_free_port)
as=()
[ "$(id -u)" -ne 0 ] || as=(-u nobody) # it does not run as root
service_spawn sink "$D/sink.log" env -C "$D/mail" "$SINK" "${as[@]}" -d m. "127.0.0.1:$sink_port" 10 2>/dev/null
services_wait 10 bash -c ": >/dev/tcp/127.0.0.1/$sink_port" || tap_bail 'smtp-sink does not answer'
RUN=$(run_add files one)
producer_start
dispatcher_start one KAIRAN_RELAY_PORT="$sink_port" KAIRAN_MESSAGE_SENDER_ID=kairantest
tap_ok 'the run finishes' run_wait "$RUN" finished 30
tap_is "$(run_states "$RUN")" 'sent 4' 'everybody is sent'
programs_stopped 'the programs end well' "$PRODUCER" "$DISPATCHER"

cat >"$D/read.py" <<'PY'
import email, email.policy, glob, pathlib, sys
folder = pathlib.Path(sys.argv[1])
files = {name: (folder / "c" / name).read_bytes() for name in ("pictures/logo.png", "banner.gif", "案内 2026.pdf")}
jis = set()
problems = []
def check(ok, what):
    if not ok:
        problems.append(what)
for path in glob.glob(str(folder / "mail" / "m.*")):
    raw = open(path, "rb").read()
    m = email.message_from_bytes(raw, policy=email.policy.default)
    to = m["To"].addresses[0]
    who = to.addr_spec[0]
    for part in m.walk():
        check(not part.defects, "%s: defects %r" % (who, part.defects))
    check(m.get_content_type() == "multipart/mixed", "%s: outside is %s" % (who, m.get_content_type()))
    body, attachment = m.get_payload()
    text, related = body.get_payload()
    html, logo, banner = related.get_payload()
    check(attachment.get_filename() == "案内 2026.pdf" and attachment.get_content_disposition() == "attachment", who + ": the name of the attachment")
    check(attachment.get_content() == files["案内 2026.pdf"], who + ": the bytes of the attachment")
    check(logo.get_content() == files["pictures/logo.png"] and banner.get_content() == files["banner.gif"], who + ": the images")
    source = html.get_content()
    for image in (logo, banner):
        check('cid:' + image["Content-ID"].strip("<>") in source, who + ": an image is not named")
        check(image["Content-ID"].endswith("@example.org>"), who + ": the content id")
    check("https://shop.example/far.png" in source and 'src="not.there"' in source, who + ": other images are left alone")
    check(m["Sender"].address.addr_spec == "office@example.org", who + ": Sender")
    check(m["Reply-To"].addresses[0].display_name == "Desk, A", who + ": Reply-To")
    check(m["Auto-Submitted"] == "auto-generated", who + ": Auto-Submitted")
    check(m["Feedback-ID"] == "files:marketing:marketing:kairantest", who + ": Feedback-ID %r" % m["Feedback-ID"])
    name = {"a": "漢字", "b": "漢字", "c": "絵文字😀", "d": "ｶﾅ"}[who]
    check(m["Subject"] == name + "様へ", who + ": Subject %r" % m["Subject"])
    check(name + "様" in source and name + "様" in text.get_content(), who + ": the texts")
    head = raw.partition(b"\n\n")[0]
    charsets = {text.get_content_charset(), html.get_content_charset(), "iso-2022-jp" if b"?ISO-2022-JP?" in head else "utf-8"}
    check(len(charsets) == 1, who + ": charsets %r" % charsets)
    if charsets == {"iso-2022-jp"}:
        jis.add(who)
        check(b"UTF-8" not in raw.replace(b"UTF-8''", b""), who + ": UTF-8 in it")
    check(max(len(line) for line in raw.split(b"\n")) <= 998, who + ": a long line")
check(jis == {"b"}, "ISO-2022-JP for %r" % jis)
print("\n".join(problems) or "all well")
PY
tap_is "$(find "$D/mail" -type f | wc -l)" 4 'four messages arrived'
tap_is "$("$PYTHON" "$D/read.py" "$D")" 'all well' 'structure, files, names and charsets are as meant'
expect 0 'preview of the kept campaign' "$K" campaign preview files --eml --recipient '{"email":"b@jis.example","name":"漢"}'
tap_like "$OUT" 'charset=ISO-2022-JP' 'has the charset'
tap_like "$OUT" 'filename\*=UTF-8' 'and the file'
tap_done
