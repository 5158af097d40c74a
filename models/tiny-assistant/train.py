"""Train the tiny assistant on one GPU, score it and write the Hugging Face files.

python train.py --seconds 290 --out DIR     the run behind the committed weights used one H200
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import Config, Model, export, load_hf
from stream import ROW, Encoder, Pool

HERE = Path(__file__).parent
ROWS = 64  # rows a step: 131,072 tokens
PREDICTED = 0.31  # at most this share of a step's tokens carries loss (the mean is 0.25)
WARMUP, FLAT = 100, 0.6  # steps of warm-up; share of the time at full learning rate
MUON_LR, MUON_DECAY, MUON_MOMENTUM = 0.02, 0.02, 0.95
ADAM_LR = 4e-3


def orthogonalize(g):
    """Newton-Schulz: roughly the nearest semi-orthogonal matrix of each g[i], in bf16."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()


def muon_step(params, grads, moments, lr):
    for p, g, m in zip(params, grads, moments):
        m.lerp_(g, 1 - MUON_MOMENTUM)
        update = orthogonalize(g.lerp(m, MUON_MOMENTUM))
        p.mul_(1 - lr * MUON_DECAY)
        p.sub_(update * (lr * max(1.0, p.shape[-2] / p.shape[-1]) ** 0.5))


def document_mask(documents):
    """Causal attention inside each document; blocks of 128 with no common document are skipped."""
    from torch.nn.attention.flex_attention import BlockMask

    rows, length = documents.shape
    blocks = documents.view(rows, length // 128, 128)
    first, last = blocks[:, :, 0], blocks[:, :, -1]
    causal = torch.ones(
        length // 128, length // 128, dtype=torch.bool, device=documents.device
    ).tril()
    wanted = ((last[:, None, :] >= first[:, :, None]) & causal)[:, None].to(torch.int32)
    order = wanted.argsort(dim=-1, descending=True, stable=True).to(torch.int32)

    def allowed(b, h, q, k):
        return (q >= k) & (documents[b, q] == documents[b, k])

    return BlockMask.from_kv_blocks(
        wanted.sum(-1).to(torch.int32),
        order,
        BLOCK_SIZE=128,
        mask_mod=allowed,
        seq_lengths=(length, length),
    )


def loss_of(model, tokens, targets, index, mask):
    from torch.nn.attention.flex_attention import flex_attention

    def attend(_, q, k, v):
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=True)

    hidden = model(tokens, attend).flatten(0, 1)[index]
    logits = F.linear(hidden, model.embed).float()
    return F.cross_entropy(logits, targets, ignore_index=-1)


class Sender:
    """Host to device copies through a few pinned buffers made once.

    Pinning anew cost 80 ms a step, and an asynchronous copy from ordinary memory can still be
    reading when the array is freed: it turned the loss into NaN.
    """

    def __init__(self, device, depth=4):
        self.device, self.depth, self.turn, self.buffers, self.copied = device, depth, 0, {}, {}

    def __call__(self, arrays, dtypes):
        if self.device == "cpu":
            return [torch.from_numpy(np.ascontiguousarray(a)).to(d) for a, d in zip(arrays, dtypes)]
        self.turn = (self.turn + 1) % self.depth
        if self.turn in self.copied:
            self.copied[self.turn].synchronize()
        else:
            self.copied[self.turn] = torch.cuda.Event()
            self.buffers[self.turn] = [
                torch.from_numpy(np.ascontiguousarray(a)).pin_memory() for a in arrays
            ]
        out = []
        for buffer, array, dtype in zip(self.buffers[self.turn], arrays, dtypes):
            buffer.numpy()[...] = array
            out.append(buffer.to(self.device, non_blocking=True).to(dtype))
        self.copied[self.turn].record()
        return out


def step_data(pool, rng, send):
    tokens, flags, documents = pool.draw(rng, ROWS)
    index = np.flatnonzero(
        flags[:, 1:].reshape(-1) & (documents[:, 1:] == documents[:, :-1]).reshape(-1)
    )
    size = int(PREDICTED * ROWS * ROW)
    if len(index) > size:
        index = rng.choice(index, size, replace=False)
    targets = np.full(size, -1, np.int64)
    targets[: len(index)] = tokens[:, 1:].reshape(-1)[index]
    index = np.concatenate([index, np.zeros(size - len(index), np.int64)])
    return send(
        [tokens[:, :-1], targets, index, documents[:, :-1]],
        [torch.long, torch.long, torch.long, torch.int32],
    )


def train(args, pool, device):
    torch.manual_seed(args.seed)
    model = (load_hf(args.start) if args.start else Model(Config())).to(device)
    matrices, vectors = model.matrices(), model.vectors()
    moments = [torch.zeros_like(p) for p in matrices]
    adam = torch.optim.AdamW(
        vectors, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0, fused=device == "cuda"
    )
    compiled, muon = torch.compile(loss_of), torch.compile(muon_step)
    rng = np.random.default_rng(args.seed)
    lr, send = torch.zeros((), device=device), Sender(device)
    started, step, losses, first_steps = None, 0, [], time.time()
    while True:
        if step == 5:
            torch.cuda.synchronize()
            started = time.time()
            print(
                f"compiled in {started - first_steps:.0f} s, {int(pool.written.sum())} rows made",
                flush=True,
            )
        done = (time.time() - started) / args.seconds if started else 0.0
        if done >= 1:
            break
        factor = min(1.0, (step + 1) / WARMUP, max((1 - done) / (1 - FLAT), 0.0))
        lr.fill_(MUON_LR * args.lr * factor)
        adam.param_groups[0]["lr"] = ADAM_LR * args.lr * factor
        tokens, targets, index, documents = step_data(pool, rng, send)
        with torch.autocast(device, torch.bfloat16):
            loss = compiled(model, tokens, targets, index, document_mask(documents))
        loss.backward()
        with torch.no_grad():
            muon(matrices, [p.grad for p in matrices], moments, lr)
        adam.step()
        for p in matrices + vectors:
            p.grad = None
        losses.append(loss.detach())
        step += 1
        if step % 500 == 0 or step in (50, 100, 200):
            mean = torch.stack(losses).mean().item()
            losses = []
            if not math.isfinite(mean):
                raise SystemExit(f"the loss is {mean} at step {step}")
            rows = int(pool.written.sum())
            print(
                f"step {step} time {time.time() - first_steps:.0f} loss {mean:.4f} lr {factor:.2f} "
                f"rows made {rows}, used {step * ROWS}",
                flush=True,
            )
            if step % 2000 == 0:
                export(model, args.out)
    print(
        f"{step} steps, {step * ROWS * ROW / 1e6:.0f} M tokens in {time.time() - started:.0f} s",
        flush=True,
    )
    export(model, args.out)
    return load_hf(args.out).to(device)


def report(args, model):
    """Scores of the bf16 weights on fresh samples of the evaluation distributions."""
    import corpus
    import generate
    from corpus.text import Split

    tokenizer = Encoder(HERE / "tokenizer.json").tokenizer
    scores, wrong = {}, []
    for name in ("values", "phrasings"):
        rng = random.Random(f"report-{name}")
        cases = [
            corpus.evaluation_example(rng, skill, Split(name))
            for skill in corpus.NAMES
            for _ in range(args.cases)
        ]
        scores[name], missed = generate.score(model, tokenizer, cases)
        wrong += [{"set": name, **w} for w in missed]
    print(generate.table(scores["values"], scores["phrasings"]), flush=True)
    (args.out / "scores.json").write_text(json.dumps(scores))
    (args.out / "wrong.jsonl").write_text("".join(json.dumps(w) + "\n" for w in wrong[:6000]))


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seconds", type=float, default=240)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("--workers", type=int, default=14)
    args.add_argument("--slots", type=int, default=84_000)
    args.add_argument("--cases", type=int, default=500)
    args.add_argument("--lr", type=float, default=1.0, help="factor on both learning rates")
    args.add_argument("--start", help="directory of weights to continue from")
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(args.slots, args.workers)
    pool.start(HERE / "tokenizer.json", args.seed)
    while pool.written.min() < 4:
        time.sleep(0.2)
    began = time.time()
    model = train(args, pool, "cuda" if torch.cuda.is_available() else "cpu")
    trained = time.time()
    report(args, model)
    print(
        f"trained in {trained - began:.0f} s, scored in {time.time() - trained:.0f} s", flush=True
    )


if __name__ == "__main__":
    main()
