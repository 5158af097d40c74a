"""Memory: facts told in one turn and asked for in a later one, with other talk in between."""

from .extract import value
from .text import held, pick
from .words import COLORS, FOODS

# Each attribute: statements, the assistant's acknowledgement, questions, held-out questions, and
# the answer.
ATTRIBUTES = {
    "name": dict(
        tell=[
            "[my name is|I am called|I'm|I am|call me|you can call me|people call me|my friends "
            "call me|the name is] {v}",
            "{v} is my name",
            "[remember|note|keep in mind|don't forget] [that |]my name is {v}",
            "[hi|hello|hey], [my name is|I'm|I am|this is] {v}",
            "please remember [my name, |my name: |the name ]{v}",
        ],
        tell_held=[
            "They named me {v}.",
            "Let me introduce myself, I am {v}.",
            "Just so you know, I go by {v}.",
        ],
        ack="Nice to meet you, {v}.",
        unknown="You have not told me your name.",
        ask=[
            "[what is|what's|whats] my name?",
            "who am I?",
            "[do you|can you] [remember|know|recall|tell me] [my name|what my name is|who I "
            "am|what I am called]?",
            "[tell me|say|give me] my name[| again]",
            "my name is[| what][?|...]",
            "[what|how] am I called?",
            "[what|which] name did I [tell you|say|give you]?",
            "how do people call me?",
            "[by|with] [what|which] name [do you|should you|will you] call me?",
            "[I told you|I said|you know] my name, [what is it|what was it|say it][|?]",
            "[is my name in your memory|did you keep my name|did you save my name][?|, what is "
            "it?]",
            "[repeat|write|use] my name",
            "[let me|I want to] hear my name",
            "my name[?|, please]",
            "[what was|what is] my name [again|once more]?",
            "do you still know [my name|who I am]?",
        ],
        ask_held=[
            "Under what name do you know me?",
            "Which name do I have?",
            "Have you kept my name in mind?",
            "Can you say what I'm called?",
        ],
        answer="Your name is {v}.",
    ),
    "city": dict(
        tell=[
            "I [live|am living|stay|have a house|work] in {v}",
            "my [city|home|home town|home city] is {v}",
            "[I'm|I am|I come] from {v}",
            "{v} is [my city|my home|where I live|my home town]",
            "[remember|note|keep in mind|don't forget] that [I live in|my city is|I am from] {v}",
        ],
        tell_held=[
            "My home is in the city of {v}.",
            "I've got a flat in {v}.",
            "The place where I live is {v}.",
        ],
        ack="Okay, your city is {v}.",
        unknown="You have not told me your city.",
        ask=[
            "where do I [live|come from|stay]?",
            "[what|which] is my [city|home town|home]?",
            "[what|which] city [do I live in|am I from|do I come from|is my home]?",
            "[do you|can you] [remember|know|recall|tell me] [where I live|my city|where I am "
            "from|where I come from]?",
            "[tell me|say|give me] [where I live|my city|where I am from]",
            "where am I from?",
            "[repeat|write|name] [my city|the place I live in|my home town]",
            "[I told you|I said|you know] [my city|where I live], [what is it|what was it|where "
            "is it][|?]",
            "[what|which] [place|town] [do I live in|do I come from|am I from]?",
            "[I forgot|did you save] [where I live|my city][|, where is it?|?]",
            "where is my [home|house]?",
            "my city[?| is?|, please]",
            "[what|which] city did I [tell you|say|name]?",
        ],
        ask_held=[
            "In which city is my home?",
            "What place did I say I live in?",
            "Could you tell me where my home is?",
        ],
        answer="Your city is {v}.",
    ),
    "color": dict(
        tell=[
            "my [favorite|favourite|best|preferred] [color|colour] is {v}",
            "[I like|I love|I prefer] [the color |the colour |]{v}[ best| most| the most|]",
            "{v} is my [favorite|favourite] [color|colour]",
            "[remember|note|keep in mind|don't forget] that my favorite color is {v}",
            "the color I [like|love] [best|most] is {v}",
        ],
        tell_held=[
            "Of all the colors, I like {v} best.",
            "No color is nicer to me than {v}.",
            "As for colors, mine is {v}.",
        ],
        ack="Okay, your favorite color is {v}.",
        unknown="You have not told me your favorite color.",
        ask=[
            "[what is|what's|whats] my [favorite|favourite|best|preferred] [color|colour]?",
            "[what|which] [color|colour] [do I like|do I love|do I prefer|do I like best|is my "
            "favorite]?",
            "[do you|can you] [remember|know|recall|tell me] [my favorite color|which color I "
            "like|the color I like]?",
            "[tell me|say|give me] [my favorite color|my color|the color I like]",
            "[repeat|write|name] [my favorite color|my color]",
            "[I told you|I said|you know] my [favorite color|color], [what is it|which is "
            "it|what was it][|?]",
            "[I forgot|did you save|did you keep] my favorite color[|, which is it?|?]",
            "the color I [like|love|prefer], [what|which] is it?",
            "my favorite color[?| is?| is...|, please]",
            "[what|which] [color|colour] did I [tell you|say|name]?",
        ],
        ask_held=[
            "Which color was my favorite one?",
            "What did I say about the color I like best?",
            "Name the color I like most.",
        ],
        answer="Your favorite color is {v}.",
    ),
    "pet": dict(
        tell=[
            "my [dog|cat|pet|horse|rabbit|parrot] [is called|is named|has the name|goes by] {v}",
            "[I have|we have] a [dog|cat|pet|rabbit|horse] [called|named] {v}",
            "{v} is [my|our] [dog|cat|pet|rabbit]",
            "the name of my [dog|cat|pet] is {v}",
            "[remember|note|keep in mind] that my [dog|cat|pet] is [called|named] {v}",
        ],
        tell_held=[
            "We got a new pet and we call it {v}.",
            "My pet's name is {v}.",
            "At home there is my pet, {v}.",
        ],
        ack="{v} is a nice name for a pet.",
        unknown="You have not told me the name of your pet.",
        ask=[
            "[what is|what's] [my|our] [dog|cat|pet|rabbit|horse|animal] [called|named]?",
            "[what is|what's] the name of my [dog|cat|pet|animal]?",
            "how is my [dog|cat|pet] called?",
            "[do you|can you] [remember|know|recall|tell me] [the name of my pet|what my pet is "
            "called|my pet's name]?",
            "[tell me|say|give me] [the name of my pet|my pet's name|what my pet is called]",
            "[what|which] name does my [pet|dog|cat] have?",
            "[repeat|write|name] my pet's name",
            "[I told you|I said|you know] my pet's name, [what is it|what was it][|?]",
            "[I forgot|did you save|did you keep] [the name of my pet|my pet's name][|, what is "
            "it?|?]",
            "[by|to] what name does my [dog|cat|pet] [listen|answer]?",
            "my pet's name[?| is?|, please]",
            "who is my [pet|dog|cat]?",
        ],
        ask_held=[
            "What do I call my pet?",
            "Which name did I give my pet?",
            "Do you still know my pet's name?",
        ],
        answer="Your pet is called {v}.",
    ),
    "number": dict(
        tell=[
            "my [lucky|favorite] number is {v}",
            "[remember|note|keep in mind|memorize|save] [the number|this number:|the code|my "
            "number] {v}",
            "{v} is my [lucky|favorite] number",
            "the [number|code] [to remember|to keep|for later] is {v}",
            "[my|the] [code|number|pin] is {v}",
            "please [keep|store|save] the number {v}",
        ],
        tell_held=[
            "Here is a number you should not forget: {v}",
            "I'd like you to keep {v} in memory.",
            "Take down the number {v} for later.",
        ],
        ack="Okay, I will remember the number {v}.",
        unknown="You have not told me a number.",
        ask=[
            "[what is|what's|what was] [my|the] [lucky number|number|favorite number|code]?",
            "[what|which] number [did I tell you|did I say|should you remember|did you save|did "
            "I give you]?",
            "[do you|can you] [remember|know|recall|tell me] [my number|the number|my lucky "
            "number|the code]?",
            "[tell me|say|give me|repeat] [my number|the number|the code|my lucky number]",
            "[write|show|name] [my number|the number|the code]",
            "[I told you|I gave you|you know] [a number|my number|the code], [what is it|which "
            "is it|what was it][|?]",
            "[I forgot|did you save|did you store] [my number|the number|the code][|, which is "
            "it?|?]",
            "[what|which] [number|code] is in your memory?",
            "[now|then] [repeat|say] the number",
            "my number[?| is?|, please]",
            "the number[?|, please]",
            "[what|which] [number|code] was it?",
        ],
        ask_held=[
            "Which number have you kept for me?",
            "I need the number from before.",
            "What number did I ask you to keep?",
        ],
        answer="The number is {v}.",
    ),
    "age": dict(
        tell=[
            "I am {v} years old",
            "I'm {v} years old",
            "my age is {v}",
            "I am {v}[| now| this year]",
            "I [turned|was] {v} [last week|this year|yesterday]",
            "[remember|note|keep in mind] that I am {v} years old",
            "{v} is my age",
        ],
        tell_held=[
            "This month I have my birthday number {v}.",
            "I have reached the age of {v}.",
            "I've been on this earth for {v} years.",
        ],
        ack="Okay, you are {v} years old.",
        unknown="You have not told me your age.",
        ask=[
            "how old am I?",
            "[what is|what's] my age?",
            "[do you|can you] [remember|know|recall|tell me] [how old I am|my age]?",
            "[tell me|say|give me] [my age|how old I am]",
            "[what|which] age [do I have|did I say|did I tell you]?",
            "[repeat|write|name] my age",
            "[I told you|I said|you know] [my age|how old I am], [what is it|say it][|?]",
            "[I forgot|did you save] [how old I am|my age][|, what is it?|?]",
            "of what age am I?",
            "[how many years|what age] [old am I|do I have|am I]?",
            "my age[?| is?|, please]",
            "how many years old am I?",
        ],
        ask_held=[
            "Could you say how old I am?",
            "How many years have I lived?",
            "What was my age again?",
        ],
        answer="You are {v} years old.",
    ),
    "food": dict(
        tell=[
            "my [favorite|favourite] [food|dish|meal] is {v}",
            "I [love|like] [to eat|eating] {v}[ most| best|]",
            "{v} is my [favorite|favourite] [food|dish]",
            "the food I [like|love] [best|most] is {v}",
            "[remember|note|keep in mind] that my favorite food is {v}",
        ],
        tell_held=[
            "Nothing tastes better to me than {v}.",
            "What I like to eat most is {v}.",
            "If I could, I'd eat {v} every day.",
        ],
        ack="Okay, your favorite food is {v}.",
        unknown="You have not told me your favorite food.",
        ask=[
            "[what is|what's] my [favorite|favourite] [food|dish|meal]?",
            "[what|which] food [do I like|do I love|do I like best|is my favorite]?",
            "what do I [like|love] to eat?",
            "[do you|can you] [remember|know|recall|tell me] [my favorite food|what I like to "
            "eat|which food I like]?",
            "[tell me|say|give me] [my favorite food|what I like to eat]",
            "[repeat|write|name] [my favorite food|my food]",
            "[I told you|I said|you know] [my favorite food|what I like to eat], [what is "
            "it|what was it][|?]",
            "[I forgot|did you save] [my favorite food|what I like to eat][|, what is it?|?]",
            "[what|which] [meal|dish|food] [do I prefer|do I enjoy|am I fond of|makes me happy]?",
            "the food I [like|love|prefer], [what|which] is it?",
            "my favorite food[?| is?|, please]",
        ],
        ask_held=[
            "Which food did I say I like best?",
            "What's the dish that I like most?",
            "What would I like to eat?",
        ],
        answer="Your favorite food is {v}.",
    ),
}


def _value(rng, split, attribute):
    def make(r):
        if attribute in ("name", "pet"):
            return value(r, split, "name")
        if attribute == "city":
            return value(r, split, "city")
        return {
            "color": lambda: pick(r, COLORS),
            "number": lambda: r.randrange(2, 10000),
            "age": lambda: r.randrange(4, 99),
            "food": lambda: pick(r, FOODS),
        }[attribute]()

    if attribute in ("color", "food"):
        return make(rng)
    while True:
        v = make(rng)
        if attribute in ("name", "pet", "city") or held(f"{attribute}{v}") == split.want_held:
            return v


def _turn(user, assistant):
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def memory(rng, split, between, talk_rate=0.3):
    """`between(rng, split)` gives the messages put between telling and asking."""
    if rng.random() < 0.08:  # told and asked in one message
        attribute = pick(rng, list(ATTRIBUTES))
        a, v = ATTRIBUTES[attribute], _value(rng, split, attribute)
        told = split.ask(rng, a["tell"], a["tell_held"], {"v": v}).rstrip()
        text = (
            told
            + ("" if told[-1] in ".!?" else ".")
            + " "
            + split.ask(rng, a["ask"], a["ask_held"], {})
        )
        return {"skill": "memory", "messages": _turn(text, a["answer"].replace("{v}", str(v)))}
    told = rng.sample(list(ATTRIBUTES), pick(rng, [1, 1, 2, 2, 3]))
    messages, values = [], {}
    for attribute in told:
        a = ATTRIBUTES[attribute]
        values[attribute] = v = _value(rng, split, attribute)
        messages += _turn(
            split.ask(rng, a["tell"], a["tell_held"], {"v": v}), a["ack"].replace("{v}", str(v))
        )
        if rng.random() < talk_rate:
            messages += between(rng, split)
    if rng.random() < 0.12:  # a correction: the later value counts
        attribute = pick(rng, told)
        a = ATTRIBUTES[attribute]
        values[attribute] = v = _value(rng, split, attribute)
        messages += _turn(
            pick(rng, ["No, ", "Sorry, ", "Actually, ", "Wait, ", "I was wrong, "])
            + split.ask(rng, a["tell"], a["tell_held"], {"v": v}),
            a["ack"].replace("{v}", str(v)),
        )
    if rng.random() < talk_rate:
        messages += between(rng, split)
    asked = rng.sample(told, rng.randrange(1, len(told) + 1))
    if rng.random() < 0.1:  # something never told
        asked = [pick(rng, [x for x in ATTRIBUTES if x not in told])]
    for attribute in asked:
        a = ATTRIBUTES[attribute]
        answer = (
            a["answer"].replace("{v}", str(values[attribute]))
            if attribute in values
            else a["unknown"]
        )
        messages += _turn(split.ask(rng, a["ask"], a["ask_held"], {}), answer)
    return {"skill": "memory", "messages": messages}
