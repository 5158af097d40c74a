#pragma once

#include <cstddef>
#include <span>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct LinearArgs {
  ConstTensorView x;  // [M, K] float32, float16 or bfloat16; rows contiguous, any row stride
  // [N, K] float32, float16 or bfloat16, row-major as checkpoints store it, used in place; rows
  // contiguous.
  ConstTensorView weight;
  ConstTensorView bias;     // [N], optional, any float dtype
  TensorView out;           // [M, N] float32, float16 or bfloat16; rows contiguous, any row stride
  bool accumulate = false;  // out += instead of out = (the residual add of a block); out is float32
};

// out = x * weight^T + bias, accumulated in float32. With x and weight both bfloat16 the products
// may go through bfloat16 dot-product instructions; every other pair is computed in float32. On one
// machine a row of out depends on its row of x alone, bit for bit: not on the other rows, their
// number, the slice of weight rows or the threads. On CUDA not on the other rows, but on their
// number, to the bucket. Throws Error invalid_argument (shapes, strides),
// unsupported (a dtype that is no float, another device).
void linear(ExecContext& context, const LinearArgs& args);

// Several projections of the same x (q, k, v; gate, up) in one parallel region: memory, shape and
// dtype of x must be equal in all. None are fine.
void linear(ExecContext& context, std::span<const LinearArgs> group);

// An upper bound of the workspace that linear() takes for M rows of width K, in bytes.
size_t linear_workspace_bytes(int64_t m, int64_t k, int num_threads);

}  // namespace miniinfer
