#pragma once

#include "miniinfer/ops/sample_batch.h"
#include "ops/cuda/sampling_row.cuh"

// The draw among a few likely tokens, by the first block of a cluster alone: where top_k leaves
// few, the row is searched once for them instead of once for each question.
namespace miniinfer::cuda {

inline constexpr int kListMost = kSamplingThreads;  // a token a thread
static_assert(kListMost * 16 <= kSamplingBins * 12, "the list lies in the histogram's memory");

// Lists the tokens with keys of at least `low` in the first block and returns how many there are;
// beyond kListMost the list is cut. Once a row, behind bound_of().
__device__ inline uint32_t list_tokens(const ClusterRow& row, uint32_t low) {
  const float bound = from_ordered_key(low);
  auto* exchange = at_rank(row.exchange(), 0);
  auto* list = at_rank(reinterpret_cast<uint64_t*>(row.scratch()), 0);
  const int lane = threadIdx.x % 32;
  bool full = false;
  row.for_each([&](float x, int id) {
    const unsigned active = __activemask();
    const unsigned found = __ballot_sync(active, x >= bound && !full);
    if (found == 0) return;
    const int first = __ffs(static_cast<int>(found)) - 1;
    uint32_t at = 0;
    if (lane == first) at = atomicAdd(&exchange->listed, static_cast<uint32_t>(__popc(found)));
    at = __shfl_sync(active, at, first);
    full = at > kListMost;  // thousands of equal logits would wait for each other
    at += static_cast<uint32_t>(__popc(found & ((1U << lane) - 1)));
    if ((found >> lane & 1) != 0 && at < kListMost) list[at] = packed_order(x, id);
  });
  cluster_sync();
  return exchange->listed;
}

// Draws among the `n` listed tokens: the top_k most likely of them, of these the fewest that have
// top_p of their weight, without what min_p takes away. By all threads of the first block.
__device__ inline int32_t draw_listed(ClusterRow& row, const SamplingSpec& spec, int n,
                                      double draw) {
  auto* order = reinterpret_cast<uint64_t*>(row.scratch());
  uint64_t* units = order + kListMost;
  const bool present = static_cast<int>(threadIdx.x) < n;
  const uint64_t mine = present ? order[threadIdx.x] : 0;
  const float weight =
      present ? row.weight(from_ordered_key(static_cast<uint32_t>(mine >> 32))) : 0.0F;
  const uint64_t own = to_units(weight);
  units[threadIdx.x] = own;
  __syncthreads();
  // Warps without a token leave the others' loops alone.
  const int others = present ? n : 0;
  int ahead = 0;
  uint64_t mass_ahead = 0;
#pragma unroll 4
  for (int j = 0; j < others; ++j) {
    const bool before = order[j] > mine;
    ahead += before ? 1 : 0;
    mass_ahead += before ? units[j] : 0;
  }
  bool kept = present && ahead < spec.top_k;
  if (spec.top_p < 1) {
    const uint64_t total = row.block_sum(kept ? own : 0);
    auto mass = static_cast<uint64_t>(ceil(spec.top_p * static_cast<double>(total)));
    mass = mass > total ? total : mass;
    kept = kept && (ahead == 0 || mass_ahead < mass);
  }
  kept = kept && weight >= static_cast<float>(spec.min_p);
  __syncthreads();
  units[threadIdx.x] = kept ? own : 0;
  const uint64_t all = row.block_sum(kept ? own : 0);
  auto left = static_cast<uint64_t>(draw * static_cast<double>(all));
  left = left < all ? left : all - 1;
  // In the order of ids, whose complement is the lower half.
  uint64_t before = 0;
#pragma unroll 4
  for (int j = 0; j < others; ++j)
    before += static_cast<uint32_t>(order[j]) > static_cast<uint32_t>(mine) ? units[j] : 0;
  if (kept && before <= left && left - before < own)
    row.exchange()->answer = ~static_cast<uint32_t>(mine);
  __syncthreads();
  return static_cast<int32_t>(row.exchange()->answer);
}

}  // namespace miniinfer::cuda
