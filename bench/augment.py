# SPDX-License-Identifier: Apache-2.0
"""The other side of bench/augment.ts: torchvision transforms on PIL images, PNG out, in as many processes as cores.
augment.py IN_DIR OUT_DIR RECIPE PNG_LEVEL PROCESSES -> one JSON line {"images_per_second": ..., "cpu_ms_per_image": ..., "bytes": ...}"""

import json
import os
import sys
import time
from multiprocessing import Pool

import torch
from PIL import Image, ImageFilter

register_fake = torch.library.register_fake
# The PIL transforms also work if torchvision's compiled part does not match this torch.
torch.library.register_fake = lambda *names, **options: lambda function: function
import torchvision.transforms as T  # noqa: E402

torch.library.register_fake = register_fake
torch.set_num_threads(1)


class PillowBlur:
    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(radius=float(torch.empty(1).uniform_(0.1, 2.0))))


RECIPES = {
    "flip": T.RandomHorizontalFlip(),
    "rrcrop": T.RandomResizedCrop(224, scale=(0.36, 0.64)),
    "autoaugment": T.AutoAugment(),
    "moco": T.Compose([T.RandomResizedCrop(224, scale=(0.2, 1.0)), T.RandomHorizontalFlip(), T.ColorJitter(0.4, 0.4, 0.4, 0.1), T.RandomGrayscale(0.2), PillowBlur()]),
}


def augment(task):
    path, out, recipe, level = task
    start = time.process_time()
    image = RECIPES[recipe](Image.open(path).convert("RGB"))
    image.save(out, compress_level=level)
    return os.path.getsize(out), time.process_time() - start


def main():
    source, target, recipe, level, processes = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
    tasks = [(os.path.join(source, name), os.path.join(target, name + ".png"), recipe, level) for name in sorted(os.listdir(source))]
    with Pool(processes) as pool:
        pool.map(augment, tasks[: 2 * processes], chunksize=1)
        start = time.perf_counter()
        results = pool.map(augment, tasks, chunksize=4)
        seconds = time.perf_counter() - start
    size = sum(size for size, _ in results) // len(results)
    cpu = 1000 * sum(cpu for _, cpu in results) / len(results)
    print(json.dumps({"images_per_second": round(len(tasks) / seconds, 1), "cpu_ms_per_image": round(cpu, 1), "bytes": size}))


main()
