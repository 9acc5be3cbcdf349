# SPDX-License-Identifier: Apache-2.0
"""The same tasks as bench_engine with transformers, alternating with bench_engine.

   python bench/engine/hf_baseline.py BENCH_ENGINE [DIR] [--shape 157m|qwen2.5-vl] [--rounds N] [--threads N] [--tasks prefill,score]     (by hand; needs torch and transformers)

Appends one row a task to bench/results/engine.ndjson; about six minutes on two cores. Both sides: f32, as many threads, the same checkpoint, ids and
pixels; the smallest of several times. A decoding step is timed from the first token of every answer on, not as a difference of two generations (rows
without `timed`), because a long prompt's noise is more than a step. transformers gets every advantage it offers: sdpa attention, logits only of the rows that are read, batches
without padding.

Memory is read from /proc every 10 ms. "peak": the largest resident set; both sides map the checkpoint, so it holds the weights' pages, which belong to
the page cache and serve every process that maps the file. "own": the largest anonymous part of it, what the process itself asked for.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import hf_model  # noqa: E402

PAIRS, PROMPTS, NEW = 32, 8, 48
ROUNDS = {"prefill": 3, "decode1": 3, "decode8": 3, "score": 1}  # per turn, after a warm-up


def baseline(task, path, rounds, threads, shape):
    import numpy as np
    import torch

    model, shape = hf_model.load(path, threads).eval(), hf_model.SHAPES[shape]
    # wall and processor time; on a busy machine only the second is meaningful
    now = lambda: np.array([time.perf_counter(), time.process_time()])

    def generate(r, batch, tokens):
        """Seconds of the whole, and of what follows the first token of every answer."""
        ids = torch.tensor([shape.prompt(i) for i in range(batch)])
        first = []

        def note(ids, scores, **_):
            first.append(now()) if not first else None
            return torch.zeros(len(ids), dtype=torch.bool)

        begin = now()
        inputs = shape.inputs(ids, [i + 100 * r for i in range(batch)])
        model.generate(**inputs, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0, stopping_criteria=[note])
        end = now()
        return end - begin, end - first[0]

    def score(r, batch=4):
        begin = now()
        sums = []
        pairs = PAIRS if r > 0 else batch
        for at in range(0, pairs, batch):
            ids = torch.tensor([shape.prompt(i) + hf_model.answer(2 * i + side) for i in range(at, at + batch) for side in (0, 1)])
            inputs = shape.inputs(ids, [i + 100 * r for i in range(at, at + batch) for _ in (0, 1)])
            sums.append(hf_model.answer_logps(model, inputs))
        return now() - begin

    def run(r):
        """Time of one unit of the task."""
        if task == "prefill":
            return generate(r, PROMPTS, 1)[0] / PROMPTS
        if task == "score":
            return score(r) / PAIRS
        return generate(r, 1 if task == "decode1" else 8, NEW)[1] / (NEW - 1)

    with torch.inference_mode():
        run(0)
        best = np.min([run(r) for r in range(1, rounds + 1)], axis=0)
    print(json.dumps({"engine": "transformers", "task": task, "seconds": float(best[0]), "cpu_seconds": float(best[1])}))


def memory_of(pid):
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return {"peak": int(fields["VmHWM"].split()[0]) >> 10, "own": int(fields["RssAnon"].split()[0]) >> 10}


def measured(argv):
    """The last line that a program prints, as JSON, and its peak memory in MiB."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    most = {"peak": 0, "own": 0}

    def watch():
        while process.poll() is None:
            try:
                most.update({k: max(most[k], v) for k, v in memory_of(process.pid).items()})
            except (OSError, KeyError):  # it has just ended
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit code {process.returncode}\n{err}")
    return {**hf_model.last_json(out), **{f"{k}_mebibytes": v for k, v in most.items()}}


def least(a, b):
    return b if a is None else {**b, **{k: min(a[k], b[k]) for k in ("seconds", "cpu_seconds", "peak_mebibytes", "own_mebibytes")}}


def main():
    if sys.argv[1:2] == ["--task"]:
        return baseline(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    parser = argparse.ArgumentParser()
    parser.add_argument("bench_engine")
    parser.add_argument("dir", nargs="?")
    parser.add_argument("--rounds", type=int, help="of each turn (default: %s)" % ", ".join(f"{t} {n}" for t, n in ROUNDS.items()))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--shape", choices=hf_model.SHAPES, default="157m")
    parser.add_argument("--tasks", default=",".join(ROUNDS))
    args = parser.parse_args()
    path = args.dir or tempfile.mkdtemp(prefix="vpref-bench-")
    if not pathlib.Path(path, "config.json").exists():
        subprocess.run([args.bench_engine, "make", path, "--shape", args.shape], check=True)
    for task in args.tasks.split(","):
        mine = theirs = None
        rounds = str(args.rounds or ROUNDS[task])
        for turn in range(args.turns):  # alternating, so other load affects both
            a = measured([args.bench_engine, task, path, str(args.threads), rounds, "--shape", args.shape])
            b = measured([sys.executable, __file__, "--task", task, path, rounds, str(args.threads), args.shape])
            mine, theirs = least(mine, a), least(theirs, b)
            print(f"{task} {turn + 1}/{args.turns}: {a['seconds']:.4f} s, transformers {b['seconds']:.4f} s", file=sys.stderr, flush=True)
        hf_model.append_result("engine", {
            "task": task, "shape": args.shape, "seconds": mine["seconds"], "transformers_seconds": theirs["seconds"], "ratio": round(theirs["seconds"] / mine["seconds"], 2),
            "cpu_seconds": mine["cpu_seconds"], "transformers_cpu_seconds": theirs["cpu_seconds"], "cpu_ratio": round(theirs["cpu_seconds"] / mine["cpu_seconds"], 2),
            "peak_mebibytes": mine["peak_mebibytes"], "transformers_peak_mebibytes": theirs["peak_mebibytes"], "memory_ratio": round(mine["peak_mebibytes"] / theirs["peak_mebibytes"], 2),
            "own_mebibytes": mine["own_mebibytes"], "transformers_own_mebibytes": theirs["own_mebibytes"], "own_ratio": round(mine["own_mebibytes"] / theirs["own_mebibytes"], 2),
            "parameters": mine["parameters"], "dtype": "f32", "threads": args.threads, **{k: mine[k] for k in ("timed",) if k in mine}, "load_average": round(os.getloadavg()[0], 1),
        }, ["torch", "transformers"])


if __name__ == "__main__":
    main()
