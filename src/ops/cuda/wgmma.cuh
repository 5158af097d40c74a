#pragma once

// Warpgroup matrix products, D[64, N] += A[64, 16] B[16, N], with float32 accumulators (sm_90a).
// Thread t of a warpgroup holds d[4j + i]: row 16 (t / 32) + t % 32 / 4 + 8 (i / 2), column
// 8j + 2 (t % 4) + i % 2. A in registers has the same layout, two 16-bit columns a register:
// a[0..3] are d[0,1], d[2,3], d[4,5], d[6,7] of its 16 columns.

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace miniinfer::cuda {

// Before the first product after registers or shared memory were written.
__device__ inline void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most kPending committed groups are in flight.
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving reads or writes of accumulators across this point.
template <int kCount>
__device__ inline void hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Of an operand in shared memory, in swizzled atoms of 8 rows of kWidth 16-bit elements: 64, 32 or
// 16 for the 128-, 64- and 32-byte swizzle. With the summed axis along the row, `stride` is the
// bytes from 8 rows to the next and `lead` is unused; with the other axis along the row (a
// transposed B), `stride` goes from 8 of the summed axis to the next and `lead` from kWidth of the
// other axis to the next.
template <int kWidth>
__device__ inline uint64_t wgmma_operand(uint32_t address, int lead, int stride) {
  constexpr uint64_t kSwizzle = kWidth == 64 ? 1 : kWidth == 32 ? 2 : 3;
  return uint64_t{address >> 4} | uint64_t(lead >> 4) << 16 | uint64_t(stride >> 4) << 32 |
         kSwizzle << 62;
}

// ss: A and B from shared memory, both with the summed axis along the rows; `accumulate` 0
// overwrites d. rs: A from registers, B transposed.
template <int kN>
struct Wgmma;

#define MI_WGMMA_SS(N, TYPE, REGS, A, B, C, ...)                                                   \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #C                                             \
               ", 0;\n"                                                                            \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" REGS "}, %" #A \
               ", %" #B ", p, 1, 1, 0, 0;\n}"                                                      \
               : __VA_ARGS__                                                                       \
               : "l"(a), "l"(b), "r"(accumulate))
#define MI_WGMMA_RS(N, TYPE, REGS, A0, A1, A2, A3, B, ...)                                  \
  asm volatile(                                                                             \
      "{\n.reg .pred p;\nsetp.eq.u32 p, 0, 0;\n"                                            \
      "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" REGS "}, {%" #A0 \
      ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", p, 1, 1, 1;\n}"                            \
      : __VA_ARGS__                                                                         \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define MI_WGMMA(N, REGS, X0, X1, X2, X3, X4, ...)                                         \
  template <>                                                                              \
  struct Wgmma<N> {                                                                        \
    template <typename T>                                                                  \
    __device__ static void ss(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) { \
      if constexpr (std::is_same_v<T, __half>)                                             \
        MI_WGMMA_SS(N, "f16", REGS, X0, X1, X2, __VA_ARGS__);                              \
      else                                                                                 \
        MI_WGMMA_SS(N, "bf16", REGS, X0, X1, X2, __VA_ARGS__);                             \
    }                                                                                      \
    template <typename T>                                                                  \
    __device__ static void rs(float (&d)[N / 2], const uint32_t* a, uint64_t b) {          \
      if constexpr (std::is_same_v<T, __half>)                                             \
        MI_WGMMA_RS(N, "f16", REGS, X0, X1, X2, X3, X4, __VA_ARGS__);                      \
      else                                                                                 \
        MI_WGMMA_RS(N, "bf16", REGS, X0, X1, X2, X3, X4, __VA_ARGS__);                     \
    }                                                                                      \
  }

#define MI_D8(i)                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define MI_R32                                                                                 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define MI_O32 MI_D8(0), MI_D8(8), MI_D8(16), MI_D8(24)
MI_WGMMA(64, MI_R32, 32, 33, 34, 35, 36, MI_O32);
#define MI_R40 \
  MI_R32       \
  ", "         \
  "%32, %33, %34, %35, %36, %37, %38, %39"
#define MI_O40 MI_O32, MI_D8(32)
MI_WGMMA(80, MI_R40, 40, 41, 42, 43, 44, MI_O40);
#define MI_R48 \
  MI_R40       \
  ", "         \
  "%40, %41, %42, %43, %44, %45, %46, %47"
#define MI_O48 MI_O40, MI_D8(40)
MI_WGMMA(96, MI_R48, 48, 49, 50, 51, 52, MI_O48);
#define MI_R56 \
  MI_R48       \
  ", "         \
  "%48, %49, %50, %51, %52, %53, %54, %55"
#define MI_O56 MI_O48, MI_D8(48)
MI_WGMMA(112, MI_R56, 56, 57, 58, 59, 60, MI_O56);
#define MI_R64 \
  MI_R56       \
  ", "         \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define MI_O64 MI_O56, MI_D8(56)
MI_WGMMA(128, MI_R64, 64, 65, 66, 67, 68, MI_O64);
#define MI_R72 \
  MI_R64       \
  ", "         \
  "%64, %65, %66, %67, %68, %69, %70, %71"
#define MI_O72 MI_O64, MI_D8(64)
MI_WGMMA(144, MI_R72, 72, 73, 74, 75, 76, MI_O72);
#define MI_R80 \
  MI_R72       \
  ", "         \
  "%72, %73, %74, %75, %76, %77, %78, %79"
#define MI_O80 MI_O72, MI_D8(72)
MI_WGMMA(160, MI_R80, 80, 81, 82, 83, 84, MI_O80);
#define MI_R88 \
  MI_R80       \
  ", "         \
  "%80, %81, %82, %83, %84, %85, %86, %87"
#define MI_O88 MI_O80, MI_D8(80)
MI_WGMMA(176, MI_R88, 88, 89, 90, 91, 92, MI_O88);
#define MI_R96 \
  MI_R88       \
  ", "         \
  "%88, %89, %90, %91, %92, %93, %94, %95"
#define MI_O96 MI_O88, MI_D8(88)
MI_WGMMA(192, MI_R96, 96, 97, 98, 99, 100, MI_O96);
#define MI_R128                                                                                \
  MI_R96                                                                                       \
  ", "                                                                                         \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, "     \
  "%111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, " \
  "%126, %127"
#define MI_O128 MI_O96, MI_D8(96), MI_D8(104), MI_D8(112), MI_D8(120)
MI_WGMMA(256, MI_R128, 128, 129, 130, 131, 132, MI_O128);

}  // namespace miniinfer::cuda
