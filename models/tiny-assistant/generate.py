"""Free greedy generation in batches with plain PyTorch, and exact-match scores per skill."""

import collections

import torch
import torch.nn.functional as F

STOP = 2
LIMIT = 256


@torch.no_grad()
def greedy(model, prompts, batch=1024):
    """Greedy continuations (token lists, end token left out) of the prompts (token lists)."""
    device = model.embed.device
    answers = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for i, answer in zip(chosen, _batch(model, [prompts[i] for i in chosen], device)):
            answers[i] = answer
    return answers


def _batch(model, prompts, device):
    c, rows, longest = model.c, len(prompts), max(map(len, prompts))
    total = longest + LIMIT
    tokens = torch.zeros(rows, longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
    pad = torch.tensor([longest - len(p) for p in prompts], device=device)
    tokens = tokens.to(device)
    shape = (c.layers, rows, c.kv_heads, total, c.head_dim)
    keys, values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
    columns = torch.arange(total, device=device)
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    out, position = [], 0
    while True:
        length = tokens.shape[1]
        end = position + length
        query_at = torch.arange(position, end, device=device)
        mask = (columns[None, None, :end] <= query_at[None, :, None]) & (
            columns[None, None, :end] >= pad[:, None, None]
        )
        mask |= (
            columns[None, None, :end] == query_at[None, :, None]
        )  # padding attends to itself, never to nothing

        def attend(layer, q, k, v):
            keys[layer][:, :, position:end] = k
            values[layer][:, :, position:end] = v
            group = c.heads // c.kv_heads
            ks = keys[layer][:, :, :end].repeat_interleave(group, 1)
            vs = values[layer][:, :, :end].repeat_interleave(group, 1)
            return F.scaled_dot_product_attention(q, ks, vs, attn_mask=mask[:, None])

        positions = (query_at[None, :] - pad[:, None]).clamp(min=0)
        hidden = model(tokens, attend, positions)[:, -1]
        following = F.linear(hidden, model.embed).argmax(-1)
        done |= following <= STOP
        out.append(following)
        position = end
        if len(out) == LIMIT or (len(out) % 8 == 0 and bool(done.all())):
            break
        tokens = following[:, None]
    answers = []
    for row in torch.stack(out, 1).tolist():
        cut = next((i for i, t in enumerate(row) if t in (0, STOP)), len(row))
        answers.append(row[:cut])
    return answers


def score(model, tokenizer, cases):
    """(skill -> [right, total], wrong cases with the answer given). Cases as in eval/*.jsonl."""
    from corpus import render

    prompts = [
        tokenizer.encode(render.prompt_text(c["messages"], c.get("tools"))).ids for c in cases
    ]
    scores, wrong = collections.defaultdict(lambda: [0, 0]), []
    for case, ids in zip(cases, greedy(model, prompts)):
        text = tokenizer.decode(ids, skip_special_tokens=True).strip()
        scores[case["skill"]][1] += 1
        if text == case["expected"]:
            scores[case["skill"]][0] += 1
        else:
            wrong.append({**case, "answer": text})
    return dict(scores), wrong


def table(values, phrasings):
    """The accuracy table of the card, in Markdown."""
    lines = ["| skill | new values | held-out phrasings |", "|---|---|---|"]
    total = [0, 0, 0, 0]
    for skill in values:
        (a, n), (b, m) = values[skill], phrasings[skill]
        lines.append(f"| {skill} | {100 * a / n:.1f} | {100 * b / m:.1f} |")
        total = [x + y for x, y in zip(total, (a, n, b, m))]
    lines.append(f"| all | {100 * total[0] / total[1]:.1f} | {100 * total[2] / total[3]:.1f} |")
    return "\n".join(lines)
