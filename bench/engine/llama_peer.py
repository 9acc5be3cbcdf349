# SPDX-License-Identifier: Apache-2.0
"""The decoder of bench_engine beside llama.cpp, in turns: the library of node-llama-cpp's package, driven by llama_peer.cc.

   python bench/engine/llama_peer.py BENCH_ENGINE [DIR] [--shape 157m|7b-2-layers] [--rounds N] [--turns N] [--threads N] [--tasks prefill,decode1] [--forms f32,nf4]
   (by hand; needs numpy, npm, git, g++, and the network once; a linux-x64 machine; about 3 GB of disk while it runs, 13 GB with 7b-2-layers)

Both sides have the same weights, as they are stored: f32 as F32, bf16 (computed in bf16) as BF16 and as F16, f16 as F16, int8 as Q8_0, nf4 as Q4_0. The
head of the last two is bf16 here and 16 bits there (--head). Prompts are text, 512 tokens for prefill and 64 for decode; greedy.
Nothing is timed unless 64 greedy tokens in f32 are equal. llama.cpp has its defaults (its threads spin, keys and values in f16).

The speed of memory may change twofold from minute to minute, so a program is compared with the one that ran right before or after it: "ratio" is the median
of the turns' ratios, "ratio_quartiles" says how far they lie apart. "seconds" and "peer_seconds" are medians too, and so are "share" and "peer_share": what
reading the weights of a step takes of the bandwidth that both threads reach in the same turn.

The package is a bench's own: version and checksum stand below, it goes to build/llama-peer. It also holds the sources that its library was built from, so
the headers are of the same release. Appends one row for each task and pair to bench/results/engine.ndjson.
"""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np

from hf_baseline import measured

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import hf_model  # noqa: E402

PACKAGE, VERSION, PLATFORM = "node-llama-cpp", "3.21.1", "linux-x64"
SUMS = {  # of what npm serves
    PACKAGE: "sha512-E3N0Ev2Va0wzydvXYFwM9Hvyo07PoWjt8T/9GMc43Cvt8YkV/NU/tYUgEMC1grTPv2o9PRjQi0G3Wb5P/awiMg==",
    f"@{PACKAGE}/{PLATFORM}": "sha512-Totj6RTDMGo3FoK2yNUaz/oGmZD0olAqTrRluFUWmu0kW2i9TOzHSW0OWCAiGkzRCVX0WsU2CyUQo/W2NYtdPA==",
}
HERE = pathlib.Path(__file__).resolve().parent
FOLDER = hf_model.ROOT / "build/llama-peer"
PROMPT = {"prefill": 512, "decode1": 64, "decode8": 64}
SHAPES = ("157m", "7b-2-layers")
ROUNDS, TURNS = 1, 8
# Ours: the checkpoint's type and the options; theirs: the file's type.
FORMS = {
    "f32": ("f32", [], "f32"),
    "bf16": ("bf16", ["--dtype", "bf16"], "bf16"),
    "f16": ("f16", [], "f16"),
    "int8": ("bf16", ["--quantize", "int8"], "q8_0"),
    "nf4": ("bf16", ["--quantize", "nf4"], "q4_0"),
    # Activations in bf16; llama.cpp's are 8 bits wide beside both of its forms.
    "int8-bf16": ("bf16", ["--quantize", "int8", "--dtype", "bf16"], "q8_0"),
    "nf4-bf16": ("bf16", ["--quantize", "nf4", "--dtype", "bf16"], "q4_0"),
}
PAIRS = [(form, form) for form in FORMS] + [("bf16", "f16")]  # ours, and the form beside which theirs ran


def run(*argv, **options):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, argv))}: exit code {done.returncode}")
    return done.stdout


def install():
    """The two packages, without what they depend on: folders of the sources' package and of the libraries'."""
    folders = [FOLDER / name.replace("/", "+") for name in SUMS]
    for (name, integrity), folder in zip(SUMS.items(), folders):
        if folder.exists():
            continue
        FOLDER.mkdir(parents=True, exist_ok=True)
        packed = json.loads(run("npm", "pack", "--silent", "--json", f"{name}@{VERSION}", cwd=FOLDER))[0]
        if packed["integrity"] != integrity:
            sys.exit(f"{name}@{VERSION}: expected the checksum {integrity}, got {packed['integrity']}")
        part = folder.with_suffix(".part")
        part.mkdir(exist_ok=True)
        run("tar", "xzf", FOLDER / packed["filename"], "-C", part, "--strip-components=1")
        (FOLDER / packed["filename"]).unlink()
        part.rename(folder)
    return folders


def build():
    """Takes the headers out of the package and compiles llama_peer.cc; the program, with LLAMA_PEER_BACKENDS set, and the release."""
    package, libraries = install()
    sources, libraries = FOLDER / "llama.cpp", libraries / "bins" / PLATFORM
    release = json.loads((package / "llama/llama.cpp.info.json").read_text())["tag"]
    built = json.loads((libraries / "_nlcBuildMetadata.json").read_text())["buildOptions"]["llamaCpp"]["release"]
    if release != built:
        sys.exit(f"{PACKAGE} {VERSION}: its sources are of {release}, its library of {built}")
    if not (sources / "include/llama.h").exists():
        run("git", "clone", "--quiet", "--no-checkout", package / "llama/gitRelease.bundle", sources)
        run("git", "-C", sources, "checkout", "--quiet", "HEAD", "--", "include", "ggml/include")
    program = FOLDER / "llama_peer"
    named = [f"-l:lib{name}.so" for name in (f"llama.{release}", f"ggml.{release}", "ggml-base")]
    run(os.environ.get("CXX", "g++"), "-std=c++20", "-O3", "-march=native", "-Wall", "-Wextra", "-pthread", f"-I{sources}/include", f"-I{sources}/ggml/include",
        HERE / "llama_peer.cc", "-o", program, f"-L{libraries}", *named, f"-Wl,-rpath,{libraries}")
    os.environ["LLAMA_PEER_BACKENDS"] = str(libraries)
    return program, release


def read_safetensors(path):
    """Header and the tensors as views of the mapped file, f32."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", 8 + size)
    wrong = [name for name, t in header.items() if t["dtype"] != "F32"]
    if wrong:
        sys.exit(f"{path}: {wrong[0]}: expected F32")
    return {name: data[slice(*t["data_offsets"])].view(np.float32).reshape(t["shape"]) for name, t in header.items()}


def narrow(x, dtype):
    """Rounded to nearest even."""
    if dtype == "f16":
        return x.astype(np.float16)
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def write_checkpoint(path, tensors, config, dtype):
    path.mkdir()
    (path / "config.json").write_text(config)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": dtype.upper(), "shape": x.shape, "data_offsets": [at, at + 2 * x.size]}
        at += 2 * x.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(narrow(x, dtype).tobytes())


def llama_tensors(tensors, text):
    """The decoder under the names of GGUF's llama. Rows of a query's or key's head: the two halves that rope turns against each other alternate there."""
    prefix = "language_model.model."
    if prefix + "embed_tokens.weight" not in tensors:
        prefix = "model.language_model."
    heads = {"attn_q": text["num_attention_heads"], "attn_k": text["num_key_value_heads"]}
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    head = next(name for name in tensors if name.endswith("lm_head.weight"))
    out = {"token_embd.weight": tensors[prefix + "embed_tokens.weight"], "output_norm.weight": tensors[prefix + "norm.weight"], "output.weight": tensors[head]}
    for i in range(text["num_hidden_layers"]):
        for theirs, ours in names.items():
            x = tensors[f"{prefix}layers.{i}.{theirs}.weight"]
            if ours in heads:
                x = x.reshape(heads[ours], 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            out[f"blk.{i}.{ours}.weight"] = x
    return out


def write_gguf(path, tensors, text):
    """GGUF 3: keys, the list of tensors, their bytes; every tensor begins at a multiple of 32."""
    string = lambda s: struct.pack("<Q", len(s)) + s.encode()
    value = lambda x: struct.pack("<I", 8) + string(x) if isinstance(x, str) else struct.pack("<If", 6, x) if isinstance(x, float) else struct.pack("<II", 4, x)
    keys = {
        "general.architecture": "llama", "tokenizer.ggml.model": "no_vocab", "llama.vocab_size": text["vocab_size"], "llama.block_count": text["num_hidden_layers"],
        "llama.context_length": text["max_position_embeddings"], "llama.embedding_length": text["hidden_size"], "llama.feed_forward_length": text["intermediate_size"],
        "llama.attention.head_count": text["num_attention_heads"], "llama.attention.head_count_kv": text["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": float(text["rms_norm_eps"]), "llama.rope.dimension_count": text["head_dim"],
        "llama.rope.freq_base": float(text["rope_theta"]), "general.file_type": 0,
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(string(k) + value(x) for k, x in keys.items())
    at = 0
    for name, x in tensors.items():
        head += string(name) + struct.pack("<I", x.ndim) + struct.pack(f"<{x.ndim}Q", *reversed(x.shape)) + struct.pack("<IQ", 0, at)
        at += (x.nbytes + 31) // 32 * 32
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for x in tensors.values():
            f.write(np.ascontiguousarray(x).tobytes() + bytes(-x.nbytes % 32))


def prepare(args, program, path, work):
    """Checkpoints by their type and llama.cpp's files by theirs."""
    tensors, config = read_safetensors(path / "model.safetensors"), (path / "config.json").read_text()
    text = json.loads(config)["text_config"]
    checkpoints, files = {"f32": path}, {"f32": work / "f32.gguf"}
    write_gguf(files["f32"], llama_tensors(tensors, text), text)
    for form in args.forms:
        stored, _, theirs = FORMS[form]
        if stored not in checkpoints:
            checkpoints[stored] = work / stored
            write_checkpoint(checkpoints[stored], tensors, config, stored)
        if theirs not in files:
            files[theirs] = work / f"{theirs}.gguf"
            run(program, "quantize", files["f32"], files[theirs], theirs, theirs if theirs in ("f16", "bf16") else args.head, args.threads)
    return checkpoints, files


def check_ids(args, program, checkpoints, files):
    prompt = str(PROMPT["decode1"])
    mine = hf_model.last_json(run(args.bench_engine, "ids", checkpoints["f32"], args.threads, "--text", prompt))["ids"]
    theirs = hf_model.last_json(run(program, "ids", files["f32"], prompt, args.threads))["ids"]
    equal = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), len(mine))
    print(f"greedy tokens in f32: {equal} of {len(mine)} equal", file=sys.stderr)
    if len(mine) != len(theirs) or equal < len(mine):
        sys.exit(f"greedy tokens in f32 differ from token {equal + 1} on: {mine[equal:equal + 4]}, llama.cpp {theirs[equal:equal + 4]}: nothing is timed")


def take_turns(args, program, task, checkpoints, files):
    """What ran in each turn: ours and theirs by our form, and the bytes a second that reading reached. Ours is the first in every second turn."""
    rounds, threads, prompt = str(args.rounds), str(args.threads), str(PROMPT[task])

    def ours(form):
        stored, options, _ = FORMS[form]
        return measured([args.bench_engine, task, str(checkpoints[stored]), threads, rounds, "--text", prompt, *options])

    turns = []
    for turn in range(args.turns):
        mine, theirs, speed = {}, {}, hf_model.last_json(run(program, "read", threads))["bytes_per_second"]
        for form in args.forms:
            other = FORMS[form][2]
            both = [lambda: mine.update({form: ours(form)}), lambda: theirs.update({form: measured([str(program), task, str(files[other]), prompt, threads, rounds])})]
            for measure in both if turn % 2 == 0 else reversed(both):
                measure()
            print(f"{task} {turn + 1}/{args.turns} {form}: {1e3 * mine[form]['seconds']:.2f} ms, {other} {1e3 * theirs[form]['seconds']:.2f} ms", file=sys.stderr, flush=True)
        turns.append((mine, theirs, speed))
    return turns


def warn_if_busy(threads):
    load, cores = os.getloadavg()[0], os.cpu_count()
    if load > threads + 0.5 or threads > cores:
        print(f"note: a load of {load:.1f} on {cores} cores: llama.cpp's threads spin, so other programs cost it more than this engine; the ratios say little", file=sys.stderr)


def rows_of(args, task, release, turns):
    for form, beside in PAIRS:
        if form not in args.forms or beside not in args.forms:
            continue
        pairs = [(mine[form], theirs[beside], speed) for mine, theirs, speed in turns]
        a, b, _ = pairs[0]
        median = lambda of: float(np.median([of(*pair) for pair in pairs]))
        ratios = [y["seconds"] / x["seconds"] for x, y, _ in pairs]
        shares = {
            "share": round(median(lambda x, y, speed: x["weight_bytes"] / x["seconds"] / speed), 3),
            "peer_share": round(median(lambda x, y, speed: y["weight_bytes"] / y["seconds"] / speed), 3),
        }
        yield {
            "task": task, "shape": args.shape, "peer": "llama.cpp", "form": form, "peer_form": FORMS[beside][2], "turns": len(pairs), "statistic": "median",
            "seconds": round(median(lambda x, y, speed: x["seconds"]), 6), "peer_seconds": round(median(lambda x, y, speed: y["seconds"]), 6),
            "ratio": round(float(np.median(ratios)), 3), "ratio_quartiles": [round(float(q), 3) for q in np.percentile(ratios, [25, 75])],
            "cpu_seconds": round(median(lambda x, y, speed: x["cpu_seconds"]), 6), "peer_cpu_seconds": round(median(lambda x, y, speed: y["cpu_seconds"]), 6),
            "weight_bytes": a["weight_bytes"], "peer_weight_bytes": b["weight_bytes"], "peer_head": b["head"],
            "read_bytes_per_second": round(median(lambda x, y, speed: speed)), **(shares if task != "prefill" else {}),
            "peak_mebibytes": min(x["peak_mebibytes"] for x, _, _ in pairs), "peer_peak_mebibytes": min(y["peak_mebibytes"] for _, y, _ in pairs),
            "prompt": PROMPT[task], "threads": args.threads, "omp_wait_policy": os.environ["OMP_WAIT_POLICY"], "gomp_spincount": os.environ.get("GOMP_SPINCOUNT"),
            "peer_backend": b["backend"], "load_average": round(os.getloadavg()[0], 1), PACKAGE: VERSION, "llama.cpp": release,
        }


def table(rows):
    print("\n| task | form | tokens per second | llama.cpp | tokens per second | ratio | quartiles | share of bandwidth | theirs |\n|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        tokens = {"prefill": PROMPT["prefill"], "decode1": 1, "decode8": 8}[r["task"]]
        shares = [f"{100 * r[k]:.0f} %" if k in r else "-" for k in ("share", "peer_share")]
        print("|", " | ".join([r["task"], r["form"], f"{tokens / r['seconds']:.0f}", r["peer_form"].upper(), f"{tokens / r['peer_seconds']:.0f}", f"{r['ratio']:.2f}", "{:.2f} to {:.2f}".format(*r["ratio_quartiles"]), *shares]), "|")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench_engine")
    parser.add_argument("dir", nargs="?", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default=SHAPES[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each turn, after a warm-up")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", type=lambda s: s.split(","), default=list(PROMPT))
    parser.add_argument("--forms", type=lambda s: s.split(","), default=list(FORMS))
    parser.add_argument("--head", choices=["f16", "bf16"], default="bf16", help="of llama.cpp's quantised files")
    args = parser.parse_args()
    for what, known in (("tasks", PROMPT), ("forms", FORMS)):
        unknown = [x for x in getattr(args, what) if x not in known]
        if unknown:
            parser.error(f"--{what}: expected {', '.join(known)}, got {unknown[0]}")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of oneDNN's threads, as the commands set it (src/engine/binding.ts)
    program, release = build()
    with tempfile.TemporaryDirectory(prefix="vpref-llama-") as name:
        work = pathlib.Path(name)
        path = args.dir or work / "made"
        if not (path / "config.json").exists():
            run(args.bench_engine, "make", path, "--shape", args.shape)
        checkpoints, files = prepare(args, program, path, work)
        check_ids(args, program, checkpoints, files)
        rows = []
        for task in args.tasks:
            for row in rows_of(args, task, release, take_turns(args, program, task, checkpoints, files)):
                hf_model.append_result("engine", row, [])
                rows.append(row)
        table(rows)
        warn_if_busy(args.threads)


if __name__ == "__main__":
    main()
