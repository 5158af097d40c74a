"""Phrase grammar: templates with alternatives, decoration, and gentle prompt noise.

A template is plain text with `[a|b|]` alternatives (nesting allowed) and `{slot}` operands.
Everything here works on template text only; operands are put in last, so noise can never damage a
value.
"""

import random
import zlib
from functools import lru_cache

OPENERS = [
    "Hi! ",
    "Hello, ",
    "Hey, ",
    "Hey! ",
    "Okay, ",
    "OK. ",
    "Please, ",
    "Quick question: ",
    "Question: ",
    "One more: ",
    "Next, ",
    "Now ",
    "So, ",
    "Also, ",
    "Well, ",
    "Alright, ",
    "Assistant, ",
    "I have a question. ",
    "Help me out: ",
    "I need some help. ",
    "A small task: ",
    "Here is a task. ",
    "Can you help me? ",
    "Let me ask you something. ",
    "For my homework: ",
    "Another one: ",
    "Then, ",
    "Excuse me, ",
    "Hi there. ",
    "Good day. ",
    "Let's try this: ",
    "I was wondering, ",
    "Dear assistant, ",
    "Let's see. ",
    "Try this one. ",
    "Could you do this for me? ",
    "My friend wants to know: ",
]
CLOSERS = [
    " Please.",
    " Thanks!",
    " Thank you.",
    " Thanks in advance.",
    " Thank you very much.",
    " I am curious.",
    " I would like to know.",
    " Take your time.",
    " That is all.",
    " I need it soon.",
    " It is for school.",
    " Thanks a lot.",
    " Go ahead.",
    " I forgot.",
    " Cheers!",
    " I have to know this.",
    " Be careful.",
    " I'm not sure.",
    " That would help me.",
    " Do it now, please.",
]
FILLER = set(
    "a an the please can could would will you me i my i'm is it's what what's tell give show "
    "want need like to know "
    "know let us so just now do does kindly this that here of for with find say help work out "
    "calculate "
    "compute get make write quickly exactly then also have there".split()
)
INSERT = (
    "just really maybe now kindly so um actually also here quickly then please simply again "
    "exactly "
    "today right well perhaps still okay actually gladly"
).split()

_WORDS_FOR_NOISE = ["thing"]


def set_noise_words(words):
    """Random words that may stand in for template words; set once by the package."""
    global _WORDS_FOR_NOISE
    _WORDS_FOR_NOISE = list(words)


def held(key: str, modulus: int = 10) -> bool:
    """True for the tenth of all values that training never sees."""
    return zlib.crc32(key.encode()) % modulus == 0


@lru_cache(maxsize=None)
def _parse(template: str):
    """Template text -> list of parts; a part is a string or a list of alternatives (each a part
    list).
    """
    pos = 0

    def sequence(stop: str):
        nonlocal pos
        parts, buf = [], []
        while pos < len(template) and template[pos] not in stop:
            if template[pos] == "[":
                pos += 1
                if buf:
                    parts.append("".join(buf))
                    buf = []
                alternatives = [sequence("|]")]
                while template[pos] == "|":
                    pos += 1
                    alternatives.append(sequence("|]"))
                pos += 1
                parts.append(alternatives)
            else:
                buf.append(template[pos])
                pos += 1
        if buf:
            parts.append("".join(buf))
        return parts

    return sequence("")


def _walk(rng: random.Random, parts, out):
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        else:
            _walk(rng, part[int(rng.random() * len(part))], out)


def expand(rng: random.Random, template: str) -> str:
    """One random reading of the template, slots still open."""
    if "[" not in template:
        return template
    out = []
    _walk(rng, _parse(template), out)
    return "".join(out)


def pick(rng: random.Random, items):
    return items[int(rng.random() * len(items))]


def _typo(rng, word):
    i = 1 + int(rng.random() * (len(word) - 2))
    if rng.random() < 0.5:
        return word[:i] + word[i + 1 :]
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def add_noise(rng: random.Random, text: str, random_words: bool) -> str:
    """One or two small edits of template words. Operands ({slot}) and key words stay as they are.

    A heavier version of this (45 % of prompts, any word) taught JSON and memory to ignore wording
    but made subtraction, counting and spelling lose the word that names the task, hence the
    FILLER list.
    """
    words = text.split(" ")
    for _ in range(1 if rng.random() < 0.6 else 2):
        i = int(rng.random() * len(words))
        word = words[i]
        plain = "{" not in word and word.strip(".,!?:'\"").lower() in FILLER
        kind = rng.random()
        if kind < 0.30:
            extra = (
                pick(rng, _WORDS_FOR_NOISE)
                if random_words and rng.random() < 0.5
                else pick(rng, INSERT)
            )
            if i == 0 or "{" not in word:
                words.insert(i, extra)
        elif kind < 0.55:
            if plain and len(words) > 3:
                words.pop(i)
        elif kind < 0.85:
            if plain:
                words[i] = pick(rng, _WORDS_FOR_NOISE) if random_words else pick(rng, INSERT)
        elif "{" not in word and len(word) >= 5 and word.isalpha():
            words[i] = _typo(rng, word)
    return " ".join(words)


def quoted(text: str) -> bool:
    return '"{' in text or "'{" in text or "“{" in text


def decorate(
    rng: random.Random,
    text: str,
    noise: bool = False,
    random_words: bool = False,
    plain: float = 0.45,
) -> str:
    """Openers, closers, letter case and end punctuation around one template reading."""
    if noise and rng.random() < 0.25:
        text = add_noise(rng, text, random_words or quoted(text))
    if text.endswith("?"):
        if rng.random() < 0.25:
            text = text[:-1] + pick(rng, ["", "", ".", "??", " ?"])
    elif not text.endswith((".", "!", "}", '"', "'", ":")) or text.endswith("}"):
        r = rng.random()
        if r < 0.5:
            text += "."
        elif r < 0.53:
            text += "!"
    if rng.random() < 0.72 and not text.startswith("{"):
        text = text[:1].upper() + text[1:]
    if rng.random() > plain:
        if rng.random() < 0.6:
            opener = pick(rng, OPENERS)
            if (
                opener.endswith((", ", ": ", "w "))
                and rng.random() < 0.7
                and not text.startswith(("I ", "I'"))
            ):
                text = text[:1].lower() + text[1:]
            text = opener + text
        if rng.random() < 0.45:
            if text and text[-1] not in ".?!":
                text += "."
            text += pick(rng, CLOSERS)
    if rng.random() < 0.12:
        text = text.lower()
    return text


def fill(text: str, slots: dict) -> str:
    for key, value in slots.items():
        text = text.replace("{" + key + "}", str(value))
    return text


class Split:
    """Which part of the data is drawn: training, new values, or held-out phrasings.

    `values` and `phrasings` both draw held-out values; only `phrasings` draws the held-out
    templates.
    """

    def __init__(self, name: str):
        assert name in ("train", "values", "phrasings")
        self.name = name
        self.train = name == "train"
        self.want_held = name != "train"
        self.new_phrasing = name == "phrasings"

    def templates(self, train, heldout):
        return heldout if self.new_phrasing else train

    def draw(self, rng, make, key=lambda v: repr(v)):
        """Values from `make` until they lie on this split's side of the hold-out."""
        while True:
            value = make(rng)
            if held(key(value)) == self.want_held:
                return value

    def ask(self, rng, train, heldout, slots, random_words=False):
        """A user message: a template of this split, decorated, slots filled."""
        text = expand(rng, pick(rng, self.templates(train, heldout)))
        text = decorate(rng, text, noise=self.train, random_words=random_words)
        return fill(text, slots)


def single(skill, prompt, answer, letters=False):
    message = {"role": "assistant", "content": answer}
    if letters:
        message["letters"] = True
    return {"skill": skill, "messages": [{"role": "user", "content": prompt}, message]}
