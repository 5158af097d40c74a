#pragma once

#include <array>
#include <string>

#include "miniinfer/ops/activation.h"
#include "nn/linear.h"
#include "nn/parts.h"

namespace miniinfer {

// Gated feed-forward block: down(act(gate(x)) * up(x)).
class Mlp {
 public:
  Mlp(WeightLoader& loader, const std::string& prefix, int64_t hidden_size,
      int64_t intermediate_size, Activation activation, bool has_bias);

  // residual [T, hidden] float32 += mlp(x [T, hidden]).
  void forward(ExecContext& context, const ConstTensorView& x, const TensorView& residual) const;

  // The two halves of forward(), for the columns in `range` of their results: inner [T,
  // intermediate_size] = act(gate(x)) * up(x), and residual += down(inner).
  void gate(ExecContext& context, const ConstTensorView& x, const TensorView& inner,
            RowRange range) const;
  void down(ExecContext& context, const ConstTensorView& inner, const TensorView& residual,
            RowRange range) const;

  // The weights that gate() reads, and down().
  std::array<MemoryRange, 2> gate_reads(RowRange range) const {
    return {gate_.memory_of(range), up_.memory_of(range)};
  }
  MemoryRange down_reads(RowRange range) const { return down_.memory_of(range); }

  static size_t workspace_bytes(int64_t max_tokens, int64_t hidden_size, int64_t intermediate_size,
                                DType dtype, int num_threads);

 private:
  int64_t intermediate_size_;
  Activation activation_;
  Linear gate_, up_, down_;
};

}  // namespace miniinfer
