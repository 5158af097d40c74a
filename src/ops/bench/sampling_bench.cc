#include <algorithm>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "miniinfer/ops/sample_batch.h"
#include "miniinfer/ops/sampling.h"
#include "ops/bench/op_bench.h"
#include "ops/cases/fill.h"
#include "ops/cases/sampling.h"

namespace miniinfer {
namespace {

// As spread as a small model's logits: the likeliest token stands well out.
constexpr float kLogitSpread = 3;

std::function<void(ExecContext&)> prepare(const SampleTokensCase& c, uint64_t seed) {
  auto logits = std::make_shared<Tensor>(
      random_tensor({c.rows, c.vocab}, DType::kFloat32, seed, kLogitSpread));
  auto rows = std::make_shared<std::vector<SamplingRow>>(c.rows);
  for (int64_t i = 0; i < c.rows; ++i)
    (*rows)[i] = {.row = i,
                  .temperature = c.temperature,
                  .top_k = c.top_k,
                  .top_p = c.top_p,
                  .min_p = c.min_p,
                  .draw = uniform_at(seed, static_cast<uint64_t>(i))};
  auto ids = std::make_shared<std::vector<int32_t>>(c.rows);
  return [=](ExecContext& context) { sample_tokens(context, {logits->view(), *rows, *ids}); };
}

std::function<void(ExecContext&)> prepare(const TokenLogprobsCase& c, uint64_t seed) {
  auto logits = std::make_shared<Tensor>(
      random_tensor({c.rows, c.vocab}, DType::kFloat32, seed, kLogitSpread));
  auto rows = std::make_shared<std::vector<LogprobRow>>(c.rows);
  for (int64_t i = 0; i < c.rows; ++i) (*rows)[i] = {i, static_cast<int32_t>(i)};
  auto floats = std::make_shared<std::vector<float>>(c.rows * (1 + c.top));
  auto ids = std::make_shared<std::vector<int32_t>>(c.rows * c.top);
  return [=](ExecContext& context) {
    token_logprobs(context, {logits->view(),
                             *rows,
                             c.top,
                             {floats->data(), rows->size()},
                             *ids,
                             {floats->data() + rows->size(), ids->size()}});
  };
}

// The same on a device. Few different rows: their values, not their number, decide how long a
// filter takes.
std::function<void(ExecContext&)> prepare_on_device(ExecContext& context, const SampleTokensCase& c,
                                                    uint64_t seed) {
  constexpr int64_t kDifferent = 8;
  struct Buffers {
    Tensor logits, specs, token_ids;
  };
  const Device device = context.device();
  auto b = std::make_shared<Buffers>();
  b->logits = Tensor({c.rows, c.vocab}, DType::kFloat32, device);
  b->token_ids = Tensor({c.rows}, DType::kInt32, device);
  const Tensor some({std::min(c.rows, kDifferent), c.vocab}, DType::kFloat32);
  Random random(seed);
  for (int64_t i = 0; i < some.view().num_elements(); ++i)
    some.data<float>()[i] = static_cast<float>(random.normal() * kLogitSpread);
  for (int64_t r = 0; r < c.rows; ++r) {
    const int64_t from = r % some.view().dim(0);
    copy(context, b->logits.view().rows(r, r + 1), some.view().rows(from, from + 1));
  }
  std::vector<SamplingSpec> specs(static_cast<size_t>(c.rows));
  for (size_t r = 0; r < specs.size(); ++r)
    specs[r] = {.row = static_cast<int32_t>(r),
                .top_k = c.top_k,
                .temperature = c.temperature,
                .top_p = c.top_p,
                .min_p = c.min_p,
                .seed = seed + r};
  const Shape shape = {c.rows, static_cast<int64_t>(sizeof(SamplingSpec))};
  b->specs = Tensor(shape, DType::kUInt8, device);
  copy(context, b->specs, {specs.data(), shape, DType::kUInt8});
  context.synchronize();
  return [b, greedy = c.temperature == 0](ExecContext& context) {
    sample_batch(context, {.logits = b->logits.view(),
                           .specs = b->specs.view(),
                           .greedy = greedy,
                           .token_ids = b->token_ids});
  };
}

}  // namespace

OpCases sampling_bench_cases(DeviceType device) {
  OpCases cases;
  const auto bytes = [](const SampleTokensCase& c) {
    return static_cast<double>(c.rows * c.vocab) * sizeof(float);
  };
  if (device == DeviceType::kCuda) {
    for (const SampleTokensCase& c : kSampleBatchCases)
      cases.push_back({.op = "sample_batch",
                       .name = fmt::format("{}x{} {}", c.rows, c.vocab, c.name),
                       .bytes = bytes(c),
                       .prepare = [c](ExecContext& context, uint64_t seed) {
                         return prepare_on_device(context, c, seed);
                       }});
    return cases;
  }
  for (const SampleTokensCase& c : kSampleTokensCases)
    cases.push_back({.op = "sample_tokens",
                     .name = fmt::format("{}x{} {}", c.rows, c.vocab, c.name),
                     .bytes = bytes(c),
                     .prepare = [c](ExecContext&, uint64_t seed) { return prepare(c, seed); }});
  for (const TokenLogprobsCase& c : kTokenLogprobsCases)
    cases.push_back({.op = "token_logprobs",
                     .name = fmt::format("{}x{} top {}", c.rows, c.vocab, c.top),
                     .bytes = static_cast<double>(c.rows * c.vocab) * sizeof(float),
                     .prepare = [c](ExecContext&, uint64_t seed) { return prepare(c, seed); }});
  return cases;
}

}  // namespace miniinfer
