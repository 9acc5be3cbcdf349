# SPDX-License-Identifier: Apache-2.0
"""scripts/tables/amber_similar.py on vectors of known cosines, instead of spaCy's large ones, and the result of `vpref eval amber` with its table:
   python scripts/checks/amber_similar.py      (numpy, spacy 3.8.16; after `make build`)
What it printed: 36 cells of 6 words, 36 equal; named en_core_web_lg 0.0.1; refused by eval under another name, and over other words
"""
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import spacy

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
WORK = tempfile.mkdtemp()
# Degrees in a plane: the cosine of 36.8 degrees is above 0.8, that of 36.9 below.
ANGLES = {"dog": 0, "puppy": 36.8, "cat": 36.9, "sky": 180, "tree": 100, "kite": 63.2}
RELATION = {"dog": ["puppy"], "cat": [], "sky": [], "tree": ["kite"]}


def path(name):
    return os.path.join(WORK, name)


def write(name, value):
    with open(path(name), "w") as f:
        json.dump(value, f)
    return path(name)


def table(model, relation):
    nlp = spacy.blank("en", meta={"name": model, "version": "0.0.1"})
    nlp.vocab.reset_vectors(width=2)
    for word, angle in ANGLES.items():
        nlp.vocab.set_vector(word, np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))], dtype="float32"))
    nlp.to_disk(path(model))
    out = path(f"{model}.json")
    maker = os.path.join(ROOT, "scripts", "tables", "amber_similar.py")
    subprocess.run([sys.executable, maker, write("relation.json", relation), out, path(model)], check=True, stdout=subprocess.DEVNULL)
    return out


def refusal(similar, relation):
    write("relation.json", relation)
    labels = write("annotations.json", [{"id": 1, "type": "generative", "truth": ["dog"], "hallu": []}])
    answers = write("answers.json", [{"id": 1, "response": "A dog."}])
    with open(path("safe_words.txt"), "w") as f:
        f.write("light\n")
    english = path("nltk-english.json")
    with open(os.path.join(ROOT, "fixtures", "golden", "eval", "nltk.json")) as f:
        json.dump(json.load(f)["tables"], open(english, "w"))
    command = ["node", os.path.join(ROOT, "bin", "run.js"), "eval", "amber", answers, "--labels", labels]
    command += ["--tables", path("relation.json"), path("safe_words.txt"), english, similar]
    return subprocess.run(command, capture_output=True, text=True)


made = table("core_web_lg", RELATION)
got = json.load(open(made))
cells = [(a, b) for a in ANGLES for b in ANGLES]
equal = sum((b in got["similar"][a]) == (math.cos(math.radians(ANGLES[a] - ANGLES[b])) > 0.8) for a, b in cells)
accepted = refusal(made, RELATION)
other = refusal(table("core_web_md", RELATION), RELATION)
words = refusal(made, {**RELATION, "ball": []})
assert accepted.returncode == 0 and got["model"] in accepted.stdout, accepted
assert other.returncode == 2 and "en_core_web_md 0.0.1" in other.stderr, other
assert words.returncode == 2 and "similar.ball" in words.stderr, words
print(f"{len(cells)} cells of {len(ANGLES)} words, {equal} equal; named {got['model']}; refused by eval under another name, and over other words")
sys.exit(equal != len(cells))
