"""JSON: extract named fields from a sentence. The prompt names the fields; the answer keeps their
order.
"""

import json

from .letters import HELD_WORDS, TRAIN_WORDS, made_up_word
from .text import decorate, expand, fill, held, pick, single
from .words import ANIMALS, CITIES, COLORS, DAYS, ITEMS, JOBS, NAMES, NEVER_HELD


def side(items, want_held):
    return [x for x in items if (held("value" + x, 6) and x not in NEVER_HELD) == want_held]


POOLS = {
    want: {"name": side(NAMES, want), "city": side(CITIES, want), "item": side(ITEMS, want)}
    for want in (False, True)
}


def fresh_word(rng, split):
    """A word for a name, place or thing that is in no list: dictionary words and made-up ones."""
    if split.want_held:
        return pick(rng, HELD_WORDS)
    return made_up_word(rng, split) if rng.random() < 0.3 else pick(rng, TRAIN_WORDS)


def value(rng, split, kind):
    """A value of a slot. A third of names, cities and items are words from no list."""
    pool = POOLS[split.want_held]
    if kind in pool:
        if rng.random() < 0.35:
            word = fresh_word(rng, split)
            if kind != "item" and rng.random() < 0.12:
                return word.capitalize() + " " + fresh_word(rng, split).capitalize()
            return word if kind == "item" else word.capitalize()
        return pick(rng, pool[kind])
    if kind == "age":
        return rng.randrange(3, 99)
    if kind == "quantity":
        return rng.randrange(2, 100)
    if kind == "price":
        return rng.randrange(2, 1000)
    if kind == "hour":
        return rng.randrange(1, 13)
    return pick(rng, {"job": JOBS, "color": COLORS, "day": DAYS, "animal": ANIMALS}[kind])


# Sentence forms by topic: (field name shown to the model, kind of value), and the forms that use
# those fields.
TOPICS = [
    (
        {"name": "name", "quantity": "quantity", "item": "item", "city": "city"},
        [
            "{name} [bought|ordered|sold|got|found|needs|wants|has] {quantity} {item} in {city}",
            "[in {city}, |in the city of {city}, ]{name} [bought|sold|found|ordered] {quantity} "
            "{item}",
            "{quantity} {item} were [bought|ordered|sold|sent] by {name} [in|from] {city}",
            "{name} from {city} [bought|ordered|wants|needs|has|sold] {quantity} {item}",
            "[yesterday|today|last week|this morning] {name} [bought|sold|picked up|ordered] "
            "{quantity} {item} [in|at a shop in] {city}",
            "[please |]send {quantity} {item} to {name} in {city}",
            "{name}, who lives in {city}, [bought|ordered|owns|sold] {quantity} {item}",
            "we [sent|shipped|delivered] {quantity} {item} to {name} in {city}",
        ],
        [
            "My friend {name} went to {city} and bought {quantity} {item}",
            "An order of {quantity} {item} from {name} in {city} has arrived",
        ],
    ),
    (
        {"name": "name", "age": "age", "job": "job", "city": "city"},
        [
            "{name} is {age} years old and works as a {job} in {city}",
            "{name} is a {age}[ year old|-year-old] {job} from {city}",
            "{name}, {age}, [is a|works as a] {job} in {city}",
            "the {job} {name} is {age} [years old|] and lives in {city}",
            "[my friend|our neighbor|my cousin] {name} is a {job}, lives in {city} and is {age}",
            "at the age of {age}, {name} [became|is] a {job} in {city}",
            "in {city} lives {name}, a {job} of {age} [years|]",
            "{name} lives in {city}, is {age} years old and is a {job}",
        ],
        [
            "I met {name}, a {job} from {city} who is {age}",
            "{name} from {city} is {age} and has a job as a {job}",
        ],
    ),
    (
        {"name": "name", "day": "day", "hour": "hour", "city": "city"},
        [
            "{name} [meets us|arrives|will arrive|comes|is coming|lands] in {city} on {day} at "
            "{hour} o'clock",
            "on {day} at {hour} o'clock, {name} [arrives|speaks|will be|starts work] in {city}",
            "the [meeting|party|class|dinner] with {name} is on {day} at {hour} o'clock in {city}",
            "{name} has [an appointment|a meeting|a class] in {city} on {day} at {hour}",
            "[we meet|I will meet|you meet] {name} in {city} on {day} at {hour} o'clock",
            "[train|flight|bus] to {city} for {name}: {day}, {hour} o'clock",
            "{name} [leaves|flies] to {city} on {day} at {hour} o'clock",
        ],
        [
            "See {name} on {day} at {hour} o'clock in {city}",
            "This {day} at {hour} o'clock {name} will visit {city}",
        ],
    ),
    (
        {"item": "item", "color": "color", "price": "price", "city": "city"},
        [
            "the {color} {item} cost {price} [euros|dollars] in {city}",
            "[in {city}, |in {city} ]{color} {item} [cost|are sold for|go for] {price} "
            "[euros|dollars]",
            "{price} [euros|dollars] for {color} {item} in {city}",
            "I [paid|spent] {price} [euros|dollars] [on|for] {color} {item} in {city}",
            "[a shop|a store|someone] in {city} sells {color} {item} for {price} [euros|dollars]",
            "{color} {item} from {city} for {price} [euros|dollars]",
            "we saw {color} {item} in {city}, they cost {price} [euros|dollars]",
        ],
        [
            "They want {price} dollars for the {color} {item} in {city}",
            "You can get {color} {item} for {price} euros in {city}",
        ],
    ),
    (
        {"name": "name", "animal": "animal", "color": "color", "age": "age"},
        [
            "{name} is a {color} {animal} and is {age} years old",
            "the {color} {animal} {name} is {age} [years old|]",
            "[our|my|their] {animal} {name} is {color} and {age} years old",
            "[we have|I have|they own] a {color} {animal} [named|called] {name}, [who is |aged "
            "]{age}",
            "{name}, [our|my|the] {color} {animal}, [is|turned] {age}",
            "a {age}[ year old|-year-old] {color} {animal} [named|called] {name}",
        ],
        [
            "Our {age} year old {animal} is {color} and its name is {name}",
            "There is a {color} {animal}, {name}, aged {age}",
        ],
    ),
]
ALIASES = {
    "name": ["name", "name", "person", "who"],
    "quantity": ["quantity", "quantity", "amount", "count"],
    "item": ["item", "item", "product", "object"],
    "city": ["city", "city", "place", "location"],
    "hour": ["hour", "hour", "time"],
    "animal": ["animal", "animal", "pet"],
}

S = '["{s}"|"{s}"|{s}|\'{s}\'|{s}]'
JSON = [
    f"[extract|get|pull out|find|take|pick out] [the fields|the keys|] {{f}} from [this "
    f"sentence|the sentence|this text|the text|this|] [as JSON|into JSON|in JSON|as a JSON "
    f"object]: {S}",
    f"[extract|get|find|give me|list|read] {{f}} [as JSON|in JSON|as a JSON object|in JSON "
    f"format]: {S}",
    f"[return|give me|write|make|create|produce|output|print|build] [a JSON object|JSON|a JSON] "
    f"with [the fields|the keys|keys|fields|] {{f}} [from|for|out of] [this sentence|this|the "
    f"text|the sentence|this text|]: {S}",
    f"{S}. [extract|get|give me|find] {{f}} [as JSON|in JSON|as a JSON object]",
    f"{S} -> JSON with {{f}}",
    f"JSON [with|of|for|fields|keys] {{f}}: {S}",
    f"[turn|convert|change|transform|parse|make] {S} [into|to] JSON with [the fields|the "
    f"keys|keys|fields|] {{f}}",
    f"[turn|convert|change|transform|parse] [this|this sentence|the text|the sentence] [into|to] "
    f"JSON with [the fields|the keys|keys|] {{f}}: {S}",
    f"[what are|what is|show me|tell me] {{f}} [in this sentence|in the text|here] as JSON[?|:|] "
    f"{S}",
    f"[fields|keys]: {{f}}. [text|sentence|input]: {S}. [give|return|write|answer with] JSON",
    f"[text|sentence|input]: {S}. [fields|keys]: {{f}}. [give|return|write|answer with|output|] "
    f"JSON",
    f"[can|could|would] you [extract|get|pull out|find|give me] {{f}} [as JSON|in JSON] from {S}?",
    f"from {S} [extract|get|take|make] JSON with {{f}}",
    f"[read|take|look at] {S} and [give me|return|write|extract] {{f}} as JSON",
    f"I need JSON with {{f}} [from|for|of] [this|this sentence|the text]: {S}",
    f"parse {{f}} [as|to|into] JSON: {S}",
    f"[json|JSON], [fields|keys] {{f}}, [from|for] [this sentence|this]: {S}",
    f"[answer|reply|respond] [with|in] JSON [only, |]with [the keys|the fields|] {{f}}: {S}",
    f"[which|what] {{f}} [does the sentence|does the text] have? [Answer in|Give] JSON: {S}",
    f"[JSON|a JSON object|json], please: {{f}} [of|from|in] {S}",
    f"[now|next|then] [read|take] the text: {S}. [Return|Write|Show] {{f}} [as|in] JSON",
    f"[what|which] {{f}} [is|are] in {S}? [Write|Give|As] JSON",
    f"{S} [as JSON|in JSON form|as a JSON object] with {{f}}",
    f"{S}. [the JSON|JSON|a JSON object] with {{f}}[|, please]",
    f"[my|the] [text|sentence] is: {S}. [I need|I want|give me] {{f}} [as|in] JSON",
    f"[get|take|extract] {{f}} out of {S}[, as JSON|, in JSON| and write JSON]",
    f"[the keys are|keys are|use the keys] {{f}}, [the text is|text] {S}[|, answer in JSON|, give "
    f"JSON]",
    f"[describe|represent|structure|encode] [this text|the text|this] [as JSON|in JSON] with "
    f"{{f}}: {S}",
    f"[list|name|show] {{f}} of {S} in JSON",
    f"[put|write|store|collect] {{f}} of [this sentence|this text|the sentence] in [a JSON "
    f"object|JSON]: {S}",
    f"[summarize|describe] {S} as JSON with {{f}}",
]
JSON_HELD = [
    "Please fill in a JSON object with {f} using this sentence: {s}",
    'Could you represent "{s}" as JSON, using the keys {f}?',
    'I want the values of {f} from "{s}" in a JSON object.',
    "Here is a sentence: {s}. Write its {f} as JSON.",
    'Make JSON out of this sentence, keys {f}: "{s}"',
    "Find {f} in the following text and reply with JSON: {s}",
]


def _field_list(rng, fields):
    style = rng.random()
    if style < 0.35 or len(fields) == 1:
        return ", ".join(fields)
    if style < 0.75:
        return ", ".join(fields[:-1]) + " and " + fields[-1]
    if style < 0.85:
        return ", ".join(f'"{f}"' for f in fields)
    if style < 0.93:
        return "[" + ", ".join(fields) + "]"
    return "/".join(fields)


def extract(rng, split):
    kinds, forms, held_forms = pick(rng, TOPICS)
    # A third of the held-out phrasings also describe the facts in a sentence form never seen.
    form = pick(rng, held_forms if split.new_phrasing and rng.random() < 0.34 else forms)
    values = {field: value(rng, split, kind) for field, kind in kinds.items()}
    fields = rng.sample(list(kinds), rng.randrange(2, len(kinds) + 1))
    names = [pick(rng, ALIASES.get(f, [f])) for f in fields]
    sentence = fill(expand(rng, form), values).strip()
    sentence = sentence[:1].upper() + sentence[1:] + ("." if rng.random() < 0.5 else "")
    template = expand(rng, pick(rng, split.templates(JSON, JSON_HELD)))
    template = decorate(rng, template, noise=split.train, random_words=True, plain=0.6)
    prompt = (
        fill(template, {"f": _field_list(rng, names), "s": sentence})
        .replace(".. ", ". ")
        .replace("..", ".")
    )
    answer = json.dumps({n: values[f] for n, f in zip(names, fields)}, ensure_ascii=False)
    return single("json", prompt.replace("  ", " "), answer)
