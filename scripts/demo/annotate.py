# SPDX-License-Identifier: Apache-2.0
"""Annotated preferences for the shipped preference scenes: 4 sampled answers per question, each graded 0..4 on the five metrics
of the DPO paper by the ground truth instead of a commercial judge.
   python annotate.py MODEL_DIR CACHE ../../fixtures/demo/data/preference/annotated.jsonl"""
import json
import os
import random
import sys

import numpy as np
import torch

import qa
from align import judge
from common import Coder, image_features, load, pixels, read_jsonl
from evaluate import generate_feats


def grades(ann, q, text):
    """helpfulness: overall truth score; correctness: share of named objects that exist; coherence: ends cleanly, no repeats;
    complexity and verbosity: by content words and length."""
    said = qa.mentioned(text)
    right = sum(c in ann["counts"] for c in said) / max(1, len(said)) if said and not q.startswith("Is there") else judge(ann, q, text)
    words = text.split()
    repeats = len(qa._RE.findall(text)) - len(said)
    return {"helpfulness": round(4 * judge(ann, q, text)), "correctness": round(4 * right),
            "coherence": max(0, 4 - repeats - 2 * (not text.endswith("."))), "complexity": min(4, len(said) + ("background" in text) - (len(words) < 8)),
            "verbosity": min(4, len(words) // 7)}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    model, tok = load(sys.argv[1])
    coder, rng = Coder(tok), random.Random(4)
    anns = [(i, a) for i, a in enumerate(read_jsonl(f"{sys.argv[2]}/pref/ann.jsonl")[:400]) if a["objects"]][:300]
    images = np.load(f"{sys.argv[2]}/pref/images.npy", mmap_mode="r")[[i for i, _ in anns]]
    with torch.no_grad():
        feats = torch.cat([image_features(model, pixels(images[s:s + 100])) for s in range(0, 300, 100)])
    rows = []
    for k, (_, a) in enumerate(anns):
        c = rng.choice(qa.kinds(a)) if rng.random() < 0.5 else qa.companion(rng, a) or "kite"
        rows += [(k, q) for q in (rng.choice(qa.Q_LONG), rng.choice(qa.Q_SHORT), qa.q_presence(c))]
    gen = torch.Generator().manual_seed(0)
    many = [generate_feats(model, coder, feats[[k for k, _ in rows]], [q for _, q in rows], temperature=0.9, gen=gen) for _ in range(4)]
    with open(sys.argv[3], "w") as f:
        for n, (k, q) in enumerate(rows):
            cand = [{"text": m[n], **grades(anns[k][1], q, m[n])} for m in many]
            f.write(json.dumps({"question_id": n, "image": f"scene_{k:04d}.jpg", "question": q, "candidates": cand}) + "\n")
