#include "ops/cuda/sampling_config.h"

namespace miniinfer::cuda {
namespace {

constexpr int64_t kMinSlice = 4096;  // below, exchanging costs more than reading

int64_t slice_of(int64_t vocab, int cluster) {
  const int64_t slice = (vocab + cluster - 1) / cluster;
  return (slice + kSamplingSegment - 1) / kSamplingSegment * kSamplingSegment;
}

}  // namespace

SamplingConfig sampling_config(int64_t vocab, int64_t rows, int multiprocessors,
                               size_t shared_bytes_per_block, bool has_clusters) {
  for (int cluster = 1; cluster <= (has_clusters ? kMaxSamplingCluster : 1); cluster *= 2) {
    const int64_t slice = slice_of(vocab, cluster);
    const size_t bytes = static_cast<size_t>(slice) * sizeof(float) + sampling_fixed_bytes(slice);
    const bool last = !has_clusters || cluster == kMaxSamplingCluster;
    if (bytes > shared_bytes_per_block) continue;
    // A multiprocessor has 1 KiB more than a block may have, and keeps 1 KiB for each.
    const bool one_fits = 2 * (bytes + 1024) > shared_bytes_per_block + 1024;
    const bool more =
        !last && slice > kMinSlice && (one_fits || rows * cluster * 2 <= multiprocessors);
    if (!more) return {cluster, static_cast<int>(slice), bytes};
  }
  return {};
}

int argmax_cluster(int64_t vocab, int64_t rows, int multiprocessors, bool has_clusters) {
  int cluster = 1;
  while (has_clusters && cluster < kMaxSamplingCluster &&
         rows * cluster * 2 <= int64_t{4} * multiprocessors && vocab / (cluster * 2) >= kMinSlice)
    cluster *= 2;
  return cluster;
}

}  // namespace miniinfer::cuda
