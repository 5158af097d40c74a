"""Writes each tokenizer as a Hugging Face directory, with what transformers makes of it."""

import json
import random
import shutil
import unicodedata

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tokenizer_cases import TOKENIZERS

PLAIN = [
    "",
    " ",
    "a",
    "Hello, world!",
    "  two leading and two trailing  ",
    "tabs\tand\nnew\r\nlines\n\n\n",
    "it's we'RE THEY'LL don't",
    "1 22 333 4444 1234567890 3.14159 1,000,000",
    "x" * 300,
    " " * 70 + "!",
    "ab " * 90,
    "\n" * 40,
    "def f(a):\n    return a**2  # square\n",
    "snake_case camelCase kebab-case path/to/file.txt https://example.org/?q=1&r=%20",
    "Größe façade naïve Ça déjà-vu",
    "Привет, мир",
    "今日は良い天気ですね",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "word wordy sword word.",
    "a <strip> b<strip>c",
]
HOSTILE = {
    "combining marks": "e\u0301 a\u0308 o\u0302\u0323 Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d",
    "NFC": unicodedata.normalize("NFC", "éàïõüñ Ǆ ﬁ Å 각"),
    "NFD": unicodedata.normalize("NFD", "éàïõüñ Ǆ ﬁ Å 각"),
    "compatibility forms": "ﬁ ① Ⅳ ㎏ ｆｕｌｌ ½ ²",
    "zero width joiner emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 1️⃣",
    "zero width, bidi": "a\u200bb\u200dc\u2060d\ufeffe \u202egnirts\u202c \u200fx\u200e",
    "beside the surrogates": "\ud7ff\ue000\uf8ff\ufffd\ufffe\uffff",
    "highest planes": "\U00010000\U0001f9ff\U0002fa1d\U000e0001\U0010ffff",
    "NUL and controls": "a\x00b\x01\x07\x1b[31m\x7f\x80\x9f",
    "odd spaces": "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\x0bh\x0c",
    "replacement marks": "▁ ▁▁a Ġ Ċ <0x41> <0xE2><0x96>",
    "one mark, very long": "\u0301" * 200,
    "one emoji, very long": "😀" * 100,
    "one letter, very long": "é" * 1000,
}


def texts(special_tokens):
    yield from PLAIN
    yield from HOSTILE.values()
    for token in special_tokens:
        yield f"before {token} after"
        yield token * 2 + " " + token[:-1] + " " + token.upper()


def encode_line(tokenizer, text):
    """no_special: no special tokens added; as_text: none added, and their spelling is text."""
    ids = tokenizer(text)["input_ids"]
    as_text = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False, split_special_tokens=False)["input_ids"]
    return {
        "text": text,
        "token_ids": ids,
        "token_ids_no_special": plain,
        "token_ids_as_text": as_text,
        "decoded": tokenizer.decode(ids),
        "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True),
    }


def decode_line(tokenizer, ids):
    return {
        "token_ids": ids,
        "decoded": tokenizer.decode(ids),
        "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True),
    }


def id_sequences(tokenizer, rng):
    """Any ids in any order: cut characters, lone continuation bytes, special tokens within."""
    size = len(tokenizer)
    for length in (1, 2, 3, 5, 8, 13, 40, 120):
        for _ in range(3):
            yield [rng.randrange(size) for _ in range(length)]
    vocabulary = tokenizer.get_vocab()
    raw = [i for t, i in vocabulary.items() if t.startswith("<0x")] or [
        i for t, i in vocabulary.items() if len(t) == 1
    ]
    for length in (1, 2, 4, 9, 30):
        yield [rng.choice(sorted(raw)) for _ in range(length)]
    # Four-byte characters cut after each of their bytes.
    emoji = tokenizer("x😀é", add_special_tokens=False)["input_ids"]
    for end in range(1, len(emoji) + 1):
        yield emoji[:end]
    for begin in range(1, len(emoji)):
        yield emoji[begin:]


def make_tokenizers(root, names, templates):
    for name, build in TOKENIZERS.items():
        if names and name not in names:
            continue
        directory = root / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        made, config = build()
        made.save(str(directory / "tokenizer.json"))
        config = dict(config, tokenizer_class="PreTrainedTokenizerFast", model_max_length=2048)
        template = templates.get(name, {})
        if "file" in template:
            (directory / "chat_template.jinja").write_text(template["file"])
        if "config" in template:
            config["chat_template"] = template["config"]
        (directory / "tokenizer_config.json").write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        )

        tokenizer = AutoTokenizer.from_pretrained(directory)
        own = Tokenizer.from_file(str(directory / "tokenizer.json"))
        rng = random.Random(name)
        special_tokens = sorted(
            t.content for t in tokenizer.added_tokens_decoder.values() if t.special
        )
        lines = [encode_line(tokenizer, t) for t in texts(special_tokens)]
        lines += [decode_line(tokenizer, ids) for ids in id_sequences(tokenizer, rng)]
        for line in lines:
            assert own.decode(line["token_ids"], skip_special_tokens=False) == line["decoded"], (
                name,
                line,
            )
            if "text" in line:
                assert own.encode(line["text"]).ids == line["token_ids"], (name, line)
        differing = sum(l.get("token_ids_no_special") != l.get("token_ids_as_text") for l in lines)
        assert differing, f"{name}: no text in which a special token is spelled out"
        with open(directory / "expected.jsonl", "w") as out:
            for line in lines:
                out.write(json.dumps(line) + "\n")
        print(
            f"{name:14s} vocabulary {len(tokenizer)}, {len(lines)} lines, "
            f"{differing} with special tokens spelled out"
        )
