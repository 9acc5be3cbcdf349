# SPDX-License-Identifier: Apache-2.0
"""Reads what `vpref export` wrote with its target programs, and prints their results.

usage: read_exports.py FOLDER   (see exports.sh)
"""
import json
import sys
from pathlib import Path

import datasets
import torch
import transformers
import trl
from datasets import Image, List, load_dataset
from transformers import AutoProcessor, AutoTokenizer
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

folder = Path(sys.argv[1])
model = Path(sys.argv[2])
datasets.disable_progress_bars()
print(f"datasets {datasets.__version__}, trl {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")


def load(name):
    return load_dataset("json", data_files=str(folder / name), split="train", cache_dir=str(folder / "cache"))


def check_trl_vision():
    rows = load("trl.jsonl")
    print(f"trl.jsonl: {rows.num_rows} rows; columns {rows.column_names}")
    for column in ("ref_chosen_logps", "ref_rejected_logps"):
        assert str(rows.features[column].dtype) == "float64", (column, rows.features[column])
    rows = rows.cast_column("images", List(Image()))
    processor = AutoProcessor.from_pretrained(model)
    batch = DataCollatorForVisionPreference(processor)([rows[i] for i in range(2)])
    shapes = {key: tuple(value.shape) for key, value in batch.items() if hasattr(value, "shape")}
    print(f"  DataCollatorForVisionPreference: {shapes}")
    text = processor.tokenizer.decode(batch["input_ids"][0], skip_special_tokens=True)
    assert rows[0]["chosen"][0]["content"][0]["text"] in text, text
    # Two pairs give four sequences: both chosen, then both rejected; each with the image's tokens once.
    image_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    counts = (batch["input_ids"] == image_id).sum(1).tolist()
    print(f"  image tokens a sequence: {counts}; pixel_values {tuple(batch['pixel_values'].shape)}")
    assert len(set(counts)) == 1 and counts[0] > 0


def check_trl_text():
    rows = load("trl-text.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(model)
    # LLaVA's own template takes lists of parts only (--layout vision); this is the form of text models' templates.
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    row = trl.apply_chat_template(rows[0], tokenizer)
    print(f"trl-text.jsonl: {rows.num_rows} rows; columns {rows.column_names}")
    print(f"  apply_chat_template: {json.dumps({key: row[key] for key in ('prompt', 'chosen')})}")
    assert row["prompt"] == "<user>" + rows[0]["prompt"][0]["content"] + "<assistant>", row
    assert row["chosen"] == rows[0]["chosen"][0]["content"], row


def check_trl_kto():
    rows = load("trl-kto.jsonl")
    print(f"trl-kto.jsonl: {rows.num_rows} rows; label {rows.features['label'].dtype}; columns {rows.column_names}")
    assert str(rows.features["label"].dtype) == "bool"


def check_llama_factory():
    info = json.loads((folder / "dataset_info.json").read_text())
    for name, entry in info.items():
        rows = load(entry["file_name"])
        columns, tags = entry["columns"], entry["tags"]
        for row in rows:
            turns = row[columns["messages"]]
            # src/llamafactory/data/converter.py: alternating roles, an odd number of them for ranking, else even.
            allowed = [tags["user_tag"], tags["assistant_tag"]]
            assert all(turn[tags["role_tag"]] == allowed[place % 2] for place, turn in enumerate(turns)), turns
            assert len(turns) % 2 == (1 if entry.get("ranking") else 0), turns
            text = "".join(turn[tags["content_tag"]] for turn in turns)
            # mm_plugin: one placeholder for each image.
            assert text.count("<image>") == len(row[columns["images"]]), row
            if entry.get("ranking"):
                for side in ("chosen", "rejected"):
                    assert row[columns[side]][tags["role_tag"]] == tags["assistant_tag"]
                    assert "<image>" not in row[columns[side]][tags["content_tag"]]
        print(f"llama-factory {name}: {rows.num_rows} rows pass the converter's rules; columns {rows.column_names}")


def check_ms_swift():
    rows = load("ms-swift.jsonl")
    for row in rows:
        assert row["messages"][-1]["role"] == "assistant" and isinstance(row["rejected_response"], str)
        assert sum(turn["content"].count("<image>") for turn in row["messages"]) == len(row["images"])
    print(f"ms-swift.jsonl: {rows.num_rows} rows; columns {rows.column_names}")


def check_llava():
    rows = json.loads((folder / "llava.json").read_text())
    for row in rows:
        speakers = [turn["from"] for turn in row["conversations"]]
        # llava/train/train.py preprocess_v1: human and gpt alternate, human first.
        assert speakers == ["human", "gpt"] * (len(speakers) // 2), speakers
        assert row["conversations"][0]["value"].count("<image>") == (1 if "image" in row else 0)
    print(f"llava.json: {len(rows)} rows with {sorted(set().union(*rows))}")


def check_seva():
    rows = json.loads((folder / "seva.json").read_text())
    assert all(set(row) == {"image_id", "question", "chosen", "reject"} for row in rows)
    print(f"seva.json: {len(rows)} rows; first image_id {rows[0]['image_id']}")


for check in (check_trl_vision, check_trl_text, check_trl_kto, check_llama_factory, check_ms_swift, check_llava, check_seva):
    check()
print("all read")
