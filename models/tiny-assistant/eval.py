"""Score a model directory on the committed sets by free greedy generation with transformers.

python eval.py [--model DIR] [--limit N]
"""

import argparse
import collections
import json
from pathlib import Path

HERE = Path(__file__).parent


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--model", type=Path, default=HERE)
    args.add_argument("--limit", type=int, default=None, help="cases of each skill")
    args.add_argument("--batch", type=int, default=64)
    args = args.parse_args()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    for name in ("new_values", "new_phrasings"):
        scores = collections.defaultdict(lambda: [0, 0])
        cases = []
        for line in (HERE / "eval" / f"{name}.jsonl").read_text().splitlines():
            case = json.loads(line)
            scores[case["skill"]][1] += 1
            if args.limit is None or scores[case["skill"]][1] <= args.limit:
                cases.append(case)
        scores = collections.defaultdict(lambda: [0, 0])
        prompts = [
            tokenizer.apply_chat_template(
                c["messages"], tools=c.get("tools"), add_generation_prompt=True, tokenize=False
            )
            for c in cases
        ]
        order = sorted(range(len(cases)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), args.batch):
            rows = order[start : start + args.batch]
            inputs = tokenizer(
                [prompts[i] for i in rows],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
            )
            inputs.pop("token_type_ids", None)
            out = model.generate(**inputs, max_new_tokens=256, do_sample=False)
            for i, ids in zip(rows, out[:, inputs["input_ids"].shape[1] :]):
                text = tokenizer.decode(ids, skip_special_tokens=True).strip()
                scores[cases[i]["skill"]][0] += text == cases[i]["expected"]
                scores[cases[i]["skill"]][1] += 1
        right, total = map(sum, zip(*scores.values()))
        print(f"{name}: {100 * right / total:.1f} % of {total}")
        for skill, (a, n) in scores.items():
            print(f"  {skill:14} {100 * a / n:5.1f}")


if __name__ == "__main__":
    main()
