# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/golden/pixels/diffusion.json: VCD's schedule in f64, the generator's words and normals, a noised tensor.
An implementation of its own with numpy alone, after the layout in src/pixels/diffusion.ts. Run from the repository root."""

import json

import numpy as np

MASK = 0xFFFFFFFF


def philox(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def block_words(seed, block):
    return philox((block & MASK, block >> 32, 0, 0), (seed & MASK, seed >> 32))


def normal(seed, element):
    words = block_words(seed, element // 4)
    first = element % 4 // 2 * 2
    u, v = [(word + 0.5) * 2.0**-32 for word in words[first : first + 2]]
    wave = np.cos if element % 2 == 0 else np.sin
    return float(np.float32(np.sqrt(-2 * np.log(u)) * wave(2 * np.pi * v)))


def main():
    betas = 1 / (1 + np.exp(-np.linspace(-6, 6, 1000))) * (0.005 - 1e-5) + 1e-5
    kept = np.cumprod(1 - betas)
    steps = [0, 1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999]
    seeds = [0, 1, 42, 2**32 - 1, 2**32, 9004471605830383]
    elements = [0, 1, 2, 3, 4, 5, 6, 7, 1000, 112895, 112896, 338687]
    channels, height, width = 3, 5, 7
    tensor = np.linspace(-1.8, 2.1, channels * height * width).astype(np.float32)
    noised = []
    for step, seed in ((500, 42), (800, 9004471605830383)):
        signal, noise = np.float32(np.sqrt(kept[step])), np.float32(np.sqrt(1 - kept[step]))
        eps = np.array([normal(seed, i) for i in range(tensor.size)], np.float32)
        noised.append({"step": step, "seed": seed, "values": [float(x) for x in signal * tensor + noise * eps]})
    golden = {
        "made_by": "scripts/goldens/diffusion.py",
        "versions": {"numpy": np.__version__},
        "layout": "key = (seed mod 2^32, floor(seed / 2^32)); counter = (b mod 2^32, floor(b / 2^32), 0, 0), b = floor(element / 4); "
        "u_j = (word_j + 0.5) * 2^-32; elements 4b, 4b+1 = sqrt(-2 ln u_0) * (cos, sin)(2 pi u_1), 4b+2, 4b+3 the same of u_2, u_3; "
        "element = c * H * W + y * W + x of the normalised CHW tensor; out = sqrt(abar) * x + sqrt(1 - abar) * normal, unclipped",
        "schedule": [{"step": t, "alpha_bar": kept[t], "signal": np.sqrt(kept[t]), "noise": np.sqrt(1 - kept[t])} for t in steps],
        "words": [{"seed": seed, "block": block, "words": block_words(seed, block)} for seed in seeds for block in (0, 1, 84671, 2**32)],
        "normals": [{"seed": seed, "element": i, "value": normal(seed, i)} for seed in seeds for i in elements],
        "tensor": {"shape": [channels, height, width], "values": [float(x) for x in tensor]},
        "noised": noised,
    }
    text = ",\n".join(
        f' {json.dumps(key)}: ' + ("[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]" if isinstance(value, list) else json.dumps(value))
        for key, value in golden.items()
    )
    with open("fixtures/golden/pixels/diffusion.json", "w") as file:
        file.write("{\n" + text + "\n}\n")


main()
