# SPDX-License-Identifier: Apache-2.0
"""The same shapes as ops_bench on PyTorch's CPU kernels: python3 bench/ops/torch_ops.py [THREADS] [wall|cpu] (torch 2.13)."""
import json
import sys
import time

import torch
import torch.nn.functional as F

threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
processor_time = len(sys.argv) > 2 and sys.argv[2] == 'cpu'
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
now = (lambda: time.process_time() / threads) if processor_time else time.perf_counter


def median(run, budget=0.3):
    run()
    times, start = [], now()
    while len(times) < 5 or now() - start < budget:
        before = now()
        run()
        times.append(now() - before)
    return sorted(times)[len(times) // 2]


def report(op, shape, dtype, seconds, flops=0, size=0):
    row = {'op': op, 'shape': shape, 'dtype': str(dtype).removeprefix('torch.'), 'threads': threads, 'torch': torch.__version__,
           'ms': round(seconds * 1e3, 4)}
    if flops:
        row['gflops'] = round(flops / seconds / 1e9, 1)
    if size:
        row['gbytes_per_s'] = round(size / seconds / 1e9, 1)
    print(json.dumps(row), flush=True)


print(json.dumps({'time': 'cpu' if processor_time else 'wall'}))
for dtype in (torch.float32, torch.bfloat16):
    for t, k, n in ((700, 4096, 4096), (336, 768, 3072), (100, 256, 1024), (16, 4096, 4096)):
        x, w = torch.randn(t, k).to(dtype), torch.randn(n, k).to(dtype)
        report('linear', f'{t}x{k}x{n}', dtype, median(lambda: F.linear(x, w)), 2 * t * k * n)
    count = 6 if dtype == torch.float32 else 12
    ws = [torch.randn(4096, 4096).to(dtype) for _ in range(count)]
    for t in (1, 2, 4, 8, 16):
        x = torch.randn(t, 4096).to(dtype)
        s = median(lambda: [F.linear(x, w) for w in ws]) / count
        report('linear streamed', f'{t}x4096x4096', dtype, s, 2 * t * 4096 * 4096, ws[0].nbytes)
    del ws
    for heads, t, d in ((32, 700, 128), (12, 336, 64)):
        q, k, v = (torch.randn(1, heads, t, d).to(dtype) for _ in range(3))
        s = median(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        report('attention', f'{heads} heads x {t} x {d} causal', dtype, s, 4 * heads * t * t * d)
        with torch.enable_grad():
            leaves = [x.clone().requires_grad_() for x in (q, k, v)]
            out = F.scaled_dot_product_attention(*leaves, is_causal=True)
            g = torch.randn_like(out)
            s = median(lambda: torch.autograd.grad(out, leaves, g, retain_graph=True))
        report('attention_backward', f'{heads} heads x {t} x {d} causal', dtype, s, 10 * heads * t * t * d)
    for branches in (1, 8):
        q = torch.randn(branches, 32, 1, 128).to(dtype)
        k, v = (torch.randn(branches, 32, 730, 128).to(dtype) for _ in range(2))
        report('attention decode', f'{branches} branches on 700', dtype, median(lambda: F.scaled_dot_product_attention(q, k, v)))
    x, w, gate, up = torch.randn(700, 4096).to(dtype), torch.randn(4096).to(dtype), torch.randn(700, 11008).to(dtype), torch.randn(700, 11008).to(dtype)
    report('rms_norm', '700x4096', dtype, median(lambda: F.rms_norm(x, (4096,), w)), 0, 2 * x.nbytes)
    report('swiglu', '700x11008', dtype, median(lambda: F.silu(gate) * up), 0, 3 * gate.nbytes)
    report('gelu exact', '700x4096', dtype, median(lambda: F.gelu(x)), 0, 2 * x.nbytes)
    logits, target = torch.randn(60, 32000).to(dtype), torch.full((60, 1), 7)
    report('log_softmax_gather', '60x32000', dtype, median(lambda: F.log_softmax(logits.float(), -1).gather(1, target)), 0, logits.nbytes)
