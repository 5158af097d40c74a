#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/context.h"
#include "ops/cases/case.h"

namespace miniinfer {

struct OpBenchResult {
  std::string op;
  std::string name;
  double seconds = 0;       // median of one call
  double gflops_per_s = 0;  // 0 for a case without a flop count
  double gbytes_per_s = 0;
  // The least time the measured peaks allow, over the measured time, in percent. The peaks are
  // measured in slices between the case's own, because memory speed can swing twofold within a
  // second.
  double percent_of_limit = 0;
  std::string limited_by;  // "memory" or "compute"
};

// Runs every case of the context's device in whose "op name" the ECMAScript expression `filter`
// matches somewhere (empty: all), about half a second each on a CPU and a tenth on CUDA;
// `progress`, when given, is called with each result as it comes. Throws Error invalid_argument
// (param "filter") for a malformed expression.
std::vector<OpBenchResult> run_op_benchmarks(
    ExecContext& context, const std::string& filter = {},
    const std::function<void(const OpBenchResult&)>& progress = {});

// A tensor of random values on the context's device. On CUDA the values are made there, between
// 0.25 and 2 in magnitude.
Tensor bench_tensor(ExecContext& context, const Shape& shape, DType dtype, uint64_t seed,
                    float scale = 1.0F);

// The benchmark rows of each operator for a kind of device, from its case table: one function an
// operator, in bench/<op>_bench.cc. Empty where the operator does not run there.
OpCases linear_bench_cases(DeviceType device);
OpCases attention_bench_cases(DeviceType device);
OpCases kv_write_bench_cases(DeviceType device);
OpCases norm_bench_cases(DeviceType device);
OpCases softmax_bench_cases(DeviceType device);
OpCases elementwise_bench_cases(DeviceType device);
OpCases move_bench_cases(DeviceType device);
OpCases sampling_bench_cases(DeviceType device);

}  // namespace miniinfer
