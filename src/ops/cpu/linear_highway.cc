#include "ops/cpu/linear_highway.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/linear_highway.cc"
#include "ops/cpu/highway_targets.h"
// After the targets.
#include <hwy/foreach_target.h>
// After Highway.
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

using D = FloatTag;
using V = FloatVec;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
constexpr int64_t kLineBytes = 64;

// Accumulators must leave room for operands: 24 of 32 registers, or 12 of AVX2's 16.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE2
constexpr int kTileTokens = 3;
#else
constexpr int kTileTokens = 6;
#endif
constexpr int kTileRows = 4;

template <int T, int R>
using Tile = V[T][R];

// Rows of a tile at some k, widened to float32 as they are read. All are named by two pointers, a
// stride or two away as addresses can say: so they stay in registers.
template <int N, typename T>
struct Rows {
  static_assert(N <= 6);
  const char* low;
  const char* high;
  int64_t stride;  // bytes

  HWY_INLINE Rows(const char* rows, int64_t row_stride)
      : low(rows), high(rows + 3 * row_stride), stride(row_stride) {}
  template <bool kPartial>
  HWY_INLINE V load(int i, size_t count) const {
    const auto* from =
        reinterpret_cast<const T*>(i < 3 ? low + i * stride : high + (i - 3) * stride);
    return kPartial ? load_float_n(D(), from, count) : load_float(D(), from);
  }
  HWY_INLINE void advance() {
    low += kLanes * sizeof(T);
    high += kLanes * sizeof(T);
    // Or the compiler makes a pointer of every row.
    asm volatile("" : "+r"(low), "+r"(high));
  }
};

// The same of float32, and each vector is kept as it is used: one stream of whole lines
// saves the later groups of tokens 3 % of rows 4 KiB apart and 12 % of rows 16 KiB apart. Rows of
// 16 bits are half as many lines: widening them each time takes nothing, and to keep them took 8 %.
template <int N>
struct KeptRows {
  Rows<N, float> rows;
  float* kept;

  template <bool kPartial>
  HWY_INLINE V load(int i, size_t count) const {
    const V value = rows.template load<kPartial>(i, count);
    hn::Store(value, D(), kept + i * kLanes);
    return value;
  }
  HWY_INLINE void advance() {
    rows.advance();
    kept += N * kLanes;
  }
};

// What KeptRows has kept.
template <int N>
struct PackedRows {
  const float* at;

  template <bool kPartial>
  HWY_INLINE V load(int i, size_t /*count*/) const {
    return hn::Load(D(), at + i * kLanes);
  }
  HWY_INLINE void advance() { at += N * kLanes; }
};

template <int T, int R, bool kPartial, typename Weights>
HWY_INLINE void multiply_step(const Rows<T, float>& x, const Weights& w, size_t count,
                              Tile<T, R>& acc) {
  V xs[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) xs[t] = x.template load<kPartial>(t, count);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const V weight = w.template load<kPartial>(r, count);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) acc[t][r] = hn::MulAdd(xs[t], weight, acc[t][r]);
  }
}

// Adds the vector's 128-bit blocks, halves first.
template <class DV>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> add_blocks(DV /*d*/, hn::Vec<DV> v) {
  if constexpr (hn::MaxLanes(DV()) == 4) {
    return v;
  } else {
    const hn::Half<DV> half;
    return add_blocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// The sums of four vectors: within blocks (l0 + l2) + (l1 + l3), then of the blocks.
HWY_INLINE hn::Vec<hn::FixedTag<float, 4>> reduce_four(V a, V b, V c, V e) {
  const D d;
  const hn::Repartition<uint64_t, D> pairs;
  const V ab = hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const V ce = hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto first = hn::BitCast(pairs, ab), second = hn::BitCast(pairs, ce);
  const V even = hn::BitCast(d, hn::InterleaveLower(pairs, first, second));
  const V odd = hn::BitCast(d, hn::InterleaveUpper(pairs, first, second));
  return add_blocks(d, hn::Add(even, odd));
}

template <int T, int R>
HWY_INLINE void store_sums(const Tile<T, R>& acc, float* sums, int64_t stride) {
  static_assert(R == 1 || R == 4);
  const hn::FixedTag<float, 4> quad;
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) {
    if constexpr (R == 1) {
      const V v = acc[t][0];
      sums[t * stride] = hn::GetLane(reduce_four(v, v, v, v));
    } else {
      hn::StoreU(reduce_four(acc[t][0], acc[t][1], acc[t][2], acc[t][3]), quad, sums + t * stride);
    }
  }
}

// What the caller wants next, as one range of which every step of every tile fetches the same part:
// memory answers few requests at once.
struct Ahead {
  const char* x;
  const char* weight;
  int64_t x_bytes, bytes;  // of x; of both
  int64_t stride;          // bytes of one fetch, at most a line
  int64_t at = 0;

  // From where a tile of so many fetches goes on; `nothing` when all has been.
  const char* take(int64_t fetches, const void* nothing) {
    const int64_t from = at;
    at += fetches * stride;
    if (from < x_bytes) return x + from;
    if (from < bytes) return weight + (from - x_bytes);
    return static_cast<const char*>(nothing);
  }
};

// How a tile comes by its weights: as they lie, the same and keeping them, or kept.
enum class Source { kRead, kKeep, kKept };

// One group of tokens, k in [begin, end).
struct Pass {
  int64_t t0, begin, end;
};

int64_t kept_stride(const LinearBlock& b) {
  return (b.k + kLanes - 1) / kLanes * kLanes;
}

template <int R, typename W, Source kSource>
HWY_INLINE auto weights_of(const LinearBlock& b, int64_t row, int64_t begin) {
  const auto read = [&]() HWY_ATTR {
    return Rows<R, W>(static_cast<const char*>(b.weight) + row * b.weight_stride +
                          begin * static_cast<int64_t>(sizeof(W)),
                      b.weight_stride);
  };
  float* kept = b.kept + row * kept_stride(b) + begin * R;
  if constexpr (kSource == Source::kRead) return read();
  if constexpr (kSource == Source::kKeep) return KeptRows<R>{read(), kept};
  if constexpr (kSource == Source::kKept) return PackedRows<R>{kept};
}

// Begins from the parked accumulators unless `begin` is 0, and parks them unless `end` is all of k.
template <int T, int R, typename W, Source kSource, int kLines>
HWY_INLINE void multiply_tile(const LinearBlock& b, const Pass& pass, int64_t row, Ahead& ahead) {
  const D d;
  Rows<T, float> x(static_cast<const char*>(b.x) + pass.t0 * b.x_stride +
                       pass.begin * static_cast<int64_t>(sizeof(float)),
                   b.x_stride);
  auto w = weights_of<R, W, kSource>(b, row, pass.begin);
  float* carry = b.carry + row * T * kLanes;
  Tile<T, R> acc;
#pragma GCC unroll 32
  for (int i = 0; i < T * R; ++i)
    acc[i / R][i % R] = pass.begin == 0 ? hn::Zero(d) : hn::Load(d, carry + i * kLanes);
  int64_t left = pass.end - pass.begin;
  // Kept weights pass through the first-level cache beside the x: what comes next would be in the
  // way.
  constexpr int kLocality = kSource == Source::kRead ? 3 : 2;
  const char* fetch = ahead.take(left / kLanes * kLines, x.low);
  for (; left >= kLanes; left -= kLanes) {
    multiply_step<T, R, false>(x, w, 0, acc);
#pragma GCC unroll 8
    for (int i = 0; i < kLines; ++i, fetch += ahead.stride) __builtin_prefetch(fetch, 0, kLocality);
    x.advance();
    w.advance();
  }
  if (left > 0) multiply_step<T, R, true>(x, w, static_cast<size_t>(left), acc);
  if (pass.end == b.k)
    return store_sums<T, R>(acc, b.sums + pass.t0 * b.sums_stride + row, b.sums_stride);
#pragma GCC unroll 32
  for (int i = 0; i < T * R; ++i) hn::Store(acc[i / R][i % R], d, carry + i * kLanes);
}

template <int T, typename W, Source kSource, int kLines>
void multiply_group(const LinearBlock& b, int64_t t0, Ahead& ahead) {
  Pass pass = {t0, 0, 0};
  do {
    pass.end = std::min(b.k, pass.begin + b.block_k);
    int64_t row = 0;
    for (; row + kTileRows <= b.rows; row += kTileRows)
      multiply_tile<T, kTileRows, W, kSource, kLines>(b, pass, row, ahead);
    for (; row < b.rows; ++row) multiply_tile<T, 1, W, kSource, 1>(b, pass, row, ahead);
    pass.begin = pass.end;
  } while (pass.begin < b.k);
}

template <typename W, Source kSource, int kLines>
void multiply_tokens(const LinearBlock& b, int64_t t0, int64_t tokens, Ahead& ahead) {
  switch (tokens) {
    case 1:
      return multiply_group<1, W, kSource, kLines>(b, t0, ahead);
    case 2:
      return multiply_group<2, W, kSource, kLines>(b, t0, ahead);
    case 3:
      return multiply_group<3, W, kSource, kLines>(b, t0, ahead);
#if HWY_TARGET != HWY_AVX2 && HWY_TARGET != HWY_SSE2
    case 4:
      return multiply_group<4, W, kSource, kLines>(b, t0, ahead);
    case 5:
      return multiply_group<5, W, kSource, kLines>(b, t0, ahead);
    case 6:
      return multiply_group<6, W, kSource, kLines>(b, t0, ahead);
#endif
  }
}

template <typename W, int kLines>
void multiply_groups(const LinearBlock& b, int64_t groups, Ahead& ahead) {
  for (int64_t g = 0, t0 = 0; g < groups; ++g) {
    const int64_t tokens = b.tokens / groups + (g < b.tokens % groups ? 1 : 0);
    if (b.kept == nullptr)
      multiply_tokens<W, Source::kRead, kLines>(b, t0, tokens, ahead);
    else if (g == 0 && !b.kept_ready)
      multiply_tokens<float, Source::kKeep, kLines>(b, t0, tokens, ahead);
    else
      multiply_tokens<float, Source::kKept, kLines>(b, t0, tokens, ahead);
    t0 += tokens;
  }
}

// One token, a row of each run at a time.
template <typename W>
void multiply_runs(const LinearBlock& b) {
  constexpr int64_t kLine = kLineBytes / static_cast<int64_t>(sizeof(W));
  constexpr int64_t kAhead = 16 * kLine;  // 1 to 4 KiB are alike
  const D d;
  const int64_t run_stride = b.run_stride / static_cast<int64_t>(sizeof(W));
  const float* x = static_cast<const float*>(b.x);
  for (int64_t row = 0; row < b.rows; ++row) {
    const W* w =
        static_cast<const W*>(b.weight) + row * (b.weight_stride / static_cast<int64_t>(sizeof(W)));
    V acc[kRuns];
    for (V& one : acc) one = hn::Zero(d);
    int64_t k = 0;
    for (; k + kLine <= b.k; k += kLine) {
#pragma GCC unroll 8
      for (int i = 0; i < kRuns; ++i) hwy::Prefetch(w + i * run_stride + k + kAhead);
#pragma GCC unroll 8
      for (int64_t lane = 0; lane < kLine; lane += kLanes) {
        const V xs = hn::LoadU(d, x + k + lane);
#pragma GCC unroll 8
        for (int i = 0; i < kRuns; ++i)
          acc[i] = hn::MulAdd(xs, load_float(d, w + i * run_stride + k + lane), acc[i]);
      }
    }
    for (; k < b.k; k += kLanes) {
      const int64_t count = std::min(b.k - k, kLanes);
      const V xs = load_part(d, x + k, count);
#pragma GCC unroll 8
      for (int i = 0; i < kRuns; ++i)
        acc[i] = hn::MulAdd(xs, load_part(d, w + i * run_stride + k, count), acc[i]);
    }
    alignas(16) float sums[kRuns];
    hn::Store(reduce_four(acc[0], acc[1], acc[2], acc[3]), hn::FixedTag<float, 4>(), sums);
    for (int i = 0; i < kRuns; ++i) b.sums[i * b.run_sums + row] = sums[i];
  }
}

template <typename W>
void multiply(const LinearBlock& b) {
  if (b.runs > 1) return multiply_runs<W>(b);
  const int64_t groups = (b.tokens + kTileTokens - 1) / kTileTokens;
  const int64_t x_bytes = b.next_x_rows * b.next_x_stride;
  Ahead ahead = {
      .x = static_cast<const char*>(b.next_x),
      .weight = static_cast<const char*>(b.next_weight),
      .x_bytes = x_bytes,
      .bytes = x_bytes + b.next_weight_rows * b.weight_stride,
  };
  const int64_t steps = groups * std::max<int64_t>(1, b.rows / kTileRows * (b.k / kLanes));
  const int64_t per_step = (ahead.bytes + steps - 1) / steps;
  ahead.stride = std::min(per_step <= kLineBytes ? per_step : (per_step + 1) / 2, kLineBytes);
  if (per_step <= kLineBytes)
    multiply_groups<W, 1>(b, groups, ahead);
  else
    multiply_groups<W, 2>(b, groups, ahead);
}

void multiply_f32(const LinearBlock& b) {
  multiply<float>(b);
}
void multiply_f16(const LinearBlock& b) {
  multiply<Float16>(b);
}
void multiply_bf16(const LinearBlock& b) {
  multiply<BFloat16>(b);
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace miniinfer::cpu {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f16);
HWY_EXPORT(multiply_bf16);

LinearKernel highway_linear_kernel(DType x, DType weight) {
  LinearKernel kernel = {
      .multiply = HWY_DYNAMIC_POINTER(multiply_bf16),
      .x_layout = x == DType::kFloat32 ? XLayout::kInPlace : XLayout::kFloat,
      .kept_size = weight == DType::kFloat32 ? sizeof(float) : 0,
  };
  if (weight == DType::kFloat32) kernel.multiply = HWY_DYNAMIC_POINTER(multiply_f32);
  if (weight == DType::kFloat16) kernel.multiply = HWY_DYNAMIC_POINTER(multiply_f16);
  return kernel;
}

}  // namespace miniinfer::cpu
#endif
