#!/usr/bin/env python3
"""Times single operators in torch on the CPU: best milliseconds by operator and shape, as JSON.

usage: torch_ops.py [THREADS]
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

BF16 = torch.bfloat16


def best_ms(run, seconds=1.5, least=5):
    run()
    times = []
    deadline = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def row_operators():
    """Outputs are given where torch allows it: allocating 64 MB costs more than the softmax."""
    x = torch.randn(4096, 4096)
    out = torch.empty_like(x)
    weight, bias = torch.ones(4096), torch.zeros(4096)
    yield "softmax f32 4096x4096", lambda: torch.softmax(x, -1, out=out)
    yield "layer_norm f32 4096x4096", lambda: F.layer_norm(x, (4096,), weight, bias)
    yield "rms_norm f32 4096x4096", lambda: F.rms_norm(x, (4096,), weight)
    yield "silu f32 4096x4096", lambda: torch.ops.aten.silu.out(x, out=out)
    yield "gelu f32 4096x4096", lambda: torch.ops.aten.gelu.out(x, out=out)
    table = torch.randn(32000, 1024, dtype=BF16)
    ids = torch.randint(0, 32000, (4096,))
    yield "embedding bf16 4096x1024", lambda: F.embedding(ids, table)


def matrix_operators():
    for dtype, name in ((torch.float32, "f32"), (BF16, "bf16")):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        yield f"matmul {name} 2048x2048x2048", lambda a=a, b=b: F.linear(a, b)
    for rows in (1, 16, 512):
        x = torch.randn(rows, 1024).to(BF16)
        weight = torch.randn(3072, 1024).to(BF16)
        yield f"linear bf16 {rows}x1024x3072", lambda x=x, w=weight: F.linear(x, w)
    x, weight = torch.randn(1, 1024).to(BF16), torch.randn(151936, 1024).to(BF16)
    yield "linear bf16 1x1024x151936", lambda: F.linear(x, weight)


def attention_operators():
    for dtype, name in ((torch.float32, "f32"), (BF16, "bf16")):
        q, k, v = (torch.randn(1, 16, 512, 128).to(dtype) for _ in range(3))
        yield f"causal_attention {name} 16x512x128", lambda q=q, k=k, v=v: (
            F.scaled_dot_product_attention(q, k, v, is_causal=True)
        )


@torch.inference_mode()
def main(threads="2"):
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    best = {}
    for family in (row_operators, matrix_operators, attention_operators):
        for name, run in family():
            best[name] = round(best_ms(run), 4)
            print(f"{name:32s} {best[name]:10.3f} ms", file=sys.stderr, flush=True)
    print(json.dumps({"torch": torch.__version__, "threads": int(threads), "best_ms": best}))


if __name__ == "__main__":
    main(*sys.argv[1:])
