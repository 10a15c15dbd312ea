#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes recipients, hostile ones among them, and compares what two parsers read in the messages
composed for them with what went in.

usage: message_bulk.py make COUNT >LINES                 input of compose_many
       message_bulk.py check LINES MESSAGES GMIME        TAP; MESSAGES from compose_many, GMIME from
                                                         read_gmime
"""
import base64
import email
import email.policy
import html
import json
import random
import re
import sys

import message_roundtrip

CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
# what turns the direction of the text behind a field or a name is dropped
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
UNITS = ("a", "ab ", "あ", "漢字", "😀", "👨‍👩‍👧‍👦", "🇯🇵", "é", "e\u0301", "ｶﾞ", "①", "～", "－", "¥", "\u200e", "\u202e",
         "\u200d", "\ufe0f", "\u3000", "\u00a0", "=?", "?=", "=", "_", "\\", "\"", ",", ";", "<", ">", "(", ")", "@", ":",
         ".", "'", "&", "#", "{{name}}", "{{{", "%s%n", "$", "\t", "嘊", "ĊBcc", "İ", "ß", "\U0001F3FB", "\U000E0067")
HOSTILE = ("\r\nBcc: victim@example.jp", "\nBcc: victim@example.jp\n", "\rX-Injected: 1", "\r\n\r\n<html>body</html>",
           "a\x0bb", "a\x0cb", "\x7f", "\x1b$BF|K\\\x1b(B", "\x85X-Injected: 1", "\u2028X-Injected: 1", "\u2029",
           "=?UTF-8?B?DQpCY2M6IHg=?=", "=?utf-8?q?=0D=0ABcc:_x?=", "\"<victim@example.jp>", "x <victim@example.jp>, y",
           "\r\n.\r\n", "\n.\nMAIL FROM:<a@b>", ".", "..", "\r.\r\n", "From me", "\nFrom me", "--=_km0000", "\n--=_km\n--\n",
           "</p><script>alert(1)</script>", "\" onload=\"x", "javascript:alert(1)", "&#10;", "%0d%0aBcc: x", "\ufeff",
           "a" * 1000, "あ" * 333, "a " * 600, " " * 50, "😀" * 80, "x" * 76, "x" * 77, "-" * 80, "")
# not valid UTF-8, or a NUL: refused
BROKEN = (b"a\x00b", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe3\x81", b"\x80")
EXPECTED_FIELDS = ["x-kairan-id", "date", "from", "sender", "to", "reply-to", "subject", "message-id", "list-unsubscribe",
                   "x-kairan-campaign", "list-unsubscribe-post", "list-id", "feedback-id", "auto-submitted", "x-note",
                   "mime-version", "content-type"]


def text_of(dice, number):
    kind = number % 10
    if kind == 0:
        return dice.choice(HOSTILE)
    if kind == 1:
        return dice.choice(UNITS) + dice.choice(HOSTILE) + dice.choice(UNITS)
    if kind == 2:
        return dice.choice(UNITS) * dice.randint(1, 80)
    if kind == 3:
        return "".join(dice.choice("日本語のお知らせ漢字カナabc 12〜") for _ in range(dice.randint(1, 80)))
    return "".join(dice.choice(UNITS) for _ in range(dice.randint(1, 80)))


def make(count):
    dice = random.Random(20260101)
    for number in range(count):
        domain = dice.choice(("jis.example", "utf8.example", "xn--wgv71a.example"))
        name = text_of(dice, dice.randrange(10)).encode()
        subject = text_of(dice, number).encode()
        body = text_of(dice, dice.randrange(10)).encode()
        if dice.random() < 0.3:  # something that ISO-2022-JP can say
            name, subject = "山田 太郎".encode(), "春のお知らせ".encode()
            body = "〜ご案内\nabc".encode()
        if number % 100 == 99:
            broken = dice.choice(BROKEN)
            name, subject, body = dice.choice(((broken, subject, body), (name, broken, body), (name, subject, broken)))
        pieces = ("user%d+x@%s" % (number, domain)).encode(), name, subject, body
        print(" ".join(base64.b64encode(piece).decode() for piece in pieces))


def recipients(path):
    for line in open(path):
        yield [base64.b64decode(piece) for piece in line.rstrip("\n").split(" ")]


def messages(path):
    with open(path, "rb") as file:
        for line in file:
            words = line.split()
            if words[0] == b"ok":
                yield words, file.read(int(words[1]))
            else:
                yield words, None


def is_broken(piece):
    try:
        return "\0" in piece.decode()
    except UnicodeDecodeError:
        return True


def in_header(text):
    return CONTROL.sub(" ", text).strip(" ")


def in_body(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


def twins(text):
    """Characters that share a place in JIS X 0208, as both parsers read it."""
    return text.translate(str.maketrans("～∥－￠￡￢", "〜‖−¢£¬"))


def wanted_of(pieces):
    address, to_name, subject, body = (piece.decode() for piece in pieces)
    name, title, body = (BIDI.sub("", text) for text in (to_name, CONTROL.sub(" ", subject), body))
    plain = "%s\n%s\n-- \nStop: https://u.example.jp/u/untoken" % (name, body)
    escape = lambda text: html.escape(text).replace("&#x27;", "&#39;")
    rich = ('<p>Dear %s,</p><p>%s</p><img src="cid:logo@example.jp" alt="%s">'
            '<p><a href="https://u.example.jp/u/untoken">Stop</a></p>' % (escape(name), escape(body), escape(name)))
    return {"to": [in_header(name), address], "text": in_body(plain), "html": in_body(rich),
            "headers": {"Subject": in_header(title), "X-Note": "春の号", "X-Kairan-Id": "idtoken",
                        "Message-ID": "<left@mail.example.jp>", "Date": "Tue, 01 Jul 2025 09:05:07 +0900",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                        "Feedback-ID": "spring:news:marketing:kairan",
                        "X-Kairan-Campaign": ("7; " + title).strip(" ") if subject else "7"}}


def for_jis(wanted):
    return {"to": [twins(wanted["to"][0]), wanted["to"][1]], "text": twins(wanted["text"]), "html": twins(wanted["html"]),
            "headers": {name: twins(value) for name, value in wanted["headers"].items()}}


def python_faults(raw, wanted):
    yield from message_roundtrip.faults(raw, wanted)
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    names = [name.lower() for name in message.keys()]
    if names != EXPECTED_FIELDS:
        yield "fields %r" % names
    for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        # what is longer cannot be folded: the links of List-Unsubscribe stand alone
        if len(line) > 78:
            yield "a header line that could be folded: %r" % line


def gmime_faults(seen, wanted):
    # for GMime Content-Type belongs to the body
    if seen["warnings"] or seen["headers"] != len(EXPECTED_FIELDS) - 1 or seen["to"] != 1:
        yield "GMime: %r" % {key: seen[key] for key in ("warnings", "headers", "to")}
    pairs = {"subject": wanted["headers"]["Subject"], "name": wanted["to"][0], "address": wanted["to"][1],
             "plain": wanted["text"], "html": wanted["html"], "files": ["logo.png", "ご案内.pdf"]}
    for key, value in pairs.items():
        found = seen[key].replace("@日本.", "@xn--wgv71a.") if key == "address" else seen[key]
        if key in ("plain", "html"):
            found, value = found.replace("\r\n", "\n").removesuffix("\n"), value.replace("\r\n", "\n").removesuffix("\n")
        if found != value:
            yield "GMime: %s is %r, not %r" % (key, found, value)


class Tally:
    def __init__(self):
        self.faults = {}

    def add(self, what, number, faults):
        found = self.faults.setdefault(what, [])
        for fault in faults:
            found.append("recipient %d: %s" % (number, fault))

    def report(self, notes):
        for number, (what, found) in enumerate(self.faults.items(), 1):
            print("%s %d - %s" % ("not ok" if found else "ok", number, what))
            for fault in found[:5]:
                print("# " + fault[:600])
        for note in notes:
            print("# " + note)
        print("1..%d" % len(self.faults))
        return 1 if any(self.faults.values()) else 0


def check(lines, composed, gmime):
    tally = Tally()
    count = refused = jis = 0
    seen = (json.loads(line) for line in open(gmime))
    for number, (pieces, (words, raw)) in enumerate(zip(recipients(lines), messages(composed), strict=True)):
        count += 1
        broken = any(is_broken(piece) for piece in pieces)
        tally.add("refused when a value is not UTF-8 or has a NUL, and only then", number,
                  [] if broken == (raw is None) else ["%r for %r" % (words, pieces)])
        if raw is None:
            refused += 1
            continue
        read = next(seen)
        wanted = wanted_of(pieces)
        if words[2] == b"jis":
            jis += 1
            wanted = for_jis(wanted)
            charsets = set(re.findall(rb"charset=([^\r]*)|=\?([^?]*)\?", raw))
            tally.add("one charset in a message", number, [] if b"UTF-8" not in b"".join(sum(charsets, ())) else ["%r" % charsets])
        tally.add("Python's email reads what went in, without a defect or a field more", number, python_faults(raw, wanted))
        tally.add("GMime reads what went in, without a warning or a field more", number, gmime_faults(read, wanted))
    tally.add("every kind of recipient was there", -1, [] if refused > count / 200 and jis > count / 20 and count - jis > count / 20 else
              ["%d in all, %d refused, %d in ISO-2022-JP" % (count, refused, jis)])
    return tally.report(["%d recipients, %d refused, %d in ISO-2022-JP" % (count, refused, jis),
                         "no third parser: Debian has none for Node (node-nodemailer only writes)"])


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(int(sys.argv[2]))
    else:
        sys.exit(check(*sys.argv[2:5]))
