# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/families/own-tiles/: tiny random checkpoints of SmolVLM, Idefics3 and LLaVA-NeXT, of sizes that the published ones have not (one row
of patches, odd grids, tiles that are one token, windows inside a picture, shards, float16, bfloat16, names as a module tree has them), and what
transformers and peft compute on them in float32: texts, ids, crops, rows of images, log-probabilities, greedy answers, a DPO step.

    python scripts/goldens/tile_families.py      (from the repository root; transformers 5.18.0, torch 2.13.0, peft 0.21.0, Pillow 12)

The tokenizers are those of fixtures/families/{smolvlm,llava_next}, changed as CHECKPOINTS says.
"""
import json
import pathlib
import shutil

import torch
from families import encode, picture
from peft import LoraConfig, get_peft_model
from qwen_vl import randomise
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

ROOT = pathlib.Path("fixtures/families")
OUT = ROOT / "own-tiles"
torch.set_num_threads(1)
GREEDY, BETA, LOGITS = 12, 0.1, 4
DECODER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PROCESSORS = {"smolvlm": SmolVLMImageProcessorPil, "idefics3": Idefics3ImageProcessorPil, "llava_next": LlavaNextImageProcessorPil}

IMAGE, TEXT = {"type": "image"}, lambda text: {"type": "text", "text": text}
turn = lambda role, *content: {"role": role, "content": list(content)}
# Pictures by width x height; answers: the chosen one, then rejected ones.
PROMPTS = [
    {"id": "p0-odd", "images": ["98x70"], "messages": [turn("user", IMAGE, TEXT("What is it?"))], "answers": ["A dog on the left.", "Two cats.", "None."]},
    {"id": "p1-two", "images": ["61x200", "33x20"], "messages": [turn("user", IMAGE, TEXT("Left. "), IMAGE, TEXT("Which is larger?"))], "answers": ["The second one.", "Both."]},
    {
        "id": "p2-later",
        "images": ["43x42", "170x31"],
        "messages": [turn("user", IMAGE, TEXT("Is it red?")), turn("assistant", TEXT("It is.")), turn("user", IMAGE, TEXT("And here?"))],
        "answers": ["Three shapes.", "A dog."],
    },
    {"id": "p3-text", "images": [], "messages": [turn("user", TEXT("What is the sum of 12.5 and 7?"))], "answers": ["It is 19.5.", "It is 20."]},
    {"id": "p4-line", "images": ["5x90"], "messages": [turn("user", TEXT("Look: "), IMAGE, TEXT(" One word."))], "answers": ["Tall.", "Wide."]},
]

TEXT_SMALL = {"intermediate_size": 53, "num_hidden_layers": 2, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_rescale": True, "do_normalize": True, "do_resize": True, "do_convert_rgb": True, "resample": 1}
SMOL_TEMPLATE = json.loads((ROOT / "smolvlm/ckpt/chat_template.json").read_text())["chat_template"]
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% else %}{{ 'USER: ' }}{% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ ' ' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL = json.loads((ROOT / "llava_next/ckpt/chat_template.json").read_text())["chat_template"]


def tiles(model_type, longest, tile, **others):
    kind = "SmolVLM" if model_type == "smolvlm" else "Idefics3"
    return HALF | {"size": {"longest_edge": longest}, "max_image_size": {"longest_edge": tile}, "do_image_splitting": True, "do_pad": True, "image_processor_type": f"{kind}ImageProcessor"} | others


def anyres(side, pinpoints, **others):
    return {"image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}, "image_grid_pinpoints": pinpoints, "resample": 3} | others


def with_bos(tokenizer):
    """As Idefics3-8B has it: the tokenizer writes BOS, and the template does too."""
    text = json.dumps(tokenizer, ensure_ascii=False).replace("<|im_start|>", "<|begin_of_text|>")
    tokenizer = json.loads(text)
    bos = {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [1], "tokens": ["<|begin_of_text|>"]}},
    }
    return tokenizer


def without_double_break(tokenizer):
    """Two line breaks are two tokens; nothing makes what has the id."""
    model = tokenizer["model"]
    dropped = {token for token in model["vocab"] if "ĊĊ" in token}
    assert dropped
    model["vocab"] = {f"unused{i}" if t in dropped else t: i for t, i in model["vocab"].items()}
    pair = lambda merge: merge if isinstance(merge, list) else merge.split(" ")
    model["merges"] = [m for m in model["merges"] if not any("ĊĊ" in t for t in [*pair(m), "".join(pair(m))])]
    return tokenizer


PINPOINTS_1 = [[14, 28], [28, 14], [28, 28], [42, 14], [14, 42], [42, 28]]
PINPOINTS_5 = [[30, 60], [60, 30], [60, 60], [30, 90], [90, 30]]

# Each: config.json, image processor, tokenizer's change, template, renamed prefixes of the weights, their dtype and number of files.
CHECKPOINTS = {
    # A tile is one token; the head is a matrix of its own.
    "smolvlm-one": {
        "config": {
            "model_type": "smolvlm",
            "image_token_id": 435,
            "scale_factor": 3,
            "text_config": TEXT_SMALL | {"model_type": "llama", "vocab_size": 437, "hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 1, "rope_theta": 273768.0, "pad_token_id": 2},
            "vision_config": {"hidden_size": 24, "intermediate_size": 29, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 42, "patch_size": 14},
        },
        "processor": tiles("smolvlm", 126, 42),
        "template": SMOL_TEMPLATE,
        "dtype": torch.bfloat16,
        "files": 2,
    },
    # Five times five patches, each a token; the whole picture alone; two line breaks are two tokens.
    "smolvlm-whole": {
        "config": {
            "model_type": "smolvlm",
            "image_token_id": 435,
            "scale_factor": 1,
            "tie_word_embeddings": True,
            "text_config": TEXT_SMALL
            | {"model_type": "llama", "vocab_size": 437, "hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 5, "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}},
            "vision_config": {"model_type": "smolvlm_vision", "hidden_size": 20, "intermediate_size": 31, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 40, "patch_size": 8},
        },
        "processor": tiles("smolvlm", 100, 40, do_image_splitting=False),
        "tokenizer": without_double_break,
        "template": SMOL_TEMPLATE,
        "dtype": torch.float16,
        "files": 1,
    },
    # Bicubic tiles, biases, BOS twice over.
    "idefics3-bos": {
        "config": {
            "model_type": "idefics3",
            "image_token_id": 435,
            "scale_factor": 2,
            "text_config": TEXT_SMALL
            | {"model_type": "llama", "vocab_size": 440, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "attention_bias": True, "mlp_bias": True, "rope_theta": 500000.0, "qk_layer_norms": False},
            "vision_config": {"model_type": "idefics3", "hidden_size": 24, "intermediate_size": 31, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 48, "patch_size": 8},
        },
        "processor": tiles("idefics3", 96, 48, resample=3),
        "tokenizer": with_bos,
        "template": SMOL_TEMPLATE.replace("<|im_start|>", "<|begin_of_text|>"),
        "dtype": torch.float32,
        "files": 3,
    },
    # An odd grid of patches, grouped by none; three tiles a side; Llama 3.1's rope.
    "idefics3-odd": {
        "config": {
            "model_type": "idefics3",
            "image_token_id": 435,
            "scale_factor": 1,
            "text_config": TEXT_SMALL
            | {
                "model_type": "llama",
                "vocab_size": 437,
                "hidden_size": 30,
                "num_attention_heads": 3,
                "num_key_value_heads": 3,
                "rope_theta": 10000.0,
                "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
            },
            "vision_config": {"model_type": "idefics3_vision", "hidden_size": 18, "intermediate_size": 31, "num_hidden_layers": 3, "num_attention_heads": 1, "image_size": 33, "patch_size": 11},
        },
        "processor": tiles("idefics3", 99, 33),
        "template": SMOL_TEMPLATE,
        "dtype": torch.bfloat16,
        "files": 1,
    },
    # A crop is one patch, so a line of the grid is as short as it can be; Vicuna.
    "llava_next-vicuna": {
        "config": {
            "model_type": "llava_next",
            "image_token_index": 540,
            "image_grid_pinpoints": PINPOINTS_1,
            "text_config": TEXT_SMALL | {"model_type": "llama", "vocab_size": 542, "hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3, "rope_theta": 10000.0},
            "vision_config": {"model_type": "clip_vision_model", "hidden_size": 24, "intermediate_size": 31, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 14, "patch_size": 14},
        },
        "processor": anyres(14, PINPOINTS_1),
        "template": VICUNA,
        "rename": [("model.language_model.", "language_model.model."), ("lm_head", "language_model.lm_head"), ("model.vision_tower.", "vision_tower.vision_model."), ("model.", "")],
        "dtype": torch.float16,
        "files": 2,
    },
    # Five times five patches a crop; windows that end inside a picture; Mistral; names of the module tree.
    "llava_next-mistral": {
        "config": {
            "model_type": "llava_next",
            "image_token_index": 540,
            "image_grid_pinpoints": PINPOINTS_5,
            "projector_hidden_act": "gelu",
            "vision_feature_layer": -1,
            "text_config": TEXT_SMALL
            | {"model_type": "mistral", "vocab_size": 542, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": None, "rope_theta": 1000000.0, "sliding_window": 19},
            "vision_config": {"model_type": "clip_vision_model", "hidden_size": 20, "intermediate_size": 33, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 30, "patch_size": 6, "hidden_act": "gelu"},
        },
        "processor": anyres(30, PINPOINTS_5, resample=2),
        "template": MISTRAL,
        "dtype": torch.bfloat16,
        "files": 2,
    },
}


def source_of(model_type):
    return ROOT / ("smolvlm" if model_type == "idefics3" else model_type) / "ckpt"


def write_files(spec, to):
    """All of a checkpoint but its weights."""
    kind = spec["config"]["model_type"]
    put = lambda name, value: (to / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    put("config.json", spec["config"])
    put("preprocessor_config.json", spec["processor"])
    put("generation_config.json", spec.get("generation", {"bos_token_id": 1, "eos_token_id": [2 if kind == "llava_next" else 436, 0]}))
    (to / "chat_template.jinja").write_text(spec["template"])
    if kind == "llava_next":
        put("processor_config.json", {"patch_size": spec["config"]["vision_config"]["patch_size"], "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"})
    change = spec.get("tokenizer", lambda tokenizer: tokenizer)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (source_of(kind) / name).read_text()
        if change is with_bos:
            text = text.replace("<|im_start|>", "<|begin_of_text|>")
        made = json.loads(text)
        put(name, change(made) if name == "tokenizer.json" else made)


def save_weights(model, spec, to):
    tied = spec["config"].get("tie_word_embeddings", False)
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        for old, new in spec.get("rename", []):
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        tensors[name] = value.to(spec["dtype"]).contiguous()
    count = spec["files"]
    if count == 1:
        return save_file(tensors, to / "model.safetensors", {"format": "pt"})
    weight_map = {}
    for i in range(count):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        part = {n: tensors[n] for n in sorted(tensors)[i::count]}
        save_file(part, to / file, {"format": "pt"})
        weight_map |= {n: file for n in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    (to / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}, indent=1))


def images_of(spec, processor, names):
    """Crops of each picture as 8-bit planes, what the model gets of all, and what stands for each in the text."""
    pictures = [picture(*map(int, name.split("x"))) for name in names]
    if not pictures:
        return [], {}, [], {}
    kind = spec["config"]["model_type"]
    if kind == "llava_next":
        crops = [processor(images=[p], do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0] for p in pictures]
        made = dict(processor(images=pictures, return_tensors="pt"))
        counter = LlavaNextProcessor.__new__(LlavaNextProcessor)
        counter.image_processor, counter.patch_size, counter.num_additional_image_tokens = processor, spec["config"]["vision_config"]["patch_size"], 1
        side = spec["config"]["vision_config"]["image_size"]
        counts = [counter._get_number_of_features(*size.tolist(), side, side) - 1 for size in made["image_sizes"]]
        facts = {"image_sizes": made["image_sizes"].tolist()}
        return crops, made, ["<image>" * n for n in counts], facts
    single = [processor(images=[[p]], do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0] for p in pictures]
    made = dict(processor(images=[pictures], return_tensors="pt", return_row_col_info=True))
    rows, cols = made.pop("rows"), made.pop("cols")
    length = (spec["config"]["vision_config"]["image_size"] // spec["config"]["vision_config"]["patch_size"] // spec["config"]["scale_factor"]) ** 2
    texts = [get_image_prompt_string(r, c, length, "<fake_token_around_image>", "<image>", "<global-img>") for r, c in zip(rows[0], cols[0])]
    return single, made, texts, {"rows": rows, "cols": cols, "image_sizes": [[p.height, p.width] for p in pictures]}


def expanded(text, parts, mark):
    pieces = text.split(mark)
    assert len(pieces) == len(parts) + 1
    return "".join(piece + part for piece, part in zip(pieces, [*parts, ""]))


def kinds(model, ids):
    return torch.tensor([[int(i == model.config.image_token_id) for i in ids]])


def logits(model, ids, made):
    if "image_grid_thw" in made:
        made = made | {"mm_token_type_ids": kinds(model, ids)}
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), **made).logits[0]


def logps(model, row, answer):
    rows = torch.log_softmax(logits(model, row["prompt_ids"] + answer, row["made"]).double(), -1)
    at = torch.arange(len(answer)) + len(row["prompt_ids"])
    return rows[at - 1, torch.tensor(answer)]


def greedy(model, row, tokenizer):
    """Until the end, or before an image token: the reference would look for a picture."""
    ids, margins = [], []
    for _ in range(GREEDY):
        top = logits(model, row["prompt_ids"] + ids, row["made"])[-1].topk(2)
        if top.indices[0] == model.config.image_token_id:
            break
        ids.append(top.indices[0].item())
        margins.append((top.values[0] - top.values[1]).item())
        if ids[-1] in model.generation_config.eos_token_id:
            break
    return {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False), "min_margin": min(margins)}


def features_of(model, made):
    """Rows among the tokens, of all pictures."""
    if "image_sizes" in made:
        made = made | {"vision_feature_layer": model.config.vision_feature_layer, "vision_feature_select_strategy": model.config.vision_feature_select_strategy}
    rows = model.model.get_image_features(**made)
    if "image_grid_thw" in made:  # what the decoder adds after its first layers stands behind
        return torch.cat([torch.cat(list(plane)) for plane in [rows.pooler_output, *(getattr(rows, "deepstack_features", None) or [])]])
    rows = getattr(rows, "pooler_output", rows)
    rows = torch.cat(list(rows)) if isinstance(rows, (list, tuple)) else rows
    return rows.reshape(-1, rows.shape[-1])


def make_adapter(model, targets, to):
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, lora_dropout=0.0))
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape) * 0.4 / p.shape[1] ** 0.5
    model.save_pretrained(to)
    (to / "README.md").unlink()
    config = json.loads((to / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])
    (to / "adapter_config.json").write_text(json.dumps(config, indent=1))
    return model


def decoder_targets(model):
    """The decoder's alone: a list of names would find the tower's too."""
    text = "text_model" if hasattr(model.model, "text_model") else "language_model"
    return rf".*\.{text}\.layers\.\d+\..*_proj"


def dpo(model, golden, to):
    pairs, total = [], 0
    rows = [row for row in golden if row["images"]][:3]
    for row in rows:
        reference = [answer["sum"] for answer in row["answers"][:2]]
        chosen, rejected = (logps(model, row, answer["ids"]).sum() for answer in row["answers"][:2])
        loss = -torch.nn.functional.logsigmoid(BETA * ((chosen - rejected) - (reference[0] - reference[1])))
        total = total + loss / len(rows)
        pairs.append({"id": row["id"], "ref_chosen": reference[0], "ref_rejected": reference[1], "policy_chosen": chosen.item(), "policy_rejected": rejected.item(), "loss": loss.item()})
    total.backward()
    save_file({n.replace(".default", ""): p.grad.contiguous() for n, p in model.named_parameters() if "lora_" in n}, to / "grads.safetensors")
    (to / "dpo.json").write_text(json.dumps({"beta": BETA, "r": 4, "alpha": 8, "pairs": pairs, "loss_mean": total.item()}, indent=1))


def golden_row(prompt, spec, model, processor, tokenizer):
    crops, made, parts, facts = spec.get("images_of", images_of)(spec, processor, prompt["images"])
    text = tokenizer.apply_chat_template(prompt["messages"], chat_template=spec["template"], tokenize=False, add_generation_prompt=True)
    whole = expanded(text, parts, spec.get("mark", "<image>"))
    row = {"id": prompt["id"], "images": [f"{name}.png" for name in prompt["images"]], "text": text, "made": made, **facts}
    row["prompt_ids_unexpanded"] = encode(tokenizer, text).tolist()
    row["prompt_ids"] = encode(tokenizer, whole).tolist()
    row["num_image_rows"] = row["prompt_ids"].count(model.config.image_token_id)
    if "image_grid_thw" in made:
        ids = row["prompt_ids"]
        positions, _ = model.model.get_rope_index(torch.tensor([ids]), mm_token_type_ids=kinds(model, ids), image_grid_thw=made["image_grid_thw"])
        row |= {"position_ids": positions[:, 0].tolist(), "next_position": positions.max().item() + 1}
    joint = "" if text[-1].isspace() else " "
    row["answers"] = []
    with torch.no_grad():
        for answer in prompt["answers"]:
            ids = encode(tokenizer, whole + joint + answer + tokenizer.eos_token).tolist()
            assert ids[: len(row["prompt_ids"])] == row["prompt_ids"], (prompt["id"], answer)
            ids = ids[len(row["prompt_ids"]) :]
            values = logps(model, row, ids)
            row["answers"].append({"text": answer, "ids": ids, "prompt_is_prefix": True, "logps": values.tolist(), "sum": values.sum().item()})
        row["greedy"] = greedy(model, row, tokenizer)
        tensors = {f"pixels_u8/{row['id']}/{k}": torch.tensor(c).to(torch.uint8) for k, c in enumerate(crops)}
        if crops:
            tensors[f"features/{row['id']}"] = features_of(model, made)
            assert len(tensors[f"features/{row['id']}"]) % row["num_image_rows"] == 0
        chosen = row["answers"][0]["ids"]
        start = len(row["prompt_ids"]) - 1
        tensors[f"logits/{row['id']}"] = logits(model, row["prompt_ids"] + chosen, made)[start : start + min(LOGITS, len(chosen))]
    return row, tensors


def write(out, checkpoints, processors, seed):
    """A folder of checkpoints with its prompts and pictures."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "images").mkdir(parents=True)
    for name in {name for prompt in PROMPTS for name in prompt["images"]}:
        picture(*map(int, name.split("x"))).save(out / f"images/{name}.png")
    lines = [{"id": p["id"], "images": [f"{n}.png" for n in p["images"]], "messages": p["messages"]} for p in PROMPTS]
    (out / "prompts.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number, (name, spec) in enumerate(checkpoints.items()):
        torch.manual_seed(seed + number)
        to = out / name
        ckpt = to / "ckpt"
        ckpt.mkdir(parents=True)
        write_files(spec, ckpt)
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(ckpt), dtype=torch.float32)
        randomise(model)
        model.tie_weights()
        save_weights(model, spec, ckpt)
        load = lambda: AutoModelForImageTextToText.from_pretrained(ckpt, dtype=torch.float32).eval()
        model, tokenizer = load(), AutoTokenizer.from_pretrained(ckpt)
        processor = processors[spec["config"]["model_type"]].from_pretrained(ckpt)
        golden, tensors = [], {}
        for prompt in PROMPTS:
            row, more = golden_row(prompt, spec, model, processor, tokenizer)
            golden.append(row)
            tensors |= more
        dpo(make_adapter(model, decoder_targets(model), to / "adapter"), golden, to)
        everywhere = make_adapter(load(), "all-linear", to / "adapter-all")
        with torch.no_grad():
            for row in golden:
                for answer in row["answers"]:
                    answer["adapter_logps"] = logps(everywhere, row, answer["ids"]).tolist()
        for row in golden:
            del row["made"]
        (to / "golden.json").write_text(json.dumps(golden))
        save_file({k: v.contiguous() for k, v in tensors.items()}, to / "golden.safetensors")
        print(name, [row["num_image_rows"] for row in golden], [round(row["greedy"]["min_margin"], 4) for row in golden])


if __name__ == "__main__":
    write(OUT, CHECKPOINTS, PROCESSORS, 500)
