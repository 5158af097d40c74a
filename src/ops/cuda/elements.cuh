#pragma once

#include <type_traits>

#include "ops/cuda/common.cuh"

// Elements of any float dtype in groups of eight: 16 bytes of a 16-bit dtype, 32 of float32.
namespace miniinfer::cuda {

inline constexpr int kGroup = 8;

// Eight elements as they lie in memory.
template <typename T>
struct alignas(16) Group {
  T e[kGroup];

  // From an address that is a multiple of 16.
  __device__ __forceinline__ void load(const T* from) {
    auto* words = reinterpret_cast<uint4*>(e);
    const auto* source = reinterpret_cast<const uint4*>(from);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; ++i) words[i] = source[i];
  }
  __device__ __forceinline__ void store(T* to) const {
    const auto* words = reinterpret_cast<const uint4*>(e);
    auto* target = reinterpret_cast<uint4*>(to);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; ++i) target[i] = words[i];
  }
  __device__ __forceinline__ void to_floats(float (&v)[kGroup]) const {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) v[i] = e[i];
    } else {
#pragma unroll
      for (int i = 0; i < kGroup; i += 2) {
        float2 pair;
        if constexpr (std::is_same_v<T, __half>)
          pair = __half22float2(reinterpret_cast<const __half2*>(e)[i / 2]);
        else
          pair = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162*>(e)[i / 2]);
        v[i] = pair.x;
        v[i + 1] = pair.y;
      }
    }
  }
  __device__ __forceinline__ void from_floats(const float (&v)[kGroup]) {
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) e[i] = v[i];
    } else {
#pragma unroll
      for (int i = 0; i < kGroup; i += 2) {
        if constexpr (std::is_same_v<T, __half>)
          reinterpret_cast<__half2*>(e)[i / 2] = __floats2half2_rn(v[i], v[i + 1]);
        else
          reinterpret_cast<__nv_bfloat162*>(e)[i / 2] = __floats2bfloat162_rn(v[i], v[i + 1]);
      }
    }
  }
};

// Calls fn(T{}) with the storage type of a validated dtype: a branch that a whole launch takes
// alike, for operands whose conversion hides behind memory.
template <typename F>
__device__ __forceinline__ void dispatch_dtype(DType dtype, F&& fn) {
  if (dtype == DType::kFloat32)
    fn(float{});
  else if (dtype == DType::kFloat16)
    fn(__half{});
  else
    fn(__nv_bfloat16{});
}

// Which elements of a row of `n` a thread holds in its `c`-th group: eight neighbours when the rows
// are 16-byte aligned, else eight that lie `threads` apart so that a warp still reads neighbours.
template <bool kAligned>
__device__ __forceinline__ int element_index(int c, int k, int thread, int threads) {
  return kAligned ? (c * threads + thread) * kGroup + k : (c * kGroup + k) * threads + thread;
}

template <bool kAligned, typename T>
__device__ __forceinline__ void load_group(Group<T>& group, const T* row, int c, int thread,
                                           int threads, int n) {
  if constexpr (kAligned) {
    const int i = element_index<true>(c, 0, thread, threads);
    if (i < n) group.load(row + i);
  } else {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      const int i = element_index<false>(c, k, thread, threads);
      if (i < n) group.e[k] = row[i];
    }
  }
}

template <bool kAligned, typename T>
__device__ __forceinline__ void store_group(const float (&v)[kGroup], T* row, int c, int thread,
                                            int threads, int n) {
  if constexpr (kAligned) {
    const int i = element_index<true>(c, 0, thread, threads);
    Group<T> group;
    group.from_floats(v);
    if (i < n) group.store(row + i);
  } else {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      const int i = element_index<false>(c, k, thread, threads);
      if (i < n) row[i] = from_float<T>(v[k]);
    }
  }
}

// The same for a dtype known at run time, as floats. Elements beyond n are left as they are.
template <bool kAligned>
__device__ __forceinline__ void load_floats(float (&v)[kGroup], const void* row, DType dtype, int c,
                                            int thread, int threads, int n) {
  dispatch_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    Group<T> group{};
    load_group<kAligned>(group, static_cast<const T*>(row), c, thread, threads, n);
    group.to_floats(v);
  });
}

template <bool kAligned>
__device__ __forceinline__ void store_floats(const float (&v)[kGroup], void* row, DType dtype,
                                             int c, int thread, int threads, int n) {
  dispatch_dtype(dtype, [&](auto tag) {
    store_group<kAligned>(v, static_cast<decltype(tag)*>(row), c, thread, threads, n);
  });
}

// store_group() of a type that is known when compiled or, with Out void, only at run time.
template <typename Out, bool kAligned>
__device__ __forceinline__ void store_as(const float (&v)[kGroup], void* row, DType dtype, int c,
                                         int thread, int threads, int n) {
  if constexpr (std::is_void_v<Out>)
    store_floats<kAligned>(v, row, dtype, c, thread, threads, n);
  else
    store_group<kAligned>(v, static_cast<Out*>(row), c, thread, threads, n);
}

// A vector that all rows share (a norm's weight): 16-bit elements are fetched together ahead of
// their use, so that one wait serves them all; float32 ones, twice the registers, when used.
template <bool kAligned, int kGroups>
struct SharedVector {
  const void* data;
  DType dtype;
  Group<__half> raw[kGroups];

  __device__ __forceinline__ void fetch(const void* from, DType type, int thread, int threads,
                                        int n) {
    data = from;
    dtype = type;
    if (from == nullptr || type == DType::kFloat32) return;
#pragma unroll
    for (int c = 0; c < kGroups; ++c)
      load_group<kAligned>(raw[c], static_cast<const __half*>(from), c, thread, threads, n);
  }
  __device__ __forceinline__ void get(float (&v)[kGroup], int c, int thread, int threads,
                                      int n) const {
    if (dtype == DType::kFloat32) {
      load_floats<kAligned>(v, data, dtype, c, thread, threads, n);
    } else if (dtype == DType::kFloat16) {
      raw[c].to_floats(v);
    } else {
      Group<__nv_bfloat16> group;
      *reinterpret_cast<uint4*>(group.e) = *reinterpret_cast<const uint4*>(raw[c].e);
      group.to_floats(v);
    }
  }
};

// The same of a type known when compiled, without a branch: layer_norm of 8192 x 4096 reads its row
// at 3.9 TB/s instead of 3.2. Fetched ahead only with kEarly; else where it is used.
template <typename T, bool kAligned, int kGroups, bool kEarly>
struct TypedVector {
  const T* data;
  Group<T> raw[kEarly ? kGroups : 1];

  __device__ __forceinline__ void fetch(const void* from, DType, int thread, int threads, int n) {
    data = static_cast<const T*>(from);
    if (from == nullptr || !kEarly) return;
#pragma unroll
    for (int c = 0; c < (kEarly ? kGroups : 0); ++c)
      load_group<kAligned>(raw[c], data, c, thread, threads, n);
  }
  __device__ __forceinline__ void get(float (&v)[kGroup], int c, int thread, int threads,
                                      int n) const {
    if constexpr (kEarly) {
      raw[c].to_floats(v);
    } else {
      Group<T> group{};
      load_group<kAligned>(group, data, c, thread, threads, n);
      group.to_floats(v);
    }
  }
};

}  // namespace miniinfer::cuda
