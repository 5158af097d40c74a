"""Proof that no held-out template can be produced by a training template of the same skill,
whatever the alternatives.
"""

import re

from . import extract, facts, letters, memory, number_words, numbers, refuse, talk, tool_data


def pairs():
    """(name, training templates, held-out templates)."""
    for module in (numbers, number_words, letters, facts, extract, refuse):
        for name, heldout in vars(module).items():
            if name.endswith("_HELD") and name != "NEVER_HELD":
                train = {"JSON_HELD": "JSON", "UNKNOWN_HELD": "UNKNOWN_ASK"}.get(name, name[:-5])
                if hasattr(module, train):
                    yield name, getattr(module, train), heldout
    for answer, train, heldout in talk.TALK:
        yield "small talk: " + answer, train, heldout
    for topic in extract.TOPICS:
        yield "json sentence", topic[1], topic[2]
    for tool in tool_data.TOOLS:
        yield tool["names"][0], tool["ask"], tool["heldout"]
    yield "made-up tools", tool_data.GENERIC_ASK, tool_data.GENERIC_HELD
    for name, attribute in memory.ATTRIBUTES.items():
        yield name, attribute["tell"], attribute["tell_held"]
        yield name, attribute["ask"], attribute["ask_held"]


def plain(text):
    return " ".join(re.sub(r"[^a-z{}|\[\]\s]", " ", text.lower()).split())


def pattern(template):
    """A regular expression of all readings of a template, without case and punctuation."""
    out = []
    for part in re.split(r"([\[\]|])", template):
        if part in "[]|" and part:
            out.append({"[": " (?:", "]": ") ", "|": "|"}[part])
        else:
            words = re.sub(r"[^a-z{}\s]", " ", part.lower()).split()
            out.append("".join(rf"\s*{re.escape(w)}\s*" for w in words))
    return re.compile(r"\s*" + "".join(out).replace(" ", "") + r"\s*")


def leaks():
    """Held-out templates that some training template can read as."""
    found = []
    for name, train, heldout in pairs():
        patterns = [pattern(t) for t in train]
        found += [(name, h) for h in heldout if any(p.fullmatch(plain(h)) for p in patterns)]
    return found
