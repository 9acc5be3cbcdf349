# SPDX-License-Identifier: Apache-2.0
"""DPO steps with transformers + peft as in trl, alternating with bench_train.

   python bench/train/hf_baseline.py BUILD_DIR [--shape 157m|qwen2.5-vl] [--rounds N]     (by hand; needs torch, transformers and peft)

BUILD_DIR holds bench_engine and bench_train (build with -DVPREF_BENCH=ON). Both sides: f32, two threads, the same checkpoint and ids, LoRA r = 64 on
the language model's seven linears, P = 320, A = 16, 8 pairs a step, reference pass and AdamW included. The baseline concatenates chosen and rejected
on the batch axis with the image repeated, runs the reference with the adapter off, and gets every advantage: sdpa attention, logits of the
answer rows only, the best of several micro-batch sizes, no gradient checkpointing. Appends one row to bench/results/train.ndjson.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import hf_model  # noqa: E402

PAIRS = 8


def baseline(path, rounds, micro, shape):
    import torch
    import torch.nn.functional as F
    from peft import LoraConfig, get_peft_model

    base, shape = hf_model.load(path, threads=2), hf_model.SHAPES[shape]
    names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
    model = get_peft_model(base, LoraConfig(r=64, lora_alpha=128, target_modules=rf".*language_model.*\.({names})"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)

    def step(r):
        begin = time.perf_counter()
        for at in range(0, PAIRS, micro):
            pairs = range(at, at + micro)
            ids = torch.tensor([shape.prompt(i) + hf_model.answer(2 * i + side) for side in (0, 1) for i in pairs])
            inputs = shape.inputs(ids, [i + 100 * r for i in pairs] * 2)
            with torch.no_grad(), model.disable_adapter():
                reference = hf_model.answer_logps(model, inputs)
            ratio = hf_model.answer_logps(model, inputs) - reference
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


def result_of(argv):
    return hf_model.last_json(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def main():
    if sys.argv[1:2] == ["--baseline"]:
        return baseline(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shape", choices=hf_model.SHAPES, default="157m")
    args = parser.parse_args()
    path = tempfile.mkdtemp(prefix="vpref-bench-")
    subprocess.run([f"{args.build}/bench_engine", "make", path, "--shape", args.shape], check=True)
    mine, theirs = None, None
    for micro in (1, 4):  # alternating, so other load affects both
        a = result_of([f"{args.build}/bench_train", path, "2", str(args.rounds), "--shape", args.shape])
        b = result_of([sys.executable, __file__, "--baseline", path, str(args.rounds), str(micro), args.shape])
        mine = a if mine is None or a["seconds_per_pair"] < mine["seconds_per_pair"] else mine
        theirs = b if theirs is None or b["seconds_per_pair"] < theirs["seconds_per_pair"] else theirs
    hf_model.append_result("train", {
        "task": "dpo r=64 P=320 A=16", "shape": args.shape, "seconds_per_pair": mine["seconds_per_pair"], "transformers_seconds_per_pair": theirs["seconds_per_pair"],
        "ratio": round(theirs["seconds_per_pair"] / mine["seconds_per_pair"], 2), "peak_mebibytes": mine["peak_mebibytes"],
        "transformers_peak_mebibytes": theirs["peak_mebibytes"], "memory_ratio": round(mine["peak_mebibytes"] / theirs["peak_mebibytes"], 2),
        "transformers_micro_batch": theirs["micro_batch"], "parameters": mine["parameters"], "dtype": "f32", "threads": 2,
    }, ["torch", "transformers", "peft"])


if __name__ == "__main__":
    main()
