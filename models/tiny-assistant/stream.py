"""Training rows made on CPU workers while the GPU trains.

Workers fill a pool in shared memory, each its own slots, round and round; the trainer draws rows
from it at random. If the workers are slower than the GPU, rows are seen again; nothing waits.
"""

import mmap
import os
import random

import numpy as np

ROW = 2048


class Encoder:
    """Chats to token ids, segment by segment; equal to encoding the rendered text whole (tests
    compare them).
    """

    def __init__(self, path):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        from tokenizers import Tokenizer

        import corpus

        self.tokenizer = Tokenizer.from_file(str(path))
        vocab = self.tokenizer.get_vocab()
        corpus.use_pieces(vocab)
        self.letter = {c: vocab[c] for c in "abcdefghijklmnopqrstuvwxyz"}
        self.head = {
            r: self.tokenizer.encode(f"<|im_start|>{r}\n").ids
            for r in ("system", "user", "assistant")
        }
        self.end = vocab["<|im_end|>"]
        self.newline = self.tokenizer.encode("\n").ids

    def __call__(self, example):
        """(ids, loss flags): flag i is 1 where token i is to be predicted, the end-of-turn token
        included.
        """
        from corpus import render

        ids, flags = [], []
        for role, content, letters in render.segments(example["messages"], example.get("tools")):
            if letters:
                # A reversed word is written letter by letter: its usual pieces would have to be
                # spelled unseen.
                body = [self.letter[c] for c in content]
            else:
                body = self.tokenizer.encode(content).ids
            head = self.head[role]
            ids += head + body + [self.end] + self.newline
            flags += (
                [0] * len(head)
                + [int(role == "assistant")] * (len(body) + 1)
                + [0] * len(self.newline)
            )
        return ids, flags


def fill_rows(encoder, rng, make):
    """Endless (tokens, flags, documents) rows of ROW + 1 entries; documents are cut only at a row's
    end.
    """
    while True:
        tokens, flags, documents = [], [], []
        number = 0
        while len(tokens) <= ROW:
            ids, flag = encoder(make(rng))
            tokens += ids
            flags += flag
            documents += [number] * len(ids)
            number += 1
        yield tokens[: ROW + 1], flags[: ROW + 1], documents[: ROW + 1]


class Pool:
    def __init__(self, slots, workers):
        self.slots, self.workers = slots // workers * workers, workers

        def shared(dtype, shape):
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            return np.frombuffer(mmap.mmap(-1, size), dtype=dtype).reshape(shape)

        self.tokens = shared(np.int16, (self.slots, ROW + 1))
        self.flags = shared(np.int8, (self.slots, ROW + 1))
        self.documents = shared(np.int16, (self.slots, ROW + 1))
        self.written = shared(np.int64, (workers,))

    def start(self, tokenizer_path, seed):
        """Forks the workers; call before CUDA is touched."""
        for worker in range(self.workers):
            if os.fork() == 0:
                try:
                    self._work(worker, tokenizer_path, seed)
                finally:
                    os._exit(0)

    def _work(self, worker, tokenizer_path, seed):
        import corpus

        parent = os.getppid()
        rng = random.Random(f"{seed}-{worker}")
        own = self.slots // self.workers
        for row in fill_rows(Encoder(tokenizer_path), rng, corpus.training_example):
            slot = worker * own + int(self.written[worker]) % own
            self.tokens[slot], self.flags[slot], self.documents[slot] = row
            self.written[worker] += 1
            if os.getppid() != parent:
                return

    def draw(self, rng, rows):
        own = self.slots // self.workers
        ready = np.minimum(self.written, own)
        worker = rng.integers(0, self.workers, rows)
        slot = worker * own + (rng.random(rows) * ready[worker]).astype(np.int64)
        return self.tokens[slot], self.flags[slot], self.documents[slot]
