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
#include "ops/cpu/sampling-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// One comparison for two vectors.
template <class V>
HWY_INLINE auto either_nan(V a, V b) {
#if HWY_TARGET == HWY_AVX3
  return hn::Mask<hn::DFromV<V>>{_mm512_cmp_ps_mask(a.raw, b.raw, _CMP_UNORD_Q)};
#else
  return hn::Or(hn::IsNaN(a), hn::IsNaN(b));
#endif
}

RowMax row_max(const float* x, int64_t n, float* group_maxima, int64_t& num_groups) {
  const hn::CappedTag<float, kMaxGroups / 4> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  // Four chains: one maximum waits for the other, and a pass over a row in cache would take twice
  // as long.
  auto max0 = hn::Set(d, kNegativeInfinity), max1 = max0, max2 = max0, max3 = max0;
  auto unordered = hn::FirstN(d, 0);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    const auto v0 = hn::LoadU(d, x + i), v1 = hn::LoadU(d, x + i + lanes);
    const auto v2 = hn::LoadU(d, x + i + 2 * lanes), v3 = hn::LoadU(d, x + i + 3 * lanes);
    unordered = hn::Or(unordered, hn::Or(either_nan(v0, v1), either_nan(v2, v3)));
    max0 = hn::Max(max0, v0);
    max1 = hn::Max(max1, v1);
    max2 = hn::Max(max2, v2);
    max3 = hn::Max(max3, v3);
  }
  for (; i < n; i += lanes) {
    const auto v = load(d, x + i, n - i);
    unordered = hn::Or(unordered, either_nan(v, v));
    max0 = hn::Max(max0, v);
  }
  hn::StoreU(max0, d, group_maxima);
  hn::StoreU(max1, d, group_maxima + lanes);
  hn::StoreU(max2, d, group_maxima + 2 * lanes);
  hn::StoreU(max3, d, group_maxima + 3 * lanes);
  num_groups = 4 * lanes;
  const float max = hn::ReduceMax(d, hn::Max(hn::Max(max0, max1), hn::Max(max2, max3)));
  return {max, hn::AllFalse(d, unordered) && max < std::numeric_limits<float>::infinity()};
}

int32_t first_of(const float* x, int64_t n, float value) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto wanted = hn::Set(d, value);
  int64_t begin = 0;
  for (; begin + 4 * lanes <= n; begin += 4 * lanes) {
    hn::Mask<D> found[4];
    for (int j = 0; j < 4; ++j) found[j] = hn::Eq(hn::LoadU(d, x + begin + j * lanes), wanted);
    if (!hn::AllFalse(d, hn::Or(hn::Or(found[0], found[1]), hn::Or(found[2], found[3])))) break;
  }
  for (int64_t i = begin; i < n; i += lanes) {
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

float bound_of_top(const float* maxima, int64_t count, int64_t k) {
  // Halved so often, the range of the bound lets a few more pass than the k-th largest would; to
  // find that takes longer than to look at them.
  constexpr int kHalvings = 7;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto lowest = hn::Set(d, std::numeric_limits<float>::lowest());
  const auto highest = hn::Set(d, std::numeric_limits<float>::max());
  auto max = lowest, min = highest;
  for (int64_t i = 0; i < count; i += lanes) {
    const auto v = load(d, maxima + i, count - i);
    max = hn::Max(max, v);
    min = hn::Min(min, hn::IfThenElse(hn::Ge(v, lowest), v, highest));
  }
  float low = hn::ReduceMin(d, min), high = hn::ReduceMax(d, max);
  const auto reach = [&](float bound) HWY_ATTR {
    int64_t number = 0;
    for (int64_t i = 0; i < count; i += lanes)
      number += static_cast<int64_t>(
          hn::CountTrue(d, hn::Ge(load(d, maxima + i, count - i), hn::Set(d, bound))));
    return number;
  };
  if (reach(low) < k) return kNegativeInfinity;
  for (int i = 0; i < kHalvings; ++i) {
    const float middle = low / 2 + high / 2;
    (reach(middle) >= k ? low : high) = middle;
  }
  return low;
}

// Bit i of 64: whether x[i] >= low.
HWY_INLINE void mark(const float* x, V low, uint64_t* bits) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  if constexpr (hn::MaxLanes(D()) >= 8) {
    // By way of the memory: moving four masks to one register takes longer.
    auto* bytes = reinterpret_cast<uint8_t*>(bits);
    for (int64_t i = 0; i < 64; i += lanes)
      hn::StoreMaskBits(d, hn::Ge(hn::LoadU(d, x + i), low), bytes + i / 8);
  } else {
    *bits = 0;
    for (int64_t i = 0; i < 64; i += lanes)
      *bits |= bits_of(d, hn::Ge(hn::LoadU(d, x + i), low)) << i;
  }
}

// The ids of x[i] >= low, begin <= i < begin + n, n whole vectors.
HWY_INLINE int64_t compress(const float* x, int64_t begin, int64_t n, V low, int32_t* ids) {
  const D d;
  const DI di;
  int64_t count = 0;
  for (int64_t i = begin; i < begin + n; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto keep = hn::Ge(hn::LoadU(d, x + i), low);
    const auto id = hn::Iota(di, static_cast<int32_t>(i));
    // Compressed in a register: compressing stores are microcoded on Zen 4.
    hn::StoreU(hn::Compress(id, hn::RebindMask(di, keep)), di, ids + count);
    count += static_cast<int64_t>(hn::CountTrue(d, keep));
  }
  return count;
}

int64_t collect(const float* x, int64_t n, float low, const float* next, int32_t* ids,
                float* values) {
  // So many of 64 are taken without a look at how many there are: a loop that ends after one or two
  // costs a wrong guess, 15 cycles, for most of them.
  constexpr int kUnasked = 3;
  constexpr int64_t kWords = 16;  // so many later, their stores are done
  constexpr size_t kMany = 128;   // of 1024: one by one they take longer than vectors
  const D d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto vlow = hn::Set(d, low);
  int64_t count = 0;
  const auto take = [&](int64_t begin, uint64_t found) HWY_ATTR {
    const auto number = static_cast<int64_t>(hwy::PopCount(found));
    const auto one = [&](int64_t j) HWY_ATTR {
      const uint64_t bits = found | uint64_t{1} << 63;
      ids[count + j] = static_cast<int32_t>(
          begin + static_cast<int64_t>(hwy::Num0BitsBelowLS1Bit_Nonzero64(bits)));
      found &= found - 1;
    };
    for (int64_t j = 0; j < kUnasked; ++j) one(j);
    for (int64_t j = kUnasked; HWY_UNLIKELY(j < number); ++j) one(j);
    count += number;
  };
  HWY_ALIGN uint64_t words[kWords];
  int64_t begin = 0;
  for (; begin + 64 * kWords <= n; begin += 64 * kWords) {
    for (int64_t word = 0; word < kWords; ++word) {
      const int64_t i = begin + 64 * word;
      for (int64_t line = 0; line < 64; line += 16) prefetch(next + i + line);
      mark(x + i, vlow, words + word);
    }
    size_t found = 0;
    for (int64_t word = 0; word < kWords; ++word) found += hwy::PopCount(words[word]);
    if (found == 0) continue;
    if (found > kMany) {
      count += compress(x, begin, 64 * kWords, vlow, ids + count);
    } else {
      for (int64_t word = 0; word < kWords; ++word) take(begin + 64 * word, words[word]);
    }
  }
  for (; begin < n; begin += 64) {
    HWY_ALIGN float rest[64];
    const int64_t here = std::min<int64_t>(64, n - begin);
    std::fill(std::copy_n(x + begin, here, rest), rest + 64, kNegativeInfinity);
    uint64_t found = 0;
    mark(rest, vlow, &found);
    if (here < 64) found &= (uint64_t{1} << here) - 1;
    take(begin, found);
  }
  for (int64_t i = 0; i < count; i += lanes) {
    const auto here = hn::FirstN(d, static_cast<size_t>(std::min(lanes, count - i)));
    const auto id = hn::IfThenElseZero(hn::RebindMask(di, here), hn::LoadU(di, ids + i));
    hn::StoreU(hn::GatherIndex(d, x, id), d, values + i);
  }
  return count;
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
HWY_EXPORT(bound_of_top);
HWY_EXPORT(collect);
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

float bound_of_top(const float* maxima, int64_t count, int64_t k) {
  return HWY_DYNAMIC_DISPATCH(bound_of_top)(maxima, count, k);
}

int64_t collect(const float* x, int64_t n, float low, const float* next, int32_t* ids,
                float* values) {
  return HWY_DYNAMIC_DISPATCH(collect)(x, n, low, next, ids, values);
}

void mask_row(const uint32_t* allowed, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(mask_row)(allowed, n, x);
}

}  // namespace miniinfer::cpu
#endif
