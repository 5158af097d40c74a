#include "ops/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/thread_pool.h"
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
  double* sums;         // [vocab / 256]
  float* values;        // [vocab] logits of candidates
  int32_t* ids;         // [vocab] their tokens
  float* weights;       // [vocab] their weights, or those of the whole row
  int32_t* picks;       // [vocab] indices into the candidates
  float* picked;        // [vocab] logits of the picks

  Scratch(Workspace& workspace, int64_t vocab) {
    group_maxima = workspace.allocate_array<float>(kMaxGroups);
    logits = workspace.allocate_array<float>(vocab + kSlack);
    maxima = workspace.allocate_array<float>(vocab / kMaximaBlock + 1);
    sums = workspace.allocate_array<double>(vocab / kSumBlock + 1);
    values = workspace.allocate_array<float>(vocab + kSlack);
    ids = workspace.allocate_array<int32_t>(vocab + kSlack);
    weights = workspace.allocate_array<float>(vocab + kSlack);
    picks = workspace.allocate_array<int32_t>(vocab + kSlack);
    picked = workspace.allocate_array<float>(vocab + kSlack);
  }
  static size_t bytes(int64_t vocab) {
    return static_cast<size_t>(vocab + kSlack) * 6 * sizeof(float) +
           static_cast<size_t>(vocab / kMaximaBlock + 1) * sizeof(float) +
           static_cast<size_t>(vocab / kSumBlock + 1) * sizeof(double) +
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

// How far down the most likely tokens are kept: until both are reached.
struct Goal {
  int64_t count;
  double mass;
  bool reached(const Tail& tail) const { return tail.count >= count && tail.mass >= mass; }
};

// A range of logits in which the goal is reached: the tail at `low` reaches it, that at `high` does
// not.
struct Window {
  float low, high;
  Tail all, above;

  int64_t count() const { return all.count - above.count; }

  // Down to a quarter by one pass over the n candidates, beside which `base` is known to lie above.
  // False when no float is left between the two.
  bool narrow(const float* x, const float* weights, int64_t n, const Tail& base, const Goal& goal) {
    float lows[kNumTails];
    for (int j = 0; j < kNumTails; ++j)
      lows[j] = low + (high - low) * (static_cast<float>(j + 1) / (kNumTails + 1));
    if (!(lows[0] > low && lows[kNumTails - 1] < high)) return false;
    Tail tails[kNumTails];
    tails_at_least(x, weights, n, lows, tails);
    for (int j = kNumTails - 1; j >= 0; --j) {
      const Tail tail = {base.count + tails[j].count, base.mass + tails[j].mass};
      if (goal.reached(tail)) {
        low = lows[j];
        all = tail;
        return true;
      }
      high = lows[j];
      above = tail;
    }
    return true;
  }
};

// A bound that at least k logits reach and not many more; -infinity when it takes all of them to
// find out.
float cutoff_for_top(const float* x, int64_t n, int64_t k, float max, int64_t num_groups,
                     const Scratch& scratch) {
  const float* maxima = scratch.group_maxima;
  if (k > num_groups * 3 / 4) {
    num_groups = (n + kMaximaBlock - 1) / kMaximaBlock;
    if (k > num_groups) return kNegativeInfinity;
    block_maxima(x, n, scratch.maxima);
    maxima = scratch.maxima;
  }
  // Narrowed by 64, the bound lets a few more pass than the k-th largest of the maxima would; to
  // sort them would take longer.
  Window window{*std::min_element(maxima, maxima + num_groups), max, {num_groups, 0}, {0, 0}};
  if (window.low == kNegativeInfinity) window.low = std::numeric_limits<float>::lowest();
  Tail finite[kNumTails];
  const float lowest[kNumTails] = {window.low, window.low, window.low};
  tails_at_least(maxima, maxima, num_groups, lowest, finite);
  if (finite[0].count < k) return kNegativeInfinity;
  for (int pass = 0; pass < 3; ++pass)
    if (!window.narrow(maxima, maxima, num_groups, {0, 0},
                       {k, -std::numeric_limits<double>::infinity()}))
      break;
  return window.low;
}

// The block of the cumulative sum in which `draw` falls; `target` is what is left of it there.
int64_t find_block(const Scratch& scratch, int64_t n, double& target) {
  const int64_t blocks = (n + kSumBlock - 1) / kSumBlock;
  int64_t last = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    if (scratch.sums[block] > target) return block;
    if (scratch.sums[block] > 0) last = block;
    target -= scratch.sums[block];
  }
  // Rounding may leave the target at the very end: then the last token that has weight is taken.
  target = scratch.sums[last];
  return last;
}

int64_t find_in_block(const float* weights, int64_t n, double target) {
  int64_t i = 0;
  // Eight at a time: the subtractions wait for each other, the additions do not.
  for (; i + 8 <= n; i += 8) {
    const float* w = weights + i;
    const double sum = ((w[0] + w[1]) + (w[2] + w[3])) + ((w[4] + w[5]) + (w[6] + w[7]));
    if (sum > target) break;
    target -= sum;
  }
  int64_t chosen = -1;
  for (; i < n; ++i) {
    if (weights[i] <= 0) continue;
    chosen = i;
    if (weights[i] > target) return i;
    target -= weights[i];
  }
  // Rounding alone ran past the end: the last token that has weight.
  for (i = n - 1; chosen < 0 && i >= 0; --i)
    if (weights[i] > 0) chosen = i;
  return std::max<int64_t>(chosen, 0);
}

// A row whose every token may be drawn.
int32_t draw_from_all(const float* x, int64_t n, float max, float scale, double draw,
                      const float* next, const Scratch& scratch) {
  double target = draw * exp_sums(x, n, max, scale, next, nullptr, scratch.sums);
  const int64_t begin = find_block(scratch, n, target) * kSumBlock;
  const int64_t count = std::min(kSumBlock, n - begin);
  exp_values(x + begin, count, max, scale, scratch.weights);
  return static_cast<int32_t>(begin + find_in_block(scratch.weights, count, target));
}

// The tokens that a filter leaves to look at, in the order of their ids.
struct Candidates {
  const float* logits;
  float* weights;
  const int32_t* ids;  // null: candidate i is token i
  int64_t count;
  float low, high;  // low <= logits < high for all that can be kept
};

// The logit of the last token kept; of equal ones the weights of those with higher ids become 0.
// The candidates are narrowed to a few whose order decides, which are sorted. `mass` is that of
// all. A pass takes 60 ns for 1,000 tokens; sorting them would take 20 us.
float find_cut(const Candidates& from, double mass, const Goal& goal, const Scratch& scratch) {
  constexpr int64_t kFew = 8, kSmall = 128;
  Window window{from.low, from.high, {from.count, mass}, {0, 0}};
  if (!goal.reached(window.all)) return kNegativeInfinity;
  const auto pick = [&] {
    return collect(from.logits, from.count, window.low, window.high, scratch.picks, scratch.picked);
  };
  while (window.count() > (from.count > 2 * kSmall ? kSmall : kFew))
    if (!window.narrow(from.logits, from.weights, from.count, {0, 0}, goal)) break;
  int64_t count = pick();
  if (count > kFew && count <= kSmall) {
    // From here on over copies of the few that are left.
    float weights[kSmall + 16], logits[kSmall + 16];
    int32_t indices[kSmall + 16];
    for (int64_t i = 0; i < count; ++i) {
      indices[i] = scratch.picks[i];
      weights[i] = from.weights[indices[i]];
      logits[i] = scratch.picked[i];
    }
    const Tail base = window.above;
    while (window.count() > kFew)
      if (!window.narrow(logits, weights, count, base, goal)) break;
    count = collect(logits, count, window.low, window.high, scratch.picks, scratch.picked);
    for (int64_t i = 0; i < count; ++i) scratch.picks[i] = indices[scratch.picks[i]];
  }
  int32_t* picks = scratch.picks;
  const auto more_likely = [&](int32_t a, int32_t b) {
    return from.logits[a] != from.logits[b] ? from.logits[a] > from.logits[b] : a < b;
  };
  if (!std::is_sorted(picks, picks + count, more_likely))
    std::sort(picks, picks + count, more_likely);
  Tail kept = window.above;
  for (int64_t i = 0; i < count; ++i) {
    kept = {kept.count + 1, kept.mass + from.weights[picks[i]]};
    if (!goal.reached(kept)) continue;
    const float last = from.logits[picks[i]];
    for (++i; i < count && from.logits[picks[i]] == last; ++i) from.weights[picks[i]] = 0;
    return last;
  }
  return window.low;  // short of it by rounding alone
}

int32_t draw_filtered(const SamplingRow& row, const float* x, int64_t n, float max, float scale,
                      int64_t num_groups, const float* next, const Scratch& scratch) {
  const bool top_k = row.top_k > 0 && row.top_k < n, top_p = row.top_p < 1;
  const float above_all = std::nextafter(max, std::numeric_limits<float>::infinity());
  // Below this every weight is 0 in float32.
  float low = std::max(max - 127 / scale, std::numeric_limits<float>::lowest());
  // Looking at a whole row of this size takes less than compressing it.
  bool whole = n <= 4096;
  double total = 0;
  if (top_k) {
    const float cutoff = cutoff_for_top(x, n, row.top_k, max, num_groups, scratch);
    low = std::max(low, cutoff);
    whole = whole && cutoff == kNegativeInfinity;
  } else if (!top_p) {
    // Somewhat below what min_p asks, which the weights decide.
    low = std::max(low, static_cast<float>(max + (std::log2(row.min_p) - 0.01) / scale));
  }
  if (whole || (top_p && !top_k))
    total = exp_sums(x, n, max, scale, next, whole ? scratch.weights : nullptr, scratch.sums);
  if (top_p && !top_k) {
    // Tokens lighter than (1 - p) * total / n weigh less than (1 - p) * total together: p is
    // reached without them. Half of that leaves room for rounding.
    const double lightest = 0.5 * (1 - row.top_p) * total / static_cast<double>(n);
    low = std::max(low, static_cast<float>(max + std::log2(lightest) / scale));
  }
  low = std::min(low, max);
  Candidates from{x, scratch.weights, nullptr, n, low, above_all};
  if (!whole) {
    from = {scratch.values,
            scratch.weights,
            scratch.ids,
            collect(x, n, low, above_all, scratch.ids, scratch.values),
            low,
            above_all};
    exp_values(from.logits, from.count, max, scale, scratch.weights);
  }
  float cut = kNegativeInfinity;
  const auto keep = [&](float min_weight) {
    return keep_weights(from.logits, from.count, cut, min_weight, from.weights, scratch.sums);
  };
  if (top_k) {
    cut = find_cut(from, 0, {row.top_k, 0}, scratch);
    if (top_p) total = keep(0);
  }
  if (top_p) cut = find_cut(from, total, {1, row.top_p * total}, scratch);
  total = keep(static_cast<float>(row.min_p));
  double target = row.draw * total;
  const int64_t begin = find_block(scratch, from.count, target) * kSumBlock;
  const int64_t chosen =
      begin + find_in_block(from.weights + begin, std::min(kSumBlock, from.count - begin), target);
  return from.ids == nullptr ? static_cast<int32_t>(chosen) : from.ids[chosen];
}

int32_t sample_row(const SamplingRow& row, const float* x, int64_t n, const float* next,
                   const Scratch& scratch) {
  int64_t num_groups = 0;
  RowMax max = row_max(x, n, scratch.group_maxima, num_groups);
  if (!max.finite) return kLogitsNotFinite;
  if (has_edits(row)) {
    std::copy(x, x + n, scratch.logits);
    x = scratch.logits;
    edit(row, n, scratch.logits);
    max = row_max(x, n, scratch.group_maxima, num_groups);
  }
  if (max.value == kNegativeInfinity) return kNothingAllowed;
  if (row.temperature == 0) return first_of(x, n, max.value);
  // A temperature below 1e-38 would make this infinite, and 0 * infinity is no number.
  const auto scale =
      static_cast<float>(std::min(std::numbers::log2e / row.temperature,
                                  static_cast<double>(std::numeric_limits<float>::max())));
  const bool filtered = (row.top_k > 0 && row.top_k < n) || row.top_p < 1 || row.min_p > 0;
  return filtered ? draw_filtered(row, x, n, max.value, scale, num_groups, next, scratch)
                  : draw_from_all(x, n, max.value, scale, row.draw, next, scratch);
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
      max.value + std::log(exp_sums(x, n, max.value, kScale, x, nullptr, scratch.sums));
  args.logprobs[i] = static_cast<float>(x[args.rows[i].token_id] - norm);
  if (args.top == 0) return;
  const float cutoff = cutoff_for_top(x, n, args.top, max.value, num_groups, scratch);
  const int64_t count =
      collect(x, n, cutoff, std::numeric_limits<float>::infinity(), scratch.ids, scratch.values);
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
