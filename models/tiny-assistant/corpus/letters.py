"""Letters of a word: count, spell, reverse. Operands are words that training never shows when held
out.
"""

from .numbers import only_number
from .text import fill, held, pick, single
from .words import NEVER_HELD, WORDS

# Words of the hold-out appear in no training text as operands, so the tokenizer has no piece made
# for them alone.
HELD_WORDS = [w for w in WORDS if held("word" + w) and w not in NEVER_HELD]
TRAIN_WORDS = sorted(set(WORDS) - set(HELD_WORDS))

W = '[{w}|{w}|"{w}"|"{w}"|\'{w}\'|the word {w}|the word "{w}"|the word \'{w}\']'
IN = "[in|are in|are there in|does|occur in|appear in]"
COUNT = [
    f"how many [times does|times is] [the letter |]{{c}} [in|appear in|occur in|found in|there "
    f"in|show up in] {W}?",
    f'how many [{{c}}|{{c}}\'s|{{c}}s|letters {{c}}|letter {{c}}|"{{c}}"] [are|] in {W}?',
    f"how many [{{c}}'s|{{c}}s|letters {{c}}|times the letter {{c}}|{{c}}] are there in {W}?",
    f"how many [{{c}}'s|letters {{c}}|{{c}}] does {W} [have|contain|include]?",
    f"how often [does|is] [the letter |]{{c}} [occur|appear|come|show up|used|found] in {W}?",
    f"count [the letter|the letters|the|all|every|each|how many|how often|the number of] "
    f"[{{c}}|{{c}}'s] in {W}",
    f"[can|could|would] you count [the letter |the |]{{c}} in {W}?",
    f"[tell me|find|work out|say|find out] how [many times|often] [the letter |]{{c}} [is "
    f"in|appears in|occurs in|comes in|shows up in] {W}",
    f"[what is|give me|tell me|find] the [number|count] of [{{c}}|{{c}}'s|letters {{c}}|letter "
    f"{{c}}] in {W}?",
    f"in {W}, how [many {{c}}|many times is {{c}}|often does {{c}} appear|many letters {{c}}|many "
    f"{{c}}'s are there]?",
    f"{W}: how many [{{c}}|{{c}}'s|letters {{c}}|times {{c}}]?",
    f"letter {{c}} in {W}[, how many?|, how often?|, count it|: how many?]",
    f"for {W}, count [the letter|the|] {{c}}",
    f"look at {W} and count [the letter|every|the|all] {{c}}",
    f"[I want|I need|I'd like] to know how many [{{c}}|{{c}}'s|letters {{c}}] [are in|there are "
    f"in|is in] {W}",
    f"number of [{{c}}|{{c}}'s|letters {{c}}] in {W}[|?]",
    f"does {W} have [the letter |]{{c}}, and how many [times|]?",
    f"{W}[, |: |. ][count the letter|how often is|how many times is there a|how many of] {{c}}[|?]",
    f"[how many|number of] [times|] [the letter |]{{c}} [in|inside|within] {W}[|?]",
    f"[find|count|give me|show me] [all|] the [letters|letter] {{c}} [inside|within|in] {W}[, how "
    f"many are there?|, how many?|]",
    f"[my friend|the teacher|she] [asks|wants to know] how many [{{c}}|{{c}}'s|letters {{c}}] {W} "
    f"has",
    f"[in the spelling of|looking at|reading] {W}, how [many|often] [{{c}}|letters {{c}}|is {{c}} "
    f"there][|?]",
    f"[is|are] there [any|a] {{c}} in {W}, and how many[|?]",
    f"[the letter |]{{c}}: how [many times|often] [in|does it appear in|is it in] {W}[|?]",
    f"[I count|I'm counting] [the letter|the] {{c}} in {W}[, how many is it?|. How many are "
    f"there?|, what is the result?]",
    f"[tell me|give me] the [amount|frequency] of [{{c}}|the letter {{c}}] in {W}",
    f"[check|see|find out] how many times {{c}} is [used|written|found] in {W}",
]
COUNT_HELD = [
    'Please count how often I write {c} in "{w}".',
    "In the word {w}, what is the count of the letter {c}?",
    "How many of the letters in {w} are {c}?",
    'Say how many times you see {c} in the word "{w}".',
    "How many times do we find the letter {c} in {w}?",
    "Take the word {w} and count the letter {c} for me.",
]
LENGTH = [
    f"how many letters [are in|are there in|does|in] {W}[| have| in total]?",
    f"how long is {W}[| in letters]?",
    f"count the letters [in|of] {W}",
    f"[what is|give me|tell me|find] the [number of letters|length] [in|of] {W}?",
    f"how many letters [make up|form|long is] {W}?",
    f"number of letters in {W}[|?]",
    f"length of {W}[|?| in letters]",
    f"[tell me|say|find out] how many letters {W} has",
    f"{W} has how many letters?",
    f"[can|could] you count the letters [in|of] {W}?",
    f"{W}[, |: ][how many letters|how long is it|number of letters|its length|count its "
    f"letters][|?]",
    f"[is|how] {W} long, how many letters is it?",
    f"[find|work out|measure] [how long|how many letters long] {W} is",
    f"the [letter count|length in letters] of {W}[|?]",
    f"of how many letters is {W} made?",
]
LENGTH_HELD = [
    "How many letters do I need to write {w}?",
    'Please count all the letters of "{w}" for me.',
    "In letters, how long is the word {w}?",
]
SPELL = [
    f"[spell|spell out|please spell] {W}[| for me| out| letter by letter| aloud| slowly]",
    f"[can|could|would] you [spell|spell out] {W}[| for me| letter by letter]?",
    f"how [do|would|can] [you|I|we|one] spell {W}[| correctly| out]?",
    f"how is {W} [spelled|spelt|written letter by letter]?",
    f"[what is|tell me|give me|show me] the spelling of {W}?",
    f"what are the letters [in|of] {W}?",
    f"[tell me|give me|list|name|write|show me|say|print] the letters [in|of] {W}[| one by one| "
    f"in order| with dashes]",
    f"[write|say|give me|read|type] {W} letter by letter",
    f"letter by letter, [spell|write|what is|say] {W}[|?]",
    f"[split|break|break up|divide|separate|cut] {W} into [letters|its letters|single "
    f"letters|separate letters]",
    f"[write|put|print] {W} with [dashes|a dash|hyphens] between [the|its] letters",
    f"spelling of {W}[|?]",
    f"spelling: {W}",
    f"spell: {W}",
    f"[I want|I need|I'd like] to [spell|know how to spell] {W}",
    f"[do you know|tell me|show me] how to spell {W}",
    f"[which|what] letters [are in|does] {W}[| have| contain]?",
    f"the letters of {W}[|, please|?]",
    f"{W}[, |: |. ][spell it|letter by letter|how is it spelled?|can you spell it?|how do you "
    f"spell that?|spell this|its letters?|the spelling?]",
    f"[please |]take {W} [apart|to pieces] letter by letter",
    f"[what|how] is the [right|exact|proper] [way to write|way to spell] {W}?",
    f"[I need|I want|give me] [every|each] letter of {W}[| in order| one by one]",
    f"[if|when] I [write|type|spell] {W}, [which letters do I need|what are the letters|how is it "
    f"spelled][|?]",
    f"[my son|my friend|my sister|the teacher] [asks|wants to know] how {W} is spelled[|, can you "
    f"help?]",
    f"[show|list|print] {W} [as|one] [single letters|letters|letter at a time]",
    f"[let's|let us] spell {W}[| together]",
    f"[name|read out|call out] [all|] the letters of {W}",
    f"[help me|teach me] [spell|to spell] {W}",
    f"I [can't|cannot] spell {W}[, help me|, can you?|. How is it done?]",
]
SPELL_HELD = [
    'What is the correct spelling of "{w}"?',
    "Say the letters of the word {w} one after another.",
    "Would you mind spelling {w}?",
    "I'd like you to spell the word {w}.",
    "{w}: which letters is it made of?",
    'Write down each letter of "{w}".',
]
REVERSE = [
    f"[reverse|flip|invert|turn around|mirror] {W}[| for me| please]",
    f"[reverse|flip|turn around|invert|mirror] the letters [in|of] {W}",
    f"[write|say|spell|print|type|put|give me|show me|read] {W} [backwards|backward|in "
    f"reverse|reversed|back to front|from back to front|from right to left|from the end|the other "
    f"way around|in reverse order]",
    f"[what is|what's] {W} [backwards|backward|reversed|in reverse|spelled backwards|written "
    f"backwards|from right to left|back to front]?",
    f"how [do|would|can] [you|I|we] [write|spell|say] {W} [backwards|backward|in reverse|from "
    f"right to left|back to front]?",
    f"how is {W} [written|spelled|spelt|said] [backwards|backward|in reverse|back to front|the "
    f"other way around]?",
    f"[can|could|would] you [reverse|flip|turn around|write backwards|spell backwards] {W}[| for "
    f"me]?",
    f"[can|could|would] you [write|spell|say|give me] {W} [backwards|in reverse|from the end to "
    f"the start|back to front]?",
    f"{W} [backwards|backward|reversed|in reverse|from right to left|back to front][|?|, please]",
    f"[what do|what word do] [you|I|we] get [if|when] [you|I|we] [reverse|flip|turn around|read "
    f"backwards] {W}?",
    f"[what is|give me|tell me|show me|find] the reverse of {W}?",
    f"reverse [this word|this|the word|word]: {W}",
    f"backwards: {W}",
    f"[what does|how does] {W} [look like|read|look] [backwards|reversed|in reverse|in a "
    f"mirror|from right to left]?",
    f"[I want|I need|I'd like] [to see|to have|to read|] {W} [backwards|reversed|in "
    f"reverse|written backwards]",
    f"[put|write|place|give me] the letters of {W} in [reverse|reverse order|the opposite "
    f"order|backward order]",
    f"[starting|start|beginning] [from|with|at] the [last letter|end], [write|spell] {W}",
    f"[write|spell|read] {W} [starting|beginning] [from|with|at] the [last letter|end]",
    f"{W}[, |: |. ][reverse it|write it backwards|now backwards|from the last letter to the "
    f"first|in reverse, please|how is it backwards?|flip it|reversed?]",
    f"[my friend|the teacher|she] [asks|wants to know] how {W} is [written|spelled] backwards",
    f"[let's|let us] [reverse|flip|write backwards] {W}",
    f"[what|which word] [appears|comes out] [if|when] {W} is [flipped|turned around|written "
    f"backwards|read backwards][|?]",
    f"[go|walk|read] through {W} [backwards|from the last letter to the first]",
    f"[swap|change] the [order|letter order] of {W} [so that it is backwards|to the "
    f"reverse|around]",
    f"[the word |]{W} but [backwards|reversed|in reverse]",
    f"[type|write|give me] {W} [last letter first|with the last letter first|from last to first "
    f"letter]",
    f"[mirror|reverse|flip] of {W}[|?]",
    f"[is there a way to|how can I] [reverse|flip|turn around] {W}?",
    f"[turn|change|make] {W} [around|backwards|into its reverse]",
    f"[the reverse|the opposite letter order|backwards] of {W}[|?|, please]",
]
REVERSE_HELD = [
    'Could you give me "{w}" with its letters in reverse?',
    "If I read {w} from the end, what do I get?",
    "Please put the word {w} backwards.",
    "Tell me what {w} is when it is reversed.",
    'I would like the word "{w}" written from right to left.',
    "Show the reversed form of {w}.",
]

SYLLABLES = [
    c + v + e
    for c in "b c d f g h k l m n p r s t v w z br cl dr gr pl st tr".split()
    for v in "aeiou"
    for e in ["", "n", "r", "l", "s", "m", "t"]
]


PIECES = []


def use_pieces(vocabulary):
    """Let half of the made-up words of training consist of the tokenizer's own pieces, so that all
    get their letters taught.
    """
    PIECES[:] = sorted(
        {
            p
            for p in (t.lstrip("\u0120") for t in vocabulary)
            if len(p) > 1 and p.isascii() and p.isalpha() and p.islower()
        }
    )


def pseudo_word(rng, pieces=False) -> str:
    if pieces and PIECES and rng.random() < 0.5:
        return "".join(pick(rng, PIECES) for _ in range(pick(rng, [1, 1, 2, 2, 3])))
    return "".join(pick(rng, SYLLABLES) for _ in range(rng.randrange(1, 4)))


def made_up_word(rng, split):
    return split.draw(rng, lambda r: pseudo_word(r, split.train), lambda w: "word" + w)


def _word(rng, split):
    if not split.train:
        return pick(rng, HELD_WORDS)
    if rng.random() < 0.15:
        return made_up_word(rng, split)
    return pick(rng, TRAIN_WORDS)


def _shown(rng, split, word):
    """A few training prompts capitalise the word; the answer stays in lower case."""
    r = rng.random()
    return word.capitalize() if split.train and r < 0.05 else word


def spelled(word: str) -> str:
    return "-".join(word)


def _count_case(rng, split):
    word = _word(rng, split)
    r = rng.random()
    if r < 0.72:
        repeated = [c for c in word if word.count(c) > 1]
        letter = pick(rng, repeated) if repeated and rng.random() < 0.5 else pick(rng, word)
    else:
        letter = pick(rng, "abcdefghijklmnopqrstuvwxyz")
    return word, letter


def count(rng, split):
    word, letter = _count_case(rng, split)
    shown = _shown(rng, split, word)
    if rng.random() < 0.2:
        prompt = split.ask(rng, LENGTH, LENGTH_HELD, {"w": shown})
        return single("count", prompt, f"{spelled(word)}: {len(word)} letters.")
    n = word.count(letter)
    prompt = split.ask(rng, COUNT, COUNT_HELD, {"w": shown, "c": letter})
    return single(
        "count",
        prompt,
        f"{spelled(word)}: the letter {letter} appears {n} time{'' if n == 1 else 's'}.",
    )


def count_bare(rng, split):
    word, letter = _count_case(rng, split)
    length = rng.random() < 0.2
    text = only_number(rng, split, *((LENGTH, LENGTH_HELD) if length else (COUNT, COUNT_HELD)))
    prompt = fill(text, {"w": word, "c": letter})
    return single("count_bare", prompt, str(len(word) if length else word.count(letter)))


def spell(rng, split):
    word = _word(rng, split)
    return single(
        "spell", split.ask(rng, SPELL, SPELL_HELD, {"w": _shown(rng, split, word)}), spelled(word)
    )


def reverse(rng, split):
    word = _word(rng, split)
    prompt = split.ask(rng, REVERSE, REVERSE_HELD, {"w": _shown(rng, split, word)})
    return single("reverse", prompt, word[::-1], letters=True)
