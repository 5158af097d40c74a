#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct CastArgs {
  ConstTensorView x;  // [..., N] any float dtype; last axis contiguous, leading axes of any stride
  TensorView out;     // shape of x, any float dtype
};

// out = x, rounded to nearest even where out's dtype is narrower. Throws Error invalid_argument,
// which names the operand at fault.
void cast(ExecContext& context, const CastArgs& args);

}  // namespace miniinfer
