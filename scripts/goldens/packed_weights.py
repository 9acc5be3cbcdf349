# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/golden/packed/weights.safetensors: matrices, their nf4 and int8 forms, and what those stand for.
From the formats' definitions (QLoRA, arXiv 2305.14314, section 3 and appendix E; bitsandbytes 0.50's layout) with numpy alone.
Run from the repository root; numpy 2.4."""

import json
import math
import struct

import numpy as np

F = np.float32
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
     -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], F)  # fmt: skip


def dynamic_map():
    """The signed 8-bit map: 2^e middles of equal pieces of [0.1, 1] a decade, seven decades, both signs; 0 and 1."""
    values = [0.0, 1.0]
    for e in range(7):
        ends = np.linspace(0.1, 1, 2**e + 1)
        middles = float(f"1e{e - 6}") * (ends[1:] + ends[:-1]) / 2
        values += [*middles, *-middles]
    return np.sort(np.array(values)).astype(F)


def nearest(scaled, codes):
    """The code of each value; halfway (in f32) the lower one."""
    return np.searchsorted((codes[1:] + codes[:-1]) / F(2), scaled, side="left").astype(np.uint8)


def blockwise(values, block, codes):
    """Codes and absmax of each block."""
    out, absmax = np.zeros(len(values), np.uint8), []
    for first in range(0, len(values), block):
        x = values[first : first + block]
        most = np.max(np.abs(x))
        absmax.append(most)
        out[first : first + block] = nearest(np.clip(x * (F(1) / max(most, F(1e-38))), F(-1), F(1)), codes)
    return out, np.array(absmax, F)


def nf4(matrix):
    values = matrix.reshape(-1)
    codes, absmax = blockwise(values, 64, NF4)
    offset = F(math.fsum(float(a) for a in absmax) / len(absmax))
    dynamic = dynamic_map()
    scales, nested = blockwise(absmax - offset, 256, dynamic)
    exact = dynamic[scales] * np.repeat(nested, 256)[: len(scales)] + offset
    padded = codes if len(codes) % 2 == 0 else np.append(codes, np.uint8(7))
    packed = (padded[0::2] << 4) | padded[1::2]
    unpacked = NF4[codes] * np.repeat(exact, 64)[: len(codes)]
    return {"codes": packed, "scales": scales, "nested": nested, "offset": np.array([offset], F),
            "unpacked": unpacked.reshape(matrix.shape)}  # fmt: skip


def int8(matrix):
    scales = np.max(np.abs(matrix), axis=1) / F(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.where(scales[:, None] > 0, np.rint(matrix / scales[:, None]), F(0))
    codes = np.clip(codes, -127, 127).astype(np.int8)
    return {"codes": codes.view(np.uint8), "scales": scales, "unpacked": codes.astype(F) * scales[:, None]}


def bf16(values):
    bits = values.astype(F).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def matrices():
    """name -> (values in f32, dtype in the file, the file's array)."""
    rng = np.random.default_rng(17)
    normal = (rng.standard_normal((20, 1024)) * 0.02).astype(F)
    yield "f32", normal, "F32", normal
    heavy = (rng.standard_t(2, (8, 320)) * 0.05).astype(F)
    heavy[3] = 0
    heavy[4, 128:192] = 0
    heavy[5, 64:128] = F(0.25)
    yield "heavy", heavy, "F32", heavy
    small = rng.standard_normal((7, 37)).astype(F)  # blocks over row ends, a short last block, an odd count
    yield "odd", small, "F32", small
    half = (rng.standard_normal((8, 192)) * 0.1).astype(np.float16)
    yield "f16", half.astype(F), "F16", half
    brain = bf16(rng.standard_normal((8, 256)) * 0.1)
    yield "bf16", (brain.astype(np.uint32) << 16).view(F), "BF16", brain
    # Values that lie halfway between codes, and on the limits of int8.
    limits = (NF4[1:] + NF4[:-1]) / F(2)
    ties = np.concatenate([np.tile(limits, 8)[:63], [F(1)], np.arange(-31, 32, dtype=F) * F(0.5), [F(127)]]).astype(F)
    ties = ties.reshape(2, 64)
    yield "ties", ties, "F32", ties
    tiny = np.full((2, 64), F(1e-41))  # subnormal
    yield "tiny", tiny, "F32", tiny


def write(path, tensors):
    # Wider elements first: all stay aligned without gaps.
    names = sorted(tensors, key=lambda n: -tensors[n][1].dtype.itemsize)
    data, header = b"", {}
    for name in names:
        dtype, array = tensors[name]
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    tensors = {"nf4_book": ("F32", NF4), "dynamic_map": ("F32", dynamic_map())}
    for name, values, dtype, stored in matrices():
        tensors[name] = (dtype, stored)
        for form, parts in (("nf4", nf4(values)), ("int8", int8(values))):
            for part, array in parts.items():
                tensors[f"{name}.{form}.{part}"] = ("U8" if array.dtype == np.uint8 else "F32", array)
    write("fixtures/golden/packed/weights.safetensors", tensors)


main()
