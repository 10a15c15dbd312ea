#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Orders in which each point comes behind each.

    pairs.py ROUTE LENGTH SEED HOW_MANY < POINTS     POINTS: lines "NAME NEED", NEED of any, smtp, relay, mx, ses

Prints campaigns, "ROUTE POINT POINT ...": whatever follows each other there is a pair. With HOW_MANY "all" each ordered
pair of points that some transport has both of, and each point with itself, is in one campaign, once (the circuits of
Euler in the graph of all pairs, cut to LENGTH pairs a campaign); with a number only so many of them, by chance. The
transport is ROUTE where it has both, or else the first of relay, mx, ses. What cannot be met behind each other: points
of mail servers with those of SES, and either with points that need refusals by a relay.
"""

import random
import sys

HAS = {"relay": {"any", "smtp", "relay"}, "mx": {"any", "smtp", "mx"}, "ses": {"any", "ses"}}


def circuit(edges, start):
    """Hierholzer; whatever of edges hangs together with start. Takes them out."""
    path, out = [start], []
    while path:
        if edges.get(path[-1]):
            path.append(edges[path[-1]].pop())
        else:
            out.append(path.pop())
    return out[::-1]


def campaigns(points, first, length, chance):
    routes = list(dict.fromkeys([first, "relay", "mx", "ses"]))
    edges = {route: {} for route in routes}
    for a, needs_a in points:
        for b, needs_b in points:
            route = next((r for r in routes if {needs_a, needs_b} <= HAS[r]), None)
            if route is not None:
                edges[route].setdefault(a, []).append(b)
    for route in routes:
        for after in edges[route].values():
            chance.shuffle(after)
        for start in chance.sample(sorted(edges[route]), len(edges[route])):
            way = circuit(edges[route], start)
            for i in range(0, len(way) - 1, length):
                yield [route] + way[i : i + length + 1]


def main():
    first, length, seed, how_many = sys.argv[1:]
    points = [tuple(line.split()) for line in sys.stdin]
    chance = random.Random(int(seed))
    made = list(campaigns(points, first, int(length), chance))
    chance.shuffle(made)
    left = None if how_many == "all" else int(how_many)
    for campaign in made:
        if left is not None:
            if left <= 0:
                break
            campaign = campaign[: left + 2]
            left -= len(campaign) - 2
        print(*campaign)


if __name__ == "__main__":
    main()
