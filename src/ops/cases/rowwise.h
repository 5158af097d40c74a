#pragma once

#include <cstdint>

#include "miniinfer/ops/activation.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// The operators that work row by row: sizes and dtypes worth timing. A row of 256 is a 6M-parameter
// model's, one of 1024 a 0.6B-parameter model's; 4096 x 4096 is larger than any cache.
struct NormCase {
  int64_t rows, width;
  DType x, weight, out;
  bool residual;
};

inline constexpr NormCase kRmsNormCases[] = {
    {1, 256, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, true},
    {1, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {1, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, true},
    {512, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {512, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, true},
    {8192, 128, DType::kFloat32, DType::kBFloat16, DType::kFloat32, false},  // of queries and keys
    {4096, 4096, DType::kFloat32, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
};

inline constexpr NormCase kLayerNormCases[] = {
    {1, 256, DType::kFloat32, DType::kFloat32, DType::kFloat32, false},
    {512, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, true},
    {4096, 4096, DType::kFloat32, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
};

struct SoftmaxCase {
  int64_t rows, width;
  DType x, out;
  bool log;
};

inline constexpr SoftmaxCase kSoftmaxCases[] = {
    {1, 256, DType::kFloat32, DType::kFloat32, false},
    {1, 151936, DType::kFloat32, DType::kFloat32, false},
    {16, 151936, DType::kFloat32, DType::kFloat32, true},
    {4096, 4096, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, DType::kFloat32, DType::kFloat32, true},
    {4096, 4096, DType::kBFloat16, DType::kBFloat16, false},
};

struct ActivationCase {
  int64_t rows, width;
  Activation kind;
  DType x, out;
  bool gated;
};

inline constexpr ActivationCase kActivationCases[] = {
    {1, 768, Activation::kSilu, DType::kFloat32, DType::kBFloat16, true},
    {1, 3072, Activation::kSilu, DType::kFloat32, DType::kBFloat16, true},
    {512, 3072, Activation::kSilu, DType::kFloat32, DType::kBFloat16, true},
    {512, 3072, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {512, 3072, Activation::kGelu, DType::kFloat32, DType::kBFloat16, true},
    {4096, 4096, Activation::kSilu, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, Activation::kGelu, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, Activation::kGeluTanh, DType::kFloat32, DType::kFloat32, false},
    {4096, 4096, Activation::kRelu, DType::kFloat32, DType::kFloat32, false},
};

struct RopeCase {
  int64_t tokens, heads, head_dim;
  DType x;
};

inline constexpr RopeCase kRopeCases[] = {
    {1, 16, 128, DType::kFloat32},
    {512, 16, 128, DType::kFloat32},
    {512, 16, 128, DType::kBFloat16},
};

struct EmbeddingCase {
  int64_t tokens, rows, width;
  DType table, out;
};

inline constexpr EmbeddingCase kEmbeddingCases[] = {
    {1, 4096, 256, DType::kBFloat16, DType::kFloat32},
    {512, 151936, 1024, DType::kBFloat16, DType::kFloat32},
    {512, 151936, 1024, DType::kBFloat16, DType::kBFloat16},
};

// On a GPU: sizes beyond its caches, and the rows of an 8B-parameter model's step of 1 to 2048
// tokens, which stay in them.
inline constexpr NormCase kCudaRmsNormCases[] = {
    {8192, 4096, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {16384, 8192, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {8192, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {8192, 4096, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, true},
    {1, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {32, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {256, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {2048, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
    {256, 1024, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, false},
};

inline constexpr NormCase kCudaLayerNormCases[] = {
    {8192, 4096, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {16384, 8192, DType::kBFloat16, DType::kBFloat16, DType::kBFloat16, false},
    {256, 4096, DType::kFloat32, DType::kBFloat16, DType::kBFloat16, true},
};

inline constexpr SoftmaxCase kCudaSoftmaxCases[] = {
    {8192, 4096, DType::kBFloat16, DType::kBFloat16, false},
    {8192, 4096, DType::kFloat32, DType::kFloat32, true},
    {256, 128256, DType::kFloat32, DType::kFloat32, false},
};

inline constexpr ActivationCase kCudaActivationCases[] = {
    {8192, 4096, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {8192, 14336, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {1, 14336, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {32, 14336, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {256, 14336, Activation::kSilu, DType::kBFloat16, DType::kBFloat16, true},
    {8192, 4096, Activation::kGeluTanh, DType::kBFloat16, DType::kBFloat16, true},
};

inline constexpr EmbeddingCase kCudaEmbeddingCases[] = {
    {256, 32768, 4096, DType::kBFloat16, DType::kFloat32},
    {16384, 32768, 4096, DType::kBFloat16, DType::kFloat32},
};

// Moving a matrix: its transpose, or the same values in another dtype.
struct MoveCase {
  int64_t rows, width;
  DType x, out;
  bool transposed;
};

inline constexpr MoveCase kCudaMoveCases[] = {
    {8192, 4096, DType::kBFloat16, DType::kBFloat16, true},
    {8192, 8192, DType::kFloat32, DType::kFloat32, true},
    {8192, 4096, DType::kFloat32, DType::kBFloat16, false},
};

}  // namespace miniinfer
