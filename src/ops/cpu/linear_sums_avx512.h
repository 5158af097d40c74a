#pragma once

// How the AVX-512 kernel adds up its accumulators. Only files compiled for that instruction set
// include this, and nothing here has linkage, so no other code can come to use it.
#include <cstdint>

#include <immintrin.h>

#define MI_UNROLL _Pragma("GCC unroll 32")
// A call that takes accumulators would put all of them in memory.
#define MI_INLINE [[gnu::always_inline]] inline

namespace miniinfer::cpu {
namespace {

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

// Of two rows: a quad holds two tokens.
template <int T>
MI_INLINE void store_pair_sums(const Tile<T, 2>& acc, float* sums, int64_t stride) {
  __m512 quads[4];
  MI_UNROLL
  for (int q = 0; q < 4; ++q) {
    const int t = 2 * q < T ? 2 * q : 0, u = 2 * q + 1 < T ? 2 * q + 1 : 0;
    quads[q] = reduce_quad(acc[t][0], acc[t][1], acc[u][0], acc[u][1]);
  }
  const __m512 four = reduce_lanes(quads[0], quads[1], quads[2], quads[3]);
  const __m128 lanes[4] = {_mm512_castps512_ps128(four), _mm512_extractf32x4_ps(four, 1),
                           _mm512_extractf32x4_ps(four, 2), _mm512_extractf32x4_ps(four, 3)};
  MI_UNROLL
  for (int t = 0; t < T; ++t) {
    auto* to = reinterpret_cast<__m64*>(sums + t * stride);
    if (t % 2 == 0)
      _mm_storel_pi(to, lanes[t / 2]);
    else
      _mm_storeh_pi(to, lanes[t / 2]);
  }
}

// Stores the sums of a tile. R is 2, 4, 8 or 16, or 1 for the rows left over; every shape adds in
// the same order.
template <int T, int R>
MI_INLINE void store_sums(const Tile<T, R>& acc, float* sums, int64_t stride) {
  if constexpr (R == 1) {
    MI_UNROLL
    for (int t = 0; t < T; ++t) {
      const __m512 zero = _mm512_setzero_ps();
      const __m512 quad = reduce_quad(acc[t][0], zero, zero, zero);
      sums[t * stride] = _mm512_cvtss_f32(reduce_lanes(quad, quad, quad, quad));
    }
  } else if constexpr (R == 2) {
    store_pair_sums<T>(acc, sums, stride);
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

}  // namespace
}  // namespace miniinfer::cpu
