"""Builds one small tokenizer of every kind in use, trained on the text below."""

import json
import math
from collections import Counter

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; "
    "it's asleep by the river.",
    "In 1969 two people walked on the Moon; 384400 km away, 600 million watched. We're still "
    "talking about it!",
    "def area(width, height):\n    # rectangles only\n    return width * height\n\n"
    "for i in range(10):\n\tprint(i, area(i, 2))\n",
    "Les élèves ont été reçus à l'école; où est le garçon? Ça va, merci. "
    "Größe, Straße, über, naïve façade.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Привет, мир!",
    "今日は良い天気ですね。東京から大阪まで新幹線で行きます。你好，世界！我们一起学习语言模型。",
    "مرحبا بالعالم، كيف حالك اليوم؟ שלום עולם, מה שלומך היום?",
    "नमस्ते दुनिया, आप कैसे हैं? สวัสดีชาวโลก 안녕하세요 세계",
    '{"name": "get_weather", "arguments": {"city": "Paris", "days": 3, "unit": "celsius"}}',
    "An inference engine reads weights once and answers many: tokens in, tokens out, the cache "
    "in between. 😀👍🏽👩‍👩‍👧",
] * 8

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
BYTE_TOKENS = [f"<0x{b:02X}>" for b in range(256)]


def special(text):
    return AddedToken(text, special=True, normalized=False)


def byte_bpe(pre_tokenizer, size, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return tokenizer


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2():
    tokenizer = byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), 420)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # Flags that real tokenizers set: they change what is matched and what is swallowed around it.
    tokenizer.add_tokens(
        [
            AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("word", single_word=True, normalized=False),
        ]
    )
    tokenizer.add_special_tokens([special("<|endoftext|>")])
    return tokenizer, dict(
        bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )


def llama3():
    tokenizer = byte_bpe(split_then_bytes(LLAMA3_SPLIT), 480, ignore_merges=True)
    tokenizer.add_special_tokens(
        [
            special(t)
            for t in (
                "<|begin_of_text|>",
                "<|end_of_text|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
                "<|eom_id|>",
                "<|python_tag|>",
            )
        ]
    )
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A",
                pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", begin)],
            ),
        ]
    )
    return tokenizer, dict(
        bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", clean_up_tokenization_spaces=True
    )


def qwen2():
    tokenizer = byte_bpe(split_then_bytes(QWEN2_SPLIT), 460, normalizer=normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(
        [special(t) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    )
    # Known to the vocabulary, yet part of the text: these survive skip_special_tokens.
    tokenizer.add_tokens(
        [
            AddedToken(t, normalized=False)
            for t in ("<tool_call>", "</tool_call>", "<think>", "</think>")
        ]
    )
    return tokenizer, dict(
        bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", add_bos_token=False
    )


def single_digits():
    tokenizer = byte_bpe(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        ),
        400,
    )
    tokenizer.add_special_tokens([special("<|im_start|>"), special("<|im_end|>")])
    end = tokenizer.token_to_id("<|im_end|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", pair="$A $B:1", special_tokens=[("<|im_end|>", end)]
    )
    return tokenizer, dict(eos_token="<|im_end|>")


def common_letters(count):
    """The corpus without its rare letters, which are then left to the bytes. The trainer's own
    limit_alphabet breaks ties differently each time."""
    frequency = Counter("".join(CORPUS))
    kept = set(sorted(frequency, key=lambda c: (-frequency[c], c))[:count])
    return ["".join(c if c in kept else " " for c in line) for line in CORPUS]


def with_bytes(tokenizer, trainer_size, extra=()):
    """SentencePiece order: unk, bos, eos, the 256 bytes, then what was learned."""
    first = ["<unk>", "<s>", "</s>"] + list(extra)
    tokenizer.train_from_iterator(
        common_letters(90),
        trainers.BpeTrainer(
            vocab_size=trainer_size, special_tokens=first + BYTE_TOKENS, show_progress=False
        ),
    )
    state = json.loads(tokenizer.to_str())
    # The trainer registers the bytes as added tokens, which would then be matched as text.
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in first]
    return Tokenizer.from_str(json.dumps(state))


def begin_with_bos(tokenizer):
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", bos)]
    )


def byte_fallback_decoder(strip):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if strip else []))


SP_TOKENS = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def llama2():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex("▁"), behavior="merged_with_next"
    )  # training only
    tokenizer = with_bytes(tokenizer, 620)
    state = json.loads(tokenizer.to_str())
    state["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = byte_fallback_decoder(strip=True)
    begin_with_bos(tokenizer)
    return tokenizer, SP_TOKENS


def mistral():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="always", split=True
    )
    tokenizer = with_bytes(
        tokenizer,
        640,
        extra=[
            "[INST]",
            "[/INST]",
            "[TOOL_CALLS]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
        ],
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="first", split=False
    )
    tokenizer.decoder = byte_fallback_decoder(strip=True)
    begin_with_bos(tokenizer)
    return tokenizer, SP_TOKENS


def gemma():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_previous")
    tokenizer = with_bytes(tokenizer, 600, extra=["<start_of_turn>", "<end_of_turn>"])
    tokenizer.decoder = byte_fallback_decoder(strip=False)
    begin_with_bos(tokenizer)
    return tokenizer, SP_TOKENS


def unigram_pieces(count):
    """Substrings of words by how much text they cover, with the logarithm of their share. The
    trainer sums over threads in any order, so its pieces differ from run to run."""
    frequency = Counter()
    for line in common_letters(80):
        for word in line.split():
            word = "▁" + word
            spans = (
                (i, j) for i in range(len(word)) for j in range(i + 1, min(i + 8, len(word) + 1))
            )
            frequency.update(word[i:j] for i, j in spans)
    letters = sorted(p for p in frequency if len(p) == 1)
    longer = sorted((p for p in frequency if len(p) > 1), key=lambda p: (-frequency[p] * len(p), p))
    total = sum(frequency.values())
    return [(p, math.log(frequency[p] / total)) for p in letters + longer[:count]]


def unigram():
    first = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    vocabulary = first + [(b, 0.0) for b in BYTE_TOKENS] + unigram_pieces(260)
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")]
    )
    tokenizer.add_special_tokens([special(t) for t, _ in first])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 2)]
    )
    return tokenizer, SP_TOKENS


TOKENIZERS = {
    "gpt2": gpt2,
    "llama3": llama3,
    "qwen2": qwen2,
    "single-digits": single_digits,
    "llama2": llama2,
    "mistral": mistral,
    "gemma": gemma,
    "unigram": unigram,
}
