# SPDX-License-Identifier: Apache-2.0
"""Deterministic scene generator: sprites of 48 everyday things on coloured, textured backgrounds.

scene(seed) -> (PIL image 128x128, annotation dict).  Same seed, same scene.
The annotation holds every object (class, box, size, coverage), the background colour and the word, if any.
Objects co-occur in eight groups, so "popular" and "adversarial" negatives make sense.
"""
import io
import math
import os
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE, PATCH = 128, 16
GROUPS = {
    "food": ["banana", "apple", "pizza", "bread", "carrot", "cup"],
    "farm": ["cow", "horse", "sheep", "pig", "rooster", "tractor"],
    "street": ["car", "bus", "bicycle", "truck", "traffic light", "stop sign"],
    "sea": ["boat", "fish", "whale", "crab", "dolphin", "shell"],
    "office": ["laptop", "book", "phone", "clock", "pencil", "scissors"],
    "garden": ["tree", "flower", "butterfly", "bee", "mushroom", "snail"],
    "home": ["cat", "dog", "chair", "bed", "television", "teddy"],
    "play": ["ball", "basketball", "guitar", "kite", "trophy", "drum"],
}
CLASSES = [c for g in GROUPS.values() for c in g]
GROUP_OF = {c: g for g, cs in GROUPS.items() for c in cs}
POPULARITY = [0.30, 0.22, 0.17, 0.13, 0.10, 0.08]  # within a group, first class most frequent
GROUP_WEIGHT = dict(zip(GROUPS, [0.15, 0.15, 0.15, 0.12, 0.12, 0.12, 0.12, 0.07]))
COLOURS = {
    "red": (200, 60, 60), "orange": (235, 150, 70), "yellow": (240, 220, 110), "green": (110, 180, 100),
    "blue": (90, 140, 215), "purple": (150, 100, 190), "pink": (240, 170, 195), "brown": (145, 105, 75),
    "gray": (150, 150, 150), "white": (240, 240, 238),
}
GROUP_COLOUR = {"food": "yellow", "farm": "green", "street": "gray", "sea": "blue", "office": "white",
                "garden": "green", "home": "brown", "play": "orange"}
WORDS = ["OPEN", "SALE", "CAFE", "TAXI", "ZOO", "EXIT", "HELLO", "FARM", "STOP", "PARK", "SHOP", "BEACH",
         "MENU", "HOME", "GAME", "NEWS", "KIDS", "LOVE", "MUSIC", "FISH", "BOOK", "FREE", "TEAM", "RACE"]
FONT = "DejaVuSans-Bold.ttf"

_sprites, _fonts = {}, {}


def sprite(cls):
    if cls not in _sprites:
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures", "demo", "sprites")
        _sprites[cls] = Image.open(os.path.join(here, cls.replace(" ", "_") + ".png")).convert("RGBA")
    return _sprites[cls]


def font(px):
    if px not in _fonts:
        _fonts[px] = ImageFont.truetype(FONT, px)
    return _fonts[px]


def background(rng, colour):
    g = np.random.default_rng(rng.randrange(1 << 31))
    base = np.array(COLOURS[colour], np.float32) + g.uniform(-14, 14, 3)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    kind = rng.choice(["flat", "gradient", "noise", "stripes", "checks", "blobs"])
    if kind == "gradient":
        a = g.uniform(0, 2 * math.pi)
        m = (xx - 0.5) * math.cos(a) + (yy - 0.5) * math.sin(a)
        m = m * g.uniform(30, 70)
    elif kind == "stripes":
        m = np.sign(np.sin((xx * math.cos(a := g.uniform(0, 3.1)) + yy * math.sin(a)) * g.uniform(20, 60))) * g.uniform(6, 16)
    elif kind == "checks":
        k = int(g.integers(4, 12))
        m = (((xx * k).astype(int) + (yy * k).astype(int)) % 2 * 2 - 1) * g.uniform(6, 16)
    elif kind == "blobs":
        small = Image.fromarray(g.uniform(0, 255, (6, 6)).astype(np.uint8)).resize((SIZE, SIZE), Image.BICUBIC)
        m = (np.asarray(small, np.float32) - 128) * g.uniform(0.15, 0.4)
    else:
        m = np.zeros_like(xx)
    img = base + m[..., None]
    img = img + g.normal(0, g.uniform(12, 26) if kind == "noise" else g.uniform(0, 8), (SIZE, SIZE, 1))
    return Image.fromarray(np.clip(img, 0, 255).astype(np.uint8), "RGB")


def pick_objects(rng):
    """Class list for one scene: one main group, Zipf-like inside it, sometimes a stranger, sometimes repeats."""
    main = rng.choices(list(GROUP_WEIGHT), list(GROUP_WEIGHT.values()))[0]
    kinds, wanted = [], rng.choices([1, 2, 3, 4], [0.18, 0.37, 0.30, 0.15])[0]
    while len(kinds) < wanted:
        group = main if rng.random() < 0.85 else rng.choice(list(GROUPS))
        cls = rng.choices(GROUPS[group], POPULARITY)[0]
        if cls not in kinds:
            kinds.append(cls)
    out = list(kinds)
    if len(kinds) <= 3 and rng.random() < 0.28:  # a second or third instance of one kind
        out += [kinds[0]] * (1 if len(kinds) == 3 or rng.random() < 0.6 else 2)
    return main, out


def scene(seed, jpeg_quality=90):
    rng = random.Random(seed * 7919 + 17)
    main, classes = pick_objects(rng)
    colour = GROUP_COLOUR[main] if rng.random() < 0.4 else rng.choice(list(COLOURS))
    img = background(rng, colour)
    owner = np.full((SIZE, SIZE), -1, np.int16)  # index of the object or word that owns each pixel
    objects, boxes = [], []
    word = None
    if rng.random() < 0.30:
        text, px = rng.choice(WORDS), rng.randint(17, 24)
        w = int(font(px).getlength(text)) + 2
        x, y = rng.randint(2, max(2, SIZE - w - 2)), rng.choice([rng.randint(1, 8), rng.randint(SIZE - px - 10, SIZE - px - 4)])
        dark = sum(COLOURS[colour]) > 380
        ink = tuple(rng.randint(0, 70) for _ in range(3)) if dark else tuple(rng.randint(200, 255) for _ in range(3))
        ImageDraw.Draw(img).text((x, y), text, font=font(px), fill=ink)
        word = {"text": text, "box": [x, y, w, px + 4]}
        boxes.append((x, y, w, px + 4))
        owner[max(0, y):y + px + 4, x:x + w] = len(CLASSES) + WORDS.index(text)
    order = list(range(len(classes)))
    rng.shuffle(order)
    for i in order:
        cls = classes[i]
        lo, hi = (34, 66) if len(classes) <= 2 else (28, 48) if len(classes) <= 4 else (26, 40)
        side = int(lo + (hi - lo) * rng.random() ** 1.3)
        best, best_hit = None, 1e9
        for _ in range(30):  # least-overlapping of up to 30 random places
            x, y = rng.randint(-2, SIZE - side + 2), rng.randint(-2, SIZE - side + 2)
            hit = max((max(0, min(x + side, bx + bw) - max(x, bx)) * max(0, min(y + side, by + bh) - max(y, by)) / (side * side)
                       for bx, by, bw, bh in boxes), default=0)
            if hit < best_hit:
                best, best_hit = (x, y), hit
            if hit < 0.08:
                break
        if best_hit > 0.45:
            continue
        s = sprite(cls).resize((side, side), Image.BILINEAR)
        if rng.random() < 0.5:
            s = s.transpose(Image.FLIP_LEFT_RIGHT)
        s = s.rotate(rng.uniform(-18, 18), Image.BILINEAR)
        gain, fade = rng.uniform(0.7, 1.15), rng.uniform(0.72, 1.0)
        rgb = Image.merge("RGB", s.split()[:3]).point(lambda v: min(255, int(v * gain)))
        alpha = s.split()[3].point(lambda v: int(v * fade))
        img.paste(rgb, best, alpha)
        x, y = best
        mask = np.asarray(alpha) > 90
        y0, x0, y1, x1 = max(0, y), max(0, x), min(SIZE, y + side), min(SIZE, x + side)
        sub = owner[y0:y1, x0:x1]
        sub[mask[y0 - y:y1 - y, x0 - x:x1 - x]] = CLASSES.index(cls)
        boxes.append((x, y, side, side))
        objects.append({"name": cls, "box": [x, y, side, side], "cx": x + side / 2, "cy": y + side / 2, "side": side})
    if rng.random() < 0.35:
        img = img.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.1)))
    if jpeg_quality:
        buf = io.BytesIO()
        img.save(buf, "JPEG", quality=jpeg_quality, subsampling=0)
        img = Image.open(buf).convert("RGB")
        img.jpeg_bytes = buf.getvalue()
    objects.sort(key=lambda o: o["cx"])
    counts = {}
    for o in objects:
        counts[o["name"]] = counts.get(o["name"], 0) + 1
    ann = {"seed": seed, "group": main, "background": colour, "word": word, "objects": objects, "counts": counts}
    return img, ann, owner


def patch_labels(owner):
    """Per 16x16 patch: the class that covers most of it (0 = background), for the vision tower's warm-up."""
    k = SIZE // PATCH
    n = len(CLASSES) + len(WORDS)
    cells = owner.reshape(k, PATCH, k, PATCH).transpose(0, 2, 1, 3).reshape(k * k, -1)
    out = np.zeros(k * k, np.uint8)
    for i, cell in enumerate(cells):
        seen = cell[cell >= 0]
        if len(seen) >= 40:
            out[i] = np.bincount(seen, minlength=n).argmax() + 1
    return out


if __name__ == "__main__":
    import sys
    import time
    t = time.time()
    tiles = [scene(i)[0] for i in range(24)]
    print("ms per scene", (time.time() - t) / 24 * 1000)
    sheet = Image.new("RGB", (8 * 132, 3 * 132))
    for i, im in enumerate(tiles):
        sheet.paste(im, (i % 8 * 132, i // 8 * 132))
    sheet.save(sys.argv[1] if len(sys.argv) > 1 else "scenes.png")
