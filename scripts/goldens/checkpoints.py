# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/golden/checkpoints.json: log-probabilities of transformers and peft in float32 for adapters and config.json files of every kind, on the
tiny checkpoints. The adapters' values are made by a formula, so that no weights need to be kept. Run from the repository root, after models.py."""

import json
import os
import shutil
import tempfile

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

IDS = [1, 334, 261, 311, 433, 434, 369, 340, 463, 321, 322, 2]
OUT = "fixtures/golden/checkpoints.json"
ROOT = "base_model.model."


def values(shape, salt):
    """Element i is ((i * 7919 + salt * 104729) % 1009 - 504) / 5040: exact in float32 order of operations in float64."""
    n = 1
    for side in shape:
        n *= side
    i = torch.arange(n, dtype=torch.int64)
    return (((i * 7919 + salt * 104729) % 1009 - 504).double() / 5040).float().reshape(shape)


def logps(model):
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([IDS])).logits[0].float()
    rows = torch.log_softmax(logits, -1)
    return [rows[i, IDS[i + 1]].item() for i in range(len(IDS) - 1)]


def load(path):
    config = json.load(open(os.path.join(path, "config.json")))
    kind = AutoModelForCausalLM if config["model_type"] == "llama" else AutoModelForImageTextToText
    return kind.from_pretrained(path, dtype=torch.float32)


V, D = 832, 48
DECODER = "model.language_model."
Q0 = DECODER + "layers.0.self_attn.q_proj"
Q1 = DECODER + "layers.1.self_attn.q_proj"


def lora(module, rank, n, k):
    return {f"{ROOT}{module}.lora_A.weight": [rank, k], f"{ROOT}{module}.lora_B.weight": [n, rank]}


EMBED = f"{ROOT}{DECODER}embed_tokens"
EMBED_LORA = {f"{EMBED}.lora_embedding_A": [2, V], f"{EMBED}.lora_embedding_B": [D, 2]}
QS = {"tiny-mha": D, "tiny-gqa": 64}
ADAPTERS = []


def adapter(name, model, tensors, **config):
    ADAPTERS.append({"name": name, "model": model, "config": {"peft_type": "LORA", "r": 2, "lora_alpha": 6, **config}, "tensors": tensors})


for model in ("tiny-mha", "tiny-gqa"):
    q = QS[model]
    adapter("head", model, lora("lm_head", 2, V, D), target_modules=["lm_head"])
    adapter("head with its base", model, {**lora("lm_head", 2, V, D), f"{ROOT}lm_head.base_layer.weight": [V, D]}, target_modules=["lm_head"])
    adapter("embedding", model, EMBED_LORA, target_modules=["embed_tokens"])
    adapter("embedding with its base", model, {**EMBED_LORA, f"{EMBED}.base_layer.weight": [V, D]}, target_modules=["embed_tokens"])
    adapter("saved head", model, {**lora(Q0, 2, q, D), f"{ROOT}lm_head.weight": [V, D]}, target_modules=["layers.0.self_attn.q_proj"], modules_to_save=["lm_head"])
    adapter("saved embedding", model, {**lora(Q0, 2, q, D), f"{EMBED}.weight": [V, D]}, target_modules=["layers.0.self_attn.q_proj"], modules_to_save=["embed_tokens"])
    adapter("saved both", model, {**lora(Q0, 2, q, D), f"{EMBED}.weight": [V, D], f"{ROOT}lm_head.weight": [V, D]}, target_modules=["layers.0.self_attn.q_proj"],
            modules_to_save=["embed_tokens", "lm_head"])
    adapter("embedding in place", model, {**lora(Q0, 2, q, D), f"{EMBED}.weight": [V, D]}, target_modules=["layers.0.self_attn.q_proj"])
    adapter("saved norm", model, {**lora(Q0, 2, q, D), f"{ROOT}{DECODER}layers.1.input_layernorm.weight": [D]}, target_modules=["layers.0.self_attn.q_proj"],
            modules_to_save=["layers.1.input_layernorm"])
    adapter("patterns", model, {**lora(Q0, 3, q, D), **lora(Q1, 2, q, D)}, target_modules=["q_proj"], layers_to_transform=[0, 1], layers_pattern="layers",
            rank_pattern={"layers.0.self_attn.q_proj": 3}, alpha_pattern={r"^model.*\.1\..*": 9}, use_rslora=True)

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
# Edits of config.json: keys by path; null takes a key away.
CONFIGS = [
    ("theta inside the scaling", "tiny-mha", {"text_config": {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0, "rope_theta": 70000.0}}}),
    ("theta beside the scaling", "tiny-mha", {"text_config": {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0}}}),
    ("rope_scaling and rope_parameters", "tiny-mha", {"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 90000.0}, "rope_scaling": {"type": "linear", "factor": 2.0}}}),
    ("an empty rope_scaling", "tiny-mha", {"text_config": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 3000.0}, "rope_scaling": {}}}),
    ("rope_type and type", "tiny-mha", {"text_config": {"rope_parameters": None, "rope_scaling": {"rope_type": "default", "type": "linear", "factor": 2.0, "rope_theta": 300.0}}}),
    ("rope_parameters and rope_theta", "tiny-mha", {"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}, "rope_theta": 90000.0}}),
    ("llama3 without the original length", "tiny-mha", {"text_config": {"rope_parameters": {**LLAMA3, "rope_theta": 300.0}, "max_position_embeddings": 64}}),
    ("llama3 with the original length", "tiny-mha", {"text_config": {"rope_parameters": {**LLAMA3, "rope_theta": 300.0, "original_max_position_embeddings": 24}, "max_position_embeddings": 64}}),
    ("tied below alone", "tiny-gqa", {"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}),
    ("tied above alone", "tiny-gqa", {"tie_word_embeddings": True, "text_config": {"tie_word_embeddings": False}}),
    ("tied, with a head of its own in the file", "tiny-mha", {"tie_word_embeddings": True}),
]


def edit(config, changes):
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        elif isinstance(value, dict) and isinstance(config.get(key), dict) and key.endswith("_config"):
            edit(config[key], value)
        else:
            config[key] = value
    return config


def main():
    out = {"versions": {"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__}, "ids": IDS, "base": {}, "adapters": [], "configs": []}
    for model in QS:
        out["base"][model] = logps(load("fixtures/" + model))
    for one in ADAPTERS:
        with tempfile.TemporaryDirectory() as folder:
            tensors = {key: values(shape, salt) for salt, (key, shape) in enumerate(sorted(one["tensors"].items()))}
            save_file(tensors, folder + "/adapter_model.safetensors")
            json.dump(one["config"], open(folder + "/adapter_config.json", "w"))
            tuned = PeftModel.from_pretrained(load("fixtures/" + one["model"]), folder)
            out["adapters"].append({**one, "logps": logps(tuned)})
    for name, model, changes in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree("fixtures/" + model, folder + "/m")
            path = folder + "/m/config.json"
            config = edit(json.load(open(path)), changes)
            json.dump(config, open(path, "w"))
            out["configs"].append({"name": name, "model": model, "changes": changes, "logps": logps(load(folder + "/m"))})
    with open(OUT, "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


main()
