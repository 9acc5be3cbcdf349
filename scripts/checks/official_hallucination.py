# SPDX-License-Identifier: Apache-2.0
"""Runs the official scorers of HallusionBench and MMHal-Bench and `vpref eval` on the same made-up
answers, and compares every figure that they print. FOLDER holds the scorers as fetched from their repositories; none of
their code is in this one:
   HallusionBench/{utils.py,HallusionBench.json,HallusionBench_result_sample.json}   tianyi-lab/HallusionBench 744007c
   VLMEvalKit/vlmeval/dataset/utils/yorn.py, VLMEvalKit/vlmeval/smp/misc.py         open-compass/VLMEvalKit e8e78f05
   RLAIF-V/eval/{summarize_gpt_mmhal_review.py,data/mmhal-bench_answer_template.json}  RLHF-V/RLAIF-V 83d917b
   python scripts/checks/official_hallucination.py FOLDER [PART...]   (a Python with numpy; after `make build`)
What it printed is in official_hallucination.txt.
"""
import ast
import contextlib
import io
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import types
from collections import defaultdict

import numpy as np

FOLDER = os.path.abspath(sys.argv[1])
PARTS = sys.argv[2:]
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORK = tempfile.mkdtemp()
failures = 0


def script(*parts):
    return os.path.join(FOLDER, *parts)


def definitions(path, names=None, extra=None):
    """The functions, classes and constants of a file, or those named, without running its imports and its main part."""
    tree = ast.parse(open(path).read())
    body = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Assign))]
    if names is not None:
        body = [n for n in body if getattr(n, "name", None) in names]
    scope = dict(extra or {})
    exec(compile(ast.Module(body=body, type_ignores=[]), path, "exec"), scope)
    return scope


def write(name, value):
    path = os.path.join(WORK, name)
    with open(path, "w") as f:
        json.dump(value, f)
    return path


def vpref(*args):
    done = subprocess.run(["node", os.path.join(ROOT, "bin", "run.js"), "eval", *args], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(name, pairs, digits=None):
    """pairs: (what, official, ours). digits: those that the official script keeps."""
    global failures
    wrong = []
    for what, official, ours in pairs:
        if isinstance(official, (float, np.floating)) and isinstance(ours, (int, float)):
            close = math.isclose(official, ours, rel_tol=1e-12, abs_tol=1e-12)
            same = close or (digits is not None and abs(official - ours) <= 0.5000001 * 10**-digits)
        else:
            same = official == ours
        if not same:
            wrong.append((what, official, ours))
    failures += len(wrong)
    print(f"{name}: {len(pairs)} figures, {len(pairs) - len(wrong)} equal" + ("" if digits is None else f" to the {digits} decimals kept"))
    for what, official, ours in wrong:
        print(f"   {what}: official {official!r}, vpref {ours!r}")


def hallusionbench():
    rng = random.Random(3)
    utils = definitions(script("HallusionBench", "utils.py"), extra={"np": np})
    rows = json.load(open(script("HallusionBench", "HallusionBench.json")))
    for share in (0.5, 0.8):
        judged = [dict(r, model_prediction="x", gpt4v_output_gpt_check=rng.choices("102", [share, 0.85 - share, 0.15])[0], same=rng.choice("01")) for r in rows]
        ours = {row["split"]: row for row in vpref("hallusionbench", write("result.json", judged))}
        data = utils["assign_correctness"](json.loads(json.dumps(judged)), "gpt4v_output_gpt_check")
        pairs = []
        for split, part in [("all", data)] + [(c, [r for r in data if r["category"] == c]) for c in ("VD", "VS")]:
            row = ours[split]
            every, figures = utils["get_eval_all"](part, "gpt4v_output_gpt_check"), utils["get_eval_fig"](part)
            pairs += [(f"{split} aAcc", 100 * every["correct"] / every["total"], row["a_acc"]), (f"{split} n", every["total"], row["n"])]
            pairs += [(f"{split} fAcc", 100 * figures["correct"] / figures["total"], row["f_acc"])]
            pairs += [(f"{split} inconsistent", 100 * figures["inconsistent"] / figures["total"], row["consistency_inconsistent"])]
            pairs += [(f"{split} wrong", 100 * figures["wrong"] / figures["total"], row["consistency_wrong"])]
            for name, pair in (("q_acc", utils["get_eval_pair_all"](part, "gpt4v_output_gpt_check")), ("easy_a_acc", utils["get_eval_pair_easy"](part)), ("hard_a_acc", utils["get_eval_pair_hard"](part))):
                pairs.append((f"{split} {name}", 100 * pair["correct"] / pair["total"], row[name]))
            stats = utils["yes_ratio_stats"](part)
            pairs += [(f"{split} yes diff", stats["diff"], row["yes_diff"]), (f"{split} yes fp", stats["fp"], row["yes_fp"])]
        compare(f"hallusionbench, judged, about {share:.0%} right", pairs)

    # VLMEvalKit's reading and rating of the official sample answers, and of made-up ones for every figure.
    kit = definitions(script("VLMEvalKit", "vlmeval", "smp", "misc.py"), {"process_punctuation"})
    yorn = definitions(script("VLMEvalKit", "vlmeval", "dataset", "utils", "yorn.py"), {"YOrN_Extraction"}, kit)["YOrN_Extraction"]
    place = lambda r: "_".join(str(r[k]) for k in ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id"))
    # The sample numbers the kinds of figures in another way.
    spot = lambda r: tuple(r[k] for k in ("category", "subcategory", "set_id", "figure_id", "question_id"))
    truth = {spot(r): r["gt_answer"] for r in rows}
    sample = [dict(r, gt_answer=truth[spot(r)]) for r in json.load(open(script("HallusionBench", "HallusionBench_result_sample.json"))) if r["visual_input"] != "0"]
    words = ["Yes", "No.", "yes, it is", "It is not; no!", "maybe", "Yes and no", "**Yes**", "no\n", "The answer is: yes", "NO:"]
    made = [dict(r, model_prediction=rng.choice(words)) for r in rows if r["visual_input"] != "0"]
    for name, answers in (("the official sample answers", sample), ("made-up answers", made)):
        score = {place(r): yorn(r["model_prediction"]) == ("Yes" if r["gt_answer"] == "1" else "No") for r in answers}
        row = {r["split"]: r for r in vpref("hallusionbench", write("answers.json", answers))}
        pairs = []
        for split in ["all", *sorted({r["category"] for r in answers}), *sorted({f"{r['category']}_{r['subcategory']}" for r in answers})]:
            part = [r for r in answers if split in ("all", r["category"], f"{r['category']}_{r['subcategory']}")]
            groups = lambda *keys: 100 * np.mean([np.all(g) for g in grouped(part, keys, score, place)])
            pairs += [(f"{split} aAcc", 100 * np.mean([score[place(r)] for r in part]), row[split]["a_acc"])]
            pairs += [(f"{split} fAcc", groups("category", "subcategory", "set_id", "figure_id"), row[split]["f_acc"])]
            pairs += [(f"{split} qAcc", groups("category", "subcategory", "set_id", "question_id"), row[split]["q_acc"])]
        compare(f"hallusionbench, {name}, VLMEvalKit's reading", pairs)

    hard = ["", "Yes", "no", "NO", "Yes.", "yes!", "yes,no", "Yes, there is no dog.", "not yes", "Yes: it is", '"Yes"', "yes/maybe", "yes/ maybe", "yes/maybe/ so", "It is 1,000: no,"]
    hard += ["a_no", "know", "no.5", "no. 5", "(no)", "(no )", "[yes]", "yes-no", "yes - no", "yes\tno", "Yes\u3000it is", "yes\u00a0no", "Y e s", "\u662f", "yes" + "." * 40, "yes.no", "no?no", "Yes;No", "no`", "it's no", "no's"]
    first = next(r for r in rows if place(r) == "VD_illusion_1_0_0_0")
    labels = write("one.json", [dict(first, gt_answer="1")])
    got = {row["model"]: row for row in vpref("hallusionbench", write("hard.json", [{"model_id": f"m{k}", "index": place(first), "prediction": text} for k, text in enumerate(hard)]), "--labels", labels) if row["split"] == "all"}
    read = lambda row: "Unknown" if row["unparsed"] else "Yes" if row["score"] == 100 else "No"
    compare("hallusionbench, hard strings", [(repr(text), yorn(text), read(got[f"m{k}"])) for k, text in enumerate(hard)])


def grouped(rows, keys, score, place):
    groups = defaultdict(list)
    for r in rows:
        groups[tuple(r[k] for k in keys)].append(score[place(r)])
    return groups.values()


def mmhal():
    rng = random.Random(5)
    official = definitions(script("RLAIF-V", "eval", "summarize_gpt_mmhal_review.py"), extra={"json": json, "np": np})
    template = json.load(open(script("RLAIF-V", "eval", "data", "mmhal-bench_answer_template.json")))
    forms = ["The answer is fine.\nRating: {}, because", "rating: {}", "- Rating: {}", "**Rating: {}**", "Rating {}", "Rating: {} or Rating: 2", "RATING: {}\n\nRating: {}", "My rating: {}/6"]
    for weights in ([1, 1, 1, 1, 1, 1, 1], [9, 1, 1, 1, 1, 1, 9], [0, 0, 1, 4, 4, 2, 1]):
        replies = [{"choices": [{"message": {"content": rng.choices(forms, [20, 5, 5, 5, 1, 1, 2, 2])[0].replace("{}", str(rng.choices(range(7), weights)[0]))}}]} for _ in template]
        path = write("a.mmhal_test_eval.json", replies)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            informative = official["cal_informative"](path)
            official["cal_mmhalscore"](path)
        mean, rate, types = (re.search(p, out.getvalue()).group(1) for p in (r"Average score: ([\d.]+)", r"Hallucination rate: ([\d.]+)", r"question type: ([\d.,]+)"))
        rows = {row["split"]: row for row in vpref("mmhal", path, "--labels", script("RLAIF-V", "eval", "data", "mmhal-bench_answer_template.json"))}
        compare("mmhal, the judge's replies", [("score", float(mean), rows["all"]["score"]), ("hallucination rate", float(rate), rows["all"]["hallucination_rate"])] + [(r["question_type"], float(v), rows[r["question_type"]]["score"]) for r, v in zip(template, types.split(","))], 2)
        compare("mmhal, informativeness", [("informativeness", float(informative), rows["all"]["informativeness"])])
        merged = [dict(r, gpt4_review=reply["choices"][0]["message"]["content"]) for r, reply in zip(template, replies)]
        again = {row["split"]: row for row in vpref("mmhal", write("merged.json", merged))}
        compare("mmhal, merged with the questions", [(s, rows[s]["score"], again[s]["score"]) for s in rows])


ALL = {"hallusionbench": hallusionbench, "mmhal": mmhal}
for part in PARTS or ALL:
    ALL[part]()
print("all equal" if failures == 0 else f"{failures} differ")
sys.exit(failures > 0)
