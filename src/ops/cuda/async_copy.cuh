#pragma once

#include <cstdint>

#include "ops/cuda/hopper.cuh"

namespace miniinfer::cuda {

// A policy for what is read once: first to leave L2.
__device__ inline uint64_t evict_first() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// Starts a copy of 16 bytes into shared memory.
__device__ inline void copy_async(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// With a policy, and only where the address in shared memory does not get a part that is the same
// for the whole warp, as in a loop that is not unrolled: ptxas 13.0 puts that part into a uniform
// register, and beside the policy's that makes an illegal instruction.
__device__ inline void copy_async(uint32_t to, const void* from, uint64_t policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "l"(policy)
               : "memory");
}

// The same, or 16 zero bytes.
__device__ inline void copy_async_or_zero(uint32_t to, const void* from, bool present,
                                          uint64_t policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(to),
               "l"(from), "r"(present ? 16 : 0), "l"(policy)
               : "memory");
}

// A copy of a multiple of 16 bytes by the copy engine, which counts them on the barrier.
__device__ inline void copy_bulk(uint32_t to, const void* from, int bytes, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}
__device__ inline void copy_bulk(uint32_t to, const void* from, int bytes, uint32_t barrier,
                                 uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
}

// Has a multiple of 16 bytes brought into L2. Before sm_90 nothing.
__device__ inline void prefetch_bulk(const void* from, int bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}

// Waits for all but the latest kGroups groups of this thread's copies, and for the warp's others.
template <int kGroups>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
  __syncwarp();
}

// This thread arrives on the barrier when all copies that it has started are done.
__device__ inline void arrive_when_copied(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

}  // namespace miniinfer::cuda
