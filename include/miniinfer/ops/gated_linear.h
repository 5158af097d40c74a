#pragma once

#include "miniinfer/context.h"
#include "miniinfer/ops/activation.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// The first half of a gated MLP: gate and up projections of one x whose weights lie together.
struct GatedLinearArgs {
  ConstTensorView x;       // [M, K], as linear() takes it
  ConstTensorView weight;  // [2 N, K]: N rows of the gate, then N of up
  ConstTensorView bias;    // [2 N], optional
  Activation kind = Activation::kSilu;
  TensorView out;  // [M, N], any float dtype; rows contiguous, any row stride
};

// out = act(x gate^T) * (x up^T). On CUDA up to 16 rows of 16-bit operands with silu are one
// kernel, in float32 up to out; otherwise both projections are rounded to out's dtype, in the
// workspace, which then gives scratch for [M, 2 N] of it. Throws as linear() and activation() do.
void gated_linear(ExecContext& context, const GatedLinearArgs& args);

}  // namespace miniinfer
