#include <cstdint>
#include <limits>

#include "ops/cuda/kernels.h"
#include "ops/cuda/skinny_gemm.h"
#include "ops/op_cost.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer::cuda {
namespace {

bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

bool takes(const DeviceInfo& device, const ConstTensorView& x, const ConstTensorView& weight) {
  const int64_t m = x.dim(0), k = x.dim(1), n = weight.dim(0);
  const DType dtype = x.dtype();
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  return device.major >= 9 && m > 0 && m <= kSkinnyMaxRows && n > 0 && k > 0 && k % 8 == 0 &&
         n % 8 == 0 && k < kMost && n < kMost && dtype == weight.dtype() &&
         (dtype == DType::kBFloat16 || dtype == DType::kFloat16) &&
         (m == 1 || x.stride(0) % 8 == 0) && (n == 1 || weight.stride(0) == k) &&
         is_aligned(x.raw()) && is_aligned(weight.raw());
}

bool queue(const DeviceState& state, const SkinnyParams& params) {
  const SkinnyConfig config =
      choose_skinny(params.m, params.n, params.k, params.gated, state.info().multiprocessors,
                    static_cast<int>(state.info().shared_bytes_per_block));
  if (config.blocks == 0) return false;
  skinny_gemm(params, config, state.stream().get());
  return true;
}

}  // namespace

bool skinny_linear(ExecContext& context, const LinearArgs& args) {
  const DeviceState& state = context.cuda_state();
  if (state.batch_invariant || !takes(state.info(), args.x, args.weight)) return false;
  return queue(state, {.x = args.x.raw(),
                       .x_stride = args.x.stride(0),
                       .weight = args.weight.raw(),
                       .bias = args.bias.defined() ? args.bias.raw() : nullptr,
                       .out = args.out.raw(),
                       .out_stride = args.out.stride(0),
                       .m = static_cast<int>(args.x.dim(0)),
                       .n = static_cast<int>(args.weight.dim(0)),
                       .k = static_cast<int>(args.x.dim(1)),
                       .dtype = args.x.dtype(),
                       .bias_dtype = args.bias.defined() ? args.bias.dtype() : DType::kFloat32,
                       .out_dtype = args.out.dtype(),
                       .accumulate = args.accumulate});
}

bool gated_linear(ExecContext& context, const GatedLinearArgs& args) {
  const DeviceState& state = context.cuda_state();
  const int64_t n = args.out.dim(1);
  if (state.batch_invariant || args.kind != Activation::kSilu || args.bias.defined() ||
      n % 8 != 0 || !takes(state.info(), args.x, args.weight))
    return false;
  const LinearArgs both = {.x = args.x, .weight = args.weight, .out = args.out};
  const OpScope scope(context, "gated_linear", [&] { return linear_cost(std::span(&both, 1)); });
  return queue(state, {.x = args.x.raw(),
                       .x_stride = args.x.stride(0),
                       .weight = args.weight.raw(),
                       .out = args.out.raw(),
                       .out_stride = args.out.stride(0),
                       .m = static_cast<int>(args.x.dim(0)),
                       .n = static_cast<int>(n),
                       .k = static_cast<int>(args.x.dim(1)),
                       .dtype = args.x.dtype(),
                       .out_dtype = args.out.dtype(),
                       .gated = true});
}

}  // namespace miniinfer::cuda
