#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct TakeRowsArgs {
  ConstTensorView x;     // [T, H] any dtype; rows contiguous, any row stride
  ConstTensorView rows;  // [N] int32 on the context's device, each in [0, T)
  TensorView out;        // [N, H] the dtype of x; rows contiguous, any row stride
};

// out[i] = x[rows[i]], bit for bit. Throws Error invalid_argument (shapes, dtypes; on a CPU also a
// row outside x, before anything is written). On CUDA nobody can throw: row 0 stands for it.
void take_rows(ExecContext& context, const TakeRowsArgs& args);

}  // namespace miniinfer
