# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny LLaVA from scratch: (1) patch-label warm-up of the vision tower, (2) end-to-end on answers only.
   python train.py CACHE_DIR INIT_DIR OUT_DIR --warm 1400 --steps 2600"""
import argparse
import json
import math
import os
import random
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F

import qa
from common import Coder, answer_logps, load, pixels, read_jsonl
from scenes import CLASSES, COLOURS, WORDS


def vision_trunk(vt, pix):
    """hidden_states[-2] without computing the unused last layer."""
    x = vt.pre_layrnorm(vt.embeddings(pix))
    for layer in vt.encoder.layers[:-1]:
        x = layer(x, attention_mask=None)
        x = x[0] if isinstance(x, tuple) else x
    return x


def schedule(i, n, warm=60, floor=0.03):
    return (i + 1) / warm if i < warm else floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, n - warm)))


def save(model, src, out):
    os.makedirs(out, exist_ok=True)
    for f in os.listdir(src):
        if not f.endswith(".safetensors"):
            shutil.copy(f"{src}/{f}", out)
    model.save_pretrained(out)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("cache"); p.add_argument("init"); p.add_argument("out")
    p.add_argument("--warm", type=int, default=1400)
    p.add_argument("--warm-batch", type=int, default=64)
    p.add_argument("--steps", type=int, default=2600)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--noise", type=float, default=0.25)
    p.add_argument("--hard", type=float, default=0.25)
    p.add_argument("--save-at", type=int, nargs="*", default=[])
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--minutes", type=float, default=0, help="end-to-end stage: run this long instead of --steps (the schedule follows the clock)")
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    torch.manual_seed(0)
    images = np.load(f"{a.cache}/images.npy", mmap_mode="r")
    patches = np.load(f"{a.cache}/patches.npy")
    anns = read_jsonl(f"{a.cache}/ann.jsonl")
    model, tok = load(a.init)
    model.train()
    coder = Coder(tok)
    vt, rng, t0 = model.model.vision_tower, np.random.default_rng(0), time.time()
    cast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=a.bf16)
    colours = list(COLOURS)
    tint = torch.tensor([colours.index(x["background"]) for x in anns])

    # --- 1. warm-up: which class owns each patch, and the background colour
    width = model.config.vision_config.hidden_size
    head = torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, 1 + len(CLASSES) + len(WORDS)))
    tone = torch.nn.Linear(width, len(colours))
    par = [q for q in vt.parameters()] + list(head.parameters()) + list(tone.parameters())
    opt = torch.optim.AdamW(par, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    order = rng.permutation(len(images))
    for i in range(a.warm):
        for g in opt.param_groups:
            g["lr"] = 1.5e-3 * schedule(i, a.warm)
        idx = np.sort(np.take(order, range(i * a.warm_batch, (i + 1) * a.warm_batch), mode="wrap"))
        with cast():
            h = vision_trunk(vt, pixels(images[idx]))[:, 1:]
            logits, lab = head(h).float(), torch.from_numpy(patches[idx]).long()
            w = torch.ones(logits.shape[-1]); w[0] = 0.3
            loss = F.cross_entropy(logits.flatten(0, 1), lab.flatten(), weight=w) + 0.3 * F.cross_entropy(tone(h.mean(1)).float(), tint[idx])
        opt.zero_grad(); loss.backward()
        torch.nn.utils.clip_grad_norm_(par, 1.0); opt.step()
        if i % 50 == 0 or i == a.warm - 1:
            fg = lab > 0
            print(f"warm {i} loss {loss.item():.3f} fg-acc {(logits.argmax(-1)[fg] == lab[fg]).float().mean():.3f} {time.time() - t0:.0f}s", flush=True)
    if a.warm:
        save(model, a.init, a.out + "-warm")

    # --- 2. end to end, loss on answers only
    nodecay = [q for n, q in model.named_parameters() if q.dim() < 2]
    decay = [q for n, q in model.named_parameters() if q.dim() >= 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": nodecay, "weight_decay": 0}], lr=a.lr, betas=(0.9, 0.98))
    t1 = time.time()
    for i in range(10**9 if a.minutes else a.steps):
        done = (time.time() - t1) / (60 * a.minutes) if a.minutes else i / a.steps
        if done >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = a.lr * min((i + 1) / 60, 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))
        epoch, start = divmod(i * a.batch, len(images) - a.batch)
        idx = np.sort(order[start:start + a.batch])
        qas = [qa.training_qa(random.Random(int(k) * 31 + epoch), anns[k], a.noise, a.hard) for k in idx]
        with cast():
            feats = model.model.multi_modal_projector(vision_trunk(vt, pixels(images[idx]))[:, 1:])
            loss = -answer_logps(model, coder, feats, qas, "mean")
        opt.zero_grad(); loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); opt.step()
        if i % 25 == 0:
            print(f"step {i} loss {loss.item():.4f} {time.time() - t1:.0f}s", flush=True)
        if i + 1 in a.save_at or (i + 1) % 500 == 0:
            save(model, a.init, f"{a.out}-{i + 1}")
    save(model, a.init, a.out)
    print(json.dumps({"minutes": (time.time() - t0) / 60}))
