#pragma once

#include <string>

#include "miniinfer/ops/activation.h"
#include "nn/linear.h"

namespace miniinfer {

// Gated feed-forward block: down(act(gate(x)) * up(x)).
class Mlp {
 public:
  Mlp(WeightLoader& loader, const std::string& prefix, int64_t hidden_size,
      int64_t intermediate_size, Activation activation, bool has_bias);

  // residual [T, hidden] float32 += mlp(x [T, hidden]).
  void forward(ExecContext& context, const ConstTensorView& x, const TensorView& residual) const;

  static size_t workspace_bytes(int64_t max_tokens, int64_t hidden_size, int64_t intermediate_size,
                                DType dtype, int num_threads);

 private:
  int64_t intermediate_size_;
  Activation activation_;
  Linear gate_, up_, down_;
};

}  // namespace miniinfer
