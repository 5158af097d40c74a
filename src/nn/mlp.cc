#include "nn/mlp.h"

#include <algorithm>
#include <array>

#include "nn/scratch.h"

namespace miniinfer {

Mlp::Mlp(WeightLoader& loader, const std::string& prefix, int64_t hidden_size,
         int64_t intermediate_size, Activation activation, bool has_bias)
    : intermediate_size_(intermediate_size),
      activation_(activation),
      gate_(loader, prefix + ".gate_proj", hidden_size, intermediate_size, has_bias),
      up_(loader, prefix + ".up_proj", hidden_size, intermediate_size, has_bias),
      down_(loader, prefix + ".down_proj", intermediate_size, hidden_size, has_bias) {}

void Mlp::forward(ExecContext& context, const ConstTensorView& x,
                  const TensorView& residual) const {
  const Workspace::Scope scope(context.workspace());
  const TensorView inner = scratch(context, {x.dim(0), intermediate_size_}, x.dtype());
  gate(context, x, inner, {0, intermediate_size_});
  down_.forward(context, inner, residual, /*accumulate=*/true);
}

void Mlp::gate(ExecContext& context, const ConstTensorView& x, const TensorView& inner,
               RowRange range) const {
  const Workspace::Scope scope(context.workspace());
  const int64_t width = range.end - range.begin;
  const TensorView gate = columns(inner, range.begin, width);
  const TensorView up = scratch(context, {x.dim(0), width}, x.dtype());
  linear(context, std::array{gate_.args(range, x, gate), up_.args(range, x, up)});
  activation(context, {.x = gate, .other = up, .kind = activation_, .out = gate});
}

void Mlp::down(ExecContext& context, const ConstTensorView& inner, const TensorView& residual,
               RowRange range) const {
  linear(context, down_.args(range, inner, columns(residual, range.begin, range.end - range.begin),
                             /*accumulate=*/true));
}

size_t Mlp::workspace_bytes(int64_t max_tokens, int64_t hidden_size, int64_t intermediate_size,
                            DType dtype, int num_threads) {
  return 2 * scratch_bytes(max_tokens * intermediate_size, dtype) +
         std::max(linear_workspace_bytes(max_tokens, hidden_size, num_threads),
                  linear_workspace_bytes(max_tokens, intermediate_size, num_threads));
}

}  // namespace miniinfer
