// Compiled with AVX-512 BF16 enabled: nothing here may be an inline function that other files also
// use.
#include "ops/bench/machine_peak_avx512bf16.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

namespace miniinfer {

float bf16_dot_loop(int64_t iterations) {
  __m512 sum[kBf16DotChains];
  for (__m512& s : sum) s = _mm512_setzero_ps();
  __m512i a = _mm512_setzero_si512(), b = a;
  for (int64_t i = 0; i < iterations; ++i) {
    asm volatile("" : "+v"(a), "+v"(b));  // so that the products are not hoisted out of the loop
#pragma GCC unroll 32
    for (__m512& s : sum) s = _mm512_dpbf16_ps(s, (__m512bh)a, (__m512bh)b);
  }
  float total = 0;
  for (__m512& s : sum) total += _mm512_cvtss_f32(s);
  return total;
}

}  // namespace miniinfer
#endif
