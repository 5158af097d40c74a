"""The training and evaluation corpus of the tiny assistant: every example is drawn from a seeded
generator.
"""

import random

from . import extract, facts, letters, memory, number_words, numbers, refuse, talk, tools
from .text import Split, pick, set_noise_words

set_noise_words(letters.TRAIN_WORDS)

SYSTEM = [
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are the tiny assistant of MiniInfer.",
    "Answer briefly.",
    "You are a friendly assistant. Keep answers short.",
    "You are an AI assistant.",
    "You answer questions.",
    "Be helpful.",
    "You are a bot that helps users.",
    "Help the user with small tasks.",
]
BETWEEN = (
    numbers.add,
    numbers.subtract,
    facts.facts,
    talk.small_talk,
    letters.spell,
    numbers.compare,
)


def between(rng, split):
    """Other talk inside a memory chat; always in known phrasings, since only the memory is being
    asked about.
    """
    return pick(rng, BETWEEN)(rng, split if split.train else Split("values"))["messages"]


def long_talk(rng, split):
    messages = []
    for _ in range(rng.randrange(6, 26)):
        messages += generate(rng, pick(rng, CHAINABLE), split)["messages"]
    return messages


def remember(rng, split):
    return memory.memory(rng, split, between)


# skill -> (generator, weight in the training mix)
SKILLS = {
    "add": (numbers.add, 9),
    "subtract": (numbers.subtract, 11),
    "arithmetic": (numbers.bare, 9),
    "compare": (numbers.compare, 5),
    "sort": (numbers.sort, 7),
    "number_words": (number_words.number_words, 6),
    "count": (letters.count, 8),
    "count_bare": (letters.count_bare, 5),
    "spell": (letters.spell, 6),
    "reverse": (letters.reverse, 11),
    "facts": (facts.facts, 12),
    "json": (extract.extract, 9),
    "tools": (tools.tools, 7),
    "tools_unseen": (tools.tools_unseen, 8),
    "memory": (remember, 7),
    "refuse": (refuse.refuse, 8),
    "small_talk": (talk.small_talk, 7),
}
NAMES = list(SKILLS)
_CUMULATIVE = []
for _name in NAMES:
    _CUMULATIVE.append((_CUMULATIVE[-1] if _CUMULATIVE else 0) + SKILLS[_name][1])
CHAINABLE = [n for n in NAMES if n not in ("tools", "tools_unseen", "memory")]


use_pieces = letters.use_pieces


def generate(rng: random.Random, skill: str, split: Split):
    return SKILLS[skill][0](rng, split)


def training_example(rng: random.Random, split=Split("train")):
    """One training chat: mostly one skill; some chain several, have a system message or tools they
    do not need.
    """
    r = rng.random()
    if r < 0.005:  # long chats, so that the whole context is trained
        return memory.memory(rng, split, long_talk, 0.7)
    if r < 0.13:
        messages = []
        for _ in range(rng.randrange(2, 5)):
            messages += generate(rng, pick(rng, CHAINABLE), split)["messages"]
        example = {"skill": "chain", "messages": messages}
    else:
        skill = rng.choices(NAMES, cum_weights=_CUMULATIVE)[0]
        example = generate(rng, skill, split)
        if "tools" not in example and skill not in ("refuse", "memory") and rng.random() < 0.02:
            example = tools.tools_not_needed(rng, split, example)
    if rng.random() < 0.15:
        example = {
            **example,
            "messages": [{"role": "system", "content": pick(rng, SYSTEM)}] + example["messages"],
        }
    return example


def evaluation_example(rng: random.Random, skill: str, split: Split):
    """One evaluation case: the chat up to its last user (or tool) turn, and the exact expected
    answer.
    """
    example = generate(rng, skill, split)
    messages = [{k: v for k, v in m.items() if k != "letters"} for m in example["messages"]]
    case = {"skill": skill, "messages": messages[:-1], "expected": messages[-1]["content"]}
    if "tools" in example:
        case["tools"] = example["tools"]
    return case
