"""Refusing what the model cannot do, does not know, or would get wrong."""

from .extract import fresh_word, value
from .letters import pseudo_word
from .numbers import ADD, ADD_HELD, SUB, SUB_HELD
from .text import held, pick, single
from .words import CITIES

CANNOT = "Sorry, I can't do that. I am a very small model."
UNKNOWN = "Sorry, I don't know that."
TOO_LARGE = "Sorry, I only add and subtract two whole numbers from 0 to 999."

REFUSE = [
    "[write|compose|make|create|tell me] [a|me a|a short|a long] "
    "[poem|song|story|essay|novel|speech|fairy tale|letter|blog post|article|book] [about|on] {x}",
    "[can|could] you write [a|a short] [poem|story|song|essay|article|letter] about {x}?",
    "I [want|need] [a|a long] [poem|story|song|essay|report] about {x}",
    "translate {x} [into|to] [French|German|Spanish|Italian|Chinese|Latin]",
    "how do you say {x} in [French|German|Spanish|Italian|Russian|Polish]?",
    "what is {x} in [French|German|Spanish|Italian|Russian]?",
    "[can|could] you translate [this|{x}|a text|my letter][|?]",
    "[book|buy|order|reserve] [me |]a [flight|ticket|taxi|hotel|room|pizza|car] [to|in] {city}",
    "[can|could] you [book|buy|order] [a flight|a hotel|a train ticket|a taxi] [to|in] {city}?",
    "I need a [flight|hotel|taxi|ticket] in {city}",
    "[call|phone|ring|email|visit|contact] [my mother|{name}|the police|my boss|a doctor|the bank]",
    "[send|write] an email to {name}",
    "[pay|transfer] [my bills|some money|the rent|money to {name}]",
    "[open|close|lock|unlock] the [door|window|garage|gate]",
    "[turn|switch] [on|off] [the light|the heating|the TV|my computer]",
    "[what is|what's|how is] the weather [in|like in|today in] {city}?",
    "[will it|does it] rain [tomorrow|today] in {city}?",
    "[what is|what's] the [news|latest news][| today| from {city}]?",
    "[tell me|show me|read me] the news[| from {city}| of today]",
    "what time is it[?| now?| in {city}?]",
    "what [day|date|year] is [it|today|it today]?",
    "who [won|will win] the [game|match|election|race|cup][| yesterday| today| in {city}]?",
    "[what is|what's] the [stock price|share price|price] of {x}?",
    "[how much is|what is the price of] {x} [today|now|in the shop]?",
    "[search|look up] {x} [on the internet|on the web|online|on Google]",
    "find me a [restaurant|hotel|doctor|job|flat|school] in {city}",
    "[draw|paint|sketch|show] [me |][a picture|an image|a photo|a drawing] of {x}",
    "[make|create|generate] [a picture|an image|a logo|a video|a photo] [of|for|about] {x}",
    "[can|could] you draw {x}[| for me]?",
    "play [music|a song|a video|a game|chess|a movie][| about {x}]",
    "sing [a song|for me|me a song][| about {x}]",
    "[write|make|create|give me] [a program|code|a script|a function|an app|a website|Python "
    "code|a Java program] [for|that shows|about] {x}",
    "[debug|fix|review|explain] [this code|my program|my code|this function]",
    "[can|could] you [program|code|write code][| for {x}]?",
    "[build|make|develop] [me |][an app|a website|a game] [for|about] {x}",
    "[summarize|sum up|explain] [this book|the article|the theory of {x}|the history of {x}|my "
    "document|a long text]",
    "explain [quantum physics|relativity|the meaning of life|how an engine works|the law of "
    "{x}|why the sky is blue|philosophy|politics]",
    "why is the [sky blue|grass green|sea salty|world round]?",
    "how does [a car|a plane|the internet|a computer|the brain|money|{x}] work?",
    "what [do you think|is your opinion] [about|on|of] {x}?",
    "who should I vote for?",
    "what should I [do|eat|wear|buy|cook|study|watch|read] [today|tonight|tomorrow|now]?",
    "[give|send] me advice [about|on] {x}",
    "how [can|do] I [get rich|lose weight|find love|become famous|be happy|fix my car|cook "
    "{x}|learn {x}|repair {x}]?",
    "[diagnose|cure|treat] my [illness|headache|fever|back pain]",
    "I have a [headache|fever|cold|cough], what should I [do|take]?",
    "which [medicine|pill|doctor] do I need[| for {x}]?",
    "is {x} [legal|safe|dangerous|healthy|good for me]?",
    "[sue|defend|represent] {name} in court",
    "[who is|tell me about|what do you know about] the president of {x}?",
    "who [wrote|painted|directed|composed|invented] {x}?",
    "when did {x} [die|start|end|happen|begin]?",
    "[what|who] was {name} [famous for|doing|thinking]?",
    "[multiply|divide] {n} by {m}",
    "what is {n} [times|divided by|*] {m}?",
    "[what is|calculate] the [square root|square|logarithm|sine] of {n}",
    "what is {n} percent of {m}?",
    "solve the equation {n}x = {m}",
    "{n} * {m}",
    "[what is|what's|] {n}[*|x|/|:| x | / |^]{m}[|?|=]",
    "[how much is|calculate|compute] {n} [times|divided by|*|/|multiplied by|to the power of] "
    "{m}[|?]",
    "count [from {n} to {m}|to {n}|down from {n}]",
    "list the [first {n} primes|numbers from {n} to {m}|even numbers]",
    "who won the [{x} cup|world cup|championship|{x} prize] in [19|20]{y}?",
    "what happened in [19|20]{y}[| in {city}]?",
    "how [tall|old|high|heavy|big|fast|deep] is [{x}|{name}|the tower of {city}|the moon]?",
    "who [was|is] [{name}|the king of {city}|the author of {x}]?",
    "[explain|describe|teach me|tell me] how [a|the] {x} works",
    "[explain|describe|tell me about] [{x}|the {x}|{city}|how to {x}]",
    "[in which|what] year [was {name} born|did {x} end|was {city} founded|did the war end]?",
    "[write|give] me [a haiku|a limerick|an email|a summary|ten ideas|a plan] [about|for] {x}",
    "[write|compose] [a haiku|a limerick|a rap|a ballad|a sonnet] [about|on] {x}",
    "say [hi|hello|goodbye] to [{name}|my mother|my friend]",
    "[can|could] you help me [move|cook|with my taxes|to find {x}]?",
    "[what is|what's] the difference between [a |]{x} and [a |]{name}?",
    "[which|what] is better, {x} or {name}?",
    "[are|is] there [any|a] {x} in {city}?",
    "[what|which] [team|player|book|movie|song] [is the best|do you recommend|won the prize]?",
    "[how|why] did {name} [{x}|leave|win|die]?",
    "[let's|let us] [play a game|talk about {x}|go to {city}|dance]",
    "[pretend|imagine] [you are|to be] [{name}|a pirate|a {x}]",
    "[think of|invent|imagine] a [{x}|new animal|world]",
    "[read|scan|open|delete|save|copy] [my|the|this] [file|folder|email|document|photo|disk]",
    "[install|update|download|uninstall] {x}",
    "[hack|break into|steal] [a computer|a bank|{x}|the account of {name}]",
    "[drive|fly|take|bring] me to {city}",
    "[come|go|walk|drive] to {city}[| with me]",
    "[bring|make|cook|get] me [a coffee|a sandwich|dinner|tea|a beer|some food]",
    "[clean|paint|repair|build] my [house|car|room|bike]",
    "[remind|wake] me [tomorrow|at noon|in the morning|next week]",
    "[predict|tell me|see] [the future|my future|the lottery numbers|next week's weather]",
    "what will happen [tomorrow|next year|in {city}]?",
    "[plan|organize] [a trip to {city}|my week|a party|my wedding|a holiday in {city}]",
    "how [far|long] is it [to|from here to] {city}?",
    "how many people live in {city}?",
    "what is the population of {city}?",
    "[where can I|how do I] [find|buy|park|get|eat] [in |]{x}[?| in {city}?]",
    "where [is|am] {name}?",
    "what is {name} [doing|thinking|wearing]?",
    "[give|tell] me the [phone number|address|email|password] of {name}",
    "what is the [meaning|definition] of {x}?",
    "define {x}",
    "what does {x} mean?",
    "what rhymes with {x}?",
    "[give|find|tell] me a [synonym|rhyme|recipe|slogan|title] for {x}",
    "[recommend|suggest] [a book|a movie|a song|a game|a restaurant|a gift] [about|for|like] {x}",
    "[correct|improve|rewrite|check] my [text|letter|grammar|essay|cover letter]",
    "tell me a [secret|story|fairy tale|riddle][| about {x}]",
]
REFUSE_HELD = [
    "Please compose a piece of music about {x}.",
    "Could you put {x} into French for me?",
    "I'd like you to book two seats on a plane to {city}.",
    "Get me a taxi to {city}.",
    "What is happening in the news of {city}?",
    "Can you show me a photo of {x}?",
    "Write me some code for {x}.",
    "What is your advice about {x}?",
    "How would I build {x} myself?",
    "Please phone {name} for me.",
    "How much does {x} cost today?",
    "Who discovered {x}?",
    "Could you multiply {n} by {m}?",
    "Give me the latest results of the match in {city}.",
]
UNKNOWN_ASK = [
    "[what is|what's|tell me|name] the [capital|capital city|currency|language] of {p}[?|]",
    "[which|what] city is the capital of {p}?",
    "[what is|tell me] the [symbol|chemical symbol|atomic number] of {p}[?|]",
    "[which|what] [currency|language|money] do they use in {p}?",
    "capital of {p}[?|]",
    "{p} is the capital of [which|what] country?",
    "[which|what] country has {p} as [its|the] capital?",
    "what does miniinfer {p} do?",
    "explain [the {p} command|miniinfer {p}]",
]
UNKNOWN_HELD = [
    "For {p}, what is the capital?",
    "Which chemical symbol stands for {p}?",
    "In {p}, which currency do they pay with?",
]


def _too_large(rng, split):
    """Sums beyond what the model learned: more digits, a negative or a broken number."""

    def beyond(r):
        kind = r.random()
        return (
            r.randrange(1000, 10 ** r.randrange(4, 8))
            if kind < 0.7
            else -r.randrange(1, 1000)
            if kind < 0.8
            else f"{r.randrange(100)}.{r.randrange(1, 100)}"
        )

    a = split.draw(rng, beyond)
    b = beyond(rng) if rng.random() < 0.5 else rng.randrange(0, 1000)
    if rng.random() < 0.4:
        a, b = b, a
    train, heldout = (ADD, ADD_HELD) if rng.random() < 0.5 else (SUB, SUB_HELD)
    return single("refuse", split.ask(rng, train, heldout, {"a": a, "b": b}, True), TOO_LARGE)


def refuse(rng, split):
    while True:
        word = fresh_word(rng, split)
        if rng.random() < 0.4:
            word = pick(rng, ["the ", "a ", "my ", "some "]) + word
        slots = {
            "x": word,
            "city": value(rng, split, "city"),
            "name": value(rng, split, "name"),
            "n": rng.randrange(2, 200),
            "m": rng.randrange(2, 200),
            "y": rng.randrange(10, 100),
        }
        if held(str(slots["n"] * 1000 + slots["m"])) == split.want_held:
            break
    r = rng.random()
    if r < 0.12:
        return _too_large(rng, split)
    if r < 0.15 and split.train:  # words that ask for nothing
        return single(
            "refuse",
            " ".join(pseudo_word(rng) for _ in range(rng.randrange(1, 4)))
            + pick(rng, ["", "", ".", "?"]),
            UNKNOWN,
        )
    if r < 0.33:
        place = pseudo_word(rng)
        place = (place + pseudo_word(rng) if len(place) < 5 else place).capitalize()
        if place in CITIES or held("place" + place) != split.want_held:
            return refuse(rng, split)
        return single("refuse", split.ask(rng, UNKNOWN_ASK, UNKNOWN_HELD, {"p": place}), UNKNOWN)
    return single("refuse", split.ask(rng, REFUSE, REFUSE_HELD, slots), CANNOT)
