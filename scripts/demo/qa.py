# SPDX-License-Identifier: Apache-2.0
"""Questions and answers about a scene, in LLaVA conversation style, plus the metrics that read the answers back.

The training answers imitate two well-known flaws of real instruction data, so that the model has something to align:
  * captions and lists sometimes mention a likely companion object that is not there (`noise`);
  * presence questions are mostly about things that are there, and their negatives are mostly easy.
Test questions and the truth files are always exact.
"""
import random
import re

from scenes import CLASSES, COLOURS, GROUP_OF, GROUPS, POPULARITY, WORDS

NUMBER = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
PLURAL = {"sheep": "sheep", "fish": "fish", "bus": "buses", "butterfly": "butterflies", "scissors": "scissors",
          "bread": "breads", "teddy": "teddies"}
SINGULAR = {v: k for k, v in PLURAL.items()}
Q_LIST = ["What objects are in the image?", "List the objects in the image.", "Which things can you see?"]
Q_SHORT = ["Describe the image.", "What is shown in the image?", "Write a short caption for the image."]
Q_LONG = ["Describe the image in detail.", "Give a detailed description of the image."]


def plural(c):
    return PLURAL.get(c, c + "s")


def article(c):
    return ("an " if c[0] in "aeiou" else "a ") + c


def noun(c, n):
    return article(c) if n == 1 else f"{NUMBER[n]} {plural(c)}"


def join(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def region(o):
    h = "left" if o["cx"] < 45 else "right" if o["cx"] > 83 else ""
    v = "top" if o["cy"] < 45 else "bottom" if o["cy"] > 83 else ""
    return f"{v} {h}".strip() or "center"


def place(o):
    return {"center": "in the center"}.get(region(o), f"in the {region(o)}" if " " in region(o) else
                                           f"on the {region(o)}" if region(o) in ("left", "right") else f"at the {region(o)}")


def size_word(o):
    return "small " if o["side"] < 34 else "large " if o["side"] >= 48 else ""


def companion(rng, ann):
    """A likely object that is NOT in the scene (same group)."""
    pool = [(c, w) for c, w in zip(GROUPS[ann["group"]], POPULARITY) if c not in ann["counts"]]
    return rng.choices([c for c, _ in pool], [w for _, w in pool])[0] if pool else None


def kinds(ann):
    """Distinct kinds from left to right."""
    return list(dict.fromkeys(o["name"] for o in ann["objects"]))


def with_noise(rng, ann, noise):
    items = [(k, ann["counts"][k]) for k in kinds(ann)]
    if noise and rng.random() < noise:
        c = companion(rng, ann)
        if c:
            items.insert(rng.randint(max(1, len(items) - 1), len(items)), (c, 1))
    return items


def word_tail(ann):
    return f" The word {ann['word']['text']} is written on it." if ann["word"] else ""


def a_list(rng, ann, noise=0):
    return "The image contains " + join([noun(k, n) for k, n in with_noise(rng, ann, noise)]) + "."


def a_short(rng, ann, noise=0):
    items = [noun(k, n) for k, n in with_noise(rng, ann, noise)]
    return f"The image shows {join(items)} on a {ann['background']} background." + word_tail(ann)


def a_long(rng, ann, noise=0):
    """One clause per kind with size and place of its leftmost instance, then the background and the word."""
    parts, items = [], with_noise(rng, ann, noise)
    for k, n in items:
        first = next((o for o in ann["objects"] if o["name"] == k), None)
        if first is None:
            first = {"cx": rng.uniform(20, 108), "cy": rng.uniform(20, 108), "side": rng.uniform(26, 60)}
        parts.append(f"{article((size_word(first) + k))} {place(first)}" if n == 1 else f"{noun(k, n)}")
    return f"There {'is' if items[0][1] == 1 else 'are'} {join(parts)}. The background is {ann['background']}." + word_tail(ann)


def q_presence(c):
    return f"Is there {article(c)} in the image?"


def a_presence(c, yes):
    return f"Yes, there is {article(c)} in the image." if yes else f"No, there is no {c} in the image."


def relation(rng, ann):
    """A left/right-neighbour question whose answer is unambiguous, or None."""
    objs = ann["objects"]
    pairs = [(a, b) for a, b in zip(objs, objs[1:])
             if b["cx"] - a["cx"] > 18 and a["name"] != b["name"] and ann["counts"][a["name"]] == ann["counts"][b["name"]] == 1]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    if rng.random() < 0.5:
        return f"What is to the left of the {b['name']}?", f"There is {article(a['name'])} to the left of the {b['name']}."
    return f"What is to the right of the {a['name']}?", f"There is {article(b['name'])} to the right of the {a['name']}."


def training_qa(rng, ann, noise=0.25, hard=0.25, per_image=6):
    """Six of about eight possible question/answer pairs for one scene."""
    out = [(rng.choice(Q_LIST), a_list(rng, ann, noise)), (rng.choice(Q_SHORT), a_short(rng, ann, noise)),
           (rng.choice(Q_LONG), a_long(rng, ann, noise))]
    present, absent = kinds(ann), [c for c in CLASSES if c not in ann["counts"]]
    c = rng.choice(present)
    out.append((q_presence(c), a_presence(c, True)))
    for yes in (rng.random() < 0.45, False):
        if yes:
            c = rng.choice(present)
        else:  # negatives: mostly easy, sometimes a likely companion
            c = (companion(rng, ann) if rng.random() < hard else None) or rng.choice(absent)
        out.append((q_presence(c), a_presence(c, yes)))
    if rng.random() < 0.7:
        c = rng.choice(present)
        n = ann["counts"][c]
        out.append((f"How many {plural(c)} are there?", f"There is one {c} in the image." if n == 1 else f"There are {NUMBER[n]} {plural(c)} in the image."))
    rel = relation(rng, ann)
    if rel and rng.random() < 0.8:
        out.append(rel)
    if rng.random() < 0.5:
        out.append(("What color is the background?", f"The background is {ann['background']}."))
    if ann["word"] or rng.random() < 0.15:
        out.append(("What word is written in the image?", f"The word {ann['word']['text']} is written in the image." if ann["word"] else "There is no word in the image."))
    rng.shuffle(out)
    out = out[:per_image]
    return out


# ---------------------------------------------------------------- reading answers back
_NAMES = sorted(CLASSES, key=len, reverse=True)
_FORMS = {f: c for c in _NAMES for f in (c, plural(c))}
_RE = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _FORMS), key=len, reverse=True)) + r")\b")


def mentioned(text):
    """Object kinds a text mentions, in order (words in capitals are OCR words, not objects)."""
    return list(dict.fromkeys(_FORMS[m] for m in _RE.findall(text)))


def chair(texts, truths):
    """CHAIR-style scores: share of mentioned objects that are absent (i), of captions with any (s), recall, and F1."""
    bad = said = hit = total = sents = 0
    for text, truth in zip(texts, truths):
        m = mentioned(text)
        wrong = [c for c in m if c not in truth]
        said += len(m)
        bad += len(wrong)
        hit += len(m) - len(wrong)
        total += len(truth)
        sents += bool(wrong)
    p, r = 1 - bad / max(1, said), hit / max(1, total)
    return {"chair_i": bad / max(1, said), "chair_s": sents / len(texts), "recall": r, "f1": 2 * p * r / max(1e-9, p + r),
            "mentions": said / len(texts)}


def yes(text):
    """The usual POPE reading: 'no'/'not' anywhere in the first sentence means no."""
    words = text.split(".")[0].replace(",", "").split()
    return not ("No" in words or "not" in words or "no" in words)


def pope_scores(answers, labels):
    tp = sum(a and l for a, l in zip(answers, labels))
    fp = sum(a and not l for a, l in zip(answers, labels))
    tn = sum(not a and not l for a, l in zip(answers, labels))
    fn = sum(not a and l for a, l in zip(answers, labels))
    p, r = tp / max(1, tp + fp), tp / max(1, tp + fn)
    return {"acc": (tp + tn) / len(labels), "precision": p, "recall": r, "f1": 2 * p * r / max(1e-9, p + r),
            "yes_ratio": (tp + fp) / len(labels)}


def pope_set(anns, split, per_image, rng):
    """POPE: per image `per_image` present objects and as many absent ones, picked at random / by popularity / by co-occurrence."""
    freq = {c: sum(c in a["counts"] for a in anns) for c in CLASSES}
    popular = sorted(CLASSES, key=lambda c: -freq[c])
    co = {c: {d: sum(c in a["counts"] and d in a["counts"] for a in anns) for d in CLASSES} for c in CLASSES}
    rows = []
    for a in anns:
        pos = rng.sample(kinds(a), min(per_image, len(a["counts"])))
        absent = [c for c in CLASSES if c not in a["counts"]]
        if split == "random":
            neg = rng.sample(absent, len(pos))
        elif split == "popular":
            neg = rng.sample([c for c in popular if c in absent][:10], len(pos))
        else:
            score = {c: sum(co[k][c] for k in a["counts"]) + (GROUP_OF[c] == a["group"]) * 1e-3 + rng.random() * 1e-4 for c in absent}
            neg = sorted(absent, key=lambda c: -score[c])[:len(pos)]
        for p, n in zip(pos, neg):
            rows += [(a, p, "yes"), (a, n, "no")]
    return rows
