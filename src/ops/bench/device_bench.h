#pragma once

#include <functional>
#include <vector>

#include "miniinfer/context.h"
#include "ops/bench/op_bench.h"

namespace miniinfer {

// Times operators on a CUDA device. A case is prepared as often as it takes for its buffers to
// exceed the L2 cache several times; calls on them by turns are captured into a graph, and the
// median of the graph's replays counts. Small cases keep their buffers in the cache, as a step
// does.
class DeviceBench {
 public:
  // Measures the device's limits, in about half a second: the copy of 2 GiB, and matrix products of
  // 8192^3 (16 bits) and 4096^3 (float32). Throws Error resource_exhausted, unsupported.
  explicit DeviceBench(ExecContext& context);

  OpBenchResult run(const OpCase& op_case);

  double copy_bytes_per_s() const { return copy_bytes_per_s_; }
  double flops_per_s(ComputePeak peak) const {
    return peak == ComputePeak::kBFloat16 ? bfloat16_flops_per_s_ : float32_flops_per_s_;
  }

 private:
  using Runs = std::vector<std::function<void(ExecContext&)>>;
  double seconds_of(const Runs& runs);
  double product_flops_per_s(int64_t size, DType dtype);

  ExecContext& context_;
  double copy_bytes_per_s_ = 0, bfloat16_flops_per_s_ = 0, float32_flops_per_s_ = 0;
};

}  // namespace miniinfer
