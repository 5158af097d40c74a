#include "ops/bench/device_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "base/statistics.h"
#include "miniinfer/ops/linear.h"
#include "ops/cuda/kernels.h"
#include "tensor/cuda/device_state.h"

namespace miniinfer {
namespace {

constexpr double kRotatedBytes = double{256 << 20};  // five times the 50 MB of an H200's L2
constexpr int kMaxCopies = 32;
constexpr double kReplaySeconds = 2e-3;  // one measurement, long against the events' microsecond
constexpr int kReplays = 15;
// A graph's work takes as long at least: from one graph to the next pass 1.2 us that no operator
// takes.
constexpr double kGraphSeconds = 0.5e-3;

}  // namespace

DeviceBench::DeviceBench(ExecContext& context) : context_(context) {
  constexpr int64_t kCopied = int64_t{1} << 30;
  const Tensor from = bench_tensor(context, {kCopied / 4}, DType::kFloat32, 1);
  const Tensor to({kCopied / 4}, DType::kFloat32, context.device());
  // The device's own copy and ours differ by some per cent, either way.
  const double seconds = std::min(seconds_of({[&](ExecContext& c) { copy(c, to, from.view()); }}),
                                  seconds_of({[&](ExecContext& c) {
                                    cuda::copy_all(c, to.data<char>(), from.data<char>(), kCopied);
                                  }}));
  copy_bytes_per_s_ = 2.0 * kCopied / seconds;
  bfloat16_flops_per_s_ = product_flops_per_s(8192, DType::kBFloat16);
  float32_flops_per_s_ = product_flops_per_s(4096, DType::kFloat32);
}

double DeviceBench::product_flops_per_s(int64_t size, DType dtype) {
  const Tensor x = bench_tensor(context_, {size, size}, dtype, 1);
  const Tensor weight = bench_tensor(context_, {size, size}, dtype, 2);
  const Tensor out({size, size}, dtype, context_.device());
  return 2 * std::pow(static_cast<double>(size), 3) / seconds_of({[&](ExecContext& c) {
           linear(c, {.x = x.view(), .weight = weight.view(), .out = out});
         }});
}

double DeviceBench::seconds_of(const Runs& runs) {
  const cuda::Stream& stream = context_.cuda_state().stream();
  for (const auto& run : runs) run(context_);  // loads kernels, sizes workspaces
  context_.synchronize();
  int turns = 1;
  const auto capture = [&] {
    return cuda::Graph(stream, [&] {
      for (int turn = 0; turn < turns; ++turn)
        for (const auto& run : runs) run(context_);
    });
  };
  cuda::Graph graph = capture();
  cuda::Event begin(true), end(true);
  const auto replay = [&](int times) {
    begin.record(stream);
    for (int i = 0; i < times; ++i) graph.launch(stream);
    end.record(stream);
    end.synchronize();
    return static_cast<double>(end.milliseconds_since(begin)) * 1e-3 / times;
  };
  replay(1);
  turns = std::clamp(static_cast<int>(kGraphSeconds / replay(1)), 1, 1000);
  if (turns > 1) {
    graph = capture();
    replay(1);
  }
  const int times = std::clamp(static_cast<int>(kReplaySeconds / replay(1)), 1, 1000);
  std::vector<double> seconds;
  for (int i = 0; i < kReplays; ++i) seconds.push_back(replay(times));
  return median(seconds) / (static_cast<double>(runs.size()) * turns);
}

OpBenchResult DeviceBench::run(const OpCase& op_case) {
  const int copies =
      std::clamp(static_cast<int>(std::ceil(kRotatedBytes / op_case.bytes)), 1, kMaxCopies);
  Runs runs;
  for (int i = 0; i < copies; ++i)
    runs.push_back(op_case.prepare(context_, static_cast<uint64_t>(1 + 1000 * i)));
  OpBenchResult result{.op = op_case.op, .name = op_case.name, .seconds = seconds_of(runs)};
  result.gflops_per_s = op_case.flops / result.seconds / 1e9;
  result.gbytes_per_s = op_case.bytes / result.seconds / 1e9;
  const double memory = op_case.bytes / copy_bytes_per_s_;
  const double compute = op_case.flops / flops_per_s(op_case.peak);
  result.percent_of_limit = 100 * std::max(memory, compute) / result.seconds;
  result.limited_by = memory >= compute ? "memory" : "compute";
  return result;
}

}  // namespace miniinfer
