#pragma once

#include "miniinfer/tensor.h"
#include "ops/cpu/linear_kernel.h"

namespace miniinfer::cpu {

// The kernel for a weight dtype on any instruction set, in float32 arithmetic.
LinearKernel highway_linear_kernel(DType x, DType weight);

// Writes a row of x as the layout wants it, zero-padded to prepared_row_floats(k). Not for
// kInPlace.
void prepare_row(const void* x, DType dtype, XLayout layout, int64_t k, float* out);
constexpr int64_t prepared_row_floats(int64_t k) {
  return (k + 31) / 32 * 32;
}

// out[i] = sums[i] (+ bias[i]) (+ out[i]), rounded to the dtype of out. `bias` may be null.
struct FinishRow {
  const float* sums;
  const void* bias;
  DType bias_dtype;
  void* out;
  DType out_dtype;
  bool accumulate;
  int64_t n;
};
void finish_row(const FinishRow& row);

}  // namespace miniinfer::cpu
