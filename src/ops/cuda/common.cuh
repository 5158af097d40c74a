#pragma once

// What device code shares: dependent launch, conversions, 16-byte access, reductions.
#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "miniinfer/tensor.h"

// The instructions of sm_90a alone (wgmma, setmaxnreg). A kernel that uses them is empty elsewhere
// and never launched there: its host function chooses by compute capability.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define MI_SM90A 1
#else
#define MI_SM90A 0
#endif

namespace miniinfer::cuda {

// Before the first access to memory that an earlier kernel of the stream writes, and before the
// first write to memory that one reads. Every kernel launched as dependent calls it, by every
// thread, also those that return early: a successor trusts that what came before us is done too.
__device__ __forceinline__ void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel start as soon as every block has said so or ended. Early is right: the
// successor's wait_for_previous() still waits for all of our writes.
__device__ __forceinline__ void launch_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

constexpr unsigned kFullWarp = 0xffffffff;

// Storage types on the device: float, __half, __nv_bfloat16.
__device__ __forceinline__ float to_float(float value) {
  return value;
}
__device__ __forceinline__ float to_float(__half value) {
  return __half2float(value);
}
__device__ __forceinline__ float to_float(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

template <typename T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// N elements that move as one access of up to 16 bytes; the address is aligned to it.
template <typename T, int N>
struct alignas(sizeof(T) * N <= 16 ? sizeof(T) * N : 16) Vec {
  T values[N];
  __device__ __forceinline__ T& operator[](int i) { return values[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return values[i]; }
};

// As many elements of T as fill 16 bytes: 4 of float32, 8 of 16 bits.
template <typename T>
constexpr int kVecWidth = 16 / static_cast<int>(sizeof(T));

template <typename T, int N>
__device__ __forceinline__ Vec<T, N> load(const T* address) {
  return *reinterpret_cast<const Vec<T, N>*>(address);
}
template <typename T, int N>
__device__ __forceinline__ void store(T* address, const Vec<T, N>& vec) {
  *reinterpret_cast<Vec<T, N>*>(address) = vec;
}

// 16 bytes that are read once: no room in L1, first to leave L2. The memory must not be written by
// a kernel that may still run (the .nc path is not coherent).
template <typename T>
__device__ __forceinline__ Vec<T, kVecWidth<T>> load_once(const T* address) {
  Vec<T, kVecWidth<T>> result;
  auto* words = reinterpret_cast<uint32_t*>(&result);
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "l"(address));
  return result;
}
// 16 bytes that nobody reads soon: written through, first to leave L2.
template <typename T>
__device__ __forceinline__ void store_once(T* address, const Vec<T, kVecWidth<T>>& vec) {
  const auto* words = reinterpret_cast<const uint32_t*>(&vec);
  asm volatile("st.global.cs.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(words[0]),
               "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1)
    value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}

// The sum over a block of kThreads (a multiple of 32), in every thread; one barrier. `scratch`
// holds kThreads / 32 floats, and a second call takes another.
template <int kThreads>
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  constexpr int kWarps = kThreads / 32;
  value = warp_sum(value);
  if constexpr (kWarps == 1) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) total += scratch[i];
  return total;
}
// The same for the maximum.
template <int kThreads>
__device__ __forceinline__ float block_max(float value, float* scratch) {
  constexpr int kWarps = kThreads / 32;
  value = warp_max(value);
  if constexpr (kWarps == 1) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float highest = scratch[0];
#pragma unroll
  for (int i = 1; i < kWarps; ++i) highest = fmaxf(highest, scratch[i]);
  return highest;
}

// Calls fn(T{}) with the device's storage type of a float dtype; validated before.
template <typename F>
void dispatch_device_float(DType dtype, F&& fn) {
  switch (dtype) {
    case DType::kFloat32:
      return fn(float{});
    case DType::kFloat16:
      return fn(__half{});
    default:
      return fn(__nv_bfloat16{});
  }
}

}  // namespace miniinfer::cuda
