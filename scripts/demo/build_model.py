# SPDX-License-Identifier: Apache-2.0
"""Makes an untrained model folder in LLaVA-1.5 HF format: tokenizer (Llama-style BPE with byte fallback), processor, config.
   python build_model.py OUT_DIR"""
import json
import os
import random
import sys

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (CLIPVisionConfig, GenerationConfig, LlamaConfig, LlavaConfig,
                          LlavaForConditionalGeneration)

import qa
from scenes import scene

VOCAB = 832  # BPE vocabulary; <image> and <pad> follow, embeddings padded to EMB rows
EMB = 832
CHAT = ("{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
        "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
        "{# Render all text next #}{% if message['role'] != 'assistant' %}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}"
        "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' ' }}{% endgeneration %}{% endfor %}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")


def corpus(n=4000):
    rng = random.Random(5)
    for s in range(n):
        _, ann, _ = scene(3_000_000 + s, jpeg_quality=None)
        for q, a in qa.training_qa(rng, ann):
            yield f"USER: {q} ASSISTANT: {a}"
    for c in qa.CLASSES:
        for _ in range(30):
            yield from (qa.q_presence(c), qa.a_presence(c, True), qa.a_presence(c, False), f"How many {qa.plural(c)} are there?")


def tokenizer_json():
    special = ["<unk>", "<s>", "</s>"]
    byte = [f"<0x{b:02X}>" for b in range(256)]
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="never", split=True),
                                                 pre_tokenizers.Punctuation("isolated")])
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special + byte, show_progress=False))
    j = json.loads(tok.to_str())
    j["pre_tokenizer"] = None  # as in Llama: merges never cross a space because none was learnt across one
    j["added_tokens"] = [t for t in j["added_tokens"] if t["content"] in special]
    tok = Tokenizer.from_str(json.dumps(j))
    tok.add_special_tokens([AddedToken("<image>", special=True, normalized=False), AddedToken("<pad>", special=True, normalized=False)])
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    from tokenizers.processors import TemplateProcessing
    tok.post_processor = TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tok


def main(out):
    os.makedirs(out, exist_ok=True)
    tok = tokenizer_json()
    tok.save(f"{out}/tokenizer.json")
    n = tok.get_vocab_size()
    image, pad = tok.token_to_id("<image>"), tok.token_to_id("<pad>")
    print("vocab", n, "image", image, "pad", pad)
    dump = lambda name, d: open(f"{out}/{name}", "w").write(json.dumps(d, indent=2) + "\n")
    entry = lambda s: {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    dump("tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
        "added_tokens_decoder": {str(i): entry(t) for i, t in [(0, "<unk>"), (1, "<s>"), (2, "</s>"), (image, "<image>"), (pad, "<pad>")]},
        "clean_up_tokenization_spaces": False, "extra_special_tokens": {"image_token": "<image>"}, "image_token": "<image>",
        "legacy": True, "model_max_length": 512, "padding_side": "left", "processor_class": "LlavaProcessor",
        "tokenizer_class": "PreTrainedTokenizerFast"})
    dump("special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "image_token": "<image>"})
    dump("added_tokens.json", {"<image>": image, "<pad>": pad})
    open(f"{out}/chat_template.jinja", "w").write(CHAT)
    dump("chat_template.json", {"chat_template": CHAT})
    dump("processor_config.json", {"image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": 16,
                                   "processor_class": "LlavaProcessor", "vision_feature_select_strategy": "default"})
    dump("preprocessor_config.json", {
        "crop_size": {"height": 128, "width": 128}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "LlavaProcessor", "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 128}})
    cfg = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=160, intermediate_size=480, num_hidden_layers=5, num_attention_heads=5, image_size=128,
                                       patch_size=16, projection_dim=128, hidden_act="quick_gelu"),
        text_config=LlamaConfig(vocab_size=EMB, hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6,
                                num_key_value_heads=6, max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                                pad_token_id=pad, tie_word_embeddings=False),
        image_token_index=image, projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default",
        image_seq_length=64, pad_token_id=pad, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(cfg)
    with torch.no_grad():  # CLIP's default init (factor 1 on width 160) is fine; the language model likes a slightly larger one
        for n_, p in model.named_parameters():
            if "language_model" in n_ and p.dim() == 2 or "lm_head" in n_:
                p.normal_(0, 0.03)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=pad, max_new_tokens=64)
    model.save_pretrained(out)
    print("parameters", sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main(sys.argv[1])
