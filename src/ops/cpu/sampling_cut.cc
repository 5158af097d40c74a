#include "ops/cpu/sampling_cut.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace miniinfer::cpu {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// A range of logits that holds the border of a filter: `all`, the sum of the weights at or above
// `low`, reaches what the filter needs, and `above`, that at or above `high`, does not.
struct Window {
  float low, high;
  double all, above;
  bool even = false;  // the logits lie so evenly that the border can be looked for where it should
                      // be

  float range() const { return high - low; }

  // Down to a quarter, or to some twelfth, by one pass over n logits, beside which weights of
  // `base` lie above. False when no float is left between the two.
  bool narrow(const float* x, const float* weights, int64_t n, double base, double need) {
    float parts[kNumTails] = {0.25F, 0.5F, 0.75F};
    if (even && all > above) {
      constexpr float kBeside = 1.0F / 12;
      const float at = std::clamp(static_cast<float>((all - need) / (all - above)), 0.04F, 0.96F);
      parts[0] = std::max(at - kBeside, at / 2);
      parts[1] = at;
      parts[2] = std::min(at + kBeside, (1 + at) / 2);
    }
    const float before = range();
    float lows[kNumTails + 2] = {low};  // bounds from low to high, and the sums from each on
    double tails[kNumTails + 2] = {all};
    // Ascending whatever is rounded, and finite: the range may be wider than any float.
    const float half = high / 2 - low / 2;
    for (int j = 0; j < kNumTails; ++j) lows[j + 1] = low + half * parts[j] + half * parts[j];
    if (!(lows[1] > low && lows[kNumTails] < high)) return false;
    lows[kNumTails + 1] = high;
    tails[kNumTails + 1] = above;
    tails_at_least(x, weights, n, lows + 1, tails + 1);
    // Without branches: nobody guesses where the border is.
    int at = 0;
    for (int j = 1; j <= kNumTails; ++j) {
      tails[j] += base;
      at += tails[j] >= need ? 1 : 0;
    }
    low = lows[at];
    all = tails[at];
    high = lows[at + 1];
    above = tails[at + 1];
    even = range() <= before * 0.3F;
    return true;
  }
};

// Of the list of candidates that no bound tells apart: equal logits, or neighbours.
Cut cut_in_order(const Border& list, int64_t count, double above, double need) {
  // The heavier is the larger: both may be sorted by themselves.
  for (float* values : {list.logits, list.weights})
    if (!std::is_sorted(values, values + count, std::greater<>()))
      std::sort(values, values + count, std::greater<>());
  int64_t kept = 0;
  while (kept < count && (kept == 0 || above < need)) above += list.weights[kept++];
  const float last = list.logits[kept - 1];
  const auto [first, end] =
      std::equal_range(list.logits, list.logits + count, last, std::greater<>());
  return {last, list.logits + kept - first, list.logits + kept == end, above};
}

// Of the list of all candidates in the window. Without a weighting each counts 1.
Cut cut_list(const Border& list, int64_t count, const Weighting* weighting, Window window,
             double need) {
  bool apart = true;
  while (count > kFew && apart) {
    const float enough = window.range() * (0.6F * kFew / static_cast<float>(count));
    const double base = window.above;
    for (int pass = 0; pass < 8 && apart && (pass == 0 || window.range() > enough); ++pass)
      apart = window.narrow(list.logits, list.weights, count, base, need);
    count = select(list.logits, count, window.low, window.high);
    if (weighting != nullptr) exp_values(list.logits, count, *weighting, list.weights);
  }
  if (count == 0) return {window.low, 0, true, window.all};
  if (count > kFew) return cut_in_order(list, count, window.above, need);
  const auto rest = static_cast<float>(need - window.above);
  const FewKept kept =
      keep_few(list.logits, list.weights, count, std::max(rest, std::numeric_limits<float>::min()));
  return {kept.last, kept.equals, kept.all, window.above + kept.sum};
}

// Whether a few of the largest logits weigh so much that not many can be in question.
bool peaked(const Candidates& from, const Weighting& weighting, double all) {
  constexpr double kHeavy = 8;
  return all < kHeavy * std::exp2((from.high - weighting.reference) * weighting.scale);
}

// Until some 64 logits are left, if they lie evenly.
void narrow_over_all(const Candidates& from, double need, Window& window) {
  constexpr int kMostPasses = 8;
  const float enough =
      (from.high - from.low) * std::min(1.0F, 64.0F / static_cast<float>(from.count));
  for (int pass = 0; pass < kMostPasses && window.range() > enough; ++pass)
    if (!window.narrow(from.logits, from.weights, from.count, 0, need)) return;
}

}  // namespace

Cut cut_at_count(const Candidates& from, int64_t k, const Border& border) {
  double above = 0;
  const int64_t count =
      split(from.logits, from.weights, from.count, from.low, from.high, border.logits, &above);
  if (count <= k) return {from.low, 0, true, static_cast<double>(count)};
  std::fill_n(border.weights, count, 1.0F);
  const auto all = static_cast<double>(count);
  return cut_list(border, count, nullptr, {from.low, from.high, all, 0}, static_cast<double>(k));
}

Cut cut_at_mass(const Candidates& from, const Weighting& weighting, float bottom, double all,
                double need, const Border& border) {
  constexpr int64_t kFewCandidates = 256, kManyCandidates = 2048;
  if (all < need) return {kNegativeInfinity, 0, true, all};
  Window window{from.low, from.high, all, 0};
  if (from.count > 2 * kFewCandidates && !peaked(from, weighting, all)) {
    // The more are looked at, the fewer are left.
    const int64_t step = from.count < kManyCandidates ? 8 : 16;
    const int64_t n = from.count / (16 * step) * (16 * step);
    const double share = static_cast<double>(n) / static_cast<double>(from.count * step);
    const Bracket likely = likely_bracket(from.logits, from.weights, n, step, {from.low, from.high},
                                          weighting, bottom, (all - need) * share);
    window.low = likely.low;
    window.high = likely.high;
    window.even = true;
  }
  for (bool again = false;; again = true) {
    const int64_t count = split(from.logits, from.weights, from.count, window.low, window.high,
                                border.logits, &window.above);
    window.all = window.above + exp_sums(border.logits, count, weighting, border.logits,
                                         border.weights, border.sums);
    const bool holds = window.above < need && window.all >= need;
    // Narrowed over all, it holds the border but for rounding.
    if (holds || again) return cut_list(border, count, &weighting, window, need);
    window = window.above < need ? Window{from.low, window.low, all, window.all}
                                 : Window{window.high, from.high, window.above, 0};
    narrow_over_all(from, need, window);
  }
}

}  // namespace miniinfer::cpu
