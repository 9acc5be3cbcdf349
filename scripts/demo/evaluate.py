# SPDX-License-Identifier: Apache-2.0
"""Scores a model folder on the test scenes: POPE (three splits), caption hallucination (CHAIR-style), other questions.
   python evaluate.py MODEL_DIR CACHE_DIR/test [--scenes 400]"""
import argparse
import json
import os
import random

import numpy as np
import torch

import qa
from common import Coder, embed, generate, image_features, load, packed_batch, pixels, read_jsonl

SPLITS = ("random", "popular", "adversarial")


class Bench:
    def __init__(self, path, scenes, seed=11):
        rng = random.Random(seed)
        self.anns = read_jsonl(f"{path}/ann.jsonl")[:scenes]
        self.anns = [a for a in self.anns if a["objects"]]
        every = np.load(f"{path}/images.npy", mmap_mode="r")
        first = read_jsonl(f"{path}/ann.jsonl")[0]["seed"]
        self.images = every[[a["seed"] - first for a in self.anns]]
        at = {a["seed"]: i for i, a in enumerate(self.anns)}
        self.pope = []  # (split, scene index, object, label)
        for s in SPLITS:
            for a, obj, label in qa.pope_set(self.anns, s, 1, rng):
                self.pope.append((s, at[a["seed"]], obj, label == "yes"))
        self.truth = [set(a["counts"]) for a in self.anns]
        self.other = []  # (kind, scene index, question, answer)
        for i, a in enumerate(self.anns):
            c = rng.choice(qa.kinds(a))
            n = a["counts"][c]
            self.other.append(("count", i, f"How many {qa.plural(c)} are there?", f"There is one {c} in the image." if n == 1 else f"There are {qa.NUMBER[n]} {qa.plural(c)} in the image."))
            self.other.append(("colour", i, "What color is the background?", f"The background is {a['background']}."))
            if a["word"]:
                self.other.append(("word", i, "What word is written in the image?", f"The word {a['word']['text']} is written in the image."))
            rel = qa.relation(rng, a)
            if rel:
                self.other.append(("relation", i, *rel))

    @torch.no_grad()
    def features(self, model):
        return torch.cat([image_features(model, pixels(self.images[s:s + 100])) for s in range(0, len(self.images), 100)])

    @torch.no_grad()
    def run(self, model, coder, feats=None, other=False, samples=None):
        feats = self.features(model) if feats is None else feats
        yes, no = (coder.pair("x", w)[1][0] for w in ("Yes", "No"))
        by = {}
        for k, (s, i, obj, label) in enumerate(self.pope):
            by.setdefault(i, []).append((k, qa.q_presence(obj)))
        said, margin = [None] * len(self.pope), [0.0] * len(self.pope)
        keys = sorted(by)
        for s in range(0, len(keys), 50):
            part = keys[s:s + 50]
            ids, mask, pos, tgt, branch = packed_batch(coder, [[(q, "") for _, q in by[i]] for i in part])
            x = embed(model, coder, ids, feats[part])
            m4 = torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo(torch.float32).min)
            h = model.model.language_model(inputs_embeds=x, attention_mask=m4, position_ids=pos, use_cache=False).last_hidden_state
            for r, i in enumerate(part):
                for b, (k, q) in enumerate(by[i], 1):
                    last = int(torch.nonzero(branch[r] == b)[len(coder.pair(q, "")[0]) - 1])  # the colon of "ASSISTANT:"
                    logit = model.lm_head(h[r, last])
                    said[k] = int(logit.argmax()) != no
                    margin[k] = float(logit[yes] - logit[no])
        out = {}
        for s in SPLITS:
            sel = [k for k, p in enumerate(self.pope) if p[0] == s]
            out[s] = qa.pope_scores([said[k] for k in sel], [self.pope[k][3] for k in sel])
        n = len(self.anns)
        for name, q in (("short", "Describe the image."), ("long", "Describe the image in detail.")):
            text = generate_feats(model, coder, feats, [q] * n)
            out[name] = qa.chair(text, self.truth)
            out[name]["length"] = float(np.mean([len(coder.tok(t).input_ids) - 1 for t in text]))
            if samples is not None:
                samples[name] = text
        if other:
            text = generate_feats(model, coder, feats[[o[1] for o in self.other]], [o[2] for o in self.other], max_new=24)
            for kind in ("count", "colour", "word", "relation"):
                ok = [t == o[3] for t, o in zip(text, self.other) if o[0] == kind]
                out[kind] = float(np.mean(ok))
        return out


def generate_feats(model, coder, feats, questions, **kw):
    """`generate` on ready image features (the vision tower is frozen during alignment)."""
    import common
    saved = common.image_features
    common.image_features = lambda m, f: f
    try:
        return common.generate(model, coder, feats, questions, **kw)
    finally:
        common.image_features = saved


def line(r):
    pope = " ".join(f"{s[:3]} {100 * r[s]['acc']:.1f}/{100 * r[s]['f1']:.1f}/y{100 * r[s]['yes_ratio']:.0f}" for s in SPLITS)
    cap = " | ".join(f"{k}: CHi {100 * r[k]['chair_i']:.1f} CHs {100 * r[k]['chair_s']:.1f} rec {100 * r[k]['recall']:.1f} F1 {100 * r[k]['f1']:.1f}" for k in ("short", "long"))
    return f"POPE {pope} || {cap}" + "".join(f" {k} {100 * r[k]:.1f}" for k in ("count", "colour", "word", "relation") if k in r)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("model"); p.add_argument("cache")
    p.add_argument("--scenes", type=int, default=400)
    p.add_argument("--json")
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    model, tok = load(a.model)
    samples = {}
    bench = Bench(a.cache, a.scenes)
    r = bench.run(model, Coder(tok), other=True, samples=samples)
    print(line(r))
    for i in range(5):
        print(dict(bench.anns[i]["counts"]), bench.anns[i]["background"], "->", samples["long"][i])
    if a.json:
        json.dump(r, open(a.json, "w"), indent=1)
