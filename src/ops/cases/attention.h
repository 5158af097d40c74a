#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

namespace miniinfer {

// A step's attention worth timing: `sequences` prompts of `context` cached tokens, of which the
// last `rows` attend.
struct AttentionCase {
  int sequences, rows, context;
  int heads, kv_heads, head_dim;
  DType cache;
  int window = 0;
};

inline constexpr AttentionCase kAttentionCases[] = {
    // A 0.6B-parameter model: 16 query heads on 8 key/value heads of 128.
    {1, 512, 512, 16, 8, 128, DType::kBFloat16},
    {1, 512, 4096, 16, 8, 128, DType::kBFloat16},
    {1, 512, 512, 16, 8, 128, DType::kFloat16},
    {1, 512, 512, 16, 8, 128, DType::kFloat32},
    {1, 1, 512, 16, 8, 128, DType::kBFloat16},
    {1, 1, 8192, 16, 8, 128, DType::kBFloat16},
    {16, 1, 512, 16, 8, 128, DType::kBFloat16},
    {16, 1, 4096, 16, 8, 128, DType::kBFloat16},
    {16, 1, 4096, 16, 8, 128, DType::kFloat16},
    {16, 1, 4096, 16, 8, 128, DType::kFloat32},
    // An 8B-parameter model, with and without a sliding window; one key/value head; as many as
    // query heads.
    {1, 512, 2048, 32, 8, 128, DType::kBFloat16},
    {1, 512, 2048, 32, 8, 128, DType::kBFloat16, 256},
    {16, 1, 4096, 32, 8, 128, DType::kBFloat16},
    {1, 1, 16384, 8, 1, 128, DType::kBFloat16},
    {1, 512, 512, 16, 16, 128, DType::kBFloat16},
    // A 6M-parameter model.
    {1, 1, 128, 8, 4, 32, DType::kBFloat16},
    {1, 200, 200, 8, 4, 32, DType::kBFloat16},
};

// The same on a CUDA device, where q and out are of the cache's dtype.
inline constexpr AttentionCase kDeviceAttentionCases[] = {
    // Prompts: the shape that attention kernels are compared by, then those of an 8B-parameter
    // model.
    {1, 16384, 16384, 16, 16, 128, DType::kBFloat16},
    {8, 2048, 2048, 32, 8, 128, DType::kBFloat16},
    {1, 2048, 2048, 32, 8, 128, DType::kBFloat16},
    {1, 128, 128, 32, 8, 128, DType::kBFloat16},
    {1, 512, 8192, 32, 8, 128, DType::kBFloat16},
    {1, 256, 32768, 32, 8, 128, DType::kBFloat16},
    {1, 20, 32768, 32, 8, 128, DType::kBFloat16},
    {1, 16384, 16384, 32, 8, 128, DType::kBFloat16, 4096},
    {1, 16384, 16384, 16, 16, 128, DType::kFloat16},
    {1, 16384, 16384, 32, 32, 64, DType::kBFloat16},
    {1, 16384, 16384, 16, 16, 80, DType::kBFloat16},
    {1, 16384, 16384, 16, 16, 96, DType::kBFloat16},
    {1, 16384, 16384, 16, 16, 192, DType::kBFloat16},
    {1, 16384, 16384, 8, 8, 256, DType::kBFloat16},
    {1, 4096, 4096, 16, 16, 112, DType::kBFloat16},  // the portable kernel
    // Running answers.
    {1, 1, 8192, 32, 8, 128, DType::kBFloat16},
    {64, 1, 4096, 32, 8, 128, DType::kBFloat16},
    {256, 1, 640, 32, 8, 128, DType::kBFloat16},
    {256, 1, 1024, 16, 8, 128, DType::kBFloat16},
};

// Storing `tokens` new keys and values, one after the other as in a prompt or each in another
// block.
struct KvWriteCase {
  int tokens, kv_heads, head_dim;
  DType from, cache;
  bool scattered;
};

inline constexpr KvWriteCase kKvWriteCases[] = {
    {1, 8, 128, DType::kFloat32, DType::kBFloat16, true},
    {64, 8, 128, DType::kFloat32, DType::kBFloat16, true},
    {512, 8, 128, DType::kFloat32, DType::kBFloat16, false},
    {512, 8, 128, DType::kBFloat16, DType::kBFloat16, false},
    {512, 8, 128, DType::kFloat32, DType::kFloat16, false},
    {512, 8, 128, DType::kFloat32, DType::kFloat32, false},
};

}  // namespace miniinfer
