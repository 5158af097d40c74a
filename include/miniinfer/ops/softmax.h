#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct SoftmaxArgs {
  ConstTensorView x;   // [..., N] any float dtype; last axis contiguous
  float scale = 1.0F;  // finite
  bool log = false;    // the logarithm of the softmax instead
  TensorView out;      // shape of x, any float dtype; may be x itself
};

// out = softmax(scale * x) over the last axis, the maximum subtracted first, in float32. A row of
// -infinity alone gives NaN. Throws Error invalid_argument, which names the operand at fault.
void softmax(ExecContext& context, const SoftmaxArgs& args);

}  // namespace miniinfer
