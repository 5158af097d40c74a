#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct RmsNormArgs {
  ConstTensorView x;  // [..., H] any float dtype; last axis contiguous, leading axes of any stride
  ConstTensorView weight;  // [H] any float dtype
  float eps = 1e-6F;       // finite, >= 0
  // Optional, shape of x, float32; last axis contiguous: residual += x first, and the sum is
  // normalized.
  TensorView residual;
  TensorView out;  // shape of x, any float dtype; may be x itself
};

// out = x / sqrt(mean(x^2) + eps) * weight over the last axis, accumulated in float32. Throws Error
// invalid_argument, which names the operand at fault.
// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.
void rms_norm(ExecContext& context, const RmsNormArgs& args);

struct LayerNormArgs {
  ConstTensorView x;  // [..., H] any float dtype; last axis contiguous, leading axes of any stride
  ConstTensorView weight;  // [H] any float dtype, optional
  ConstTensorView bias;    // [H] any float dtype, optional
  float eps = 1e-5F;       // finite, >= 0
  TensorView residual;     // as in RmsNormArgs
  TensorView out;          // shape of x, any float dtype; may be x itself
};

// out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias over the last axis (biased variance), in
// float32. Throws like rms_norm(). Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
void layer_norm(ExecContext& context, const LayerNormArgs& args);

}  // namespace miniinfer
