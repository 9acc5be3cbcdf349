# SPDX-License-Identifier: Apache-2.0
"""transformers + peft on a GPU at the shapes of bench_engine and bench_train: one NDJSON row per task, printed when it is done.

   python bench/gpu_baseline.py [--shape 7b|13b|157m] [--device cuda] [--tasks prefill1,prefill,decode1,decode64,dpo] [--seconds N]

Weights are random, in bf16, drawn on the device. The baseline gets every advantage the libraries offer: sdpa attention, logits of the answer rows only,
no gradient checkpointing, LoRA under autocast with f32 master weights (as the trainers run it), fused AdamW, the reference pass with the adapter off
in the same model, the best of several micro-batches. As trl does it, chosen and rejected are sequences of their own with the image repeated.
"""
import argparse
import importlib.metadata
import json
import time

SHAPES = {
    "157m": dict(text=(32000, 768, 2048, 12, 12), vision=(512, 2048, 7, 8, 224), prompt=320, answer=16, rows=256, image=31999),
    "7b": dict(text=(32064, 4096, 11008, 32, 32), vision=(1024, 4096, 24, 16, 336), prompt=630, answer=60, rows=576, image=32000),
    "13b": dict(text=(32064, 5120, 13824, 40, 40), vision=(1024, 4096, 24, 16, 336), prompt=630, answer=60, rows=576, image=32000),
}


def build(shape, device):
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    v, d, f, layers, heads = shape["text"]
    c, mlp, vision_layers, vision_heads, side = shape["vision"]
    text = LlamaConfig(vocab_size=v, hidden_size=d, intermediate_size=f, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
                       max_position_embeddings=4096, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
    vision = CLIPVisionConfig(hidden_size=c, intermediate_size=mlp, num_hidden_layers=vision_layers, num_attention_heads=vision_heads, image_size=side, patch_size=14)
    config = LlavaConfig(text_config=text, vision_config=vision, image_token_index=shape["image"], image_seq_length=shape["rows"], vision_feature_layer=-2)
    config._attn_implementation = "sdpa"
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlavaForConditionalGeneration(config)
    torch.set_default_dtype(default)
    return model.eval()


class Bench:
    def __init__(self, name, device, seconds):
        import torch

        self.torch, self.name, self.device, self.deadline = torch, name, device, time.time() + seconds
        self.shape = SHAPES[name]
        self.model = build(self.shape, device)

    def now(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter()

    def memory(self):
        return self.torch.cuda.max_memory_allocated() >> 20 if self.device == "cuda" else 0

    def ids(self, pairs, answers=()):
        s = self.shape
        prompt = lambda i: ([1] + [s["image"]] * s["rows"] + [100 + (i * 997 + n * 31) % 30000 for n in range(1 + s["rows"], s["prompt"])])
        answer = lambda i: [100 + (i * 131 + t * 17) % 30000 for t in range(s["answer"])]
        if not answers:
            return self.torch.tensor([prompt(i) for i in pairs], device=self.device)
        return self.torch.tensor([prompt(i) + answer(2 * i + side) for side in answers for i in pairs], device=self.device)

    def pixels(self, count):
        side = self.shape["vision"][4]
        return self.torch.randn(count, 3, side, side, device=self.device, dtype=self.torch.bfloat16)

    def generate(self, batch, tokens):
        """Seconds of the whole, and of what follows the first token of every answer."""
        ids = self.ids(range(batch))
        first = []

        def note(ids, scores, **_):
            first.append(self.now()) if not first else None
            return self.torch.zeros(len(ids), dtype=self.torch.bool, device=ids.device)

        begin = self.now()
        self.model.generate(input_ids=ids, attention_mask=self.torch.ones_like(ids), pixel_values=self.pixels(batch), do_sample=False, min_new_tokens=tokens,
                            max_new_tokens=tokens, pad_token_id=0, stopping_criteria=[note])
        end = self.now()
        return end - begin, end - first[0]

    def best(self, run, rounds=3):
        run()
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
        model = get_peft_model(self.model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=rf".*language_model.*\.({names})"))
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=self.device == "cuda")
        prompt, answer = self.shape["prompt"], self.shape["answer"]

        def sums(ids, px):
            logits = model(input_ids=ids, pixel_values=px, logits_to_keep=answer + 1).logits[:, :-1].float()
            return torch.log_softmax(logits, -1).gather(-1, ids[:, prompt:, None])[..., 0].sum(-1)

        def step(micro):
            begin = self.now()
            for at in range(0, pairs, micro):
                ids = self.ids(range(at, at + micro), (0, 1))
                px = self.pixels(micro).repeat(2, 1, 1, 1)
                with torch.autocast(self.device, torch.bfloat16):
                    with torch.no_grad(), model.disable_adapter():
                        reference = sums(ids, px)
                    ratio = sums(ids, px) - reference
                (-F.logsigmoid(0.1 * (ratio[:micro] - ratio[micro:])).sum() / pairs).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return (self.now() - begin) / pairs

        results = {}
        for micro in (m for m in (2, 4, 8) if pairs % m == 0):
            try:
                results[micro] = self.best(lambda: step(micro), 2)
            except torch.cuda.OutOfMemoryError:
                optimizer.zero_grad()
                torch.cuda.empty_cache()
                break
            if time.time() + 20 * results[micro] > self.deadline:
                break
        micro = min(results, key=results.get)
        return {"seconds_per_pair": results[micro], "micro_batch": micro, "lora_r": rank}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="7b", choices=SHAPES)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tasks", default="prefill1,prefill,decode1,decode64,dpo")  # dpo last: peft changes the model in place
    parser.add_argument("--lora-r", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=16, help="of a DPO step")
    parser.add_argument("--seconds", type=float, default=100, help="stop starting rounds after this long")
    args = parser.parse_args()
    bench = Bench(args.shape, args.device, args.seconds)
    versions = {}
    for package in ("torch", "transformers", "peft"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # without peft the tasks before dpo still run
            versions[package] = None
    for task in args.tasks.split(","):
        if args.device == "cuda":
            bench.torch.cuda.empty_cache()
            bench.torch.cuda.reset_peak_memory_stats()
        try:
            if task == "dpo":
                result = bench.dpo(args.lora_r, args.pairs)
            else:
                with bench.torch.inference_mode():
                    result = bench.prefill((1,) if task == "prefill1" else (1, 8, 16)) if task.startswith("prefill") else bench.decode(int(task.removeprefix("decode")))
        except Exception as error:  # continue with the next task
            result = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({"engine": "transformers", "task": task, "shape": args.shape, "device": args.device, "dtype": "bf16", **result, "gpu_mebibytes": bench.memory(), **versions}), flush=True)


if __name__ == "__main__":
    main()
