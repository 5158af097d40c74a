#!/usr/bin/env python3
"""Our operators and torch's by turns: milliseconds, and how many times faster ours are.

usage: compare_ops.py --peers DIR [--miniinfer BINARY] [--filter TEXT] [--rounds 3]
                      [--output-json FILE]
Without --miniinfer torch is measured alone.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
from pathlib import Path

from machine import Machine

HERE = Path(__file__).resolve().parent


def our_case(binary, threads, case):
    exactly = "^" + re.sub(r"([.*+?()\[\]{}|^$\\])", r"\\\1", case) + "$"
    command = [binary, "bench", "ops", "--filter", exactly, "--threads", str(threads)]
    done = subprocess.run(command + ["--output-json", "-"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    (found,) = json.loads(done.stdout)
    return found


class Torch:
    def __init__(self, peers, threads):
        self.process = subprocess.Popen(
            [Path(peers) / "venv/bin/python", HERE / "torch_ops.py", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", required=True)
    parser.add_argument("--miniinfer")
    parser.add_argument("--filter", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("--output-json")
    arguments = parser.parse_args()

    torch = Torch(arguments.peers, arguments.threads)
    machine = Machine()
    machine.processes.append(torch.process)
    results = {}
    print(f"{'case':64s} {'torch ms':>9s} {'ours ms':>9s} {'% of limit':>10s} {'ratio':>6s}")
    for case in torch.ask("cases"):
        if arguments.filter not in case:
            continue
        rounds = []
        for _ in range(arguments.rounds):
            theirs = machine.quietly(lambda: torch.ask(case))
            ours = None
            if arguments.miniinfer:
                ours = machine.quietly(
                    lambda: our_case(arguments.miniinfer, arguments.threads, case)
                )
            rounds.append((theirs, ours))
        entry = {"torch_ms": statistics.median(t for t, _ in rounds)}
        line = f"{case:64s} {entry['torch_ms']:9.3f}"
        if arguments.miniinfer:
            entry["ours_ms"] = statistics.median(o["duration_ms"] for _, o in rounds)
            entry["percent_of_limit"] = statistics.median(o["percent_of_limit"] for _, o in rounds)
            entry["ours_over_it"] = statistics.median(t / o["duration_ms"] for t, o in rounds)
            line += f" {entry['ours_ms']:9.3f} {entry['percent_of_limit']:10.1f}"
            line += f" {entry['ours_over_it']:6.2f}"
        print(line, flush=True)
        results[case] = entry
    print(machine.summary())
    torch.process.stdin.close()
    torch.process.wait()
    if arguments.output_json:
        Path(arguments.output_json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
