"""Facts: some 470 of them, each asked in many ways.

A fact has no value that could be new, so the new-value set holds out pairs of a fact and a
template: the fact is known from other templates, the template from other facts.
"""

from .facts_data import (
    CAPITALS,
    COMMANDS,
    COMMAND_TASKS,
    CURRENCIES,
    ELEMENTS,
    EXTRA,
    HEAVY,
    LANGUAGES,
    OPPOSITES,
    PLANETS,
    UNITS,
    YOUNG,
)
from .text import decorate, expand, fill, held, pick, single
from .words import DAYS, MONTHS

TELL = (
    "[tell me|give me|name|say|show me|do you know|can you tell me|could you tell me|"
    "I want to know|I need]"
)


def noun_forms(noun):
    """Ways to ask for a noun phrase such as `the capital of {x}`."""
    return [
        f"[what is|what's|whats] {noun}?",
        f"{TELL} {noun}",
        f"{noun}[|?|, please|:]",
        f"{noun} is[|?| what?|...]",
        f"[what|which] [would be|do you think is|exactly is] {noun}?",
        f"[what about|how about|and] {noun}?",
        f"[please |][write|print|find|look up] {noun}",
        f"do you [know|remember] [what|] {noun}[ is|]?",
    ]


CAPITAL = noun_forms("[the capital|the capital city] of {x}") + [
    "[which|what] city is the capital of {x}?",
    "[which|what] is [the capital|the capital city] of {x}?",
    "{x}[: capital?| capital?|'s capital?|, capital city?]",
    "[what is|tell me|name] {x}'s capital[| city]?",
    "[what|which] capital [does {x} have|belongs to {x}|has {x}]?",
    "[which|what] [city is|is the city that is] {x}'s capital?",
    "capital of {x}[|?]",
    "where is the government of {x}?",
]
CAPITAL_HELD = [
    "Which capital city would I find in {x}?",
    "Can you name the capital that {x} has?",
    "For {x}, what is the capital?",
    "I forgot the capital of {x}, what was it?",
]
CAPITAL_OF = [
    "{y} is the capital of [which|what] country?",
    "[which|what] country has {y} as [its|the] capital[| city]?",
    "[of which|of what] country is {y} the capital?",
    "{y} is the capital of[| what|...][|?]",
    "[tell me|say|name] [which|the] country [whose capital is|that has as its capital] {y}",
    "what is {y} the capital of?",
    "[which|what] country's capital is {y}?",
    "[whose|which country's] capital [city |]is {y}?",
]
CAPITAL_OF_HELD = [
    "The city {y} is the capital of which country?",
    "To which country does the capital {y} belong?",
]
SYMBOL = noun_forms("[the symbol|the chemical symbol|the element symbol] [of|for] {x}") + [
    "[what|which] [symbol|chemical symbol|letters] [does|do] {x} [have|use]?",
    "how is {x} [written|abbreviated] [in chemistry|in the periodic table|as a symbol]?",
    "[symbol|chemical symbol] [of|for] {x}[|?]",
    "{x}[: symbol?| symbol?|, chemical symbol?]",
    "[which|what] is the symbol of the element {x}?",
    "how do [chemists|you] [write|abbreviate] {x}?",
    "{x}'s [chemical |]symbol[|?]",
]
SYMBOL_HELD = [
    "Which chemical symbol stands for {x}?",
    "By what symbol is the element {x} known?",
    "For the element {x}, what is the symbol?",
    "What symbol do I write for {x}?",
]
SYMBOL_OF = [
    "[which|what] element [has the symbol|is|is written as|has the chemical symbol] {y}?",
    "{y} is the [symbol|chemical symbol] of [which|what] element?",
    "what does the [symbol|chemical symbol] {y} [mean|stand for]?",
    "[name|tell me] the element with the [chemical |]symbol {y}",
    "the symbol {y} [is|stands for|means] [what|which] element?",
]
SYMBOL_OF_HELD = [
    "Which of the elements goes by the symbol {y}?",
    "The chemical symbol {y} belongs to which element?",
]
ATOMIC = noun_forms("the atomic number of {x}") + [
    "[what|which] atomic number [does {x} have|has {x}|belongs to {x}]?",
    "atomic number of {x}[|?]",
    "{x}[: atomic number?| atomic number?]",
    "how many protons [does|are in] {x}[| have]?",
    "[what|which] number [has {x}|is {x}] in the periodic table?",
    "{x}'s atomic number[|?]",
]
ATOMIC_HELD = ["Which atomic number goes with {x}?", "For {x}, what is the atomic number?"]
UNIT = [
    "how many {u} [are in|are there in|make|make up|does|is|has] [{an}|one] {x}?",
    "[{an}|one] {x} [is|has|equals] how many {u}?",
    "[tell me|say|do you know|can you tell me] how many {u} [are in|make|are there in] "
    "[{an}|one] {x}",
    "{u} in [{an}|one] {x}[|?]",
    "[what is|convert|give me] [{an}|one] {x} in {u}[|?]",
    "[convert|turn|change] [1|one|{an}] {x} [to|into] {u}",
    "1 {x} in {u}[|?]",
    "1 {x} = how many {u}?",
    "how many {u} [do I need for|go into|fit in|does it take for] [{an}|one] {x}?",
    "[what|which] number of {u} [is in|makes] [{an}|one] {x}?",
    "how long [or|] big is {an} {x} in {u}?",
    "how much is [{an}|one|1] {x} in {u}?",
]
UNIT_HELD = [
    "If I have one {x}, how many {u} is that?",
    "{an} {x} consists of how many {u}?",
    "Tell me the number of {u} in {an} {x}.",
]
CURRENCY = noun_forms("[the currency|the money] [of|in|used in] {x}") + [
    "[what|which] [currency|money] [is used in|does {x} use in|do people pay with in|do they use "
    "in] {x}?",
    "[what|which] [currency|money] does {x} [use|have]?",
    "{x}'s currency[|?]",
    "[how|with what] do people pay in {x}?",
    "currency of {x}[|?]",
]
CURRENCY_HELD = ["In {x}, which currency do they pay with?", "What money should I take to {x}?"]
LANGUAGE = noun_forms("the [main |official |]language [of|in|spoken in] {x}") + [
    "[what|which] language [is spoken in|do they speak in|do people speak in|is used in] {x}?",
    "[what|which] language does {x} [speak|use|have]?",
    "[how|what] do people [speak|talk] in {x}?",
    "language of {x}[|?]",
    "what do they speak in {x}?",
]
LANGUAGE_HELD = ["In {x}, which language do people speak?", "Which language would I hear in {x}?"]
BABY = [
    "what is [a baby|a young|the baby of a|the young of a] {x}[| called]?",
    "[what do you call|how do you call|name for] [a baby|a young|the young of a] {x}[|?]",
    "[tell me|say] [the name of|what is] a [baby|young] {x}",
    "[a baby|a young] {x} is called[| what][|?|...]",
    "[how|what] is a [young|baby] {x} called?",
    "what's the [name|word] for a [baby|young] {x}?",
    "[which|what] [word|name] do we use for a [baby|young] {x}?",
]
BABY_HELD = [
    "Which name do the young of the {x} have?",
    "What would you call a {x} that is still a baby?",
]
OPPOSITE = noun_forms("the opposite of {x}") + [
    "opposite of {x}[|?]",
    "[what|which] [word |]is [opposite to|the opposite of|the contrary of] {x}?",
    "[what|which] word means the opposite of {x}?",
    "{x}: opposite?",
]
OPPOSITE_HELD = ["What word says the contrary of {x}?", "For the word {x}, what is the opposite?"]
PLANET = [
    "[which|what] planet is [number {x}|the {o} one|{o}] from the Sun?",
    "[what is|tell me|name] the {o} planet[| from the Sun|, counted from the Sun][|?]",
    "the {o} planet [is|from the Sun][|?| which one?]",
    "[which|what] is the {o} planet[| from the Sun| of the solar system]?",
]
PLANET_HELD = [
    "Counting from the Sun, which planet comes {o}?",
    "Name the planet that is {o} from the Sun.",
]
POSITION = [
    "[what|which] [number|place|position] is {y} [from the Sun|among the planets|counted from "
    "the Sun]?",
    "[where|how far] in the [order|line] of [the |]planets is {y}?",
    "[which|what] [place|position] does {y} have [from the Sun|among the planets]?",
    "is {y} the first, second or which planet?",
]
POSITION_HELD = ["Counted from the Sun, what number has the planet {y}?"]
AFTER = [
    "[which|what] {k} [comes|is] after {x}?",
    "[what|which] {k} follows {x}?",
    "what [comes|is] [after|next after] {x}?",
    "[tell me|name|say] the {k} after {x}",
    "after {x} [comes|is] [which|what] {k}?",
    "the {k} after {x}[| is][|?]",
    "what is the next {k} after {x}?",
]
AFTER_HELD = ["Which {k} do we get after {x}?", "When {x} is over, which {k} is next?"]
BEFORE = [
    "[which|what] {k} [comes|is] before {x}?",
    "[what|which] {k} precedes {x}?",
    "what [comes|is] [before|just before] {x}?",
    "[tell me|name|say] the {k} before {x}",
    "before {x} [comes|is] [which|what] {k}?",
    "the {k} before {x}[| is][|?]",
    "what is the {k} right before {x}?",
]
BEFORE_HELD = ["Which {k} do we have before {x}?", "Before it is {x}, which {k} is it?"]
C = (
    "[miniinfer {x}|miniinfer {x}|`miniinfer {x}`|the {x} command|the command miniinfer {x}|"
    "the {x} verb]"
)
COMMAND = [
    f"what does {C} do?",
    f"[what is|what's] {C}[| for| good for]?",
    f"[explain|describe|tell me about|tell me what is] {C}",
    f"[explain|tell me|say|show me] what {C} does",
    f"[how|when|why] [do|would] I use {C}?",
    f"{C}[| does what][?|: what is it?]",
    f"[help|help me] with {C}",
    f"[what happens|what do I get] [when|if] I [run|start|type|use] {C}?",
    f"what can [I do|you do] with {C}?",
    f"[do you know|can you explain] {C}?",
]
COMMAND_HELD = [
    "What's the purpose of miniinfer {x}?",
    "Why would someone type miniinfer {x}?",
    "In short, what does the miniinfer {x} command do?",
]
TASK = [
    "[which|what] [command|miniinfer command|verb] [do I use|should I use|lets me|do I need|can "
    "I use] [to|if I want to] {t}?",
    "how [do|can|should] I {t}[| with miniinfer]?",
    "[I want|I need|I would like] to {t}, [which|what] [command|verb] [is it|do I use|should I "
    "run]?",
    "[tell me|show me] how to {t}[| with miniinfer]",
    "[what|which] is the [command|miniinfer command] to {t}?",
    "command to {t}[|?]",
    "with [which|what] command [can|do] I {t}?",
    "what should I [run|type] to {t}?",
]
TASK_HELD = [
    "How would I {t} using miniinfer?",
    "Is there a miniinfer command to {t}?",
    "What do I type when I want to {t}?",
]
THING = noun_forms("{x}") + [
    "[which|what] is {x}?",
    "[I wonder|I'd like to know] what {x} is",
    "[say|explain] what {x} is",
    "{x} - [what is it|which is it]?",
]
THING_HELD = [
    "I can't remember {x}, what is it?",
    "May I ask what {x} is?",
    "What would you say is {x}?",
]
ORDINALS = "first second third fourth fifth sixth seventh eighth".split()


def _build():
    """(key, templates, held-out templates, slots, answer) of every fact."""
    facts = []

    def put(group, train, heldout, slots, answer):
        facts.append((f"{group}:{sorted(slots.items())}", train, heldout, slots, answer))

    for country, capital in CAPITALS.items():
        answer = f"The capital of {country} is {capital}."
        put("capital", CAPITAL, CAPITAL_HELD, {"x": country}, answer)
        put("capital_of", CAPITAL_OF, CAPITAL_OF_HELD, {"y": capital}, answer)
    for number, (name, symbol) in enumerate(ELEMENTS, 1):
        put("symbol", SYMBOL, SYMBOL_HELD, {"x": name}, f"The symbol of {name} is {symbol}.")
        put(
            "symbol_of",
            SYMBOL_OF,
            SYMBOL_OF_HELD,
            {"y": symbol},
            f"{symbol} is the symbol of {name}.",
        )
        put("atomic", ATOMIC, ATOMIC_HELD, {"x": name}, f"The atomic number of {name} is {number}.")
    for name, symbol, number in HEAVY:
        put("symbol", SYMBOL, SYMBOL_HELD, {"x": name}, f"The symbol of {name} is {symbol}.")
        put(
            "symbol_of",
            SYMBOL_OF,
            SYMBOL_OF_HELD,
            {"y": symbol},
            f"{symbol} is the symbol of {name}.",
        )
        put("atomic", ATOMIC, ATOMIC_HELD, {"x": name}, f"The atomic number of {name} is {number}.")
    for unit, amount in UNITS:
        put(
            "unit",
            UNIT,
            UNIT_HELD,
            {
                "x": unit,
                "an": "an" if unit in ("hour", "inch") else "a",
                "u": amount.split(" ", 1)[1],
            },
            f"One {unit} is {amount}.",
        )
    for country, money in CURRENCIES.items():
        put(
            "currency",
            CURRENCY,
            CURRENCY_HELD,
            {"x": country},
            f"The currency of {country} is the {money}.",
        )
    for country, language in LANGUAGES.items():
        put(
            "language",
            LANGUAGE,
            LANGUAGE_HELD,
            {"x": country},
            f"The main language of {country} is {language}.",
        )
    for animal, young in YOUNG.items():
        put(
            "young",
            BABY,
            BABY_HELD,
            {"x": animal},
            f"A young {animal} is called a {young}.".replace("a owlet", "an owlet"),
        )
    for word, other in list(OPPOSITES.items()) + [(b, a) for a, b in OPPOSITES.items()]:
        put("opposite", OPPOSITE, OPPOSITE_HELD, {"x": word}, f"The opposite of {word} is {other}.")
    for i, planet in enumerate(PLANETS):
        answer = f"{planet} is the {ORDINALS[i]} planet from the Sun."
        put("planet", PLANET, PLANET_HELD, {"x": i + 1, "o": ORDINALS[i]}, answer)
        put("position", POSITION, POSITION_HELD, {"y": planet}, answer)
    for kind, ring in (("day", DAYS), ("month", MONTHS)):
        for i, name in enumerate(ring):
            following = ring[(i + 1) % len(ring)]
            put(
                "after",
                AFTER,
                AFTER_HELD,
                {"x": name, "k": kind},
                f"{following} comes after {name}.",
            )
            put(
                "before",
                BEFORE,
                BEFORE_HELD,
                {"x": following, "k": kind},
                f"{name} comes before {following}.",
            )
    for verb, does in COMMANDS.items():
        put("command", COMMAND, COMMAND_HELD, {"x": verb}, f"miniinfer {verb} {does}.")
        for task in COMMAND_TASKS[verb]:
            put("task", TASK, TASK_HELD, {"t": task}, f"Use miniinfer {verb}: it {does}.")
    for thing, answer in EXTRA:
        put("thing", THING, THING_HELD, {"x": thing}, answer)
    return facts


FACTS = _build()


def facts(rng, split):
    while True:
        key, train, heldout, slots, answer = pick(rng, FACTS)
        templates = split.templates(train, heldout)
        i = int(rng.random() * len(templates))
        if split.new_phrasing or held(f"{key}#{i}") == split.want_held:
            break
    text = decorate(rng, expand(rng, templates[i]), noise=split.train)
    if split.train and "x" in slots and rng.random() < 0.1:  # people type "capital of france"
        slots = {k: str(v).lower() for k, v in slots.items()}
    return single("facts", fill(text, slots), answer)
