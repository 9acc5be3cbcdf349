# SPDX-License-Identifier: Apache-2.0
"""Reads the event file of `vpref train --log tensorboard:DIR` with TensorBoard's own reader and compares it with the
metric rows: python scripts/checks/tensorboard_events.py DIR METRICS.ndjson   (tensorboard 2.21, no TensorFlow needed)
"""
import json
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

folder, metrics = sys.argv[1:]
accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
accumulator.Reload()
got = {(tag, event.step): event.value for tag in accumulator.Tags()["scalars"] for event in accumulator.Scalars(tag)}
count = sum(len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"])
want = {}
with open(metrics, encoding="utf-8") as file:
    for row in map(json.loads, file):
        if "stop_reason" in row or "warning" in row:
            continue
        for tag, value in row.items():
            # The epoch of an evaluation is that of its step.
            if tag != "step" and not (tag == "epoch" and "eval/loss" in row):
                want[tag, row["step"]] = struct.unpack("f", struct.pack("f", value))[0]
assert count == len(want), f"{count} events, {len(want)} numbers"
assert got == want, f"differ: {sorted(set(got.items()) ^ set(want.items()))[:5]}"
print(f"{len(got)} scalars of {len(accumulator.Tags()['scalars'])} tags read by TensorBoard as written")
