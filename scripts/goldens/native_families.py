# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/families/own-native/: whole tiny random checkpoints of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, of sizes that neither the published ones nor
own-vlm have (odd grids of merged patches, one column of them, windows that no grid is a multiple of, a table of positions smaller and larger than the
grids, rows that the decoder adds from two layers, other angles in the tower, other ratios of heads), and what transformers and peft compute on them in
float32: texts, ids, pixels, rows of images, positions, logits, log-probabilities, greedy answers, a DPO step.

    python scripts/goldens/native_families.py      (from the repository root; transformers 5.18.0, torch 2.13.0, peft 0.21.0, Pillow 12)

The tokenizers and templates are those of fixtures/families/{qwen2_vl,qwen2_5_vl,qwen3_vl}.
"""
import json

import torch
from families import crops_of, picture
from tile_families import ROOT, write
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
TEXT = {"num_hidden_layers": 3, "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "use_sliding_window": False}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def images_of(spec, processor, names):
    """Each picture as [height, width, 3], what the model gets of all, and what stands for each in the text."""
    pictures = [picture(*map(int, name.split("x"))) for name in names]
    if not pictures:
        return [], {}, [], {}
    crops = [crops_of("qwen", processor, p)[0] for p in pictures]
    made = dict(processor(images=pictures, return_tensors="pt"))
    grids = made["image_grid_thw"].tolist()
    return crops, made, ["<|image_pad|>" * (h * w // processor.merge_size**2) for _, h, w in grids], {"image_grid_thw": grids}


def of_family(name, config, processor, **others):
    """Ids, tokenizer, template and stop list of the family's checkpoint."""
    source = ROOT / name / "ckpt"
    read = lambda file: json.loads((source / file).read_text())
    published, processor_class = read("config.json"), read("preprocessor_config.json")["processor_class"]
    ids = {k: v for k, v in published.items() if k.endswith("_token_id")}
    return {
        "config": {"model_type": name} | ids | config,
        "processor": {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": processor_class, "merge_size": 2, "temporal_patch_size": 2} | processor,
        "template": read("chat_template.json")["chat_template"],
        "generation": {k: v for k, v in read("generation_config.json").items() if k in ("bos_token_id", "eos_token_id")},
        "images_of": images_of,
        "mark": "<|image_pad|>",
    } | others


HUB = [("model.language_model.", "model."), ("model.visual.", "visual.")]
CHECKPOINTS = {
    # Two queries a key; names of the hub, in three files.
    "qwen2_vl-small": of_family(
        "qwen2_vl",
        TEXT
        | {
            "vocab_size": 486,
            "hidden_size": 40,
            "intermediate_size": 53,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_theta": 10000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 2, 2]},
            "tie_word_embeddings": False,
            "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 40, "mlp_ratio": 3, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2},
        },
        {"patch_size": 8, "min_pixels": 256, "max_pixels": 6400},
        rename=HUB,
        dtype=torch.bfloat16,
        files=3,
    ),
    # Windows of 2 x 2 merged patches on odd grids, between two layers that see everything; names of the module tree.
    "qwen2_5_vl-windows": of_family(
        "qwen2_5_vl",
        {
            "tie_word_embeddings": True,
            "text_config": TEXT
            | {
                "model_type": "qwen2_5_vl_text",
                "vocab_size": 486,
                "hidden_size": 48,
                "intermediate_size": 53,
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "rope_parameters": {"mrope_section": [2, 1, 1], "rope_theta": 100000.0, "rope_type": "default"},
            },
            "vision_config": {
                "depth": 4,
                "hidden_size": 32,
                "intermediate_size": 37,
                "num_heads": 4,
                "out_hidden_size": 48,
                "patch_size": 7,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "window_size": 35,
                "fullatt_block_indexes": [1, 3],
                "rope_parameters": {"rope_type": "axial", "rope_theta": 300.0},
            },
        },
        {"patch_size": 7, "size": {"shortest_edge": 1000, "longest_edge": 9000}},
        dtype=torch.float16,
        files=2,
    ),
    # Two layers of the tower give rows to the first two of three decoder layers.
    "qwen3_vl-planes": of_family(
        "qwen3_vl",
        {
            "tie_word_embeddings": True,
            "text_config": TEXT
            | {
                "model_type": "qwen3_vl_text",
                "vocab_size": 448,
                "hidden_size": 36,
                "intermediate_size": 53,
                "num_attention_heads": 6,
                "num_key_value_heads": 3,
                "head_dim": 14,
                "rope_theta": 50000.0,
                "rope_scaling": {"mrope_interleaved": True, "mrope_section": [3, 2, 2], "rope_type": "default"},
            },
            "vision_config": {
                "depth": 3,
                "hidden_size": 24,
                "intermediate_size": 37,
                "num_heads": 2,
                "out_hidden_size": 36,
                "patch_size": 6,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "num_position_embeddings": 25,
                "deepstack_visual_indexes": [0, 2],
                "rope_theta": 500.0,
            },
        },
        HALF | {"patch_size": 6, "size": {"shortest_edge": 576, "longest_edge": 5000}},
        dtype=torch.float32,
        files=1,
    ),
}


if __name__ == "__main__":
    write(ROOT / "own-native", CHECKPOINTS, dict.fromkeys(FAMILIES, Qwen2VLImageProcessorPil), 700)
