#pragma once

#include <cstdint>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer::cpu {

// Converts `n` contiguous elements between float32, float16 and bfloat16, rounding to nearest even.
using ConvertFn = void (*)(DType from_dtype, const void* from, DType to_dtype, void* to, int64_t n);
ConvertFn convert_fn();

// A short contiguous vector (a norm's weight) as float32: its own memory, or converted into the
// workspace, valid until the caller's Workspace::Scope ends. Null when the view is undefined.
const float* vector_as_float(ExecContext& context, const ConstTensorView& vector);

}  // namespace miniinfer::cpu
