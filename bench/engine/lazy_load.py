# SPDX-License-Identifier: Apache-2.0
"""A start reads only the weights that it uses: time until a model is open, and until its first token.

   python bench/engine/lazy_load.py BENCH_ENGINE [DIR] [--threads N] [--turns N]     (by hand; about 3 GB of disk while it runs)

Two checkpoints of LLaVA-1.5-7B's shapes in f16. The first is whole, 14 GB, with a hole for its weights (a sparse file): opening it must not depend on its
size. The second has two of the 32 decoder layers and real bytes: the time from the start of the process to the first token of a text prompt is
held against reading the bytes that this touches (layers, norm, head) from the same file with read(2), both from a file that is out of the page cache
("cold") and in it ("warm"). Appends one row to bench/results/lazy_load.ndjson.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
D, F, HEADS, V = 4096, 11008, 32, 32064
C, CF, VISION_LAYERS, IMAGE, PATCH = 1024, 4096, 24, 336, 14


def config(layers):
    return {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 32000, "image_seq_length": 576,
        "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "tie_word_embeddings": False,
        "text_config": {"model_type": "llama", "vocab_size": V, "hidden_size": D, "intermediate_size": F, "num_hidden_layers": layers,
                        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": 4096, "rms_norm_eps": 1e-05,
                        "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": C, "intermediate_size": CF, "num_hidden_layers": VISION_LAYERS,
                          "num_attention_heads": 16, "image_size": IMAGE, "patch_size": PATCH, "layer_norm_eps": 1e-05, "projection_dim": 768},
    }


def tensors(layers):
    """(name, shape) in file order, and the names that a text prompt reads completely."""
    out = []
    tower = "vision_tower.vision_model."
    out += [(tower + "embeddings.class_embedding", [C]), (tower + "embeddings.patch_embedding.weight", [C, 3, PATCH, PATCH]),
            (tower + "embeddings.position_embedding.weight", [(IMAGE // PATCH) ** 2 + 1, C])]
    norm = lambda name, width: [(name + ".weight", [width]), (name + ".bias", [width])]
    linear = lambda name, n, k: [(name + ".weight", [n, k]), (name + ".bias", [n])]
    out += norm(tower + "pre_layrnorm", C) + norm(tower + "post_layernorm", C)
    for i in range(VISION_LAYERS):
        at = f"{tower}encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out += linear(at + "self_attn." + name, C, C)
        out += norm(at + "layer_norm1", C) + norm(at + "layer_norm2", C) + linear(at + "mlp.fc1", CF, C) + linear(at + "mlp.fc2", C, CF)
    out += linear("multi_modal_projector.linear_1", D, C) + linear("multi_modal_projector.linear_2", D, D)
    out += [("language_model.model.embed_tokens.weight", [V, D])]
    read = len(out)
    for i in range(layers):
        at = f"language_model.model.layers.{i}."
        out += [(at + f"self_attn.{x}_proj.weight", [D, D]) for x in "qkvo"]
        out += [(at + "mlp.gate_proj.weight", [F, D]), (at + "mlp.up_proj.weight", [F, D]), (at + "mlp.down_proj.weight", [D, F])]
        out += [(at + "input_layernorm.weight", [D]), (at + "post_attention_layernorm.weight", [D])]
    out += [("language_model.model.norm.weight", [D]), ("language_model.lm_head.weight", [V, D])]
    return out, {name for name, _ in out[read:]}


def write(path, layers, sparse):
    """Returns the byte ranges that a text prompt reads."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config(layers)))
    listed, read = tensors(layers)
    header, at, sizes = {}, 0, []
    for name, shape in listed:
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        sizes.append(size)
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    rng = random.Random(1)
    block = struct.pack("<524288e", *(rng.uniform(-0.02, 0.02) for _ in range(524288)))
    with open(path / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        if sparse:
            out.truncate(begin + at)
        else:
            for (name, shape), size in zip(listed, sizes):
                if len(shape) == 1:
                    out.write(struct.pack("<e", 1.0) * shape[0])
                else:
                    for done in range(0, size, len(block)):
                        out.write(block[: min(len(block), size - done)])
        out.flush()
        os.fsync(out.fileno())
    return [(begin + header[n]["data_offsets"][0], begin + header[n]["data_offsets"][1]) for n, _ in listed if n in read]


def forget(file):
    """Evicts the file from the page cache, if the system does it."""
    fd = os.open(file, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read_ranges(file, ranges):
    buffer = bytearray(8 << 20)
    begin = time.perf_counter()
    with open(file, "rb", buffering=0) as f:
        for start, end in ranges:
            f.seek(start)
            while start < end:
                start += f.readinto(memoryview(buffer)[: min(len(buffer), end - start)])
    return time.perf_counter() - begin


def run(bench, task, path, threads):
    """Start of the process to its line of output."""
    begin = time.perf_counter()
    process = subprocess.Popen([bench, task, str(path), str(threads)], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    seconds = time.perf_counter() - begin
    if process.wait() != 0:
        raise SystemExit(f"{bench} {task}: exit code {process.returncode}")
    return seconds, json.loads(line)["parameters"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench_engine")
    parser.add_argument("dir", nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    path = pathlib.Path(args.dir or tempfile.mkdtemp(prefix="vpref-lazy-"))
    whole, short = path / "whole", path / "short"
    try:
        write(whole, 32, sparse=True)
        opened, parameters = min(run(args.bench_engine, "open", whole, args.threads) for _ in range(args.turns))
        ranges = write(short, 2, sparse=False)
        file = short / "model.safetensors"
        best = {}
        for _ in range(args.turns):  # alternating, so other load affects both
            for kind in ("cold", "warm"):
                for name, job in (("read", lambda: read_ranges(file, ranges)), ("first_token", lambda: run(args.bench_engine, "first", short, args.threads)[0])):
                    if kind == "cold":
                        forget(file)
                    best[f"{kind}_{name}"] = min(best.get(f"{kind}_{name}", 1e9), job())
        row = {"bench": "lazy_load", "open_seconds": round(opened, 4), "open_parameters": parameters,
               "open_bytes": (whole / "model.safetensors").stat().st_size, "touched_bytes": sum(e - s for s, e in ranges), "file_bytes": file.stat().st_size,
               **{f"{k}_seconds": round(v, 3) for k, v in best.items()}, "cold_ratio": round(best["cold_first_token"] / best["cold_read"], 2),
               "warm_ratio": round(best["warm_first_token"] / best["warm_read"], 2), "threads": args.threads,
               "cpu": next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), "?"),
               "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip(),
               "load_average": round(os.getloadavg()[0], 1)}
        with open(ROOT / "bench/results/lazy_load.ndjson", "a") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row))
    finally:
        shutil.rmtree(whole, ignore_errors=True)
        shutil.rmtree(short, ignore_errors=True)


if __name__ == "__main__":
    main()
