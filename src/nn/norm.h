#pragma once

#include <string>

#include "miniinfer/ops/norm.h"
#include "nn/weight_loader.h"

namespace miniinfer {

class RmsNorm {
 public:
  RmsNorm() = default;
  RmsNorm(WeightLoader& loader, const std::string& prefix, int64_t size, double eps)
      : weight_(loader.vector(prefix + ".weight", size)), eps_(static_cast<float>(eps)) {}

  // x and out [..., size]; out may be x.
  void forward(ExecContext& context, const ConstTensorView& x, const TensorView& out) const {
    rms_norm(context, {.x = x, .weight = weight_, .eps = eps_, .residual = {}, .out = out});
  }

 private:
  ConstTensorView weight_;
  float eps_ = 0;
};

}  // namespace miniinfer
