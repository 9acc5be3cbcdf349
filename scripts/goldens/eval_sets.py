# SPDX-License-Identifier: Apache-2.0
"""Small benchmark sets in the official formats, and what the official rules make of them: fixtures/eval/ and
fixtures/golden/eval/scores.json. Questions, answers and grades are made up; the rules are restated here, apart from the
TypeScript, with numpy, pandas and scikit-learn where the official scorers use them.
   python scripts/goldens/eval_sets.py fixtures
"""
import base64
import csv
import json
import math
import os
import platform
import random
import re
import sys
from collections import defaultdict

import numpy as np
import openpyxl
import pandas as pd
import sklearn
from sklearn.linear_model import LogisticRegression

ROOT = sys.argv[1]
SCORES = {"versions": {"python": platform.python_version(), "numpy": np.__version__, "pandas": pd.__version__, "sklearn": sklearn.__version__}}
rng = random.Random(20240521)
PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")).decode()
THINGS = ["dog", "cat", "car", "tree", "boat", "clock", "chair", "bird", "kite", "cup"]


def path(*parts):
    p = os.path.join(ROOT, "eval", *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def lines(rows, *parts):
    with open(path(*parts), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)


def whole(value, *parts, indent=None):
    with open(path(*parts), "w") as f:
        json.dump(value, f, indent=indent)
        f.write("\n")


def article(thing):
    return ("an " if thing[0] in "aeiou" else "a ") + thing


# ------------------------------------------------------------------------------------------------------------- POPE
YES = ["Yes", "Yes, there is.", "yes", "Yes.", "There is one.", "Yes\n", "It is there, no doubt"]
NO = ["No", "No, there is no such thing.", "no", "No.", "There is not", "NO", "No</s>", "None", "It isn't there."]
pope, questions, llava = {}, [], []
for split in ("random", "popular", "adversarial"):
    labels, answers = [], []
    for i in range(10):
        for j in range(6):
            label = "yes" if j % 2 == 0 else "no"
            said = label if rng.random() < 0.8 else rng.choice(["yes", "no"])
            text = rng.choice(YES if said == "yes" else NO)
            row = {"question_id": 6 * i + j + 1, "image": f"COCO_val2014_{i:012d}.jpg", "text": f"Is there {article(THINGS[(i + j + (len(split) if label == 'no' else 0)) % 10])} in the image?", "label": label}
            labels.append(row)
            answers.append({"question": row["text"], "answer": text})
            qid = len(questions) + 1
            questions.append({"question_id": qid, "image": row["image"], "text": row["text"] + "\nAnswer the question using a single word or phrase.", "category": split})
            llava.append({"question_id": qid, "prompt": questions[-1]["text"], "text": text, "answer_id": f"a{qid}", "model_id": "llava-v1.5-7b", "metadata": {}})
    lines(labels, "pope", f"coco_pope_{split}.json")
    lines(answers, "pope", f"answers_{split}.json")
    tp = fp = tn = fn = 0
    for row, a in zip(labels, answers):
        first = a["answer"].split(".")[0].replace(",", "").split(" ")
        no = "No" in first or "not" in first or "no" in first
        tp += not no and row["label"] == "yes"
        fp += not no and row["label"] == "no"
        tn += no and row["label"] == "no"
        fn += no and row["label"] == "yes"
    p, r = tp / (tp + fp), tp / (tp + fn)
    pope[split] = {"accuracy": (tp + tn) / 60, "precision": p, "recall": r, "f1": 2 * p * r / (p + r), "yes_ratio": (tp + fp) / 60}
lines(questions, "pope", "llava_pope_test.jsonl")
lines(llava, "pope", "llava-v1.5-7b.jsonl")
pope["all"] = {k: (pope["random"][k] + pope["popular"][k] + pope["adversarial"][k]) / 3 for k in pope["random"]}
SCORES["pope"] = pope

# ----------------------------------------------------------------------------------------------------------- MM-Vet
COMBINATIONS = [["ocr", "math"], ["rec"], ["ocr", "spat", "rec"], ["rec", "know", "gen"], ["ocr"], ["spat", "ocr", "math"]]
data, grades, answers = {}, {}, {}
for n in range(24):
    qid = f"v1_{n}"
    data[qid] = {"imagename": f"v1_{n // 2}.png", "question": f"What is in part {n} of the picture?", "answer": f"{n} <AND> {n + 1}", "imagesource": "made up", "capability": COMBINATIONS[n % 6]}
    score = [round(rng.randrange(11) / 10, 1) for _ in range(3)]
    grades[qid] = {"model": ["gpt-4-0613"] * 3, "content": [str(s) for s in score], "score": score}
    answers[qid] = f"It shows {n}."
whole(data, "mmvet", "mm-vet.json", indent=1)
whole(answers, "mmvet", "answers.json", indent=1)
whole(grades, "mmvet", "model_gpt-4-0613-grade-3runs.json", indent=1)


def mmvet(grades):
    sums, counts = defaultdict(lambda: [0.0] * 3), defaultdict(int)
    for qid, item in data.items():
        for name in {*item["capability"], "combination:" + "+".join(sorted(item["capability"], key=["rec", "ocr", "know", "gen", "spat", "math"].index)), "all"}:
            counts[name] += 1
            for i in range(3):
                sums[name][i] += grades[qid]["score"][i]
    out = {name: np.array(v) / counts[name] * 100 for name, v in sums.items()}
    return {name: {"score": float(v.mean()), "printed": float(round(v.mean(), 1)), "std": float(v.std()), "runs": v.tolist()} for name, v in out.items()}


SCORES["mmvet"] = mmvet(grades)
failed = json.loads(json.dumps(grades))
failed["v1_3"]["content"][1], failed["v1_3"]["score"][1] = "I am", 0.0
failed["v1_7"]["content"][2], failed["v1_7"]["score"][2] = "The", 0.0
whole(failed, "mmvet", "failed-grade-3runs.json", indent=1)
SCORES["mmvet_with_failed"] = mmvet(failed)

# ------------------------------------------------------------------------------------------------------ LLaVA-Bench
bench, reviews = [], []
REPLIES = ["{} {}", "{} {}\nBecause of this.", "{}, {}", "{},{}", "Assistant 1: {} {}", "{} {}\r\nmore"]
for n in range(12):
    category = ("conv", "detail", "complex")[n % 3]
    bench.append({"question_id": n, "image": f"{n // 3 + 1:03d}.jpg", "text": f"What happens in scene {n}?", "category": category})
    content = rng.choice(REPLIES).format(rng.choice([8, 9, 10, 8.5]), rng.choice([4, 5, 6.5, 7, 8]))
    words = content.split("\n")[0].replace(",", " ").split(" ")
    pair = [-1, -1]
    if len(words) == 2:
        pair = [float(words[0]), float(words[1])]
    reviews.append({"id": n + 1, "question_id": n, "answer1_id": f"r{n}", "answer2_id": f"a{n}", "category": f"llava_bench_{category}", "content": content, "tuple": pair})
lines(bench, "llava-bench", "questions.jsonl")
lines([{"image": f"{k + 1:03d}.jpg", "caption": [f"Scene {k}.", "It is calm."] if k % 2 else f"Scene {k}."} for k in range(4)], "llava-bench", "context.jsonl")
lines([{"question_id": n, "text": f"The reference says {n}.", "answer_id": f"r{n}", "model_id": "gpt-4", "metadata": {}} for n in range(12)], "llava-bench", "answers_gpt4.jsonl")
lines(reviews, "llava-bench", "review.jsonl")


def llava_bench(rows):
    scores = defaultdict(list)
    for row in rows:
        scores[row["category"].replace("llava_bench_", "")].append(row["tuple"])
        scores["all"].append(row["tuple"])
    out = {}
    for name, v in scores.items():
        a, b = [round(x, 3) for x in np.asarray(v).mean(0).tolist()]
        out[name] = {"score": b / a * 100, "printed": round(b / a * 100, 1), "reference_score": round(a * 10, 1), "answer_score": round(b * 10, 1)}
    return out


SCORES["llava-bench"] = llava_bench([r for r in reviews if r["tuple"] != [-1, -1]])
SCORES["llava-bench_with_failed"] = llava_bench(reviews)
assert any(r["tuple"] == [-1, -1] for r in reviews)

# ---------------------------------------------------------------------------------------------------------- MMBench
ABILITIES = [("coarse_perception", "image_style"), ("finegrained_perception (instance-level)", "ocr"), ("logic_reasoning", "future_prediction")]
table, predictions = [], []
for n in range(15):
    options = rng.sample(THINGS, 4 if n % 4 else 2)
    right = rng.randrange(len(options))
    ability, category = ABILITIES[n % 3]
    for k in range(len(options)):
        turned = options[k:] + options[:k]
        row = {"index": n + 1_000_000 * k, "question": f"Which thing is \"number {n}\"?" if n != 5 else "\u56fe\u4e2d\u662f\u4ec0\u4e48\uff1f", "hint": "Look well." if n % 5 == 0 else "", "A": "", "B": "", "C": "", "D": ""}
        row |= dict(zip("ABCD", turned))
        answer = "ABCD"[turned.index(options[right])]
        row |= {"answer": answer, "category": category, "image": PNG if k == 0 else str(n), "source": "made up", "l2-category": ability, "comment": "", "split": "dev"}
        table.append(row)
        said = answer if rng.random() < 0.85 else rng.choice("ABCD")
        text = row[said] if said in row else ""
        predictions.append({"question_id": row["index"], "prompt": "", "text": rng.choice([said, f"{said}.", f"({said})", f"{said}. {text}", text or said, f"A {text}", f"{said}\uff0c"]), "answer_id": "x", "model_id": "m", "metadata": {}})
with open(path("mmbench", "mmbench_dev.tsv"), "w", newline="") as f:
    w = csv.DictWriter(f, table[0].keys(), delimiter="\t", lineterminator="\n")
    w.writeheader()
    w.writerows(table)
lines(predictions, "mmbench", "answers.jsonl")
frame = pd.read_table(path("mmbench", "mmbench_dev.tsv"))
upload = frame.drop(columns=["hint", "category", "source", "image", "comment", "l2-category"])
upload.insert(6, "prediction", [p["text"] for p in predictions])
upload.to_excel(path("mmbench", "upload.xlsx"), index=False, engine="openpyxl")


def extract(answer, options):
    spaced = answer
    for mark in ".()[],:;!*#{}":
        spaced = spaced.replace(mark, " ")
    tokens = spaced.split()
    alone = [k for k in options if k in tokens]
    if len(alone) == 1 and tokens.index(alone[0]) > len(tokens) - 5:
        return alone[0]
    lower = answer.lower()
    if len(lower) > 2 * sum(map(len, options.values())):
        return None
    inside = [k for k, v in options.items() if v.lower() in lower]
    return inside[0] if len(inside) == 1 else None


hits, plain, flat = defaultdict(list), [], []
for (_, row), p in zip(frame.iterrows(), predictions):
    hit = extract(p["text"], {k: row[k] for k in "ABCD" if isinstance(row[k], str)}) == row["answer"]
    hits[row["index"] % 1_000_000, row["l2-category"]].append(hit)
    flat.append(hit)
    if row["index"] < 1_000_000:
        plain.append(hit)
SCORES["mmbench"] = {"all": 100 * np.mean([all(v) for v in hits.values()]), "plain": 100 * np.mean(plain), "rotation_accuracy": 100 * np.mean(flat)} | {
    ability: 100 * np.mean([all(v) for k, v in hits.items() if k[1] == ability]) for ability, _ in ABILITIES}

# ------------------------------------------------------------------------------------------------------- SEED-Bench
types = {"Scene Understanding": 1, "Instance Counting": 5, "Action Recognition": 10}
questions, answers = [], []
for n in range(40):
    video = n % 5 == 4
    qid = f"v{n}" if video else str(100 + n)
    questions.append({"answer": rng.choice("ABCD"), **{f"choice_{c}": t for c, t in zip("abcd", rng.sample(THINGS, 4))}, "data_id": f"{n // 2}_7" if not video else f"{n}.webm", "data_type": "video" if video else "image",
                      "question": f"What is thing {n}?", "question_id": qid, "question_type_id": 10 if video else (1 if n % 2 else 5), **({"segment": [0, 3]} if video else {})})
    said = questions[-1]["answer"] if rng.random() < 0.7 else rng.choice("ABCD")
    answers.append({"question_id": qid if video else int(qid), "prompt": "", "text": rng.choice([said] * 5 + [said + ".", said.lower()]), "answer_id": "x", "model_id": "m", "metadata": {}})
whole({"questions": questions, "question_type": types}, "seed-bench", "SEED-Bench.json", indent=1)
lines(answers, "seed-bench", "answers.jsonl")
lines([a for a in answers if isinstance(a["question_id"], int)], "seed-bench", "image-answers.jsonl")
right = [(q, q["answer"] == a["text"]) for q, a in zip(questions, answers)]
SCORES["seed-bench"] = {name: 100 * np.mean([hit for q, hit in right if q["question_type_id"] == k]) for name, k in types.items()} | {
    kind: 100 * np.mean([hit for q, hit in right if q["data_type"] == kind]) for kind in ("image", "video")} | {"all": 100 * np.mean([hit for _, hit in right])}

# -------------------------------------------------------------------------------------------------------------- SHR
images = [{"image_id": 2000 + n} for n in range(6)]
judgement, captions = {}, {}
KINDS = ["Hallucination", "Correct", "Cannot judge", "correct", "hallucination"]
for n, image in enumerate(images):
    caption = " ".join(f"There is {article(THINGS[(n + k) % 10])} here, worth {k}.5 coins." if k == 1 else f"There is {article(THINGS[(n + k) % 10])}." for k in range(4)) + (" There is a dog." * (n % 3))
    captions[str(image["image_id"])] = caption
    kept = []
    for piece in caption.split("."):
        s = piece.strip()
        if s and s not in kept and not any(s in k for k in kept):
            kept.append(s + ".")
    reply = "Judgement:\n" + "\n".join(f"{i + 1}. {rng.choice(KINDS)}: because." for i in range(len(kept) - (n == 4)))
    judged = [" ".join(l.split(" ")[1:]).strip() for l in reply.split("\n")[1:]]
    fits = len(judged) == len(kept)
    judgement[str(image["image_id"])] = {"raw_judgement": reply, "mode_response": caption,
                                         "judgement": [{"model_response": k, "judgement": judged[i] if fits else None, "classification": judged[i].split(":")[0].lower() if fits else None} for i, k in enumerate(kept)]}
whole(images, "shr", "val_images_final.json")
whole({"run1": judgement}, "shr", "judgement.json", indent=1)
whole({"run1": {k: {"raw_judgement": v["raw_judgement"], "mode_response": v["mode_response"]} for k, v in judgement.items()}}, "shr", "raw.json", indent=1)
whole([{"image_id": i["image_id"], "width": 200, "height": 150, "url": f"https://example.org/VG_100K/{i['image_id']}.jpg"} for i in images], "shr", "image_data.json")
whole([{"id": i["image_id"], "regions": [{"region_id": 1, "image_id": i["image_id"], "x": 20, "y": 15, "width": 100, "height": 60, "phrase": "a dog on grass"}, {"region_id": 2, "image_id": i["image_id"], "x": 0, "y": 0, "width": 200, "height": 150, "phrase": ""}]} for i in images], "shr", "region_descriptions.json")
lines([{str(i["image_id"]): ["The grass is green.", "It is day."]} for i in images[:3]], "shr", "shr_factual_part1.jsonl")
lines([{str(i["image_id"]): ["It is night."]} for i in images[3:]], "shr", "shr_factual_part2.jsonl")
all_s = [s for v in judgement.values() for s in v["judgement"]]
known = [s for s in all_s if s["classification"] in ("hallucination", "correct", "cannot judge")]
bad = [s for s in known if s["classification"] == "hallucination"]
words = lambda ss: sum(len(s["model_response"].split(" ")) for s in ss)


def distinct(text, n):
    for mark in ".:\n?,":
        text = text.replace(mark, "")
    w = text.split()
    grams = [tuple(w[i:i + n]) for i in range(len(w) - n + 1)]
    return len(set(grams)) / len(grams)


SCORES["shr"] = {"hal_sents_ratio": round(len(bad) / len(known), 3), "hal_words_ratio": round(words(bad) / words(known), 3), "sents_per_image": round(len(all_s) / 6, 3), "words_per_image": round(words(all_s) / 6, 3),
                 "hal_sents_per_image": round(len(bad) / 6, 3), "hal_words_per_image": round(words(bad) / 6, 3)} | {f"gram_{n}_repetition": round(sum(distinct(c, n) for c in captions.values()) / 6, 3) for n in (1, 2, 3, 4)}

# -------------------------------------------------------------------------------------------------------- ScienceQA
problems, answers = {}, []
for n in range(40):
    pid = str(n + 1)
    choices = rng.sample(THINGS, 2 + n % 4)
    split = "train" if n % 8 == 7 else "test"
    problems[pid] = {"question": f"Which is thing {n}?", "choices": choices, "answer": rng.randrange(len(choices)), "hint": "Think of animals." if n % 3 == 0 else "", "image": "image.png" if n % 2 else None, "task": "closed choice",
                     "grade": f"grade{1 + n % 12}", "subject": ("natural science", "social science", "language science")[n % 3], "topic": "t", "category": "c", "skill": "s", "lecture": "", "solution": "", "split": split}
    if split != "test":
        continue
    letter = "ABCDE"[problems[pid]["answer"]] if rng.random() < 0.7 else rng.choice("ABCDE")
    text = rng.choice([letter] * 4 + [f"{letter}. {choices[0]}", f"The answer is {letter}.", f"The answer is {letter}", f"{letter})", f"So the answer is {letter}", f"The answer is {letter}. The answer is {letter}."])
    answers.append({"question_id": pid, "prompt": ("<image>\n" if n % 2 else "") + f"Which is thing {n}?", "text": text, "answer_id": "x", "model_id": "m", "metadata": {}})
whole(problems, "scienceqa", "problems.json", indent=1)
whole({s: [p for p, v in problems.items() if v["split"] == s] for s in ("train", "test")}, "scienceqa", "pid_splits.json")
lines(answers, "scienceqa", "answers.jsonl")
hits = []
for a in answers:
    t, problem = a["text"], problems[a["question_id"]]
    if t in list("ABCDE"):
        said = t
    elif len(t) >= 3 and t[0] in list("ABCDE") and t[1:3] == ". ":
        said = t[0]
    else:
        found = re.findall(r"The answer is ([A-Z]).", t)
        said = found[0] if len(found) == 1 else "FAILED"
    options = list("ABCDE")[:len(problem["choices"])]
    hits.append((a, problem, (options.index(said) if said in options else -1) == problem["answer"]))
SCORES["scienceqa"] = {"all": 100 * np.mean([h for *_, h in hits]), "image": 100 * np.mean([h for a, _, h in hits if "<image>" in a["prompt"]]),
                       "natural science": 100 * np.mean([h for _, p, h in hits if p["subject"] == "natural science"]), "grade 1-6": 100 * np.mean([h for _, p, h in hits if int(p["grade"][5:]) <= 6])}

# -------------------------------------------------------------------------------------------------------------- GQA
questions, answers, choices = {}, [], {}
STRUCTURES = ["query", "verify", "logical", "choose"]
for n in range(48):
    qid = f"{n:08d}"
    structural = STRUCTURES[n % 4]
    answer = rng.choice(["yes", "no"]) if structural in ("verify", "logical") else rng.choice(THINGS)
    steps = [{"operation": "select", "argument": "dog (1)"}] * (1 + n % 3) + [{"operation": "query" if structural == "query" else "exist", "argument": "name" if structural == "query" else "?"}]
    questions[qid] = {"question": "Which thing is " + "very " * (n % 3) + f"big in {n}?", "answer": answer, "imageId": str(n // 3), "types": {"structural": structural, "semantic": ("obj", "attr", "rel")[n % 3], "detailed": "twoCommon" if n == 10 else "x"},
                      "semantic": steps, "groups": {"global": f"g{n % 4}" if n % 5 else None, "local": None}, "isBalanced": True, "entailed": [f"{n + 1:08d}", qid] if n % 6 == 0 else [], "equivalent": [qid]}
    choices[qid] = {"valid": THINGS if structural in ("query", "choose") else ["yes", "no"], "plausible": THINGS[:6] if structural in ("query", "choose") else ["yes", "no"]}
    said = answer if rng.random() < 0.6 else rng.choice(THINGS + ["yes", "no"])
    answers.append({"question_id": qid, "prompt": "", "text": rng.choice([said, said.capitalize(), said + ".", said + "..", "a " + said, said + " "]), "answer_id": "x", "model_id": "m", "metadata": {}})
whole(questions, "gqa", "testdev_balanced_questions.json", indent=1)
whole(choices, "gqa", "testdev_choices.json")
lines(answers, "gqa", "answers.jsonl")
said = {a["question_id"]: a["text"].rstrip(".").lower() for a in answers}
whole([{"questionId": k, "prediction": v} for k, v in said.items()], "gqa", "predictions.json")
hit = {k: float(said[k] == q["answer"]) for k, q in questions.items()}
share = lambda keep: 100 * float(np.mean([hit[k] for k, q in questions.items() if keep(k, q)]))
consistent = [np.mean([hit[e] for e in q["entailed"] if e != k]) for k, q in questions.items() if hit[k] and [e for e in q["entailed"] if e != k]]
gold, predicted = defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))
for k, q in questions.items():
    if q["groups"]["global"]:
        gold[q["groups"]["global"]][q["answer"]] += 1
        predicted[q["groups"]["global"]][said[k]] += 1
chi = [(sum((predicted[g].get(a, 0) - e) ** 2 / e for a, e in gold[g].items()), sum(gold[g].values())) for g in gold]
in_group = lambda k, q, kind: said[k] in (["color", "material", "shape"] if "Common" in q["types"]["detailed"] else choices[k][kind])
no_step = ["exist", "query: name", "choose name"]
steps_of = lambda q: len([s for s in q["semantic"] if not any(o in f"{s['operation']}: {s['argument']}" for o in no_step)])
SCORES["gqa"] = {"all": share(lambda k, q: True), "binary": share(lambda k, q: q["types"]["structural"] != "query"), "open": share(lambda k, q: q["types"]["structural"] == "query"),
                 "consistency": 100 * float(np.mean(consistent)), "distribution": sum(c * n for c, n in chi) / sum(n for _, n in chi) / 100,
                 "validity": 100 * float(np.mean([in_group(k, q, "valid") for k, q in questions.items()])), "plausibility": 100 * float(np.mean([in_group(k, q, "plausible") for k, q in questions.items()]))} | {
    f"structural/{s}": share(lambda k, q: q["types"]["structural"] == s) for s in STRUCTURES} | {f"steps/{n}": share(lambda k, q: steps_of(q) == n) for n in (1, 2)} | {"words/6": share(lambda k, q: len(q["question"].split()) == 6)}

# --------------------------------------------------------------------------------------------------------- MT-Bench
CATEGORIES = ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"]
questions, judged, pairs = [], [], []
for n in range(16):
    qid = 81 + n
    questions.append({"question_id": qid, "category": CATEGORIES[n // 2], "turns": [f"Write about {n}.", f"Now shorter, about {n}."], **({"reference": ["One.", "Two."]} if n == 7 else {})})
    for model in ("llava-13b", "vicuna-13b"):
        for turn in (1, 2):
            score = rng.choice([3, 5, 6, 7, 7.5, 8, 9, 10, 10, -1] if n else [7])
            judged.append({"question_id": qid, "model": model, "judge": ["gpt-4", "single-v1"], "user_prompt": "", "judgment": f"Good. Rating: [[{score}]]" if score > 0 else "Good.", "score": score, "turn": turn, "tstamp": 1.0})
    for turn in (1, 2):
        g1, g2 = rng.choice(["model_1", "model_2", "tie"]), rng.choice(["model_1", "model_2", "tie"])
        if n == 3:
            g1 = "error"
        pairs.append({"question_id": qid, "model_1": "llava-13b", "model_2": "vicuna-13b", "g1_winner": g1, "g2_winner": g2, "judge": ["gpt-4", "pair-v2"], "turn": turn})
lines(questions, "mt-bench", "question.jsonl")
lines([{"question_id": 81 + n, "answer_id": "r", "model_id": "gpt-4", "choices": [{"index": 0, "turns": ["Right.", "Also right."]}], "tstamp": 1.0} for n in range(4, 10)], "mt-bench", "reference_answer.jsonl")
lines(judged, "mt-bench", "gpt-4_single.jsonl")
lines(pairs, "mt-bench", "gpt-4_pair.jsonl")
frame = pd.DataFrame(judged)
frame = frame[frame.score != -1]
mt = {}
for model in ("llava-13b", "vicuna-13b"):
    own = frame[frame.model == model]
    mt[model] = {"turn-1": own[own.turn == 1].score.mean(), "turn-2": own[own.turn == 2].score.mean(), "all": own.score.mean(),
                 "writing": own[own.question_id < 83].score.mean(), "n": len(own)}
SCORES["mt-bench"] = mt
tally = {"llava-13b": [0, 0, 0], "vicuna-13b": [0, 0, 0]}
for p in pairs:
    if "error" in (p["g1_winner"], p["g2_winner"]):
        continue
    for m, name in ((p["model_1"], "model_1"), (p["model_2"], "model_2")):
        tie = p["g1_winner"] == "tie" or p["g1_winner"] != p["g2_winner"]
        tally[m][2 if tie else 0 if p["g1_winner"] == name else 1] += 1
SCORES["mt-bench_pair"] = {m: {"wins": w, "losses": l, "ties": t, "win_rate_adjusted": (w + 0.5 * t) / (w + l + t)} for m, (w, l, t) in tally.items()}

# ------------------------------------------------------------------------------------------------------- AlpacaEval
N = 60
instructions, annotations = [], []
for n in range(N):
    instructions.append({"instruction": f"Explain thing {n} to a child \u2013 {rng.choice(THINGS)}.", "output": "Words. " * rng.randrange(3, 40), "generator": "text_davinci_003", "dataset": ("koala", "vicuna", "helpful_base")[n % 3]})
    preference = rng.choice([1, 2, 2, 1.5, 0, round(1 + rng.random(), 6), round(1 + rng.random(), 6), None if n % 20 == 3 else 2])
    annotations.append({"instruction": instructions[n]["instruction"], "output_1": instructions[n]["output"], "generator_1": "text_davinci_003", "dataset": instructions[n]["dataset"],
                        "output_2": "Answer \U0001f600. " * rng.randrange(3, 40), "generator_2": "llava-13b", "annotator": "alpaca_eval_gpt4", "preference": preference})
whole(instructions, "alpaca-eval", "alpaca_eval.json", indent=1)
whole(annotations, "alpaca-eval", "annotations.json", indent=1)
ranked = []
for row in annotations[:12]:
    switched = random.Random("is_switched_outputs" + row["instruction"] + "0").choices([False, True], k=1)[0]
    wins = rng.random() < 0.6  # the judged model
    first = (wins and switched) or (not wins and not switched)
    raw = f"[{{'model': 'model_1', 'rank': {1 if first else 2}}}, {{'model': 'model_2', 'rank': {2 if first else 1}}}]"
    ranked.append({k: v for k, v in row.items() if k != "preference"} | {"raw_completion": raw, "_": 2 if wins else 1})
SCORES["alpaca-eval_ranked"] = 100 * float(np.mean([r.pop("_") - 1 for r in ranked]))
whole(ranked, "alpaca-eval", "raw-annotations.json", indent=1)
prefs = pd.Series([a["preference"] for a in annotations]).replace({0: 1.5}).astype(float).dropna() - 1
SCORES["alpaca-eval"] = {"win_rate": prefs.mean() * 100, "standard_error": prefs.sem() * 100, "n": len(prefs), "n_wins": int((prefs > 0.5).sum()), "n_wins_base": int((prefs < 0.5).sum()), "n_draws": int((prefs == 0.5).sum()),
                         "discrete_win_rate": float(np.mean([0.5 if p == 0.5 else float(p > 0.5) for p in prefs])) * 100, "avg_length": int(pd.Series([a["output_2"] for a in annotations]).str.len().mean())}
difficulty = [rng.gauss(0, 1) for _ in range(N)]
gamed = []
for model in ("concise", "verbose"):
    for n in range(N):
        delta = (1 if model == "concise" else -1) * abs(rng.gauss(1.2, 0.5))
        p = 1 / (1 + math.exp(1.1 * math.tanh(delta) - 0.4 * difficulty[n]))
        gamed.append({"model": model, "index": n, "preference": round(min(1, max(0, p + rng.gauss(0, 0.1))), 4), "std_delta_len": round(delta, 6), "instruction_difficulty": round(difficulty[n], 6), "not_gamed_baseline": False})
pd.DataFrame(gamed).to_csv(path("alpaca-eval", "df_gamed.csv"), index=False)
judge = pd.DataFrame(annotations)
delta = judge.output_1.str.len() - judge.output_2.str.len()
own = pd.DataFrame({"preference": judge.preference.astype(float).replace({0.0: 1.5}) - 1, "std_delta_len": delta / delta.std(), "instruction_difficulty": [round(d, 6) for d in difficulty], "not_gamed_baseline": True})
both = pd.concat([pd.DataFrame(gamed)[own.columns], own], axis=0).reset_index(drop=True)
X = np.c_[np.tanh(both.std_delta_len), both.instruction_difficulty, both.not_gamed_baseline.astype(float)]
weight = both.not_gamed_baseline.astype(float) + 0.1 * (~both.not_gamed_baseline.astype(bool))
keep = both.preference.notna().to_numpy()
X, p, weight = X[keep], both.preference[keep].to_numpy(), weight[keep].to_numpy()
SCORES["alpaca-eval_fits"] = {}
for C in (0.01, 0.1, 1, 100):
    one = LogisticRegression(C=C, penalty="l1", solver="liblinear", fit_intercept=False, tol=1e-7, max_iter=20000, random_state=123)
    one.fit(np.r_[X, X], np.r_[np.ones(len(p)), np.zeros(len(p))], sample_weight=np.r_[p, 1 - p] * np.r_[weight, weight])
    w = one.coef_[0]
    lc = 100 * float(np.mean(1 / (1 + np.exp(-(w[1] * own.instruction_difficulty + w[2])))))
    SCORES["alpaca-eval_fits"][str(C)] = {"weights": w.tolist(), "length_controlled": lc}



def fitted(C, rows):
    one = LogisticRegression(C=C, penalty="l1", solver="liblinear", fit_intercept=False, tol=1e-7, max_iter=20000, random_state=123)
    one.fit(np.r_[X[rows], X[rows]], np.r_[np.ones(len(rows)), np.zeros(len(rows))], sample_weight=np.r_[p[rows], 1 - p[rows]] * np.r_[weight[rows], weight[rows]])
    return one.coef_[0]


def loss(w, rows):
    q = 1 / (1 + np.exp(-(X[rows] @ w)))
    return float(np.mean(-weight[rows] * (p[rows] * np.log(q) + (1 - p[rows]) * np.log(1 - q))))


# Five folds, dealt from the last row on: how scikit-learn's GroupKFold deals groups of one size.
folds = [np.array([i for i in range(len(p)) if (len(p) - 1 - i) % 5 == k]) for k in range(5)]
Cs = np.logspace(-4, 4, 10)
losses = [np.mean([loss(fitted(C, np.setdiff1d(np.arange(len(p)), held)), held) for held in folds]) for C in Cs]
best = float(Cs[int(np.argmin(losses))])
w = fitted(best, np.arange(len(p)))
SCORES["alpaca-eval_cross_validated"] = {"C": best, "length_controlled": 100 * float(np.mean(1 / (1 + np.exp(-(w[1] * own.instruction_difficulty + w[2])))))}

with open(os.path.join(ROOT, "golden", "eval", "scores.json"), "w") as f:
    json.dump(SCORES, f, indent=1)
    f.write("\n")
print("written", len(SCORES), "sets of scores")
