// Compiled with AVX-512 BF16 enabled: nothing here may be an inline function that other files also
// use, so only intrinsics and plain data are included.
#include "ops/cpu/linear_avx512bf16.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

namespace miniinfer::cpu {
namespace {

constexpr int64_t kStep = 32;  // bfloat16 elements of a vector

// How far ahead each of one token's runs is fetched, in bytes. From memory 1 to 4 KiB are alike;
// from the last-level cache two threads read 230 GB/s so, 190 in one stream each and 223 in 16 rows
// side by side.
constexpr int64_t kRunAhead = 1024;

// Rows whose lines alternate where weights are kept, so that a tile reads one stream of them: from
// the second-level cache a twelfth faster than a stream a row.
constexpr int kKeptRows = 4;

#define MI_UNROLL _Pragma("GCC unroll 32")
// A call that takes accumulators would put all of them in memory.
#define MI_INLINE [[gnu::always_inline]] inline

template <int T, int R>
using Tile = __m512[T][R];

// Both reductions first add what lies two apart, of two vectors at once, with a blend in the place
// of a second shuffle: only two of four units shuffle.
MI_INLINE __m512 add_two_apart(__m512 a, __m512 b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_mask_blend_pd(0xaa, x, y)),
                       _mm512_castpd_ps(_mm512_shuffle_pd(x, y, 0x55)));
}

// Sums of four accumulators within each 128-bit lane: (l0 + l2) + (l1 + l3) of each.
MI_INLINE __m512 reduce_quad(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = add_two_apart(a, b), cd = add_two_apart(c, d);
  return _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd));
}

MI_INLINE __m512 add_lanes_two_apart(__m512 a, __m512 b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_mask_blend_pd(0xf0, x, y)),
                       _mm512_shuffle_f32x4(a, b, 0x4e));
}

// Adds the four 128-bit lanes of each vector, (0 + 2) + (1 + 3): lane i of the result belongs to
// vector i.
MI_INLINE __m512 reduce_lanes(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = add_lanes_two_apart(a, b), cd = add_lanes_two_apart(c, d);
  return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

// Stores the sums of a tile. R is 4, 8 or 16, or 1 for the rows left over; every shape adds in the
// same order.
template <int T, int R>
MI_INLINE void store_sums(const Tile<T, R>& acc, float* sums, int64_t stride) {
  if constexpr (R == 1) {
    MI_UNROLL
    for (int t = 0; t < T; ++t) {
      const __m512 zero = _mm512_setzero_ps();
      const __m512 quad = reduce_quad(acc[t][0], zero, zero, zero);
      sums[t * stride] = _mm512_cvtss_f32(reduce_lanes(quad, quad, quad, quad));
    }
  } else {
    constexpr int kQuads = T * R / 4;
    __m512 quads[(kQuads + 3) / 4 * 4];
    MI_UNROLL
    for (int q = 0; q < (kQuads + 3) / 4 * 4; ++q) {
      const int p = q < kQuads ? q : kQuads - 1;
      const int t = p / (R / 4), r = p % (R / 4) * 4;
      quads[q] = reduce_quad(acc[t][r], acc[t][r + 1], acc[t][r + 2], acc[t][r + 3]);
    }
    MI_UNROLL
    for (int q = 0; q < kQuads; q += 4) {
      const __m512 four = reduce_lanes(quads[q], quads[q + 1], quads[q + 2], quads[q + 3]);
      MI_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (q + i >= kQuads) break;
        const int t = (q + i) / (R / 4), r = (q + i) % (R / 4) * 4;
        const __m128 lane = i == 0   ? _mm512_castps512_ps128(four)
                            : i == 1 ? _mm512_extractf32x4_ps(four, 1)
                            : i == 2 ? _mm512_extractf32x4_ps(four, 2)
                                     : _mm512_extractf32x4_ps(four, 3);
        _mm_storeu_ps(sums + t * stride + r, lane);
      }
    }
  }
}

// Turns the lanes back by a lead: lane 0 of an accumulator belongs to the row's first two elements,
// as if the row had been read from its start.
template <int T, int R>
MI_INLINE void turn_lanes(int64_t lead, Tile<T, R>& acc) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // The permutation takes its indices modulo 16.
  const __m512i from = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(lead / 2)));
  MI_UNROLL
  for (int i = 0; i < T * R; ++i)
    acc[i / R][i % R] = _mm512_permutexvar_ps(from, acc[i / R][i % R]);
}

// The rows of a tile at some k, of which a step leaves kLines cache lines behind. Up to six are
// named by two pointers, the others a stride or two away, as addresses can say: so all stay in
// registers.
template <int N, int kLines = 1>
struct Rows {
  const char* low;
  const char* high;
  int64_t stride;
  Rows(const char* rows, int64_t row_stride)
      : low(rows), high(rows + 3 * row_stride), stride(row_stride) {}
  const char* operator[](int i) const {
    return N <= 6 && i >= 3 ? high + (i - 3) * stride : low + i * stride;
  }
  void advance() {
    low += 64 * kLines;
    high += 64 * kLines;
    // Or the compiler makes a pointer of every row again.
    if (N <= 6) asm volatile("" : "+r"(low), "+r"(high));
  }
};

template <int T, int R, bool kPartial, int kLines>
MI_INLINE void step(const Rows<T>& x, const Rows<R, kLines>& w, __mmask32 mask, Tile<T, R>& acc) {
  __m512i xs[T];
  MI_UNROLL
  for (int t = 0; t < T; ++t)
    xs[t] = kPartial ? _mm512_maskz_loadu_epi16(mask, x[t]) : _mm512_loadu_si512(x[t]);
  MI_UNROLL
  for (int r = 0; r < R; ++r) {
    const __m512i weight =
        kPartial ? _mm512_maskz_loadu_epi16(mask, w[r]) : _mm512_loadu_si512(w[r]);
    MI_UNROLL
    for (int t = 0; t < T; ++t)
      acc[t][r] = _mm512_dpbf16_ps(acc[t][r], (__m512bh)xs[t], (__m512bh)weight);
  }
}

// Where a row's line at k is kept.
MI_INLINE char* kept_line(const LinearBlock& b, int64_t row, int64_t k) {
  const int64_t lines = (b.k + kStep - 1) / kStep;
  return reinterpret_cast<char*>(b.kept) +
         64 * ((row / kKeptRows * lines + k / kStep) * kKeptRows + row % kKeptRows);
}

// Where one call of the kernel stands: x rows [t0, t0 + T) and k in [begin, end).
struct Pass {
  int64_t t0, begin, end;
  int64_t tile;  // counts the tiles of all token groups: each fetches other rows ahead
};

// Up to P rows of k elements that a tile fetches while it computes, one line of each a step.
template <int P>
struct Ahead {
  const char* row[P == 0 ? 1 : P];
  int64_t k;  // of the computation while the rows' first lines are fetched
};

template <int R, bool kKept>
MI_INLINE auto weight_rows(const LinearBlock& b, int64_t row, int64_t k) {
  if constexpr (kKept)
    return Rows<R, kKeptRows>(kept_line(b, row, k), 64);
  else
    return Rows<R>(static_cast<const char*>(b.weight) + row * b.weight_stride + 2 * k,
                   b.weight_stride);
}

template <int T, int R, int P, bool kKept>
MI_INLINE void multiply_tile(const LinearBlock& b, const Pass& pass, int64_t row,
                             const Ahead<P>& ahead) {
  Rows<T> x(static_cast<const char*>(b.x) + pass.t0 * b.x_stride + 2 * pass.begin, b.x_stride);
  auto w = weight_rows<R, kKept>(b, row, pass.begin);
  float* carry = b.carry + (pass.t0 * b.rows + row * T) * 16;
  Tile<T, R> acc;
  MI_UNROLL
  for (int i = 0; i < T * R; ++i)
    acc[i / R][i % R] = pass.begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(carry + i * 16);
  int64_t left = pass.end - pass.begin;
  if (b.lead != 0 && pass.begin == 0) {
    step<T, R, true>(x, w, ~uint32_t{0} << b.lead, acc);
    x.advance();
    w.advance();
    left -= kStep;
  }
  int64_t fetched = 2 * (pass.end - left - ahead.k);  // bytes
  for (; left >= kStep; left -= kStep, fetched += 2 * kStep) {
    step<T, R, false>(x, w, 0, acc);
    MI_UNROLL
    for (int p = 0; p < P; ++p) _mm_prefetch(ahead.row[p] + fetched, _MM_HINT_T0);
    x.advance();
    w.advance();
  }
  if (left > 0) step<T, R, true>(x, w, (uint32_t{1} << left) - 1, acc);
  if (pass.end == b.k) {
    if (b.lead != 0) turn_lanes<T, R>(b.lead, acc);
    return store_sums<T, R>(acc, b.sums + pass.t0 * b.sums_stride + row, b.sums_stride);
  }
  MI_UNROLL
  for (int i = 0; i < T * R; ++i) _mm512_store_ps(carry + i * 16, acc[i / R][i % R]);
}

// The next R rows of every run, one after the other; the runs side by side.
template <int R>
MI_INLINE void multiply_run_rows(const LinearBlock& b, int64_t row) {
  const char* x = static_cast<const char*>(b.x);
  const char* w = static_cast<const char*>(b.weight) + row * b.weight_stride;
  __m512 acc[kRuns][R];
  const int64_t whole = b.k / kStep * kStep;
  MI_UNROLL
  for (int r = 0; r < R; ++r, w += b.weight_stride) {
    Tile<1, kRuns> sums = {};
    Rows<1> from(x, 0);
    Rows<kRuns> weights(w, b.run_stride);
#pragma GCC unroll 2
    for (int64_t k = 0; k < whole; k += kStep) {
      MI_UNROLL
      for (int i = 0; i < kRuns; ++i) _mm_prefetch(weights[i] + kRunAhead, _MM_HINT_T0);
      step<1, kRuns, false>(from, weights, 0, sums);
      from.advance();
      weights.advance();
    }
    if (whole < b.k) step<1, kRuns, true>(from, weights, (uint32_t{1} << (b.k - whole)) - 1, sums);
    MI_UNROLL
    for (int i = 0; i < kRuns; ++i) acc[i][r] = sums[0][i];
  }
  MI_UNROLL
  for (int i = 0; i < kRuns; ++i) {
    const auto& tile = reinterpret_cast<const Tile<1, R>&>(acc[i]);
    store_sums<1, R>(tile, b.sums + i * b.run_sums + row, 0);
  }
}

void multiply_runs(const LinearBlock& b) {
  int64_t row = 0;
  for (; row + 4 <= b.rows; row += 4) multiply_run_rows<4>(b, row);
  for (; row < b.rows; ++row) multiply_run_rows<1>(b, row);
}

template <int T, int R, int P, bool kKept>
void multiply_rows(const LinearBlock& b, Pass& pass) {
  const char* next_x = static_cast<const char*>(b.next_x);
  const bool own_rows = b.fetch_by_blocks && pass.end < b.k;
  const char* next_w = static_cast<const char*>(own_rows ? b.weight : b.next_weight);
  if (own_rows) next_w += 2 * pass.end;
  const int64_t next_w_rows = own_rows ? b.rows : b.next_weight_rows;
  // The next x comes last: a second-level cache had to give it again to the next call's first tile,
  // was it fetched in this one's first.
  const int64_t x_slot = b.rows / R * P - b.next_x_rows;
  int64_t row = 0;
  for (; row + R <= b.rows; row += R) {
    Ahead<P> ahead;
    ahead.k = b.fetch_by_blocks ? pass.begin : 0;
    MI_UNROLL
    for (int p = 0; p < P; ++p) {
      const int64_t slot = pass.tile * P + p;
      ahead.row[p] = slot < next_w_rows ? next_w + slot * b.weight_stride
                     : b.next_x_rows > 0 && slot >= x_slot
                         ? next_x + (slot - x_slot) * b.next_x_stride
                         : static_cast<const char*>(b.x);  // nothing: a cached line
    }
    multiply_tile<T, R, P, kKept>(b, pass, row, ahead);
    ++pass.tile;
  }
  for (; row < b.rows; ++row) multiply_tile<T, 1, 0, kKept>(b, pass, row, {});
}

// `per_tile` is how many rows each tile has to fetch for the caller to find all of them.
template <int T, int R, bool kKept>
void multiply_tokens(const LinearBlock& b, Pass& pass, int64_t per_tile) {
  if (per_tile == 0) return multiply_rows<T, R, 0, kKept>(b, pass);
  if (per_tile == 1) return multiply_rows<T, R, 1, kKept>(b, pass);
  if (per_tile == 2) return multiply_rows<T, R, 2, kKept>(b, pass);
  if (per_tile <= 4) return multiply_rows<T, R, 4, kKept>(b, pass);
  multiply_rows<T, R, 8, kKept>(b, pass);
}

template <int T, int R>
void multiply_tokens(const LinearBlock& b, Pass& pass, int64_t per_tile) {
  if constexpr (R == kKeptRows)
    if (b.kept != nullptr) return multiply_tokens<T, R, true>(b, pass, per_tile);
  multiply_tokens<T, R, false>(b, pass, per_tile);
}

// Before any token uses them: a tile that kept its weights as it used them took longer by more than
// this copy does, twice as long with rows of 8 KiB.
void keep_weights(const LinearBlock& b) {
  for (int64_t row = 0; row < b.rows; ++row) {
    const char* from = static_cast<const char*>(b.weight) + row * b.weight_stride;
    char* to = kept_line(b, row, 0);
    int64_t left = b.k;
    for (; left >= kStep; left -= kStep, from += 2 * kStep, to += 64 * kKeptRows)
      _mm512_store_si512(to, _mm512_loadu_si512(from));
    if (left > 0) _mm512_store_si512(to, _mm512_maskz_loadu_epi16((uint32_t{1} << left) - 1, from));
  }
}

int64_t tiles_of(int64_t tokens, int64_t rows) {
  return rows / (tokens == 1 ? 16 : tokens == 2 ? 8 : 4);
}

}  // namespace

void multiply_avx512bf16(const LinearBlock& b) {
  if (b.runs > 1) return multiply_runs(b);
  if (b.kept != nullptr && !b.kept_ready) keep_weights(b);
  const int64_t groups = b.groups;
  const int64_t size = b.tokens / groups, larger = b.tokens % groups;
  int64_t tiles = 0;
  for (int64_t g = 0; g < groups; ++g) tiles += tiles_of(size + (g < larger ? 1 : 0), b.rows);
  const int64_t fetched = b.next_x_rows + b.next_weight_rows;
  const int64_t per_tile = tiles == 0 ? 0 : (fetched + tiles - 1) / tiles;
  Pass pass = {};
  do {
    // A lead's last part line goes with the block before it.
    const int64_t left = b.k - pass.begin - b.lead;
    pass.end = left <= b.block_k ? b.k : pass.begin + b.block_k;
    pass.t0 = pass.tile = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t tokens = size + (g < larger ? 1 : 0);
      switch (tokens) {
        case 1:
          multiply_tokens<1, 16>(b, pass, per_tile);
          break;
        case 2:
          multiply_tokens<2, 8>(b, pass, per_tile);
          break;
        case 3:
          multiply_tokens<3, 4>(b, pass, per_tile);
          break;
        case 4:
          multiply_tokens<4, 4>(b, pass, per_tile);
          break;
        case 5:
          multiply_tokens<5, 4>(b, pass, per_tile);
          break;
        case 6:
          multiply_tokens<6, 4>(b, pass, per_tile);
          break;
      }
      pass.t0 += tokens;
    }
    pass.begin = pass.end;
  } while (pass.begin < b.k);
}

}  // namespace miniinfer::cpu
#endif
