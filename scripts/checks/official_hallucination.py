# SPDX-License-Identifier: Apache-2.0
"""Runs the official scorers of AMBER, CHAIR, HallusionBench, MMHal-Bench and Object HalBench and `vpref eval` on the same synthetic
answers, and compares every figure that they print. FOLDER holds the scorers as fetched from their repositories; none of
their code is in this one:
   HallusionBench/{utils.py,HallusionBench.json,HallusionBench_result_sample.json}   tianyi-lab/HallusionBench 744007c
   VLMEvalKit/vlmeval/dataset/utils/yorn.py, VLMEvalKit/vlmeval/smp/misc.py         open-compass/VLMEvalKit e8e78f05
   AMBER/{inference.py,data/{annotations,relation}.json,data/{safe_words,metrics}.txt}  junyangwang0410/AMBER 534babf
   less-is-more/CHAIR-eval/{chair.py,data/Table1-results/*.jsonl}               yuezih/less-is-more f26e187
   CHAIR/chair.py                                                               Maxlinn/CHAIR-metric-standalone 640c507
   synonyms.txt (data/ of LisaAnne/Hallucination 6e4d33c), and pattern.en (clips/pattern d25511f) to import
   RLAIF-V/eval/{eval_gpt_obj_halbench,summarize_gpt_mmhal_review}.py, RLAIF-V/eval/data/
         {mmhal-bench_answer_template.json,synonyms_refine.txt}                 RLHF-V/RLAIF-V 83d917b
   nltk-english.json, pattern-singular.json, which scripts/tables/ made of NLTK_DATA and pattern
   NLTK_DATA=DIR python scripts/checks/official_hallucination.py FOLDER [PART...]   (numpy, nltk 3.10.3; after `make build`)
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
ENGLISH = os.path.join(FOLDER, "nltk-english.json")
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

    # VLMEvalKit's parsing and rating of the official sample answers, and of synthetic ones for every figure.
    kit = definitions(script("VLMEvalKit", "vlmeval", "smp", "misc.py"), {"process_punctuation"})
    yorn = definitions(script("VLMEvalKit", "vlmeval", "dataset", "utils", "yorn.py"), {"YOrN_Extraction"}, kit)["YOrN_Extraction"]
    place = lambda r: "_".join(str(r[k]) for k in ("category", "subcategory", "visual_input", "set_id", "figure_id", "question_id"))
    # The sample numbers the kinds of figures differently.
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
        compare("mmhal, merged with the questions (both ours)", [(s, rows[s]["score"], again[s]["score"]) for s in rows])


MMHAL_STRINGS = ["Rating: 6", "rating: 0", "RATING: 5", "**Rating: 4**", "**Rating:** 4", "Rating:4", "Rating : 4", "Rating: 4.5", "Rating: 10", "Rating: 7", "Rating: -1", "Rating: 4. Rating: 4", "Rating: 4 or Rating: 5", "Overrating: 2", "rating: \u0664", "Rating: 3/6", "4", "", "no", "Rating:  5", "Rating: 1\nRating: 1", "<think>Rating: 2</think>\nRating: 6"]


def mmhal_strings():
    """One string among replies of 3: the mean of its question type shows how the script parsed it."""
    official = definitions(script("RLAIF-V", "eval", "summarize_gpt_mmhal_review.py"), extra={"json": json, "np": np})
    pairs = []
    for text in MMHAL_STRINGS:
        path = write("s.mmhal_test_eval.json", [{"choices": [{"message": {"content": text if k == 0 else "Rating: 3"}}]} for k in range(96)])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            official["cal_mmhalscore"](path)
        mean = float(re.search(r"question type: ([\d.]+)", out.getvalue()).group(1))
        # A call without reply is no hallucination here, except with --include-failed.
        row = next(row for row in vpref("mmhal", path, "--include-failed") if row["split"] == "attribute")
        pairs.append((repr(text), round(mean * 12 - 33), round(row["score"] * 12 - 33)))
    compare("mmhal, hard strings", pairs)


SUBJECTS = ["The image", "A man", "Two dogs", "Dr. Smith", "He", "There", "It", "The U.S. flag", "Mr. and Mrs. Jones", "J. R. Tolkien", "A woman in a red dress", "Children", "No. 5", "They", "Some people (three of them)", "The cat's tail", "In the background, a bus", "iPhones", "The 3.5 ft. wall", "Boats, ships and a plane"]
VERBS = ["is", "are", "has", "sits on", "can't see", "doesn't have", "stands beside", "shows", "features", "won't touch", "is playing with", "cannot leave", "wanna eat", "is full of", "leaves"]
OBJECTS = ["a table", "grass", "3,000 apples", "a dog's toy", "\"no parking\" signs", "buses & cars", "a cup of coffee", "knives, forks -- and spoons", "the sky...", "leaves", "mice", "a 'stop' sign", "a well-lit room", "a glass of wine", "\u201cwelcome\u201d mats", "people's bags", "a U.S.", "approx. 20 ft. of rope", "a.m. light", "children", "him/her", "it all at 5 p.m.", "a skateboard; nice", "the sea: blue", "the end of 1999", "snow (deep)", "$5", "e.g. flowers, i.e. roses", "wolves", "benches"]
ENDS = [". ", ". ", ". ", "! ", "? ", "...", "; ", ", and ", ".\n", "\n\n", " - ", ".) ", ".\" ", ".' ", "?! ", " etc. ", " ", ".\u201d ", ": "]


def made_text(rng, sentences=5):
    text = "".join(f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)}{rng.choice(ENDS)}" for _ in range(rng.randint(1, sentences)))
    return text.lower() if rng.random() < 0.15 else text


def english():
    """NLTK itself, with the data that NLTK_DATA names, compared with our results on the tables made from it (ENGLISH)."""
    import nltk
    from nltk.stem import WordNetLemmatizer

    rng = random.Random(7)
    lemma = WordNetLemmatizer()
    texts = [made_text(rng) for _ in range(3000)] + ["", " ", ".", "...", "a.", "I.B.M. is big. It is.", "cats.dogs", "U.S.A. The", "\"Yes.\" He left.", "(One.) Two.", "1. Cat\n2. Dog\n", "- cats\n- dogs.", "**Cats** and `dogs`.", "\u00e9t\u00e9. \u00c9t\u00e9", "x\u00a0y. Z", "'tis so. 'Twas. gonna gimme", "don't they're we'll I'd"]
    done = subprocess.run(["node", "--import", "tsx", os.path.join(ROOT, "scripts", "checks", "english_words.ts"), ENGLISH], input="\n".join(map(json.dumps, texts)), capture_output=True, text=True, cwd=ROOT)
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ours) == len(texts), done.stderr
    words = [nltk.word_tokenize(text) for text in texts]
    compare("english, words", [(text, w, o["words"]) for text, w, o in zip(texts, words, ours)])
    compare("english, tags", [(text, [t for _, t in nltk.pos_tag(w)], o["tags"]) for text, w, o in zip(texts, words, ours) if w == o["words"]])
    part = lambda tag: {"V": "v", "J": "a", "R": "r"}.get(tag[0], "n")
    compare("english, lemmas by tag", [(text, [lemma.lemmatize(x, part(t)) for x, t in zip(o["words"], o["tags"])], o["lemmas"]) for text, o in zip(texts, ours)])
    compare("english, nouns", [(text, [lemma.lemmatize(x) for x in w], o["nouns"]) for text, w, o in zip(texts, words, ours) if w == o["words"]])


def amber():
    """AMBER's own script with NLTK; a table, which both read, replaces spaCy's vectors."""
    import nltk
    from nltk.stem import WordNetLemmatizer

    rng = random.Random(11)
    annotations = json.load(open(script("AMBER", "data", "annotations.json")))
    relation = json.load(open(script("AMBER", "data", "relation.json")))
    vocabulary = sorted({w for k, others in relation.items() for w in (k, *others)})
    similar = {w: [w] + rng.sample(vocabulary, 3) for w in vocabulary}
    table = write("similar.json", {"similar": similar, "model": "en_core_web_lg stand-in"})
    tables = ["--tables", script("AMBER", "data", "relation.json"), script("AMBER", "data", "safe_words.txt"), ENGLISH]
    plural = lambda w: w + ("es" if w.endswith(("s", "x", "ch", "sh")) else "s")

    def caption(label):
        words = [rng.choice(label["truth"] * 3 + label["hallu"] + [rng.choice(vocabulary)]) for _ in range(rng.randint(0, 9))]
        named = [rng.choice([f"a {w}", f"two {plural(w)}", f"the {w}", f"a small {w}", w.capitalize()]) for w in words]
        return made_text(rng, 2) + " ".join(f"There is {n}{rng.choice(ENDS)}" if rng.random() < 0.5 else f"{n}, " for n in named)

    def official(answers, near):
        source = script("AMBER", "inference.py")
        scope = definitions(source, {"extract_nouns", "init", "main"}, {"nltk": nltk, "WordNetLemmatizer": WordNetLemmatizer, "json": json, "tqdm": lambda x: x})
        scope["check_synonyms_word"] = lambda a, b, _: b in near.get(a, [])
        args = types.SimpleNamespace(word_association=script("AMBER", "data", "relation.json"), safe_words=script("AMBER", "data", "safe_words.txt"), inference_data=answers, annotation=script("AMBER", "data", "annotations.json"), metrics=script("AMBER", "data", "metrics.txt"), similarity_score=0.8, evaluation_type="a")
        scope["args"] = args
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            scope["main"](args)
        text = out.getvalue().replace("Generative Task", "generative").replace("Descriminative Task", "discriminative").replace("Exsitence", "existence")
        blocks = re.findall(r"^(\w+):\n((?:\w+:\s+[\d.-]+ *\n?)+)", text, re.MULTILINE)
        return {name.lower(): {k.lower(): float(v) for k, v in re.findall(r"(\w+):\s+([\d.-]+)", body)} for name, body in blocks}

    for name, near, extra in (("a table of near words", similar, [table]), ("no near words", {}, [])):
        answers = [{"id": r["id"], "response": caption(r) if r["type"] == "generative" else rng.choice(["Yes", "No", "No", "yes", "No."]) if rng.random() < 0.4 else r["truth"].capitalize()} for r in annotations]
        path = write("answers.json", answers)
        ours = {row["split"]: row for row in vpref("amber", path, "--labels", script("AMBER", "data", "annotations.json"), *tables, *extra)}
        pairs = [(f"{split} {figure}", value, ours[split][figure if extra or split != "generative" else f"exact_{figure}"]) for split, block in official(path, near).items() for figure, value in block.items()]
        compare(f"amber, {name}", pairs)
    exact = ["Yes", "No", "yes", "no", "YES", "Yes.", " Yes", "No ", "", "Y", "No\n", "Yes, it is", "\u662f"]
    yes, no = next(r for r in annotations if r["truth"] == "yes"), next(r for r in annotations if r["truth"] == "no")
    rows = [{"model_id": f"m{k}", "id": r["id"], "response": text} for k, text in enumerate(exact) for r in (yes, no)]
    got = {row["model"]: row for row in vpref("amber", write("exact.json", rows), "--labels", write("two.json", [yes, no])) if row["split"] == "all"}
    compare("amber, exact strings", [(repr(text), 1 if text in ("Yes", "No") else 0, round(got[f"m{k}"]["accuracy"] / 50)) for k, text in enumerate(exact)])


def coco(rng, images):
    """Synthetic COCO files about the images, and a map to what the captions may name."""
    names = [line.split(",")[0].strip() for line in open(script("synonyms.txt"))]
    synonyms = [name.strip() for line in open(script("synonyms.txt")) for name in line.split(",")]
    folder = tempfile.mkdtemp()
    for split, part in (("val", images[::2]), ("train", images[1::2])):
        head = {"info": {}, "licenses": [], "images": [{"id": i} for i in part]}
        instances = [{"image_id": i, "category_id": c} for i in part for c in rng.choices(range(len(names)), k=rng.randint(0, 5))]
        captions = [{"image_id": i, "caption": f"A {rng.choice(synonyms)} and two {rng.choice(synonyms)}s. {made_text(rng, 1)}"} for i in part for _ in range(5)]
        json.dump({**head, "categories": [{"id": k, "name": n} for k, n in enumerate(names)], "annotations": instances}, open(os.path.join(folder, f"instances_{split}2014.json"), "w"))
        json.dump({**head, "annotations": captions}, open(os.path.join(folder, f"captions_{split}2014.json"), "w"))
    return folder, synonyms


def chair():
    """less-is-more's script (lemmas by tag) and the Python 3 form of the original (singulars of pattern.en), on published and synthetic answers, with synthetic truth."""
    import nltk
    from nltk.corpus import wordnet
    from nltk.stem import WordNetLemmatizer
    from pattern.en import singularize

    rng = random.Random(13)
    image = lambda r: int(re.sub(r"\D", "", str(r["image_id"]).replace("COCO_val2014_", "")))
    results = script("less-is-more", "CHAIR-eval", "data", "Table1-results")
    sets = [(name, [json.loads(line) for line in open(os.path.join(results, name))]) for name in sorted(os.listdir(results))]
    images = sorted({image(r) for _, rows in sets for r in rows})
    folder, synonyms = coco(rng, images)
    plural = ["{}", "{}s", "{}es", "baby {}", "adult {}", "passenger {}", "the seat of a {}", "toilet and {}", "a wine glass, {}", "two wine glasses {}", "hot dogs, {}"]
    sets.append(("made-up", [{"image_id": f"{i:012d}.jpg", "text": " ".join(f"There is {rng.choice(plural).format(rng.choice(synonyms))}{rng.choice(ENDS)}" for _ in range(rng.randint(0, 8)))} for i in images]))
    labels = [os.path.join(folder, f"{kind}_{split}2014.json") for kind in ("instances", "captions") for split in ("val", "train")]
    tables = ["--tables", script("synonyms.txt"), ENGLISH]
    common = {"nltk": nltk, "wordnet": wordnet, "WordNetLemmatizer": WordNetLemmatizer, "singularize": singularize, "json": json, "os": os, "sys": sys, "defaultdict": defaultdict, "tqdm": types.SimpleNamespace(trange=range)}
    for dialect, source, extra in (("lemma", script("less-is-more", "CHAIR-eval", "chair.py"), []), ("singularize", script("CHAIR", "chair.py"), [script("pattern-singular.json")])):
        scope = definitions(source, extra=common)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = scope["CHAIR"](folder)
        for name, rows in sets:
            path = write("captions.json", [{**r, "image_id": image(r) if dialect == "singularize" else r["image_id"], "caption": r["text"]} for r in rows])
            official = evaluator.compute_chair(path, "image_id", "caption")["overall_metrics"]
            row = next(row for row in vpref("chair", write("answers.json", rows), "--labels", *labels, *tables, *extra) if row["split"] == "all")
            ours = {"CHAIRs": row["chair_s"], "CHAIRi": row["chair_i"], "Recall": row["recall"], "Len": row["len"] * 100}
            compare(f"chair, {dialect}, {name}", [(figure, 100 * value, ours[figure]) for figure, value in official.items()] + [("dialect", dialect, row["dialect"])])


def objhal():
    """Object HalBench's own script, with NLTK's tags and lemmas instead of spaCy's; the judge's lists are synthetic."""
    import copy

    import nltk
    from nltk.stem import WordNetLemmatizer

    rng = random.Random(17)
    images = rng.sample(range(1, 500000), 300)
    folder, synonyms = coco(rng, images)
    lemma = WordNetLemmatizer()
    nouns = lambda: rng.choice(["{}", "{}s", "red {}", "kitchen {}", "two {}s", "{} and {}", "baby {}", "toilet", "seat", "bow tie", "wine glasses", "person's {}", "sky", "tall trees"]).replace("{}", rng.choice(synonyms))
    answers = [{"image_id": i, "question": "What is there?", "answer": rng.choice(["Yes.", "A dog.", made_text(rng, 3).strip() or "No."])} for i in images]
    lists = {r["image_id"]: [] if len(r["answer"].strip().split()) <= 3 else [nouns() for _ in range(rng.randint(0, 7))] for r in answers}

    def nlp(text):
        return [types.SimpleNamespace(lemma_=lemma.lemmatize(w), tag_=tag) for w, tag in nltk.pos_tag(nltk.word_tokenize(text.lower()))]

    source = script("RLAIF-V", "eval", "eval_gpt_obj_halbench.py")
    names = {"CHAIR", "combine_coco_captions", "combine_coco_instances", "load_generated_captions", "read_jsonl", "preprocess_coh_results"}
    scope = definitions(source, names, {"nltk": nltk, "json": json, "os": os, "sys": sys, "random": random, "copy": copy, "lemma": lemma, "nlp": nlp, "Chat": lambda **_: None, "jsonlines": types.SimpleNamespace(Reader=lambda f: map(json.loads, f))})
    path = os.path.join(WORK, "answer.jsonl")
    open(path, "w").write("".join(json.dumps(r) + "\n" for r in answers))
    here = os.getcwd()
    os.chdir(script("RLAIF-V"))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = scope["CHAIR"](set(images), folder, "")
        evaluator.get_annotations()
        evaluator.gpt_caption_processor = lambda: ([dict(c, extract_objs=lists[c["image_id"]]) for c in evaluator.caps], {}, {})
        review = evaluator.compute_chair(path, -1, gpt_process=True)
    os.chdir(here)
    metrics = review["overall_metrics"]
    figures = {"response_hall": 100 * metrics["CHAIRs_refine"], "object_hall": 100 * metrics["CHAIRi"], "chair_s": 100 * metrics["CHAIRs"], "recall": 100 * metrics["obj_rec"], "length": metrics["avg_word_len"], "coco_sentences": metrics["coco_sentence_num"], "n": metrics["sentence_num"]}
    row = vpref("objhal", write("hall_obj_halbench_answer_-1.json", review))[0]
    compare("objhal, the official review file", [(name, value, row[name]) for name, value in figures.items()])
    records = [{"id": f"objhal/{r['image_id']}", "prompt": r["question"], "meta": {"question_id": str(r["image_id"])}, "responses": [{"text": r["answer"]}], "annotations": [{"guide": "objects", "judge": "j", "run": 1, "outcome": "ok", "verdict": [{"names": lists[r["image_id"]]}]}]} for r in answers]
    path = os.path.join(WORK, "records.ndjson")
    open(path, "w").write("".join(json.dumps(r) + "\n" for r in records))
    labels = [os.path.join(folder, f"{kind}_{split}2014.json") for kind in ("instances", "captions") for split in ("val", "train")]
    row = vpref("objhal", path, "--labels", *labels, "--tables", script("RLAIF-V", "eval", "data", "synonyms_refine.txt"), ENGLISH)[0]
    compare("objhal, records and COCO's files", [(name, value, row[name]) for name, value in figures.items()])


ALL = {"amber": amber, "chair": chair, "objhal": objhal, "hallusionbench": hallusionbench, "mmhal": mmhal, "mmhal-strings": mmhal_strings, "english": english}
for part in PARTS or ALL:
    ALL[part]()
print("all equal" if failures == 0 else f"{failures} differ")
sys.exit(failures > 0)
