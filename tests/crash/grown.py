#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How programs grew behind their warm-up.

    grown.py SAMPLES FROM       SAMPLES: lines "SECOND PROGRAM PID KB DESCRIPTORS"

JSON: for each program, of the life with the most samples since second FROM: {"samples", "kb" (at its end),
"grown_kb" (slope of the least squares over those samples, times their length), "kb_per_h" (the slope),
"fds", "fds_grown"}: the least number of descriptors in the last third of those samples less that in the first,
since faults take and give some. With fewer than 3 samples growth is null, which is no proof of anything.
"""

import collections
import json
import sys


def slope(points):
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    below = sum((x - mx) ** 2 for x, _ in points)
    return sum((x - mx) * (y - my) for x, y in points) / below if below else 0.0


def of_life(life):
    result = {"samples": len(life), "kb": life[-1][1], "grown_kb": None, "kb_per_h": None,
              "fds": life[-1][2], "fds_grown": None}
    if len(life) >= 3:
        per_s = slope([(at, kb) for at, kb, _ in life])
        third = len(life) // 3
        result["grown_kb"] = round(per_s * (life[-1][0] - life[0][0]))
        result["kb_per_h"] = round(per_s * 3600)
        result["fds_grown"] = min(f for _, _, f in life[-third:]) - min(f for _, _, f in life[:third])
    return result


def main():
    lives = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(sys.argv[1], encoding="utf-8") as f:
        for line in f:
            at, name, pid, kb, fds = line.split()
            if int(at) >= int(sys.argv[2]):
                lives[name][pid].append((int(at), int(kb), int(fds)))
    print(json.dumps({name: of_life(max(of.values(), key=len)) for name, of in lives.items()}))


if __name__ == "__main__":
    main()
