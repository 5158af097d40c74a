#!/usr/bin/env python3
"""A GPU's memory in use against the plan, each model in a process of its own: memory.py PROGRAM. Exit status 1 beyond 1 %, and
when a plan that cannot fit is not refused at once with what would.

The GPU must be idle: what other programs take while a model runs is counted as if it were the model's.
"""

import json
import re
import subprocess
import sys
import time

BASE = ["bench", "latency", "--device", "cuda", "--input-len", "1000", "--output-len", "40",
        "--num-iters", "1", "--num-iters-warmup", "1", "--output-json", "-"]
CASES = [
    ["--gpu-memory-utilization", "0.5"],
    ["--shape", "tiny", "--gpu-memory-utilization", "0.5", "--max-model-len", "2048", "--batch-size", "64"],
    ["--kv-cache-memory-bytes", "256M", "--batch-size", "4", "--graph-capture", "start"],
    ["--kv-cache-memory-bytes", "256M", "--no-async-scheduling", "--enforce-eager"],
    ["--shape", "qwen3-0.6b", "--gpu-memory-utilization", "0.5", "--batch-size", "8"],
    ["--shape", "qwen3-0.6b", "--gpu-memory-utilization", "0.5", "--batch-size", "8", "--no-async-scheduling"],
    ["--shape", "qwen3-0.6b", "--batch-size", "64", "--max-model-len", "32K", "--graph-capture", "start"],
    ["--shape", "qwen3-0.6b", "--kv-cache-memory-bytes", "2G", "--batch-size", "8"],
    ["--shape", "llama-3.1-8b", "--batch-size", "16", "--max-model-len", "128K"],
    ["--shape", "llama-3.1-8b", "--batch-size", "16", "--graph-capture", "start"],
    ["--shape", "llama-3.1-8b", "--gpu-memory-utilization", "0.5", "--max-num-batched-tokens", "16K"],
    # Its products are in no table: those that are tried before it is loaded leave their kernels in memory.
    ["--shape", "qwen3-0.6b", "--gpu-memory-utilization", "0.1", "--max-model-len", "32K", "--dtype", "float16"],
    ["--shape", "llama-3.1-8b", "--kv-cache-memory-bytes", "4G", "--max-num-seqs", "32", "--enforce-eager"],
]
REFUSED = [
    ["--shape", "llama-3.1-8b", "--gpu-memory-utilization", "0.1"],
    ["--shape", "llama-3.1-8b", "--gpu-memory-utilization", "0.5", "--kv-cache-memory-bytes", "1000G"],
    ["--shape", "llama-3.1-8b", "--kv-cache-memory-bytes", "1G", "--max-model-len", "128K"],
]


def run(program, case):
    return subprocess.run([program, *BASE, *case], capture_output=True, text=True)


def holds_its_plan(program, case):
    begin = time.monotonic()
    result = run(program, case)
    took = time.monotonic() - begin
    if result.returncode != 0:
        print("FAILED", *case, result.stderr.strip())
        return False
    gpu = json.loads(result.stdout)["gpu"]
    plan, used = gpu["plan"], gpu["used_bytes"]
    # Graphs are captured as steps come: those that have not been are still to come.
    to_come = 1 - gpu["graphs"] / max(gpu["max_graphs"], 1)
    expected = plan["total_bytes"] - plan["graph_bytes"] * to_come
    off = (used - expected) / plan["total_bytes"]
    good = abs(off) < 0.01 and used < 1.01 * plan["total_bytes"]
    if "start" in case:
        good = good and gpu["graphs"] == gpu["max_graphs"]
    print(f"{'ok' if good else 'FAILED':6} plan {plan['total_bytes'] / 2**20:9.1f} MiB, used {used / 2**20:9.1f}, "
          f"{gpu['graphs']:3} graphs: {100 * off:+.2f} %, {took:4.1f} s  {' '.join(case)}", flush=True)
    return good


# Says what would fit, before anything is loaded, and that does.
def is_refused(program, case):
    begin = time.monotonic()
    result = run(program, case)
    took = time.monotonic() - begin
    # The first piece of advice, if there are several.
    advice = (re.search(r"(--[a-z-]+) ([0-9.]+)[^;]* would fit", result.stderr) or
              re.search(r"(at most) ([0-9]+) would", result.stderr))
    good = result.returncode in (1, 2) and advice is not None
    print(f"{'ok' if good else 'FAILED':6} refused after {took:.1f} s: {result.stderr.strip()}", flush=True)
    if not good:
        return False
    flag, value = advice.groups()
    flag = {"at most": "--kv-cache-memory-bytes"}.get(flag, flag)
    advised = list(case)
    if flag in advised:
        advised[advised.index(flag) + 1] = value
    else:
        advised += [flag, value]
    result = run(program, advised)
    print(f"{'ok' if result.returncode == 0 else 'FAILED':6} advised: {' '.join(advised)} {result.stderr.strip()}", flush=True)
    return result.returncode == 0


def main(program):
    results = [holds_its_plan(program, case) for case in CASES] + [is_refused(program, case) for case in REFUSED]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
