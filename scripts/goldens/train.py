# SPDX-License-Identifier: Apache-2.0
"""Goldens of training on the demo model: transformers + peft in float32, losses from the papers' formulas.

    python scripts/goldens/train.py

Writes fixtures/golden/train/: adapter/ (a PEFT adapter with both matrices non-zero), rows.json (token ids, versions, losses, log-probabilities),
images.safetensors (8-bit pixels at model size), gradients.safetensors (every trained tensor of every variant), steps.safetensors (the adapter
after five AdamW steps).
"""
import importlib.metadata
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlavaForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "fixtures/demo/tiny-llava"
DATA = ROOT / "fixtures/demo/data/preference"
OUT = ROOT / "fixtures/golden/train"
BETA = 0.1
LR = 1e-3
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

torch.manual_seed(0)
torch.set_num_threads(1)
OUT.mkdir(parents=True, exist_ok=True)

tokenizer = AutoTokenizer.from_pretrained(MODEL)
base = LlavaForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
IMAGE = base.config.image_token_id if hasattr(base.config, "image_token_id") else base.config.image_token_index
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def ids_of(question, response):
    prompt = f"USER: <image>\n{question} ASSISTANT:"
    expanded = prompt.replace("<image>", "<image>" * 64)
    p = tokenizer(expanded).input_ids
    whole = tokenizer(expanded + " " + response + "</s>").input_ids
    assert whole[: len(p)] == p
    return p, whole[len(p):]


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB"))


rows, images = [], {}
with open(DATA / "annotated.jsonl") as f:
    records = [json.loads(line) for line in f]
picked = []
for record in records:
    texts = list(dict.fromkeys(c["text"] for c in record["candidates"]))
    if len(texts) >= 4:
        picked.append((record, texts))
    if len(picked) == 4:
        break
for n, (record, texts) in enumerate(picked):
    pixels = pixels_of(DATA / "images" / record["image"])
    assert pixels.shape == (128, 128, 3)
    images[f"image.{n}"] = torch.from_numpy(pixels.copy())
    prompt, chosen = ids_of(record["question"], texts[0])
    rejected = [ids_of(record["question"], t)[1] for t in texts[1:4]]
    rows.append({"id": str(record["question_id"]), "prompt": prompt, "chosen": chosen, "rejected": rejected})


def batch_pixels(n):
    x = images[f"image.{n}"].permute(2, 0, 1).float() / 255
    return ((x - MEAN) / STD)[None]


def logps(model, n, response):
    """Per-token log-probabilities of one response, [tokens]."""
    prompt = rows[n]["prompt"]
    ids = torch.tensor([prompt + response])
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=batch_pixels(n))
    lp = out.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return lp.gather(1, torch.tensor(response)[:, None])[:, 0]


def wrap():
    torch.manual_seed(1)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, lora_dropout=0.0))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.2)
    return model


with torch.no_grad():
    reference = [[float(logps(base, n, r).sum()) for r in [row["chosen"], *row["rejected"]]] for n, row in enumerate(rows)]
model = wrap()
model.save_pretrained(OUT / "adapter")
(OUT / "adapter/README.md").unlink()  # peft's empty model card
config = json.loads((OUT / "adapter/adapter_config.json").read_text())
config["base_model_name_or_path"] = "fixtures/demo/tiny-llava"
(OUT / "adapter/adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
start = {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}


def step_loss(name):
    """The loss over all rows, as one number."""
    sums, counts = [], []
    for n, row in enumerate(rows):
        branches = [row["chosen"], *row["rejected"]] if name == "softmax" else [row["chosen"]] if name == "sft" else [row["chosen"], row["rejected"][0]]
        lp = [logps(model, n, b) for b in branches]
        sums.append([x.sum() for x in lp])
        counts.append([len(b) for b in branches])
    if name == "sft":
        return -sum(s[0] for s in sums) / sum(c[0] for c in counts)
    losses = []
    for s, c, ref in zip(sums, counts, reference):
        ratio = [a - b for a, b in zip(s, ref)]
        d = ratio[0] - ratio[1]
        if name == "sigmoid":
            losses.append(-F.logsigmoid(BETA * d))
        elif name == "cdpo":
            losses.append(-0.9 * F.logsigmoid(BETA * d) - 0.1 * F.logsigmoid(-BETA * d))
        elif name == "hinge":
            losses.append(F.relu(1 - BETA * d))
        elif name == "ipo":
            losses.append((d - 1 / (2 * BETA)) ** 2)
        elif name == "ipo-token-mean":
            losses.append((ratio[0] / c[0] - ratio[1] / c[1] - 1 / (2 * BETA)) ** 2)
        elif name == "softmax":
            losses.append(-F.log_softmax(BETA * torch.stack(ratio), 0)[0])
        elif name == "sum":  # sigmoid:1,sft:0.1
            losses.append(-F.logsigmoid(BETA * d) )
    loss = torch.stack(losses).mean()
    if name == "sum":
        loss = loss - 0.1 * sum(s[0] for s in sums) / sum(c[0] for c in counts)
    return loss


def restore():
    with torch.no_grad():
        for k, p in model.named_parameters():
            if k in start:
                p.copy_(start[k])


def clean(name):
    return name.replace("base_model.model.", "").replace(".default", "").replace("modules_to_save.", "")


gradients, losses = {}, {}
for name in ["sigmoid", "cdpo", "hinge", "ipo", "ipo-token-mean", "softmax", "sft", "sum"]:
    model.zero_grad()
    loss = step_loss(name)
    loss.backward()
    losses[name] = loss.item()
    for k, p in model.named_parameters():
        if p.requires_grad:
            gradients[f"{name}/{clean(k)}"] = p.grad.clone()

projector = {k: p for k, p in model.named_parameters() if "multi_modal_projector" in k}
for p in projector.values():
    p.requires_grad_(True)
model.zero_grad()
step_loss("sigmoid").backward()
for k, p in projector.items():
    gradients[f"projector/{clean(k)}"] = p.grad.clone()
    p.requires_grad_(False)

# Five AdamW steps over all rows, cosine with one step of warm-up, clip 1.0 (transformers' Trainer order: clip, step, schedule).
steps = {}
for lr in [1e-3, 2e-6]:
    restore()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=0.01)
    factor = lambda s: s / 1 if s < 1 else 0.5 * (1 + math.cos(math.pi * (s - 1) / (6 - 1)))
    run = {"loss": [], "grad_norm": []}
    for s in range(5):
        for group in optimizer.param_groups:
            group["lr"] = lr * factor(s)
        optimizer.zero_grad()
        loss = step_loss("sigmoid")
        loss.backward()
        run["loss"].append(loss.item())
        run["grad_norm"].append(float(torch.nn.utils.clip_grad_norm_(params, 1.0)))
        optimizer.step()
    losses[f"steps lr {lr}"] = run
    for k, p in model.named_parameters():
        if p.requires_grad:
            steps[f"{lr}/{clean(k)}"] = p.detach().clone()
restore()
with torch.no_grad():
    policy = [[[float(x) for x in logps(model, n, r)] for r in [row["chosen"], *row["rejected"]]] for n, row in enumerate(rows)]

versions = {p: importlib.metadata.version(p) for p in ["torch", "transformers", "peft", "pillow", "numpy"]}
save_file(images, OUT / "images.safetensors", metadata=versions)
save_file(gradients, OUT / "gradients.safetensors", metadata=versions)
save_file(steps, OUT / "steps.safetensors", metadata=versions)
json.dump({"versions": versions, "image_token_id": IMAGE, "beta": BETA, "rows": rows, "reference": reference, "policy_token_logps": policy, "losses": losses},
          open(OUT / "rows.json", "w"), indent=1)
print(json.dumps(losses, indent=1))
