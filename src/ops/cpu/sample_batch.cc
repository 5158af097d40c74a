#include "miniinfer/ops/sample_batch.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "ops/cpu/sampling.h"

namespace miniinfer::cpu {
namespace {

// A spec's row with the lists that it owns.
struct Row {
  SamplingRow row;
  std::vector<int32_t> seen, counts;
  std::vector<std::pair<int32_t, float>> bias;

  Row(const SampleBatchArgs& args, const SamplingSpec& spec) {
    const int32_t* lists = args.lists.data<int32_t>();
    row = {.row = spec.row,
           .repetition_penalty = spec.repetition_penalty,
           .presence_penalty = spec.presence_penalty,
           .frequency_penalty = spec.frequency_penalty,
           .temperature = spec.temperature,
           .top_k = spec.top_k,
           .top_p = spec.top_p,
           .min_p = spec.min_p,
           .draw = uniform_at(spec.seed, spec.position)};
    const auto list = [&](int32_t begin, int32_t count) {
      return std::span<const int32_t>(lists + begin, static_cast<size_t>(count));
    };
    if (spec.num_seen > 0) {
      const auto ids = list(spec.seen_begin, spec.num_seen),
                 times = list(spec.seen_begin + spec.num_seen, spec.num_seen);
      seen.assign(ids.begin(), ids.end());
      counts.assign(times.begin(), times.end());
    }
    if (spec.pending >= 0) count(args.pending.data<int32_t>()[spec.pending], args.logits.dim(1));
    for (int32_t i = 0; i < spec.num_bias; ++i)
      bias.emplace_back(lists[spec.bias_begin + i],
                        std::bit_cast<float>(lists[spec.bias_begin + spec.num_bias + i]));
    if (spec.num_banned > 0) row.banned = list(spec.banned_begin, spec.num_banned);
    if (spec.allowed_begin >= 0)
      row.allowed = {reinterpret_cast<const uint32_t*>(lists + spec.allowed_begin),
                     static_cast<size_t>((args.logits.dim(1) + 31) / 32)};
    row.seen_ids = seen;
    row.output_counts = counts;
    row.bias = bias;
  }

  void count(int32_t token, int64_t vocab) {
    if (token < 0 || token >= vocab) return;
    const auto found = std::find(seen.begin(), seen.end(), token);
    if (found != seen.end()) {
      ++counts[static_cast<size_t>(found - seen.begin())];
    } else {
      seen.push_back(token);
      counts.push_back(1);
    }
  }
};

}  // namespace

// The lists are copied: what the host samples for itself goes through sample_tokens().
void sample_batch(ExecContext& context, const SampleBatchArgs& args) {
  int32_t* token_ids = args.token_ids.data<int32_t>();
  for (int64_t i = 0; i < args.token_ids.dim(0); ++i) {
    const SamplingSpec& spec = args.specs.data<SamplingSpec>()[i];
    token_ids[i] = 0;
    if (spec.row < 0 || spec.row >= args.logits.dim(0)) continue;
    const Row row(args, spec);
    miniinfer::sample_tokens(context, {args.logits, {&row.row, 1}, {token_ids + i, 1}});
  }
}

void score_batch(ExecContext& context, const ScoreBatchArgs& args) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto top = static_cast<size_t>(args.top);
  for (int64_t i = 0; i < args.rows.dim(0); ++i) {
    const int32_t row = args.rows.data<int32_t>()[i], token = args.token_ids.data<int32_t>()[i];
    float* logprob = args.logprobs.data<float>() + i;
    const std::span<int32_t> ids(args.top_ids.data<int32_t>() + i * args.top, top);
    const std::span<float> logprobs(args.top_logprobs.data<float>() + i * args.top, top);
    if (row < 0 || row >= args.logits.dim(0)) {
      *logprob = kNan;
      std::iota(ids.begin(), ids.end(), 0);
      std::fill(logprobs.begin(), logprobs.end(), kNan);
      continue;
    }
    const bool known = token >= 0 && token < args.logits.dim(1);
    const LogprobRow one{row, known ? token : 0};
    miniinfer::token_logprobs(context,
                              {args.logits, {&one, 1}, args.top, {logprob, 1}, ids, logprobs});
    if (!known) *logprob = kNan;
  }
}

}  // namespace miniinfer::cpu
