#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

namespace miniinfer {

// A projection worth timing: out[m, n] = x[m, k] * weight[n, k]^T.
struct LinearCase {
  int64_t m, n, k;
  DType x, weight, out;
  bool cold;  // every run reads weights that are not cached
};

inline constexpr LinearCase kLinearCases[] = {
    // The projections of a 0.6B-parameter model (hidden 1024, intermediate 3072), one token to a
    // prompt.
    {1, 4096, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {1, 6144, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {1, 1024, 3072, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, true},
    {1, 151936, 1024, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, true},
    {4, 6144, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {16, 6144, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {16, 1024, 3072, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, true},
    {64, 6144, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {512, 4096, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {512, 6144, 1024, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {512, 1024, 2048, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, true},
    {512, 1024, 3072, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, true},
    // The same in the other dtype pairs.
    {1, 6144, 1024, DType::kFloat16, DType::kFloat16, DType::kFloat16, true},
    {1, 6144, 1024, DType::kFloat32, DType::kFloat32, DType::kFloat32, true},
    {1, 6144, 1024, DType::kFloat32, DType::kBFloat16, DType::kFloat32, true},
    {16, 6144, 1024, DType::kFloat16, DType::kFloat16, DType::kFloat16, true},
    {512, 6144, 1024, DType::kFloat16, DType::kFloat16, DType::kFloat16, true},
    {512, 6144, 1024, DType::kFloat32, DType::kBFloat16, DType::kFloat32, true},
    // A 6M-parameter model, whose weights stay in the caches.
    {1, 256, 256, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {1, 1536, 256, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {1, 4096, 256, DType::kBFloat16, DType::kBFloat16, DType::kFloat32, false},
    // Square products.
    {2048, 2048, 2048, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {2048, 2048, 2048, DType::kFloat16, DType::kFloat16, DType::kFloat16, false},
    {2048, 2048, 2048, DType::kFloat32, DType::kFloat32, DType::kFloat32, false},
};

// On a GPU: q/k/v, output, gate/up, down and logits of an 8B-parameter model (hidden 4096,
// intermediate 14336) for decode steps and prompts, and of a 0.6B-parameter one.
inline constexpr DType kBf16 = DType::kBFloat16;
inline constexpr LinearCase kCudaLinearCases[] = {
    {1, 6144, 4096, kBf16, kBf16, kBf16, true},
    {1, 4096, 4096, kBf16, kBf16, DType::kFloat32, true},
    {1, 28672, 4096, kBf16, kBf16, kBf16, true},
    {1, 4096, 14336, kBf16, kBf16, DType::kFloat32, true},
    {1, 128256, 4096, kBf16, kBf16, DType::kFloat32, true},
    {16, 6144, 4096, kBf16, kBf16, kBf16, true},
    {16, 28672, 4096, kBf16, kBf16, kBf16, true},
    {32, 6144, 4096, kBf16, kBf16, kBf16, true},
    {32, 4096, 4096, kBf16, kBf16, DType::kFloat32, true},
    {32, 28672, 4096, kBf16, kBf16, kBf16, true},
    {32, 4096, 14336, kBf16, kBf16, DType::kFloat32, true},
    {32, 128256, 4096, kBf16, kBf16, DType::kFloat32, true},
    {256, 6144, 4096, kBf16, kBf16, kBf16, true},
    {256, 4096, 4096, kBf16, kBf16, DType::kFloat32, true},
    {256, 28672, 4096, kBf16, kBf16, kBf16, true},
    {256, 4096, 14336, kBf16, kBf16, DType::kFloat32, true},
    {256, 128256, 4096, kBf16, kBf16, DType::kFloat32, true},
    {2048, 6144, 4096, kBf16, kBf16, kBf16, true},
    {2048, 4096, 4096, kBf16, kBf16, DType::kFloat32, true},
    {2048, 28672, 4096, kBf16, kBf16, kBf16, true},
    {2048, 4096, 14336, kBf16, kBf16, DType::kFloat32, true},
    {16384, 6144, 4096, kBf16, kBf16, kBf16, true},
    {16384, 4096, 4096, kBf16, kBf16, DType::kFloat32, true},
    {16384, 28672, 4096, kBf16, kBf16, kBf16, true},
    {16384, 4096, 14336, kBf16, kBf16, DType::kFloat32, true},
    {1, 4096, 1024, kBf16, kBf16, kBf16, true},
    {1, 6144, 1024, kBf16, kBf16, kBf16, true},
    {256, 4096, 1024, kBf16, kBf16, kBf16, true},
    {256, 6144, 1024, kBf16, kBf16, kBf16, true},
    {256, 1024, 3072, kBf16, kBf16, DType::kFloat32, true},
    {256, 151936, 1024, kBf16, kBf16, DType::kFloat32, true},
    // The other dtypes.
    {256, 6144, 4096, DType::kFloat16, DType::kFloat16, DType::kFloat16, true},
    {2048, 4096, 4096, DType::kFloat32, DType::kFloat32, DType::kFloat32, true},
    {256, 1024, 1024, DType::kFloat32, DType::kBFloat16, DType::kFloat32, true},
};

}  // namespace miniinfer
