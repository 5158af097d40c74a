#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "miniinfer/ops/attention.h"

namespace miniinfer {

// A step in device memory, where the model runs on a device. Rows of padding, which make the steps
// of one captured graph alike, have slot -1, token 0 and position 0.
struct DeviceStep {
  ConstTensorView token_ids, positions, slot_mapping;  // [>= T] int32
  ConstTensorView block_tables;                        // [>= B, block_table_stride] int32
  ConstTensorView logit_rows;  // [R] int32; undefined when every row's are wanted
  ConstTensorView cos, sin;    // [>= T, Model::rotary_table_width()] float32, if that is not 0
  std::vector<TensorView> attention_work;  // int32, one for each of the model's attention plans
};

// One step's input to a model: plain numbers about tokens, never a request. T tokens of B
// sequences, sequence after sequence; R rows need logits. Spans point into the runner's arena.
struct ForwardBatch {
  std::span<const int32_t> token_ids;     // [T]
  std::span<const int32_t> positions;     // [T]
  std::span<const int32_t> slot_mapping;  // [T] cache slot of each token
  std::span<const int32_t> query_starts;  // [B + 1]
  std::span<const int32_t>
      context_lens;  // [B] cached tokens of each sequence, this step's included
  std::span<const int32_t> block_tables;  // [B, block_table_stride]
  int64_t block_table_stride = 0;
  std::span<const int32_t> logit_rows;  // [R] rows in 0..T whose logits are wanted, ascending
  // [T] sequence length that a length-dependent RoPE (type "dynamic") assumes for each token: the
  // prompt's length for prompt tokens, position + 1 for generated ones. Ignored by every other RoPE
  // type.
  std::span<const int32_t> rope_lengths;

  const DeviceStep* device = nullptr;
  // On a device: the most sequences of the steps that one captured graph serves; 0: this step's.
  int max_sequences = 0;

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(context_lens.size()); }
};

}  // namespace miniinfer
