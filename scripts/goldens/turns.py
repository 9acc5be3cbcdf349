# SPDX-License-Identifier: Apache-2.0
"""Chat text, prompt ids and answer ids of transformers for templates of several kinds, to fixtures/golden/text/turns.json; and ids of added tokens.

   python scripts/goldens/turns.py       (from the repository root; transformers 5.18.0, tokenizers 0.23)

The tokenizer is the demo model's with the row's tokens added. An answer's ids are what the template's own dialogue with the answer has beyond the prompt to
generate it, up to and with the row's end token.
"""
import copy
import json
import os
import tempfile

import tokenizers
import transformers
from transformers import AutoTokenizer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(ROOT, "fixtures", "demo", "tiny-llava")
OUT = os.path.join(ROOT, "fixtures", "golden", "text", "turns.json")

KINDS = [
    ("chatml", ["<|im_start|>", "<|im_end|>"], "<|im_end|>",
     "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    ("phi", ["<|end|>", "<|user|>", "<|assistant|>"], "<|end|>",
     "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"),
    ("llama3", ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "<|eot_id|>",
     "{% for m in messages %}{% set c = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' %}"
     "{% if loop.index0 == 0 %}{% set c = bos_token + c %}{% endif %}{{ c }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"),
    ("gemma", ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
     "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
     "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"),
    ("mistral", [], "</s>",
     "{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}"
     "{% set users = loop_messages | selectattr('role', 'equalto', 'user') | list %}{{ bos_token }}{% for m in loop_messages %}"
     "{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"),
    ("no blank", ["<|user|>", "<|assistant|>"], "</s>",
     "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + (eos_token if m.role == 'assistant' else '') }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"),
    ("parts", ["<end_of_utterance>"], "<end_of_utterance>",
     "{% for m in messages %}{{ m.role | capitalize }}:{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %} {{ p.text }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
     "{% if add_generation_prompt %}Assistant:{% endif %}"),
]
DIALOGUES = [
    [{"role": "user", "content": "Is there a dog?"}],
    [{"role": "user", "content": "Is there a dog?"}, {"role": "assistant", "content": "No, a cat."}, {"role": "user", "content": "What color?"}],
]
ANSWERS = ["There is a blue dog.", "Red", "caf\u00e9\nand tea"]
ADDED = [
    {"content": "<obj>", "single_word": True}, {"content": "<w>", "single_word": True, "normalized": True}, {"content": "<l>", "lstrip": True},
    {"content": "<r>", "rstrip": True}, {"content": "dog", "normalized": True}, {"content": "<n>", "normalized": True, "lstrip": True, "rstrip": True},
]
TEXTS = ["a <obj> b", "a<obj>b", "a<obj> b", "<obj>", "_<obj>", ".<obj>.", "<obj><obj>", "\u00e9<obj>", "x <w> y", "x<w>y", "a  <l>  b", "a  <r>  b", "hotdogs and dog", "a <n> b", "<l> <r>", "\u4f60<obj>"]


CONFIGS = [
    {"added_tokens_decoder": {"789": {"content": "<new>", "special": True, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}}},
    {"additional_special_tokens": ["<new2>", "<new>"]},
    {"pad_token": "[PAD9]"},
    {"sep_token": "dog", "additional_special_tokens": ["<new>"]},
]
CONFIG_TEXTS = ["a <new> <new2> [PAD9] b", "hotdogs and a dog"]


def with_tokens(tokens, template, folder, patch=None):
    definition = json.load(open(os.path.join(DEMO, "tokenizer.json")))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    size = 1 + max(token["id"] for token in definition["added_tokens"])
    for at, token in enumerate(tokens):
        definition["added_tokens"].append({"id": size + at, **plain, **token})
    json.dump(definition, open(os.path.join(folder, "tokenizer.json"), "w"))
    config = json.load(open(os.path.join(DEMO, "tokenizer_config.json")))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    kept = {k: v for k, v in config.items() if k not in ("added_tokens_decoder", "processor_class")}
    json.dump({**kept, **(patch or {})}, open(os.path.join(folder, "tokenizer_config.json"), "w"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    return tokenizer


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=not text.startswith(tokenizer.bos_token)).input_ids


def row(kind, tokens, end, template, dialogue, answer):
    messages = copy.deepcopy(dialogue) + [{"role": "assistant", "content": answer}]
    if kind == "parts":
        for message in messages:
            message["content"] = [{"type": "text", "text": message["content"]}]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = with_tokens([{"content": token, "special": True} for token in tokens], template, folder)
        text = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
        assert whole.startswith(text), kind
        ids, all_ids = encode(tokenizer, text), encode(tokenizer, whole[: whole.index(end, len(text)) + len(end)])
        assert all_ids[: len(ids)] == ids, kind
        return {"prompt": dialogue, "text": text, "ids": ids, "response": answer, "response_ids": all_ids[len(ids):]}


def main():
    kinds = [
        {"kind": kind, "tokens": tokens, "template": template, "end": end, "rows": [row(kind, tokens, end, template, d, a) for d in DIALOGUES for a in ANSWERS]}
        for kind, tokens, end, template in KINDS
    ]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = with_tokens(ADDED, None, folder)
        added = [{"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids} for text in TEXTS]
    configured = []
    for patch in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = with_tokens([], None, folder, patch)
            configured.append({"config": patch, "rows": [{"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids} for text in CONFIG_TEXTS]})
    out = {"versions": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}, "kinds": kinds, "added_tokens": ADDED, "added": added, "configured": configured}
    with open(OUT, "w") as file:
        file.write(json.dumps(out) + "\n")


main()
