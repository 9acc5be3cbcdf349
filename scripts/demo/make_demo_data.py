# SPDX-License-Identifier: Apache-2.0
"""Writes the small shipped data sets: fixtures/demo/data/preference (300 scenes) and fixtures/demo/data/test (200 scenes, POPE files, caption truth).
   python make_demo_data.py ../../fixtures/demo/data"""
import json
import os
import random
import sys

import qa
from scenes import CLASSES, COLOURS, GROUPS, WORDS, scene


def jsonl(path, rows):
    with open(path, "w") as f:
        for r in rows:
            f.write(json.dumps(r) + "\n")


def render(folder, first, count):
    os.makedirs(f"{folder}/images", exist_ok=True)
    anns = []
    for s in range(first, first + count * 2):
        img, ann, _ = scene(s)
        if not ann["objects"]:
            continue
        name = f"scene_{len(anns):04d}.jpg"
        open(f"{folder}/images/{name}", "wb").write(img.jpeg_bytes)
        anns.append({"image": name, **ann})
        if len(anns) == count:
            return anns


out = sys.argv[1]
rng = random.Random(2024)
pref = render(f"{out}/preference", 2_000_000, 300)
jsonl(f"{out}/preference/annotations.jsonl", pref)
llava, rows = [], []
for a in pref:
    g = rng.choice(list(GROUPS.values())) if rng.random() < 0.5 else GROUPS[a["group"]]
    c = rng.choice(g)
    turns = [(rng.choice(qa.Q_LONG), qa.a_long(rng, a), "detail"), (rng.choice(qa.Q_SHORT), qa.a_short(rng, a), "caption"),
             (rng.choice(qa.Q_LIST), qa.a_list(rng, a), "list"), (qa.q_presence(c), qa.a_presence(c, c in a["counts"]), "presence")]
    conv = []
    for q, ans, kind in turns:
        conv += [{"from": "human", "value": ("<image>\n" if not conv else "") + q}, {"from": "gpt", "value": ans}]
        rows.append({"question_id": len(rows), "image": a["image"], "text": q, "kind": kind})
    llava.append({"id": a["image"][:-4], "image": a["image"], "conversations": conv})
json.dump(llava, open(f"{out}/preference/llava_conversations.json", "w"), indent=1)
jsonl(f"{out}/preference/questions.jsonl", rows)

test = render(f"{out}/test", 0, 200)
jsonl(f"{out}/test/annotations.jsonl", test)
for split in ("random", "popular", "adversarial"):
    rows = [{"question_id": i + 1, "image": a["image"], "text": qa.q_presence(obj), "label": label}
            for i, (a, obj, label) in enumerate(qa.pope_set(test[:150], split, 1, rng))]
    jsonl(f"{out}/test/pope_{split}.json", rows)
jsonl(f"{out}/test/captions.jsonl", [{"question_id": i, "image": a["image"], "text": "Describe the image in detail.", "objects": qa.kinds(a),
                                      "counts": a["counts"], "background": a["background"], "word": a["word"] and a["word"]["text"],
                                      "reference": qa.a_long(rng, a)} for i, a in enumerate(test)])
rows = []
for a in test:
    c = rng.choice(qa.kinds(a))
    n = a["counts"][c]
    some = [("count", f"How many {qa.plural(c)} are there?", f"There is one {c} in the image." if n == 1 else f"There are {qa.NUMBER[n]} {qa.plural(c)} in the image."),
            ("colour", "What color is the background?", f"The background is {a['background']}.")]
    if a["word"]:
        some.append(("word", "What word is written in the image?", f"The word {a['word']['text']} is written in the image."))
    rel = qa.relation(rng, a)
    if rel:
        some.append(("relation", *rel))
    rows += [{"question_id": len(rows) + i, "image": a["image"], "kind": k, "text": q, "answer": t} for i, (k, q, t) in enumerate(some)]
jsonl(f"{out}/test/vqa.jsonl", rows)
json.dump({"groups": GROUPS, "plural": {c: qa.plural(c) for c in CLASSES}, "colours": list(COLOURS), "words": WORDS}, open(f"{out}/classes.json", "w"), indent=1)
