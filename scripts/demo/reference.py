# SPDX-License-Identifier: Apache-2.0
"""Greedy answers of the shipped model on the shipped test files, plus a few golden numbers for checking another implementation.
   python reference.py ../../fixtures/demo/tiny-llava ../../fixtures/demo/data/test"""
import json
import os
import sys

import numpy as np
import torch
from PIL import Image

import qa
from common import Coder, embed, image_features, load, pixels, read_jsonl
from evaluate import generate_feats

model_dir, test = sys.argv[1:3]
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
model, tok = load(model_dir)  # float16 weights, computed in float32
coder = Coder(tok)
anns = read_jsonl(f"{test}/annotations.jsonl")
at = {a["image"]: i for i, a in enumerate(anns)}
images = np.stack([np.asarray(Image.open(f"{test}/images/{a['image']}").convert("RGB")) for a in anns])
with torch.no_grad():
    feats = torch.cat([image_features(model, pixels(images[s:s + 100])) for s in range(0, len(images), 100)])
answer = lambda rows: generate_feats(model, coder, feats[[at[r["image"]] for r in rows]], [r["text"] for r in rows])
scores = {}
with open(f"{test}/reference_answers.jsonl", "w") as f:
    for name in ("pope_random", "pope_popular", "pope_adversarial", "captions", "vqa"):
        rows = read_jsonl(f"{test}/{name}.json" + ("" if name.startswith("pope") else "l"))
        text = answer(rows)
        for r, t in zip(rows, text):
            f.write(json.dumps({"file": name, "question_id": r["question_id"], "answer": t}) + "\n")
        if name.startswith("pope"):
            scores[name] = qa.pope_scores([qa.yes(t) for t in text], [r["label"] == "yes" for r in rows])
        elif name == "captions":
            scores[name] = qa.chair(text, [set(r["objects"]) for r in rows])
        else:
            for k in ("count", "colour", "word", "relation"):
                scores[k] = float(np.mean([t == r["answer"] for r, t in zip(rows, text) if r["kind"] == k]))
golden = []
with torch.no_grad():
    for i, q in ((0, "Describe the image in detail."), (3, "Is there a cat in the image?"), (7, "What color is the background?")):
        ids = torch.tensor([coder.prompt(q)])
        px = pixels(images[i:i + 1])
        h = model.model.language_model(inputs_embeds=embed(model, coder, ids, image_features(model, px)), use_cache=False).last_hidden_state
        logits = model.lm_head(h[0, -1])
        top = logits.topk(5)
        full = tok(f"USER: <image>\n{q} ASSISTANT:").input_ids
        golden.append({"image": anns[i]["image"], "question": q, "unexpanded_input_ids": full, "input_length": ids.shape[1],
                       "pixel_mean": round(float(px.mean()), 6), "pixel_std": round(float(px.std()), 6), "pixel_first8": [round(v, 5) for v in px.flatten()[:8].tolist()],
                       "feature_mean_abs": round(float(feats[i].abs().mean()), 5), "next_token_top5": [[int(t), tok.convert_ids_to_tokens(int(t)), round(float(v), 4)] for v, t in zip(*top)],
                       "greedy": generate_feats(model, coder, feats[[i]], [q])[0]})
json.dump({"scores": scores, "golden": golden}, open(f"{test}/reference_scores.json", "w"), indent=1)
print(json.dumps(scores, indent=1))
