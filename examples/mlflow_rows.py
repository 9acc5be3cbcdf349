# SPDX-License-Identifier: Apache-2.0
"""Metric rows of `vpref train` on stdin to MLflow, row by row:

    vpref train pairs.ndjson --model llava -o runs/a | tee runs/a.metrics.ndjson | python3 examples/mlflow_rows.py EXPERIMENT a

Where to is MLFLOW_TRACKING_URI's; each call makes a run. Written after MLflow's documentation; not tried.
"""
import json
import sys

import mlflow

experiment, name = sys.argv[1:]
mlflow.set_experiment(experiment)
with mlflow.start_run(run_name=name):
    for line in sys.stdin:
        row = json.loads(line)
        step = row.pop("step")
        if "stop_reason" in row:  # the last row: the best state, and why the run ended
            mlflow.set_tags(row)
        elif "warning" in row:
            mlflow.set_tag(f"warnings/{row['warning']}", f"step {step}: {row['message']}")
        else:  # a step, or held-out records (eval/...) after it
            mlflow.log_metrics(row, step=step)
