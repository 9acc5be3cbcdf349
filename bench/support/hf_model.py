# SPDX-License-Identifier: Apache-2.0
"""Shared by the transformers side of the CPU benches: the checkpoint of `bench_engine make --shape S`, its tasks' ids and pixels (bench/engine/engine.cc
and bench/train/train.cc make the same), and the row of a result."""
import importlib.metadata
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
P, A = 320, 16  # tokens of a prompt, of a response
ROWS = 256  # image tokens among them
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def load(path, threads):
    import torch
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(threads)
    return AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")


def answer(i):
    return [100 + (i * 131 + t * 17) % 30000 for t in range(A)]


class Llava:
    image, side = 31999, 224

    def prompt(self, i):
        ids = [1] + [self.image] * ROWS
        return ids + [100 + (i * 997 + n * 31) % 30000 for n in range(len(ids), P)]

    def pictures(self, numbers):
        """[len(numbers), 3, side, side], normalised."""
        import numpy as np
        import torch

        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        k = np.arange(self.side * self.side * 3, dtype=np.int64)
        images = [((k * 7 + i * 13) % 251).astype(np.uint8).reshape(self.side, self.side, 3) for i in numbers]
        return torch.stack([(torch.from_numpy(image).float().permute(2, 0, 1) / 255 - mean) / std for image in images])

    def inputs(self, ids, numbers):
        """The model's inputs, for rows of ids and the index of each row's image."""
        return {"input_ids": ids, "pixel_values": self.pictures(numbers)}


class QwenVl(Llava):
    image, side = 31998, 448
    patch, merge, frames = 14, 2, 2

    def inputs(self, ids, numbers):
        import torch

        grid, m, p = self.side // self.patch, self.merge, self.patch
        x = self.pictures(numbers)
        n = len(x)
        x = x.reshape(n, 3, grid // m, m, p, grid // m, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        x = x.unsqueeze(6).expand(*x.shape[:6], self.frames, p, p).reshape(n * grid * grid, -1)
        kinds = (ids == self.image).int()
        return {"input_ids": ids, "pixel_values": x.contiguous(), "image_grid_thw": torch.tensor([[1, grid, grid]] * n), "mm_token_type_ids": kinds}


SHAPES = {"157m": Llava(), "qwen2.5-vl": QwenVl()}


def answer_logps(model, inputs):
    """Summed log-probabilities of the responses at the end of the ids; logits of their positions only."""
    import torch

    logits = model(**inputs, logits_to_keep=A + 1).logits[:, :-1]
    return torch.log_softmax(logits, -1).gather(-1, inputs["input_ids"][:, P:, None])[..., 0].sum(-1)


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
