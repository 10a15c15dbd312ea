#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads composed messages with Python's email package and compares them with what was meant.

usage: message_roundtrip.py FILE.eml...      (expected values beside each, in FILE.json)
       message_roundtrip.py DIRECTORY        (every .eml in it)
       message_roundtrip.py < LINES          (each line {"eml": base64, "expect": {...}})

Expected: {"headers": {name: value}, "to": [display name, address], "text": plain body,
"html": html body}, each of them optional. Independently of that every message is checked for
7-bit bytes, CRLF, line lengths, single header fields and defects. Output is TAP.

Samples: KAIRAN_EML_DIR=DIRECTORY build/release/tests/unit/test_message
"""
import base64
import email
import email.header
import email.headerregistry
import email.policy
import functools
import json
import pathlib
import sys

ONCE = ("date", "from", "sender", "reply-to", "to", "cc", "subject", "message-id",
        "mime-version", "content-type", "content-transfer-encoding", "list-unsubscribe")
# The default policy parses a field at every look; most fields are the same in all messages.
POLICY = email.policy.default.clone(
    header_factory=functools.lru_cache(100000)(email.headerregistry.HeaderRegistry()))


def wire_faults(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    if not raw.endswith(b"\r\n"):
        yield "no CRLF at the end"
    if b"\n" in raw.replace(b"\r\n", b"") or b"\r" in raw.replace(b"\r\n", b""):
        yield "bare CR or LF"
    if any(byte > 126 or byte == 0 for byte in raw):
        yield "not 7-bit"
    for line in head.split(b"\r\n"):
        if len(line) > 998 or (b"=?" in line and len(line) > 76) or not line.strip():
            yield "bad header line %r" % line
        for word in line.split():
            if word.startswith(b"=?") and len(word) > 75:
                yield "encoded word too long %r" % word
    for line in body.split(b"\r\n"):
        if len(line) > 76 and not line.startswith(b"Content-Type:"):
            yield "long body line %r" % line
        if line.startswith(b".") or line.startswith(b"From ") or line != line.rstrip():
            yield "fragile body line %r" % line


def body_of(message, kind):
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return None
    raw = part.get_payload(decode=True)
    return raw.decode(part.get_content_charset()).removesuffix("\r\n")


def faults(raw, expect):
    yield from wire_faults(raw)
    message = email.message_from_bytes(raw, policy=POLICY)
    for part in message.walk():
        if part.defects:
            yield "defects %r" % part.defects
    names = [name.lower() for name in message.keys()]
    for name in ONCE:
        if names.count(name) > 1:
            yield "twice: %s" % name
    for name, value in expect.get("headers", {}).items():
        if str(message[name]) != value:
            yield "%s is %r, not %r" % (name, str(message[name]), value)
    if "to" in expect:
        name, address = expect["to"]
        found = [a.addr_spec for a in message["To"].addresses]
        if found != [address]:
            yield "To has %r" % found
        if display_name_of(raw) != name:
            yield "To has the name %r, not %r" % (display_name_of(raw), name)
    for kind, key in (("plain", "text"), ("html", "html")):
        if key in expect and body_of(message, kind) != expect[key]:
            yield "%s is %r, not %r" % (key, body_of(message, kind), expect[key])


def display_name_of(raw):
    # The classic decoder: the header parser of Python 3.11 keeps the blanks between the encoded
    # words of a display name.
    classic = email.message_from_bytes(raw, policy=email.policy.compat32)
    phrase = classic["To"].rpartition("<")[0].replace("\r\n", "").strip()
    if phrase.startswith('"'):
        return phrase[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return str(email.header.make_header(email.header.decode_header(phrase)))


def samples(arguments):
    if not arguments:
        for number, line in enumerate(sys.stdin, 1):
            record = json.loads(line)
            yield "line %d" % number, base64.b64decode(record["eml"]), record["expect"]
    for argument in arguments:
        path = pathlib.Path(argument)
        for file in sorted(path.glob("*.eml")) if path.is_dir() else [path]:
            expected = file.with_suffix(".json")
            expect = json.loads(expected.read_text("utf-8")) if expected.exists() else {}
            yield file.name, file.read_bytes(), expect


def main():
    count = failed = 0
    for name, raw, expect in samples(sys.argv[1:]):
        count += 1
        found = list(faults(raw, expect))
        print("%s %d - %s" % ("not ok" if found else "ok", count, name))
        for fault in found[:5]:
            print("# " + fault)
        failed += bool(found)
    print("1..%d" % count)
    return 1 if failed or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
