#include <cstdint>
#include <limits>

#include "ops/cuda/skinny_gemm.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer::cuda {
namespace {

bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

bool takes(const DeviceInfo& device, const LinearArgs& args) {
  const int64_t m = args.x.dim(0), k = args.x.dim(1), n = args.weight.dim(0);
  const DType dtype = args.x.dtype();
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 2;
  return device.major >= 9 && m <= kSkinnyMaxRows && k > 0 && k % 8 == 0 && n % 8 == 0 &&
         k < kMost && n < kMost && dtype == args.weight.dtype() &&
         (dtype == DType::kBFloat16 || dtype == DType::kFloat16) &&
         (m == 1 || args.x.stride(0) % 8 == 0) && (n == 1 || args.weight.stride(0) == k) &&
         is_aligned(args.x.raw()) && is_aligned(args.weight.raw());
}

}  // namespace

bool skinny_linear(ExecContext& context, const LinearArgs& args) {
  const DeviceState& state = context.cuda_state();
  const DeviceInfo& device = state.info();
  if (state.batch_invariant || !takes(device, args)) return false;
  const SkinnyParams params{.x = args.x.raw(),
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
                            .accumulate = args.accumulate};
  const SkinnyConfig config =
      choose_skinny(params.m, params.n, params.k, false, device.multiprocessors,
                    static_cast<int>(device.shared_bytes_per_block));
  if (config.blocks == 0) return false;
  skinny_gemm(params, config, state.stream().get());
  return true;
}

}  // namespace miniinfer::cuda
