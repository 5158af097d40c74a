#!/usr/bin/env python3
"""What serving costs beside the model, and how the server refuses when it is overloaded. Linux; needs nothing installed.

    bench/serve/http_cost.py                     the embedded model
    bench/serve/http_cost.py ./Qwen3-0.6B        another one
    bench/serve/http_cost.py --overload --threads 1

Two runs, each of a fresh server and `miniinfer bench serve` on the same machine:
1. 512 streams at once. CPU time by thread from /proc: the share of all threads but the engine's and its workers.
2. Ten times the rate that the server can keep, into a queue of 64. Time to the first byte of a refusal, the server's
   resident memory over the run, and what it still answers. --threads 1 leaves a second core to the client.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Server:
    def __init__(self, program, model, *arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [program, "serve", *model, "--port", str(self.port), *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.rss_mib = []
        self.program = program
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None:
                    raise SystemExit("the server did not start") from None
                time.sleep(0.05)
        threading.Thread(target=self.watch, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def watch(self):
        while self.process.poll() is None:
            try:
                pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
            except OSError:
                return
            self.rss_mib.append(int(pages) * PAGE_MIB)
            time.sleep(0.2)

    def cpu_seconds(self):
        """By thread id."""
        seconds = {}
        for stat in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            fields = stat.read_text().rpartition(")")[2].split()
            seconds[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / TICKS
        return seconds

    def load(self, **flags):
        arguments = [text for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", str(value))]
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            subprocess.run([self.program, "bench", "serve", "--port", str(self.port), "--output-json", out.name, *arguments],
                           stdout=subprocess.DEVNULL, check=False)
            return json.load(out)


def measure_share(options):
    with Server(options.program, options.model, "--threads", options.threads, "--max-num-seqs", 512, "--max-connections", 4096) as server:
        before = server.cpu_seconds()
        figures = server.load(num_prompts=1024, max_concurrency=512, input_len="16:64", output_len="100:300")
        after = server.cpu_seconds()
    spent = sorted((after[thread] - before.get(thread, 0) for thread in after), reverse=True)
    compute, rest = spent[: options.threads], spent[options.threads :]
    print(f"512 streams: {figures['completed']} requests, {figures['failed']} failed, "
          f"{figures['output_tokens_per_s']:.0f} output tokens/s, most in flight {figures['max_in_flight']}")
    print(f"  CPU s: engine {', '.join(f'{s:.2f}' for s in compute)}; others {', '.join(f'{s:.2f}' for s in rest)}")
    print(f"  HTTP side: {100 * sum(rest) / sum(spent):.1f} % of the server's CPU time")


def measure_overload(options):
    lengths = {"input_len": "16:64", "output_len": "50:150"}
    # A workload that is never behind, at 80 % of what a burst of all shows to be possible.
    with Server(options.program, options.model, "--threads", options.threads, "--max-num-queued-reqs", 64, "--max-num-seqs", 64,
                "--max-connections", 8192) as server:
        possible = server.load(num_prompts=400, max_concurrency=64, **lengths)["requests_per_s"]
        kept = server.load(num_prompts=400, request_rate=0.8 * possible, **lengths)
        settled = len(server.rss_mib)
        count = int(10 * possible * 10)
        over = server.load(num_prompts=count, request_rate=10 * possible, **lengths)
        rss = server.rss_mib[settled:]
    print(f"overload: {possible:.1f} requests/s are possible; {10 * possible:.0f}/s were sent, {count} in all")
    print(f"  {over['completed']} answered, {over['rejected']} refused, {over['failed'] - over['rejected']} failed otherwise "
          f"{over['errors'] if over['failed'] > over['rejected'] else ''}")
    print(f"  answered {over['requests_per_s']:.1f}/s = {100 * over['requests_per_s'] / possible:.0f} % of what is possible")
    print("  first byte of a refusal, ms: " + ", ".join(
        f"{name} {over[f'reject_first_byte_{name}_ms']:.2f}" for name in ["mean", "p50", "p90", "p99"]))
    print(f"  resident memory: {rss[0]:.0f} MiB at the start, {min(rss):.0f} to {max(rss):.0f} during, {rss[-1]:.0f} at the end")
    print(f"  time per output token p50: {kept['tpot_p50_ms']:.2f} ms at 80 % load, {over['tpot_p50_ms']:.2f} ms overloaded")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", help="a model directory; default: the embedded model")
    parser.add_argument("--program", default=str(ROOT / "build/apps/miniinfer/miniinfer"))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the engine")
    parser.add_argument("--overload", action="store_true", help="the second run alone")
    options = parser.parse_args()
    if not options.overload:
        measure_share(options)
    measure_overload(options)


if __name__ == "__main__":
    main()
