"""Numbers in words and in digits, 0 to 9999."""

from .text import single

TO_WORDS = [
    "[write|spell out|say|put|express|give|print] {n} [in|as|with|using] words",
    "[what is|what's] {n} in words?",
    "[write|spell out|say] the number {n} [in|as|with] [words|English words|English]",
    "[how do|how would|how can] [you|I|we|one] [write|say|spell out] {n} in [words|English "
    "words|English]?",
    "how is [{n}|the number {n}] [written|said|spelled out|read] in words?",
    "[turn|convert|change|translate|transform] [the number |]{n} [into|to] words",
    "[can|could|would] you [write|say|spell out|put|give me] [the number |]{n} [in|as] words?",
    "{n} in words[|?]",
    "[tell me|show me|give me] [the number |]{n} in words",
    "number to words: {n}",
    "words for [the number |]{n}[|?]",
    "[what are|give me|tell me] the words for [the number |]{n}?",
    "spell out [the number |]{n}",
    "[write|say] {n} [out |]in full words",
    "[I want|I need|I'd like] [the number |]{n} [in|as|written in] words",
    "in words, [what is|how do you say|write] {n}?",
    "the number {n} [in|as] words",
    "what does {n} look like [written |]in words?",
    "write out {n} [in words|as words|in letters]",
]
TO_WORDS_HELD = [
    "Give me the number {n} written out in words.",
    "How would {n} be said in words?",
    "Please express the number {n} using words.",
    "With words instead of digits, what is {n}?",
]
TO_DIGITS = [
    '[write|put|express|give|print|show] [{w}|"{w}"] [in|as|with|using] '
    "[digits|numbers|figures|a number|numerals]",
    '[what is|what\'s] [{w}|"{w}"] [in|as] [digits|numbers|figures|a number|numerals]?',
    '[turn|convert|change|translate|transform] [{w}|"{w}"] [into|to] [digits|a '
    "number|figures|numbers|numerals]",
    '[how do|how would|how can] [you|I|we] write [{w}|"{w}"] [in|with|as|using] '
    "[digits|numbers|figures|a number]?",
    '[can|could|would] you [write|put|give me] [{w}|"{w}"] [in|as] [digits|a '
    "number|numbers|figures]?",
    "{w} in [digits|numbers|figures][|?]",
    "{w} as a number[|?]",
    "words to [number|digits]: {w}",
    "digits for {w}[|?]",
    '[which|what] number is [{w}|"{w}"]?',
    '[which|what] number [do|does] [the words|the text] "{w}" [mean|stand for|give]?',
    "[I want|I need|I'd like] {w} [in|as|written in] [digits|a number|figures]",
    "in [digits|numbers|figures], [what is|write] {w}[|?]",
    "[tell me|show me|give me] {w} [in|as] [digits|a number|figures]",
    "what does {w} look like [written |]in [digits|numbers|figures]?",
]
TO_DIGITS_HELD = [
    "Give me {w} written with digits.",
    'Which digits do I write for "{w}"?',
    "Please express {w} as a number.",
    "With digits instead of words, what is {w}?",
]

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    if n < 1000:
        return ONES[n // 100] + " hundred" + (" " + in_words(n % 100) if n % 100 else "")
    return in_words(n // 1000) + " thousand" + (" " + in_words(n % 1000) if n % 1000 else "")


def number_words(rng, split):
    def make(r):
        return r.randrange(1000, 10000) if r.random() < 0.35 else r.randrange(0, 1000)

    while True:
        n = make(rng)
        # Twenty, thirty, and the numbers below 21 are the atoms: none may be missing from training.
        never_held = n < 21 or n % 10 == 0
        is_held = not never_held and (n * 2654435761 >> 9) % 10 == 0
        if is_held == split.want_held:
            break
    if rng.random() < 0.5:
        return single(
            "number_words", split.ask(rng, TO_WORDS, TO_WORDS_HELD, {"n": n}, True), in_words(n)
        )
    words = in_words(n)
    if rng.random() < 0.25 and " hundred " in words:
        words = words.replace(" hundred ", " hundred and ")
    if rng.random() < 0.2:
        words = words.replace("-", " ")
    return single("number_words", split.ask(rng, TO_DIGITS, TO_DIGITS_HELD, {"w": words}), str(n))
