#pragma once

// What gemm.cc and gemm_search.cc share.
#include <cstddef>
#include <utility>

#include "ops/cuda/gemm.h"

namespace miniinfer::cuda {

struct GemmState::Product {
  const CublasLt* lt = nullptr;
  LtMatmulDesc* desc = nullptr;
  LtMatrixLayout *weight = nullptr, *x = nullptr, *out = nullptr;
  LtAlgo algo{};
  bool possible = false;
  bool bias = false;

  Product() = default;
  Product(Product&& other) noexcept { *this = std::move(other); }
  Product& operator=(Product&& other) noexcept {
    std::swap(lt, other.lt);
    std::swap(desc, other.desc);
    std::swap(weight, other.weight);
    std::swap(x, other.x);
    std::swap(out, other.out);
    algo = other.algo;
    possible = other.possible;
    bias = other.bias;
    return *this;
  }
  ~Product() {
    if (lt == nullptr) return;
    for (LtMatrixLayout* layout : {weight, x, out})
      if (layout != nullptr) lt->MatrixLayoutDestroy(layout);
    if (desc != nullptr) lt->MatmulDescDestroy(desc);
  }
};

}  // namespace miniinfer::cuda
