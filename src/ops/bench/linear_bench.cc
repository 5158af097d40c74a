#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "miniinfer/ops/linear.h"
#include "ops/bench/op_bench.h"
#include "ops/cases/linear.h"

namespace miniinfer {
namespace {

constexpr int64_t kColdBytes = int64_t{256} << 20;  // rotated over; no cache is that large

struct LinearBuffers {
  Tensor x, out;
  std::vector<Tensor> weights;
  size_t next = 0;
};

std::function<void(ExecContext&)> prepare(ExecContext& context, const LinearCase& c,
                                          uint64_t seed) {
  auto buffers = std::make_shared<LinearBuffers>();
  buffers->x = bench_tensor(context, {c.m, c.k}, c.x, seed);
  buffers->out = Tensor({c.m, c.n}, c.out, context.device());
  const int64_t weight_bytes = c.n * c.k * static_cast<int64_t>(dtype_size(c.weight));
  const bool rotate = c.cold && context.device().type == DeviceType::kCpu;
  const int64_t copies = rotate ? std::max<int64_t>(2, kColdBytes / weight_bytes) : 1;
  for (int64_t i = 0; i < copies; ++i)
    buffers->weights.push_back(
        bench_tensor(context, {c.n, c.k}, c.weight, seed + 1 + static_cast<uint64_t>(i)));
  return [buffers](ExecContext& context) {
    const Tensor& weight = buffers->weights[buffers->next++ % buffers->weights.size()];
    linear(context, {.x = buffers->x.view(), .weight = weight.view(), .out = buffers->out.view()});
  };
}

}  // namespace

OpCases linear_bench_cases(DeviceType device) {
  OpCases cases;
  const std::span<const LinearCase> table =
      device == DeviceType::kCpu ? std::span<const LinearCase>(kLinearCases) : kCudaLinearCases;
  for (const LinearCase& c : table) {
    const auto bytes = [](int64_t count, DType dtype) {
      return static_cast<double>(count) * static_cast<double>(dtype_size(dtype));
    };
    // Matrix units of a GPU take either 16-bit type at one rate.
    const bool dot = c.x == c.weight && (c.x == DType::kBFloat16 ||
                                         (device == DeviceType::kCuda && c.x == DType::kFloat16));
    cases.push_back({
        .op = "linear",
        .name = fmt::format("m{} n{} k{} {}*{}->{}{}", c.m, c.n, c.k, dtype_name(c.x),
                            dtype_name(c.weight), dtype_name(c.out), c.cold ? "" : " cached"),
        .flops =
            2.0 * static_cast<double>(c.m) * static_cast<double>(c.n) * static_cast<double>(c.k),
        .bytes = bytes(c.m * c.k, c.x) + bytes(c.n * c.k, c.weight) + bytes(c.m * c.n, c.out),
        .peak = dot ? ComputePeak::kBFloat16 : ComputePeak::kFloat32,
        .prepare = [c](ExecContext& context, uint64_t seed) { return prepare(context, c, seed); },
    });
  }
  return cases;
}

}  // namespace miniinfer
