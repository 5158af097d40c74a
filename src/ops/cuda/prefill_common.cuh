#pragma once

// What the prefill kernels share: the task's keys, the mask, the online softmax and the output.

#include <cmath>
#include <numbers>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ops/cuda/attention_work.h"
#include "ops/cuda/prefill_attention.h"

namespace miniinfer::cuda {

struct PrefillDeviceParams {
  const void* q;
  void* out;
  const void* keys;
  const void* values;
  int32_t* work;
  float* partials;
  const int32_t* block_tables;
  int64_t block_table_stride;
  int64_t q_stride, out_stride;
  int num_blocks, num_kv_heads, head_dim;
  int group, pack;  // query heads of a key/value head; of a tile
  int sliding_window;
  float scale_log2;  // scale * log2(e)
};

inline PrefillDeviceParams prefill_device_params(const PrefillParams& p, int tile_rows) {
  const int group = p.num_heads / p.num_kv_heads;
  return {.q = p.q,
          .out = p.out,
          .keys = p.keys,
          .values = p.values,
          .work = p.work,
          .partials = p.partials,
          .block_tables = p.block_tables,
          .block_table_stride = p.block_table_stride,
          .q_stride = p.q_stride,
          .out_stride = p.out_stride,
          .num_blocks = static_cast<int>(p.num_blocks),
          .num_kv_heads = p.num_kv_heads,
          .head_dim = p.head_dim,
          .group = group,
          .pack = prefill_pack(group, tile_rows),
          .sliding_window = p.sliding_window,
          .scale_log2 = p.scale * std::numbers::log2e_v<float>};
}

__device__ inline PrefillTask load_prefill_task(const PrefillDeviceParams& p, int index) {
  const auto* tasks = reinterpret_cast<const int4*>(p.work + kWorkHeader);
  const int4 low = __ldg(tasks + 2 * index), high = __ldg(tasks + 2 * index + 1);
  return {low.x, low.y, low.z, low.w, high.x, high.y, high.z, 0};
}

__device__ inline int cut_pieces(const PrefillTask& task) {
  return task.cut & 255;
}
__device__ inline int cut_piece(const PrefillTask& task) {
  return task.cut >> 8 & 255;
}
__device__ inline int cut_first_partial(const PrefillTask& task) {
  return task.cut >> 16;
}

// The tiles of keys that a task looks at: multiples of the tile's keys from position 0, so that a
// row sums in the same order whatever its chunk.
struct KeyRange {
  int begin, end;              // keys
  int first_tile, tile_count;  // tile_count >= 1
};

__device__ inline KeyRange key_range(const PrefillTask& task, int sliding_window, int tile_keys) {
  KeyRange range;
  range.begin = sliding_window > 0 ? max(0, task.position - sliding_window + 1) : 0;
  range.end = task.position + task.rows;
  range.first_tile = range.begin / tile_keys;
  range.tile_count = (range.end + tile_keys - 1) / tile_keys - range.first_tile;
  return range;
}

// Keys that all of the task's rows from `first_row` to `last_row` see: tiles within need no mask.
struct SeenByAll {
  int begin, end;
  __device__ bool has(int first_key, int keys) const {
    return first_key >= begin && first_key + keys <= end;
  }
};

__device__ inline SeenByAll seen_by_all(const PrefillTask& task, const PrefillDeviceParams& p,
                                        int first_row, int last_row) {
  const int end = task.position + first_row / p.pack + 1;
  return {p.sliding_window > 0 ? task.position + last_row / p.pack - p.sliding_window + 1 : 0, end};
}

// Hides keys after a row's position or before its window, for the thread's rows `row` and row + 8
// of the task's tile. `first_key` is the position of s's first column.
template <int kKeys>
__device__ inline void mask_scores(float (&s)[kKeys / 2], const PrefillTask& task,
                                   const PrefillDeviceParams& p, int first_key, int row) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int position = task.position + (row + 8 * half) / p.pack;
    const int last = position - first_key - threadIdx.x % 4 * 2;
    const int first = p.sliding_window > 0 ? last - p.sliding_window + 1 : -kKeys;
#pragma unroll
    for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if (8 * j + i > last || 8 * j + i < first) s[4 * j + 2 * half + i] = -INFINITY;
  }
}

// The running softmax of a thread's two rows, lane / 4 of its warp's 16 and 8 below. Scores s[4j +
// i] lie as the tensor cores leave them: row i / 2, column 8j + 2 (lane % 4) + i % 2.
template <int kKeys>
struct Softmax {
  float max[2], sum[2];  // of the row, unscaled; of this thread's columns
  float factor[2];       // by which the last step shrank what was summed before

  // Scores to weights, in place.
  __device__ void step(float (&s)[kKeys / 2], float scale_log2) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float top = max[row];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
        top = fmaxf(top, fmaxf(s[4 * j + 2 * row], s[4 * j + 2 * row + 1]));
      top = fmaxf(top, __shfl_xor_sync(~0U, top, 1));
      top = fmaxf(top, __shfl_xor_sync(~0U, top, 2));
      // A row that has seen no key yet stays at zero weights: no infinity minus infinity.
      const float base = top == -INFINITY ? 0.0F : __fmul_rn(top, scale_log2);
      // Rounded as base was, so that a step without a new maximum scales by exactly 1: masked tiles
      // behind a row's last key leave its bits alone.
      factor[row] = exp2f_fast(__fmul_rn(max[row], scale_log2) - base);
      max[row] = top;
      float total = 0;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
        for (int i = 4 * j + 2 * row; i < 4 * j + 2 * row + 2; ++i) {
          s[i] = exp2f_fast(fmaf(s[i], scale_log2, -base));
          total += s[i];
        }
      sum[row] = fmaf(sum[row], factor[row], total);
    }
  }

  __device__ static float exp2f_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
};

}  // namespace miniinfer::cuda
