# SPDX-License-Identifier: Apache-2.0
"""Token ids, decoded text, chat text and canonical ids of transformers on hard strings.

   python scripts/goldens/text.py        (from the repository root; writes fixtures/golden/text/)

Three kinds of tokenizer.json: the demo model's (Llama 2 legacy normalizer), the same vocabulary with the newer Metaspace pre-tokenizer
(with and without splitting), and a small byte-level BPE trained here.
"""
import json
import os
import random
import shutil

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEMO = os.path.join(ROOT, "fixtures", "demo", "tiny-llava")
OUT = os.path.join(ROOT, "fixtures", "golden", "text")
VERSIONS = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}

HARD = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n ", "a", " a", "a ", "  a  b  ", "There is a cat.", "there  is\ta\ncat", "What color is the background?",
    "USER: <image>\nWhat is this? ASSISTANT:", "<image>", "<image><image>", "<image>\n<image>\n", "a<image>b", " <image> ", "</s>", "a</s>b", "a </s> b",
    "<s>", "<s> a", "<pad>", "<unk>", "<unk>a", "< image >", "<IMAGE>", "<image", "image>", "<0x0A>", "<0x41>", "\u2581", "\u2581a", "a\u2581b", " \u2581 ",
    "caf\u00e9", "cafe\u0301", "\u00c5ngstr\u00f6m", "\ufb01ne", "\u4f60\u597d\uff0c\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\ud55c\uad6d\uc5b4", "\u041f\u0440\u0438\u0432\u0435\u0442",
    "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "a\U0001f600b",
    "\u200b", "\u200d", "\ufeff", "\ufeffa", "\u00a0", "a\u00a0b", "\u3000", "\u2028", "\u0000", "a\u0000b", "\u0007", "\u007f", "\u0085", "\ufffd", "\uffff", "\U0010ffff",
    "1234567890", "3.14159", "1,000,000", "2+2=4", "x" * 300, " " * 40, "\n" * 20, "ab" * 200, "don't can't I'm you've", "e.g., i.e.", "http://a.b/c?d=e&f=g#h",
    "{\"a\": [1, 2, {\"b\": null}]}", "def f(x):\n    return x  # ok\n", "C:\\path\\to", "\\n", "'\"`", "a\r\nb", "A" * 17, "aAaAaA", "\u1e9e\u00df", "\U0001d54f", "I\u0307",
    "The word \u2581SALE\u2581 is written.", "a  <image>  b\n\n", "ASSISTANT: Yes</s>USER: no", "[INST] <<SYS>>\nx\n<</SYS>>\n\nq [/INST]",
]

PROMPTS = [
    ("one", [{"role": "user", "content": "What is in the image?"}], 1),
    ("written mark", [{"role": "user", "content": "<image>\nIs there a cat in the image?"}], 1),
    ("mark last", [{"role": "user", "content": "Describe it.\n<image>"}], 1),
    ("no image", [{"role": "user", "content": "Say hello."}], 0),
    ("two images", [{"role": "user", "content": "What differs?"}], 2),
    ("system", [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is this?"}], 1),
    ("turns", [{"role": "user", "content": "<image>\nWhat is this?"}, {"role": "assistant", "content": "A cat."}, {"role": "user", "content": "Is it small?"}], 1),
    ("image in second turn", [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "<image>\nWhat is this?"}], 1),
    ("odd text", [{"role": "user", "content": "caf\u00e9 \U0001f600  double  blanks\nand a line"}], 1),
    ("empty", [{"role": "user", "content": ""}], 1),
    ("ends in blank", [{"role": "user", "content": "Really? "}], 1),
]
RESPONSES = ["Yes.", "", " leading blank", "trailing blank ", "two\nlines", "\nnewline first", "caf\u00e9 \U0001f600", "There is a cat in the image.", "1. a\n2. b", "a</s>b"]


def fuzz(seed, count):
    rng = random.Random(seed)
    pool = ["abcdefghijklmnopqrstuvwxyz ", "ABC .,!?-\n\t", "\u00e9\u00df\u00f1\u4e2d\u6587\u0431\u05d0", "\U0001f600\U0001f431\u200d\ufe0f", "<>/s imageunk\u2581"]
    words = ["<image>", "</s>", "There is", " a cat", "  ", "\n", "<s>", "background"]
    out = []
    for _ in range(count):
        text = ""
        for _ in range(rng.randrange(1, 12)):
            text += rng.choice(words) if rng.random() < 0.3 else "".join(rng.choice(rng.choice(pool)) for _ in range(rng.randrange(1, 9)))
        out.append(text)
    return out


def parts(message, leading):
    """The record's string content as the part list that transformers takes; line breaks next to a mark belong to the mark."""
    pieces = message["content"].split("<image>")
    out = [{"type": "image"} for _ in range(leading)]
    for i, piece in enumerate(pieces):
        if i > 0:
            out.append({"type": "image"})
            piece = piece.lstrip("\n")
        if i < len(pieces) - 1:
            piece = piece.rstrip("\n")
        if piece:
            out.append({"type": "text", "text": piece})
    return out


def conversation(messages, images):
    written = sum(m["content"].count("<image>") for m in messages)
    leading, out = (images if written == 0 else 0), []
    for m in messages:
        here = leading if m["role"] == "user" else 0
        if here:
            leading = 0
        out.append({"role": m["role"], "content": parts(m, here)})
    return out


def golden(name, folder, chat):
    tok = AutoTokenizer.from_pretrained(folder)
    rng = random.Random(7)
    size = max(tok.get_vocab().values()) + 1
    texts = HARD + fuzz(11, 200)
    out = {"made_by": "scripts/goldens/text.py", "versions": VERSIONS, "tokenizer": os.path.relpath(folder, ROOT)}
    out["encode"] = [{"text": t, "ids": tok(t, add_special_tokens=False).input_ids} for t in texts]
    lists = [tok(t, add_special_tokens=False).input_ids for t in texts] + [[rng.randrange(size) for _ in range(rng.randrange(1, 12))] for _ in range(200)]
    out["decode"] = [{"ids": ids, "text": tok.decode(ids, skip_special_tokens=True)} for ids in lists if ids]
    out["with_bos"] = tok("USER: hi").input_ids
    if chat:
        template = open(os.path.join(folder, "chat_template.jinja")).read()
        out["canonical"] = []
        for label, messages, images in PROMPTS:
            text = tok.apply_chat_template(conversation(messages, images), chat_template=template, add_generation_prompt=True, tokenize=False)
            prompt = tok(text).input_ids
            rows = []
            for r in RESPONSES:
                whole = tok(text + " " + r + "</s>").input_ids
                assert whole[:len(prompt)] == prompt, (label, r)
                rows.append({"response": r, "ids": whole[len(prompt):]})
            out["canonical"].append({"name": label, "prompt": messages, "images": images, "text": text, "ids": prompt, "responses": rows})
    with open(os.path.join(OUT, f"{name}.json"), "w") as f:
        f.write(json.dumps(out, separators=(",", ":")).replace('{"text"', '\n{"text"').replace('{"ids"', '\n{"ids"').replace('{"name"', '\n{"name"') + "\n")


def variant(name, pre_tokenizer, decoder):
    folder = os.path.join(OUT, "tokenizers", name)
    os.makedirs(folder, exist_ok=True)
    definition = json.load(open(os.path.join(DEMO, "tokenizer.json")))
    definition["normalizer"], definition["pre_tokenizer"], definition["decoder"] = None, pre_tokenizer, decoder
    json.dump(definition, open(os.path.join(folder, "tokenizer.json"), "w"), ensure_ascii=True, separators=(",", ":"))
    for f in ("tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        shutil.copy(os.path.join(DEMO, f), folder)
    return folder


def byte_level():
    folder = os.path.join(OUT, "tokenizers", "byte-level")
    os.makedirs(folder, exist_ok=True)
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    text = [json.loads(l)["reference"] for l in open(os.path.join(ROOT, "fixtures", "demo", "data", "test", "captions.jsonl"))]
    tok.train_from_iterator(text, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                      special_tokens=["<|begin|>", "<|end|>", "<image>"], show_progress=False))
    tok.save(os.path.join(folder, "tokenizer.json"))
    json.dump({"bos_token": "<|begin|>", "eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False},
              open(os.path.join(folder, "tokenizer_config.json"), "w"), indent=1)
    return folder


if __name__ == "__main__":
    meta = lambda split, scheme: {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}
    tail = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    golden("legacy", DEMO, True)
    golden("metaspace-first", variant("metaspace-first", meta(False, "first"), tail), True)
    golden("metaspace-split", variant("metaspace-split", meta(True, "always"), tail), True)
    golden("byte-level", byte_level(), False)
