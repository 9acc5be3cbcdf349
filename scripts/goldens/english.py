# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/golden/eval/nltk.json: what NLTK 3.10.3 makes of hard texts, with small tables of our own in place of its
data (so that the test needs none): sentences, words, tags and nouns.
   python scripts/goldens/english.py
"""
import json
import os

import nltk
from nltk.tag.perceptron import PerceptronTagger
from nltk.tokenize import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

assert nltk.__version__ == "3.10.3", nltk.__version__
OUT = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures", "golden", "eval", "nltk.json")

# Contexts: 2 begins upper, 4 inside upper, 8 unknown upper, 16 begins lower, 32 inside lower, 64 unknown lower.
TABLES = {
    "nltk_english": 1,
    "sentences": {
        "abbreviations": ["dr", "mr", "u.s", "e.g", "i.e", "ft", "a.m", "p.m", "vs", "etc", "st"],
        "starters": ["the", "he", "it", "there", "but"],
        "collocations": [["st", "louis"], ["##number##", "street"]],
        "contexts": {"the": 2 + 16 + 32, "he": 2 + 32, "it": 2 + 32, "smith": 4, "dogs": 32, "cat": 16 + 32, "flag": 32, "in": 2 + 4 + 32, "louis": 4, "left": 32, "of": 32, "light": 32, "a": 2 + 32, "flowers": 32, "on": 6 + 32},
    },
    "tagger": {
        "weights": {
            "bias": {"NN": 0.3, "VBZ": 0.1, "JJ": 0.2},
            "i suffix ogs": {"NNS": 2.0, "NN": -0.5},
            "i suffix nds": {"VBZ": 1.0, "NNS": 0.9},
            "i pref1 b": {"NN": 0.25, "JJ": 0.5},
            "i-1 tag DT": {"NN": 1.5, "JJ": 0.9, "VBZ": -2.0},
            "i-1 tag NN": {"VBZ": 1.2},
            "i-2 tag DT": {"VBZ": 0.4},
            "i tag+i-2 tag NN DT": {"VBZ": 0.7},
            "i word big": {"JJ": 1.1},
            "i-1 tag+i word DT stands": {"NNS": 2.5},
            "i-1 word !YEAR": {"NNS": 3.0},
            "i-1 suffix ear": {"NNS": 0.5},
            "i-2 word !DIGITS": {"JJ": 2.0},
            "i+1 word -END-": {"NN": 0.6},
            "i+1 suffix ed": {"JJ": 0.2},
            "i+2 word !HYPHEN": {"JJ": 1.7},
            "i word !HYPHEN": {"JJ": 1.0},
        },
        "tagdict": {"the": "DT", "a": "DT", "A": "DT", "The": "DT", ".": ".", ",": ",", "and": "CC", "in": "IN"},
        "classes": [".", ",", "CC", "DT", "IN", "JJ", "NN", "NNS", "VBZ"],
    },
    "nouns": {
        "lemmas": "dog bus man men person people child leaf leave glass glas box quiz church dish city fly knife scissors u us goose ox".split(),
        "exceptions": {"children": ["child"], "geese": ["goose"], "oxen": ["ox"], "leaves": ["leaf", "leave"], "knives": ["knife"], "people": ["people"]},
    },
    "verbs": {"lemmas": "run be leave stand ride carry bake bak try".split(), "exceptions": {"ran": ["run"], "is": ["be"], "left": ["leave"]}},
    "adjectives": {"lemmas": "big large small wide good".split(), "exceptions": {"bigger": ["big"], "better": ["good", "well"]}},
    "adverbs": {"lemmas": ["fast", "well"], "exceptions": {"better": ["well"]}},
}
TEXTS = [
    "Dr. Smith has 2 dogs. He left.",
    "The U.S. flag is red. The U.S. The end.",
    "It is 3.5 ft. of rope. It is 20 ft. The cat left.",
    "See J. R. Smith. It is on St. Louis street, No. 5. Street signs.",
    "Stop!!! He left?! \"Yes.\" He said (\"no.\") The end.",
    "A... b. The dogs... The cat.. a",
    "One.) Two.' Three.\u201d Four.\u00bb five",
    "cats.dogs are e.g. flowers, i.e. Roses etc. The light at 5 p.m. in a room vs. he",
    "First line.\nSecond line\n\nThird. a.m. Light",
    "x\u00a0y. Z\u3000w. q -- r; s: t",
    "\u00c9t\u00e9. \u00e9t\u00e9. \u00c9t\u00e9",
    "", " ", ".", "...", "a.", "?!", "He said 5. dogs left. 7. The",
    "self-made dr. The well-known u.s. it",
]
SENTENCES = [
    "The man's dogs can't see the Smiths' house, don't they?",
    "I'll say we've 3,000.50 apples: $5 & 10% #1 @home; OK?",
    "\"Quoted\" 'single' ``back'' (\"in brackets\") [x] {y} <z>",
    "It's 'tis and 'twas; gonna gimme cannot wanna go lemme d'ye more'n gotta",
    "Well--known, self-made... end.",
    "He left (at 5 p.m.).",
    "\u201cCurly\u201d \u2018quotes\u2019 and \u00abchevrons\u00bb \u2013 dashes \u2014 here.",
    "A,b, c,5 6:7 8: nine:",
    "no stop", "...", "a.b.c.", "end.\"", "end.')", "end. ", "it''s 'S 'm", "rock 'n' roll '90s", "x*y**z", "the dogs' bowl ", "Won't WON'T N'T'LL", "tab\tnew\nline.", "\u6f22\u5b57\u3002 \u00e9t\u00e9's", "'", "' a", "a '", "!?", "cannot", "Cannot.", "can not",
]
WORDS = [s.split() for s in ["The big dogs stands .", "a big well-made cat stands", "1999 years", "5 big cats", "The dog stands", "bones", "\u00b2 x", "12 34 big", "-x big", "A bird stands stands stands ."]]
NOUNS = "dogs buses men people children leaves glasses boxes quizzes churches dishes cities flies knives scissors us Dogs geese oxen person persons unknowns s ss es".split()

LEMMAS = [pair.split("/") for pair in "runs/VBZ ran/VBD is/VBZ left/VBD stands/VBZ riding/VBG carries/VBZ baked/VBN tries/VBZ bigger/JJR largest/JJS wider/JJR better/JJR better/RBR faster/RBR dogs/NNS leaves/VBZ leaves/NNS dogs/CD unknowned/VBD".split()]

params = PunktParameters()
table = TABLES["sentences"]
params.abbrev_types = set(table["abbreviations"])
params.sent_starters = set(table["starters"])
params.collocations = {tuple(pair) for pair in table["collocations"]}
params.ortho_context.update(table["contexts"])
splitter = PunktSentenceTokenizer(params)
tagger = PerceptronTagger(load=False)
tagger.decode_json_params([TABLES["tagger"][name] for name in ("weights", "tagdict", "classes")])


PARTS = {"n": "nouns", "v": "verbs", "a": "adjectives", "r": "adverbs"}


class Nouns:
    """WordNetCorpusReader._morphy over the small table."""

    from nltk.corpus.reader.wordnet import WordNetCorpusReader as Reader

    MORPHOLOGICAL_SUBSTITUTIONS = Reader.MORPHOLOGICAL_SUBSTITUTIONS
    _exception_map = {pos: TABLES[name]["exceptions"] for pos, name in PARTS.items()}
    _lemma_pos_offset_map = {lemma: {pos: [] for pos, name in PARTS.items() if lemma in TABLES[name]["lemmas"]} for table in PARTS.values() for lemma in TABLES[table]["lemmas"]}
    morphy = Reader._morphy


def lemmatize(word, pos="n"):
    lemmas = Nouns().morphy(word, pos)
    return min(lemmas, key=len) if lemmas else word


golden = {
    "tables": TABLES,
    "sentences": [[text, splitter.tokenize(text)] for text in TEXTS],
    "words": [[text, NLTKWordTokenizer().tokenize(text)] for text in SENTENCES],
    "tags": [[words, [tag for _, tag in tagger.tag(words)]] for words in WORDS],
    "nouns": [[word, lemmatize(word)] for word in NOUNS],
    "lemmas": [[word, tag, lemmatize(word, {"V": "v", "J": "a", "R": "r"}.get(tag[0], "n"))] for word, tag in LEMMAS],
}
with open(OUT, "w") as f:
    json.dump(golden, f, indent=1)
    f.write("\n")
