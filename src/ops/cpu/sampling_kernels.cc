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
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

// The vector at x, lanes beyond `count` -infinity.
HWY_INLINE V load(D d, const float* x, int64_t count) {
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, x);
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)),
                        hn::LoadN(d, x, static_cast<size_t>(count)), hn::Set(d, kNegativeInfinity));
}

RowMax row_max(const float* x, int64_t n) {
  const D d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto max = hn::Set(d, kNegativeInfinity);
  auto index = hn::Zero(di);
  // Each lane keeps its first maximum, so that the lowest index among equal lanes is the lowest of
  // all.
  auto at = hn::Iota(di, 0);
  const auto step = hn::Set(di, static_cast<int32_t>(lanes));
  auto ordered = hn::FirstN(d, hn::Lanes(d));
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < n; i += lanes) {
    const auto v = load(d, x + i, n - i);
    const auto greater = hn::Gt(v, max);
    ordered = hn::And(ordered, hn::Lt(v, infinity));  // false for NaN too
    max = hn::IfThenElse(greater, v, max);
    index = hn::IfThenElse(hn::RebindMask(di, greater), at, index);
    at = hn::Add(at, step);
  }
  const float best = hn::ReduceMax(d, max);
  const auto is_best = hn::RebindMask(di, hn::Eq(max, hn::Set(d, best)));
  const auto none = hn::Set(di, std::numeric_limits<int32_t>::max());
  return {best, hn::ReduceMin(di, hn::IfThenElse(is_best, index, none)), hn::AllTrue(d, ordered)};
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
  return hn::Exp(d, hn::Mul(hn::Sub(x, max), scale));
}

double exp_sums(const float* x, int64_t n, float max, float scale, double* sums) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vmax = hn::Set(d, max), vscale = hn::Set(d, scale);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      sum0 = hn::Add(sum0, weight(d, hn::LoadU(d, x + i), vmax, vscale));
      sum1 = hn::Add(sum1, weight(d, hn::LoadU(d, x + i + lanes), vmax, vscale));
    }
    for (; i < end; i += lanes)
      sum0 = hn::Add(sum0, weight(d, load(d, x + i, end - i), vmax, vscale));
    sums[begin / kSumBlock] = hn::ReduceSum(d, hn::Add(sum0, sum1));
    total += sums[begin / kSumBlock];
  }
  return total;
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

Tail tail_at_least(const float* x, const float* weights, int64_t n, float low) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlow = hn::Set(d, low);
  Tail tail{0, 0};
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum = hn::Zero(d);
    size_t count = 0;
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto keep = hn::Ge(hn::LoadU(d, x + i), vlow);
      sum = hn::Add(sum, hn::IfThenElseZero(keep, hn::LoadU(d, weights + i)));
      count += hn::CountTrue(d, keep);
    }
    float rest = 0;
    for (; i < end; ++i) {
      if (x[i] < low) continue;
      rest += weights[i];
      ++count;
    }
    tail.mass += static_cast<double>(hn::ReduceSum(d, sum)) + rest;
    tail.count += static_cast<int64_t>(count);
  }
  return tail;
}

double keep_weights(const float* x, const int32_t* ids, int64_t n, float last, int32_t last_id,
                    float min_weight, float* weights, double* sums) {
  const D d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlast = hn::Set(d, last), vmin = hn::Set(d, min_weight);
  const auto vlast_id = hn::Set(di, last_id);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum = hn::Zero(d);
    for (int64_t i = begin; i < end; i += lanes) {
      const auto count = static_cast<size_t>(std::min(lanes, end - i));
      const auto v = hn::LoadN(d, x + i, count);
      const auto w = hn::LoadN(d, weights + i, count);
      const auto tie = hn::And(hn::Eq(v, vlast),
                               hn::RebindMask(d, hn::Le(hn::LoadN(di, ids + i, count), vlast_id)));
      const auto keep = hn::And(hn::Or(hn::Gt(v, vlast), tie), hn::Ge(w, vmin));
      const auto kept = hn::IfThenElseZero(keep, w);
      hn::StoreN(kept, d, weights + i, count);
      sum = hn::Add(sum, kept);  // lanes beyond count are 0
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
HWY_EXPORT(block_maxima);
HWY_EXPORT(exp_sums);
HWY_EXPORT(exp_values);
HWY_EXPORT(collect);
HWY_EXPORT(tail_at_least);
HWY_EXPORT(keep_weights);
HWY_EXPORT(mask_row);

RowMax row_max(const float* x, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(row_max)(x, n);
}

void block_maxima(const float* x, int64_t n, float* maxima) {
  HWY_DYNAMIC_DISPATCH(block_maxima)(x, n, maxima);
}

double exp_sums(const float* x, int64_t n, float max, float scale, double* sums) {
  return HWY_DYNAMIC_DISPATCH(exp_sums)(x, n, max, scale, sums);
}

void exp_values(const float* x, int64_t n, float max, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(exp_values)(x, n, max, scale, out);
}

int64_t collect(const float* x, int64_t n, float low, float high, int32_t* ids, float* values) {
  return HWY_DYNAMIC_DISPATCH(collect)(x, n, low, high, ids, values);
}

Tail tail_at_least(const float* x, const float* weights, int64_t n, float low) {
  return HWY_DYNAMIC_DISPATCH(tail_at_least)(x, weights, n, low);
}

double keep_weights(const float* x, const int32_t* ids, int64_t n, float last, int32_t last_id,
                    float min_weight, float* weights, double* sums) {
  return HWY_DYNAMIC_DISPATCH(keep_weights)(x, ids, n, last, last_id, min_weight, weights, sums);
}

void mask_row(const uint32_t* allowed, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(mask_row)(allowed, n, x);
}

}  // namespace miniinfer::cpu
#endif
