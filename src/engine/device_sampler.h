#pragma once

#include <cstdint>
#include <span>

#include "miniinfer/context.h"
#include "miniinfer/ops/sample_batch.h"
#include "miniinfer/ops/sampling.h"
#include "tensor/cuda/device.h"

namespace miniinfer {

// What a row's draw is keyed by.
struct DrawKey {
  uint64_t seed = 0, position = 0;
};

// Draws tokens from logits that lie on a CUDA device: the rows' parameters go there in one copy,
// the tokens come back in one.
class DeviceSampler {
 public:
  // Throws Error resource_exhausted.
  DeviceSampler(ExecContext& context, int64_t max_rows);

  // Whether the rows' lists fit what was reserved for them, and the vocabulary the kernels.
  bool takes(std::span<const SamplingRow> rows, int64_t vocab) const;
  // As sample_tokens(), with `keys` instead of draws. Waits for the tokens, and so for the step.
  void draw(const ConstTensorView& logits, std::span<const SamplingRow> rows,
            std::span<const DrawKey> keys, std::span<int32_t> token_ids);

 private:
  SamplingSpec spec_of(const SamplingRow& row, const DrawKey& key, int64_t& used);

  ExecContext& context_;
  int64_t max_rows_;
  int64_t max_vocab_;
  Tensor numbers_;    // specs, then lists
  Tensor token_ids_;  // [max_rows] int32
  cuda::PinnedBuffer staging_, result_;
};

}  // namespace miniinfer
