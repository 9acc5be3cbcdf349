# SPDX-License-Identifier: Apache-2.0
"""An adapter of `vpref train` in transformers + peft: the same log-probabilities there as from `vpref score`.

    vpref score pairs.ndjson --model MODEL --adapter ADAPTER > scored.ndjson
    python scripts/checks/peft_adapter.py MODEL ADAPTER scored.ndjson

The model's images must have the model's own size (no resizing), and its chat template must be the checkpoint's own.
Prints the largest difference of a summed log-probability; fails above 2e-3.
"""
import json
import sys

import numpy as np
import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoTokenizer, LlavaForConditionalGeneration

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

model_dir, adapter_dir, scored = sys.argv[1:4]
torch.set_num_threads(2)
tokenizer = AutoTokenizer.from_pretrained(model_dir)
base = LlavaForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32)
model = PeftModel.from_pretrained(base, adapter_dir).eval()
patches = (base.config.vision_config.image_size // base.config.vision_config.patch_size) ** 2
trained = sum("lora_" in name for name, _ in model.named_parameters())
print(f"{trained} LoRA tensors in peft")


def logps(record, response):
    prompt = f"USER: <image>\n{record['prompt']} ASSISTANT:".replace("<image>", "<image>" * patches)
    p = tokenizer(prompt).input_ids
    ids = tokenizer(prompt + " " + response + "</s>").input_ids
    pixels = torch.from_numpy(np.asarray(Image.open(record["images"][0]).convert("RGB")).copy()).permute(2, 0, 1).float() / 255
    out = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), pixel_values=((pixels - MEAN) / STD)[None])
    lp = out.logits[0, len(p) - 1 : -1].log_softmax(-1)
    return float(lp.gather(1, torch.tensor(ids[len(p):])[:, None]).sum())


worst = 0.0
count = 0
with torch.no_grad(), open(scored) as f:
    for line in f:
        record = json.loads(line)
        for text, ours in [(record["chosen"], record["policy_chosen_logps"]), (record["rejected"], record["policy_rejected_logps"])]:
            worst = max(worst, abs(logps(record, text) - ours))
            count += 1
print(f"{count} answers, largest difference {worst:.2e}")
sys.exit(worst > 2e-3)
