#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "miniinfer/context.h"
#include "miniinfer/ops/linear.h"

namespace miniinfer::cuda {

inline constexpr int kSkinnyMaxRows = 16;

inline constexpr int kSkinnyConsumers = 8;  // warps that multiply, in teams
// Elements of k of a stage for each warp of the team that works it off.
inline constexpr int kSkinnyShare = 128;
// Rows of a stage are half a turn of the banks apart, so that the 16-byte reads of two rows do not
// collide.
constexpr int skinny_row_bytes(int team) {
  return 2 * team * kSkinnyShare + 64;
}
inline constexpr int kSkinnyBarrierBytes = 512;

// Floats from one row of x to the next among a warp's sums: the lanes of a warp then write to
// different banks.
constexpr int skinny_sums(int tiles) {
  return 16 * tiles + 4;
}
// Of all warps' sums of `tiles` tiles of 16 weight rows and `columns` of 8 rows of x.
constexpr int skinny_sums_bytes(int tiles, int columns) {
  return kSkinnyConsumers * 8 * columns * skinny_sums(tiles) * 4;
}

// out[M, N] = x[M, K] weight[N, K]^T + bias for the few rows of a decode step, at the speed at
// which the weights can be read. With `gated` the weight is [2 N, K], N gate rows then N up rows,
// and out = silu(gate) * up.
struct SkinnyParams {
  const void* x = nullptr;         // [M, K] of `dtype`
  int64_t x_stride = 0;            // elements between rows, a multiple of 8
  const void* weight = nullptr;    // contiguous, of `dtype`
  const void* bias = nullptr;      // [N] of `bias_dtype`; null for none, and with `gated`
  void* out = nullptr;             // [M, N] of `out_dtype`
  int64_t out_stride = 0;          // elements between rows
  int m = 0;                       // 1 to kSkinnyMaxRows
  int n = 0;                       // a multiple of 8
  int k = 0;                       // a multiple of 8
  DType dtype = DType::kBFloat16;  // bfloat16 or float16
  DType bias_dtype = DType::kFloat32;
  DType out_dtype = DType::kBFloat16;
  bool accumulate = false;  // out += ; float32 out
  bool gated = false;
};

// How the rows of out's transpose are cut over thread blocks, and how deep each reads ahead.
struct SkinnyConfig {
  int block_rows = 0;  // columns of out a thread block makes, a multiple of 8
  int pass_rows = 0;   // of these at a time
  int tiles = 0;       // of 16 weight rows, that they fill
  int team = 0;        // warps that share a stage of team * kSkinnyShare elements of k
  int blocks = 0;
  int stages = 0;
  int shared_bytes = 0;
};

// Every multiprocessor gets an equal share, to 8 rows; stages fill what a block may have of shared
// memory, as far as that pays. Neither changes a sum: a row of out depends on its row of x and the
// weight alone. No blocks when `shared_bytes` is too little.
SkinnyConfig choose_skinny(int m, int n, int k, bool gated, int num_sms, int shared_bytes);

void skinny_gemm(const SkinnyParams& params, const SkinnyConfig& config, cudaStream_t stream);

// Queues linear()'s product when it is one for this kernel: up to kSkinnyMaxRows rows, both
// operands bfloat16 or both float16, sizes, strides and addresses in steps of 16 bytes, compute
// capability 9.0 or later. Else nothing is queued and the answer is false. Against cuBLASLt's best
// at one row, one product after another: 12.9 us to 17.0 (6144 x 4096), 9.2 to 13.6 (4096 x 4096),
// 28.0 to 32.6 (4096 x 14336).
bool skinny_linear(ExecContext& context, const LinearArgs& args);

}  // namespace miniinfer::cuda
