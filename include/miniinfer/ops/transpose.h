#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct TransposeArgs {
  ConstTensorView x;  // [R, C] or [B, R, C], any dtype; last axis contiguous, other strides free
  TensorView out;     // [C, R] or [B, C, R], the dtype of x; last axis contiguous; not x's memory
};

// out[b, c, r] = x[b, r, c], bit for bit. Throws Error invalid_argument (ranks, shapes, dtypes).
void transpose(ExecContext& context, const TransposeArgs& args);

}  // namespace miniinfer
