#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scores `kairan-feedback classify` on a folder of mails with an expected.jsonl beside them.

    tests/corpus.py [--program build/release/kairan-feedback] [--folder DIR] [--mismatches]
                    [--part all|tune|rest] [--goals] [--floor]

The folder is --folder, else $KAIRAN_CORPUS, else ../shared/corpus or ../../shared/corpus beside
the checkout. When there is none it says so and ends with status 0.

A line of expected.jsonl: file, kind, form ("message", "body", "json"), doubt (what not to hold
anybody to), recipients [{address, alt, status, status_alt, hard}]. null is not scored. --part
draws a stable half by the digest of the file's name: rules are made while looking at the
mismatches of "tune"; of "rest" only the figures are looked at, so that they say something about
mail that nobody has seen. --goals ends with status 1 when a goal is missed; --floor when a figure
falls below what was reached before (FLOOR), which is what `make test` asks.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys

GOALS = {"kind": 98.0, "address": 99.0, "hard/soft": 96.0, "status": 97.0}
FLOOR = {"kind": 99.5, "address": 98.0, "hard/soft": 99.0, "status": 99.5}


def find_folder(given):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    named = given or os.environ.get("KAIRAN_CORPUS")
    for folder in [named] if named else [root + "/../shared/corpus", root + "/../../shared/corpus"]:
        if os.path.exists(os.path.join(folder, "expected.jsonl")):
            return os.path.normpath(folder)
    print(f"corpus: not scored: no expected.jsonl in {named or '../shared/corpus'}"
          " (name a folder with --folder or KAIRAN_CORPUS)")
    return None


def is_tune(name):
    # copies with other line ends belong to the same half as their originals
    plain = name.replace("-crlf/", "/")
    return hashlib.sha256(plain.encode()).digest()[0] % 2 == 0


def classify(program, folder, lines):
    answers = {}
    for start in range(0, len(lines), 200):
        files = [line["file"] for line in lines[start:start + 200]]
        done = subprocess.run([os.path.abspath(program), "classify", *files], cwd=folder,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"corpus: {program} ended with status {done.returncode}: {done.stderr}")
        for text in done.stdout.splitlines():
            answer = json.loads(text)
            answers[answer["file"]] = answer
    return answers


class Score:
    def __init__(self):
        self.right, self.all, self.missed = {}, {}, []

    def add(self, what, good, file, expected, got):
        self.all[what] = self.all.get(what, 0) + 1
        self.right[what] = self.right.get(what, 0) + bool(good)
        if not good:
            self.missed.append((what, file, expected, got))

    def percent(self, what):
        return 100.0 * self.right.get(what, 0) / self.all[what] if self.all.get(what) else None


def fold(address):
    return (address or "").strip("<>").lower()


def score_recipient(score, line, want, got):
    if want.get("status") is not None:
        allowed = [want["status"]] + (want.get("status_alt") or [])
        score.add("status", got["status"] in allowed, line["file"], allowed, got["status"])
    if want.get("hard") is not None:
        is_hard = got["class"] == "hard"
        said = (got["class"], got["reason"], got["text"][:160])
        score.add("hard/soft", is_hard == want["hard"], line["file"],
                  ("hard" if want["hard"] else "soft", want.get("reason")), said)
        if is_hard and not want["hard"]:
            score.missed.append(("SOFT CALLED HARD", line["file"], want.get("reason"), said))
    if want.get("smtp") is not None:
        score.add("smtp (no goal)", got["smtp"] == want["smtp"], line["file"], want["smtp"],
                  got["smtp"])


def score_line(score, line, got):
    doubt = line.get("doubt") or []
    if line.get("kind") is not None and "kind" not in doubt:
        score.add("kind", got["kind"] == line["kind"], line["file"], line["kind"], got["kind"])
        if line["kind"] == "other" and got["kind"] in ("bounce", "complaint", "delayed"):
            score.missed.append(("FALSE POSITIVE", line["file"], "other", got["kind"]))
    if line.get("feedback_type"):
        score.add("feedback type", got["feedback_type"] == line["feedback_type"], line["file"],
                  line["feedback_type"], got["feedback_type"])
    if line.get("recipients") is None or "recipients" in doubt:
        return
    found = {fold(r["address"]): r for r in got["recipients"]}
    for want in line["recipients"]:
        if not want.get("address"):
            continue
        names = [fold(want["address"])] + [fold(a) for a in want.get("alt") or []]
        match = next((found[name] for name in names if name in found), None)
        score.add("address", match is not None, line["file"], names,
                  [r["address"] for r in got["recipients"]])
        if match is not None:
            score_recipient(score, line, want, match)
    if line["kind"] in ("bounce", "delayed"):
        known = {fold(a) for w in line["recipients"]
                 for a in [w.get("address")] + (w.get("alt") or [])}
        extra = [a for a in found if a not in known]
        score.add("no other address (no goal)", not extra, line["file"], sorted(known), extra)


def report(name, score, with_mismatches, wanted):
    missed_goals = []
    print(f"{name}:")
    for what in sorted(score.all, key=lambda w: ("no goal" in w, w)):
        percent, goal = score.percent(what), GOALS.get(what)
        print(f"  {what:28} {score.right[what]:4} of {score.all[what]:4}  {percent:6.2f} %"
              + (f"  goal {goal:g} %" if goal else ""))
        if what in wanted and percent < wanted[what]:
            missed_goals.append(what)
    for what in ("SOFT CALLED HARD", "FALSE POSITIVE"):
        count = sum(m[0] == what for m in score.missed)
        print(f"  {what.lower():28} {count:4}           goal 0")
        if count:
            missed_goals.append(what.lower())
    if with_mismatches:
        for what, file, expected, got in score.missed:
            print(f"    {what}: {file}: expected {expected}, got {got}")
    return missed_goals


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=os.environ.get("KAIRAN_BIN", "build/release")
                        + "/kairan-feedback")
    parser.add_argument("--folder")
    parser.add_argument("--part", choices=["all", "tune", "rest"], default="all")
    parser.add_argument("--mismatches", action="store_true")
    parser.add_argument("--goals", action="store_true")
    parser.add_argument("--floor", action="store_true")
    args = parser.parse_args()
    folder = find_folder(args.folder)
    if folder is None:
        return 0
    with open(os.path.join(folder, "expected.jsonl"), encoding="utf-8") as stream:
        lines = [json.loads(text) for text in stream if text.strip()]
    answers = classify(args.program, folder, lines)
    parts = {"tune": Score(), "rest": Score(), "all": Score()}
    for line in lines:
        half = "tune" if is_tune(line["file"]) else "rest"
        for part in (half, "all"):
            score_line(parts[part], line, answers[line["file"]])
    shown = ["tune", "rest", "all"] if args.part == "all" else [args.part]
    missed = []
    for part in shown:
        missed = report(f"{folder}, {part}", parts[part],
                        args.mismatches and (part == args.part or part == "all"),
                        FLOOR if args.floor else GOALS)
    if missed:
        print("missed: " + ", ".join(missed))
    return 1 if (args.goals or args.floor) and missed else 0


if __name__ == "__main__":
    sys.exit(main())
