# SPDX-License-Identifier: Apache-2.0
"""Recomputes figures of a rehearsed `kairan simulate` from its trace, without its code.

check_rehearsal.py FIGURES.json TRACE [even]: prints one line per mistake, then "ok". even: no guard, no pause, and
rates that hardly change, so that windows and lines can be reckoned from what left alone.
"""
import json
import sys
from collections import Counter, defaultdict

figures = json.load(open(sys.argv[1]))
even = sys.argv[3:] == ["even"]
lanes = {lane["lane"]: lane for lane in figures["lanes"]}
times, near, runs, strict, run, last = defaultdict(list), defaultdict(lambda: [0] * 16), Counter(), 0, 0, None
mistakes = []


def check(good, text):
    if not good:
        mistakes.append(text)


for line in open(sys.argv[2]):
    at, name = line.split()[:2]
    at = int(at)
    times[name].append(at)
    run = run + 1 if name == last else 1
    last = name
    runs[name] = max(runs[name], run)
    second = at // 1_000_000 % 3600  # whole-hour zones only
    away = (second if second < 1800 else 3600 - second - 1) // 60
    if away < 16:
        near[name][away] += 1


def windows(name, seconds):
    """Counts of whole windows between the first and the last message, without the last two minutes."""
    counts = Counter(t // (seconds * 1_000_000) for t in times[name])
    begin, end = min(counts) + 1, (times[name][-1] // 1_000_000 - 120) // seconds
    return [counts[k] for k in range(begin, end)]


def off_line(name):
    """The least that a lane is off a straight line through ten minutes of it."""
    t = [x for x in times[name] if 300e6 < x - times[name][0] < 900e6]
    n, mean_t, mean_i = len(t), sum(t) / len(t), (len(t) - 1) / 2
    slope = sum((x - mean_t) * (i - mean_i) for i, x in enumerate(t)) / sum((x - mean_t) ** 2 for x in t)
    rest = [i - mean_i - slope * (x - mean_t) for i, x in enumerate(t)]
    return (max(rest) - min(rest)) / 2


for name, lane in lanes.items():
    check(len(times[name]) == lane["tries"], f"{name}: tries {len(times[name])} {lane['tries']}")
    check(near[name] == lane["near_hour"], f"{name}: near_hour {near[name]} {lane['near_hour']}")
    check(runs[name] == lane["run"], f"{name}: run {runs[name]} {lane['run']}")
    check(0 <= lane["order_D"] <= 1, f"{name}: order_D {lane['order_D']}")
    if lane["guard"] == "strict":
        strict += sum(near[name][:4])
    if not even:
        continue
    for seconds in (1, 10, 60):
        n = windows(name, seconds)
        mean = sum(n) / len(n)
        burst = sum((x - mean) ** 2 for x in n) / len(n) / mean
        said = lane[f"burst_{seconds}s"]
        check(abs(burst - said) <= 0.03 + 0.1 * burst, f"{name}: burst in {seconds} s {burst} {said}")
    peak = max(n) / mean
    check(abs(peak - lane["peak_to_mean"]) <= 0.03, f"{name}: peak {peak} {lane['peak_to_mean']}")
    check(off_line(name) <= lane["D"] + 0.05, f"{name}: D {off_line(name)} {lane['D']}")
    check(lane["D"] <= 1.1, f"{name}: D {lane['D']}")
total = figures["total"]
check(strict == 0 == total["strict_within_4_min"], f"strict near the hour: {strict}")
check(total["order_D_max"] == max(x["order_D"] for x in lanes.values()), "order_D_max")
check(total["D_max"] == max((x["D"] for x in lanes.values() if x["D"] is not None), default=None), "D_max")
for text in mistakes[:20]:
    print(text)
print("ok" if not mistakes else f"{len(mistakes)} mistakes")
