#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// A contiguous tensor in the context's workspace, valid until the enclosing Workspace::Scope ends.
inline TensorView scratch(ExecContext& context, const Shape& shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_size(dtype);
  return {context.workspace().allocate(bytes), shape, dtype, context.device()};
}

// What scratch() takes for `elements`, its alignment included.
inline size_t scratch_bytes(int64_t elements, DType dtype) {
  return std::max<size_t>((static_cast<size_t>(elements) * dtype_size(dtype) + 63) / 64 * 64, 64);
}

// Columns [begin, begin + count) of a [T, width] tensor.
inline TensorView columns(const TensorView& x, int64_t begin, int64_t count) {
  uint8_t* data = x.data<uint8_t>() + begin * static_cast<int64_t>(dtype_size(x.dtype()));
  return {data, {x.dim(0), count}, {x.stride(0), 1}, x.dtype(), x.device()};
}

inline ConstTensorView view_of(std::span<const int32_t> values) {
  return {values.data(), {static_cast<int64_t>(values.size())}, DType::kInt32};
}

}  // namespace miniinfer
