#!/usr/bin/env python3
"""Writes OUT/SHAPE-bf16.gguf with random weights for llama.cpp.

usage: make_gguf.py OUT [SHAPE...]
"""

import sys

import gguf
import numpy

from shapes import CONTEXT, NORM_EPS, ROPE_THETA, SHAPES

BF16 = gguf.GGMLQuantizationType.BF16


def random_matrix(rng, rows, columns):
    """Normal values, repeated beyond four million: only the time to make them depends on it."""
    count = rows * columns
    base = rng.standard_normal(min(count, 1 << 22), dtype=numpy.float32) * 0.02
    return numpy.resize(base, count).reshape(rows, columns)


def add_header(writer, shape):
    writer.add_name("random weights")
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(shape["num_attention_heads"])
    writer.add_head_count_kv(shape["num_key_value_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def add_vocabulary(writer, size):
    """llama.cpp loads no model without one; the benchmarks send token ids."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{i}" for i in range(size)])
    writer.add_token_types([1] * (size - 1) + [3])
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(size - 1)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)


def add_weights(writer, shape, rng):
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    head_dim = shape["head_dim"]
    query, key = shape["num_attention_heads"] * head_dim, shape["num_key_value_heads"] * head_dim

    def matrix(name, rows, columns):
        packed = gguf.quants.quantize(random_matrix(rng, rows, columns), BF16)
        writer.add_tensor(name, packed, raw_dtype=BF16)

    def ones(name, size):
        writer.add_tensor(name, numpy.ones(size, numpy.float32))

    matrix("token_embd.weight", shape["vocab_size"], hidden)
    ones("output_norm.weight", hidden)
    for layer in range(shape["num_hidden_layers"]):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight", hidden)
        ones(block + "ffn_norm.weight", hidden)
        ones(block + "attn_q_norm.weight", head_dim)
        ones(block + "attn_k_norm.weight", head_dim)
        matrix(block + "attn_q.weight", query, hidden)
        matrix(block + "attn_k.weight", key, hidden)
        matrix(block + "attn_v.weight", key, hidden)
        matrix(block + "attn_output.weight", hidden, query)
        matrix(block + "ffn_gate.weight", inner, hidden)
        matrix(block + "ffn_up.weight", inner, hidden)
        matrix(block + "ffn_down.weight", hidden, inner)


def main(out, *names):
    for name in names or SHAPES:
        shape = SHAPES[name]
        writer = gguf.GGUFWriter(f"{out}/{name}-bf16.gguf", "qwen3")
        add_header(writer, shape)
        add_vocabulary(writer, shape["vocab_size"])
        add_weights(writer, shape, numpy.random.default_rng(0))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
