#include "ops/bench/op_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <regex>

#include "base/statistics.h"
#include "miniinfer/error.h"
#include "ops/bench/device_bench.h"
#include "ops/bench/machine_peak.h"
#include "ops/cases/fill.h"
#include "ops/cuda/kernels.h"

namespace miniinfer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr OpCases (*kTables[])(DeviceType) = {
    linear_bench_cases,  attention_bench_cases,   kv_write_bench_cases, norm_bench_cases,
    softmax_bench_cases, elementwise_bench_cases, move_bench_cases,     sampling_bench_cases,
};

constexpr double kSecondsPerCase = 0.5;
constexpr int kSlices = 20;  // of the case and of the peak that limits it, in turns

std::regex compile(const std::string& filter) {
  // The library's compiler recurses: a long pattern could exhaust the stack.
  constexpr size_t kMaxPattern = 1000;
  try {
    if (filter.size() <= kMaxPattern) return std::regex(filter, std::regex::ECMAScript);
  } catch (const std::regex_error&) {
  }
  throw Error(ErrorCode::kInvalidArgument,
              filter.size() > kMaxPattern ? "filter: longer than 1000 characters"
                                          : "filter: \"" + filter + "\" is no regular expression",
              "filter");
}

double seconds_of(const std::function<void(ExecContext&)>& run, ExecContext& context,
                  int64_t repeats) {
  const auto start = Clock::now();
  for (int64_t i = 0; i < repeats; ++i) run(context);
  return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(repeats);
}

OpBenchResult run_case(ExecContext& context, PeakMeter& meter, const OpCase& op_case) {
  const auto run = op_case.prepare(context, /*seed=*/1);
  seconds_of(run, context, 1);
  const double once = seconds_of(run, context, 3);
  const auto repeats = std::max<int64_t>(1, static_cast<int64_t>(kSecondsPerCase / kSlices / once));
  std::vector<double> seconds, memory_seconds, compute_seconds;
  for (int slice = 0; slice < kSlices; ++slice) {
    memory_seconds.push_back(op_case.bytes / meter.read_bytes_per_s());
    seconds.push_back(seconds_of(run, context, repeats));
    compute_seconds.push_back(op_case.flops / meter.flops_per_s(op_case.peak));
  }
  OpBenchResult result{.op = op_case.op, .name = op_case.name, .seconds = median(seconds)};
  result.gflops_per_s = op_case.flops / result.seconds / 1e9;
  result.gbytes_per_s = op_case.bytes / result.seconds / 1e9;
  const double memory = median(memory_seconds), compute = median(compute_seconds);
  result.percent_of_limit = 100 * std::max(memory, compute) / result.seconds;
  result.limited_by = memory >= compute ? "memory" : "compute";
  return result;
}

}  // namespace

Tensor bench_tensor(ExecContext& context, const Shape& shape, DType dtype, uint64_t seed,
                    float scale) {
  if (context.device().type == DeviceType::kCpu) return random_tensor(shape, dtype, seed, scale);
  Tensor tensor(shape, dtype, context.device());
  cuda::fill_random(context, tensor.data<char>(), static_cast<int64_t>(tensor.view().num_bytes()),
                    dtype, static_cast<uint32_t>(seed));
  return tensor;
}

std::vector<OpBenchResult> run_op_benchmarks(
    ExecContext& context, const std::string& filter,
    const std::function<void(const OpBenchResult&)>& progress) {
  const std::regex pattern = compile(filter);
  const DeviceType device = context.device().type;
  std::unique_ptr<PeakMeter> cpu_meter;
  std::unique_ptr<DeviceBench> device_bench;
  std::vector<OpBenchResult> results;
  for (const auto table : kTables) {
    for (const OpCase& op_case : table(device)) {
      if (!std::regex_search(op_case.op + " " + op_case.name, pattern)) continue;
      if (device == DeviceType::kCuda) {
        if (device_bench == nullptr) device_bench = std::make_unique<DeviceBench>(context);
        results.push_back(device_bench->run(op_case));
      } else {
        if (cpu_meter == nullptr) cpu_meter = std::make_unique<PeakMeter>(context);
        results.push_back(run_case(context, *cpu_meter, op_case));
      }
      if (progress) progress(results.back());
    }
  }
  return results;
}

}  // namespace miniinfer
