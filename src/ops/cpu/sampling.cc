#include "ops/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/thread_pool.h"
#include "ops/cpu/sampling_cut.h"
#include "ops/cpu/sampling_kernels.h"

namespace miniinfer::cpu {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kSlack = 64;  // vectors are stored whole

// One worker's scratch memory for a row of `vocab` logits.
struct Scratch {
  float* group_maxima;  // [kMaxGroups]
  float* logits;        // [vocab] the row after its edits
  float* maxima;        // [vocab / 64] of blocks
  float* sums;          // [vocab / 256, 16]
  float* values;        // [vocab] logits of candidates
  int32_t* ids;         // [vocab] their tokens
  float* weights;       // [vocab] their weights, or those of the whole row
  Border border;        // [vocab] candidates about the border of a filter

  Scratch(Workspace& workspace, int64_t vocab) {
    group_maxima = workspace.allocate_array<float>(kMaxGroups);
    logits = workspace.allocate_array<float>(vocab + kSlack);
    maxima = workspace.allocate_array<float>(vocab / kMaximaBlock + 1);
    sums = workspace.allocate_array<float>((vocab / kSumBlock + 1) * kSumLanes);
    values = workspace.allocate_array<float>(vocab + kSlack);
    ids = workspace.allocate_array<int32_t>(vocab + kSlack);
    weights = workspace.allocate_array<float>(vocab + kSlack);
    border = {workspace.allocate_array<float>(vocab + kSlack),
              workspace.allocate_array<float>(vocab + kSlack), sums};
  }
  static size_t bytes(int64_t vocab) {
    return static_cast<size_t>(vocab + kSlack) * 6 * sizeof(float) +
           static_cast<size_t>(vocab / kMaximaBlock + 1) * sizeof(float) +
           static_cast<size_t>((vocab / kSumBlock + 1) * kSumLanes) * sizeof(float) +
           kMaxGroups * sizeof(float) + 9 * 64;
  }
};

bool has_edits(const SamplingRow& row) {
  return !row.seen_ids.empty() || !row.bias.empty() || !row.banned.empty() || !row.allowed.empty();
}

void edit(const SamplingRow& row, int64_t vocab, float* x) {
  for (size_t i = 0; i < row.seen_ids.size(); ++i) {
    float& value = x[row.seen_ids[i]];
    const auto count = static_cast<float>(row.output_counts[i]);
    value = value > 0 ? value / row.repetition_penalty : value * row.repetition_penalty;
    value -= row.frequency_penalty * count + (count > 0 ? row.presence_penalty : 0.0F);
  }
  for (const auto& [id, value] : row.bias) x[id] += value;
  for (const int32_t id : row.banned) x[id] = kNegativeInfinity;
  if (!row.allowed.empty()) mask_row(row.allowed.data(), vocab, x);
}

// A bound that at least k logits reach and not many more; -infinity when it takes all of them to
// find out.
float cutoff_for_top(const float* x, int64_t n, int64_t k, int64_t num_groups,
                     const Scratch& scratch) {
  // Of many more maxima than k, few more than k logits reach the k-th.
  const int64_t blocks = (n + kMaximaBlock - 1) / kMaximaBlock;
  const bool enough = k <= num_groups * 3 / 4 || blocks < 2 * k;
  if (enough && k <= num_groups) return bound_of_top(scratch.group_maxima, num_groups, k);
  if (k > blocks) return kNegativeInfinity;
  block_maxima(x, n, scratch.maxima);
  return bound_of_top(scratch.maxima, blocks, k);
}

// A row to draw from.
struct Row {
  const float* x;
  int64_t n;
  const float* next;  // the row after it
  Weighting weighting;
  double total;  // of the weights, which scratch.sums and scratch.weights hold; 0 when not computed
};

// Looking at a whole row of this size takes less than compressing it.
constexpr int64_t kWhole = 4096;

// A row whose every token may be drawn.
int32_t draw_from_all(const Row& from, double draw, const Scratch& scratch) {
  const auto& [x, n, next, weighting, known] = from;
  const double total = known > 0 ? known : exp_sums(x, n, weighting, next, nullptr, scratch.sums);
  double target = draw * total;
  const int64_t blocks = (n + kSumBlock - 1) / kSumBlock;
  const int64_t begin = find_block(scratch.sums, blocks, target) * kSumBlock;
  const int64_t count = std::min(kSumBlock, n - begin);
  exp_values(x + begin, count, weighting, scratch.weights);
  return static_cast<int32_t>(begin + find_in_block(scratch.weights, count, target));
}

// The candidates from `low` on, as a list.
Candidates list_from(const Row& from, float low, float high, const Scratch& scratch) {
  // Another long row would drive this one out of the second level.
  const float* next = from.n <= kWhole ? from.next : from.x;
  const int64_t count = collect(from.x, from.n, low, next, scratch.ids, scratch.values);
  return {scratch.values, scratch.weights, scratch.ids, count, low, high};
}

// Of a row too long to keep its weights: those from where a sample says that the border of top_p
// is, some hundred of 100,000; if it misleads, all from `low` on, some thousands.
Candidates list_for_mass(const Row& from, float low, float high, double total, double need,
                         const Scratch& scratch) {
  constexpr int64_t kChunk = 16, kMostSampled = 2048;
  const int64_t step = std::max<int64_t>(from.n / kMostSampled, 1) * kChunk;
  int64_t sampled = 0;
  for (int64_t i = 0; i + kChunk <= from.n; i += step, sampled += kChunk)
    std::copy_n(from.x + i, kChunk, scratch.values + sampled);
  exp_values(scratch.values, sampled, from.weighting, scratch.weights);
  const double below = (total - need) * static_cast<double>(sampled) / static_cast<double>(from.n);
  const Bracket likely = likely_bracket(scratch.values, scratch.weights, sampled, 1, {low, high},
                                        from.weighting, kNegativeInfinity, below);
  const auto weigh = [&](const Candidates& list) {
    return exp_sums(list.logits, list.count, from.weighting, list.logits, list.weights,
                    scratch.sums);
  };
  Candidates list = list_from(from, likely.low, high, scratch);
  constexpr double kRounding = 1 + 1e-5;
  if (weigh(list) >= need * kRounding || likely.low <= low) return list;
  list = list_from(from, low, high, scratch);
  weigh(list);
  return list;
}

void keep(const Candidates& tokens, const Cut& cut) {
  if (!cut.all_equals)
    drop_equals(tokens.logits, tokens.count, cut.last, cut.equals, tokens.weights);
}

int32_t draw_filtered(const SamplingRow& row, const Row& from, float max, int64_t num_groups,
                      const Scratch& scratch) {
  const auto& [x, n, next, weighting, known] = from;
  const bool top_k = row.top_k > 0 && row.top_k < n, top_p = row.top_p < 1;
  const auto [reference, scale] = weighting;
  const float above_all = std::nextafter(max, std::numeric_limits<float>::infinity());
  // Below this every weight is 0 in float32.
  float low = std::max(reference - 127 / scale, std::numeric_limits<float>::lowest());
  const float lowest = low;
  double total = known;
  if (top_k) {
    low = std::max(low, cutoff_for_top(x, n, row.top_k, num_groups, scratch));
  } else if (top_p) {
    float* weights = n <= kWhole ? scratch.weights : nullptr;
    if (known == 0) total = exp_sums(x, n, weighting, next, weights, scratch.sums);
    // Tokens lighter than (1 - p) * total / n weigh less than (1 - p) * total together: p is
    // reached without them. Half of that leaves room for rounding.
    const double lightest = 0.5 * (1 - row.top_p) * total / static_cast<double>(n);
    low = std::max(low, static_cast<float>(reference + std::log2(lightest) / scale));
  } else {
    // Somewhat below what min_p asks, which the weights decide.
    low = std::max(low, static_cast<float>(max + (std::log2(row.min_p) - 0.01) / scale));
  }
  low = std::min(low, max);
  Candidates tokens{x, scratch.weights, nullptr, n, low, above_all};
  if (top_k || !top_p) {
    if (n > kWhole || low > lowest) tokens = list_from(from, low, above_all, scratch);
    exp_values(tokens.logits, tokens.count, weighting, tokens.weights);
  } else if (n > kWhole) {
    tokens = list_for_mass(from, low, above_all, total, row.top_p * total, scratch);
  }
  Kept kept{kNegativeInfinity, static_cast<float>(row.min_p)};
  float bottom = kNegativeInfinity;
  if (top_k) {
    const Cut cut = cut_at_count(tokens, row.top_k, scratch.border);
    keep(tokens, cut);
    kept.last = bottom = tokens.low = cut.last;
    if (top_p) total = sum_kept(tokens.logits, tokens.weights, tokens.count, {cut.last, 0});
  }
  if (top_p) {
    const Cut cut =
        cut_at_mass(tokens, weighting, bottom, total, row.top_p * total, scratch.border);
    keep(tokens, cut);
    kept.last = std::max(kept.last, cut.last);
    total = cut.kept;
  }
  if (!top_p || row.min_p > 0) total = sum_kept(tokens.logits, tokens.weights, tokens.count, kept);
  const int64_t chosen =
      find_kept(tokens.logits, tokens.weights, tokens.count, kept, row.draw * total);
  return tokens.ids == nullptr ? static_cast<int32_t>(chosen) : tokens.ids[chosen];
}

// Weighs a row without a pass for its maximum first: against a reference near it. False when there
// is none, or a filter needs the maximum, or a low temperature lets exponents go far beyond 0.
bool weigh_at_once(const SamplingRow& row, Row& from, float& max, const Scratch& scratch) {
  constexpr float kSteepest = 6, kHighest = 100;
  const float scale = from.weighting.scale;
  if (scale > kSteepest || row.min_p > 0 || (row.top_k > 0 && row.top_k < from.n)) return false;
  const float reference = largest_of_some(from.x, from.n);
  if (!(std::abs(reference) < 1e6F)) return false;
  // A whole number: the differences to larger logits are exact.
  from.weighting.reference = std::round(reference);
  const bool stored = row.top_p < 1 && from.n <= kWhole;
  const double total = exp_sums_and_max(from.x, from.n, from.weighting, from.next,
                                        stored ? scratch.weights : nullptr, scratch.sums, &max);
  if (!(total > 0 && (max - from.weighting.reference) * scale < kHighest)) return false;
  from.total = total;
  return true;
}

int32_t sample_row(const SamplingRow& row, const float* x, int64_t n, const float* next,
                   const Scratch& scratch) {
  // A temperature below 1e-38 would make this infinite, one beyond 1e38 zero, and 0 * infinity is
  // no number.
  const auto scale =
      static_cast<float>(std::clamp(std::numbers::log2e / row.temperature, 1e-30,
                                    static_cast<double>(std::numeric_limits<float>::max())));
  const bool filtered = (row.top_k > 0 && row.top_k < n) || row.top_p < 1 || row.min_p > 0;
  Row from{x, n, next, {0, scale}, 0};
  RowMax max{};
  int64_t num_groups = 0;
  const bool edited = has_edits(row);
  if (row.temperature == 0 || edited || !weigh_at_once(row, from, max.value, scratch)) {
    max = row_max(x, n, scratch.group_maxima, num_groups);
    if (!max.finite) return kLogitsNotFinite;
    if (edited) {
      std::copy(x, x + n, scratch.logits);
      from.x = scratch.logits;
      edit(row, n, scratch.logits);
      max = row_max(from.x, n, scratch.group_maxima, num_groups);
    }
    if (max.value == kNegativeInfinity) return kNothingAllowed;
    if (row.temperature == 0) return first_of(from.x, n, max.value);
    from.weighting.reference = max.value;
  }
  return filtered ? draw_filtered(row, from, max.value, num_groups, scratch)
                  : draw_from_all(from, row.draw, scratch);
}

void logprob_row(const TokenLogprobsArgs& args, int64_t i, const Scratch& scratch) {
  const int64_t n = args.logits.dim(1);
  const float* x = args.logits.data<float>() + args.rows[i].row * args.logits.stride(0);
  float* top_logprobs = args.top_logprobs.data() + i * args.top;
  int32_t* top_ids = args.top_ids.data() + i * args.top;
  int64_t num_groups = 0;
  const RowMax max = row_max(x, n, scratch.group_maxima, num_groups);
  if (!max.finite || max.value == kNegativeInfinity) {
    args.logprobs[i] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(top_logprobs, args.top, args.logprobs[i]);
    std::iota(top_ids, top_ids + args.top, 0);
    return;
  }
  constexpr auto kScale = static_cast<float>(std::numbers::log2e);
  const double norm =
      max.value + std::log(exp_sums(x, n, {max.value, kScale}, x, nullptr, scratch.sums));
  args.logprobs[i] = static_cast<float>(x[args.rows[i].token_id] - norm);
  if (args.top == 0) return;
  const float cutoff = cutoff_for_top(x, n, args.top, num_groups, scratch);
  const int64_t count = collect(x, n, cutoff, x, scratch.ids, scratch.values);
  std::partial_sort(scratch.ids, scratch.ids + args.top, scratch.ids + count,
                    [&](int32_t a, int32_t b) { return x[a] != x[b] ? x[a] > x[b] : a < b; });
  for (int k = 0; k < args.top; ++k) {
    top_ids[k] = scratch.ids[k];
    top_logprobs[k] = static_cast<float>(x[scratch.ids[k]] - norm);
  }
}

// Calls fn(i, scratch) for i in [0, count), a few rows at a time: a row of 1,000 logits takes 0.1
// to 0.8 us, and waking another thread for less than 10 us does not pay.
template <typename F>
void for_each_row(ExecContext& context, int64_t count, int64_t vocab, F&& fn) {
  if (count == 0) return;
  Workspace::Scope scope(context.workspace());
  const int64_t grain = std::clamp<int64_t>(16384 / vocab, 1, 64);
  const int64_t tasks = (count + grain - 1) / grain;
  const int threads = count * vocab <= 65536 ? 1 : context.num_threads();
  auto* scratch = context.workspace().allocate_array<Scratch>(threads);
  for (int t = 0; t < threads; ++t) new (&scratch[t]) Scratch(context.workspace(), vocab);
  const auto run = [&](int64_t task, int worker) {
    for (int64_t i = task * grain; i < std::min((task + 1) * grain, count); ++i)
      fn(i, scratch[worker]);
  };
  if (threads > 1) return context.pool().for_each_task(tasks, run);
  for (int64_t task = 0; task < tasks; ++task) run(task, 0);
}

}  // namespace

size_t sampling_workspace_bytes(int64_t vocab, int num_threads) {
  return static_cast<size_t>(num_threads) * (Scratch::bytes(vocab) + sizeof(Scratch)) + 64;
}

void sample_tokens(ExecContext& context, const SampleTokensArgs& args) {
  const int64_t vocab = args.logits.dim(1), last = static_cast<int64_t>(args.rows.size()) - 1;
  const auto logits_of = [&](const SamplingRow& row) {
    return args.logits.data<float>() + row.row * args.logits.stride(0);
  };
  for_each_row(context, last + 1, vocab, [&](int64_t i, const Scratch& scratch) {
    const float* next = logits_of(args.rows[std::min(i + 1, last)]);
    args.token_ids[i] = sample_row(args.rows[i], logits_of(args.rows[i]), vocab, next, scratch);
  });
}

void token_logprobs(ExecContext& context, const TokenLogprobsArgs& args) {
  for_each_row(context, static_cast<int64_t>(args.rows.size()), args.logits.dim(1),
               [&](int64_t i, const Scratch& scratch) { logprob_row(args, i, scratch); });
}

}  // namespace miniinfer::cpu
