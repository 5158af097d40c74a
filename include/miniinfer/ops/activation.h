#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

enum class Activation : uint8_t { kSilu, kGelu, kGeluTanh, kRelu };

struct ActivationArgs {
  ConstTensorView x;      // [..., F] any float dtype; last axis contiguous
  ConstTensorView other;  // optional, shape of x, any float dtype: multiplies act(x) (gated MLP)
  Activation kind = Activation::kSilu;
  TensorView out;  // shape of x, any float dtype; may be x itself
};

// out = act(x) [* other], in float32. gelu is the erf form, gelu_tanh the tanh approximation
// (Hendrycks and Gimpel, 2016). Throws Error invalid_argument, which names the operand at fault.
void activation(ExecContext& context, const ActivationArgs& args);

}  // namespace miniinfer
