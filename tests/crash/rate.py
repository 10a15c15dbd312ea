#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What became of the rate, by the times in a relay's ground truth.

    rate.py back TRUTH FAULTS [CALM]    FAULTS: lines "NAME BEGIN END WATCHED", in seconds of the epoch: of the
                                    fault, and until when nothing else is done. JSON: for each fault
                                    {"fault", "calm_per_s", "least_per_s", "back_s"}
    rate.py mean TRUTH FROM TO          messages a second between two times

A rate is that of WINDOW_S. The calm one is CALM, or the mean of CALM_S before the fault. A rate below LOW of it
counts as a fall; back_s runs from the end of the fault until the beginning of the first window behind
the last fall that has BACK of the calm rate: 0 when it never fell, null when it did not come back, or
when there was nothing to fall. What falls behind LOOK_S is not the fault's.
"""

import bisect
import json
import sys

WINDOW_S, CALM_S, LOOK_S, LOW, BACK = 3.0, 15.0, 10.0, 0.8, 0.95
STEP_S = 0.25


def times_of(path):
    with open(path, encoding="utf-8") as f:
        return sorted(json.loads(line)["at"] for line in f if line.strip())


def mean(times, begin, end):
    taken = bisect.bisect_left(times, end) - bisect.bisect_left(times, begin)
    return taken / (end - begin) if end > begin else 0.0


def back(times, calm, name, begin, end, watched):
    calm = calm or mean(times, begin - CALM_S, begin)
    windows = []
    at = end
    while at + WINDOW_S <= watched:
        windows.append((at - end, mean(times, at, at + WINDOW_S)))
        at += STEP_S
    result = {"fault": name, "calm_per_s": round(calm, 1), "least_per_s": None, "back_s": None}
    if calm == 0 or not windows:
        return result
    result["least_per_s"] = round(min(rate for _, rate in windows), 1)
    falls = [i for i, (s, rate) in enumerate(windows) if s <= LOOK_S and rate < LOW * calm]
    if not falls:
        result["back_s"] = 0.0
        return result
    for s, rate in windows[falls[-1]:]:
        if rate >= BACK * calm:
            result["back_s"] = s
            break
    return result


def main():
    what, truth, *rest = sys.argv[1:]
    times = times_of(truth)
    if what == "mean":
        print(round(mean(times, float(rest[0]), float(rest[1])), 1))
        return
    with open(rest[0], encoding="utf-8") as f:
        faults = [line.split() for line in f if line.strip()]
    calm = float(rest[1]) if len(rest) > 1 else 0.0
    print(json.dumps([back(times, calm, name, *map(float, at)) for name, *at in faults]))


if __name__ == "__main__":
    main()
