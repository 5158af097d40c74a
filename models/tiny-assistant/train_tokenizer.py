"""Train the 4096-entry byte-level BPE on the corpus and write the tokenizer files."""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
from corpus import render

HERE = Path(__file__).parent
VOCAB = 4096
SPECIAL = [render.PAD, render.IM_START, render.IM_END]
# Markup that must survive "skip special tokens" when an answer is decoded.
MARKUP = [
    "<tool_call>",
    "</tool_call>",
    "<tools>",
    "</tools>",
    "<tool_response>",
    "</tool_response>",
]
# Letters with one leading space, single digits, punctuation, whitespace. A digit never joins
# another one, and a
# quotation mark never joins the word it quotes.
PATTERN = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        example = corpus.training_example(rng)
        for _, content, letters in render.segments(example["messages"], example.get("tools")):
            if not letters:
                for piece in MARKUP:
                    content = content.replace(piece, "\n")
                yield content


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", type=Path, default=HERE)
    args.add_argument("--documents", type=int, default=150_000)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL + MARKUP,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts(args.documents, args.seed), trainer)
    data = json.loads(tokenizer.to_str())
    for token in data["added_tokens"]:
        token["special"] = token["content"] in SPECIAL
    (args.out / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "bos_token": None,
        "eos_token": render.IM_END,
        "pad_token": render.PAD,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "added_tokens_decoder": {
            str(t["id"]): {
                k: t[k]
                for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
            }
            for t in data["added_tokens"]
        },
    }
    (args.out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
