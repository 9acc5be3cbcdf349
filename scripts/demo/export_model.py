# SPDX-License-Identifier: Apache-2.0
"""Writes a trained folder in the layout published for llava-1.5-7b-hf (weight names, config keys), float16 by default.
   python export_model.py TRAINED_DIR OUT_DIR [--dtype float16]"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

p = argparse.ArgumentParser()
p.add_argument("src"); p.add_argument("out"); p.add_argument("--dtype", default="float16")
a = p.parse_args()
os.makedirs(a.out, exist_ok=True)
for f in os.listdir(a.src):
    if f.endswith((".json", ".jinja")) and f != "config.json":
        shutil.copy(f"{a.src}/{f}", a.out)
w = load_file(f"{a.src}/model.safetensors")
rename = lambda k: "vision_tower.vision_model." + k[len("vision_tower."):] if k.startswith("vision_tower.") and ".vision_model." not in k else k
w = {rename(k): v.to(getattr(torch, a.dtype)).contiguous() for k, v in sorted(w.items())}
save_file(w, f"{a.out}/model.safetensors", {"format": "pt"})
os.chmod(f"{a.out}/model.safetensors", 0o644)
c = json.load(open(f"{a.src}/config.json"))
c["dtype"] = c["torch_dtype"] = a.dtype
c["ignore_index"], c["vocab_size"] = -100, c["text_config"]["vocab_size"]
c["text_config"]["rope_theta"] = c["text_config"]["rope_parameters"]["rope_theta"]
c.pop("transformers_version", None)
json.dump(c, open(f"{a.out}/config.json", "w"), indent=2, sort_keys=True)
print(len(w), "tensors", sum(v.numel() for v in w.values()), "parameters", os.path.getsize(f"{a.out}/model.safetensors"), "bytes")
