#pragma once

#include "miniinfer/context.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

struct RopeTableArgs {
  ConstTensorView positions;  // [T] int32
  // [R/2] float32, one row for all tokens, or [T, R/2], one each: radians per position.
  ConstTensorView inv_freq;
  float scale = 1.0F;  // multiplies cos and sin (YaRN's attention factor)
  TensorView cos;      // [T, R/2] float32
  TensorView sin;      // [T, R/2] float32
};

// cos/sin(position * inv_freq) * scale; the angle is rounded to float32 first, as the reference
// models do. Computed once a step, used by every layer. On a CPU only: CUDA has qkv_to_cache().
// Throws Error invalid_argument, unsupported (a CUDA context).
void rope_table(ExecContext& context, const RopeTableArgs& args);

struct RopeArgs {
  TensorView x;  // [T, heads, D] any float dtype, rotated in place; last axis contiguous
  ConstTensorView
      cos;  // [T, R/2] float32, R <= D even: the first R dimensions of a head are rotated
  ConstTensorView sin;  // [T, R/2] float32
};

// Rotary position embedding, half-split convention: (x[i], x[i + R/2]) is rotated by the angle of
// pair i. On a CPU only: CUDA has qkv_to_cache(). Throws Error invalid_argument, unsupported (a
// CUDA context). Source: Su et al., "RoFormer", 2021; the pairing is the one of Hugging Face
// checkpoints.
void rope(ExecContext& context, const RopeArgs& args);

}  // namespace miniinfer
