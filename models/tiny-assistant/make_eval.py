"""Write eval/new_values.jsonl and eval/new_phrasings.jsonl, and check that no held-out wording occurs in training."""
import argparse
import json
import random
import re
from pathlib import Path

import corpus
from corpus.text import Split

HERE = Path(__file__).parent
FILES = {"values": "new_values.jsonl", "phrasings": "new_phrasings.jsonl"}


def cases(split, per_skill, seed):
    """Distinct cases, per_skill of each skill."""
    rng = random.Random(f"eval-{split}-{seed}")
    for skill in corpus.NAMES:
        seen = set()
        # Small talk has few phrasings with few readings: repeats are drawn again, up to a bound.
        for _ in range(per_skill * 50):
            case = corpus.evaluation_example(rng, skill, Split(split))
            key = json.dumps(case["messages"], sort_keys=True)
            if key not in seen:
                seen.add(key)
                yield case
            if len(seen) == per_skill:
                break


def shape(text):
    """A prompt without its operands, case and punctuation: what is left is the wording."""
    text = re.sub(r'"[^"]*"|\'[^\']*\'', " ", text.lower())
    return " ".join(w for w in re.findall(r"[a-z']+|[+*/<>=-]", text))


def audit(count, seed):
    """Prompts of the held-out phrasings whose exact text occurs among `count` training chats."""
    wanted = {case["messages"][-1]["content"].lower() for case in cases("phrasings", 100, seed)}
    rng = random.Random(f"audit-{seed}")
    hits = set()
    for _ in range(count):
        for message in corpus.training_example(rng)["messages"]:
            if message["role"] == "user" and message["content"].lower() in wanted:
                hits.add(message["content"].lower())
    return hits


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--per-skill", type=int, default=120)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--audit", type=int, default=0, help="training chats to search for held-out prompts")
    args = args.parse_args()
    for split, name in FILES.items():
        lines = [json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases(split, args.per_skill, args.seed)]
        (HERE / "eval").mkdir(exist_ok=True)
        (HERE / "eval" / name).write_text("\n".join(lines) + "\n")
        print(name, len(lines), "cases")
    if args.audit:
        print("held-out prompts seen in training:", sorted(audit(args.audit, args.seed)))


if __name__ == "__main__":
    main()
