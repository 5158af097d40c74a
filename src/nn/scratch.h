#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// A contiguous tensor in the context's workspace, valid until the enclosing Workspace::Scope ends.
inline TensorView scratch(ExecContext& context, Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_size(dtype);
  return {context.workspace().allocate(bytes), shape, dtype};
}

// What scratch() takes for `elements`, its alignment included.
inline size_t scratch_bytes(int64_t elements, DType dtype) {
  return std::max<size_t>((static_cast<size_t>(elements) * dtype_size(dtype) + 63) / 64 * 64, 64);
}

inline ConstTensorView view_of(std::span<const int32_t> values) {
  return {values.data(), {static_cast<int64_t>(values.size())}, DType::kInt32};
}

}  // namespace miniinfer
