# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/families/own-vlm/: tiny random checkpoints of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, of sizes that the published ones have not (odd grids, one
row of patches, two pictures of different size, merges of 1 and 3, sequences and pictures larger than the windows, shards, float16, names as a module
tree has them), and what transformers and peft compute on them in float32: rows of images, positions, log-probabilities, the same with an adapter on
every linear layer of tower, merger and decoder. Run from the repository root: python scripts/goldens/qwen_vl.py. Made with transformers 5.18.0,
torch 2.13.0, peft 0.21.0."""

import json
import os
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText

OUT = "fixtures/families/own-vlm"
IMAGE, START, END = 9, 10, 11
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
IDS = {"image_token_id": IMAGE, "video_token_id": 12, "vision_start_token_id": START, "vision_end_token_id": END, "eos_token_id": 2, "bos_token_id": 1}

# Each: config.json, prefix of the decoder and the tower in the files, dtype, number of files, pictures [height, width] in merged rows of each prompt,
# tokens of text before and behind them.
CHECKPOINTS = {
    "qwen2_vl": (
        IDS
        | {
            "model_type": "qwen2_vl",
            "tie_word_embeddings": False,
            "text_config": {
                "model_type": "qwen2_vl_text",
                "vocab_size": 61,
                "hidden_size": 40,
                "intermediate_size": 44,
                "num_hidden_layers": 2,
                "num_attention_heads": 5,
                "num_key_value_heads": 5,
                "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-6,
                "rope_parameters": {"mrope_section": [1, 1, 2], "rope_theta": 20000.0, "rope_type": "default", "type": "mrope"},
            },
            "vision_config": {"depth": 2, "embed_dim": 16, "hidden_size": 40, "mlp_ratio": 3, "num_heads": 1, "patch_size": 6, "spatial_merge_size": 3, "temporal_patch_size": 3},
        },
        ("model.language_model.", "model.visual."),
        torch.float16,
        2,
        [[[5, 3]], [[1, 4], [3, 2]], [[2, 1]]],
        [[4, 6], [1, 9], [1100, 5]],
    ),
    "qwen2_5_vl": (
        IDS
        | {
            "model_type": "qwen2_5_vl",
            "tie_word_embeddings": True,
            "vocab_size": 61,
            "hidden_size": 48,
            "intermediate_size": 44,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": [6, 2, 4]},
            "vision_config": {
                "depth": 4,
                "hidden_size": 24,
                "intermediate_size": 30,
                "num_heads": 2,
                "out_hidden_size": 48,
                "patch_size": 4,
                "spatial_patch_size": 4,
                "spatial_merge_size": 1,
                "temporal_patch_size": 2,
                "window_size": 13,
                "fullatt_block_indexes": [0, 2, 7],
            },
        },
        ("model.", "visual."),
        torch.bfloat16,
        1,
        [[[7, 5]], [[1, 8], [3, 3]], [[4, 1]]],
        [[3, 8], [2, 5], [40, 7]],
    ),
    # More planes than decoder layers, a table of positions that is no square, biases.
    "qwen3_vl": (
        IDS
        | {
            "model_type": "qwen3_vl",
            "tie_word_embeddings": False,
            "text_config": {
                "model_type": "qwen3_vl_text",
                "vocab_size": 61,
                "hidden_size": 40,
                "intermediate_size": 44,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 14,
                "attention_bias": True,
                "max_position_embeddings": 4096,
                "rope_theta": 20000.0,
                "rope_scaling": {"mrope_interleaved": True, "mrope_section": [2, 3, 2], "rope_type": "default"},
            },
            "vision_config": {
                "depth": 4,
                "hidden_size": 16,
                "intermediate_size": 30,
                "num_heads": 2,
                "out_hidden_size": 40,
                "patch_size": 4,
                "spatial_merge_size": 3,
                "temporal_patch_size": 1,
                "num_position_embeddings": 30,
                "deepstack_visual_indexes": [0, 2, 3],
            },
        },
        ("model.language_model.", "model.visual."),
        torch.bfloat16,
        2,
        [[[5, 3]], [[1, 4], [3, 2]], [[2, 1]]],
        [[4, 6], [1, 9], [600, 5]],
    ),
}


def randomise(model):
    """Spread wide enough that every mistake moves the log-probabilities."""
    for name, p in model.named_parameters():
        if "norm" in name or "ln_q" in name:
            p.data = (0 if name.endswith("bias") else 1) + 0.3 * torch.randn(p.shape)
        elif p.ndim == 1:
            p.data = 0.3 * torch.randn(p.shape)
        else:
            p.data = torch.randn(p.shape) * (0.4 if "embed_tokens" in name else 1.3 / p[0].numel() ** 0.5)


def save_weights(model, prefixes, dtype, files, to):
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        name = name.replace("model.visual.", prefixes[1]).replace("model.language_model.", prefixes[0])
        tensors[name] = value.to(dtype).contiguous()
    if files == 1:
        return save_file(tensors, f"{to}/model.safetensors", {"format": "pt"})
    weight_map = {}
    for i in range(files):
        file = f"model-{i + 1:05}-of-{files:05}.safetensors"
        part = {n: tensors[n] for n in sorted(tensors)[i::files]}
        save_file(part, f"{to}/{file}", {"format": "pt"})
        weight_map |= {n: file for n in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    json.dump({"metadata": {"total_size": size}, "weight_map": weight_map}, open(f"{to}/model.safetensors.index.json", "w"), indent=1)


def patches(picture, vision):
    """Rows of [channel, frame, y, x] by blocks of merge x merge, as Qwen2VLImageProcessor has them."""
    p, m, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    x = (torch.tensor(picture, dtype=torch.float64) / 255).float()
    x = ((x - MEAN) / STD).permute(2, 0, 1)
    gh, gw = x.shape[1] // p, x.shape[2] // p
    x = x.reshape(3, gh // m, m, p, gw // m, m, p).permute(1, 4, 2, 5, 0, 3, 6)
    x = x.unsqueeze(5).expand(*x.shape[:5], frames, p, p)
    return x.reshape(gh * gw, -1).contiguous(), [1, gh, gw]


def inputs(row):
    ids = torch.tensor([row["ids"]])
    return {"input_ids": ids, "mm_token_type_ids": (ids == IMAGE).int(), "pixel_values": row["pixel_values"], "image_grid_thw": torch.tensor(row["image_grid_thw"])}


def logps(model, row, answer):
    call = inputs(row | {"ids": row["prompt_ids"] + answer})
    rows = torch.log_softmax(model(**call).logits[0].double(), -1)
    at = torch.arange(len(answer)) + len(row["prompt_ids"])
    return rows[at - 1, torch.tensor(answer)].tolist()


def add_adapter(model, to):
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", lora_dropout=0.0))
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape) * 0.5 / p.shape[1] ** 0.5
    model.save_pretrained(f"{to}/adapter")
    os.remove(f"{to}/adapter/README.md")
    path = f"{to}/adapter/adapter_config.json"
    config = json.load(open(path)) | {"base_model_name_or_path": None}
    config["target_modules"] = sorted(config["target_modules"])
    json.dump(config, open(path, "w"), indent=1)
    return model


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for seed, (name, (config, prefixes, dtype, files, pictures, text)) in enumerate(CHECKPOINTS.items()):
        torch.manual_seed(300 + seed)
        draws = np.random.default_rng(300 + seed)
        to = f"{OUT}/{name}"
        os.makedirs(f"{to}/ckpt")
        json.dump(config, open(f"{to}/ckpt/config.json", "w"), indent=1)
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(f"{to}/ckpt"), dtype=torch.float32)
        randomise(model)
        model.tie_weights()
        save_weights(model, prefixes, dtype, files, f"{to}/ckpt")
        model = AutoModelForImageTextToText.from_pretrained(f"{to}/ckpt", dtype=torch.float32).eval()
        vision = model.config.vision_config
        side, golden, tensors = vision.patch_size * vision.spatial_merge_size, [], {}
        for i, (grids, (before, behind)) in enumerate(zip(pictures, text)):
            draw = lambda n: draws.integers(13, 61, n).tolist()
            row, values, prompt = {"id": f"p{i}", "image_grid_thw": []}, [], draw(before)
            for k, (h, w) in enumerate(grids):
                picture = draws.integers(0, 256, (h * side, w * side, 3), dtype=np.uint8)
                tensors[f"pixels_u8/p{i}/{k}"] = torch.tensor(picture)
                pixels, grid = patches(picture, vision)
                values.append(pixels)
                row["image_grid_thw"].append(grid)
                prompt += [START] + [IMAGE] * (h * w) + [END] + draw(behind)
            row |= {"prompt_ids": prompt, "pixel_values": torch.cat(values)}
            with torch.no_grad():
                call = inputs(row | {"ids": prompt})
                features = model.model.get_image_features(call["pixel_values"], call["image_grid_thw"])
                planes = [features.pooler_output, *(getattr(features, "deepstack_features", None) or [])]
                tensors[f"features/p{i}"] = torch.cat([torch.cat(list(plane)) for plane in planes])
                positions, _ = model.model.get_rope_index(call["input_ids"], mm_token_type_ids=call["mm_token_type_ids"], image_grid_thw=call["image_grid_thw"])
                row |= {"position_ids": positions[:, 0].tolist(), "next_position": positions.max().item() + 1}
                row["answers"] = [{"ids": ids, "logps": logps(model, row, ids)} for ids in (draw(14), draw(3))]
            golden.append(row)
        model = add_adapter(model, to)
        with torch.no_grad():
            for row in golden:
                for answer in row["answers"]:
                    answer["adapter_logps"] = logps(model, row, answer["ids"])
                del row["pixel_values"]
        json.dump(golden, open(f"{to}/golden.json", "w"))
        save_file({k: v.contiguous() for k, v in tensors.items()}, f"{to}/golden.safetensors")


if __name__ == "__main__":
    main()
