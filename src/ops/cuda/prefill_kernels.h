#pragma once

// The kernels behind prefill_attention(), one a file.

#include "ops/cuda/prefill_attention.h"

namespace miniinfer::cuda {

// Rows of a task; 0 for head sizes that the Hopper kernel lacks.
int prefill_hopper_rows(int head_dim);
void launch_prefill_hopper(const PrefillParams& params, cudaStream_t stream);

// bfloat16 and float16 by mma.sync, any head size up to 256 in multiples of 8.
inline constexpr int kPrefillMmaRows = 64;
void launch_prefill_mma(const PrefillParams& params, cudaStream_t stream);

// float32 in plain multiply-adds: right, not fast.
inline constexpr int kPrefillFloat32Rows = 16;
void launch_prefill_float32(const PrefillParams& params, cudaStream_t stream);

}  // namespace miniinfer::cuda
