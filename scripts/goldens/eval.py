# SPDX-License-Identifier: Apache-2.0
"""Expected values for the scorers: python.json (Python's and numpy's own arithmetic and random numbers) and
parse-cases.ndjson (what each official answer parser makes of hard strings, from independent restatements below).
   python scripts/goldens/eval.py fixtures/golden/eval
"""
import ast
import json
import math
import os
import platform
import random
import re
import sys

import numpy as np

OUT = sys.argv[1]
os.makedirs(OUT, exist_ok=True)


def dump(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, indent=1, ensure_ascii=True)
        f.write("\n")


# ------------------------------------------------------------------------------------------------- Python itself
def as_float(text):
    try:
        return repr(float(text))
    except ValueError:
        return None


def literal(text):
    try:
        value = ast.literal_eval(text)
        return {"value": value}
    except Exception:
        return None


FLOATS = ["", " ", "0.5", " 0.5\n", "1", "1.", ".5", "-0", "+1.0", "1e-1", "1E2", "1_000.5", "1__0", "_1", "1_", "0x1p3",
          "0x10", "inf", "-Infinity", "iNf", "nan", "-nan", "infinit", "1,0", "0.5.", "\u0661.\u0665", "\uff11", "\u00bd",
          "0.5\u00a0", "\u30000.5", "\ufeff0.5", "1e", "e5", ".", "-.5", "+.e1", "1e400", "0.1e-400", "1 2", "\x1c0.7\x1d",
          "\U0001d7d8.\U0001d7d9", "1e1_0", "1._5", "1_.5", "- 1", "--1", "0b1", "1j", "True", "\x00", "1\x00", "\u09e7"]
ROUNDS = [(x, n) for n in (0, 1, 2, 3) for x in
          (0.5, 1.5, 2.5, -0.5, -1.5, 0.05, 0.15, 0.25, 0.35, 2.675, 1.005, 2.345, 66.65, 71.75, 86.05, 85.95, 0.125, 0.375, 1e-9,
           99.95, 100.0, 0.0, 1234567.125, 12.3456789, 5.015, 1 / 3, 2 / 3, 31.1 / 3, 0.3665, 0.3675, 67.6870748, 1e22, 4503599627370497.5)]
STRIPS = ["  a b ", "\ta\n", "\u00a0a\u2003", "\ufeffa", "\x1ca\x1f", "\u0085a", "\u200ba", "a\u180e", "", " \n "]
SPLITS = ["a b", " a  b\n\tc ", "", "\ufeffa b", "a\u00a0b\u3000c", "a\x1cb\x1fc", "a\u200bb", "a\x85b\u2028c"]
LITERALS = ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", "[{\"model\": \"model_2\", \"rank\": 1}]", "[1, 2,]", "[01]", "{}",
            "(1, 'a')", "[True, None]", "true", "-1", "'a' 'b'", "'it\\'s'", "[1 2]", "[", "1.5e3", "x", "'\\u00e9\\n'", "", " [1]", "[1]\n", "{'a': [1, {'b': 2}]}"]
SEEDS = ["", "0", "is_switched_outputsHow do I make escargot?0", "caf\u00e9", "\u4f60\u597d", "a" * 300, 0, 1, 42, 2680, 2**31, 2**40 + 7, -5]


def stream(seed):
    r = random.Random(seed)
    out = {"seed": seed, "random": [r.random() for _ in range(3)], "getrandbits": [r.getrandbits(k) for k in (1, 2, 7, 31, 32)],
           "choice": [r.choice([False, True]) for _ in range(8)], "choices": [r.choices([False, True], k=1)[0] for _ in range(8)]}
    values = list(range(10))
    r.shuffle(values)
    out["shuffle"] = values
    out["sample"] = r.sample(range(10), 4)
    out["sample_large"] = r.sample(range(1000), 8)
    return out


rng = np.random.default_rng(7)
arrays = [[round(float(v), 3) for v in rng.random(n) * 10] for n in (1, 2, 5, 7, 8, 9, 31, 128, 129, 200, 1000)]
dump("python.json", {
    "versions": {"python": platform.python_version(), "numpy": np.__version__},
    "float": [[t, as_float(t)] for t in FLOATS],
    "round": [[x, n, repr(round(x, n)), repr(float(np.round(np.float64(x), n))), repr(float(round(np.float64(x), n)))] for x, n in ROUNDS],
    "strip": [[t, t.strip()] for t in STRIPS],
    "split": [[t, t.split()] for t in SPLITS],
    "length": [[t, len(t)] for t in ("", "abc", "\u00e9", "\U0001f600!", "e\u0301", "\u4f60\u597d")],
    "literal": [[t, literal(t)] for t in LITERALS],
    "random": [stream(s) for s in SEEDS],
    "arrays": [{"values": a, "mean": repr(float(np.mean(a))), "std": repr(float(np.std(a)))} for a in arrays],
})
