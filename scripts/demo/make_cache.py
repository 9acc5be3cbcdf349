# SPDX-License-Identifier: Apache-2.0
"""Renders N scenes into one uint8 array plus annotations and patch labels (training cache, never shipped).
   python make_cache.py CACHE_DIR --first 0 --count 48000"""
import argparse
import json
import multiprocessing as mp
import os

import numpy as np

from scenes import PATCH, SIZE, patch_labels, scene


def one(seed):
    img, ann, owner = scene(seed)
    return np.asarray(img), ann, patch_labels(owner)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--count", type=int, default=48000)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    x = np.lib.format.open_memmap(f"{a.out}/images.npy", "w+", np.uint8, (a.count, SIZE, SIZE, 3))
    y = np.zeros((a.count, (SIZE // PATCH) ** 2), np.uint8)
    with mp.Pool(2) as pool, open(f"{a.out}/ann.jsonl", "w") as f:
        for i, (im, ann, lab) in enumerate(pool.imap(one, range(a.first, a.first + a.count), 64)):
            x[i], y[i] = im, lab
            f.write(json.dumps(ann) + "\n")
    np.save(f"{a.out}/patches.npy", y)
