#include <algorithm>
#include <limits>

#include "ops/cpu/sampling_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/sampling_border.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After Highway.
#include "ops/cpu/sampling-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

constexpr int64_t kTailBlock = 1024;  // summed in float32: adding up the lanes takes 15 cycles

void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    double* tails) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V low[kNumTails];
  for (int j = 0; j < kNumTails; ++j) {
    low[j] = hn::Set(d, lows[j]);
    tails[j] = 0;
  }
  for (int64_t begin = 0; begin < n; begin += kTailBlock) {
    const int64_t end = std::min(begin + kTailBlock, n);
    V even[kNumTails], odd[kNumTails];  // each addition waits for the one before it in its chain
    for (int j = 0; j < kNumTails; ++j) even[j] = odd[j] = hn::Zero(d);
    const auto add = [&](V v, V w, V(&sums)[kNumTails]) HWY_ATTR {
      for (int j = 0; j < kNumTails; ++j)
        sums[j] = hn::MaskedAddOr(sums[j], hn::Ge(v, low[j]), sums[j], w);
    };
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      add(hn::LoadU(d, x + i), hn::LoadU(d, weights + i), even);
      add(hn::LoadU(d, x + i + lanes), hn::LoadU(d, weights + i + lanes), odd);
    }
    for (; i < end; i += lanes) {
      const int64_t count = std::min(lanes, end - i);
      add(load(d, x + i, count), hn::LoadN(d, weights + i, static_cast<size_t>(count)), even);
    }
    for (int j = 0; j < kNumTails; ++j) tails[j] += hn::ReduceSum(d, hn::Add(even[j], odd[j]));
  }
}

int64_t split(const float* x, const float* weights, int64_t n, float low, float high, float* inside,
              double* above) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlow = hn::Set(d, low), vhigh = hn::Set(d, high);
  int64_t count = 0;
  *above = 0;
  for (int64_t begin = 0; begin < n; begin += kTailBlock) {
    const int64_t end = std::min(begin + kTailBlock, n);
    auto even = hn::Zero(d), odd = even;  // each addition waits for the one before it in its chain
    const auto take = [&](V v, V w, hn::Mask<D> candidate, V& sum) HWY_ATTR {
      const auto higher = hn::Ge(v, vhigh);
      sum = hn::MaskedAddOr(sum, higher, sum, w);
      const auto keep = hn::AndNot(higher, candidate);
      // Compressed in a register: compressing stores are microcoded on Zen 4.
      hn::StoreU(hn::Compress(v, keep), d, inside + count);
      count += static_cast<int64_t>(hn::CountTrue(d, keep));
    };
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const auto v0 = hn::LoadU(d, x + i), v1 = hn::LoadU(d, x + i + lanes);
      take(v0, hn::LoadU(d, weights + i), hn::Ge(v0, vlow), even);
      take(v1, hn::LoadU(d, weights + i + lanes), hn::Ge(v1, vlow), odd);
    }
    for (; i < end; i += lanes) {
      const auto here = static_cast<size_t>(std::min(lanes, end - i));
      const auto v = load(d, x + i, end - i);
      const auto w = hn::LoadN(d, weights + i, here);
      take(v, w, hn::And(hn::FirstN(d, here), hn::Ge(v, vlow)), even);
    }
    *above += hn::ReduceSum(d, hn::Add(even, odd));
  }
  return count;
}

int64_t select(float* logits, int64_t n, float low, float high) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlow = hn::Set(d, low), vhigh = hn::Set(d, high);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += lanes) {
    const auto here = hn::FirstN(d, static_cast<size_t>(std::min(lanes, n - i)));
    const auto v = hn::LoadU(d, logits + i);
    const auto keep = hn::And(here, hn::And(hn::Ge(v, vlow), hn::Lt(v, vhigh)));
    hn::StoreU(hn::Compress(v, keep), d, logits + count);
    count += static_cast<int64_t>(hn::CountTrue(d, keep));
  }
  return count;
}

Bracket likely_bracket(const float* x, const float* weights, int64_t n, int64_t step,
                       const Bracket& all, const Weighting& weighting, float bottom, double below) {
  // So many bounds, one a lane, are looked at in one pass: some 300 logits take 100 ns. Narrowing
  // step by step has to wait for each answer.
  constexpr int kBounds = 32;
  // The variance of a sum of weights is at most that sum times the largest of them.
  constexpr float kDeviations = 0.8F;
  const hn::CappedTag<float, 16> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kVectors = kBounds / static_cast<int>(hn::MaxLanes(d));
  using V = hn::Vec<decltype(d)>;
  HWY_ALIGN float bounds[kBounds + 1], heaviest[kBounds];
  for (int j = 0; j < kBounds; ++j)
    bounds[j] = all.low + (all.high / kBounds - all.low / kBounds) * static_cast<float>(j);
  bounds[kBounds] = all.high;
  exp_values(bounds, kBounds, weighting, heaviest);

  V bound[kVectors], sum[kVectors], odd[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    bound[v] = hn::Load(d, bounds + v * lanes);
    sum[v] = odd[v] = hn::Zero(d);
  }
  const auto add = [&](int64_t i, V(&to)[kVectors]) HWY_ATTR {
    const auto logit = hn::Set(d, x[i]), weight = hn::Set(d, weights[i]);
    for (int v = 0; v < kVectors; ++v)
      to[v] = hn::MaskedAddOr(to[v], hn::Ge(logit, bound[v]), to[v], weight);
  };
  const auto vbottom = hn::Set(d, bottom);
  auto total = hn::Zero(d);
  for (int64_t i = 0; i + 16 <= n; i += 16 * step)
    for (int64_t j = i; j < i + 16; j += lanes) {
      const auto w = hn::LoadU(d, weights + j);
      total = hn::Add(total, hn::IfThenElseZero(hn::Ge(hn::LoadU(d, x + j), vbottom), w));
      for (int64_t lane = j; lane < j + lanes; lane += 2) {
        add(lane, sum);
        add(lane + 1, odd);
      }
    }
  // Where the sample has none of what weighs most, its largest logit is as far as it can tell.
  const float sampled = hn::ReduceSum(d, total), out = std::min(static_cast<float>(below), sampled);
  const auto need = hn::Set(d, std::max(sampled - out, std::numeric_limits<float>::min()));
  size_t reached = 0, missed = 0;
  for (int v = 0; v < kVectors; ++v) {
    sum[v] = hn::Add(sum[v], odd[v]);
    const auto variance = hn::Mul(hn::Load(d, heaviest + v * lanes), hn::Set(d, out));
    const auto error = hn::Mul(hn::Sqrt(variance), hn::Set(d, kDeviations));
    reached += hn::CountTrue(d, hn::Ge(hn::Sub(sum[v], error), need));
    missed += hn::CountTrue(d, hn::Lt(hn::Add(sum[v], error), need));
  }
  return {bounds[reached == 0 ? 0 : reached - 1], bounds[kBounds - missed]};
}

// Of each the sum of those before it in the order: all against all.
FewKept keep_few(const float* logits, const float* weights, int64_t count, float need) {
  const hn::CappedTag<float, 16> d;
  using V = hn::Vec<decltype(d)>;
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(d));
  constexpr int64_t kVectors = kFew / kLanes;
  V x[kVectors], index[kVectors], before[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) {
    x[v] = hn::LoadU(d, logits + v * kLanes);
    index[v] = hn::Iota(d, static_cast<float>(v * kLanes));
    before[v] = hn::Zero(d);
  }
  for (int64_t j = 0; j < count; ++j) {
    const auto other = hn::Set(d, logits[j]), weight = hn::Set(d, weights[j]);
    const auto place = hn::Set(d, static_cast<float>(j));
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto earlier = hn::And(hn::Eq(other, x[v]), hn::Gt(index[v], place));
      const auto first = hn::Or(hn::Gt(other, x[v]), earlier);
      before[v] = hn::MaskedAddOr(before[v], first, before[v], weight);
    }
  }
  const auto infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  auto last = infinity, sum = hn::Zero(d);
  for (int64_t v = 0; v < kVectors; ++v) {
    const auto here = hn::Lt(index[v], hn::Set(d, static_cast<float>(count)));
    const auto keep = hn::And(here, hn::Lt(before[v], hn::Set(d, need)));
    last = hn::Min(last, hn::IfThenElse(keep, x[v], infinity));
    sum = hn::Add(sum, hn::IfThenElseZero(keep, hn::LoadU(d, weights + v * kLanes)));
  }
  FewKept result{hn::ReduceMin(d, last), 0, true, hn::ReduceSum(d, sum)};
  last = hn::Set(d, result.last);
  for (int64_t v = 0; v < kVectors; ++v) {
    const auto here = hn::Lt(index[v], hn::Set(d, static_cast<float>(count)));
    const auto equal = hn::And(here, hn::Eq(x[v], last));
    const auto keep = hn::And(equal, hn::Lt(before[v], hn::Set(d, need)));
    result.equals += static_cast<int64_t>(hn::CountTrue(d, keep));
    result.all = result.all && hn::AllTrue(d, hn::Or(keep, hn::Not(equal)));
  }
  return result;
}

void drop_equals(const float* x, int64_t n, float value, int64_t count, float* weights) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, value);
  for (int64_t i = 0; i < n; i += lanes) {
    uint64_t equal = bits_of(d, hn::Eq(load(d, x + i, n - i), wanted));
    for (; equal != 0; equal &= equal - 1) {
      const auto lane = static_cast<int64_t>(hwy::Num0BitsBelowLS1Bit_Nonzero64(equal));
      if (--count < 0) weights[i + lane] = 0;
    }
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(tails_at_least);
HWY_EXPORT(split);
HWY_EXPORT(select);
HWY_EXPORT(likely_bracket);
HWY_EXPORT(keep_few);
HWY_EXPORT(drop_equals);

void tails_at_least(const float* x, const float* weights, int64_t n, const float* lows,
                    double* tails) {
  HWY_DYNAMIC_DISPATCH(tails_at_least)(x, weights, n, lows, tails);
}

int64_t split(const float* x, const float* weights, int64_t n, float low, float high, float* inside,
              double* above) {
  return HWY_DYNAMIC_DISPATCH(split)(x, weights, n, low, high, inside, above);
}

int64_t select(float* logits, int64_t n, float low, float high) {
  return HWY_DYNAMIC_DISPATCH(select)(logits, n, low, high);
}

Bracket likely_bracket(const float* x, const float* weights, int64_t n, int64_t step,
                       const Bracket& all, const Weighting& weighting, float bottom, double below) {
  return HWY_DYNAMIC_DISPATCH(likely_bracket)(x, weights, n, step, all, weighting, bottom, below);
}

FewKept keep_few(const float* logits, const float* weights, int64_t count, float need) {
  return HWY_DYNAMIC_DISPATCH(keep_few)(logits, weights, count, need);
}

void drop_equals(const float* x, int64_t n, float value, int64_t count, float* weights) {
  HWY_DYNAMIC_DISPATCH(drop_equals)(x, n, value, count, weights);
}

}  // namespace miniinfer::cpu
#endif
