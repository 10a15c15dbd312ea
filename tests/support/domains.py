# SPDX-License-Identifier: Apache-2.0
"""A list as `kairan simulate` reads it: domains.py RECIPIENTS DOMAINS [sorted|reversed|shuffled]

A few large providers as in Japan, some abroad, two sites of one size that no provider has, and a long tail in which one domain in five has
several recipients. The same numbers always give the same list.
"""
import random
import sys

BIG = {"gmail.com": 30, "docomo.ne.jp": 12, "softbank.ne.jp": 7, "ezweb.ne.jp": 5, "au.com": 4, "yahoo.co.jp": 9,
       "icloud.com": 6, "hotmail.co.jp": 2, "outlook.jp": 1.5, "i.softbank.jp": 1.5, "ymobile.ne.jp": 0.8, "ocn.ne.jp": 1,
       "nifty.com": 0.9, "biglobe.ne.jp": 0.7, "yahoo.com": 1, "so-net.ne.jp": 0.5, "uqmobile.jp": 0.4, "rakuten.jp": 0.3,
       "me.com": 0.3, "plala.or.jp": 0.3, "outlook.com": 0.5, "live.jp": 0.4, "jcom.home.ne.jp": 0.4, "qq.com": 0.2,
       "large-a.example.com": 0.25, "large-b.example.com": 0.25, "163.com": 0.15, "naver.com": 0.12, "mail.ru": 0.1, "comcast.net": 0.1, "gmx.de": 0.08, "orange.fr": 0.09}
recipients, domains = int(sys.argv[1]), int(sys.argv[2])
order = sys.argv[3] if len(sys.argv) > 3 else "sorted"
rows = {name: max(1, int(recipients * share / 100)) for name, share in BIG.items()}
tail, left = domains - len(rows), recipients - sum(rows.values())
several = max(1, tail // 5)
for i in range(tail):
    rows[f"d{i * 7919 % tail:06d}.example.jp"] = 1 + (max(0, left - tail) // several if i < several else 0)
rows["gmail.com"] += recipients - sum(rows.values())
lines = sorted(rows.items())
if order == "reversed":
    lines.reverse()
if order == "shuffled":
    random.Random(7).shuffle(lines)
print("\n".join(f"{name} {count}" for name, count in lines))
