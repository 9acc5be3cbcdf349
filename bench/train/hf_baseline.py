# SPDX-License-Identifier: Apache-2.0
"""DPO steps with transformers + peft as trl does them, and bench_train, in turns.

   python bench/train/hf_baseline.py BUILD_DIR [--rounds N]     (by hand; needs torch, transformers and peft)

BUILD_DIR holds bench_engine and bench_train (build with -DVPREF_BENCH=ON). Both sides: f32, two threads, the same checkpoint and ids, LoRA r = 64 on
the language model's seven linears, P = 320, A = 16, 8 pairs a step, reference pass and AdamW included. The baseline concatenates chosen and rejected
on the batch axis with the image repeated, runs the reference with the adapter off, and gets every advantage: sdpa attention, logits of the
answer rows only, the best of several micro-batch sizes, no gradient checkpointing. Appends one row to bench/results/train.ndjson.
"""
import argparse
import importlib.metadata
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

P, A, PAIRS = 320, 16, 8
ROOT = pathlib.Path(__file__).resolve().parents[2]


def baseline(path, rounds, micro):
    import numpy as np
    import torch
    import torch.nn.functional as F
    from peft import LoraConfig, get_peft_model
    from transformers import LlavaForConditionalGeneration

    torch.set_num_threads(2)
    base = LlavaForConditionalGeneration.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    model = get_peft_model(base, LoraConfig(r=64, lora_alpha=128, target_modules=rf".*language_model.*\.({names})"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1), torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

    def prompt(i):
        ids = [1] + [31999] * 256
        while len(ids) < P:
            ids.append(100 + (i * 997 + len(ids) * 31) % 30000)
        return ids

    answer = lambda i: [100 + (i * 131 + t * 17) % 30000 for t in range(A)]

    def pixels(i):
        k = np.arange(224 * 224 * 3, dtype=np.int64)
        return (torch.from_numpy(((k * 7 + i * 13) % 251).astype(np.uint8).reshape(224, 224, 3)).float().permute(2, 0, 1) / 255 - mean) / std

    def sums(ids, px):
        logits = model(input_ids=ids, pixel_values=px, logits_to_keep=A + 1).logits[:, :-1]
        return torch.log_softmax(logits, -1).gather(-1, ids[:, P:, None])[..., 0].sum(-1)

    def step(r):
        begin = time.perf_counter()
        for at in range(0, PAIRS, micro):
            pairs = range(at, at + micro)
            ids = torch.tensor([prompt(i) + answer(2 * i) for i in pairs] + [prompt(i) + answer(2 * i + 1) for i in pairs])
            px = torch.stack([pixels(i + 100 * r) for i in pairs] * 2)
            with torch.no_grad(), model.disable_adapter():
                reference = sums(ids, px)
            ratio = sums(ids, px) - reference
            loss = -F.logsigmoid(0.1 * (ratio[:micro] - ratio[micro:])).sum() / PAIRS
            loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return (time.perf_counter() - begin) / PAIRS

    step(0)
    best = min(step(r) for r in range(1, rounds + 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"engine": "transformers + peft", "seconds_per_pair": best, "peak_mebibytes": peak, "micro_batch": micro}))


def last_json(argv):
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["--baseline"]:
        return baseline(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    path = tempfile.mkdtemp(prefix="vpref-bench-")
    subprocess.run([f"{args.build}/bench_engine", "make", path], check=True)
    mine, theirs = None, None
    for micro in (1, 4):  # in turns: what else the machine does falls on both
        a = last_json([f"{args.build}/bench_train", path, "2", str(args.rounds)])
        b = last_json([sys.executable, __file__, "--baseline", path, str(args.rounds), str(micro)])
        mine = a if mine is None or a["seconds_per_pair"] < mine["seconds_per_pair"] else mine
        theirs = b if theirs is None or b["seconds_per_pair"] < theirs["seconds_per_pair"] else theirs
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft")}
    row = {"bench": "train", "task": "dpo r=64 P=320 A=16", "seconds_per_pair": mine["seconds_per_pair"], "transformers_seconds_per_pair": theirs["seconds_per_pair"],
           "ratio": round(theirs["seconds_per_pair"] / mine["seconds_per_pair"], 2), "peak_mebibytes": mine["peak_mebibytes"],
           "transformers_peak_mebibytes": theirs["peak_mebibytes"], "memory_ratio": round(mine["peak_mebibytes"] / theirs["peak_mebibytes"], 2),
           "transformers_micro_batch": theirs["micro_batch"], "parameters": mine["parameters"], "dtype": "f32", "threads": 2, **versions, "cpu": cpu, "commit": commit}
    with open(ROOT / "bench/results/train.ndjson", "a") as out:
        out.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
