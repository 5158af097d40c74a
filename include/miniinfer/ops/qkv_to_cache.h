#pragma once

#include "miniinfer/context.h"
#include "miniinfer/ops/attention.h"
#include "miniinfer/tensor.h"

namespace miniinfer {

// D is cache.head_dim. All tensors lie on the context's device.
struct QkvToCacheArgs {
  // [T, (num_heads + 2 * num_kv_heads) * D] any float dtype; rows contiguous, any row stride: the
  // heads of q, then of k, then of v.
  ConstTensorView qkv;
  int num_heads = 0;
  int num_kv_heads = 0;

  ConstTensorView q_norm;  // [D] any float dtype, with k_norm or not at all: each head's RMS norm
  ConstTensorView k_norm;  // [D]
  float eps = 1e-6F;       // of the norms; finite, >= 0

  // Rotation of the first R <= D dimensions, as rope() and rope_table() define it: either by
  // positions, inv_freq and rope_scale, or by tables; by neither where both are left out.
  ConstTensorView positions;  // [T] int32
  ConstTensorView inv_freq;   // [R/2] float32
  float rope_scale = 1.0F;
  ConstTensorView cos;  // [T, R/2] float32
  ConstTensorView sin;  // [T, R/2] float32

  ConstTensorView slot_mapping;  // [T] int32: block * block_size + offset; negative writes nothing
  PagedKvCache cache;            // in the device's layout
  TensorView q;                  // [T, num_heads, D] any float dtype; last axis contiguous
};

// Splits a step's fused projection: normalizes and rotates q and k in float32, stores k and v in
// their slots and q in its place, each rounded once. The same as rms_norm(), rope() and kv_write()
// one after the other, to rounding. Throws Error invalid_argument (shapes, dtypes; on a CPU a slot
// beyond the cache: on CUDA such a slot writes nothing), unsupported (on CUDA D above 256).
void qkv_to_cache(ExecContext& context, const QkvToCacheArgs& args);

// What qkv_to_cache() takes of the workspace for T tokens on a CPU, in bytes; nothing on CUDA.
size_t qkv_to_cache_workspace_bytes(int64_t tokens, int num_heads, int num_kv_heads, int head_dim);

}  // namespace miniinfer
