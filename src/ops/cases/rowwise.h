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

}  // namespace miniinfer
