#pragma once

#include <cmath>
#include <cstdint>

#include "ops/cuda/common.cuh"
#include "ops/cuda/sampling_config.h"

// What sampling compares and adds up: keys in the order of logits, weights in exact units.
namespace miniinfer::cuda {

// Order of floats as unsigned integers; both zeros are one. NaN is kept out before.
__device__ __forceinline__ uint32_t ordered_key(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0F);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
__device__ __forceinline__ float from_ordered_key(uint32_t key) {
  return __uint_as_float(key & 0x80000000 ? key & 0x7fffffff : ~key);
}

// Most likely first, the lowest id among equals: larger is earlier.
__device__ __forceinline__ uint64_t packed_order(float x, int32_t id) {
  return static_cast<uint64_t>(ordered_key(x)) << 32 | ~static_cast<uint32_t>(id);
}

// e^(distance * scale) for distance <= 0, from the special function unit: within 3e-7 of itself,
// and the same for the same logit. `scale` is in two parts, times log2(e).
struct SamplingScale {
  float high = 1.44269502F, low = 1.92596303e-8F;

  __device__ __forceinline__ explicit SamplingScale(float scale) {
    const double exact = static_cast<double>(scale) * 1.4426950408889634;
    high = static_cast<float>(fmin(exact, 3.4e38));
    low = exact < 3.4e38 ? static_cast<float>(exact - static_cast<double>(high)) : 0.0F;
  }
  __device__ __forceinline__ float weight(float distance) const {
    float result;
    // The low part only where it is finite: 0 * infinity is no number.
    const float power = fmaf(distance, high, fmaxf(distance, -1e30F) * low);
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(power));
    return result;
  }
};

// A sum of up to 63 weights of at most 1 in units of 2^-45; what is smaller is cut off. 2^19 - 1
// weights stay below 2^64.
__device__ __forceinline__ uint64_t to_units(float weights) {
  const uint32_t bits = __float_as_uint(weights);
  const uint64_t mantissa = (bits & 0x7fffff) | 0x800000;  // of 0: shifted out
  return mantissa << 27 >> ::min(132U - (bits >> 23), 63U);
}

// The last token kept: its logit and, among equals, the highest id.
struct SamplingCut {
  float value = -INFINITY;
  int32_t id = INT32_MAX;
  // No branches: sixteen logits are in flight, a jump would wait for each.
  __device__ __forceinline__ bool keeps(float x, int32_t other_id) const {
    return static_cast<bool>(static_cast<int>(x > value) |
                             (static_cast<int>(x == value) & static_cast<int>(other_id <= id)));
  }
};

// The steps in which a histogram takes the keys of [low, high].
__device__ __forceinline__ int histogram_shift(uint32_t low, uint32_t high) {
  static_assert(kSamplingBins == 1 << 10);
  return ::max(32 - __clz(static_cast<int>(high - low)) - 10, 0);
}

// The sum over the lanes up to this one.
__device__ __forceinline__ uint64_t warp_scan(uint64_t value) {
#pragma unroll
  for (int offset = 1; offset < 32; offset <<= 1) {
    const uint64_t other = __shfl_up_sync(kFullWarp, value, offset);
    if (static_cast<int>(threadIdx.x % 32) >= offset) value += other;
  }
  return value;
}

struct SamplingTail {
  uint64_t mass = 0;
  uint32_t count = 0;
};

}  // namespace miniinfer::cuda
