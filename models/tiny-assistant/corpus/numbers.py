"""Numbers: add, subtract, bare-number arithmetic, compare, sort."""

from .number_words import in_words
from .text import pick, single

ADD = [
    "[what is|what's|whats] {a} [plus|+|and] {b}[| together| in total]?",
    "[what is|what's] the [sum|total] of {a} and {b}?",
    "[what do|what does] {a} [and|plus|+] {b} [make|add up to|give|come to|equal]?",
    "[add|please add|can you add|could you add] {a} [and|to|plus] {b}[| together| for me]",
    "[add up|sum up|sum|total up] {a} and {b}",
    "[add|sum up] [the numbers|these numbers|these two numbers|these]: {a}[ and |, | + ]{b}",
    "[calculate|compute|work out|find|evaluate|solve|determine|give me|tell me] {a} [+|plus] {b}",
    "[calculate|compute|work out|find|give me|tell me|determine] the [sum|total] of {a} and {b}",
    "{a} [+|plus] {b}[| =| = ?| is what?| equals what?| equals| makes| gives what?]",
    "{a}+{b}[|=|=?| = ?|?]",
    "how much [is|are|would be|do we get for] {a} [plus|+|and] {b}[| together]?",
    "how much do {a} and {b} make[| together| in total]?",
    "if [you|I|we|they] [add|sum] {a} [and|to] {b}, what do [you|I|we] get?",
    "if [I|you|we] [put|take] {a} and {b} together, [how much|how many] [is it|is that|do I have]?",
    "what [result|number|answer] do [I|you|we] get when [I|you|we] add {a} [and|to] {b}?",
    "what is the [result|answer|outcome] of {a} [+|plus] {b}?",
    "what is the [result|answer] when {a} is added to {b}?",
    "[I want|I need|I'd like] [to know|the answer to|the result of] {a} [plus|+] {b}",
    "[can|could|would] you [tell me|work out|calculate|compute|say] [what |how much |]{a} "
    "[plus|+] {b}[| is]?",
    "[do|do you know] [the sum|the addition] {a} [+|plus] {b}",
    "[increase|raise] {a} by {b}",
    "start [with|from|at] {a} and [add|go up by|count up] {b}",
    "[I have|I had|you have|we have|Sam has|she has|he has] {a} "
    "[apples|coins|books|pens|eggs|stamps|euros|points] and "
    "[get|buy|find|receive|win] {b} more. How many [in total|altogether|do we have now|is that]?",
    "[there are|I see|we counted] {a} [red|big|old] and {b} [blue|small|new] "
    "[cars|birds|balls|boxes]. "
    "How many [in total|altogether|in all]?",
    "[the sum|the total] of {a} and {b} is[| what?|?]",
    "[put|take] {a} and {b} together, [how much is it|what is it|what do you get]?",
    "[addition|sum|plus]: {a} [and|+|,] {b}",
    "what number is {a} more than {b}?",
    "[which|what] number [do|will] [I|you|we] [reach|get to|end at] [if I add|when I add|by "
    "adding] {a} to {b}?",
    "[combine|join] the [numbers|values] {a} and {b} [by adding them|into a sum|into one sum]",
    "{a} and {b}, [added|summed] [up|together]",
    "[please |]do the [sum|addition] of {a} and {b}",
    "[when|if] {a} [and|is added to] {b} [are added|], what [is the result|comes out|do we get]?",
    "[my|our] [friend|brother|teacher|class] has {a} and [gets|finds|wins] {b} more, how many "
    "[are there|is that] [now|in all|together]?",
    "[first|once] {a}, then [another|plus] {b}: how much is [it|that] [in total|together]?",
    "[the numbers are|given] {a} and {b}[. What is|, find|, give] [the sum|their sum|the "
    "total][|?]",
    "[I'm|I am] adding {a} and {b}[, what is the result?|, what do I get?|. The answer?]",
    "[let's|let us] add {a} and {b}[|, how much is it?]",
    "{a} [with|and] {b} [added to it|on top] [is|makes|are] [how much|what]?",
    "[the result|the answer] of {a} [+|plus] {b}[|?| is]",
    "[count|counting] {a} and {b} together[|, how many?]",
]
ADD_HELD = [
    "What total do {a} and {b} come to?",
    "Could you give me the sum when {a} is put together with {b}?",
    "I'd like {a} and {b} added up.",
    "How many do I have altogether if I take {a} and then {b} more?",
    "Work out the addition {a} plus {b} for me.",
    "Adding {a} to {b} gives what?",
]
SUB = [
    "[what is|what's|whats] {a} [minus|-|less|take away] {b}?",
    "[what is|what's] the difference [between|of] {a} and {b}?",
    "[subtract|take|take away|remove|deduct] {b} from {a}",
    "[can|could|would] you [subtract|take|deduct|take away] {b} from {a}[| for me]?",
    "[calculate|compute|work out|find|evaluate|solve|determine|give me|tell me] {a} [-|minus] {b}",
    "[calculate|compute|work out|find|give me|tell me] the difference [between|of] {a} and {b}",
    "{a} [-|minus|take away] {b}[| =| = ?| is what?| equals what?| equals| makes| gives what?]",
    "{a}-{b}[|=|=?| = ?|?]",
    "how much [is|would be] {a} [minus|-|less|take away] {b}?",
    "if [you|I|we|they] [subtract|take|take away|remove] {b} from {a}, what [do you get|do I "
    "get|is left|remains]?",
    "what [result|number|answer] do [I|you|we] get when [I|you|we] [subtract|take] {b} from {a}?",
    "what is the [result|answer|outcome] of {a} [-|minus] {b}?",
    "what is the [result|answer] when {b} is [subtracted|taken|removed|deducted] from {a}?",
    "what [is left|remains] [of|from] {a} [after|when] [taking away|subtracting|removing] {b}?",
    "[I want|I need|I'd like] [to know|the answer to|the result of] {a} [minus|-] {b}",
    "[can|could|would] you [tell me|work out|calculate|compute|say] [what |how much |]{a} "
    "[minus|-] {b}[| is]?",
    "[decrease|reduce|lower] {a} by {b}",
    "start [with|from|at] {a} and [subtract|go down by|count down|take off] {b}",
    "[I have|I had|you have|we have|Sam has|she has|he has] {a} "
    "[apples|coins|books|pens|eggs|stamps|euros|points] and "
    "[lose|give away|spend|sell|use] {b}. How many [are left|remain|do we have now|is that]?",
    "what number is {b} [less|fewer|lower] than {a}?",
    "{b} [subtracted|taken away|taken|removed|deducted] from {a}[| is what?| gives?|, what is it?]",
    "[subtraction|minus|difference]: {a} [-|minus] {b}",
    "from {a} [take|subtract|take away|remove] {b}[|, what is left?|, what remains?]",
    "[do|do you know] [the subtraction|the difference] {a} [-|minus] {b}",
    "[there were|I saw|we counted] {a} [cars|birds|balls|boxes] and {b} [left|went away|are gone]. "
    "How many [are left|remain|are still there]?",
    "how much [is left|remains] [if|when] [I|you|we] [take|subtract|remove] {b} from {a}?",
    "[take|make] {a} [smaller|less] by {b}",
    "[please |]do the subtraction {a} [-|minus] {b}",
    "[when|if] {b} is [removed|deducted|cut] from {a}, what [is the result|comes out|stays]?",
    "[my|our] [friend|brother|teacher|class] has {a} and [loses|spends|gives away] {b}, how many "
    "[are there|are left|remain] [now|then|]?",
    "[first|once] {a}, then {b} less: how much is [it|that] [then|now]?",
    "[the numbers are|given] {a} and {b}[. What is|, find|, give] [the difference|their "
    "difference][|?]",
    "[I'm|I am] subtracting {b} from {a}[, what is the result?|, what do I get?|. The answer?]",
    "[let's|let us] [subtract|take] {b} from {a}[|, how much is it?]",
    "{a} [without|except] {b} [is|makes|leaves] [how much|what]?",
    "[the result|the answer] of {a} [-|minus] {b}[|?| is]",
    "[count|counting] {b} down from {a}[|, where do I land?]",
    "{b} [off|out of|away from] {a} [is|leaves|makes] [what|how much]?",
    "[drop|lose|spend] {b} [of|from|out of] {a}[, how many are left?|, what is left?|. What "
    "remains?]",
    "{a} [reduced|lowered|decreased] by {b}[| is what?|?| gives?]",
    "[which|what] number [do|will] [I|you|we] [reach|get to|end at] [if I|when I] "
    "[subtract|take] {b} from {a}?",
]
SUB_HELD = [
    "What do I have left when {b} is taken off {a}?",
    "Could you work out {a} take away {b} for me?",
    "Take {a}, subtract {b}, and tell me what remains.",
    "If {a} goes down by {b}, what number is it then?",
    "I'd like {b} subtracted from {a}.",
    "Tell me the result of taking {b} away from {a}.",
]
ONLY = [
    "[just|only] the [number|result|answer|value]",
    "[answer|reply|respond] with [just|only] [the|a] number",
    "[give|tell|show|send] me [just|only] the [number|result|answer]",
    "no words, [just|only] [the|a] number",
    "number only",
    "[just|only] [give|write|say] the [number|result]",
    "I want [just|only] the number",
    "[without|no] [explanation|words|text], [just|only] the [number|answer|result]",
    "the number alone",
    "a single number as the answer",
    "[write|say|print] nothing but the number",
    "short answer, a number only",
    "answer in digits only",
    "your answer must be [just|only] a number",
    "bare number only",
]
ONLY_HELD = [
    "reply with nothing else than the number",
    "I only need the number itself",
    "keep the answer to the number alone",
    "the bare result only",
    "answer with the number and no other words",
]
LARGER = [
    "which [number |one |]is [larger|bigger|greater|higher|more], {a} or {b}?",
    "[what|which] is the [larger|bigger|greater|higher] [number|one|value|]: {a} or {b}?",
    "[what|which] is [larger|bigger|greater|higher|more]: {a} or {b}?",
    "which of [{a} and {b}|the numbers {a} and {b}|these is more, {a} or {b},|{a} or {b}] is "
    "[larger|bigger|greater|the larger|the bigger|the greatest|higher]?",
    "[tell me|say|decide|find out|show me] which is [larger|bigger|greater|higher], {a} or {b}",
    "[pick|choose|find|give me|name] the [larger|bigger|greater|higher|largest|biggest] "
    "[number|one|value] [of|from|out of|between] {a} [and|or] {b}",
    "{a} or {b}[,|:] which [is|one is|number is] [larger|bigger|greater|higher|more]?",
    "[between|out of|of] {a} and {b}, which [is|one is|number is] [larger|bigger|greater|the "
    "larger|the bigger|higher]?",
    "[compare|compare the numbers] {a} and {b}[,|:|.] which is [larger|bigger|greater]?",
    "is {a} or {b} [larger|bigger|greater|higher|the larger number]?",
    "[what|which] is the [maximum|max|largest|biggest|greatest] of {a} and {b}?",
    "[larger|bigger|greater] number: {a} or {b}?",
    "[can|could] you [tell me|say] which [number |one |]is [larger|bigger|greater|higher], {a} "
    "or {b}?",
    "I [have|see] {a} and {b}. Which is [larger|bigger|greater|more]?",
]
LARGER_HELD = [
    "Of the two numbers {a} and {b}, which one is the bigger?",
    "Would {a} or {b} be the greater number?",
    "Show me the higher value: {a} or {b}?",
    "I need to know the larger of {a} and {b}.",
]
SMALLER = [
    "which [number |one |]is [smaller|less|lower], {a} or {b}?",
    "[what|which] is the [smaller|lower] [number|one|value|]: {a} or {b}?",
    "[what|which] is [smaller|less|lower]: {a} or {b}?",
    "which of [{a} and {b}|the numbers {a} and {b}|{a} or {b}] is [smaller|the smaller|the "
    "smallest|lower|less]?",
    "[tell me|say|decide|find out|show me] which is [smaller|less|lower], {a} or {b}",
    "[pick|choose|find|give me|name] the [smaller|lower|smallest|lowest] [number|one|value] "
    "[of|from|out of|between] {a} [and|or] {b}",
    "{a} or {b}[,|:] which [is|one is|number is] [smaller|lower|less]?",
    "[between|out of|of] {a} and {b}, which [is|one is|number is] [smaller|the "
    "smaller|lower|less]?",
    "[compare|compare the numbers] {a} and {b}[,|:|.] which is [smaller|less|lower]?",
    "is {a} or {b} [smaller|less|lower|the smaller number]?",
    "[what|which] is the [minimum|min|smallest|lowest|least] of {a} and {b}?",
    "[smaller|lower] number: {a} or {b}?",
    "[can|could] you [tell me|say] which [number |one |]is [smaller|less|lower], {a} or {b}?",
    "I [have|see] {a} and {b}. Which is [smaller|less|lower]?",
]
SMALLER_HELD = [
    "Of the two numbers {a} and {b}, which one is the smaller?",
    "Would {a} or {b} be the lower number?",
    "I need to know the smaller of {a} and {b}.",
]
IS_LARGER = [
    "is {a} [larger|bigger|greater|higher|more] than {b}?",
    "is it true that {a} is [larger|bigger|greater|higher] than {b}?",
    "{a} is [larger|bigger|greater|higher] than {b}[, right?|, true or false?|, correct?|, yes "
    "or no?|, is that true?]",
    "[can you tell me|tell me|say] [if|whether] {a} is [larger|bigger|greater|higher] than {b}",
    "{a} > {b}?",
    "is {a} > {b}?",
    "is the number {a} [larger|bigger|greater] than [the number |]{b}?",
]
IS_LARGER_HELD = [
    "Would you say that {a} is bigger than {b}?",
    "Is it correct that {a} is more than {b}?",
]
IS_SMALLER = [
    "is {a} [smaller|less|lower] than {b}?",
    "is it true that {a} is [smaller|less|lower] than {b}?",
    "{a} is [smaller|less|lower] than {b}[, right?|, true or false?|, correct?|, yes or no?|, is "
    "that true?]",
    "[can you tell me|tell me|say] [if|whether] {a} is [smaller|less|lower] than {b}",
    "{a} < {b}?",
    "is {a} < {b}?",
    "is the number {a} [smaller|less|lower] than [the number |]{b}?",
]
IS_SMALLER_HELD = [
    "Would you say that {a} is smaller than {b}?",
    "Is it correct that {a} is less than {b}?",
]
UP = [
    "[|in ascending order|from small to large|from smallest to largest|from lowest to highest|in "
    "increasing order|"
    "from low to high|smallest first|from the smallest to the largest|lowest first|with the "
    "smallest first|in order|going up]"
]
DOWN = [
    "[in descending order|from large to small|from largest to smallest|from highest to lowest|in "
    "decreasing order|"
    "from high to low|largest first|from the largest to the smallest|highest first|with the "
    "largest first|in reverse order|"
    "biggest first|from biggest to smallest|going down]"
]
SORT = [
    "[sort|order|arrange|put|rank] [these numbers|the numbers|the following numbers|this "
    "list|these|the list|these values] [{how}|{how}|]: {l}",
    "[sort|order|arrange|rank] {l} {how}",
    "[put|place|write|list|bring] {l} {how}",
    "[sort|order|arrange|rank] [the numbers|these numbers|the list|the values] {l} {how}",
    "[put|place|write|list] [the numbers|these numbers|the values] {l} {how}",
    "[can|could|would] you [sort|order|arrange|put|list] [these numbers|the numbers|these|the "
    "list|] {l} {how}?",
    "{l}[:| -|.|,] [sort|order|arrange|put|list] [them|these|this list|the numbers|these "
    "numbers] {how}",
    "[what is|what are|give me|show me|tell me|write] [these numbers|the numbers|the list] "
    "{how}: {l}",
    "[here are|I have] [some numbers|numbers|these numbers|the numbers]: {l}. "
    "[sort|order|arrange|put|list] them {how}",
    "[I want|I need|I'd like] [the numbers|these numbers|] {l} [sorted|ordered|arranged|put] {how}",
    "how [do|would] [you sort|I sort|you order|you arrange] {l} {how}?",
    "[sorted|sort|order] {how}: {l}",
    "numbers {how}, please: {l}",
    "[what|how] does {l} look [like |]when [sorted|ordered|arranged] {how}?",
    "[sort|order|arrange] {how}[:| these:| the list:| the numbers] {l}",
    "[return|give me|show me|print] {l} [sorted|ordered|arranged] {how}",
    "[what is|give me] the [sorted|ordered] [list|version|form] of {l} {how}?",
]
SORT_HELD = [
    "Please get {l} sorted {how} for me.",
    "I have the list {l}; could you order it {how}?",
    "Line up the numbers {l} {how}.",
    "Which order do {l} have {how}?",
    "Write these numbers again, {how}: {l}",
    "Help me arrange the values {l} {how}.",
]


def number(rng, top_heavy=True):
    r = rng.random()
    if top_heavy and r < 0.5:
        return rng.randrange(100, 1000)
    return rng.randrange(10, 100) if r < 0.85 else rng.randrange(0, 10)


def wide(rng):
    """Now and then four digits: order needs no arithmetic."""
    return rng.randrange(1000, 10000) if rng.random() < 0.12 else number(rng)


def _pair(split, rng, op):
    """Operands; only pairs of at least two digits each are ever held out, so that 7 + 8 is always
    known.
    """
    while True:
        a, b = number(rng), number(rng)
        if min(a, b) < 10:
            if split.train:
                return a, b
            continue
        if split.want_held == _held_pair(a, b, op):
            return a, b


def _held_pair(a, b, op):
    # Addition commutes, so both orders fall on the same side.
    lo, hi = (min(a, b), max(a, b)) if op == "+" else (a, b)
    return ((lo * 7919 + hi) * 2654435761 >> 7) % 10 == 0


def _shown(rng, split, a, b):
    """Operands as people write them: in training, a few small ones are words."""
    if split.train and a < 100 and b < 100 and rng.random() < 0.2:
        return {"a": in_words(a), "b": in_words(b)}
    return {"a": a, "b": b}


def add(rng, split):
    a, b = _pair(split, rng, "+")
    return single(
        "add", split.ask(rng, ADD, ADD_HELD, _shown(rng, split, a, b), True), f"{a} + {b} = {a + b}"
    )


def subtract(rng, split):
    a, b = _pair(split, rng, "-")
    return single(
        "subtract",
        split.ask(rng, SUB, SUB_HELD, _shown(rng, split, a, b), True),
        f"{a} - {b} = {a - b}",
    )


def only_number(rng, split, train_base, heldout_base):
    """A question joined with a wish for the number alone; a held-out phrasing has both parts
    unseen.
    """
    from .text import decorate, expand

    base = expand(rng, pick(rng, split.templates(train_base, heldout_base))).rstrip()
    only = expand(rng, pick(rng, split.templates(ONLY, ONLY_HELD)))
    if rng.random() < 0.3:
        text = only[:1].upper() + only[1:] + pick(rng, [": ", ". ", ", please: "]) + base
    else:
        ended = base[-1] in ".?!"
        text = base + (" " if ended else pick(rng, [". ", ", ", "; ", " - ", "? "]))
        text += only[:1].upper() + only[1:] if text.rstrip()[-1] in ".?" else only
    return decorate(rng, text, noise=split.train, random_words="{w}" not in text, plain=0.7)


def bare(rng, split):
    from .text import fill

    op = "+" if rng.random() < 0.45 else "-"
    a, b = _pair(split, rng, op)
    text = only_number(rng, split, *((ADD, ADD_HELD) if op == "+" else (SUB, SUB_HELD)))
    return single("arithmetic", fill(text, {"a": a, "b": b}), str(a + b if op == "+" else a - b))


def compare(rng, split):
    def make(r):
        a = wide(r)
        c = r.random()
        b = a + r.randrange(-12, 13) if c < 0.25 else (a if c < 0.31 else wide(r))
        return a, abs(b)

    a, b = split.draw(rng, make, lambda v: f"cmp{v}")
    word = "larger" if rng.random() < 0.5 else "smaller"
    if rng.random() < 0.65:
        train, heldout = (LARGER, LARGER_HELD) if word == "larger" else (SMALLER, SMALLER_HELD)
        prompt = split.ask(rng, train, heldout, {"a": a, "b": b}, True)
        first, second = (a, b) if (a > b) == (word == "larger") else (b, a)
        answer = f"{a} and {b} are equal." if a == b else f"{first} is {word} than {second}."
    else:
        train, heldout = (
            (IS_LARGER, IS_LARGER_HELD) if word == "larger" else (IS_SMALLER, IS_SMALLER_HELD)
        )
        prompt = split.ask(rng, train, heldout, {"a": a, "b": b}, True)
        truth = a > b if word == "larger" else a < b
        relation = "is equal to" if a == b else ("is larger than" if a > b else "is smaller than")
        answer = f"{'Yes' if truth else 'No'}, {a} {relation} {b}."
    return single("compare", prompt, answer)


def sort(rng, split):
    values = split.draw(rng, lambda r: [wide(r) for _ in range(r.randrange(3, 7))])
    down = rng.random() < 0.4
    how = pick(rng, DOWN if down else UP)
    joiner = pick(rng, [", ", ", ", ", ", " ", " and ", ","])
    text = (
        joiner.join(map(str, values[:-1]))
        + (" and " if rng.random() < 0.3 else joiner)
        + str(values[-1])
    )
    from .text import decorate, expand, fill

    t = expand(rng, pick(rng, split.templates(SORT, SORT_HELD)))
    way = expand(rng, how)
    if down and "{how}" not in t:
        t = "[sort|order] {how}: {l}" if split.train else SORT_HELD[0]
        t = expand(rng, t)
    t = (
        t.replace("{how}", way)
        .replace("  ", " ")
        .replace(" :", ":")
        .replace(" ?", "?")
        .replace(" .", ".")
        .strip()
    )
    prompt = fill(decorate(rng, t, noise=split.train, random_words=True), {"l": text})
    return single("sort", prompt, ", ".join(map(str, sorted(values, reverse=down))))
