# SPDX-License-Identifier: Apache-2.0
"""Writes the words of AMBER's vocabulary that are similar by spaCy's large vectors (above 0.8, as in its script), as the one
more table that `vpref eval amber` takes:
   python -m spacy download en_core_web_lg
   python scripts/tables/amber_similar.py AMBER/data/relation.json amber-similar.json
A third argument names other vectors, to try the script with; `vpref eval amber` refuses their table.
"""
import json
import sys
import warnings

import spacy

RELATION, OUT = sys.argv[1:3]
MODEL = sys.argv[3] if len(sys.argv) > 3 else "en_core_web_lg"
LEAST = 0.8

warnings.filterwarnings("ignore", category=UserWarning)
nlp = spacy.load(MODEL)
if nlp.vocab.vectors.shape[0] == 0:
    sys.exit(f"{MODEL}: expected a pipeline with word vectors, got none")
relation = json.load(open(RELATION, encoding="utf-8"))
words = sorted({word for key, others in relation.items() for word in (key, *others)})
texts = {word: nlp(word) for word in words}
similar = {word: [other for other in words if texts[word].similarity(texts[other]) > LEAST] for word in words}
with open(OUT, "w") as f:
    json.dump({"similar": similar, "model": f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}", "spacy": spacy.__version__}, f)
print(f"{OUT}: {sum(map(len, similar.values()))} pairs of {len(words)} words")
