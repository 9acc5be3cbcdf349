# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks' own scorers and `vpref eval` on the same synthetic files (fixtures/eval/) and the same hard strings
(fixtures/golden/eval/parse-cases.ndjson), and compares every figure the scorers print. FOLDER holds the scorers as
fetched from their repositories; none of their code is in this one:
   POPE/evaluate.py                                          AoiDragon/POPE f3ec604
   LLaVA/llava/eval/{eval_pope,summarize_gpt_review,eval_gpt_review_bench,eval_science_qa}.py, LLaVA/scripts/
         {convert_seed_for_submission,convert_gqa_for_eval}.py   haotian-liu/LLaVA, version 1.5
   MM-Vet/mm-vet_evaluator.py                                yuweihao/MM-Vet 7d717c2
   GQA/eval.py                                               of the data set's evaluation archive, loading made optional
   FastChat/fastchat/llm_judge/show_result.py                lm-sys/FastChat 02d4581
   alpaca_eval/src/alpaca_eval/{completion_parsers,utils,metrics/helpers}.py   tatsu-lab/alpaca_eval d483da3
   VLMEvalKit/vlmeval/utils/matching_util.py                 open-compass/VLMEvalKit d21c5e9
   HA-DPO/ha_dpo/shr_eval/shr_utils.py                       opendatalab/HA-DPO abdc44b
   python scripts/checks/official_scorers.py FOLDER          (a Python with numpy and pandas; after `make build`)
What it printed is in official_scorers.txt.
"""
import abc
import ast
import collections
import contextlib
import io
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types

import numpy as np
import pandas as pd

FOLDER = os.path.abspath(sys.argv[1])
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SETS = os.path.join(ROOT, "fixtures", "eval")
WORK = tempfile.mkdtemp()
failures = 0
logging.disable(logging.CRITICAL)


def sets(*parts):
    return os.path.join(SETS, *parts)


def script(*parts):
    return os.path.join(FOLDER, *parts)


def run(path, *args):
    return subprocess.run([sys.executable, path, *args], check=True, capture_output=True, text=True, cwd=WORK).stdout


def definitions(path, names, extra):
    """The named functions and classes of a file, without running its imports."""
    tree = ast.parse(open(path).read())
    body = [n for n in tree.body if getattr(n, "name", None) in names or any(getattr(t, "id", None) in names for t in getattr(n, "targets", []))]
    scope = dict(extra)
    exec(compile(ast.Module(body=body, type_ignores=[]), path, "exec"), scope)
    return scope


def vpref(*args):
    done = subprocess.run(["node", os.path.join(ROOT, "bin", "run.js"), "eval", *args], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_by(rows, *names):
    return {tuple(row.get(name) for name in names): row for row in rows}


def compare(name, pairs, digits=None):
    """pairs: (what, official, ours). digits: those that the official script prints."""
    global failures
    wrong = []
    for what, official, ours in pairs:
        if isinstance(official, float) and isinstance(ours, (int, float)):
            got = ours if digits is None else float(f"{ours:.{digits}f}")
            same = math.isclose(official, got, rel_tol=1e-12, abs_tol=1e-12) or (digits is not None and abs(official - ours) <= 0.5000001 * 10**-digits)
            same = same or (math.isnan(official) and math.isnan(got))
        else:
            same = official == ours
        if not same:
            wrong.append((what, official, ours))
    failures += len(wrong)
    print(f"{name}: {len(pairs)} figures, {len(pairs) - len(wrong)} equal" + ("" if digits is None else f" to the {digits} decimals printed"))
    for what, official, ours in wrong:
        print(f"   {what}: official {official!r}, vpref {ours!r}")


def printed(text, pattern):
    return [m.groups() for m in re.finditer(pattern, text, re.MULTILINE)]


CASES = [json.loads(line) for line in open(os.path.join(ROOT, "fixtures", "golden", "eval", "parse-cases.ndjson"))]


def cases(benchmark, parse):
    """The official parser on the hard strings; vpref's result is the golden column, which tests check."""
    mine = [c for c in CASES if c["benchmark"] == benchmark]
    with contextlib.redirect_stdout(io.StringIO()):
        pairs = [(json.dumps(c["text"]), parse(c), c["official"]) for c in mine]
    compare(f"{benchmark}, hard strings", pairs)


# POPE, the official script once per split, and LLaVA's over all splits.
POPE_LABELS = [sets("pope", f"coco_pope_{s}.json") for s in ("random", "popular", "adversarial")]
ours = rows_by(vpref("pope", *(sets("pope", f"answers_{s}.json") for s in ("random", "popular", "adversarial")), "--labels", *POPE_LABELS), "split")
pairs = []
for split in ("random", "popular", "adversarial"):
    source = open(script("POPE", "evaluate.py")).read()
    source = source.replace("ans_file = ''", f"ans_file = {sets('pope', f'answers_{split}.json')!r}").replace("label_file = ''", f"label_file = {sets('pope', f'coco_pope_{split}.json')!r}")
    copy = os.path.join(WORK, "evaluate.py")
    open(copy, "w").write(source)
    text = run(copy)
    row = ours[(split,)]
    counts = printed(text, r"^(\d+)\t(\d+)\t(\d+)\t(\d+)$")[0]
    pairs += [(f"{split} {n}", float(v), row[n]) for n, v in zip(("tp", "fp", "tn", "fn"), counts)]
    names = {"Accuracy": "accuracy", "Precision": "precision", "Recall": "recall", "F1 score": "f1", "Yes ratio": "yes_ratio"}
    pairs += [(f"{split} {n}", float(v), row[names[n]]) for n, v in printed(text, r"^([A-Z][\w ]+): ([\d.]+)$")]
compare("pope, POPE/evaluate.py", pairs)
labels = os.path.join(WORK, "labels")
os.mkdir(labels)
for path in POPE_LABELS:
    shutil.copy(path, labels)
ours = rows_by(vpref("pope", sets("pope", "llava-v1.5-7b.jsonl"), "--labels", *POPE_LABELS, "--questions", sets("pope", "llava_pope_test.jsonl")), "split")
text = run(script("LLaVA", "llava", "eval", "eval_pope.py"), "--annotation-dir", labels, "--question-file", sets("pope", "llava_pope_test.jsonl"), "--result-file", sets("pope", "llava-v1.5-7b.jsonl"))
pairs = [(f"{split} f1", float(f1), ours[(split,)]["f1"]) for split, f1 in printed(text, r"^Category: (\w+),[\s\S]*?F1 score: ([\d.]+)$")]
compare("pope, LLaVA/eval_pope.py", pairs)
scope = definitions(script("LLaVA", "llava", "eval", "eval_pope.py"), {"eval_pope"}, {"json": json})


def pope_case(case):
    # The script rewrites its answers in place; a label file of one yes and one no avoids its divisions by zero.
    path = os.path.join(WORK, "two.json")
    open(path, "w").write('{"label": "yes"}\n{"label": "yes"}\n')
    answers = [{"text": case["text"]}, {"text": "Yes"}]
    scope["eval_pope"](answers, path)
    return answers[0]["text"]


cases("pope", pope_case)

# MM-Vet: capabilities and combinations of three judge runs.
for grades in ("model_gpt-4-0613-grade-3runs.json", "failed-grade-3runs.json"):
    args = types.SimpleNamespace(use_sub_set=False, mmvet_path=sets("mmvet"), num_run=3, decimal_places=1, model="model")
    scope = definitions(script("MM-Vet", "mm-vet_evaluator.py"), {"load_metadata", "export_result"}, {"os": os, "json": json, "np": np, "pd": pd, "Counter": collections.Counter})
    names = ("sub_set", "sub_set_name", "data", "counter", "cap_set_list", "cap_set_counter", "len_data", "df", "df2", "cap_set_names")
    scope.update(zip(names, scope["load_metadata"](args)))
    scope.update(cap_score_file=os.path.join(WORK, "a.csv"), cap_int_score_file=os.path.join(WORK, "b.csv"))
    results = json.load(open(sets("mmvet", grades)))
    df, df2 = scope["export_result"](args, scope["df"], scope["df2"], results, scope["data"], scope["cap_set_counter"], scope["cap_set_names"])
    rows = vpref("mmvet", sets("mmvet", grades), "--labels", sets("mmvet", "mm-vet.json"), "--include-failed")
    ours = {}
    for row in rows:
        name = row["split"].replace("combination:", "")
        ours[frozenset(name.split("+")) if row["split"].startswith("combination:") else name] = row
    pairs = [(name, float(df.loc["model", name]), ours["all" if name == "total" else name]["printed"]) for name in df.columns if name not in ("std", "runs")]
    pairs += [(name, float(df2.loc["model", name]), ours[frozenset(name.split("_"))]["printed"]) for name in df2.columns if name not in ("std", "runs", "total")]
    pairs += [("std", float(df.loc["model", "std"]), float(np.round(ours["all"]["std"], 1)))]
    compare(f"mmvet, mm-vet_evaluator.py, {grades}", pairs)

# LLaVA-Bench, failed reviews included, as in the script.
ours = rows_by(vpref("llava-bench", sets("llava-bench", "review.jsonl"), "--labels", sets("llava-bench", "questions.jsonl"), "--include-failed"), "split")
text = run(script("LLaVA", "llava", "eval", "summarize_gpt_review.py"), "-f", sets("llava-bench", "review.jsonl"))
compare("llava-bench, summarize_gpt_review.py", [(n, float(v), ours[(n.replace("llava_bench_", ""),)]["printed"]) for n, v in printed(text, r"^(\w+) (-?[\d.]+)$")])
parse_score = definitions(script("LLaVA", "llava", "eval", "eval_gpt_review_bench.py"), {"parse_score"}, {})["parse_score"]
cases("llava-bench", lambda c: [repr(float(x)) for x in parse_score(c["text"])])

# MMBench: the choice in an answer.
can_infer = definitions(script("VLMEvalKit", "vlmeval", "utils", "matching_util.py"), {"_VERBOSE_ANSWER_RE", "can_infer_option", "can_infer_text", "can_infer"}, {"re": re, "os": os, "cp": __import__("copy"), "string": __import__("string")})["can_infer"]
cases("mmbench", lambda c: can_infer(c["text"], dict(c["options"])) or None)

# SEED-Bench.
ours = rows_by(vpref("seed-bench", sets("seed-bench", "answers.jsonl"), "--labels", sets("seed-bench", "SEED-Bench.json")), "split")
text = run(script("LLaVA", "scripts", "convert_seed_for_submission.py"), "--annotation-file", sets("seed-bench", "SEED-Bench.json"), "--result-file", sets("seed-bench", "answers.jsonl"), "--result-upload-file", os.path.join(WORK, "upload.jsonl"))
names = {"Total accuracy": "all", "image accuracy": "image", "video accuracy": "video"}
compare("seed-bench, convert_seed_for_submission.py", [(n, float(v), ours[(names.get(n, n),)]["score"]) for n, v in printed(text, r"^(.+): ([\d.]+)%$")], 2)

# ScienceQA.
ours = rows_by(vpref("scienceqa", sets("scienceqa", "answers.jsonl"), "--labels", sets("scienceqa", "problems.json"), sets("scienceqa", "pid_splits.json"), "--allow-missing"), "split")
text = run(script("LLaVA", "llava", "eval", "eval_science_qa.py"), "--base-dir", sets("scienceqa"), "--result-file", sets("scienceqa", "answers.jsonl"), "--output-file", os.path.join(WORK, "o.json"), "--output-result", os.path.join(WORK, "r.json"))
total, correct, accuracy, image = printed(text, r"^Total: (\d+), Correct: (\d+), Accuracy: ([\d.]+)%, IMG-Accuracy: ([\d.]+)%$")[0]
compare("scienceqa, eval_science_qa.py", [("Total", float(total), ours[("all",)]["n"]), ("Correct", float(correct), ours[("all",)]["correct"]), ("Accuracy", float(accuracy), ours[("all",)]["score"]), ("IMG-Accuracy", float(image), ours[("image",)]["score"])], 2)

# GQA: every line, with consistency and the choices file.
run(script("LLaVA", "scripts", "convert_gqa_for_eval.py"), "--src", sets("gqa", "answers.jsonl"), "--dst", os.path.join(WORK, "testdev_predictions.json"))
ours = rows_by(vpref("gqa", sets("gqa", "answers.jsonl"), "--labels", sets("gqa", "testdev_balanced_questions.json"), sets("gqa", "testdev_choices.json")), "split")
text = run(script("GQA", "eval.py"), "--tier", "testdev", "--questions", sets("gqa", "testdev_balanced_questions.json"), "--choices", sets("gqa", "testdev_choices.json"), "--consistency")
whole = ours[("all",)]
figures = {"Binary": ours[("binary",)]["score"], "Open": ours[("open",)]["score"], "Accuracy": whole["score"], **{n.capitalize(): whole[n] for n in ("consistency", "validity", "plausibility", "distribution")}}
pairs = [(n, float(v), figures[n]) for n, v in printed(text, r"^([A-Z]\w+): ([\d.]+)(?:%| \(lower is better\))$")]
part = None
for line in text.splitlines():
    if line.startswith("Accuracy / "):
        part = {"structural type": "structural", "semantic type": "semantic", "steps number": "steps", "words number": "words"}[line[11:-1]]
    elif part and (match := re.match(r"  (.+): ([\d.]+)% \((\d+) questions\)", line)):
        row = ours[(f"{part}/{match[1]}",)]
        pairs += [(f"{part}/{match[1]}", float(match[2]), row["score"]), (f"{part}/{match[1]} n", float(match[3]), row["n"])]
compare("gqa, eval.py --consistency", pairs, 2)

# MT-Bench.
ours = rows_by(vpref("mt-bench", sets("mt-bench", "gpt-4_single.jsonl"), "--labels", sets("mt-bench", "question.jsonl")), "split", "model")
text = run(script("FastChat", "fastchat", "llm_judge", "show_result.py"), "--input-file", sets("mt-bench", "gpt-4_single.jsonl"))
pairs = [(f"turn {t} {m}", float(v), ours[(f"turn-{t}", m)]["score"]) for m, t, v in printed(text, r"^([\w.-]+) +([12]) +([\d.]+)$")]
pairs += [(f"average {m}", float(v), ours[("all", m)]["score"]) for m, v in printed(text, r"^([\w.-]+) +([\d]+\.[\d]+)$")]
compare("mt-bench, show_result.py --mode single", pairs, 6)
ours = rows_by(vpref("mt-bench", sets("mt-bench", "gpt-4_pair.jsonl")), "model")
text = run(script("FastChat", "fastchat", "llm_judge", "show_result.py"), "--mode", "pairwise-all", "--input-file", sets("mt-bench", "gpt-4_pair.jsonl"))
names = ("wins", "losses", "ties", "win_rate", "loss_rate", "win_rate_adjusted")
pairs = [(f"{m} {n}", float(v), ours[(m,)][n]) for m, *values in printed(text, r"^([\w.-]+) +(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$") for n, v in zip(names, values)]
compare("mt-bench, show_result.py --mode pairwise-all", pairs, 6)

# AlpacaEval: figures of the preferences, and the reading of a ranking.
scope = definitions(script("alpaca_eval", "src", "alpaca_eval", "utils.py"), {"validate_alpacaeval_preference"}, {"np": np})
scope = definitions(script("alpaca_eval", "src", "alpaca_eval", "metrics", "helpers.py"), {"BaseScoringRule"}, {**scope, "abc": abc, "pd": pd, "npt": types.SimpleNamespace(ArrayLike=object), "Number": float, "logging": logging})
rule = type("Rule", (scope["BaseScoringRule"],), {"_score": lambda *a: 0, "_bayes_estimator": lambda *a: 0})()
annotations = json.load(open(sets("alpaca-eval", "annotations.json")))
figures = rule.describe_head2head(pd.Series([a["preference"] for a in annotations]))
[row] = [row for row in vpref("alpaca-eval", sets("alpaca-eval", "annotations.json")) if row["split"] == "all"]
names = {"win_rate": "score", "n_total": "n"}
compare("alpaca-eval, metrics/helpers.py", [(n, float(v), float(row[names.get(n, n)])) for n, v in figures.items()])
ranking_parser = definitions(script("alpaca_eval", "src", "alpaca_eval", "completion_parsers.py"), {"ranking_parser"}, {"ast": ast, "logging": logging, "np": np, "Any": object})["ranking_parser"]
cases("alpaca-eval", lambda c: (lambda rank: None if rank != rank else rank)(ranking_parser(c["text"])[0]))

# SHR.
scope = definitions(script("HA-DPO", "ha_dpo", "shr_eval", "shr_utils.py"), {"seg_cap", "post_process_no_revise", "get_metric", "cal_repetition"}, {"ngrams": lambda words, n: zip(*(words[k:] for k in range(n)))})


def shr_case(case):
    try:
        judged = scope["post_process_no_revise"](case["text"], case["response"])
    except IndexError:
        return None
    return [[s["model_response"], s["classification"]] for s in judged]


cases("shr", shr_case)
judgement = json.load(open(sets("shr", "judgement.json")))
runs = [scope["get_metric"](judgement[run], {}) for run in judgement]
[row] = vpref("shr", sets("shr", "judgement.json"), "--labels", sets("shr", "val_images_final.json"))
texts = [entry.get("model_response", entry.get("mode_response")) for entry in next(iter(judgement.values())).values()]
pairs = [(n, round(sum(r[n] for r in runs) / len(runs), 3), row[n]) for n in ("sents_per_image", "words_per_image", "hal_sents_per_image", "hal_words_per_image", "hal_sents_ratio", "hal_words_ratio")]
pairs += [(f"gram-{n}", round(sum(scope["cal_repetition"](t, n) for t in texts) / len(texts), 3), row[f"gram_{n}_repetition"]) for n in (1, 2, 3, 4)]
compare("shr, shr_utils.py", pairs)

shutil.rmtree(WORK)
print("all equal" if failures == 0 else f"{failures} differ")
sys.exit(failures > 0)
