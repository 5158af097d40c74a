// Attention over float32 caches, for parity with other implementations: a warp a query row, lanes
// over 32 keys for the scores and over the dimensions for the output, no reduced precision
// anywhere.

#include "ops/cuda/common.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/prefill_common.cuh"
#include "ops/cuda/prefill_kernels.h"

namespace miniinfer::cuda {
namespace {

constexpr int kWarps = 4, kMaxDim = 256;

__device__ float dot(const float* q, const float* k, int dim) {
  float sum = 0;
  for (int d = 0; d < dim; d += 4) {
    const float4 a = *reinterpret_cast<const float4*>(q + d);
    const float4 b = *reinterpret_cast<const float4*>(k + d);
    sum = fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, sum))));
  }
  return sum;
}

// One query row; `q` is the warp's own kMaxDim floats of shared memory.
__device__ void attend_row(const PrefillDeviceParams& p, const PrefillTask& task, int token,
                           int head, float* q) {
  const int lane = threadIdx.x % 32, position = task.position + token;
  const int first = p.sliding_window > 0 ? max(0, position - p.sliding_window + 1) : 0;
  const int32_t* table = p.block_tables + task.sequence * p.block_table_stride;
  const auto cached = [&](const void* cache, int key) {
    const int64_t block = int64_t{table[key / 16]} * p.num_kv_heads + head / p.group;
    return static_cast<const float*>(cache) + (block * 16 + key % 16) * p.head_dim;
  };
  const float* from =
      static_cast<const float*>(p.q) + (task.row + token) * p.q_stride + int64_t{head} * p.head_dim;
  for (int d = lane; d < p.head_dim; d += 32) q[d] = from[d];
  __syncwarp();
  float highest = -INFINITY, sum = 0, o[kMaxDim / 32] = {};
  for (int begin = first / 32 * 32; begin <= position; begin += 32) {
    const int key = begin + lane;
    const bool seen = key >= first && key <= position;
    const float score = seen ? dot(q, cached(p.keys, key), p.head_dim) * p.scale_log2 : -INFINITY;
    const float top = fmaxf(highest, warp_max(score));
    const float factor = exp2f(highest - top), weight = exp2f(score - top);
    highest = top;
    sum = fmaf(sum, factor, warp_sum(weight));
    for (float& value : o) value *= factor;
    for (int i = max(first - begin, 0); i < min(32, position - begin + 1); ++i) {
      const float w = __shfl_sync(kFullWarp, weight, i);
      const float* v = cached(p.values, begin + i);
#pragma unroll
      for (int j = 0; j < kMaxDim / 32; ++j)
        if (lane + 32 * j < p.head_dim) o[j] = fmaf(w, v[lane + 32 * j], o[j]);
    }
  }
  float* to =
      static_cast<float*>(p.out) + (task.row + token) * p.out_stride + int64_t{head} * p.head_dim;
#pragma unroll
  for (int j = 0; j < kMaxDim / 32; ++j)
    if (lane + 32 * j < p.head_dim) to[lane + 32 * j] = o[j] / sum;
  __syncwarp();
}

__global__ void __launch_bounds__(kWarps * 32) prefill_float32(const PrefillDeviceParams p) {
  __shared__ __align__(16) float queries[kWarps][kMaxDim];
  launch_dependents();
  wait_for_previous();
  const int warp = threadIdx.x / 32, count = p.work[kPrefillCount];
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const PrefillTask task = load_prefill_task(p, index);
    for (int r = warp; r < task.rows * p.pack; r += kWarps)
      attend_row(p, task, r / p.pack, task.head + r % p.pack, queries[warp]);
  }
}

}  // namespace

void launch_prefill_float32(const PrefillParams& p, cudaStream_t stream) {
  launch(stream, {.grid = dim3(p.num_sms * 8), .block = dim3(kWarps * 32)}, "prefill_attention",
         prefill_float32, prefill_device_params(p, kPrefillFloat32Rows));
}

}  // namespace miniinfer::cuda
