# SPDX-License-Identifier: Apache-2.0
"""Four tiny random checkpoints of different shapes, and what transformers and peft compute on them in float32.

    python scripts/goldens/models.py      (from the repository root)

Writes fixtures/tiny-{mha,gqa,llama3,text}/ and fixtures/golden/models/: NAME.safetensors (images, vision features, projector rows, ids, logits of the
last prompt row, token log-probabilities in f32 and bf16, greedy and beam ids) and adapters/ (PEFT adapters in both key spellings).
"""
import importlib.metadata
import json
import math
import pathlib
import re
import shutil

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from transformers import AutoTokenizer, CLIPVisionConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "fixtures/demo/tiny-llava"
OUT = ROOT / "fixtures/golden/models"
VERSIONS = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft", "safetensors")}
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"]
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
VOCAB, IMAGE, PAD = 832, 787, 788
EOS = [2, 260, 261, 311, 340, 369]  # more ends than the model's own, so that beams finish on random weights

QUESTIONS = ["What is in the image?", "Describe the image in detail.", "Is there a cat?", "Count the dogs, please.", "caf\u00e9 \u4f60\u597d?", "What color is it? Answer with a single word."]
ANSWERS = ["Yes, there is a cat in the image.", "No.", "The image shows two dogs and a red ball on the left.", "", "A boat \u2603.", "blue"]


def randomise(model, seed):
    """Weights with a healthy logit spread: every wrong constant shows."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if name.endswith("class_embedding") or "position_embedding" in name:
                p.copy_(0.5 * r)
            elif "embed_tokens" in name:
                p.copy_(r if not model.config.get_text_config().tie_word_embeddings else 0.4 * r)
            elif p.dim() >= 2:
                fan_in = p[0].numel()
                p.copy_(r * (1.3 if "lm_head" not in name else 2.5) / math.sqrt(fan_in))
            elif name.endswith("bias"):
                p.copy_(0.2 * r)
            else:
                p.copy_(1 + 0.2 * r)


def vision(hidden, layers, heads, image, patch, act):
    return CLIPVisionConfig(hidden_size=hidden, intermediate_size=2 * hidden + 8, num_hidden_layers=layers, num_attention_heads=heads, image_size=image, patch_size=patch,
                            hidden_act=act, projection_dim=32)


def text(**kw):
    base = dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=104, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
                rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=PAD, tie_word_embeddings=False)
    return LlamaConfig(**{**base, **kw})


def llava(vision_config, text_config, rows, **kw):
    config = LlavaConfig(vision_config=vision_config, text_config=text_config, image_token_index=IMAGE, image_seq_length=rows, pad_token_id=PAD,
                         tie_word_embeddings=text_config.tie_word_embeddings, **kw)
    return LlavaForConditionalGeneration(config)


def save(model, name, dtype, image=None, patch=None, shard="10GB"):
    out = ROOT / "fixtures" / name
    shutil.rmtree(out, ignore_errors=True)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=PAD)
    model.to(dtype).save_pretrained(out, max_shard_size=shard)
    for f in TOKENIZER_FILES:
        shutil.copy(DEMO / f, out / f)
    if image:
        (out / "preprocessor_config.json").write_text(json.dumps({
            "crop_size": {"height": image, "width": image}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711],
            "processor_class": "LlavaProcessor", "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": image}}, indent=2) + "\n")
        (out / "processor_config.json").write_text(json.dumps({
            "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": patch, "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default"}, indent=2) + "\n")
    cls = LlavaForConditionalGeneration if image else LlamaForCausalLM
    return cls.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval(), out


def rename(out, rules):
    """Rewrites a checkpoint under another spelling of its tensor names."""
    path = out / "model.safetensors"
    tensors = load_torch(path)
    for pattern, to in rules:
        tensors = {re.sub(pattern, to, k): v for k, v in tensors.items()}
    save_torch(tensors, path, metadata={"format": "pt"})


def pictures(n, size):
    """Flat, gradients, noise, stripes: 8-bit images at model size."""
    g = np.random.default_rng(7)
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    out = [np.stack([x, y, 1 - x], -1), np.zeros((size, size, 3)), g.random((size, size, 3)), np.stack([np.sin(20 * x) > 0, np.cos(14 * y) > 0, x * y], -1), np.ones((size, size, 3))]
    return np.stack([np.round(255 * out[i % len(out)]).astype(np.uint8) for i in range(n)])


def pixels(images):
    x = torch.from_numpy(images.astype(np.float64) * (1 / 255)).float().permute(0, 3, 1, 2)
    return (x - MEAN) / STD


def prompts(has_vision):
    """(prompt text, images) x responses: one image, none, two, several turns."""
    rows = []
    for i in range(20):
        q, kind = QUESTIONS[i % len(QUESTIONS)], i % 4 if has_vision else 1
        if kind == 0:
            rows.append((f"USER: <image>\n{q} ASSISTANT:", [i % 5]))
        elif kind == 1:
            rows.append((f"USER: {q} ASSISTANT:", []))
        elif kind == 2:
            rows.append((f"USER: <image>\n<image>\n{q} ASSISTANT:", [i % 5, (i + 3) % 5]))
        else:
            rows.append((f"USER: <image>\nWhat is this? ASSISTANT: {ANSWERS[i % 3]} USER: {q} ASSISTANT:", [i % 5]))
    return rows


def encode(tok, rows, prompt, answer):
    p = tok(prompt.replace("<image>", "<image>" * rows)).input_ids
    whole = tok(prompt.replace("<image>", "<image>" * rows) + " " + answer + "</s>").input_ids
    assert whole[: len(p)] == p
    return p, whole[len(p):]


def inputs(ids, px, picked):
    out = {"input_ids": torch.tensor([ids])}
    if picked:
        out["pixel_values"] = px[picked]
    return out


@torch.no_grad()
def token_logps(model, px, p, r, picked):
    logits = model(**inputs(p + r, px, picked)).logits[0].float()
    logps = torch.log_softmax(logits, -1)
    return logits[len(p) - 1].numpy(), logps[torch.arange(len(p) - 1, len(p) + len(r) - 1), torch.tensor(r)].numpy()


def padded(rows, fill=-1, dtype=np.int32):
    out = np.full((len(rows), max(map(len, rows))), fill, dtype)
    for i, r in enumerate(rows):
        out[i, : len(r)] = r
    return out


@torch.no_grad()
def golden(name, model, image_size, num_rows):
    tok = AutoTokenizer.from_pretrained(ROOT / "fixtures" / name)
    has_vision = image_size is not None
    out, px = {}, None
    if has_vision:
        images = pictures(5, image_size)
        px = pixels(images)
        out["images"] = images
        hidden = model.model.vision_tower(px, output_hidden_states=True).hidden_states[model.config.vision_feature_layer]
        features = hidden[:, 1:] if model.config.vision_feature_select_strategy == "default" else hidden
        out["vision_features"] = features.contiguous().numpy()
        out["image_rows"] = model.model.multi_modal_projector(features).numpy()
    rows = prompts(has_vision)
    low = type(model).from_pretrained(ROOT / "fixtures" / name, dtype=torch.bfloat16, attn_implementation="eager").eval()
    logits, logps, logps_bf16, ids, answers, picks, greedy, margins, beams, beam_logps, beam_rows = [], [], [], [], [], [], [], [], [], [], []
    for i, (prompt, picked) in enumerate(rows):
        p, r = encode(tok, num_rows, prompt, ANSWERS[i % len(ANSWERS)])
        last, lp = token_logps(model, px, p, r, picked)
        logits.append(last), logps.append(lp), ids.append(p), answers.append(r), picks.append(picked)
        logps_bf16.append(token_logps(low, None if px is None else px.bfloat16(), p, r, picked)[1])
        g = model.generate(**inputs(p, px, picked), do_sample=False, max_new_tokens=16, output_logits=True, return_dict_in_generate=True)
        top = torch.stack([x[0].float().topk(2).values for x in g.logits])
        greedy.append(g.sequences[0, len(p):].tolist())
        margins.append((top[:, 0] - top[:, 1]).tolist())
        if i < 12 and len(picked) < 2:  # with two images, transformers gives the beams each other's images
            b = model.generate(**inputs(p, px, picked), do_sample=False, num_beams=5, max_new_tokens=12, eos_token_id=EOS)[0, len(p):].tolist()
            while b and b[-1] == PAD:
                b.pop()
            beams.append(b), beam_rows.append(i)
            beam_logps.append(token_logps(model, px, p, b, picked)[1])
    out |= {"prompt_ids": padded(ids), "prompt_images": padded([p or [-1] for p in picks]), "response_ids": padded(answers), "logits": np.stack(logits),
            "logps": padded(logps, 0, np.float32), "logps_bf16": padded(logps_bf16, 0, np.float32), "greedy_ids": padded(greedy), "greedy_margins": padded(margins, 0, np.float32),
            "beam_rows": np.array(beam_rows, np.int32), "beam_ids": padded(beams), "beam_logps": padded(beam_logps, 0, np.float32), "beam_eos": np.array(EOS, np.int32)}
    save_file(out, OUT / f"{name}.safetensors", metadata={"made_by": "scripts/goldens/models.py", **VERSIONS})
    spread = float(np.stack(logits).std())
    print(name, sum(p.numel() for p in model.parameters()), "parameters; logit spread", round(spread, 2), "bf16 band", float(np.abs(out["logps"] - out["logps_bf16"]).max()))
    return rows, out


def fill_adapter(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_" in n:
                p.copy_(0.15 * torch.randn(p.shape, generator=g))


def adapters(name, image_size, num_rows):
    """Adapter a: language model, today's keys. Adapter b: rsLoRA with patterns, also in the vision tower, keys of transformers before 4.52."""
    base = lambda: LlavaForConditionalGeneration.from_pretrained(ROOT / "fixtures" / name, dtype=torch.float32, attn_implementation="eager").eval()
    seven = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    a = get_peft_model(base(), LoraConfig(r=4, lora_alpha=8, target_modules=seven, task_type="CAUSAL_LM"))
    fill_adapter(a, 11)
    a.save_pretrained(OUT / "adapters/a")
    b = get_peft_model(base(), LoraConfig(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "linear_2"], rank_pattern={"v_proj": 6},
                                          alpha_pattern={r"language_model.layers.\d+.self_attn.v_proj": 2}, task_type="CAUSAL_LM"))
    fill_adapter(b, 12)
    b.save_pretrained(OUT / "adapters/b")
    for d in ("a", "b"):
        (OUT / "adapters" / d / "README.md").unlink(missing_ok=True)
        config = OUT / "adapters" / d / "adapter_config.json"
        j = json.loads(config.read_text())
        j["base_model_name_or_path"] = name
        config.write_text(json.dumps(j, indent=2) + "\n")
    path = OUT / "adapters/b/adapter_model.safetensors"
    old = [(r"^base_model\.model\.model\.language_model\.", "base_model.model.language_model.model."), (r"^base_model\.model\.model\.", "base_model.model.")]
    tensors = load_torch(path)
    for pattern, to in old:
        tensors = {re.sub(pattern, to, k): v for k, v in tensors.items()}
    config = OUT / "adapters/b/adapter_config.json"
    j = json.loads(config.read_text())
    j["alpha_pattern"] = {r"language_model.model.layers.\d+.self_attn.v_proj": 2}
    config.write_text(json.dumps(j, indent=2) + "\n")

    both = PeftModel.from_pretrained(base(), OUT / "adapters/a", adapter_name="a").eval()
    # The new spelling is still on disk here, with the pattern that goes with it.
    j["alpha_pattern"] = {r"language_model.layers.\d+.self_attn.v_proj": 2}
    config.write_text(json.dumps(j, indent=2) + "\n")
    both.load_adapter(OUT / "adapters/b", adapter_name="b")
    tok = AutoTokenizer.from_pretrained(ROOT / "fixtures" / name)
    px = pixels(pictures(5, image_size))
    out = {}
    for which, names in (("a", ["a"]), ("b", ["b"]), ("ab", ["a", "b"])):
        both.base_model.set_adapter(names)
        rows = []
        for i, (prompt, picked) in enumerate(prompts(True)[:8]):
            p, r = encode(tok, num_rows, prompt, ANSWERS[i % len(ANSWERS)])
            rows.append(token_logps(both, px, p, r, picked)[1])
        out[f"logps_{which}"] = padded(rows, 0, np.float32)
    save_file(out, OUT / "adapters.safetensors", metadata={"made_by": "scripts/goldens/models.py", **VERSIONS})
    j["alpha_pattern"] = {r"language_model.model.layers.\d+.self_attn.v_proj": 2}
    config.write_text(json.dumps(j, indent=2) + "\n")
    save_torch(tensors, path, metadata={"format": "pt"})
    print("adapters differ from base by", [float(np.abs(out[k] - out["logps_a"]).max()) for k in ("logps_b", "logps_ab")])


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "adapters").mkdir(parents=True)

    # Multi-head attention, exact CLIP activation, names as saved.
    m = llava(vision(40, 3, 5, 56, 14, "quick_gelu"), text(), 16)
    randomise(m, 1)
    m, _ = save(m, "tiny-mha", torch.float32, 56, 14)
    golden("tiny-mha", m, 56, 16)
    adapters("tiny-mha", 56, 16)

    # Grouped heads, tied embeddings, a head size of its own, another feature layer, shards.
    m = llava(vision(32, 4, 4, 48, 16, "gelu"), text(num_key_value_heads=2, head_dim=16, tie_word_embeddings=True, num_hidden_layers=2, rope_theta=5e4), 9, vision_feature_layer=-3)
    randomise(m, 2)
    m, _ = save(m, "tiny-gqa", torch.bfloat16, 48, 16, shard="60KB")
    golden("tiny-gqa", m, 48, 9)

    # llama3 rope scaling, an image that is no multiple of its patch, f16, the names of transformers' module tree.
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    m = llava(vision(32, 3, 2, 50, 12, "quick_gelu"), text(rope_parameters=rope, num_key_value_heads=1, hidden_size=64, head_dim=32, num_attention_heads=2), 17, vision_feature_select_strategy="full")
    randomise(m, 3)
    m, out = save(m, "tiny-llama3", torch.float16, 50, 12)
    golden("tiny-llama3", m, 50, 17)
    rename(out, [(r"^language_model\.model\.", "model.language_model."), (r"^language_model\.lm_head", "lm_head"), (r"^multi_modal_projector", "model.multi_modal_projector"),
                 (r"^vision_tower\.(?!vision_model)", "model.vision_tower.vision_model.")])

    # Text only, with attention biases.
    m = LlamaForCausalLM(text(attention_bias=True, num_key_value_heads=2, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}))
    randomise(m, 4)
    m, _ = save(m, "tiny-text", torch.float32)
    golden("tiny-text", m, None, 0)


if __name__ == "__main__":
    main()
