#pragma once

#include <cstddef>
#include <cstdint>

namespace miniinfer::cuda {

// How a row of logits is spread over the blocks of a cluster, each of which keeps its slice in
// shared memory.
struct SamplingConfig {
  int cluster = 0;  // blocks; 0: no cluster holds the row
  int slice = 0;    // logits of a block, a multiple of 512
  size_t shared_bytes = 0;
  bool operator==(const SamplingConfig&) const = default;
};

inline constexpr int kMaxSamplingCluster = 8;  // what every GPU with clusters schedules
inline constexpr int kSamplingBins = 1024;     // of a histogram
inline constexpr int kSamplingSegment = 512;   // logits whose weights are summed together

// Shared memory beside the slice: the histogram's counts and two-limb sums, the segments' sums, and
// what blocks exchange.
constexpr size_t sampling_fixed_bytes(int64_t slice) {
  return kSamplingBins * 12 + static_cast<size_t>(slice / kSamplingSegment) * 8 + 1024;
}

// Enough blocks to hold the row, if possible with two of them on a multiprocessor; more while the
// rows alone do not fill the multiprocessors.
SamplingConfig sampling_config(int64_t vocab, int64_t rows, int multiprocessors,
                               size_t shared_bytes_per_block, bool has_clusters);

// Blocks that share a row of the greedy path: two waves at most, from eight down to one.
int argmax_cluster(int64_t vocab, int64_t rows, int multiprocessors, bool has_clusters);

}  // namespace miniinfer::cuda
