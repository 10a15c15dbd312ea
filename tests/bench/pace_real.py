#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a run of pace_real.sh has shown.

    pace_real.py stalls FILE      notes how long a process that only sleeps is kept waiting, until it is ended
    pace_real.py check --folder D --rate R --dispatchers N --connections N --eta S --calls N --redis BYTES DOMAIN=RATE...

check reads from D
    arrivals        stamp_sink: microseconds of MAIL and of the end of the text, recipient
    sends           id, address, state, lane, whether the lane has a list of its own
    dispatcher-*    "leaves run= send= due_us= late_us=" for each flight, by the host's monotonic clock, and
                    "missed its time" for each permit that passed unused
    stalls          monotonic seconds, seconds kept waiting
and prints lines "ok|fail|note TAB text", then "json TAB figures".

A limit is held against the times of MAIL, since that is what a dispatcher decides. The end of a text
waits for the sink's 354, which a machine that is short of processors makes late. When more came in a
window than the limit allows, it is told how many of them were due before that window: those were late,
and the table of stalls says whether the machine was. What was due then is held against the limit as well."""

import argparse
import bisect
import csv
import glob
import json
import os
import re
import sys
import time

LATE = 0.005  # s, what a dispatcher lets pass without another permit
STEP = 0.005  # s, of the process that only sleeps
SECOND = 1_000_000


def stalls(path):
    with open(path, "w", encoding="ascii", buffering=1) as out:
        while True:
            began = time.monotonic()
            time.sleep(STEP)
            late = time.monotonic() - began - STEP
            if late > 0.002:
                out.write(f"{began:.4f} {late:.4f}\n")


def most_in(times, width=SECOND):
    """The most in a window of that width, and where it begins. times: sorted."""
    best, where, low = 0, 0, 0
    for i, t in enumerate(times):
        while t - times[low] >= width:
            low += 1
        if i - low + 1 > best:
            best, where = i - low + 1, times[low]
    return best, where


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0


def deviation(lanes, lane):
    """How far a lane is from its part of what has come, at the worst moment. lanes: in order of coming."""
    n, every = lanes.count(lane), len(lanes)
    worst, k = 0.0, 0
    for t, each in enumerate(lanes, 1):
        if each == lane:
            worst = max(worst, abs(k - (t - 1) * n / every))
            k += 1
            worst = max(worst, abs(k - t * n / every))
    return worst


class Run:
    def __init__(self, folder):
        with open(os.path.join(folder, "sends"), encoding="utf-8", newline="") as f:
            rows = list(csv.reader(f))
        self.address = {int(r[0]): r[1] for r in rows}
        self.lane = {r[1]: r[3] if r[4] == "t" else "all" for r in rows}
        self.states = {}
        for r in rows:
            self.states[r[2]] = self.states.get(r[2], 0) + 1
        with open(os.path.join(folder, "arrivals"), encoding="utf-8") as f:
            lines = [line.split() for line in f]
        self.came = sorted((int(a), int(b), to) for a, b, to in lines)
        missed = 0
        self.left = []  # due and left, monotonic us, address
        pattern = re.compile(r"leaves run=\d+ send=(\d+) due_us=(\d+) late_us=(\d+)")
        for path in glob.glob(os.path.join(folder, "dispatcher-*.log")):
            with open(path, encoding="utf-8", errors="replace") as f:
                for line in f:
                    m = pattern.search(line)
                    missed += "missed its time" in line
                    if m:
                        send, due, late = map(int, m.groups())
                        self.left.append((due, due + late, self.address[send]))
        self.left.sort()
        self.missed = missed / max(missed + len(self.left), 1)
        with open(os.path.join(folder, "stalls"), encoding="ascii") as f:
            self.stalls = [tuple(map(float, line.split())) for line in f if line.count(" ") == 1 and line.endswith("\n")]



def say(good, text):
    print("ok" if good else "fail", text, sep="\t")


def check_limit(run, name, rate, dispatchers, of):
    """One limit: what was due, and what came. Returns the figures."""
    due = [d for d, _, to in run.left if of(to)]
    gone = sorted(g for _, g, to in run.left if of(to))
    came = [a for a, _, to in run.came if of(to)]
    ends = sorted(b for _, b, to in run.came if of(to))
    allowed = rate + dispatchers
    most_due, _ = most_in(due)
    most_gone, _ = most_in(gone)
    most, where = most_in(came)
    most_ends, _ = most_in(ends)
    say(most_due <= allowed, f"{name}: permits for at most {allowed} in any second ({most_due})")
    late = sum(1 for d, g, to in run.left if of(to) and g - d > 1000)
    if most > allowed:
        # the clocks of sink and dispatchers differ by a constant; both see the same flights
        offset = came[0] - gone[0]
        late_there = sum(1 for d, g, to in run.left if of(to) and d + offset < where <= g + offset + 1000)
        slow = sum(s for t, s in run.stalls if abs(t * 1e6 + offset - where) < SECOND)
        print("note", f"{name}: {most} came in one second; {late_there} of them were due before it, and the machine "
              f"kept a sleeping process waiting for {slow * 1000:.0f} ms about then", sep="\t")
    slow_at_worst = max((s for _, s in run.stalls), default=0)
    machine = slow_at_worst > LATE
    if most <= allowed or not machine:
        say(most <= allowed, f"{name}: at most {allowed} come in any second ({most})")
    else:
        # what the machine held up is the machine's: no more than the rate over its worst stall
        bound = allowed + rate * slow_at_worst
        say(most <= bound, f"{name}: at most {allowed} come in any second ({most}), but for what waited for a processor")
    return {"rate": rate, "due": most_due, "left": most_gone, "mail": most, "text": most_ends, "late_1ms": late}


def check(args):
    run = Run(args.folder)
    planned = len(run.lane)
    sent, doubt = run.states.get("sent", 0), run.states.get("in_doubt", 0)
    figures = {"bench": "pace_real", "recipients": planned, "rate": args.rate, "in_doubt": doubt}
    say(sent + doubt == planned and doubt <= args.connections,
        f"everybody is sent to or, being on a connection of the killed one, in doubt ({run.states})")
    say(len({to for _, _, to in run.came}) == len(run.came), "nobody got it twice")
    figures["all"] = check_limit(run, "all together", args.rate, args.dispatchers, lambda to: True)
    for pair in args.limits:
        domain, _, rate = pair.partition("=")
        figures[domain] = check_limit(run, domain, int(rate), args.dispatchers, lambda to, d="@" + domain: to.endswith(d))

    lateness = [(g - d) / 1e6 for d, g, _ in run.left]
    jitter = quantile(lateness, 0.99)
    figures["late_ms"] = {str(p): round(quantile(lateness, p) * 1000, 2) for p in (0.5, 0.99, 0.999)}
    lanes = [run.lane[to] for _, _, to in run.came]
    worst = {lane: round(deviation(lanes, lane), 1) for lane in sorted(set(lanes))}
    figures["deviation"] = worst
    bound = 1 + args.rate * max(jitter, LATE) + args.connections
    say(max(worst.values()) <= bound, f"every lane stays within {bound:.1f} messages of its share ({worst})")

    begin, end = run.came[0][0] / 1e6, run.came[-1][1] / 1e6
    off = (end - args.eta) / (args.eta - begin)
    figures["seconds"] = round(end - begin, 1)
    figures["eta_off_per_cent"] = round(off * 100, 2)
    figures["missed_per_cent"] = round(run.missed * 100, 2)
    late = max((s for _, s in run.stalls), default=0) > LATE
    if abs(off) > 0.05 and late:
        print("note", f"{run.missed * 100:.1f} % of the permits passed unused, since the machine let the dispatchers wait", sep="\t")
        off = (1 + off) * (1 - run.missed) - 1
        say(abs(off) <= 0.05, f"it ends when the plan said, within 5 %, but for permits that the machine let pass ({off * 100:+.1f} %)")
    else:
        say(abs(off) <= 0.05, f"it ends when the plan said, within 5 % ({off * 100:+.1f} %)")
    per_message = args.calls / planned
    figures["calls_per_message"] = round(per_message, 4)
    say(per_message <= 0.05, f"at most 0.05 calls of scripts per message ({per_message:.4f})")
    figures["redis_peak_mb"] = round(args.redis / 1e6, 1)
    say(args.redis <= 20e6, f"Redis holds at most 20 MB ({args.redis / 1e6:.1f})")
    figures["stalls_over_5ms"] = sum(1 for _, s in run.stalls if s > LATE)
    figures["worst_stall_ms"] = round(max((s for _, s in run.stalls), default=0) * 1000)
    figures["load"] = float(open("/proc/loadavg", encoding="ascii").read().split()[0])
    print("json", json.dumps(figures), sep="\t")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["stalls", "check"])
    parser.add_argument("limits", nargs="*")
    parser.add_argument("--folder")
    for name, kind in (("rate", int), ("dispatchers", int), ("connections", int), ("eta", float), ("calls", int), ("redis", int)):
        parser.add_argument(f"--{name}", type=kind)
    args = parser.parse_intermixed_args()
    if args.what == "stalls":
        stalls(args.limits[0])
    else:
        check(args)


if __name__ == "__main__":
    sys.exit(main())
