# SPDX-License-Identifier: Apache-2.0
"""What the transformers side of the CPU benches shares: the checkpoint of `bench_engine make`, its tasks' ids and pixels (bench/engine/engine.cc and
bench/train/train.cc make the same), and the row of a result."""
import importlib.metadata
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
P, A = 320, 16  # tokens of a prompt, of an answer


def load(path, threads):
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.set_num_threads(threads)
    return LlavaForConditionalGeneration.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")


def prompt(i):
    ids = [1] + [31999] * 256
    return ids + [100 + (i * 997 + n * 31) % 30000 for n in range(len(ids), P)]


def answer(i):
    return [100 + (i * 131 + t * 17) % 30000 for t in range(A)]


def pixels(numbers):
    """[len(numbers), 3, 224, 224], normalised."""
    import numpy as np
    import torch

    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1), torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    k = np.arange(224 * 224 * 3, dtype=np.int64)
    images = [((k * 7 + i * 13) % 251).astype(np.uint8).reshape(224, 224, 3) for i in numbers]
    return torch.stack([(torch.from_numpy(image).float().permute(2, 0, 1) / 255 - mean) / std for image in images])


def answer_logps(model, ids, px):
    """Summed log-probabilities of the answers that end `ids`; logits of their rows only."""
    import torch

    logits = model(input_ids=ids, pixel_values=px, logits_to_keep=A + 1).logits[:, :-1]
    return torch.log_softmax(logits, -1).gather(-1, ids[:, P:, None])[..., 0].sum(-1)


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def append_result(bench, row, libraries):
    """Prints the row with the versions of `libraries`, processor and commit, and appends it to bench/results/BENCH.ndjson."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    versions = {name: importlib.metadata.version(name) for name in libraries}
    text = json.dumps({"bench": bench, **row, **versions, "cpu": cpu, "commit": commit})
    with open(ROOT / f"bench/results/{bench}.ndjson", "a") as out:
        out.write(text + "\n")
    print(text, flush=True)
