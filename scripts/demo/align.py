# SPDX-License-Identifier: Apache-2.0
"""Does alignment help the tiny model?  SeVa (no labels) and annotated preferences (truth as the judge): DPO with LoRA, fp32.
   python align.py BASE_DIR CACHE RESULTS.jsonl --method seva --t 600 --lr 1e-4 --seeds 0 1 2
Methods: seva | judge (best vs worst of 4 samples) | rs (rejection-sampling SFT on the best of 4) | sft-self (control: SFT on own greedy)."""
import argparse
import hashlib
import json
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model

import qa
from common import Coder, answer_logps, image_features, load, pixels, read_jsonl
from evaluate import Bench, generate_feats, line

LORA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def alphas_bar(steps=1000):
    """VCD's noise schedule (sigmoid betas)."""
    betas = torch.sigmoid(torch.linspace(-6, 6, steps)) * (0.5e-2 - 1e-5) + 1e-5
    return torch.cumprod(1 - betas, 0)


def q_sample(x, t, gen):
    ab = alphas_bar()[t]
    return ab.sqrt() * x + (1 - ab).sqrt() * torch.randn(x.shape, generator=gen)


def augment(pix, how, t, seed):
    gen = torch.Generator().manual_seed(seed)
    if how == "diffusion":
        return q_sample(pix, t, gen)
    out = []
    for x in pix:  # crop: RandomResizedCrop(0.2..0.6), sometimes flipped, plus a little noise
        s = int(128 * math.sqrt(0.2 + 0.4 * torch.rand(1, generator=gen).item()))
        i, j = (torch.randint(0, 128 - s + 1, (2,), generator=gen)).tolist()
        y = F.interpolate(x[None, :, i:i + s, j:j + s], size=(128, 128), mode="bicubic", align_corners=False)[0]
        out.append(y.flip(-1) if torch.rand(1, generator=gen) < 0.5 else y)
    return torch.stack(out)


def questions(anns, per_image, mix, seed=3):
    """Unlabelled (scene, question) list. `mix`: caption / list / presence shares; presence asks about a random likely or unlikely object."""
    rng, out = random.Random(seed), []
    for i, a in enumerate(anns):
        for kind in rng.sample(mix, per_image) if per_image <= len(mix) else rng.choices(mix, k=per_image):
            if kind == "long":
                out.append((i, rng.choice(qa.Q_LONG)))
            elif kind == "short":
                out.append((i, rng.choice(qa.Q_SHORT)))
            elif kind == "list":
                out.append((i, rng.choice(qa.Q_LIST)))
            elif kind == "balanced":  # needs the annotation: half the questions are about something that is there
                c = rng.choice(qa.kinds(a)) if rng.random() < 0.5 else qa.companion(rng, a) or rng.choice(sorted(set(qa.CLASSES) - set(a["counts"])))
                out.append((i, qa.q_presence(c)))
            else:
                g = rng.choice(list(qa.GROUPS.values())) if rng.random() < 0.5 else qa.GROUPS[a["group"]]
                out.append((i, qa.q_presence(rng.choice(g))))
    return out


def judge(ann, q, text):
    """Ground truth as annotator: 0..1. Objects (F1), counts, background, word; presence right or wrong."""
    if q.startswith("Is there"):
        return float(qa.yes(text) == bool(set(qa.mentioned(q)) & set(ann["counts"])))
    truth, said = set(ann["counts"]), qa.mentioned(text)
    hit = sum(c in truth for c in said)
    f1 = 2 * hit / max(1, len(said) + len(truth))
    score, weight = 3 * f1, 3.0
    exact = sum(qa.noun(c, ann["counts"][c]) in text or (qa.article("large " + c) in text or qa.article("small " + c) in text) and ann["counts"][c] == 1
                for c in truth if c in said)
    score, weight = score + exact / len(truth), weight + 1
    if "background" in text:
        score, weight = score + (f"is {ann['background']}" in text or f"a {ann['background']} background" in text), weight + 1
    if ann["word"] or "The word" in text:
        if not q.startswith(("What objects", "List", "Which")):
            score, weight = score + bool(ann["word"] and f"word {ann['word']['text']} " in text), weight + 1
    return score / weight


def with_lora(model, r, alpha, seed):
    torch.manual_seed(seed)
    return get_peft_model(model, LoraConfig(r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules=r".*language_model.*\.(" + "|".join(LORA) + ")"))


def train(base_dir, feats, pairs, a, seed, coder):
    """pairs: (scene, question, chosen, rejected, weight...). One LoRA run; returns the merged model and a log."""
    model, _ = load(base_dir)
    model = with_lora(model, a.r, a.alpha or 2 * a.r, seed)
    inner = model.base_model.model
    par = [p for p in model.parameters() if p.requires_grad]
    rng, B = random.Random(seed), a.batch
    pairs = list(pairs)
    ref = []
    if a.loss == "dpo":
        with torch.no_grad(), model.disable_adapter():
            for s in range(0, len(pairs), 64):
                part = pairs[s:s + 64]
                ref.append(answer_logps(inner, coder, feats[[p[0] for p in part]], [[(p[1], p[2]), (p[1], p[3])] for p in part]))
        ref = torch.cat(ref)
    opt = torch.optim.AdamW(par, lr=a.lr, weight_decay=0.0, betas=(0.9, 0.999))
    order, steps, log = list(range(len(pairs))), a.epochs * math.ceil(len(pairs) / B), []
    inner.train()
    i = 0
    for _ in range(a.epochs):
        rng.shuffle(order)
        for s in range(0, len(order), B):
            for g in opt.param_groups:
                g["lr"] = a.lr * min((i + 1) / max(1, 0.05 * steps), 0.5 * (1 + math.cos(math.pi * i / steps)))
            sel = order[s:s + B]
            part = [pairs[k] for k in sel]
            f = feats[[p[0] for p in part]]
            if a.loss == "dpo":
                lp = answer_logps(inner, coder, f, [[(p[1], p[2]), (p[1], p[3])] for p in part])
                d = lp - ref[sel]
                m = a.beta * (d[:, 0] - d[:, 1])
                loss = -F.logsigmoid(m).mean()
                if a.sft:
                    loss = loss - a.sft * (lp[:, 0] / torch.tensor([len(coder.pair(p[1], p[2])[1]) for p in part])).mean()
                log.append((loss.item(), (m > 0).float().mean().item(), d[:, 0].mean().item(), d[:, 1].mean().item()))
            else:
                loss = -answer_logps(inner, coder, f, [[(p[1], p[2])] for p in part], "mean")
                log.append((loss.item(),))
            opt.zero_grad(); loss.backward()
            torch.nn.utils.clip_grad_norm_(par, 1.0)
            opt.step(); i += 1
    return model.merge_and_unload().eval(), [round(float(v), 3) for v in np.mean(log[-max(1, len(log) // 5):], 0)]


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("base"); p.add_argument("cache"); p.add_argument("results")
    p.add_argument("--method", default="seva")
    p.add_argument("--how", default="diffusion"); p.add_argument("--t", type=int, default=600)
    p.add_argument("--images", type=int, default=1500); p.add_argument("--per-image", type=int, default=2)
    p.add_argument("--mix", default="long,short,presence,presence")
    p.add_argument("--temperature", type=float, default=0.9); p.add_argument("--k", type=int, default=4); p.add_argument("--gap", type=float, default=0.05)
    p.add_argument("--lr", type=float, nargs="+", default=[1e-4]); p.add_argument("--beta", type=float, default=0.1)
    p.add_argument("--r", type=int, default=64); p.add_argument("--alpha", type=int, default=0)
    p.add_argument("--epochs", type=int, default=1); p.add_argument("--batch", type=int, default=32)
    p.add_argument("--sft", type=float, default=0.0); p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--scenes", type=int, default=400); p.add_argument("--other", action="store_true")
    p.add_argument("--save"); p.add_argument("--dump"); p.add_argument("--tag", default="")
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    a.loss = "dpo" if a.method in ("seva", "judge") else "sft"
    model, tok = load(a.base)
    coder, t0 = Coder(tok), time.time()
    anns = read_jsonl(f"{a.cache}/pref/ann.jsonl")[:a.images]
    images = np.load(f"{a.cache}/pref/images.npy", mmap_mode="r")[:a.images]
    keep = [i for i, x in enumerate(anns) if x["objects"]]
    anns, images = [anns[i] for i in keep], images[keep]
    with torch.no_grad():
        chunk = range(0, len(images), 100)
        feats = torch.cat([image_features(model, pixels(images[s:s + 100])) for s in chunk])
    bench = Bench(f"{a.cache}/test", a.scenes)
    tf = bench.features(model)

    def emit(row):
        with open(a.results, "a") as f:
            f.write(json.dumps(row) + "\n")

    key = f"base|{os.path.abspath(a.base)}|{a.scenes}|{a.other}"
    rows = read_jsonl(a.results) if os.path.exists(a.results) else []
    base = next((r["scores"] for r in rows if r.get("key") == key), None)
    if base is None:
        base = bench.run(model, coder, tf, other=a.other)
        emit({"key": key, "scores": base})
    print("base   ", line(base), flush=True)
    for seed in a.seeds:
        t1 = time.time()
        qs = questions(anns, a.per_image, a.mix.split(","), seed + 3)
        which, text = [i for i, _ in qs], [q for _, q in qs]
        pairs, note = [], {}
        if a.method in ("seva", "sft-self"):
            clean = generate_feats(model, coder, feats[which], text)
            if a.method == "seva":
                with torch.no_grad():
                    nf = torch.cat([image_features(model, augment(pixels(images[s:s + 100]), a.how, a.t, seed * 1000 + s)) for s in chunk])
                noisy = generate_feats(model, coder, nf[which], text)
            else:
                noisy = [""] * len(clean)
            pairs = [(i, q, c, n) for i, q, c, n in zip(which, text, clean, noisy) if c != n]
        else:
            gen = torch.Generator().manual_seed(seed)
            many = [generate_feats(model, coder, feats[which], text, temperature=a.temperature, gen=gen) for _ in range(a.k)]
            for n, (i, q) in enumerate(qs):
                cand = sorted({m[n] for m in many}, key=lambda s: -judge(anns[i], q, s))
                top, low = judge(anns[i], q, cand[0]), judge(anns[i], q, cand[-1])
                if a.method == "rs" or (len(cand) > 1 and top - low >= a.gap):
                    pairs.append((i, q, cand[0], cand[-1]))
        note["no>yes"] = sum(q.startswith("Is") and not qa.yes(c) for _, q, c, _ in pairs)
        note["yes>no"] = sum(q.startswith("Is") and qa.yes(c) for _, q, c, _ in pairs)
        note["good"] = float(np.mean([judge(anns[p[0]], p[1], p[2]) for p in pairs]))
        note["bad"] = float(np.mean([judge(anns[p[0]], p[1], p[3]) for p in pairs]))
        note["flip"] = float(np.mean([judge(anns[p[0]], p[1], p[2]) < judge(anns[p[0]], p[1], p[3]) for p in pairs]))  # rejected is really better
        t2 = time.time()
        print(f"{a.method} seed {seed}: {len(pairs)}/{len(qs)} pairs in {t2 - t1:.0f}s", {k: round(v, 3) for k, v in note.items()}, flush=True)
        if a.dump:
            with open(a.dump, "w") as f:
                for i, q, c, r in pairs:
                    f.write(json.dumps({"seed": anns[i]["seed"], "question": q, "chosen": c, "rejected": r}) + "\n")
        for lr in a.lr:
            t2 = time.time()
            a_lr, a.lr = a.lr, lr
            tuned, log = train(a.base, feats, pairs, a, seed, coder)
            a.lr = a_lr
            t3 = time.time()
            scores = bench.run(tuned, coder, tf, other=a.other)
            print(f"  lr {lr:g} ({t3 - t2:.0f}s, eval {time.time() - t3:.0f}s, {log})", line(scores), flush=True)
            emit({"tag": a.tag, "args": {k: v for k, v in vars(a).items() if k not in ("base", "cache", "results", "save", "dump")} | {"lr": lr, "base": os.path.basename(a.base)},
                  "seed": seed, "pairs": len(pairs), "note": note, "log": log, "scores": scores, "seconds": {"pairs": t1 and round(t2 - t1), "train": round(t3 - t2)}})
            if a.save:
                tuned.save_pretrained(a.save)
