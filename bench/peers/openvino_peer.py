#!/usr/bin/env python3
"""Keeps an OpenVINO GenAI pipeline loaded and times it on demand, by commands on stdin.

usage: openvino_peer.py MODEL_DIR THREADS
commands, one a line: prefill LENGTH | decode BATCH PROMPT_LENGTH NEW_TOKENS
Each is answered by a JSON object on one line.
"""

import json
import statistics
import sys
import time

import numpy
import openvino
import openvino_genai

REPEAT = 3


class Peer:
    def __init__(self, path, threads):
        start = time.perf_counter()
        self.pipeline = openvino_genai.LLMPipeline(
            path, "CPU", INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY"
        )
        self.load_s = time.perf_counter() - start
        self.vocabulary = json.load(open(path + "/config.json"))["vocab_size"]
        self.rng = numpy.random.default_rng(0)

    def seconds(self, batch, prompt_length, new_tokens):
        ids = self.rng.integers(1, self.vocabulary, (batch, prompt_length)).astype(numpy.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids))
        )
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = new_tokens
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        start = time.perf_counter()
        out = self.pipeline.generate(inputs, config)
        elapsed = time.perf_counter() - start
        assert [len(t) for t in out.tokens] == [new_tokens] * batch
        return elapsed

    def median_seconds(self, *sizes):
        return statistics.median(self.seconds(*sizes) for _ in range(REPEAT))

    def prefill(self, length):
        return {"tokens_per_s": length / self.median_seconds(1, length, 1)}

    def decode(self, batch, prompt_length, new_tokens):
        first = self.median_seconds(batch, prompt_length, 1)
        whole = self.median_seconds(batch, prompt_length, 1 + new_tokens)
        return {"tokens_per_s": batch * new_tokens / (whole - first)}


def main(path, threads):
    peer = Peer(path, int(threads))
    peer.seconds(1, 8, 2)
    print(json.dumps({"load_s": peer.load_s, "version": openvino_genai.__version__}), flush=True)
    for line in sys.stdin:
        name, *numbers = line.split()
        assert name in ("prefill", "decode")
        print(json.dumps(getattr(peer, name)(*map(int, numbers))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
