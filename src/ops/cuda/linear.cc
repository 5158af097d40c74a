#include <fmt/format.h>

#include "ops/cuda/gemm.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/skinny_gemm.h"

namespace miniinfer::cuda {
namespace {

void linear_one(ExecContext& context, const LinearArgs& args) {
  if (args.x.dim(0) == 0 || args.weight.dim(0) == 0) return;
  if (skinny_linear(context, args)) return;
  GemmState& gemm = GemmState::of(context);
  if (gemm.run(context, args)) return;
  // A bias that the library does not add, into float32, where a second rounding cannot happen.
  if (args.bias.defined() && args.out.dtype() == DType::kFloat32) {
    LinearArgs without = args;
    without.bias = {};
    if (gemm.run(context, without)) return add_bias(context, args.out, args.bias);
  }
  generic_linear(context, args);
}

}  // namespace

std::string matrix_library() {
  const size_t version = cublaslt().GetVersion();
  return fmt::format("{}.{}.{} ({})", version / 10000, version / 100 % 100, version % 100,
                     cublaslt().path);
}

void prepare_linear(ExecContext& context) {
  GemmState::of(context);
}

void linear(ExecContext& context, std::span<const LinearArgs> group) {
  if (group.size() == 1) return linear_one(context, group.front());
  for (const LinearArgs& args : join_adjacent(group)) linear_one(context, args);
}

}  // namespace miniinfer::cuda
