# SPDX-License-Identifier: Apache-2.0
"""Summarises results.jsonl: mean +- sd over seeds per (tag), next to the base model.  python table.py RESULTS.jsonl [TAG_PREFIX]"""
import sys
from collections import defaultdict

import numpy as np

from common import read_jsonl

rows = read_jsonl(sys.argv[1])
pre = sys.argv[2] if len(sys.argv) > 2 else ""
cols = [("rnd", "random", "acc"), ("pop", "popular", "acc"), ("adv", "adversarial", "acc"), ("adv-yes", "adversarial", "yes_ratio"),
        ("short CHi", "short", "chair_i"), ("short rec", "short", "recall"), ("short F1", "short", "f1"),
        ("long CHi", "long", "chair_i"), ("long CHs", "long", "chair_s"), ("long rec", "long", "recall"), ("long F1", "long", "f1")]
flat = [("count",), ("colour",), ("word",), ("relation",)]
print("| run | n | pairs | " + " | ".join(c[0] for c in cols + flat) + " |")
print("|" + "---|" * (len(cols + flat) + 3))


def cells(group):
    out = []
    for c in cols + flat:
        v = [100 * (g[c[1]][c[2]] if len(c) == 3 else g[c[0]]) for g in group if len(c) == 3 or c[0] in g]
        out.append("-" if not v else f"{np.mean(v):.1f}" + (f"\u00b1{np.std(v, ddof=1):.1f}" if len(v) > 1 else ""))
    return " | ".join(out)


groups = defaultdict(list)
for r in rows:
    if "key" in r:
        print(f"| base {r['key'].split('|')[1].split('/')[-1]} ({r['key'].split('|')[2]} scenes) | | | {cells([r['scores']])} |")
    elif r["tag"].startswith(pre):
        groups[f"{r['tag']} lr {r['args']['lr']:g}"].append(r)
for k, g in groups.items():
    print(f"| {k} | {len(g)} | {np.mean([r['pairs'] for r in g]):.0f} | {cells([r['scores'] for r in g])} |")
