#!/usr/bin/env python3
"""Times single operators in torch on demand: a case of `miniinfer bench ops` a line, its median
milliseconds a line back.

usage: torch_ops.py [THREADS]   (a line "cases" lists the cases)
"""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
COLD_BYTES = 256 << 20  # weights are rotated over this much, as ours are: no cache is that large


def median_ms(run, seconds=0.5, least=5):
    run()
    times = []
    deadline = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def rowwise(run, name):
    """A 4096 x 4096 operator. `run(x, out)` writes to out where torch can: a fresh 64 MB result
    costs more in page faults than a softmax in arithmetic."""
    x = torch.randn(4096, 4096).to(DTYPES[name])
    out = torch.empty_like(x)
    return lambda: run(x, out)


def norm(run, name):
    weight = torch.ones(4096, dtype=DTYPES[name])
    return rowwise(lambda x, out: run(x, weight), name)


def linear(m, n, k, name, cold):
    dtype = DTYPES[name]
    x = torch.randn(m, k).to(dtype)
    size = n * k * x.element_size()
    weights = [
        torch.randn(n, k).to(dtype) for _ in range(max(2, COLD_BYTES // size) if cold else 1)
    ]
    state = {"next": 0}

    def run():
        state["next"] = (state["next"] + 1) % len(weights)
        return F.linear(x, weights[state["next"]])

    return run


def causal_attention(name):
    q, k, v = (torch.randn(1, 16, 512, 128).to(DTYPES[name]) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def embedding(name):
    table = torch.randn(151936, 1024).to(DTYPES[name])
    ids = torch.randint(0, 151936, (512,))
    return lambda: F.embedding(ids, table)


def cases():
    """The name that `miniinfer bench ops` gives the case -> a function that prepares it."""
    aten = torch.ops.aten
    table = {}
    for name in ("float32", "bfloat16"):
        shape = f"4096x4096 {name}->{name}"
        table[f"softmax {shape}"] = lambda n=name: rowwise(
            lambda x, out: torch.softmax(x, -1, out=out), n
        )
        table[f"layer_norm {shape}"] = lambda n=name: norm(
            lambda x, w: F.layer_norm(x, (4096,), w, w), n
        )
        table[f"rms_norm {shape}"] = lambda n=name: norm(lambda x, w: F.rms_norm(x, (4096,), w), n)
    shape = "4096x4096 float32->float32"
    table[f"log_softmax {shape}"] = lambda: rowwise(
        lambda x, out: torch.log_softmax(x, -1, out=out), "float32"
    )
    table[f"silu {shape}"] = lambda: rowwise(lambda x, out: aten.silu.out(x, out=out), "float32")
    table[f"gelu {shape}"] = lambda: rowwise(lambda x, out: aten.gelu.out(x, out=out), "float32")
    table["embedding tokens512 width1024 bfloat16->bfloat16"] = lambda: embedding("bfloat16")
    table["attention b1 rows512 context512 heads16/16 d128 bfloat16"] = lambda: causal_attention(
        "bfloat16"
    )
    for name in ("bfloat16", "float16", "float32"):
        key = f"linear m2048 n2048 k2048 {name}*{name}->{name} cached"
        table[key] = lambda n=name: linear(2048, 2048, 2048, n, cold=False)
    for m, n, k, out in (
        (1, 6144, 1024, "bfloat16"),
        (1, 151936, 1024, "float32"),
        (16, 6144, 1024, "bfloat16"),
        (512, 6144, 1024, "bfloat16"),
        (512, 1024, 3072, "float32"),
    ):
        key = f"linear m{m} n{n} k{k} bfloat16*bfloat16->{out}"
        table[key] = lambda m=m, n=n, k=k: linear(m, n, k, "bfloat16", cold=True)
    return table


@torch.inference_mode()
def main(threads="2"):
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    table = cases()
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name == "cases":
            print(json.dumps(list(table)), flush=True)
        else:
            print(json.dumps(median_ms(table[name]())), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
