#pragma once

#include <cstdint>

namespace miniinfer::cuda {

// uniform_at() of base/random.h: Philox4x32-10 keyed by the seed, 53 bits of the counter's words.
__device__ __forceinline__ double uniform_at(uint64_t seed, uint64_t position) {
  auto key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  uint32_t c[4] = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = static_cast<uint64_t>(0xD2511F53U) * c[0];
    const uint64_t b = static_cast<uint64_t>(0xCD9E8D57U) * c[2];
    c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0;
    c[1] = static_cast<uint32_t>(b);
    c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1;
    c[3] = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  const uint64_t bits = static_cast<uint64_t>(c[1]) << 32 | c[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace miniinfer::cuda
