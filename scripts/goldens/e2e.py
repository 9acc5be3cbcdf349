# SPDX-License-Identifier: Apache-2.0
"""Greedy answers and log-probabilities of transformers in float32, from image files and chat messages.

   python scripts/goldens/e2e.py [NAME...]   (from the repository root; writes fixtures/golden/e2e/<checkpoint>.json)

Every checkpoint of fixtures/tiny-* and the demo model; 22 prompts: every kind of image file, text only, several turns, two images; image modes
pad (square of the mean colour, as the original LLaVA) and crop (Hugging Face's CLIP processor on PIL images).
"""
import glob
import hashlib
import json
import os
import sys

import torch
import transformers
from PIL import Image, ImageOps
from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
OUT = os.path.join(ROOT, "fixtures", "golden", "e2e")
NEW_TOKENS = 12
torch.set_num_threads(int(os.environ.get("THREADS", "2")))

Q = "Describe the image."
TURNS = [{"role": "user", "content": "<image>\nWhat is this?"}, {"role": "assistant", "content": "A cat."}, {"role": "user", "content": "Is it small?"}]
CASES = [(name, [f"fixtures/images/{name}"], Q) for name in (
    "photo.png", "gray.png", "gray-alpha.png", "rgba.png", "palette.png", "palette-alpha.png", "one-bit.png", "wide.png", "tall.png", "tiny.png", "pixel.png",
    "exif-3.jpg", "exif-6.jpg", "photo.jpg", "exif-6.png")] + [
    ("demo scene", ["fixtures/demo/data/test/images/scene_0000.jpg"], "Is there a cat in the image?"),
    ("text only", [], "Say hello."),
    ("long text", [], "Count the words: " + "one two three " * 12),
    ("odd text", ["fixtures/images/photo.png"], "caf\u00e9 \U0001f600  double  blanks\nand a line"),
    ("turns", ["fixtures/images/photo.png"], TURNS),
    ("turns without image", [], [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Again."}]),
    ("two images", ["fixtures/images/photo.png", "fixtures/images/gray.png"], "What differs?"),
]
RESPONSES = ["Yes.", "There is a small cat on the left and a dog at the bottom. The background is brown.", "caf\u00e9 \U0001f600", ""]


def conversation(prompt, images):
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    written = any("<image>" in m["content"] for m in messages)
    out, leading = [], 0 if written else images
    for m in messages:
        content = []
        if m["role"] == "user" and leading:
            content, leading = [{"type": "image"}] * leading, 0
        if "<image>" in m["content"]:
            content.append({"type": "image"})
        content.append({"type": "text", "text": m["content"].replace("<image>\n", "")})
        out.append({"role": m["role"], "content": content})
    return out


def load_image(path):
    return ImageOps.exif_transpose(Image.open(os.path.join(ROOT, path))).convert("RGB")


def to_square(image, color):
    side = max(image.size)
    square = Image.new("RGB", (side, side), color)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


class Golden:
    def __init__(self, folder):
        self.folder = folder
        config = json.load(open(os.path.join(folder, "config.json")))
        self.vision = "vision_config" in config
        kind = LlavaForConditionalGeneration if self.vision else AutoModelForCausalLM
        self.model = kind.from_pretrained(folder, dtype=torch.float32).eval()
        self.tok = AutoTokenizer.from_pretrained(folder)
        template = os.path.join(folder, "chat_template.jinja")
        self.template = open(template).read() if os.path.exists(template) else None
        if self.vision:
            size = config["vision_config"]["image_size"]
            self.image_token = config["image_token_index"] if "image_token_index" in config else config["image_token_id"]
            self.rows = (size // config["vision_config"]["patch_size"]) ** 2 + (config.get("vision_feature_select_strategy") == "full")
            self.processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})

    def pixels(self, images, mode):
        color = tuple(int(x * 255) for x in self.processor.image_mean)
        loaded = [load_image(path) for path in images]
        return self.processor([to_square(i, color) if mode == "pad" else i for i in loaded], return_tensors="pt")["pixel_values"]

    def text(self, prompt, images):
        messages = conversation(prompt, images)
        if not self.vision and "selectattr" not in self.template:
            messages = [{"role": m["role"], "content": "".join(p.get("text", "") for p in m["content"])} for m in messages]
        return self.tok.apply_chat_template(messages, chat_template=self.template, add_generation_prompt=True, tokenize=False)

    def expand(self, ids):
        return [j for i in ids for j in ([i] * self.rows if self.vision and i == self.image_token else [i])]

    @torch.no_grad()
    def logits(self, ids, pixels):
        extra = {} if pixels is None else {"pixel_values": pixels}
        return self.model(input_ids=torch.tensor([ids]), **extra).logits[0].float()

    def case(self, name, images, prompt, mode):
        text = self.text(prompt, len(images))
        short = self.tok(text).input_ids
        ids, pixels = self.expand(short), self.pixels(images, mode) if images else None
        row = {"name": name, "mode": mode, "prompt": prompt, "images": images, "text": text, "prompt_ids": short, "prompt_length": len(ids)}
        greedy, margins, logps = list(ids), [], []
        for _ in range(NEW_TOKENS):
            last = self.logits(greedy, pixels)[-1]
            top = last.topk(2)
            margins.append(round(float(top.values[0] - top.values[1]), 5))
            logps.append(round(float(torch.log_softmax(last, -1)[top.indices[0]]), 5))
            greedy.append(int(top.indices[0]))
            if greedy[-1] == self.tok.eos_token_id:
                break
        row |= {"greedy_ids": greedy[len(ids):], "greedy_margins": margins, "greedy_logps": logps, "responses": []}
        for response in RESPONSES:
            whole = self.expand(self.tok(text + " " + response + "</s>").input_ids)
            assert whole[:len(ids)] == ids
            lp = torch.log_softmax(self.logits(whole, pixels)[len(ids) - 1:-1], -1).gather(-1, torch.tensor(whole[len(ids):])[:, None])[:, 0]
            row["responses"].append({"text": response, "ids": whole[len(ids):], "logps": [round(float(v), 5) for v in lp], "sum": round(float(lp.double().sum()), 5)})
        return row


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    only = sys.argv[1:]
    for folder in sorted(glob.glob(os.path.join(ROOT, "fixtures", "tiny-*"))) + [os.path.join(ROOT, "fixtures", "demo", "tiny-llava")]:
        if only and os.path.basename(folder) not in only:
            continue
        golden = Golden(folder)
        rows = [golden.case(name, images, prompt, mode) for name, images, prompt in CASES if golden.vision or not images
                for mode in (("pad", "crop") if images else ("pad",))]
        name = "demo" if "demo" in folder else os.path.basename(folder)
        head = {"made_by": "scripts/goldens/e2e.py", "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
                "checkpoint": os.path.relpath(folder, ROOT), "config_sha256": hashlib.sha256(open(os.path.join(folder, "config.json"), "rb").read()).hexdigest()}
        with open(os.path.join(OUT, f"{name}.json"), "w") as f:
            f.write(json.dumps(head)[:-1] + ',\n"cases":[\n' + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]}\n")
        print(name, len(rows))
