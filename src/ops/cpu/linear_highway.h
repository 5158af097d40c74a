#pragma once

#include "miniinfer/tensor.h"
#include "ops/cpu/linear_kernel.h"

namespace miniinfer::cpu {

// The kernel for a weight dtype on any instruction set, in float32 arithmetic: x is float32.
LinearKernel highway_linear_kernel(DType x, DType weight);

}  // namespace miniinfer::cpu
