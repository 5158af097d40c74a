#include "ops/cpu/sampling_kernels.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/sampling_kernels.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// The vector at x, lanes beyond `count` -infinity.
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* x, int64_t count) {
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, x);
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)),
                        hn::LoadN(d, x, static_cast<size_t>(count)), hn::Set(d, kNegativeInfinity));
}

RowMax row_max(const float* x, int64_t n, float* group_maxima, int64_t& num_groups) {
  const hn::CappedTag<float, kMaxGroups / 4> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  // Four chains: one maximum waits for the other, and a pass over a row in cache would take twice
  // as long.
  auto max0 = hn::Set(d, kNegativeInfinity), max1 = max0, max2 = max0, max3 = max0;
  auto ordered = hn::FirstN(d, hn::Lanes(d));  // Lt is false for NaN too
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto v0 = hn::LoadU(d, x + i), v1 = hn::LoadU(d, x + i + lanes);
    const auto v2 = hn::LoadU(d, x + i + 2 * lanes), v3 = hn::LoadU(d, x + i + 3 * lanes);
    const auto both0 = hn::And(hn::Lt(v0, infinity), hn::Lt(v1, infinity));
    const auto both1 = hn::And(hn::Lt(v2, infinity), hn::Lt(v3, infinity));
    ordered = hn::And(ordered, hn::And(both0, both1));
    max0 = hn::Max(max0, v0);
    max1 = hn::Max(max1, v1);
    max2 = hn::Max(max2, v2);
    max3 = hn::Max(max3, v3);
  }
  for (; i < n; i += lanes) {
    const auto v = load(d, x + i, n - i);
    ordered = hn::And(ordered, hn::Lt(v, infinity));
    max0 = hn::Max(max0, v);
  }
  hn::StoreU(max0, d, group_maxima);
  hn::StoreU(max1, d, group_maxima + lanes);
  hn::StoreU(max2, d, group_maxima + 2 * lanes);
  hn::StoreU(max3, d, group_maxima + 3 * lanes);
  num_groups = 4 * lanes;
  const auto max = hn::Max(hn::Max(max0, max1), hn::Max(max2, max3));
  return {hn::ReduceMax(d, max), hn::AllTrue(d, ordered)};
}

int32_t first_of(const float* x, int64_t n, float value) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, value);
  for (int64_t i = 0; i < n; i += lanes) {
    const intptr_t at = hn::FindFirstTrue(d, hn::Eq(load(d, x + i, n - i), wanted));
    if (at >= 0) return static_cast<int32_t>(i + at);
  }
  return 0;
}

void block_maxima(const float* x, int64_t n, float* maxima) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t begin = 0; begin < n; begin += kMaximaBlock) {
    const int64_t end = std::min(begin + kMaximaBlock, n);
    auto max = hn::Set(d, kNegativeInfinity);
    for (int64_t i = begin; i < end; i += lanes) max = hn::Max(max, load(d, x + i, end - i));
    maxima[begin / kMaximaBlock] = hn::ReduceMax(d, max);
  }
}

HWY_INLINE V weight(D d, V x, V max, V scale) {
  return exp2_nonpositive(d, hn::Mul(hn::Sub(x, max), scale));
}

constexpr int kTogether = 4;  // vectors

template <bool kStore>
HWY_INLINE double sum_weights(const float* x, int64_t n, float max, float scale, const float* next,
                              float* weights, double* sums) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vmax = hn::Set(d, max), vscale = hn::Set(d, scale);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
    int64_t i = begin;
    for (; i + kTogether * lanes <= end; i += kTogether * lanes) {
      V w[kTogether];
      for (int j = 0; j < kTogether; ++j) {
        hwy::Prefetch(next + i + j * lanes);
        w[j] = hn::Mul(hn::Sub(hn::LoadU(d, x + i + j * lanes), vmax), vscale);
      }
      exp2_nonpositive_of(d, w);
      if constexpr (kStore)
        for (int j = 0; j < kTogether; ++j) hn::StoreU(w[j], d, weights + i + j * lanes);
      sum0 = hn::Add(sum0, hn::Add(w[0], w[1]));
      sum1 = hn::Add(sum1, hn::Add(w[2], w[3]));
    }
    for (; i < end; i += lanes) {
      const auto w = weight(d, load(d, x + i, end - i), vmax, vscale);
      if constexpr (kStore) hn::StoreU(w, d, weights + i);
      sum0 = hn::Add(sum0, w);
    }
    sums[begin / kSumBlock] = hn::ReduceSum(d, hn::Add(sum0, sum1));
    total += sums[begin / kSumBlock];
  }
  return total;
}

double exp_sums(const float* x, int64_t n, float max, float scale, const float* next,
                float* weights, double* sums) {
  return weights == nullptr ? sum_weights<false>(x, n, max, scale, next, weights, sums)
                            : sum_weights<true>(x, n, max, scale, next, weights, sums);
}

void exp_values(const float* x, int64_t n, float max, float scale, float* out) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vmax = hn::Set(d, max), vscale = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(weight(d, hn::LoadU(d, x + i), vmax, vscale), d, out + i);
  if (i < n)
    hn::StoreN(weight(d, load(d, x + i, n - i), vmax, vscale), d, out + i,
               static_cast<size_t>(n - i));
}

int64_t collect(const float* x, int64_t n, float low, float high, int32_t* ids, float* values) {
  const D d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlow = hn::Set(d, low), vhigh = hn::Set(d, high);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += lanes) {
    const auto v = load(d, x + i, n - i);
    auto keep = hn::And(hn::Ge(v, vlow), hn::Lt(v, vhigh));
    if (i + lanes > n) keep = hn::And(keep, hn::FirstN(d, static_cast<size_t>(n - i)));
    if (hn::AllFalse(d, keep)) continue;
    // Compressed in a register: compressing stores are microcoded on Zen 4.
    hn::StoreU(hn::Compress(v, keep), d, values + count);
    hn::StoreU(hn::Compress(hn::Iota(di, static_cast<int32_t>(i)), hn::RebindMask(di, keep)), di,
               ids + count);
    count += static_cast<int64_t>(hn::CountTrue(d, keep));
  }
  return count;
}

constexpr int64_t kTailBlock = 1024;  // summed in float32: adding up the lanes takes 15 cycles

void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    Tail* tails) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto low0 = hn::Set(d, lows[0]), low1 = hn::Set(d, lows[1]), low2 = hn::Set(d, lows[2]);
  for (int j = 0; j < kNumTails; ++j) tails[j] = {0, 0};
  for (int64_t begin = 0; begin < n; begin += kTailBlock) {
    const int64_t end = std::min(begin + kTailBlock, n);
    auto sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0;
    size_t count0 = 0, count1 = 0, count2 = 0;
    for (int64_t i = begin; i < end; i += lanes) {
      const auto v = load(d, x + i, end - i);
      const auto w = end - i >= lanes ? hn::LoadU(d, weights + i)
                                      : hn::LoadN(d, weights + i, static_cast<size_t>(end - i));
      const auto keep0 = hn::Ge(v, low0), keep1 = hn::Ge(v, low1), keep2 = hn::Ge(v, low2);
      sum0 = hn::Add(sum0, hn::IfThenElseZero(keep0, w));
      sum1 = hn::Add(sum1, hn::IfThenElseZero(keep1, w));
      sum2 = hn::Add(sum2, hn::IfThenElseZero(keep2, w));
      count0 += hn::CountTrue(d, keep0);
      count1 += hn::CountTrue(d, keep1);
      count2 += hn::CountTrue(d, keep2);
    }
    tails[0].count += static_cast<int64_t>(count0);
    tails[1].count += static_cast<int64_t>(count1);
    tails[2].count += static_cast<int64_t>(count2);
    tails[0].mass += hn::ReduceSum(d, sum0);
    tails[1].mass += hn::ReduceSum(d, sum1);
    tails[2].mass += hn::ReduceSum(d, sum2);
  }
}

double keep_weights(const float* x, int64_t n, float last, float min_weight, float* weights,
                    double* sums) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlast = hn::Set(d, last), vmin = hn::Set(d, min_weight);
  const auto kept = [&](V v, V w) HWY_ATTR {
    return hn::IfThenElseZero(hn::And(hn::Ge(v, vlast), hn::Ge(w, vmin)), w);
  };
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum = hn::Zero(d);
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto w = kept(hn::LoadU(d, x + i), hn::LoadU(d, weights + i));
      hn::StoreU(w, d, weights + i);
      sum = hn::Add(sum, w);
    }
    if (i < end) {
      const auto count = static_cast<size_t>(end - i);
      const auto w = kept(load(d, x + i, end - i), hn::LoadN(d, weights + i, count));
      hn::StoreN(w, d, weights + i, count);
      sum = hn::Add(sum, w);  // lanes beyond count are 0
    }
    sums[begin / kSumBlock] = hn::ReduceSum(d, sum);
    total += sums[begin / kSumBlock];
  }
  return total;
}

void mask_row(const uint32_t* allowed, int64_t n, float* x) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto negative = hn::Set(d, kNegativeInfinity);
  const auto bit = hn::Shl(hn::Set(du, 1), hn::And(hn::Iota(du, 0), hn::Set(du, 31)));
  int64_t i = 0;
  for (; i + lanes <= n && lanes <= 32; i += lanes) {  // lanes divides 32: one word holds a vector
    const auto word = hn::Set(du, allowed[i / 32] >> (i % 32));
    const auto set = hn::RebindMask(d, hn::TestBit(word, bit));
    hn::StoreU(hn::IfThenElse(set, hn::LoadU(d, x + i), negative), d, x + i);
  }
  for (; i < n; ++i)
    if ((allowed[i / 32] >> (i % 32) & 1) == 0) x[i] = kNegativeInfinity;
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(row_max);
HWY_EXPORT(first_of);
HWY_EXPORT(block_maxima);
HWY_EXPORT(exp_sums);
HWY_EXPORT(exp_values);
HWY_EXPORT(collect);
HWY_EXPORT(tails_at_least);
HWY_EXPORT(keep_weights);
HWY_EXPORT(mask_row);

RowMax row_max(const float* x, int64_t n, float* group_maxima, int64_t& num_groups) {
  return HWY_DYNAMIC_DISPATCH(row_max)(x, n, group_maxima, num_groups);
}

int32_t first_of(const float* x, int64_t n, float value) {
  return HWY_DYNAMIC_DISPATCH(first_of)(x, n, value);
}

void block_maxima(const float* x, int64_t n, float* maxima) {
  HWY_DYNAMIC_DISPATCH(block_maxima)(x, n, maxima);
}

double exp_sums(const float* x, int64_t n, float max, float scale, const float* next,
                float* weights, double* sums) {
  return HWY_DYNAMIC_DISPATCH(exp_sums)(x, n, max, scale, next, weights, sums);
}

void exp_values(const float* x, int64_t n, float max, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(exp_values)(x, n, max, scale, out);
}

int64_t collect(const float* x, int64_t n, float low, float high, int32_t* ids, float* values) {
  return HWY_DYNAMIC_DISPATCH(collect)(x, n, low, high, ids, values);
}

void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    Tail* tails) {
  HWY_DYNAMIC_DISPATCH(tails_at_least)(x, weights, n, lows, tails);
}

double keep_weights(const float* x, int64_t n, float last, float min_weight, float* weights,
                    double* sums) {
  return HWY_DYNAMIC_DISPATCH(keep_weights)(x, n, last, min_weight, weights, sums);
}

void mask_row(const uint32_t* allowed, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(mask_row)(allowed, n, x);
}

}  // namespace miniinfer::cpu
#endif
