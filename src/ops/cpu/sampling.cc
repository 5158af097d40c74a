#include "ops/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/thread_pool.h"
#include "ops/cpu/sampling_kernels.h"

namespace miniinfer::cpu {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr int64_t kSlack = 64;  // vectors are stored whole

struct Candidate {
  float logit;
  float weight;
  int32_t id;
};

// Most likely first, the lowest id among equals.
bool more_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// One worker's scratch memory for a row of `vocab` logits.
struct Scratch {
  float* logits;          // [vocab] the row after its edits; later a second set of values
  float* maxima;          // [vocab / 64]
  double* sums;           // [vocab / 256]
  float* values;          // [vocab] logits of candidates
  int32_t* ids;           // [vocab]
  float* weights;         // [vocab]
  int32_t* picks;         // [vocab] indices into the candidates
  Candidate* candidates;  // [vocab]

  Scratch(Workspace& workspace, int64_t vocab) {
    logits = workspace.allocate_array<float>(vocab + kSlack);
    maxima = workspace.allocate_array<float>(vocab / kMaximaBlock + 1);
    sums = workspace.allocate_array<double>(vocab / kSumBlock + 1);
    values = workspace.allocate_array<float>(vocab + kSlack);
    ids = workspace.allocate_array<int32_t>(vocab + kSlack);
    weights = workspace.allocate_array<float>(vocab + kSlack);
    picks = workspace.allocate_array<int32_t>(vocab + kSlack);
    candidates = workspace.allocate_array<Candidate>(vocab);
  }
  static size_t bytes(int64_t vocab) {
    return static_cast<size_t>(vocab + kSlack) * (5 * sizeof(float) + sizeof(Candidate)) +
           static_cast<size_t>(vocab / kMaximaBlock + 1) * sizeof(float) +
           static_cast<size_t>(vocab / kSumBlock + 1) * sizeof(double) + 8 * 64;
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

// The k-th largest of the block maxima: at least k logits reach it. All of a row with fewer blocks.
float cutoff_for_top(const float* x, int64_t n, int64_t k, const Scratch& scratch) {
  const int64_t blocks = (n + kMaximaBlock - 1) / kMaximaBlock;
  if (k > blocks) return kNegativeInfinity;
  block_maxima(x, n, scratch.maxima);
  std::nth_element(scratch.maxima, scratch.maxima + k - 1, scratch.maxima + blocks,
                   std::greater<float>());
  return scratch.maxima[k - 1];
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
  int64_t chosen = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (weights[i] <= 0) continue;
    chosen = i;
    if (weights[i] > target) break;
    target -= weights[i];
  }
  return chosen;
}

// A row whose every token may be drawn.
int32_t draw_from_all(const float* x, int64_t n, float max, float scale, double draw,
                      const Scratch& scratch) {
  double target = draw * exp_sums(x, n, max, scale, scratch.sums);
  const int64_t begin = find_block(scratch, n, target) * kSumBlock;
  const int64_t count = std::min(kSumBlock, n - begin);
  exp_values(x + begin, count, max, scale, scratch.weights);
  return static_cast<int32_t>(begin + find_in_block(scratch.weights, count, target));
}

// How far down the most likely tokens are kept: until both are reached.
struct Goal {
  int64_t count;
  double mass;
  bool reached(const Tail& tail) const { return tail.count >= count && tail.mass >= mass; }
};

// The last token kept.
struct Cut {
  float value = kNegativeInfinity;
  int32_t id = std::numeric_limits<int32_t>::max();
};

// The n collected tokens are narrowed by bisection to a few whose order decides, which are sorted.
// A pass takes 80 ns for 1,000 tokens; sorting them would take 20 us.
Cut find_cut(const Scratch& scratch, int64_t n, float low, float high, const Goal& goal) {
  Tail above{0, 0}, all = tail_at_least(scratch.values, scratch.weights, n, low);
  if (!goal.reached(all)) return {};
  while (all.count - above.count > 32) {
    const float middle = low + (high - low) / 2;
    if (!(middle > low && middle < high)) break;
    const Tail tail = tail_at_least(scratch.values, scratch.weights, n, middle);
    if (goal.reached(tail)) {
      low = middle;
      all = tail;
    } else {
      high = middle;
      above = tail;
    }
  }
  const int64_t count = collect(scratch.values, n, low, high, scratch.picks, scratch.logits);
  for (int64_t i = 0; i < count; ++i)
    scratch.candidates[i] = {scratch.logits[i], scratch.weights[scratch.picks[i]],
                             scratch.ids[scratch.picks[i]]};
  std::sort(scratch.candidates, scratch.candidates + count, more_likely);
  for (int64_t i = 0; i < count; ++i) {
    above = {above.count + 1, above.mass + scratch.candidates[i].weight};
    if (goal.reached(above)) return {scratch.candidates[i].logit, scratch.candidates[i].id};
  }
  return {low, std::numeric_limits<int32_t>::max()};  // short of the goal by rounding alone
}

int32_t draw_filtered(const SamplingRow& row, const float* x, int64_t n, float max, float scale,
                      const Scratch& scratch) {
  const bool top_k = row.top_k > 0 && row.top_k < n, top_p = row.top_p < 1;
  // Below this every weight is 0 in float32.
  float low = std::max(max - 104 / scale, std::numeric_limits<float>::lowest());
  double total = 0;
  if (top_k) {
    low = std::max(low, cutoff_for_top(x, n, row.top_k, scratch));
  } else if (top_p) {
    // Tokens lighter than (1 - p) * total / n weigh less than (1 - p) * total together: p is
    // reached without them. Half of that leaves room for rounding.
    total = exp_sums(x, n, max, scale, scratch.sums);
    const double lightest = 0.5 * (1 - row.top_p) * total / static_cast<double>(n);
    low = std::max(low, static_cast<float>(max + std::log(lightest) / scale));
  } else {
    // Somewhat below what min_p asks, which the weights decide.
    low = std::max(low, static_cast<float>(max + (std::log(row.min_p) - 0.01) / scale));
  }
  low = std::min(low, max);
  const float high = std::nextafter(max, std::numeric_limits<float>::infinity());
  const int64_t count = collect(x, n, low, high, scratch.ids, scratch.values);
  exp_values(scratch.values, count, max, scale, scratch.weights);

  Cut cut;
  const auto min_weight = static_cast<float>(row.min_p);
  if (top_k) {
    cut = find_cut(scratch, count, low, high, {row.top_k, 0});
    total = keep_weights(scratch.values, scratch.ids, count, cut.value, cut.id, 0, scratch.weights,
                         scratch.sums);
  }
  if (top_p) cut = find_cut(scratch, count, low, high, {1, row.top_p * total});
  total = keep_weights(scratch.values, scratch.ids, count, cut.value, cut.id, min_weight,
                       scratch.weights, scratch.sums);
  double target = row.draw * total;
  const int64_t begin = find_block(scratch, count, target) * kSumBlock;
  return scratch.ids[begin + find_in_block(scratch.weights + begin,
                                           std::min(kSumBlock, count - begin), target)];
}

int32_t sample_row(const SamplingRow& row, const float* x, int64_t n, const Scratch& scratch) {
  RowMax max = row_max(x, n);
  if (!max.finite) return kLogitsNotFinite;
  if (has_edits(row)) {
    std::copy(x, x + n, scratch.logits);
    x = scratch.logits;
    edit(row, n, scratch.logits);
    max = row_max(x, n);
  }
  if (max.value == kNegativeInfinity) return kNothingAllowed;
  if (row.temperature == 0) return max.index;
  // A temperature below 1e-38 would make this infinite, and 0 * infinity is no number.
  const auto scale = static_cast<float>(
      std::min(1.0 / row.temperature, static_cast<double>(std::numeric_limits<float>::max())));
  const bool filtered = (row.top_k > 0 && row.top_k < n) || row.top_p < 1 || row.min_p > 0;
  return filtered ? draw_filtered(row, x, n, max.value, scale, scratch)
                  : draw_from_all(x, n, max.value, scale, row.draw, scratch);
}

void logprob_row(const TokenLogprobsArgs& args, int64_t i, const Scratch& scratch) {
  const int64_t n = args.logits.dim(1);
  const float* x = args.logits.data<float>() + args.rows[i].row * args.logits.stride(0);
  float* top_logprobs = args.top_logprobs.data() + i * args.top;
  int32_t* top_ids = args.top_ids.data() + i * args.top;
  const RowMax max = row_max(x, n);
  if (!max.finite || max.value == kNegativeInfinity) {
    args.logprobs[i] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(top_logprobs, args.top, args.logprobs[i]);
    std::iota(top_ids, top_ids + args.top, 0);
    return;
  }
  const double norm = max.value + std::log(exp_sums(x, n, max.value, 1.0F, scratch.sums));
  args.logprobs[i] = static_cast<float>(x[args.rows[i].token_id] - norm);
  if (args.top == 0) return;
  const int64_t count =
      collect(x, n, cutoff_for_top(x, n, args.top, scratch), std::numeric_limits<float>::infinity(),
              scratch.ids, scratch.values);
  for (int64_t c = 0; c < count; ++c)
    scratch.candidates[c] = {scratch.values[c], 0, scratch.ids[c]};
  std::partial_sort(scratch.candidates, scratch.candidates + args.top, scratch.candidates + count,
                    more_likely);
  for (int k = 0; k < args.top; ++k) {
    top_ids[k] = scratch.candidates[k].id;
    top_logprobs[k] = static_cast<float>(scratch.candidates[k].logit - norm);
  }
}

// Calls fn(i, scratch) for i in [0, count), a few rows at a time: a row of 1,000 logits takes 0.1
// us, and waking another thread for less than 10 us does not pay.
template <typename F>
void for_each_row(ExecContext& context, int64_t count, int64_t vocab, F&& fn) {
  if (count == 0) return;
  Workspace::Scope scope(context.workspace());
  const int64_t grain = std::clamp<int64_t>(65536 / vocab, 1, 64);
  const int64_t tasks = (count + grain - 1) / grain;
  const int threads = tasks == 1 ? 1 : context.num_threads();
  auto* scratch = context.workspace().allocate_array<Scratch>(threads);
  for (int t = 0; t < threads; ++t) new (&scratch[t]) Scratch(context.workspace(), vocab);
  context.pool().for_each_task(tasks, [&](int64_t task, int worker) {
    for (int64_t i = task * grain; i < std::min((task + 1) * grain, count); ++i)
      fn(i, scratch[worker]);
  });
}

}  // namespace

size_t sampling_workspace_bytes(int64_t vocab, int num_threads) {
  return static_cast<size_t>(num_threads) * (Scratch::bytes(vocab) + sizeof(Scratch)) + 64;
}

void sample_tokens(ExecContext& context, const SampleTokensArgs& args) {
  const int64_t vocab = args.logits.dim(1);
  for_each_row(context, static_cast<int64_t>(args.rows.size()), vocab,
               [&](int64_t i, const Scratch& scratch) {
                 const SamplingRow& row = args.rows[i];
                 const float* x = args.logits.data<float>() + row.row * args.logits.stride(0);
                 args.token_ids[i] = sample_row(row, x, vocab, scratch);
               });
}

void token_logprobs(ExecContext& context, const TokenLogprobsArgs& args) {
  for_each_row(context, static_cast<int64_t>(args.rows.size()), args.logits.dim(1),
               [&](int64_t i, const Scratch& scratch) { logprob_row(args, i, scratch); });
}

}  // namespace miniinfer::cpu
