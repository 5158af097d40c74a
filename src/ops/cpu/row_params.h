#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

// What the rows of one call have in common: the arguments of the row kernels that are the same for
// each.
namespace miniinfer::cpu {

struct NormRow {
  DType x_dtype;
  DType out_dtype;
  const float* weight;  // [width] or null
  const float* bias;    // [width] or null
  int64_t width;
  float eps;
};

// Rows one step (in bytes) apart.
struct NormRun {
  int64_t rows;
  const char* x;
  char* residual;  // null without one
  char* out;
  int64_t x_step, residual_step, out_step;
  float* buffer;  // [width], when x is converted
};

struct SoftmaxRow {
  DType x_dtype;
  DType out_dtype;
  int64_t width;
  float scale;
  bool log;
};

// One operand of an element-wise row; null data when the operand is absent.
struct RowOperand {
  DType dtype;
  const void* data;
};

}  // namespace miniinfer::cpu
