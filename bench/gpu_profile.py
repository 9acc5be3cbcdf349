# SPDX-License-Identifier: Apache-2.0
"""What the kernels of a decoding step and of a training step take, by Nsight Compute: python bench/gpu_profile.py BUILD MODEL OUT [--seconds N]

   BUILD    has bench_engine and bench_train
   MODEL    made by `bench_engine make MODEL --shape 7b-profile`: two layers of 7b, as ncu takes milliseconds a kernel
Prints one NDJSON row for each kernel of a task: how often it ran, its time and the bytes it moved in device memory. The four slowest of every task
are then measured in full: what limits them is in OUT/profile-TASK.txt. Clocks and caches are left as they are.
"""
import argparse
import csv
import glob
import json
import os
import shutil
import subprocess
import sys
import time

# Task: the program's arguments, launches to skip (the prompts; the tower of the reference pass), launches to measure. Prompts are text, so that the
# launches before the first decoding step are few.
TASKS = {
    "dpo": (["bench_train", "--pairs", "8"], 200, 700),
    "decode64": (["bench_engine", "none", "--plain", "decode64", "--text", "630"], 600, 150),
    "decode1": (["bench_engine", "none", "--plain", "decode1", "--text", "630"], 600, 150),
    "prefill": (["bench_engine", "none", "--plain", "prefill"], 0, 400),
}
TIME, READ, WRITTEN = "gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum"
UNITS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1, "second": 1,
         "byte": 1, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}
SECTIONS = ["SpeedOfLight", "MemoryWorkloadAnalysis", "ComputeWorkloadAnalysis", "Occupancy", "WarpStateStats", "LaunchStats"]


def find_ncu():
    for path in ["ncu", "/usr/local/cuda/bin/ncu", *sorted(glob.glob("/opt/nvidia/nsight-compute/*/ncu"), reverse=True)]:
        if shutil.which(path):
            return path
    sys.exit("error: Nsight Compute (ncu) is missing")


def kernels(text):
    """Rows of ncu's CSV (--page raw): (kernel, {metric: value in seconds or bytes})."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    start = next((i for i, line in enumerate(lines) if '"Kernel Name"' in line), None)
    if start is None:
        return []
    rows = list(csv.reader(lines[start:]))
    names, units = rows[0], dict(zip(rows[0], rows[1]))
    found = []
    for row in rows[2:]:
        cell = dict(zip(names, row))
        found.append((cell["Kernel Name"], {m: float(cell[m].replace(",", "")) * UNITS[units[m]] for m in (TIME, READ, WRITTEN)}))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=140, help="start no measurement after this long")
    args = parser.parse_args()
    ncu, begin, failed = find_ncu(), time.time(), False

    def run(task, options):
        """What ncu said, though the program ends early: --kill."""
        (program, *rest), skip, count = TASKS[task]
        command = [os.path.join(args.build, program)]
        if program == "bench_engine":
            command += [rest.pop(0)]
        command += [args.model, str(os.cpu_count()), "1", "--shape", "7b-profile", "--device", "cuda", *rest]
        left = args.seconds - (time.time() - begin)
        if left < 5:
            return None, "no time left"
        try:
            done = subprocess.run([ncu, "--clock-control", "none", "--cache-control", "none", "--kill", "yes", *options(skip, count), *command],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=left)
        except subprocess.TimeoutExpired as error:
            return None, f"ended after {left:.0f} s: {(error.stdout or b'')[-200:]!r}"
        return done.stdout, done.stdout[-300:]

    slowest = {}
    for task in TASKS:
        text, note = run(task, lambda skip, count: ["--csv", "--page", "raw", "--print-units", "base", "--print-kernel-base", "function", "--metrics", ",".join([TIME, READ, WRITTEN]),
                                                    "--launch-skip", str(skip), "--launch-count", str(count)])
        sums = {}
        for name, values in kernels(text or ""):
            one = sums.setdefault(name, {"count": 0, TIME: 0, READ: 0, WRITTEN: 0})
            one["count"] += 1
            for metric, value in values.items():
                one[metric] += value
        if not sums:
            failed = True
            print(json.dumps({"profile": task, "error": note}), flush=True)
        total = sum(s[TIME] for s in sums.values())
        order = sorted(sums, key=lambda n: -sums[n][TIME])
        for name in order:
            s = sums[name]
            print(json.dumps({"profile": task, "kernel": name[:120], "launches": s["count"], "ms": round(1e3 * s[TIME], 4), "share": round(s[TIME] / total, 3),
                              "gbytes_per_s": round((s[READ] + s[WRITTEN]) / max(s[TIME], 1e-9) / 1e9, 1)}), flush=True)
        slowest[task] = order[:4]
    sections = [word for section in SECTIONS for word in ("--section", section)]
    for task, names in slowest.items():
        for name in names:
            text, note = run(task, lambda skip, _: [*sections, "--kernel-name", name, "--launch-skip-before-match", str(skip), "--launch-count", "1"])
            with open(os.path.join(args.out, f"profile-{task}.txt"), "w" if name == names[0] else "a") as file:
                file.write(f"== {name}\n{text or note}\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
