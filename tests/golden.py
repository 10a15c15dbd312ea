#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden notices: `kairan-feedback classify` on mails written for this test, plain and bent.

    tests/golden.py [--program build/release/kairan-feedback] [--bend] [--corpus [DIR]] [--show]

Without --bend each mail of tests/golden/*.txt must have the verdict that stands over it. --bend
does to each what support/bend_mail.py and bend_road.py list and asks for the same verdict. --corpus does so to the
mails beside the checkout (see corpus.py) and counts how many verdicts stay; it says so when there
are none. TAP for the golden mails. Status 1 when a verdict differs, or when fewer than
CORPUS_FLOOR per cent of the corpus stay.

A file holds mails in UTF-8, each behind lines of "@@ name", "= verdict" and perhaps "! bend: why":
a bend that does change this mail's meaning. A part is transcoded to the charset and transfer
encoding that its header names; "X-Golden-Charset: x" says what bytes to make of a part that names
none, and is left out. {{charset text}} becomes an encoded word (RFC 2047).

Verdict: kind, feedback type, then "; address status smtp class reason" per recipient, "-" for
what is empty. An address that a bent mail no longer contains need not be found.
"""
import argparse
import base64
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "support"))
import bend_mail  # noqa: E402
import bend_road  # noqa: E402
import corpus  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS_FLOOR = 99.5
BENDS = bend_mail.BENDS + bend_road.BENDS + [(name, bend) for name, bend, _ in bend_road.ADDED]
ADDED = {name: what for name, _, what in bend_road.ADDED}
MEN = [("forwarded by a person", bend_mail.forward)] + bend_road.MEN


def encoded_word(match):
    charset, text = match.group(1), match.group(2)
    data = text.encode(bend_mail.CHARSETS.get(charset.lower(), charset))
    return f"=?{charset}?B?{base64.b64encode(data).decode()}?="


def build(text):
    """From the readable form to the bytes on the wire."""
    text = re.sub(r"\{\{(\S+) (.*?)\}\}", encoded_word, text)
    if not re.search(r"^(Content-Transfer-Encoding|X-Golden-Charset|Content-Type:.*charset)", text, re.M | re.I):
        return text.encode()
    mail = bend_mail.Part(text.encode())
    for leaf in mail.leaves():
        charset = leaf.parameter("charset").lower() or "utf-8"
        encoding = leaf.encoding()
        golden = leaf.get("X-Golden-Charset").decode().strip()
        for part in (leaf, mail):
            part.drop("X-Golden-Charset")
        charset = golden or charset
        data = leaf.body.decode().encode(bend_mail.CHARSETS.get(charset, charset))
        leaf.body = data
        if encoding in ("base64", "quoted-printable"):
            leaf.encode(data, encoding)
    return mail.bytes()


class Golden:
    def __init__(self, name, verdict, changed, raw):
        self.name, self.verdict, self.changed, self.raw = name, verdict, changed, raw


def load():
    goldens = []
    for path in sorted(glob.glob(os.path.join(HERE, "golden", "*.txt"))):
        with open(path, encoding="utf-8") as stream:
            pieces = re.split(r"^@@ ", stream.read(), flags=re.M)[1:]
        for piece in pieces:
            lines = piece.split("\n")
            name, verdict, changed = lines.pop(0), "", {}
            while lines and lines[0][:2] in ("= ", "! "):
                line = lines.pop(0)
                if line[0] == "=":
                    verdict += line[2:]
                else:
                    bend, _, why = line[2:].partition(":")
                    changed[bend.strip()] = why.strip()
            raw = build("\n".join(lines).strip("\n") + "\n")
            goldens.append(Golden(os.path.basename(path)[:-4] + ": " + name, verdict, changed, raw))
    return goldens


def verdict_of(answer):
    line = answer["kind"] + (" " + answer["feedback_type"] if answer["feedback_type"] else "")
    for r in answer["recipients"]:
        line += "; " + " ".join(r[k] or "-" for k in ("address", "status", "smtp", "class", "reason"))
    return line


def classify(program, mails):
    """Verdicts of many mails, in order."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, raw in enumerate(mails):
            files.append(os.path.join(folder, str(i)))
            with open(files[-1], "wb") as stream:
                stream.write(raw)
        answers = corpus.classify(program, folder, [{"file": f} for f in files])
    return [verdict_of(answers[f]) for f in files]


def is_same(before, after, raw):
    """The same verdict, but for addresses that the mail no longer holds."""
    if before == after:
        return True
    lost = [p for p in before.split("; ")[1:] if p not in after.split("; ")[1:]]
    return (before.split("; ")[0] == after.split("; ")[0]
            and all(p in before for p in after.split("; ")[1:])
            and all(p.split(" ")[0].encode() not in raw for p in lost))


def is_good(bend, golden, after, raw):
    """The verdict stays, and has the recipient that the bend added."""
    if bend not in ADDED:
        return is_same(golden.verdict, after, raw)
    have = after.split("; ")[1:]
    return ADDED[bend] in have and all(r in have for r in golden.verdict.split("; ")[1:])


def bend_all(program, name, goldens, show):
    """name of the set -> (bend, mail, before, after) of those that changed; counts per bend."""
    jobs = []
    for golden in goldens:
        for bend, function in BENDS:
            bent = None if bend in golden.changed else function(golden.raw)
            if bent is not None and bent != golden.raw:
                jobs.append((bend, golden, bent))
    after = classify(program, [bent for _, _, bent in jobs])
    changed, counts = [], {}
    for (bend, golden, bent), verdict in zip(jobs, after):
        good = is_good(bend, golden, verdict, bent)
        counts.setdefault(bend, [0, 0])
        counts[bend][0] += good
        counts[bend][1] += 1
        if not good:
            changed.append((bend, golden, verdict, bent))
    if show:
        for bend, (good, total) in counts.items():
            print(f"# {name}: {bend:32} {good:5} of {total:5}")
    return changed, counts


def by_men(program, goldens, bend):
    """What a person makes of a notice is never a bounce or a complaint."""
    jobs = [(g, bend(g.raw)) for g in goldens]
    jobs = [(g, bent) for g, bent in jobs if bent is not None]
    after = classify(program, [bent for _, bent in jobs])
    return [(g, v) for (g, _), v in zip(jobs, after) if v.split(";")[0] not in ("other", "auto_reply")], len(jobs)


def tap(number, good, name, detail):
    print(("ok" if good else "not ok") + f" {number} - {name}")
    for line in detail:
        print("#   " + line)


def run_goldens(program, goldens, with_bends, show):
    failed, number = 0, 0
    for golden, got in zip(goldens, classify(program, [g.raw for g in goldens])):
        number += 1
        good = got == golden.verdict
        failed += not good
        tap(number, good, golden.name, [] if good else ["expected " + golden.verdict, "got      " + got])
    if with_bends:
        changed, counts = bend_all(program, "golden", goldens, show)
        for bend in counts:
            mine = [c for c in changed if c[0] == bend]
            number += 1
            failed += bool(mine)
            tap(number, not mine, f"{bend}: {counts[bend][1]} verdicts stay",
                [f"{g.name}: {g.verdict} -> {v}" for _, g, v, _ in mine])
        for name, bend in MEN:
            bad, count = by_men(program, goldens, bend)
            number += 1
            failed += bool(bad)
            tap(number, not bad, f"{name}: {count} are no notices", [f"{g.name}: -> {v}" for g, v in bad])
    print(f"1..{number}")
    return failed


def run_corpus(program, named, show):
    folder = corpus.find_folder(named)
    if folder is None:
        return 0
    mails = []
    with open(os.path.join(folder, "expected.jsonl"), encoding="utf-8") as stream:
        for line in map(json.loads, stream):
            with open(os.path.join(folder, line["file"]), "rb") as mail:
                raw = mail.read()
            if line["form"] == "message" and "-crlf/" not in line["file"]:
                mails.append(Golden(line["file"], "", {}, raw.replace(b"\r\n", b"\n")))
    for golden, verdict in zip(mails, classify(program, [m.raw for m in mails])):
        golden.verdict = verdict
    changed, counts = bend_all(program, folder, mails, True)
    total = sum(c[1] for c in counts.values())
    percent = 100.0 * (total - len(changed)) / total
    if show:
        for bend, golden, verdict, _ in changed:
            print(f"    {bend}: {golden.name}: {golden.verdict} -> {verdict}")
    print(f"{folder}: {total - len(changed)} of {total} verdicts stay, {percent:.2f} %"
          f" (floor {CORPUS_FLOOR:g} %)")
    taken = 0
    for name, bend in MEN:
        bad, count = by_men(program, mails, bend)
        taken += len(bad)
        print(f"{folder}: {name}: {len(bad)} of {count} taken for notices")
        for golden, verdict in bad if show else []:
            print(f"    {name}: {golden.name}: -> {verdict}")
    return percent < CORPUS_FLOOR or taken > 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=os.environ.get("KAIRAN_BIN", "build/release")
                        + "/kairan-feedback")
    parser.add_argument("--bend", action="store_true")
    parser.add_argument("--corpus", nargs="?", const="", default=None)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    failed = run_goldens(args.program, load(), args.bend, args.show)
    if args.corpus is not None:
        failed += run_corpus(args.program, args.corpus or None, args.show)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
