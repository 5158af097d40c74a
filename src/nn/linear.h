#pragma once

#include <string>

#include "miniinfer/ops/linear.h"
#include "nn/parts.h"
#include "nn/weight_loader.h"

namespace miniinfer {

// One projection of a checkpoint: PREFIX.weight [out, in] and, when it has one, PREFIX.bias [out].
class Linear {
 public:
  Linear() = default;
  Linear(WeightLoader& loader, const std::string& prefix, int64_t in, int64_t out, bool has_bias)
      : weight_(loader.matrix(prefix + ".weight", out, in)) {
    if (has_bias) bias_ = loader.vector(prefix + ".bias", out);
  }
  // Over tensors that somebody else owns.
  explicit Linear(ConstTensorView weight, ConstTensorView bias = {})
      : weight_(weight), bias_(bias) {}

  // For a group of projections of the same x in one parallel region.
  LinearArgs args(const ConstTensorView& x, const TensorView& out, bool accumulate = false) const {
    return {.x = x, .weight = weight_, .bias = bias_, .out = out, .accumulate = accumulate};
  }
  // The same for the rows in `range` of the weight and of the bias alone.
  LinearArgs args(RowRange range, const ConstTensorView& x, const TensorView& out,
                  bool accumulate = false) const {
    return {.x = x,
            .weight = weight_.rows(range.begin, range.end),
            .bias = bias_.defined() ? bias_.rows(range.begin, range.end) : ConstTensorView(),
            .out = out,
            .accumulate = accumulate};
  }
  // Where the rows [begin, end) of the weight lie.
  MemoryRange memory_of(RowRange range) const {
    const size_t row_bytes = static_cast<size_t>(weight_.stride(0)) * dtype_size(weight_.dtype());
    return {weight_.data<char>() + static_cast<size_t>(range.begin) * row_bytes,
            static_cast<size_t>(range.end - range.begin) * row_bytes};
  }
  void forward(ExecContext& context, const ConstTensorView& x, const TensorView& out,
               bool accumulate = false) const {
    linear(context, args(x, out, accumulate));
  }

  const ConstTensorView& weight() const { return weight_; }
  const ConstTensorView& bias() const { return bias_; }

 private:
  ConstTensorView weight_;
  ConstTensorView bias_;
};

}  // namespace miniinfer
