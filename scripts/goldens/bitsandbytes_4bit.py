# SPDX-License-Identifier: Apache-2.0
"""4-bit checkpoints as bitsandbytes writes them, and what transformers computes in float32 over their dequantised weights.

    PYTHONPATH=BITSANDBYTES python scripts/goldens/bitsandbytes_4bit.py      (from the repository root; BITSANDBYTES: a checkout, 0.50.2.dev0 of 2026-08-19)

Writes fixtures/tiny-nf4/ (tiny-gqa's weights, untied: nested scales; decoder, projector and the tower's linears are packed, one decoder linear is not),
fixtures/tiny-fp4/ (tiny-text's: plain scales, blocks of 128, stored as bfloat16) and fixtures/golden/models/tiny-{nf4,fp4}.safetensors.
"""

import json
import shutil
import sys

import bitsandbytes
import torch
from bitsandbytes import functional as bnb
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration

import models

ROOT = models.ROOT
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "gate_proj", "up_proj", "down_proj", "fc1", "fc2", "linear_1", "linear_2")


def packed(name, weight, settings):
    """The tensors that Linear4bit saves for a weight, and the weight that they stand for."""
    codes, state = bnb.quantize_4bit(weight.float(), **settings)
    state.dtype = torch.bfloat16  # of the model that was packed
    read = bnb.QuantState.from_dict({k: v.clone() for k, v in state.as_dict(packed=True).items()}, "cpu")
    read.dtype = torch.float32  # its products round codes x scale to nothing
    whole = bnb.dequantize_4bit(codes, read)
    tensors = {name: codes} | {f"{name}.{k}": v.contiguous() for k, v in state.as_dict(packed=True).items()}
    return tensors, whole


def tensors_of(folder):
    out = {}
    for file in sorted((ROOT / "fixtures" / folder).glob("*.safetensors")):
        out |= load_file(file)
    return out


def make(base, name, settings, skips, config, cls, image):
    folder = ROOT / "fixtures" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "fixtures" / base, folder, ignore=shutil.ignore_patterns("model*"))
    stored, dense = {}, {}
    for key, weight in tensors_of(base).items():
        if key.split(".")[-2] in LINEARS and key.endswith(".weight") and not any(s in key for s in skips):
            parts, whole = packed(key, weight, settings)
            stored |= parts
            dense[key] = whole
        else:
            stored[key] = dense[key] = weight
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    written = json.loads((folder / "config.json").read_text())
    written["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False} | config
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")

    # The same model with the weights that the codes stand for.
    whole = folder.parent / f".{name}-dense"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(folder, whole)
    save_file({k: v.float().contiguous() for k, v in dense.items()}, whole / "model.safetensors", metadata={"format": "pt"})
    (whole / "config.json").write_text(json.dumps({k: v for k, v in written.items() if k != "quantization_config"}))
    model = cls.from_pretrained(whole, dtype=torch.float32, attn_implementation="eager").eval()
    models.golden(whole.name, model, *image)
    (models.OUT / f"{whole.name}.safetensors").rename(models.OUT / f"{name}.safetensors")
    shutil.rmtree(whole)


def main():
    if bitsandbytes.__version__ != "0.50.2.dev0":
        sys.exit(f"bitsandbytes: expected 0.50.2.dev0, got {bitsandbytes.__version__}")
    torch.set_num_threads(1)
    make("tiny-gqa", "tiny-nf4", {"blocksize": 64, "compress_statistics": True, "quant_type": "nf4"}, ["layers.1.mlp.up_proj"],
         {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": ["vision_tower"]},
         LlavaForConditionalGeneration, (48, 9))  # fmt: skip
    make("tiny-text", "tiny-fp4", {"blocksize": 128, "compress_statistics": False, "quant_type": "fp4", "quant_storage": torch.bfloat16}, [],
         {"bnb_4bit_quant_type": "fp4", "bnb_4bit_quant_storage": "bfloat16"}, LlamaForCausalLM, (None, 0))  # fmt: skip


if __name__ == "__main__":
    main()
