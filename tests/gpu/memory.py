#!/usr/bin/env python3
"""A GPU's memory in use against the plan, each model in a process of its own: memory.py PROGRAM. Exit status 1 beyond 1 %.

The GPU must be idle: what other programs take while a model runs is counted as if it were the model's.
"""

import json
import subprocess
import sys

BASE = ["bench", "latency", "--device", "cuda", "--dtype", "bfloat16", "--input-len", "1000", "--output-len", "40",
        "--num-iters", "1", "--num-iters-warmup", "1", "--output-json", "-"]
CASES = [
    ["--gpu-memory-utilization", "0.5"],
    ["--shape", "tiny", "--gpu-memory-utilization", "0.5", "--max-model-len", "2048", "--batch-size", "64"],
    ["--kv-cache-memory-bytes", "256M", "--batch-size", "4"],
    ["--shape", "qwen3-0.6b", "--gpu-memory-utilization", "0.5", "--batch-size", "8"],
    ["--shape", "qwen3-0.6b", "--batch-size", "64", "--max-model-len", "32K"],
    ["--shape", "qwen3-0.6b", "--kv-cache-memory-bytes", "2G", "--batch-size", "8"],
    ["--shape", "llama-3.1-8b", "--batch-size", "16", "--max-model-len", "128K"],
    ["--shape", "llama-3.1-8b", "--gpu-memory-utilization", "0.5", "--max-num-batched-tokens", "16K"],
    ["--shape", "llama-3.1-8b", "--kv-cache-memory-bytes", "4G", "--max-num-seqs", "32", "--enforce-eager"],
]


def main(program):
    failed = False
    for case in CASES:
        result = subprocess.run([program, *BASE, *case], capture_output=True, text=True)
        if result.returncode != 0:
            print("FAILED", *case, result.stderr.strip())
            failed = True
            continue
        gpu = json.loads(result.stdout)["gpu"]
        plan, used = gpu["plan"], gpu["used_bytes"]
        # Graphs are captured as steps come: those that have not been are still to come.
        to_come = 1 - gpu["graphs"] / max(gpu["max_graphs"], 1)
        expected = plan["total_bytes"] - plan["graph_bytes"] * to_come
        off = (used - expected) / plan["total_bytes"]
        good = abs(off) < 0.01 and used < 1.01 * plan["total_bytes"]
        failed |= not good
        print(f"{'ok' if good else 'FAILED':6} plan {plan['total_bytes'] / 2**20:9.1f} MiB, used {used / 2**20:9.1f}, "
              f"{gpu['graphs']:3} graphs: {100 * off:+.2f} %  {' '.join(case)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
