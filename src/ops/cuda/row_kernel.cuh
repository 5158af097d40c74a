#pragma once

#include <algorithm>

#include "ops/cuda/elements.cuh"
#include "ops/cuda/launch.h"
#include "ops/cuda/row_map.h"

// The frame of the operators that reduce a row and then write it: a row stays in the registers of
// kThreads threads, so that it is read once.
namespace miniinfer::cuda {

// Sums and maxima over the threads of a row.
template <int kThreads>
struct RowReduce {
  float* scratch;  // [kThreads / 32] a call, in shared memory; unused for a single warp

  template <typename Combine>
  __device__ __forceinline__ float all(float value, int call, Combine&& combine) const {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1)
      value = combine(value, __shfl_xor_sync(kFullWarp, value, offset));
    if constexpr (kThreads > 32) {
      constexpr int kWarps = kThreads / 32;
      float* part = scratch + call * kWarps;
      const int thread = static_cast<int>(threadIdx.x) % kThreads;
      if (thread % 32 == 0) part[thread / 32] = value;
      __syncthreads();
      value = part[thread % kWarps];
#pragma unroll
      for (int offset = kWarps / 2; offset > 0; offset >>= 1)
        value = combine(value, __shfl_xor_sync(kFullWarp, value, offset));
    }
    return value;
  }
  __device__ __forceinline__ float sum(float value, int call) const {
    return all(value, call, [](float a, float b) { return a + b; });
  }
  __device__ __forceinline__ float max(float value, int call) const {
    return all(value, call, [](float a, float b) { return fmaxf(a, b); });
  }
};

// Shared memory of one block: every row of it reduces at most twice.
template <int kThreads, int kRows>
struct RowScratch {
  float values[kRows * 2 * (kThreads / 32)];
  __device__ __forceinline__ RowReduce<kThreads> of(int row) {
    return {values + row * 2 * (kThreads / 32)};
  }
};

// fn(v, valid) on every element that this thread holds.
template <bool kAligned, int kGroups, typename F>
__device__ __forceinline__ void for_elements(float (&v)[kGroups][kGroup], int thread, int threads,
                                             int n, F&& fn) {
#pragma unroll
  for (int c = 0; c < kGroups; ++c)
#pragma unroll
    for (int k = 0; k < kGroup; ++k)
      fn(v[c][k], element_index<kAligned>(c, kAligned ? 0 : k, thread, threads) < n);
}

// The groups of a row that this thread holds, all of them in flight before the first is converted.
template <typename T, bool kAligned, int kGroups>
__device__ __forceinline__ void load_row(float (&v)[kGroups][kGroup], const void* row, int thread,
                                         int threads, int n) {
  Group<T> raw[kGroups] = {};
#pragma unroll
  for (int c = 0; c < kGroups; ++c)
    load_group<kAligned>(raw[c], static_cast<const T*>(row), c, thread, threads, n);
#pragma unroll
  for (int c = 0; c < kGroups; ++c) raw[c].to_floats(v[c]);
}

template <typename T, bool kAligned_, int kThreads_, int kGroups_, int kRows_>
struct RowTraits {
  using X = T;
  static constexpr bool kAligned = kAligned_;
  static constexpr int kThreads = kThreads_, kGroups = kGroups_, kRows = kRows_;
  // 1,024 threads of 64 registers on a multiprocessor: for softmax 35.3 us instead of 37.1 with as
  // many registers as the compiler likes.
  static constexpr int kBlocks = 1024 / (kThreads * kRows);
};

// Calls fn(RowTraits) for the dtype, the alignment and row_config(); fn launches.
template <typename F>
void dispatch_row_kernel(DType dtype, bool aligned, int64_t width, bool spread, F&& fn) {
  const RowConfig config = row_config(width, spread);
  dispatch_device_float(dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto with_alignment = [&]<bool kAligned>() {
      if (config.groups == 0) return fn(RowTraits<T, kAligned, 1024, 0, 1>());
      switch (config.threads) {
        case 32:
          if (config.groups == 1) return fn(RowTraits<T, kAligned, 32, 1, 4>());
          return fn(RowTraits<T, kAligned, 32, 4, 4>());
        case 64:
          return fn(RowTraits<T, kAligned, 64, 4, 2>());
        case 128:
          if (config.groups == 2) return fn(RowTraits<T, kAligned, 128, 2, 1>());
          return fn(RowTraits<T, kAligned, 128, 4, 1>());
        case 256:
          if (config.groups == 2) return fn(RowTraits<T, kAligned, 256, 2, 1>());
          return fn(RowTraits<T, kAligned, 256, 4, 1>());
        case 512:
          return fn(RowTraits<T, kAligned, 512, 4, 1>());
        default:
          return fn(RowTraits<T, kAligned, 1024, 4, 1>());
      }
    };
    if (aligned) {
      with_alignment.template operator()<true>();
    } else {
      with_alignment.template operator()<false>();
    }
  });
}

// How many blocks of a traits' kernel `rows` rows take, and the launch itself.
template <typename Traits>
LaunchConfig row_launch(int64_t rows) {
  return {.grid = dim3(static_cast<unsigned>((rows + Traits::kRows - 1) / Traits::kRows)),
          .block = dim3(Traits::kThreads * Traits::kRows)};
}

}  // namespace miniinfer::cuda
