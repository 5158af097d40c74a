#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct RmsNormArgs {
  ConstTensorView x;       // [..., H] any float dtype; last axis contiguous, leading axes of any stride
  ConstTensorView weight;  // [H] any float dtype
  float eps = 1e-6F;
  TensorView residual;     // optional, shape of x, float32: residual += x first, and the sum is normalized
  TensorView out;          // shape of x, any float dtype; may be x itself
};

// out = x / sqrt(mean(x^2) + eps) * weight over the last axis, accumulated in float32.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
void rms_norm(ExecContext& context, const RmsNormArgs& args);

struct LayerNormArgs {
  ConstTensorView x;       // [..., H] any float dtype; last axis contiguous
  ConstTensorView weight;  // [H], optional
  ConstTensorView bias;    // [H], optional
  float eps = 1e-5F;
  TensorView residual;     // optional, shape of x, float32: residual += x first, and the sum is normalized
  TensorView out;          // shape of x, any float dtype; may be x itself
};

// out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias over the last axis (biased variance).
void layer_norm(ExecContext& context, const LayerNormArgs& args);

}  // namespace miniinfer
