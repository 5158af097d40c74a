#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

namespace miniinfer::cpu {

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
