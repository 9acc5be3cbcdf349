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


# --------------------------------------------------------------------------------------- the official answer parsers
# Restated from their descriptions; one function a benchmark. What raises there is "error" here.
def pope(text):
    first = text.partition(".")[0] if "." in text else text
    tokens = first.replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(tokens) else "yes"


def mmvet(reply):
    word = reply.split(" ")[0].strip()
    try:
        grade = float(word)
    except ValueError:
        return None
    return None if grade > 1 or grade < 0 else repr(grade)


def llava_bench(reply):
    cells = reply.split("\n")[0].replace(",", " ").split(" ")
    if len(cells) != 2:
        return [-1, -1]
    try:
        return [float(c) for c in cells]
    except ValueError:
        return [-1, -1]


REFUSALS = ("Sorry, I can't help with images of people yet.", "I can't process this file.",
            "I'm sorry, but without the image provided", "Cannot determine the answer")


def mmbench(answer, options):
    if "Failed to obtain answer via API" not in answer:
        if any(r in answer for r in REFUSALS):
            return "Z"
        spaced = answer
        for mark in ".()[],:;!*#{}":
            spaced = spaced.replace(mark, " ")
        tokens = spaced.split()
        alone = [k for k in options if k in tokens]
        if len(alone) == 1:
            if tokens.index(alone[0]) > len(tokens) - 5:
                return alone[0]
        elif not alone and "Z" in tokens:
            return "Z"
        stated = re.search(r"answer\s+is\s+\**([A-D])", answer, re.IGNORECASE)
        if stated and stated[1].upper() in options:
            return stated[1].upper()
    lower = answer.lower()
    if len(lower) > 2 * sum(len(v) for v in options.values()):
        return None
    inside = [k for k, v in options.items() if v.lower() in lower]
    return inside[0] if len(inside) == 1 else None


def scienceqa(text):
    if text in list("ABCDE"):
        return text
    if len(text) >= 3 and text[0] in list("ABCDE") and text[1:3] == ". ":
        return text[0]
    found = re.findall(r"The answer is ([A-Z]).", text)
    return found[0] if len(found) == 1 else None


def gqa(text):
    return text.rstrip(".").lower()


def shr(reply, response):
    kept = []
    for piece in response.split("."):
        s = piece.strip()
        if s in kept or any(s in k for k in kept):
            continue
        if s:
            kept.append(s + ".")
    lines = [l for l in reply.split("\n") if len(l) > 0]
    at = [i for i, l in enumerate(lines) if "Judgement:" in l]
    if not at:
        return None
    judged = [" ".join(l.split(" ")[1:]).strip() for l in lines[at[0] + 1:]]
    judged = [j for j in judged if j]
    if len(judged) != len(kept):
        return [[k, None] for k in kept]
    return [[k, j.split(":")[0].lower()] for k, j in zip(kept, judged)]


def mt_bench(judgment):
    m = re.search(r"\[\[(\d+\.?\d*)\]\]", judgment) or re.search(r"\[(\d+\.?\d*)\]", judgment)
    if not m:
        return -1
    try:
        return ast.literal_eval(m.groups()[0])
    except SyntaxError:
        return "error"


def alpaca_eval(reply):
    try:
        ranking = ast.literal_eval(reply)
        rank = [c for c in ranking if c["model"] == "model_1"][0]["rank"]
        assert rank in [1, 2]
        return rank
    except Exception:
        return None


POPE = ["Yes", "No", "yes", "no", "NO", "YES", "Yes.", "No.", "No, there is no cat.", "Yes, there is a cat in the image.",
        "There is no cat in the image.", "There isn't a cat.", "There is not a cat", "none", "None.", "", " ", "No</s>", "No\n", "no\nYes", "No\n\nno",
        "Yes. No cat here", "I do not see a cat", "Not really", "not", "No,no", "No ,", "no.", ".no", "... no", "The image does not show it.",
        "\u4e0d", "\u6ca1\u6709", "\u662f\u7684", "Nope", "No\u3002", "No\uff0c there is none", "No\tcat", "  No", "no  ", "Yes, no", "Absolutely", "The answer is no", "The answer is: no",
        "(no)", "\"no\"", "No;", "No:", "No-one is there", "A cat", "cannot", "can't", "1", "3.5 cats, no dogs", "There are no. 3 buses", "Noyes", "yesno",
        "It is not possible to say.", "Yes</s>", "There is a cat , not a dog", "Yes, but no dog", "NOT", "\u00a0No", "No\u00a0"]
MMVET = ["0.5", "1.0", "0", "1", " 0.5", "0.5 ", "0.5\n", "0.5\n0.6", "0.5 because", "1.1", "-0.1", "-0", "nan", "NaN", "inf", "0,5", ".5", "5.", "0.5.", "", "the", "1/2",
         "0.5/1", "\"0.5\"", "**0.5**", "0.5\tgood", "1_0", "0_1", "0.1_0", "1e-1", "\u0660.\u0665", "\uff10.\uff15", "\u00bd", "0.50", "+0.5", "0x0", "1.0000001", "0.9999", "Score:", "0.5|"]
LLAVA = ["8 9", "8, 9", "8,9", "8  9", "8 9 ", " 8 9", "8 9\nBecause", "8 9\r\nBecause", "8.5 9", "8/10 9/10", "8", "8 9 10", "Assistant 1: 8", "8\n9", "", "-1 -1", "nan 7", "10 10", "eight nine",
         "8\t9", "\u0668 \u0669", "8,,9", "8 ,9", "1_0 9", "8;9", "8 9.", "8 and 9", "inf 9", "**8** 9", "\n8 9", "8 9\n\n8 10", "0 0"]
FOUR = {"A": "dog", "B": "cat", "C": "red bird", "D": "bird"}
TWO = {"A": "Yes", "B": "No"}
LONG = {"A": "The man is riding a horse", "B": "The man is walking a dog", "C": "The man is asleep"}
MMBENCH = [(t, FOUR) for t in
           ["A", "B.", "(C)", "D:", "a", "b", "A dog", "A cat", "A.", "A. dog", "The answer is B", "The answer is B.", "answer: C", "B\uff0c", "\uff22", "A B", "A and B", "dog", "Dog", "the cat", "a red bird",
            "red bird", "bird", "birds", "", " ", "Z", "Z.", "E", "None of them", "I think it is A because it barks", "I think that the answer here must be C", "A is what I would choose among all of these options given",
            "C is what I would choose among them", "Cannot determine the answer", "I can't process this file. A", "I'm sorry, but without the image provided B", "Failed to obtain answer via API. A",
            "Failed to obtain answer via API. cat", "B\nC", "B\nB", "[B]", "{B}", "*B*", "#B", "B!", "B?", "'B'", "\"B\"", "B-", "-B", "B/C", "A.B", "dog cat", "dog and cat", "hotdog", "a catalogue", "Option D", "option d",
            "The animal that can be seen in the picture is a small dog that barks", "\u9009B", "\u7b54\u6848\u662fB", "\u7b54\u6848\u662f B", "B\u3002", "B </s>", "B</s>",
            # The stated answer: where no letter stands alone near the end.
            "The answer is b", "The answer is B, since none of the other three animals barks", "the answer is a cat", "The answer is Birds", "answer is: B since it is", "The answer is **C** which is a red bird here",
            "The correct answer is\tD-ish", "ANSWER IS **d", "The answer is e", "The answer is E. dog", "The answer is not B as it seems to me now", "The answer is B or C", "The answer isB", "The answer is \"B\"", "The answer\u00a0is\x1cb",
            "The answer\ufeffis b", "My answer is Zebra", "Failed to obtain answer via API. The answer is b", "Cannot determine the answer. The answer is b", "The answer is A, or the answer is B"]] + \
          [(t, TWO) for t in ["Yes", "No", "yes", "A", "Yes, A", "No. B", "Not sure", "Yes and no", "A No", "Y", "Nothing", "The answer is clearly yes", "the answer is C", "the answer is d; the answer is b"]] + \
          [(t, LONG) for t in ["The man is riding a horse", "the man is riding a horse.", "He is riding a horse", "The man is asleep", "A man is walking", "The man is riding a horse and the man is asleep",
                               "A\nThe man is riding a horse", "C. The man is walking a dog", "The answer is (B) The man is walking a dog",
                               "B The man is walking a dog in the park", "I would say that the man is walking a dog in this picture since there is a dog on a leash beside him, and he is not on a horse"]]
SCIENCE = ["A", "B", "F", "a", "A.", "A. ", "A. Alaska", "F. x", "B.\n", "A) x", "The answer is A.", "The answer is A", "The answer is A\n", "The answer is A!", "The answer is (A).", "the answer is A.", "The answer is A. The answer is B.",
           "The answer is A. The answer is A.", "The answer is Z.", "LECTURE: x. The answer is C. BECAUSE", "", " A", "A ", "AB", "A.x", "A,", "The answer is AB.", "So the answer is B.", "The answer is E.", "\uff21", "E", "The answer is A\u2028", "The answer is B</s>", "B. The answer is C."]
GQA = ["Yes", "yes.", "Yes..", "no . ", "a dog", "The dog.", "two", "2", "DOG", "dog!", " dog", "dog ", "", ".", "...", "left.right", "\u00c9t\u00e9.", "bed.\n", "\u0130"]
SHRS = [("Judgement:\n1. correct: yes\n2. hallucination: no dog", "A cat. A dog."), ("Judgement:\n1. Correct: yes\n2. Hallucination: x\n", "A cat. A dog."), ("Judgement:\n1. correct: yes", "A cat. A dog."),
        ("judgement:\n1. correct", "A cat."), ("Sure. Judgement:\n\n1. cannot judge: mood", "It is calm."), ("Judgement:\n1. correct\n", "A cat"), ("Judgement:\n1.correct: x", "A cat."), ("Judgement:\n- hallucination: x", "A cat."),
        ("Judgement: \n1. correct: a: b\n2. correct: c", "It costs 3.5 dollars."), ("Judgement:\n1. correct: x", "A cat. A cat. cat."), ("Judgement:\n1. correct: x\nJudgement:\n2. correct: y", "A cat. A dog."),
        ("Judgement:\n1. unclear: x", "A cat."), ("1. correct", "A cat."), ("Judgement:\n1. correct: x\n2. correct: y\n3. correct: z", "A cat. A dog."), ("Judgement:\n1. hallucination:x\n2.  correct: y", "A cat. A dog."),
        ("Judgement:\n1. hallucination or correct: x", "A cat."), ("Judgement:\n1. Correct : x", "A cat."), ("Judgement:\n", ""), ("Judgement:", "A cat."), ("Judgement:\n1. **Correct**: x", "A cat?")]
MT = ["Rating: [[7]]", "[[10]]", "[[7.5]]", "[[7.]]", "[7]", "[[7/10]]", "Rating: 7", "", "[[ 7 ]]", "[[7]] then [[8]]", "[3] then [[8]]", "[[08]]", "[[0]]", "[[11]]", "[[seven]]", "[[.5]]", "[[-3]]", "[1] [2]", "[[1e1]]", "[[[9]]]", "[[9]", "[[A]]", "$ERROR$", "[[7]]\n", "[[100]]", "[[7,5]]", "[[7]"]
ALPACA = ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", "[{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}]", "[\n  {\"model\": \"model_1\", \"rank\": 2},\n  {\"model\": \"model_2\", \"rank\": 1}\n]",
          "[{'model': 'model_1', 'rank': 1}]", "[{'model': 'model_2', 'rank': 1}]", "[{'model': 'model_1', 'rank': '1'}]", "[{'model': 'model_1', 'rank': 3}]", "model_1", "", "```python\n[{'model': 'model_1', 'rank': 1}]\n```",
          "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 1}]", "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]\nBecause", "[{'model': 'model_1', 'rank': 1},]", " [{'model': 'model_1', 'rank': 1}]", "[{model: 'model_1', rank: 1}]", "({'model': 'model_1', 'rank': 2},)", "[{'rank': 1}]", "[1, 2]", "{'model': 'model_1', 'rank': 1}", "[{'model': 'model_1', 'rank': True}]", "[{'model': 'model_1', 'rank': 1.0}]"]

cases = [{"benchmark": "pope", "text": t, "official": pope(t)} for t in POPE]
cases += [{"benchmark": "mmvet", "text": t, "official": mmvet(t)} for t in MMVET]
cases += [{"benchmark": "llava-bench", "text": t, "official": [repr(float(x)) for x in llava_bench(t)]} for t in LLAVA]
cases += [{"benchmark": "mmbench", "text": t, "options": o, "official": mmbench(t, o)} for t, o in MMBENCH]
cases += [{"benchmark": "scienceqa", "text": t, "official": scienceqa(t)} for t in SCIENCE]
cases += [{"benchmark": "gqa", "text": t, "official": gqa(t)} for t in GQA]
cases += [{"benchmark": "shr", "text": t, "response": r, "official": shr(t, r)} for t, r in SHRS]
cases += [{"benchmark": "mt-bench", "text": t, "official": mt_bench(t)} for t in MT]
cases += [{"benchmark": "alpaca-eval", "text": t, "official": alpaca_eval(t)} for t in ALPACA]
with open(os.path.join(OUT, "parse-cases.ndjson"), "w") as f:
    for case in cases:
        f.write(json.dumps(case) + "\n")
print(len(cases), "parsing cases")
