#include "ops/cuda/common.cuh"
#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"

namespace miniinfer::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kUnroll = 8;  // independent 16-byte loads in flight a thread

__global__ void __launch_bounds__(kThreads)
    read_kernel(const float* data, int64_t vectors, float* out) {
  float sum = 0;
  const int64_t tile = int64_t{kThreads} * kUnroll;
  for (int64_t begin = blockIdx.x * tile; begin < vectors; begin += gridDim.x * tile) {
    Vec<float, 4> loaded[kUnroll];
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      const int64_t index = begin + i * kThreads + threadIdx.x;
      loaded[i] = index < vectors ? load_once(data + 4 * index) : Vec<float, 4>{};
    }
#pragma unroll
    for (int i = 0; i < kUnroll; ++i)
      sum += (loaded[i][0] + loaded[i][1]) + (loaded[i][2] + loaded[i][3]);
  }
  __shared__ float scratch[kThreads / 32];
  sum = block_sum<kThreads>(sum, scratch);
  if (threadIdx.x == 0) atomicAdd(out, sum);
}

__global__ void __launch_bounds__(kThreads)
    copy_kernel(float* to, const float* from, int64_t vectors) {
  const int64_t tile = int64_t{kThreads} * kUnroll;
  for (int64_t begin = blockIdx.x * tile; begin < vectors; begin += gridDim.x * tile) {
    Vec<float, 4> loaded[kUnroll];
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      const int64_t index = begin + i * kThreads + threadIdx.x;
      if (index < vectors) loaded[i] = load_once(from + 4 * index);
    }
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      const int64_t index = begin + i * kThreads + threadIdx.x;
      if (index < vectors) store_once(to + 4 * index, loaded[i]);
    }
  }
}

LaunchConfig config_for(const ExecContext& context) {
  return {.grid = dim3(static_cast<unsigned>(context.cuda_state().info().multiprocessors) * 4),
          .block = dim3(kThreads),
          .dependent = false};
}

}  // namespace

void read_all(ExecContext& context, const float* data, int64_t count, float* out) {
  launch(context, config_for(context), "read", read_kernel, data, count / 4, out);
}

void copy_all(ExecContext& context, void* to, const void* from, int64_t bytes) {
  launch(context, config_for(context), "copy", copy_kernel, static_cast<float*>(to),
         static_cast<const float*>(from), bytes / 16);
}

}  // namespace miniinfer::cuda
