# SPDX-License-Identifier: Apache-2.0
"""What transformers makes of pictures of hard shapes in each vision-language family: sizes and bytes of the crops, ids, log-probabilities.

    python scripts/goldens/families.py      (from the repository root; transformers 5.18.0, torch 2.13, Pillow 12)

Reads the tiny checkpoints of fixtures/families and writes fixtures/golden/families/NAME.json. Pictures are made by `picture`, which the tests have too.
A case is a picture under changed settings of the image processor; `refused` says that transformers fails on it as well.
Pixels are those of the PIL processors, before rescaling; log-probabilities are float32.
"""
import hashlib
import importlib.metadata
import itertools
import json
import pathlib
import tempfile

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures/families"
OUT = ROOT / "fixtures/golden/families"
VERSIONS = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "pillow")}

# width, height
SIZES = [(1, 1), (3, 2), (5, 8), (28, 28), (32, 32), (42, 42), (43, 42), (64, 64), (65, 63), (70, 98), (98, 70), (80, 112), (127, 129), (129, 127), (350, 290),
         (301, 300), (641, 479), (200, 1), (1, 200), (400, 2), (201, 1), (1, 201), (37, 1), (1, 37), (170, 1), (260, 31), (27, 170), (1000, 9), (9, 1000), (1500, 3)]
SCORED = [(3, 2), (43, 42), (98, 70), (129, 127), (260, 31), (9, 170)]
ANSWER = "A dog on the left."
SETTINGS = {
    "llava_next": [{}, {"image_grid_pinpoints": [[84, 84], [84, 42], [42, 84]]}, {"resample": 2}],
    "smolvlm": [{}, {"do_image_splitting": False}, {"size": {"longest_edge": 200}}, {"size": {"longest_edge": 40}}, {"resample": 3}],
    "qwen2_vl": [{}, {"min_pixels": 784, "max_pixels": 2352}, {"min_pixels": None, "max_pixels": None}],
    "qwen2_5_vl": [{}, {"min_pixels": None, "max_pixels": None, "size": {"shortest_edge": 9000, "longest_edge": 9408}}],
    "qwen3_vl": [{}, {"size": {"shortest_edge": 65536, "longest_edge": 16777216}}, {"resample": 2}],
}
PROCESSORS = {"llava_next": LlavaNextImageProcessorPil, "smolvlm": SmolVLMImageProcessorPil}


def picture(width, height):
    """Whole-number arithmetic alone: every value the same in any language."""
    x, y, c = np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="ij")
    values = ((x * 7 + y * 13 + c * 50) ^ ((x * y) >> 3)) & 255
    return Image.fromarray(values.transpose(1, 0, 2).astype(np.uint8))


def processor_of(name, changes, folder):
    own = json.loads((FIXTURES / name / "ckpt/preprocessor_config.json").read_text())
    settings = {k: v for k, v in {**own, **changes}.items() if v is not None}
    path = pathlib.Path(folder) / "preprocessor_config.json"
    path.write_text(json.dumps(settings))
    return PROCESSORS.get(name, Qwen2VLImageProcessorPil).from_pretrained(folder)


def crops_of(name, processor, image):
    """[height, width, 3] of each crop, 8 bit."""
    made = processor(images=[image], do_rescale=False, do_normalize=False, return_tensors="np")
    pixels = made["pixel_values"]
    if not name.startswith("qwen"):
        assert (pixels == np.round(pixels)).all()
        return [crop.transpose(1, 2, 0).astype(np.uint8) for crop in pixels[0]]
    _, gh, gw = made["image_grid_thw"][0]
    p, m = processor.patch_size, processor.merge_size
    blocks = pixels.reshape(gh // m, gw // m, m, m, 3, 2, p, p)[:, :, :, :, :, 0]
    return [blocks.transpose(0, 2, 5, 1, 3, 6, 4).reshape(gh * p, gw * p, 3).astype(np.uint8)]


def crop_case(name, processor, size):
    width, height = size
    case = {"width": width, "height": height}
    try:
        crops = crops_of(name, processor, picture(*size))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        return {**case, "refused": str(error)[:120]}
    digest = hashlib.sha256(b"".join(crop.tobytes() for crop in crops)).hexdigest()
    return {**case, "crops": [[c.shape[0], c.shape[1]] for c in crops], "sha256": digest}


def expanded(name, text, inputs):
    """The text with what the family's processor class writes in the place of an image token."""
    if name == "smolvlm":
        tokens = ("<fake_token_around_image>", "<image>", "<global-img>")
        return text.replace("<image>", get_image_prompt_string(inputs["rows"][0][0], inputs["cols"][0][0], 4, *tokens))
    if name == "llava_next":
        counter = LlavaNextProcessor.__new__(LlavaNextProcessor)
        counter.image_processor = LlavaNextImageProcessorPil.from_pretrained(FIXTURES / name / "ckpt")
        counter.patch_size, counter.num_additional_image_tokens = 14, 1
        height, width = inputs["image_sizes"][0].tolist()
        return text.replace("<image>", "<image>" * (counter._get_number_of_features(height, width, 42, 42) - 1))
    _, gh, gw = inputs["image_grid_thw"][0].tolist()
    return text.replace("<|image_pad|>", "<|image_pad|>" * (gh * gw // 4))


def scored_cases(name):
    """Ids of a prompt with one picture, and the summed log-probability of an answer behind it."""
    folder = FIXTURES / name / "ckpt"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = PROCESSORS.get(name, Qwen2VLImageProcessorPil).from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    content = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    text = tokenizer.apply_chat_template([{"role": "user", "content": content}], chat_template=template, tokenize=False, add_generation_prompt=True)
    rest = ("" if text[-1].isspace() else " ") + ANSWER + tokenizer.eos_token
    for size in SCORED:
        image = picture(*size)
        extra = {"return_row_col_info": True} if name == "smolvlm" else {}
        inputs = dict(images(images=[image], return_tensors="pt", **extra))
        prompt = encode(tokenizer, expanded(name, text, inputs))
        ids = encode(tokenizer, expanded(name, text, inputs) + rest)
        assert ids[: len(prompt)].equal(prompt)
        if name.startswith("qwen"):
            inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()[None]
        inputs = {k: v for k, v in inputs.items() if k not in ("rows", "cols")}
        with torch.no_grad():
            logits = model(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None], **inputs).logits[0]
        start = len(prompt)
        logps = torch.log_softmax(logits, -1)[start - 1 : -1].gather(1, ids[start:, None])
        runs = [[int(k), len(list(g))] for k, g in itertools.groupby(prompt.tolist())]
        yield {"width": size[0], "height": size[1], "prompt_ids": runs, "logps": logps.double().sum().item(), "num_tokens": len(ids) - start}


def encode(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    # A template that writes BOS itself must not get a second one.
    return torch.tensor(ids[1:] if len(ids) > 1 and ids[0] == ids[1] == tokenizer.bos_token_id else ids)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, variants in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            plans = []
            for changes in variants:
                processor = processor_of(name, changes, folder)
                plans.append({"settings": changes, "cases": [crop_case(name, processor, size) for size in SIZES]})
        golden = {"versions": VERSIONS, "plans": plans, "answer": ANSWER, "scored": list(scored_cases(name))}
        text = json.dumps(golden, separators=(",", ":")).replace('{"width"', '\n{"width"').replace('{"settings"', '\n{"settings"')
        (OUT / f"{name}.json").write_text(text + "\n")
        print(name, [sum("refused" in case for case in plan["cases"]) for plan in plans], golden["scored"][0]["logps"])


if __name__ == "__main__":
    main()
