#pragma once

#include "miniinfer/tensor.h"
#include "ops/rows.h"
#include "tensor/numeric.h"

namespace miniinfer::ref {

// One element of any floating-point view as double; `row` counts the flattened leading axes.
inline double load(const ConstTensorView& view, int64_t row, int64_t column) {
  const Rows rows(view);
  column *= view.rank() == 0 ? 1 : view.stride(-1);
  if (view.dtype() == DType::kFloat64) return rows.at<double>(row)[column];
  return dispatch_float(view.dtype(), [&](auto tag) {
    return double{to_float(rows.at<decltype(tag)>(row)[column])};
  });
}

// Rounds to the view's dtype, which may be float64 to see the reference unrounded.
inline void store(const TensorView& view, int64_t row, int64_t column, double value) {
  const Rows rows(view);
  column *= view.rank() == 0 ? 1 : view.stride(-1);
  if (view.dtype() == DType::kFloat64) {
    rows.at<double>(row)[column] = value;
    return;
  }
  dispatch_float(view.dtype(), [&](auto tag) {
    using T = decltype(tag);
    rows.at<T>(row)[column] = from_float<T>(static_cast<float>(value));
  });
}

}  // namespace miniinfer::ref
