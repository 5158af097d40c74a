#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
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

}  // namespace

OpCases sampling_bench_cases(DeviceType device) {
  OpCases cases;
  if (device != DeviceType::kCpu) return cases;
  for (const SampleTokensCase& c : kSampleTokensCases)
    cases.push_back({.op = "sample_tokens",
                     .name = fmt::format("{}x{} {}", c.rows, c.vocab, c.name),
                     .bytes = static_cast<double>(c.rows * c.vocab) * sizeof(float),
                     .prepare = [c](ExecContext&, uint64_t seed) { return prepare(c, seed); }});
  for (const TokenLogprobsCase& c : kTokenLogprobsCases)
    cases.push_back({.op = "token_logprobs",
                     .name = fmt::format("{}x{} top {}", c.rows, c.vocab, c.top),
                     .bytes = static_cast<double>(c.rows * c.vocab) * sizeof(float),
                     .prepare = [c](ExecContext&, uint64_t seed) { return prepare(c, seed); }});
  return cases;
}

}  // namespace miniinfer
