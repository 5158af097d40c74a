#pragma once

#include <optional>
#include <span>
#include <vector>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"
#include "nn/forward_batch.h"

namespace miniinfer {

// The angles of rotary position embedding, and the tables of a step.
struct RotaryEmbedding {
  // Base growth with the length (NTK-aware scaling): beyond max_position, the base becomes
  // theta * (factor * length / max_position - (factor - 1))^(R / (R - 2)).
  struct Dynamic {
    double theta, factor;
    int64_t max_position;
  };

  std::vector<float> inv_freq;     // [R / 2] radians per position
  float scale = 1.0F;              // of cos and sin
  std::optional<Dynamic> dynamic;  // inv_freq holds up to max_position

  struct Tables {
    TensorView cos, sin;  // [T, R / 2] float32
  };
  // The frequencies of a token in a sequence of each of `lengths`, rows of inv_freq.size(), when
  // dynamic.
  void dynamic_frequencies(std::span<const int32_t> lengths, float* out) const;
  // In the context's workspace. Lengths come from batch.rope_lengths, one a token, when dynamic.
  Tables tables(ExecContext& context, const ForwardBatch& batch) const;
  size_t workspace_bytes(int64_t max_tokens) const;
};

// 1 / base^(2i / (2 * count)) for i in [0, count), in the float32 arithmetic of the reference
// models.
std::vector<float> inverse_frequencies(double base, int64_t count);

}  // namespace miniinfer
