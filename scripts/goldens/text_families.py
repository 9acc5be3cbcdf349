# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/families/own/: two tiny random checkpoints of each text family, of sizes that the published ones have not (heads wider than
hidden_size / heads, one key head, ties, sequences longer than every window, shards, float16, bfloat16), and what transformers and peft compute on
them in float32. Run from the repository root: python scripts/goldens/text_families.py. Made with transformers 5.18.0, torch 2.13.0, peft 0.21.0."""

import json
import os
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

OUT = "fixtures/families/own"
SMALL = {"hidden_act": "silu", "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "attention_dropout": 0.0, "eos_token_id": 2}
GREEDY = 12

# Each: what config.json holds, the dtype and number of files of its weights, lengths of the prompts.
CHECKPOINTS = {
    "qwen2-layers": (
        SMALL
        | {
            "model_type": "qwen2",
            "vocab_size": 83,
            "hidden_size": 40,
            "intermediate_size": 56,
            "num_hidden_layers": 3,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "tie_word_embeddings": True,
        },
        torch.bfloat16,
        2,
        [40, 7, 150],
    ),
    "qwen2-wide": (
        SMALL
        | {
            "model_type": "qwen2",
            "vocab_size": 71,
            "hidden_size": 32,
            "intermediate_size": 50,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_theta": 1000000.0,
            "use_sliding_window": True,
            "sliding_window": 100,
            "max_window_layers": 0,
            "tie_word_embeddings": False,
        },
        torch.float16,
        1,
        [230, 99, 101],
    ),
    "qwen3-biases": (
        SMALL
        | {
            "model_type": "qwen3",
            "vocab_size": 83,
            "hidden_size": 32,
            "intermediate_size": 50,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "attention_bias": True,
            "rope_theta": 1000000,
            "use_sliding_window": True,
            "sliding_window": 9,
            "max_window_layers": 1,
            "tie_word_embeddings": False,
        },
        torch.float32,
        1,
        [60, 9, 130],
    ),
    "qwen3-tied": (
        SMALL
        | {
            "model_type": "qwen3",
            "vocab_size": 83,
            "hidden_size": 48,
            "intermediate_size": 50,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0},
            "use_sliding_window": False,
            "sliding_window": 4,
            "max_window_layers": 0,
            "tie_word_embeddings": True,
        },
        torch.bfloat16,
        1,
        [33, 120],
    ),
    "mistral-wide": (
        SMALL
        | {
            "model_type": "mistral",
            "vocab_size": 83,
            "hidden_size": 48,
            "intermediate_size": 50,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 20,
            "rope_theta": 10000.0,
            "sliding_window": 3,
            "tie_word_embeddings": False,
        },
        torch.float16,
        1,
        [50, 3, 2],
    ),
    "mistral-none": (
        SMALL
        | {
            "model_type": "mistral",
            "vocab_size": 83,
            "hidden_size": 48,
            "intermediate_size": 50,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": None,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": True,
        },
        torch.float32,
        3,
        [70, 12],
    ),
}


def randomise(model):
    """Spread wide enough that every mistake moves the log-probabilities, and greedy choices are clear."""
    for name, p in model.named_parameters():
        if "norm" in name:
            p.data = 1 + 0.3 * torch.randn(p.shape)
        elif p.ndim == 1:
            p.data = 0.3 * torch.randn(p.shape)
        else:
            p.data = torch.randn(p.shape) * (1.0 if "embed" in name else 1.3 / p.shape[1] ** 0.5)


def save_weights(model, dtype, files, to):
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    if files == 1:
        return save_file(tensors, f"{to}/model.safetensors", {"format": "pt"})
    names = sorted(tensors)
    weight_map = {}
    for i in range(files):
        file = f"model-{i + 1:05}-of-{files:05}.safetensors"
        part = {n: tensors[n] for n in names[i::files]}
        save_file(part, f"{to}/{file}", {"format": "pt"})
        weight_map |= {n: file for n in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    json.dump({"metadata": {"total_size": size}, "weight_map": weight_map}, open(f"{to}/model.safetensors.index.json", "w"), indent=1)


def logps(model, prompt, answer):
    rows = torch.log_softmax(model(input_ids=torch.tensor([prompt + answer])).logits[0].double(), -1)
    at = torch.arange(len(answer)) + len(prompt)
    return rows[at - 1, torch.tensor(answer)]


def greedy(model, prompt):
    ids, margins = [], []
    for _ in range(GREEDY):
        top = model(input_ids=torch.tensor([prompt + ids])).logits[0, -1].topk(2)
        ids.append(top.indices[0].item())
        margins.append((top.values[0] - top.values[1]).item())
    return {"ids": ids, "min_margin": min(margins)}


def dpo(base, golden, to):
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], lora_dropout=0.0, task_type="CAUSAL_LM"))
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape) * 0.3 / p.shape[1] ** 0.5
    model.save_pretrained(f"{to}/adapter")
    os.remove(f"{to}/adapter/README.md")
    path = f"{to}/adapter/adapter_config.json"
    config = json.load(open(path)) | {"base_model_name_or_path": None}
    json.dump(config, open(path, "w"), indent=1)
    pairs, total = [], 0
    for row in golden:
        chosen, rejected = (logps(model, row["prompt_ids"], a["ids"]).sum() for a in row["answers"][:2])
        reference = [a["sum"] for a in row["answers"][:2]]
        loss = -torch.nn.functional.logsigmoid(0.1 * ((chosen - rejected) - (reference[0] - reference[1])))
        total = total + loss / len(golden)
        pairs.append({"id": row["id"], "ref_chosen": reference[0], "ref_rejected": reference[1], "policy_chosen": chosen.item(), "policy_rejected": rejected.item(), "loss": loss.item()})
    total.backward()
    grads = {n.replace(".default", ""): p.grad.contiguous() for n, p in model.named_parameters() if "lora_" in n}
    save_file(grads, f"{to}/grads.safetensors")
    json.dump({"beta": 0.1, "r": 4, "alpha": 8, "pairs": pairs, "loss_mean": total.item()}, open(f"{to}/dpo.json", "w"), indent=1)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for seed, (name, (config, dtype, files, lengths)) in enumerate(CHECKPOINTS.items()):
        torch.manual_seed(100 + seed)
        to = f"{OUT}/{name}"
        os.makedirs(f"{to}/ckpt")
        json.dump(config, open(f"{to}/ckpt/config.json", "w"), indent=1)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f"{to}/ckpt"), dtype=torch.float32)
        randomise(model)
        model.tie_weights()
        save_weights(model, dtype, files, f"{to}/ckpt")
        model = AutoModelForCausalLM.from_pretrained(f"{to}/ckpt", dtype=torch.float32).eval()
        golden, vocabulary = [], config["vocab_size"]
        for i, length in enumerate(lengths):
            draw = lambda n: torch.randint(3, vocabulary, (n,)).tolist()
            row = {"id": f"p{i}", "prompt_ids": draw(length), "answers": []}
            with torch.no_grad():
                for ids in (draw(14), draw(1 + i), draw(6)):
                    values = logps(model, row["prompt_ids"], ids)
                    row["answers"].append({"ids": ids, "logps": values.tolist(), "sum": values.sum().item()})
                row["greedy"] = greedy(model, row["prompt_ids"])
            golden.append(row)
        json.dump(golden, open(f"{to}/golden.json", "w"))
        dpo(model, golden, to)


main()
