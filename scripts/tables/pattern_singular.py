# SPDX-License-Identifier: Apache-2.0
"""Writes the singulars of `pattern.en` that the original CHAIR script reads captions with, as one more table of `vpref eval chair`:
   pip install pattern
   python scripts/tables/pattern_singular.py nltk-english.json synonyms.txt pattern-singular.json
Kept are the forms that become a word of the synonyms, and the words of the synonyms that become another.
"""
import json
import sys

from pattern.en import singularize

ENGLISH, SYNONYMS, OUT = sys.argv[1:]
tables = json.load(open(ENGLISH))
names = [name.strip() for line in open(SYNONYMS) for name in line.split(",")]
wanted = {word for name in names for word in name.lower().split()} | {"home", "plate", "track", "seat", "glas", "baby", "adult", "passenger", "animal", "cub"}
known = {lemma for part in ("nouns", "verbs", "adjectives", "adverbs") for lemma in tables[part]["lemmas"]} | wanted
forms = {form for word in known for form in (word, word + "s", word + "es", word[:-1] + "ies", word[:-1] + "ves", word[:-2] + "ves", word[:-2] + "en")}
forms |= {form for part in ("nouns", "verbs") for form in tables[part]["exceptions"]}
singular = {form: singularize(form) for form in sorted(forms) if form}
with open(OUT, "w") as f:
    json.dump({"singular": {form: of for form, of in singular.items() if form != of and (of in wanted or form in wanted)}}, f)
