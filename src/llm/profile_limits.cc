#include "llm/profile_limits.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "llm/engine_plan.h"
#include "ops/bench/device_bench.h"
#include "ops/bench/machine_peak.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

// Memory speed can swing twofold within fractions of a second: the best slice is the machine's.
double best_of_slices(const std::function<double()>& measure) {
  constexpr int kSlices = 30;
  double best = 0;
  for (int i = 0; i < kSlices; ++i) best = std::max(best, measure());
  return best;
}

}  // namespace

double MachineLimits::compute_s(double flops, DType dtype) const {
  // A CPU multiplies float16 as float32.
  const bool half = dtype == DType::kBFloat16 || (on_gpu && dtype == DType::kFloat16);
  return flops / (half ? bfloat16_flops_per_s : float32_flops_per_s);
}

MachineLimits measure_limits(const LLMOptions& options) {
  MachineLimits limits;
  if (const std::shared_ptr<ExecContext> gpu = choose_device(options.device)) {
    const DeviceBench bench(*gpu);
    limits.device = gpu->cuda_state().info().name;
    limits.on_gpu = true;
    limits.bytes_per_s = bench.copy_bytes_per_s();
    limits.float32_flops_per_s = bench.flops_per_s(ComputePeak::kFloat32);
    limits.bfloat16_flops_per_s = bench.flops_per_s(ComputePeak::kBFloat16);
    return limits;
  }
  ExecContext context = ExecContext::cpu(options.threads);
  limits.device =
      fmt::format("{} CPU thread{}", context.num_threads(), context.num_threads() == 1 ? "" : "s");
  PeakMeter meter(context);
  limits.bytes_per_s = best_of_slices([&] { return meter.read_bytes_per_s(); });
  limits.float32_flops_per_s =
      best_of_slices([&] { return meter.flops_per_s(ComputePeak::kFloat32); });
  limits.bfloat16_flops_per_s =
      best_of_slices([&] { return meter.flops_per_s(ComputePeak::kBFloat16); });
  return limits;
}

}  // namespace miniinfer
