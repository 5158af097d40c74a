#!/usr/bin/env python3
"""Ours and the peers in one run, taking turns, and the ratios of neighbouring turns.

The memory of a small cloud machine swings by 1.7x within a second, so a figure alone says little
and two figures taken minutes apart say nothing about each other. Each round measures every
contestant of a row once, in alternating order; the ratio of a row is the median over rounds of the
ratio within a round. Every measurement is itself the median of three.

usage: compare.py --peers DIR [--miniinfer BINARY] [--rows prefill,decode1,...] [--rounds 5]
                  [--output-json FILE]
Without --miniinfer the peers are measured alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import Machine

HERE = Path(__file__).resolve().parent
REPEAT = 3


class Bench:
    def __init__(self, peers, miniinfer, threads):
        self.dir = Path(peers)
        self.models = self.dir / "models"
        self.miniinfer = miniinfer
        self.threads = str(threads)
        self.openvino_process = None
        self.machine = Machine()

    # --- ours -------------------------------------------------------------------------------

    def latency(self, shape, batch, prompt, new):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            # The directory, not --shape: weights are to be used where the file is mapped.
            command = [self.miniinfer, "bench", "latency", self.models / f"{shape}-hf"]
            command += ["--batch-size", batch, "--input-len", prompt, "--output-len", new]
            command += ["--num-iters", REPEAT]
            command += ["--num-iters-warmup", 1, "--threads", self.threads]
            command += ["--output-json", report.name]
            run(command)
            return json.loads(Path(report.name).read_text())

    def our_prefill(self, length):
        return length / self.latency("qwen3-0.6b", 1, length, 1)["ttft_ms"] * 1e3

    def our_decode(self, shape, batch, prompt, new):
        return batch / self.latency(shape, batch, prompt, new + 1)["decode_step_ms"] * 1e3

    def our_start(self):
        question = self.models / "one.jsonl"
        question.write_text('{"prompt_token_ids": [5]}\n')
        return wall(
            [self.miniinfer, "run", self.models / "qwen3-0.6b-hf", "--prompts-file", question]
            + ["--max-tokens", 1, "--ignore-eos", "--json", "--threads", self.threads]
        )

    # --- llama.cpp --------------------------------------------------------------------------

    def llama_bench(self, shape, prompt, new, threads=None):
        command = [self.dir / "llama/bin/llama-bench", "-m", self.models / f"{shape}-bf16.gguf"]
        command += ["-p", prompt, "-n", new, "-t", threads or self.threads, "-r", REPEAT]
        lines = run(command + ["-fa", 1, "-o", "jsonl"]).splitlines()
        (result,) = (json.loads(line) for line in lines if line.startswith("{"))
        return statistics.median(result["samples_ts"])

    def llama_tiny(self, new):
        # Two threads need not pay for a model this small: the better figure counts.
        return max(self.llama_bench("tiny", 0, new, threads=t) for t in (1, 2))

    def llama_batched(self, batch, prompt, new):
        command = [self.dir / "llama/bin/llama-batched-bench"]
        command += ["-m", self.models / "qwen3-0.6b-bf16.gguf", "-c", 4096, "-b", 2048, "-ub", 512]
        command += ["-npp", prompt, "-ntg", new, "-npl", batch, "-fa", "on"]
        command += ["-t", self.threads, "-tb", self.threads, "--output-format", "jsonl"]
        lines = [json.loads(l) for l in run(command).splitlines() if l.startswith("{")]
        return lines[-1]["speed_tg"]

    def llama_start(self):
        model = self.models / "qwen3-0.6b-bf16.gguf"
        return wall(
            [self.dir / "llama/bin/llama-bench", "-m", model, "-p", 1, "-n", 0, "-r", 1]
            + ["--no-warmup", "-t", self.threads, "-fa", 1, "-o", "jsonl"]
        )

    # --- OpenVINO ---------------------------------------------------------------------------

    def openvino(self, *command):
        if self.openvino_process is None:
            self.openvino_process = subprocess.Popen(
                [self.dir / "venv/bin/python", HERE / "openvino_peer.py"]
                + [str(self.models / "qwen3-0.6b-ov"), self.threads],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.machine.processes.append(self.openvino_process)
            self.openvino_process.stdout.readline()
        print(*command, file=self.openvino_process.stdin, flush=True)
        return json.loads(self.openvino_process.stdout.readline())["tokens_per_s"]

    def close(self):
        if self.openvino_process is not None:
            self.openvino_process.stdin.close()
            self.openvino_process.wait()

    def bandwidth(self):
        return json.loads(run([self.dir / "read_bandwidth"]))["best_gb_per_s"]


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def wall(command):
    """Process start to process end: what a user waits for a first token."""
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def rows(bench):
    """name -> (unit, whether more is better, {contestant: measurement}), ours first."""
    b = bench
    return {
        "prefill": (
            "tok/s",
            True,
            {
                "miniinfer": lambda: b.our_prefill(512),
                "openvino": lambda: b.openvino("prefill", 512),
                "llama.cpp": lambda: b.llama_bench("qwen3-0.6b", 512, 0),
            },
        ),
        "decode1": (
            "tok/s",
            True,
            {
                "miniinfer": lambda: b.our_decode("qwen3-0.6b", 1, 8, 24),
                "llama.cpp": lambda: b.llama_bench("qwen3-0.6b", 0, 24),
                "openvino": lambda: b.openvino("decode", 1, 8, 24),
                "memory GB/s": b.bandwidth,
            },
        ),
        "decode16": (
            "tok/s",
            True,
            {
                "miniinfer": lambda: b.our_decode("qwen3-0.6b", 16, 32, 32),
                "openvino": lambda: b.openvino("decode", 16, 32, 32),
                "llama.cpp": lambda: b.llama_batched(16, 32, 32),
            },
        ),
        "tiny": (
            "tok/s",
            True,
            {
                "miniinfer": lambda: b.our_decode("tiny", 1, 8, 256),
                "llama.cpp": lambda: b.llama_tiny(256),
            },
        ),
        "start": ("s", False, {"miniinfer": b.our_start, "llama.cpp": b.llama_start}),
    }


def measure(bench, contestants, rounds):
    values = {name: [] for name in contestants}
    for round_number in range(rounds):
        order = list(contestants)
        if round_number % 2:
            order.reverse()
        for name in order:
            values[name].append(bench.machine.quietly(contestants[name]))
    return values


def report(row, unit, more_is_better, values):
    print(f"\n{row}  ({unit}; median and best of {len(next(iter(values.values())))} rounds)")
    best = max if more_is_better else min
    out = {}
    for name, samples in values.items():
        entry = {"median": statistics.median(samples), "best": best(samples), "samples": samples}
        line = f"  {name:12s} {entry['median']:10.3f} {entry['best']:10.3f}"
        if name != "miniinfer" and "GB/s" not in name and "miniinfer" in values:
            pairs = zip(values["miniinfer"], samples)
            ratios = [(o / p if more_is_better else p / o) for o, p in pairs]
            entry["ours_over_it"] = statistics.median(ratios)
            line += f"   ours is {entry['ours_over_it']:.2f}x"
            line += f" (rounds {min(ratios):.2f} to {max(ratios):.2f})"
        print(line, flush=True)
        out[name] = entry
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", required=True)
    parser.add_argument("--miniinfer")
    parser.add_argument("--rows", default="prefill,decode1,decode16,tiny,start")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--output-json")
    arguments = parser.parse_args()
    bench = Bench(arguments.peers, arguments.miniinfer, arguments.threads)
    table = rows(bench)
    results = {}
    for row in arguments.rows.split(","):
        unit, more_is_better, contestants = table[row]
        if not arguments.miniinfer:
            del contestants["miniinfer"]
        values = measure(bench, contestants, arguments.rounds)
        results[row] = {"unit": unit, **report(row, unit, more_is_better, values)}
    bench.close()
    print("\n" + bench.machine.summary())
    if arguments.output_json:
        Path(arguments.output_json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
