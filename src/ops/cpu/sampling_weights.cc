#include <algorithm>
#include <limits>

#include "ops/cpu/sampling_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/sampling_weights.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// After Highway.
#include "ops/cpu/sampling-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3
// Bits of 2^(j / 32) as a float, less j in the place that j takes when a count of 32nds is shifted
// to the exponent.
HWY_ALIGN constexpr uint32_t kRoots[32] = {
    0x3F800000, 0x3F7ECD87, 0x3F7DAAC3, 0x3F7C980F, 0x3F7B95C2, 0x3F7AA43A, 0x3F79C3D3, 0x3F78F4F0,
    0x3F7837F0, 0x3F778D3A, 0x3F76F532, 0x3F767043, 0x3F75FED7, 0x3F75A15B, 0x3F75583F, 0x3F7523F6,
    0x3F7504F3, 0x3F74FBAF, 0x3F7508A4, 0x3F752C4D, 0x3F75672A, 0x3F75B9BE, 0x3F76248C, 0x3F76A81E,
    0x3F7744FD, 0x3F77FBB8, 0x3F78CCDF, 0x3F79B907, 0x3F7AC0C7, 0x3F7BE4BA, 0x3F7D257D, 0x3F7E83B3};
#endif

// x[i] = 2^(x[i] * scale) within 2e-7, exactly 1 at 0 and exactly 0 below `lowest` = -127 / scale;
// the exponent is at most 127; NaN stays NaN.
template <size_t N>
HWY_INLINE void exp2_of_products(D d, V scale, V lowest, V (&x)[N]) {
#if HWY_TARGET == HWY_AVX3
  // A table of 32 roots and two terms take 25 % less time than a polynomial of degree 6.
  const hn::RebindToUnsigned<D> du;
  const auto magic = hn::Set(d, 12582912.0F / 32);  // sums are multiples of 1 / 32
  const auto roots0 = hn::Load(du, kRoots), roots1 = hn::Load(du, kRoots + 16);
  V shifted[N];
  for (size_t i = 0; i < N; ++i) x[i] = max_with(lowest, x[i]);
  for (size_t i = 0; i < N; ++i) shifted[i] = hn::MulAdd(x[i], scale, magic);
  for (size_t i = 0; i < N; ++i) x[i] = hn::MulSub(x[i], scale, hn::Sub(shifted[i], magic));
  for (size_t i = 0; i < N; ++i) {
    const auto bits = hn::BitCast(du, shifted[i]);
    const auto root = hn::TwoTablesLookupLanes(roots0, roots1, hn::Indices512<uint32_t>{bits.raw});
    const auto power = hn::BitCast(d, hn::Add(root, hn::ShiftLeft<18>(bits)));
    const auto p = hn::MulAdd(x[i], hn::Set(d, 0.240226507F), hn::Set(d, 0.693157344F));
    x[i] = hn::MulAdd(hn::Mul(p, x[i]), power, power);
  }
#else
  (void)lowest;
  for (size_t i = 0; i < N; ++i) x[i] = hn::Mul(x[i], scale);
  exp2_nonpositive_of(d, x);
#endif
}

struct Exponent {
  V reference, scale, lowest;

  explicit Exponent(const Weighting& w)
      : reference(hn::Set(D(), w.reference)),
        scale(hn::Set(D(), w.scale)),
        lowest(hn::Set(D(), std::max(-127 / w.scale, std::numeric_limits<float>::lowest()))) {}
};

template <size_t N>
HWY_INLINE void weigh(D d, const Exponent& e, V (&x)[N]) {
  for (size_t i = 0; i < N; ++i) x[i] = hn::Sub(x[i], e.reference);
  exp2_of_products(d, e.scale, e.lowest, x);
}

HWY_INLINE V weight(D d, const Exponent& e, V x) {
  V one[1] = {x};
  weigh(d, e, one);
  return one[0];
}

constexpr int kTogether = 4;  // vectors

template <bool kStore, bool kMax>
HWY_INLINE double sum_weights(const float* x, int64_t n, const Weighting& weighting,
                              const float* next, float* weights, float* sums, float* max) {
  const D d;
  const hn::Repartition<double, D> dd;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Exponent e(weighting);
  auto max0 = hn::Set(d, kNegativeInfinity), max1 = max0;
  auto total0 = hn::Zero(dd), total1 = total0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = std::min(begin + kSumBlock, n);
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
    int64_t i = begin;
    for (; i + kTogether * lanes <= end; i += kTogether * lanes) {
      V w[kTogether];
      for (int j = 0; j < kTogether; ++j) {
        prefetch(next + i + j * lanes);
        w[j] = hn::LoadU(d, x + i + j * lanes);
      }
      if constexpr (kMax) {
        max0 = hn::Max(max0, hn::Max(w[0], w[1]));
        max1 = hn::Max(max1, hn::Max(w[2], w[3]));
      }
      weigh(d, e, w);
      if constexpr (kStore)
        for (int j = 0; j < kTogether; ++j) hn::StoreU(w[j], d, weights + i + j * lanes);
      sum0 = hn::Add(sum0, hn::Add(w[0], w[1]));
      sum1 = hn::Add(sum1, hn::Add(w[2], w[3]));
    }
    for (; i < end; i += lanes) {
      const auto v = load(d, x + i, end - i);
      if constexpr (kMax) max0 = hn::Max(max0, v);
      const auto w = weight(d, e, v);
      if constexpr (kStore) hn::StoreU(w, d, weights + i);
      sum0 = hn::Add(sum0, w);
    }
    // The lanes are added up only where the sum is asked for: that takes 30 cycles.
    const auto sum = hn::Add(sum0, sum1);
    hn::StoreU(sum, d, sums + begin / kSumBlock * kSumLanes);
    total0 = hn::Add(total0, hn::PromoteLowerTo(dd, sum));
    total1 = hn::Add(total1, hn::PromoteUpperTo(dd, sum));
  }
  if constexpr (kMax) *max = hn::ReduceMax(d, hn::Max(max0, max1));
  return hn::ReduceSum(dd, hn::Add(total0, total1));
}

double exp_sums(const float* x, int64_t n, const Weighting& weighting, const float* next,
                float* weights, float* sums) {
  return weights == nullptr
             ? sum_weights<false, false>(x, n, weighting, next, weights, sums, nullptr)
             : sum_weights<true, false>(x, n, weighting, next, weights, sums, nullptr);
}

double exp_sums_and_max(const float* x, int64_t n, const Weighting& weighting, const float* next,
                        float* weights, float* sums, float* max) {
  return weights == nullptr ? sum_weights<false, true>(x, n, weighting, next, weights, sums, max)
                            : sum_weights<true, true>(x, n, weighting, next, weights, sums, max);
}

int64_t find_block(const float* sums, int64_t blocks, double& target) {
  const D d;
  int64_t last = 0;
  double sum_of_last = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    const double sum = hn::ReduceSum(d, hn::LoadU(d, sums + block * kSumLanes));
    if (sum > target) return block;
    target -= sum;
    if (sum <= 0) continue;
    last = block;
    sum_of_last = sum;
  }
  target = sum_of_last;
  return last;
}

float largest_of_some(const float* x, int64_t n) {
  constexpr int64_t kSome = 8;  // vectors
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto max = hn::Set(d, kNegativeInfinity);
  if (n < kSome * lanes) {
    for (int64_t i = 0; i < n; i += lanes) max = hn::Max(max, load(d, x + i, n - i));
  } else {
    for (int64_t i = 0; i < kSome; ++i) max = hn::Max(max, hn::LoadU(d, x + i * (n / kSome)));
  }
  return hn::ReduceMax(d, max);
}

void exp_values(const float* x, int64_t n, const Weighting& weighting, float* out) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Exponent e(weighting);
  int64_t i = 0;
  for (; i + kTogether * lanes <= n; i += kTogether * lanes) {
    V w[kTogether];
    for (int j = 0; j < kTogether; ++j) w[j] = hn::LoadU(d, x + i + j * lanes);
    weigh(d, e, w);
    for (int j = 0; j < kTogether; ++j) hn::StoreU(w[j], d, out + i + j * lanes);
  }
  for (; i + lanes <= n; i += lanes) hn::StoreU(weight(d, e, hn::LoadU(d, x + i)), d, out + i);
  if (i < n)
    hn::StoreN(weight(d, e, load(d, x + i, n - i)), d, out + i, static_cast<size_t>(n - i));
}

// The first of at most Lanes(d) weights at which their sum exceeds the target, or -1.
HWY_INLINE int64_t first_beyond(V w, double target) {
  const D d;
  V sum = w;
  for (size_t shift = 1; shift < hn::Lanes(d); shift *= 2)
    sum = hn::Add(sum, hn::SlideUpLanes(d, sum, shift));
  // Sums of other orders of summation may differ where a weight is 0.
  const auto beyond = hn::Gt(sum, hn::Set(d, static_cast<float>(target)));
  return hn::FindFirstTrue(d, hn::And(beyond, hn::Gt(w, hn::Zero(d))));
}

int64_t find_in_block(const float* weights, int64_t n, double target) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN double sums[kSumBlock / 4];
  const auto part = [&](int64_t i) HWY_ATTR {
    return i + lanes <= n ? hn::LoadU(d, weights + i)
                          : hn::LoadN(d, weights + i, static_cast<size_t>(n - i));
  };
  for (int64_t i = 0; i < n; i += lanes) sums[i / lanes] = hn::ReduceSum(d, part(i));
  int64_t last = -1;
  for (int64_t i = 0; i < n; i += lanes) {
    const double sum = sums[i / lanes];
    if (sum > 0) last = i;
    if (sum > target) {
      const int64_t at = first_beyond(part(i), target);
      if (at >= 0) return i + at;
    }
    target -= sum;
  }
  // Rounding alone ran past the end: the last token that has weight.
  for (int64_t i = std::min(last + lanes, n) - 1; i > 0 && last >= 0; --i)
    if (weights[i] > 0) return i;
  return 0;
}

template <bool kLightest>
struct Keeper {
  V last, min_weight;

  explicit Keeper(const Kept& kept)
      : last(hn::Set(D(), kept.last)), min_weight(hn::Set(D(), kept.min_weight)) {}
  HWY_INLINE V operator()(V x, V weight) const {
    auto keep = hn::Ge(x, last);
    if constexpr (kLightest) keep = hn::And(keep, hn::Ge(weight, min_weight));
    return hn::IfThenElseZero(keep, weight);
  }
};

template <class Keeper>
HWY_INLINE double sum_block(const float* x, const float* weights, int64_t begin, int64_t end,
                            const Keeper& keeper) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sums[4];
  for (V& sum : sums) sum = hn::Zero(d);
  int64_t i = begin;
  for (; i + 4 * lanes <= end; i += 4 * lanes)
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t at = i + j * lanes;
      sums[j] = hn::Add(sums[j], keeper(hn::LoadU(d, x + at), hn::LoadU(d, weights + at)));
    }
  for (; i < end; i += lanes) {
    const int64_t count = std::min(lanes, end - i);
    const auto w = hn::LoadN(d, weights + i, static_cast<size_t>(count));
    sums[0] = hn::Add(sums[0], keeper(load(d, x + i, count), w));
  }
  return hn::ReduceSum(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

template <class Keeper>
HWY_INLINE int64_t find_in_kept(const float* x, const float* weights, int64_t n,
                                const Keeper& keeper, double target) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t found = 0;
  double sum_of_last = 0;
  bool beyond = false;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const double sum = sum_block(x, weights, begin, std::min(begin + kSumBlock, n), keeper);
    beyond = sum > target;
    if (sum > 0) found = begin;
    if (beyond) break;
    target -= sum;
    if (sum > 0) sum_of_last = sum;
  }
  // Rounding alone ran past the end: the last token that has weight.
  if (!beyond) target = sum_of_last;
  const int64_t count = std::min(kSumBlock, n - found);
  HWY_ALIGN float block[kSumBlock];
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t here = std::min(lanes, count - i);
    const auto w = hn::LoadN(d, weights + found + i, static_cast<size_t>(here));
    hn::StoreU(keeper(load(d, x + found + i, here), w), d, block + i);
  }
  return found + find_in_block(block, count, target);
}

double sum_kept(const float* x, const float* weights, int64_t n, const Kept& kept) {
  const Keeper<true> keeper(kept);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSumBlock)
    total += sum_block(x, weights, begin, std::min(begin + kSumBlock, n), keeper);
  return total;
}

int64_t find_kept(const float* x, const float* weights, int64_t n, const Kept& kept,
                  double target) {
  return kept.min_weight > 0 ? find_in_kept(x, weights, n, Keeper<true>(kept), target)
                             : find_in_kept(x, weights, n, Keeper<false>(kept), target);
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(largest_of_some);
HWY_EXPORT(exp_sums);
HWY_EXPORT(exp_sums_and_max);
HWY_EXPORT(exp_values);
HWY_EXPORT(find_block);
HWY_EXPORT(sum_kept);
HWY_EXPORT(find_kept);
HWY_EXPORT(find_in_block);

float largest_of_some(const float* x, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(largest_of_some)(x, n);
}

double exp_sums(const float* x, int64_t n, const Weighting& weighting, const float* next,
                float* weights, float* sums) {
  return HWY_DYNAMIC_DISPATCH(exp_sums)(x, n, weighting, next, weights, sums);
}

double exp_sums_and_max(const float* x, int64_t n, const Weighting& weighting, const float* next,
                        float* weights, float* sums, float* max) {
  return HWY_DYNAMIC_DISPATCH(exp_sums_and_max)(x, n, weighting, next, weights, sums, max);
}

void exp_values(const float* x, int64_t n, const Weighting& weighting, float* out) {
  HWY_DYNAMIC_DISPATCH(exp_values)(x, n, weighting, out);
}

int64_t find_block(const float* sums, int64_t blocks, double& target) {
  return HWY_DYNAMIC_DISPATCH(find_block)(sums, blocks, target);
}

double sum_kept(const float* x, const float* weights, int64_t n, const Kept& kept) {
  return HWY_DYNAMIC_DISPATCH(sum_kept)(x, weights, n, kept);
}

int64_t find_kept(const float* x, const float* weights, int64_t n, const Kept& kept,
                  double target) {
  return HWY_DYNAMIC_DISPATCH(find_kept)(x, weights, n, kept, target);
}

int64_t find_in_block(const float* weights, int64_t n, double target) {
  return HWY_DYNAMIC_DISPATCH(find_in_block)(weights, n, target);
}

}  // namespace miniinfer::cpu
#endif
