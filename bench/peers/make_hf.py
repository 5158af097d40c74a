#!/usr/bin/env python3
"""Writes OUT/SHAPE-hf with random bf16 weights and a small tokenizer, for us and for converters.

usage: make_hf.py OUT [SHAPE...]
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from shapes import CONTEXT, NORM_EPS, ROPE_THETA, SHAPES

END = "<|endoftext|>"


def small_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=END
    )


def main(out, *names):
    torch.manual_seed(0)
    for name in names or SHAPES:
        config = Qwen3Config(
            **SHAPES[name],
            max_position_embeddings=CONTEXT,
            rope_parameters=dict(rope_type="default", rope_theta=ROPE_THETA),
            rms_norm_eps=NORM_EPS,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            dtype="bfloat16",
        )
        torch.set_default_dtype(torch.bfloat16)
        model = Qwen3ForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        model.generation_config.eos_token_id = None
        model.save_pretrained(f"{out}/{name}-hf")
        small_tokenizer().save_pretrained(f"{out}/{name}-hf")
        print(name, sum(p.numel() for p in model.parameters()) / 1e6, "M parameters")


if __name__ == "__main__":
    main(*sys.argv[1:])
