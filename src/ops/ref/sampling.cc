#include "ops/ref/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace miniinfer::ref {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool finite_or_negative_infinity(const std::vector<double>& row) {
  return std::all_of(row.begin(), row.end(), [](double x) { return x < kInfinity; });
}

std::vector<double> load(const ConstTensorView& logits, int64_t row) {
  const float* begin = logits.data<float>() + row * logits.stride(0);
  return {begin, begin + logits.dim(1)};
}

// Token ids, the largest value first, the lowest id among equals.
std::vector<int32_t> descending(const std::vector<double>& x) {
  std::vector<int32_t> ids(x.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return x[a] > x[b]; });
  return ids;
}

void edit(const SamplingRow& row, std::vector<double>& x) {
  for (size_t i = 0; i < row.seen_ids.size(); ++i) {
    double& value = x[row.seen_ids[i]];
    value = value > 0 ? value / row.repetition_penalty : value * row.repetition_penalty;
    value -= static_cast<double>(row.frequency_penalty) * row.output_counts[i];
    if (row.output_counts[i] > 0) value -= row.presence_penalty;
  }
  for (const auto& [id, value] : row.bias) x[id] += value;
  for (const int32_t id : row.banned) x[id] = -kInfinity;
  if (row.allowed.empty()) return;
  for (size_t id = 0; id < x.size(); ++id)
    if ((row.allowed[id / 32] >> (id % 32) & 1) == 0) x[id] = -kInfinity;
}

int32_t sample(const SamplingRow& row, std::vector<double> x) {
  if (!finite_or_negative_infinity(x)) return kLogitsNotFinite;
  edit(row, x);
  std::vector<int32_t> ids = descending(x);
  const double max = x[ids[0]];
  if (max == -kInfinity) return kNothingAllowed;
  if (row.temperature == 0) return ids[0];
  std::vector<double> weight(x.size());
  for (size_t i = 0; i < x.size(); ++i) weight[i] = std::exp((x[i] - max) / row.temperature);

  if (row.top_k > 0 && static_cast<size_t>(row.top_k) < ids.size()) ids.resize(row.top_k);
  if (row.top_p < 1) {
    double total = 0, sum = 0;
    for (const int32_t id : ids) total += weight[id];
    size_t kept = 0;
    while (kept < ids.size() && sum < row.top_p * total) sum += weight[ids[kept++]];
    ids.resize(std::max<size_t>(kept, 1));
  }
  std::erase_if(ids, [&](int32_t id) { return weight[id] < row.min_p; });

  std::sort(ids.begin(), ids.end());
  double total = 0, sum = 0;
  for (const int32_t id : ids) total += weight[id];
  for (const int32_t id : ids) {
    sum += weight[id];
    if (sum > row.draw * total) return id;
  }
  return ids.back();
}

}  // namespace

void sample_tokens(const SampleTokensArgs& args) {
  for (size_t i = 0; i < args.rows.size(); ++i)
    args.token_ids[i] = sample(args.rows[i], load(args.logits, args.rows[i].row));
}

void token_logprobs(const TokenLogprobsArgs& args) {
  for (size_t i = 0; i < args.rows.size(); ++i) {
    const std::vector<double> x = load(args.logits, args.rows[i].row);
    std::vector<int32_t> ids = descending(x);
    double total = std::numeric_limits<double>::quiet_NaN();
    if (finite_or_negative_infinity(x) && x[ids[0]] > -kInfinity) {
      total = 0;
      for (const double value : x) total += std::exp(value - x[ids[0]]);
    } else {
      std::iota(ids.begin(), ids.end(), 0);
    }
    const double norm = x[ids[0]] + std::log(total);
    args.logprobs[i] = static_cast<float>(x[args.rows[i].token_id] - norm);
    for (int k = 0; k < args.top; ++k) {
      args.top_ids[i * args.top + k] = ids[k];
      args.top_logprobs[i * args.top + k] = static_cast<float>(x[ids[k]] - norm);
    }
  }
}

}  // namespace miniinfer::ref
