# SPDX-License-Identifier: Apache-2.0
"""Writes the English tables of NLTK that `vpref eval amber` and `vpref eval chair` read texts with, as one JSON file:
   python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng wordnet
   python scripts/tables/nltk_english.py ~/nltk_data nltk-english.json
Needs no package: it reads the files that the downloader unpacks (WordNet 3.0, as NLTK's; corpora/wordnet.zip is read too).
"""
import io
import json
import os
import sys
import zipfile

FOLDER, OUT = sys.argv[1:]


def read(*parts):
    path = os.path.join(FOLDER, *parts)
    if os.path.exists(path):
        return open(path, encoding="utf-8").read()
    archive = os.path.join(FOLDER, *parts[:2]) + ".zip"
    if not os.path.exists(archive):
        sys.exit(f"{path}: expected a file, or {archive}")
    with zipfile.ZipFile(archive) as files, files.open("/".join(parts[1:])) as file:
        return io.TextIOWrapper(file, encoding="utf-8").read()


def lines(*parts):
    return [line for line in read(*parts).split("\n") if line.strip()]


def wordnet(pos):
    """Single-word lemmas, and irregular forms."""
    lemmas = [line.split(" ", 1)[0] for line in lines("corpora", "wordnet", f"index.{pos}") if not line.startswith(" ")]
    forms = [line.split() for line in lines("corpora", "wordnet", f"{pos}.exc")]
    return {
        "lemmas": [lemma for lemma in lemmas if "_" not in lemma],
        "exceptions": {form: of for form, *of in forms if "_" not in form},
    }


punkt = ("tokenizers", "punkt_tab", "english")
tagger = ("taggers", "averaged_perceptron_tagger_eng")
tables = {
    "nltk_english": 1,
    "sentences": {
        "abbreviations": lines(*punkt, "abbrev_types.txt"),
        "starters": lines(*punkt, "sent_starters.txt"),
        "collocations": [line.split("\t") for line in lines(*punkt, "collocations.tab")],
        "contexts": {word: int(flags) for word, flags in (line.rsplit("\t", 1) for line in lines(*punkt, "ortho_context.tab"))},
    },
    "tagger": {name: json.loads(read(*tagger, f"{tagger[-1]}.{name}.json")) for name in ("weights", "tagdict", "classes")},
    **{f"{pos}s": wordnet(name) for pos, name in (("noun", "noun"), ("verb", "verb"), ("adjective", "adj"), ("adverb", "adv"))},
}
with open(OUT, "w") as f:
    json.dump(tables, f)
print(f"{OUT}: {len(tables['tagger']['weights'])} features, {len(tables['nouns']['lemmas'])} nouns")
