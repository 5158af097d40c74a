"""Write eval/new_values.jsonl and eval/new_phrasings.jsonl, and check that no held-out wording
occurs in training.
"""

import argparse
import json
import random
from pathlib import Path

import corpus
from corpus import audit
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


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--per-skill", type=int, default=120)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    leaks = audit.leaks()
    if leaks:
        raise SystemExit(f"held-out wordings that training can produce: {leaks}")
    for split, name in FILES.items():
        lines = [
            json.dumps(c, ensure_ascii=False, separators=(",", ":"))
            for c in cases(split, args.per_skill, args.seed)
        ]
        (HERE / "eval").mkdir(exist_ok=True)
        (HERE / "eval" / name).write_text("\n".join(lines) + "\n")
        print(name, len(lines), "cases")


if __name__ == "__main__":
    main()
