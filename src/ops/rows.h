#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

namespace miniinfer {

// A view seen as rows along its last axis: where row i of the flattened leading axes begins.
// Leading axes that collapse into one stride, nearly all in practice, cost one multiplication a
// row.
class Rows {
 public:
  Rows() = default;
  explicit Rows(const ConstTensorView& view)
      : base_(static_cast<char*>(const_cast<void*>(view.raw()))),
        element_(static_cast<int64_t>(dtype_size(view.dtype()))) {
    int64_t extent = 1, stride = 0;
    for (int axis = view.rank() - 2; axis >= 0; --axis) {
      const int64_t dim = view.dim(axis);
      if (dim == 1) continue;
      if (extent == 1) {
        extent = dim;
        stride = view.stride(axis);
      } else if (view.stride(axis) == stride * extent) {
        extent *= dim;
      } else {
        push(extent, stride);
        extent = dim;
        stride = view.stride(axis);
      }
    }
    push(extent, stride);
  }

  // The first element of row `index`.
  template <typename T>
  T* at(int64_t index) const {
    int64_t offset = 0;
    for (int i = 0; i + 1 < num_; ++i) {
      offset += index % extents_[i] * strides_[i];
      index /= extents_[i];
    }
    return reinterpret_cast<T*>(base_ + (offset + index * strides_[num_ - 1]) * element_);
  }
  void* row(int64_t index) const { return at<void>(index); }
  bool defined() const { return base_ != nullptr; }

  // Rows from `index` on that lie one step apart: what a kernel can walk without asking again.
  int64_t run_length(int64_t index) const {
    return num_ <= 1 ? INT64_MAX : extents_[0] - index % extents_[0];
  }
  int64_t step_bytes() const { return strides_[0] * element_; }

 private:
  void push(int64_t extent, int64_t stride) {
    extents_[num_] = extent;
    strides_[num_++] = stride;
  }

  char* base_ = nullptr;
  int64_t element_ = 1;
  int num_ = 0;  // collapsed leading axes, innermost first
  int64_t extents_[Shape::kMaxRank] = {};
  int64_t strides_[Shape::kMaxRank] = {};
};

// The number of rows along the last axis.
inline int64_t row_count(const ConstTensorView& view) {
  int64_t count = 1;
  for (int axis = 0; axis + 1 < view.rank(); ++axis) count *= view.dim(axis);
  return count;
}

// Rows that a thread should take at least: below some 32,768 elements a region costs more than it
// saves.
inline int64_t row_grain(int64_t width) {
  return width >= 32768 ? 1 : 32768 / (width < 1 ? 1 : width);
}

}  // namespace miniinfer
