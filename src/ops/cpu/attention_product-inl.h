// The two products of attention over the paged layout. Both multiply a broadcast pair (or element)
// of a row by a vector of the cache, so one multiply-accumulate serves both, for every cache dtype
// and instruction set.
#if defined(MINIINFER_OPS_CPU_ATTENTION_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIINFER_OPS_CPU_ATTENTION_PRODUCT_INL_H_
#undef MINIINFER_OPS_CPU_ATTENTION_PRODUCT_INL_H_
#else
#define MINIINFER_OPS_CPU_ATTENTION_PRODUCT_INL_H_
#endif

#include "ops/cpu/attention_task.h"
#include "ops/cpu/vec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace miniinfer::cpu::HWY_NAMESPACE {

// How a cache dtype is multiplied. kPair tokens or dimensions are interleaved in the cache; the
// row's side is stored as Left, kLefts of them for each step along the sum. Right spells out its
// constructors: those that g++ adds by itself are compiled for the baseline instruction set, and
// inlining NEON vectors of another one into them is an error.
template <typename T>
struct Product;

template <>
struct Product<float> {
  using Left = float;
  static constexpr int kPair = 1, kLefts = 1;
  template <class D>
  struct Right {
    hn::Vec<D> x;
    HWY_INLINE Right() {}
    HWY_INLINE explicit Right(hn::Vec<D> vector) : x(vector) {}
  };
  template <bool kFirstOnly, class D>
  static HWY_INLINE Right<D> load(D d, const float* from) {
    return Right<D>(hn::LoadU(d, from));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> mac(D d, const float* left, const Right<D>& right, hn::Vec<D> sum) {
    return hn::MulAdd(hn::Set(d, *left), right.x, sum);
  }
};

// 16-bit pairs widened to float32 in registers: even and odd elements apart.
template <typename T>
struct WideningProduct {
  using Left = float;
  static constexpr int kPair = 2, kLefts = 2;
  template <class D>
  struct Right {
    hn::Vec<D> even, odd;
    HWY_INLINE Right() {}
  };
  template <bool kFirstOnly, class D>
  static HWY_INLINE Right<D> load(D d, const T* from) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from));
    Right<D> right;
    if constexpr (std::is_same_v<T, BFloat16>) {
      right.even = hn::BitCast(d, hn::ShiftLeft<16>(bits));
      right.odd = hn::BitCast(d, hn::And(bits, hn::Set(du, 0xFFFF0000U)));
    } else {
      const hn::Rebind<uint16_t, D> d16;
      const hn::Rebind<hwy::float16_t, D> dh;
      right.even = hn::PromoteTo(d, hn::BitCast(dh, hn::TruncateTo(d16, bits)));
      right.odd = hn::PromoteTo(d, hn::BitCast(dh, hn::TruncateTo(d16, hn::ShiftRight<16>(bits))));
    }
    if constexpr (kFirstOnly) right.odd = hn::Zero(d);
    return right;
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> mac(D d, const float* left, const Right<D>& right, hn::Vec<D> sum) {
    sum = hn::MulAdd(hn::Set(d, left[0]), right.even, sum);
    return hn::MulAdd(hn::Set(d, left[1]), right.odd, sum);
  }
};

template <>
struct Product<Float16> : WideningProduct<Float16> {};

#if HWY_NATIVE_DOT_BF16
template <>
struct Product<BFloat16> {
  using Left = uint32_t;  // a pair of bfloat16
  static constexpr int kPair = 2, kLefts = 1;
  template <class D>
  struct Right {
    using Pairs = hn::Vec<hn::Repartition<hwy::bfloat16_t, D>>;
    Pairs pairs;
    HWY_INLINE Right() {}
    HWY_INLINE explicit Right(Pairs vector) : pairs(vector) {}
  };
  template <bool kFirstOnly, class D>
  static HWY_INLINE Right<D> load(D d, const BFloat16* from) {
    const hn::RebindToUnsigned<D> du;
    const hn::Repartition<hwy::bfloat16_t, D> db;
    auto bits = hn::LoadU(du, reinterpret_cast<const uint32_t*>(from));
    if constexpr (kFirstOnly) bits = hn::And(bits, hn::Set(du, 0xFFFFU));
    return Right<D>(hn::BitCast(db, bits));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> mac(D d, const uint32_t* left, const Right<D>& right,
                                   hn::Vec<D> sum) {
    const hn::Repartition<hwy::bfloat16_t, D> db;
    auto unused = hn::Zero(d);
    const auto pair = hn::BitCast(db, hn::Set(hn::RebindToUnsigned<D>(), *left));
    return hn::ReorderWidenMulAccumulate(d, pair, right.pairs, sum, unused);
  }
};
#else
template <>
struct Product<BFloat16> : WideningProduct<BFloat16> {};
#endif

// The tiles of a prompt's rows are 2 vectors wide: their sums fill most of 32 or 16 registers, and
// a step reads the fewest bytes of the cache, which lies in the second-level cache; 6 rows by 4
// vectors took 5 to 9 % longer. The few rows of a decoding step go in tiles as wide as possible.
constexpr bool kFewRegisters = HWY_TARGET == HWY_SSE2 || HWY_TARGET == HWY_AVX2;
constexpr int kTileRows = kFewRegisters ? 6 : 12;
constexpr int tile_vectors(int rows) {
  return rows == kTileRows || kFewRegisters ? 2 : 4;
}

// Tiles of fewer rows than this serve decoding, where memory is the limit: while they stream keys
// they fetch the chunk's values, and with the values the next chunk's keys, line for line (both lie
// in blocks of one size). The processor's prefetchers stop at the end of every 4 KiB block. Tiles
// of a prompt fetch one cache line a step into the second-level cache: more at once would hold up
// the tile's own reads.
constexpr int kPrefetchRows = 6;

// Where the scores of a tile of rows go, and which of them a row sees: tokens [first[r], limit[r])
// of the chunk. The others become -infinity, whatever they are.
struct ScoreRows {
  float* scores;  // [rows][kChunk]
  const float *first, *limit;
};

// The queries of a prompt's tile lie in runs of kQueryRun Lefts, row beside row: 12 rows are then
// addressed by one register and constants, where 12 registers are more than there are. Those of the
// other tiles lie row by row: at the end of each run the streams of a decoding step would rest.
constexpr int64_t kQueryRun = 64;

// scores[r][token + v] = q[r] . keys of the tokens of vector v, for R rows and NV vectors of
// tokens. `whole`: all rows see all of them. What to fetch meanwhile is ahead[v], or
// lines[step].
template <typename T, int R, int NV>
HWY_INLINE void score_tile(const typename Product<T>::Left* q, int64_t q_stride,
                           const T* const* keys, const T* const* ahead, const void* const* lines,
                           int64_t steps, const ScoreRows& rows, int64_t token, bool whole) {
  using P = Product<T>;
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  FloatVec sum[R][NV];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < NV; ++v) sum[r][v] = hn::Zero(d);
  }
  constexpr bool kRuns = R >= kPrefetchRows;
  const int64_t row_stride = kRuns ? kQueryRun : q_stride;
  const int64_t run_steps = kRuns ? kQueryRun / P::kLefts : steps;
  for (int64_t begin = 0; begin < steps; begin += run_steps, q += R * row_stride) {
    const int64_t end = HWY_MIN(begin + run_steps, steps);
    const typename P::Left* left = q;
    for (int64_t s = begin; s < end; ++s, left += P::kLefts) {
      typename P::template Right<FloatTag> key[NV];
#pragma GCC unroll 12
      for (int v = 0; v < NV; ++v) {
        key[v] = P::template load<false>(d, keys[v] + s * kBlockTokens * P::kPair);
        if constexpr (R < kPrefetchRows) hwy::Prefetch(ahead[v] + s * kBlockTokens * P::kPair);
      }
      if constexpr (R >= kPrefetchRows) __builtin_prefetch(lines[s], /*write=*/0, /*locality=*/2);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
        for (int v = 0; v < NV; ++v)
          sum[r][v] = P::mac(d, left + r * row_stride, key[v], sum[r][v]);
      }
    }
  }
  if (!whole) {
#pragma GCC unroll 12
    for (int v = 0; v < NV; ++v) {
      const auto index = hn::Iota(d, static_cast<float>(token + v * lanes));
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const auto seen = hn::And(hn::Ge(index, hn::Set(d, rows.first[r])),
                                  hn::Lt(index, hn::Set(d, rows.limit[r])));
        sum[r][v] = hn::IfThenElse(seen, sum[r][v], hn::Neg(hn::Inf(d)));
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < NV; ++v)
      hn::StoreU(sum[r][v], d, rows.scores + r * kChunk + token + v * lanes);
  }
}

// The tokens of one chunk that a tile of rows weights: values of block b at blocks[b], `tokens` of
// them in all. ahead[b] is what to fetch meanwhile.
template <typename T>
struct ValueChunk {
  const T* const* blocks;
  const T* const* ahead;
  int64_t tokens;
  int64_t head_dim;
};

// sum[r][v] += weights of one step times NV vectors of values.
template <typename T, bool kFirstOnly, int R, int NV, class D>
HWY_INLINE void value_step(D d, const typename Product<T>::Left* weights, int64_t weight_stride,
                           const T* from, const T* ahead, hn::Vec<D> (&sum)[R][NV]) {
  using P = Product<T>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  typename P::template Right<D> value[NV];
#pragma GCC unroll 12
  for (int v = 0; v < NV; ++v) {
    value[v] = P::template load<kFirstOnly>(d, from + v * lanes * P::kPair);
    if constexpr (R < kPrefetchRows) hwy::Prefetch(ahead + v * lanes * P::kPair);
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < NV; ++v)
      sum[r][v] = P::mac(d, weights + r * weight_stride, value[v], sum[r][v]);
  }
}

// out[r][columns] = alpha[r] * out[r][columns] + sum over tokens of weights[r][token] *
// values[token][columns]; without the first term, and without reading out, when `alpha` is null.
template <typename T, int R, int NV, class D>
HWY_INLINE void value_tile(D d, const typename Product<T>::Left* weights, int64_t weight_stride,
                           const ValueChunk<T>& chunk, int64_t column, const float* alpha,
                           float* out, int64_t out_stride) {
  using P = Product<T>;
  constexpr int64_t kBlockSteps = kBlockTokens / P::kPair;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t row = chunk.head_dim * P::kPair;
  hn::Vec<D> sum[R][NV];
  out += column;
  if (alpha == nullptr) {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
      for (int v = 0; v < NV; ++v) sum[r][v] = hn::Zero(d);
    }
  } else {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
      for (int v = 0; v < NV; ++v)
        sum[r][v] = hn::Mul(hn::Set(d, alpha[r]), hn::LoadU(d, out + r * out_stride + v * lanes));
    }
  }
  const T* const* block = chunk.blocks;
  const T* const* ahead_block = chunk.ahead;
  int64_t steps = chunk.tokens / P::kPair;
  const bool odd = chunk.tokens % P::kPair != 0;
  while (steps > 0 || odd) {
    const T* from = *block++ + column * P::kPair;
    const T* ahead = *ahead_block++ + column * P::kPair;
    const int64_t count = HWY_MIN(steps, kBlockSteps);
    for (int64_t s = 0; s < count; ++s, weights += P::kLefts)
      value_step<T, false>(d, weights, weight_stride, from + s * row, ahead + s * row, sum);
    steps -= count;
    if (odd && steps == 0 && count < kBlockSteps) {
      // The other token of the last pair lies past the context: its slot may hold anything, NaN
      // too.
      value_step<T, true>(d, weights, weight_stride, from + count * row, ahead + count * row, sum);
      break;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
    for (int v = 0; v < NV; ++v) hn::StoreU(sum[r][v], d, out + r * out_stride + v * lanes);
  }
}

}  // namespace miniinfer::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
