# SPDX-License-Identifier: Apache-2.0
"""Metric rows of `vpref train` on stdin to Weights & Biases, row by row:

    vpref train pairs.ndjson --model llava -o runs/a | tee runs/a.metrics.ndjson | python3 examples/wandb_rows.py PROJECT a

Tried with wandb 0.30.0 offline (WANDB_MODE=offline; `wandb sync` sends it later). A resumed run (--resume) goes into the same run: the client leaves out steps that it has.
"""
import json
import sys

import wandb

project, name = sys.argv[1:]
run = wandb.init(project=project, id=name, name=name, resume="allow")
for line in sys.stdin:
    row = json.loads(line)
    step = row.pop("step")
    if "stop_reason" in row:  # the last row: the best state, and why the run ended
        run.summary.update(row)
    elif "warning" in row:
        run.summary[f"warnings/{row['warning']}"] = f"step {step}: {row['message']}"
    else:  # a step, or held-out records (eval/...) after it
        run.log(row, step=step)
run.finish()
