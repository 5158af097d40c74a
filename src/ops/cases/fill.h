#pragma once

#include <cstdint>

#include "miniinfer/tensor.h"

namespace miniinfer {

// Fills a float32, float16 or bfloat16 tensor (any strides) with uniform values of [-scale, scale),
// from the seed. About 200 million elements a second.
void fill_uniform(const TensorView& view, uint64_t seed, float scale = 1.0F);

// A new contiguous tensor of such values.
Tensor random_tensor(const Shape& shape, DType dtype, uint64_t seed, float scale = 1.0F);

// Fills a float tensor, gaps between its rows included, with NaN, so that an element an operator
// fails to write shows.
void poison(const TensorView& view);

}  // namespace miniinfer
