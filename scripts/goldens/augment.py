# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/golden/augment/ops.json (every pixel operation of torchvision on PIL images, as hashes and as a few raw images),
fixtures/golden/augment/policy.json (AutoAugment's table and magnitudes) and fixtures/golden/pixels/model-input.json
(LLaVA's square padding and CLIPImageProcessor on PIL images). Run from the repository root, after images.py."""

import base64
import hashlib
import json
import math
import os

import numpy as np
import PIL
import torch
from PIL import Image, ImageFilter, ImageOps

# The PIL transforms also work if torchvision's compiled part does not match this torch.
register_fake = torch.library.register_fake
torch.library.register_fake = lambda *names, **options: lambda function: function
import torchvision  # noqa: E402
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode, RandAugment  # noqa: E402
from torchvision.transforms import functional as F  # noqa: E402

torch.library.register_fake = register_fake
import transformers  # noqa: E402
from transformers import CLIPImageProcessorPil  # noqa: E402

VERSIONS = {
    "Pillow": PIL.__version__,
    "torchvision": torchvision.__version__,
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "numpy": np.__version__,
}
IMAGES = ["photo.png", "wide.png", "tall.png", "tiny.png", "pixel.png", "flat.png", "gray.png", "palette.png"]
RAW_IMAGE = "tiny.png"
FILTERS = {name.lower(): mode for name, mode in vars(Image.Resampling).items() if isinstance(mode, Image.Resampling)}


def load(name):
    return ImageOps.exif_transpose(Image.open(f"fixtures/images/{name}")).convert("RGB")


def mode_of(op, default):
    return InterpolationMode(op.get("filter", default))


def apply(image, op):
    """One recorded operation, by torchvision's functions on the PIL image."""
    name = op["op"]
    fill = op.get("fill")
    if name == "hflip":
        return F.hflip(image)
    if name == "vflip":
        return F.vflip(image)
    if name == "crop":
        return F.crop(image, op["top"], op["left"], op["height"], op["width"])
    if name == "resize":
        return image.resize((op["width"], op["height"]), FILTERS[op.get("filter", "bilinear")])
    if name == "pad":
        sides = [op.get(side, 0) for side in ("left", "top", "right", "bottom")]
        return F.pad(image, sides, fill=fill or 0, padding_mode=op.get("mode", "constant"))
    if name == "rotate":
        return F.rotate(image, op["degrees"], mode_of(op, "nearest"), expand=bool(op.get("expand", 0)), fill=fill)
    if name in ("shear-x", "shear-y"):
        shear = [0.0, 0.0]
        shear[name == "shear-y"] = math.degrees(math.atan(op["magnitude"]))
        return F.affine(image, 0.0, [0, 0], 1.0, shear, mode_of(op, "nearest"), fill=fill, center=[0, 0])
    if name in ("translate-x", "translate-y"):
        shift = [0, 0]
        shift[name == "translate-y"] = op["pixels"]
        return F.affine(image, 0.0, shift, 1.0, [0.0, 0.0], mode_of(op, "nearest"), fill=fill)
    if name == "affine":
        shift = [op.get("translate_x", 0), op.get("translate_y", 0)]
        shear = [op.get("shear_x", 0.0), op.get("shear_y", 0.0)]
        return F.affine(image, op.get("degrees", 0.0), shift, op.get("scale", 1.0), shear, mode_of(op, "nearest"), fill=fill)
    if name == "perspective":
        width, height = image.size
        start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        end = [op["corners"][i : i + 2] for i in range(0, 8, 2)]
        return F.perspective(image, start, end, mode_of(op, "bilinear"), fill=fill)
    if name == "blur":
        return image.filter(ImageFilter.GaussianBlur(radius=op["sigma"]))
    if name in ("brightness", "contrast", "saturation", "hue", "sharpness"):
        return getattr(F, f"adjust_{name}")(image, op["factor"])
    if name == "grayscale":
        return F.to_grayscale(image, 3)
    if name == "posterize":
        return F.posterize(image, op["bits"])
    if name == "solarize":
        return F.solarize(image, op.get("threshold", 128))
    return getattr(F, name)(image)


def cases(width, height):
    """Operations to try on an image of this size."""
    ops = [{"op": name} for name in ("hflip", "vflip", "grayscale", "invert", "equalize", "autocontrast", "solarize")]
    ops += [{"op": "crop", "left": 1, "top": 2, "width": 5, "height": 4}, {"op": "crop", "left": -3, "top": -2, "width": width + 5, "height": height + 3}]
    for filter in FILTERS:
        for size in ((13, 9), (64, 64), (width, 7), (5, height), (1, 1), (2 * width, 3 * height), (width, height)):
            ops.append({"op": "resize", "width": size[0], "height": size[1], "filter": filter})
    ops += [{"op": "pad", "left": 3, "top": 1, "right": 2, "bottom": 4, "fill": [122, 116, 104]}, {"op": "pad", "left": 5}]
    for mode in ("edge", "reflect", "symmetric"):
        # numpy wraps borders wider than the image; torchvision never requests that.
        side = max(min(width, height) - 1, 0)
        ops.append({"op": "pad", "left": min(4, side), "top": min(2, side), "right": min(1, side), "bottom": min(3, side), "mode": mode})
    for degrees in (0, 9.3, 30, -27.5, 90, 180, 270, 123.456, 360, 45):
        ops.append({"op": "rotate", "degrees": degrees})
    for filter in ("bilinear", "bicubic"):
        ops.append({"op": "rotate", "degrees": 21.7, "filter": filter})
        ops.append({"op": "rotate", "degrees": -63, "filter": filter, "expand": 1, "fill": [1, 2, 3]})
        ops.append({"op": "shear-x", "magnitude": 0.21, "filter": filter})
        ops.append({"op": "affine", "degrees": 33.3, "translate_x": 4, "translate_y": -3, "scale": 0.62, "shear_x": 10, "shear_y": -5, "filter": filter})
    ops += [{"op": "rotate", "degrees": 33, "expand": 1}, {"op": "rotate", "degrees": 90, "expand": 1}, {"op": "rotate", "degrees": 270, "expand": 1}]
    for magnitude in (0.3, -0.3, 0.16666667, -0.07):
        ops += [{"op": "shear-x", "magnitude": magnitude}, {"op": "shear-y", "magnitude": magnitude, "fill": [9, 8, 7]}]
    for shift in (3, -5, 0):
        ops += [{"op": "translate-x", "pixels": shift}, {"op": "translate-y", "pixels": shift, "filter": "bilinear"}]
    ops += [{"op": "affine", "degrees": 50, "scale": 0.5}, {"op": "affine", "scale": 1.7, "translate_x": 2}, {"op": "affine", "shear_x": 20, "shear_y": 30}]
    w, h = width, height
    corners = [w // 8, h // 9, w - 1 - w // 7, h // 5, w - 1 - w // 6, h - 1 - h // 7, w // 9, h - 1 - h // 8]
    if width > 2 and height > 2:
        for filter in ("nearest", "bilinear", "bicubic"):
            ops.append({"op": "perspective", "corners": corners, "filter": filter})
    for factor in (0, 0.1, 0.37, 0.6, 0.9999, 1, 1.0001, 1.4, 1.9, 3.5):
        for name in ("brightness", "contrast", "saturation", "sharpness"):
            ops.append({"op": name, "factor": factor})
    for factor in (-0.5, -0.4, -0.1, -0.03, 0, 0.05, 0.1, 0.25, 0.4, 0.5):
        ops.append({"op": "hue", "factor": factor})
    ops += [{"op": "posterize", "bits": bits} for bits in range(9)]
    ops += [{"op": "solarize", "threshold": threshold} for threshold in (0, 28.333334, 113.5, 255, 256)]
    ops += [{"op": "blur", "sigma": sigma} for sigma in (0, 0.1, 0.3, 0.5, 0.77, 1, 1.5, 1.99, 2, 5.5, 20)]
    return ops


def digest(image):
    return {"width": image.width, "height": image.height, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}


def ops_golden():
    out = []
    for name in IMAGES:
        image = load(name)
        for op in cases(*image.size):
            result = apply(image, op)
            row = {"image": name, "op": op, **digest(result)}
            if name == RAW_IMAGE and len(result.tobytes()) <= 300:
                row["data"] = base64.b64encode(result.tobytes()).decode()
            out.append(row)
    return out


def policy_golden():
    names = {"Color": "saturation", "AutoContrast": "autocontrast", "ShearX": "shear-x", "ShearY": "shear-y", "TranslateX": "translate-x", "TranslateY": "translate-y"}

    def bins(space):
        return {names.get(name, name.lower()): {"values": values.tolist(), "signed": signed} for name, (values, signed) in space.items() if values.ndim > 0}

    rows = AutoAugment(AutoAugmentPolicy.IMAGENET).policies
    table = [[[names.get(name, name.lower()), p, bin] for name, p, bin in row] for row in rows]
    size = (48, 64)  # height, width
    return {
        "imagenet": table,
        "size": {"width": 64, "height": 48},
        "autoaugment_bins": bins(AutoAugment()._augmentation_space(10, size)),
        "randaugment_bins": bins(RandAugment()._augmentation_space(31, size)),
        "randaugment_ops": [names.get(name, name.lower()) for name in RandAugment()._augmentation_space(31, size)],
    }


def expand_to_square(image, color):
    """The original LLaVA's padding."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), color)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def model_input_golden():
    out = []
    mean = CLIPImageProcessorPil.image_mean
    color = tuple(int(x * 255) for x in mean)
    images = ["photo.png", "gray.png", "rgba.png", "exif-6.jpg", "palette-alpha.png", "wide.png", "tall.png", "tiny.png", "pixel.png", "cmyk.jpg"]
    for name in images:
        image = load(name)
        for size, crop in ((336, 336), (56, 56), (28, 42)):
            processor = CLIPImageProcessorPil(
                size={"shortest_edge": size}, crop_size={"height": crop, "width": crop}, do_rescale=False, do_normalize=False
            )
            for mode in ("pad", "crop"):
                source = expand_to_square(image, color) if mode == "pad" else image
                pixels = processor(source, return_tensors="np")["pixel_values"][0]
                rgb = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)).astype(np.uint8))
                out.append({"image": name, "mode": mode, "size": size, "crop_size": crop, **digest(rgb)})
    return out


def write(path, **fields):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lists = {key: value for key, value in fields.items() if isinstance(value, list)}
    head = {"made_by": "scripts/goldens/augment.py", "versions": VERSIONS, **{k: v for k, v in fields.items() if k not in lists}}
    text = json.dumps(head, indent=1)[:-2]
    for key, rows in lists.items():
        text += f',\n "{key}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]"
    with open(path, "w") as file:
        file.write(text + "\n}\n")


write("fixtures/golden/augment/ops.json", cases=ops_golden())
write("fixtures/golden/augment/policy.json", **policy_golden())
write("fixtures/golden/pixels/model-input.json", cases=model_input_golden())
