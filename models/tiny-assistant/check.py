"""Check that the parts agree: encoding, chat template, hold-outs, evaluation sets.

python check.py     (needs tokenizers and jinja2)
"""

import json
import random
from pathlib import Path

import jinja2

import corpus
from corpus import audit, render
from corpus.text import Split
from stream import Encoder

HERE = Path(__file__).parent


def check_encoding(encoder, rng):
    """Segments encoded one by one give the ids of the whole text, reversed words apart."""
    for _ in range(2000):
        example = corpus.training_example(rng)
        if any(m.get("letters") for m in example["messages"]):
            continue
        whole = render.prompt_text(example["messages"], example.get("tools"))
        whole = whole[: -len(f"{render.IM_START}assistant\n")]
        assert encoder(example)[0] == encoder.tokenizer.encode(whole).ids, whole


def check_template(rng):
    """chat_template.jinja renders what training rendered."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
    template = environment.from_string((HERE / "chat_template.jinja").read_text())
    for _ in range(2000):
        example = corpus.training_example(rng)
        messages, tools = example["messages"], example.get("tools")
        text = template.render(messages=messages, tools=tools, add_generation_prompt=True)
        assert text == render.prompt_text(messages, tools), text


def check_sets(rng):
    """No evaluation prompt of either set occurs in 100,000 training chats, fixed phrases apart."""
    asked = {}
    for name in ("new_values", "new_phrasings"):
        for line in (HERE / "eval" / f"{name}.jsonl").read_text().splitlines():
            case = json.loads(line)
            if case["skill"] not in ("small_talk", "refuse", "memory", "facts"):
                asked[case["messages"][-1]["content"]] = case["skill"]
    for _ in range(100_000):
        for message in corpus.training_example(rng, Split("train"))["messages"]:
            text = message["content"]
            assert message["role"] != "user" or text not in asked, (asked[text], text)


def main():
    rng = random.Random(3)
    leaks = audit.leaks()
    assert not leaks, leaks
    check_encoding(Encoder(HERE / "tokenizer.json"), rng)
    check_template(rng)
    check_sets(rng)
    print("encoding, template, hold-outs and evaluation sets agree")


if __name__ == "__main__":
    main()
