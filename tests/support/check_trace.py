# SPDX-License-Identifier: Apache-2.0
"""Recomputes figures of `kairan simulate` from its traces, without its code.

check_trace.py FIGURES.json TRACE ORDER [ACCOUNT_PER_S]: prints one line per mistake, then "ok".
"""
import json
import sys
from collections import Counter, defaultdict

figures = json.load(open(sys.argv[1]))
account = float(sys.argv[4]) if len(sys.argv) > 4 else 0
lanes = {lane["lane"]: lane for lane in figures["lanes"]}
mistakes = []


def check(good, text):
    if not good:
        mistakes.append(text)


# ---- the timed run
times, sent, near, runs = [], Counter(), defaultdict(lambda: [0] * 16), Counter()
minutes, run, last = Counter(), 0, None
for line in open(sys.argv[2]):
    at, lane, _ = line.split()
    at = int(at)
    times.append(at)
    sent[lane] += 1
    run = run + 1 if lane == last else 1
    last = lane
    runs[lane] = max(runs[lane], run)
    minutes[at // 60_000_000] += 1
    second = at // 1_000_000 % 3600  # whole-hour zones only
    away = (second if second < 1800 else 3600 - second - 1) // 60
    if away < 16:
        near[lane][away] += 1
check(len(times) == figures["messages"], "the number of messages")
check(figures["unsent"] == 0, "some were not sent")
strict = 0
for name, lane in lanes.items():
    check(sent[name] == lane["count"] == lane["sent"], f"{name}: count {sent[name]}")
    check(near[name] == lane["near_hour"], f"{name}: near_hour {near[name]} {lane['near_hour']}")
    check(runs[name] == lane["run"], f"{name}: run {runs[name]} {lane['run']}")
    if lane["guard"] == "strict":
        strict += sum(near[name][:4])
check(strict == 0 == figures["total"]["strict_within_4_min"], f"strict near the hour: {strict}")
check(abs((max(times) - min(times)) / 1e6 - figures["duration_s"]) < 900, "duration")
if account:
    times.sort()
    # any window: the k-th next message not before (k - 1) intervals
    for k in (1, 2, 3, 10, 100, 1000):
        worst = min((times[i + k] - times[i] for i in range(len(times) - k)), default=1e18)
        check(worst >= k * 1e6 / account - 2, f"{k + 1} messages in {worst} us")

# ---- the order without a clock: every lane within one message at every prefix
total, given, worst, n = sum(l["count"] for l in lanes.values()), Counter(), Counter(), 0
for line in open(sys.argv[3]):
    number, lane, _ = line.split()
    n += 1
    check(int(number) == n, f"order: line {n}")
    share = lanes[lane]["count"] / total
    worst[lane] = max(worst[lane], abs(given[lane] - (n - 1) * share))
    given[lane] += 1
    worst[lane] = max(worst[lane], abs(given[lane] - n * share))
check(n == total, "order: number of lines")
for name, lane in lanes.items():
    check(abs(worst[name] - lane["order_D"]) < 1e-4, f"{name}: order_D {worst[name]} {lane['order_D']}")
    check(worst[name] <= 1, f"{name}: order_D {worst[name]}")

for text in mistakes[:20]:
    print(text)
print("ok" if not mistakes else f"{len(mistakes)} mistakes")
