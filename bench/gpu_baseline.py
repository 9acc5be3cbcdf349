# SPDX-License-Identifier: Apache-2.0
"""transformers + peft on a GPU at the shapes of bench_engine and bench_train: one NDJSON row per task, printed when it is done.

   python bench/gpu_baseline.py SHAPE:TASK,TASK... ... [--device cuda] [--seconds N]     shapes: 7b 13b qwen2.5-vl-7b 157m
                                                                                      tasks: prefill1 prefill decode1 decode64 dpo
Weights are random, in bf16, drawn on the device. The baseline gets every advantage the libraries offer: sdpa attention, logits of the answer rows only,
gradient checkpointing only where the step does not fit without, LoRA under autocast with f32 master weights (as the trainers run it), fused AdamW, the
reference pass with the adapter off in the same model, the best of several micro-batches. As trl does it, chosen and rejected are sequences of their own
with the image repeated.
"""
import argparse
import gc
import importlib.metadata
import json
import time

SHAPES = {
    "157m": dict(text=(32000, 768, 2048, 12, 12), vision=(512, 2048, 7, 8, 224), prompt=320, answer=16, rows=256, image=31999),
    "7b": dict(text=(32064, 4096, 11008, 32, 32), vision=(1024, 4096, 24, 16, 336), prompt=630, answer=60, rows=576, image=32000),
    "13b": dict(text=(32064, 5120, 13824, 40, 40), vision=(1024, 4096, 24, 16, 336), prompt=630, answer=60, rows=576, image=32000),
    "qwen2.5-vl-7b": dict(text=(152064, 3584, 18944, 28, 28), vision=(1280, 3420, 32, 16, 672), prompt=630, answer=60, rows=576, image=151655),
}


def qwen(shape):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    v, d, f, layers, heads = shape["text"]
    c, mlp, depth, vision_heads, _ = shape["vision"]
    text = dict(vocab_size=v, hidden_size=d, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=4,
                max_position_embeddings=128000, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2, pad_token_id=None,
                rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]})
    vision = dict(hidden_size=c, intermediate_size=mlp, depth=depth, num_heads=vision_heads, out_hidden_size=d, patch_size=14, spatial_merge_size=2,
                  temporal_patch_size=2, window_size=112, fullatt_block_indexes=[7, 15, 23, 31])
    return Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=shape["image"], video_token_id=151656,
                                                                vision_start_token_id=151652, vision_end_token_id=151653)


def llava(shape):
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    v, d, f, layers, heads = shape["text"]
    c, mlp, vision_layers, vision_heads, side = shape["vision"]
    text = LlamaConfig(vocab_size=v, hidden_size=d, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
                       max_position_embeddings=4096, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    vision = CLIPVisionConfig(hidden_size=c, intermediate_size=mlp, num_hidden_layers=vision_layers, num_attention_heads=vision_heads, image_size=side, patch_size=14)
    return LlavaForConditionalGeneration, LlavaConfig(text_config=text, vision_config=vision, image_token_index=shape["image"], image_seq_length=shape["rows"],
                                                      vision_feature_layer=-2)


def build(kind, config, device):
    import torch

    config._attn_implementation = "sdpa"
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = kind(config)
    torch.set_default_dtype(default)
    return model.eval()


class Bench:
    def __init__(self, name, device, deadline):
        import torch

        self.torch, self.name, self.device, self.deadline = torch, name, device, deadline
        self.shape = SHAPES[name]
        self.qwen = name.startswith("qwen")
        self.model = build(*(qwen if self.qwen else llava)(self.shape), device)

    def now(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter()

    def ids(self, pairs, answers=()):
        s = self.shape
        prompt = lambda i: ([1] + [s["image"]] * s["rows"] + [100 + (i * 997 + n * 31) % 30000 for n in range(1 + s["rows"], s["prompt"])])
        answer = lambda i: [100 + (i * 131 + t * 17) % 30000 for t in range(s["answer"])]
        if not answers:
            return self.torch.tensor([prompt(i) for i in pairs], device=self.device)
        return self.torch.tensor([prompt(i) + answer(2 * i + side) for side in answers for i in pairs], device=self.device)

    def pictures(self, ids, repeat=1):
        """What the model takes beside ids: a random picture for each, or for each of the first ones, repeated."""
        count, side, draw = len(ids) // repeat, self.shape["vision"][4], self.torch.randn
        kind = dict(device=self.device, dtype=self.torch.bfloat16)
        if not self.qwen:
            return dict(pixel_values=draw(count, 3, side, side, **kind).repeat(repeat, 1, 1, 1))
        grid = self.torch.tensor([[1, side // 14, side // 14]] * len(ids), device=self.device)
        patches = draw(count * (side // 14) ** 2, 3 * 2 * 14 * 14, **kind).repeat(repeat, 1)
        return dict(pixel_values=patches, image_grid_thw=grid, mm_token_type_ids=(ids == self.shape["image"]).int())

    def generate(self, batch, tokens):
        """Seconds of the whole, and of what follows the first token of every answer."""
        ids = self.ids(range(batch))
        first = []

        def note(ids, scores, **_):
            first.append(self.now()) if not first else None
            return self.torch.zeros(len(ids), dtype=self.torch.bool, device=ids.device)

        begin = self.now()
        self.model.generate(input_ids=ids, attention_mask=self.torch.ones_like(ids), **self.pictures(ids), do_sample=False, min_new_tokens=tokens,
                            max_new_tokens=tokens, pad_token_id=0, stopping_criteria=[note])
        end = self.now()
        return end - begin, end - first[0]

    def best(self, run, rounds=3, warm=None):
        (warm or run)()
        times = []
        while len(times) < rounds and (not times or time.time() + min(times) < self.deadline):
            times.append(run())
        return min(times)

    def prefill(self, batches):
        """Seconds per prompt, at the best of these batch sizes."""
        return {"seconds": min(self.best(lambda: self.generate(b, 1)[0]) / b for b in batches)}

    def decode(self, batch, tokens=24):
        return {"seconds": self.best(lambda: self.generate(batch, tokens)[1], 2) / (tokens - 1), "timed": "from the first token on"}

    def dpo(self, rank, pairs):
        import torch
        import torch.nn.functional as F
        from peft import LoraConfig, get_peft_model

        names = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
        with torch.device(self.device):  # drawing r = 1024 on the host takes long
            model = get_peft_model(self.model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=rf".*language_model.*\.({names})"))
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=self.device == "cuda")
        prompt, answer = self.shape["prompt"], self.shape["answer"]

        def sums(ids, pictures):
            logits = model(input_ids=ids, use_cache=False, **pictures, logits_to_keep=answer + 1).logits[:, :-1].float()
            return torch.log_softmax(logits, -1).gather(-1, ids[:, prompt:, None])[..., 0].sum(-1)

        def step(micro, pairs):
            begin = self.now()
            for at in range(0, pairs, micro):
                ids = self.ids(range(at, at + micro), (0, 1))
                pictures = self.pictures(ids, 2)
                with torch.autocast(self.device, torch.bfloat16):
                    with torch.no_grad(), model.disable_adapter():
                        reference = sums(ids, pictures)
                    ratio = sums(ids, pictures) - reference
                (-F.logsigmoid(0.1 * (ratio[:micro] - ratio[micro:])).sum() / pairs).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return (self.now() - begin) / pairs

        # Seconds; None: the step does not fit. Its tensors must be gone before the next try, so nothing of the error is kept.
        def measured(micro):
            try:
                return self.best(lambda: step(micro, pairs), 2, lambda: step(micro, micro))
            except torch.cuda.OutOfMemoryError:
                pass
            optimizer.zero_grad()
            torch.cuda.empty_cache()

        results = {}
        for micro in (m for m in (2, 4, 8) if pairs % m == 0):
            seconds = measured(micro)
            if seconds is None:
                break
            results[micro] = seconds
            if time.time() + 3 * pairs * seconds > self.deadline:
                break
        checkpointing = False
        if not results and (seconds := measured(1)) is not None:
            results[1] = seconds
        if not results:
            checkpointing = True
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
            model.train()  # transformers checkpoints only then; no dropout here
            if (seconds := measured(1)) is None:
                raise MemoryError("a step of one pair does not fit, with gradient checkpointing")
            results[1] = seconds
        micro = min(results, key=results.get)
        return {"seconds_per_pair": results[micro], "micro_batch": micro, "lora_r": rank, "checkpointing": checkpointing}


def run(bench, task, args):
    if task == "dpo":
        return bench.dpo(args.lora_r, args.pairs)
    with bench.torch.inference_mode():
        if task.startswith("prefill"):
            return bench.prefill((1,) if task == "prefill1" else (1, 8, 16))
        return bench.decode(int(task.removeprefix("decode")))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", nargs="+", help="SHAPE:TASK,TASK... dpo last: peft changes the model in place")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--lora-r", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=16, help="of a DPO step")
    parser.add_argument("--seconds", type=float, default=100, help="stop starting rounds after this long")
    args = parser.parse_args()
    deadline = time.time() + args.seconds
    versions = {}
    for package in ("torch", "transformers", "peft"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # without peft the tasks before dpo still run
            versions[package] = None
    import torch

    for work in args.work:
        shape, tasks = work.split(":")
        bench = None  # frees the model before the next one is made
        for task in tasks.split(","):
            if args.device == "cuda":
                gc.collect()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            try:
                if time.time() > deadline:
                    raise TimeoutError("no time left")
                bench = bench or Bench(shape, args.device, deadline)
                result = run(bench, task, args)
            except Exception as error:  # continue with the next task
                result = {"error": f"{type(error).__name__}: {error}"[:300]}
            peak = torch.cuda.max_memory_allocated() >> 20 if args.device == "cuda" else 0
            print(json.dumps({"engine": "transformers", "task": task, "shape": shape, "device": args.device, "dtype": "bf16", **result, "gpu_mebibytes": peak, **versions}), flush=True)


if __name__ == "__main__":
    main()
