#pragma once

#include <cstdint>

namespace miniinfer {

// Independent accumulators: enough to cover the latency of a dot product (6 cycles at two a cycle)
// twice.
constexpr int kBf16DotChains = 24;

// Issues kBf16DotChains * iterations 512-bit bfloat16 dot products of 64 flops. Needs
// CpuFeatures::avx512_bf16.
float bf16_dot_loop(int64_t iterations);

}  // namespace miniinfer
