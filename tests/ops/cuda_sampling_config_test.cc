#include <gtest/gtest.h>

#include "ops/cuda/sampling_config.h"

namespace miniinfer::cuda {
namespace {

TEST(CudaSamplingConfig, AClusterHoldsTheRow) {
  constexpr size_t kShared = 227 << 10;
  for (const int64_t vocab : {1, 300, 4096, 32000, 128256, 151936, 262208, 390000}) {
    for (const int64_t rows : {1, 2, 16, 33, 256}) {
      const SamplingConfig config = sampling_config(vocab, rows, 132, kShared, true);
      ASSERT_GT(config.cluster, 0) << vocab;
      EXPECT_LE(config.cluster, 8);
      EXPECT_GE(int64_t{config.cluster} * config.slice, vocab);
      EXPECT_EQ(config.slice % kSamplingSegment, 0);
      EXPECT_LE(config.shared_bytes, kShared);
      EXPECT_EQ(kSamplingBins % config.cluster, 0);
    }
  }
  EXPECT_EQ(sampling_config(151936, 256, 132, kShared, true).cluster, 8);  // two on each
  EXPECT_EQ(sampling_config(262208, 256, 132, kShared, true).cluster, 8);
  EXPECT_EQ(sampling_config(151936, 1, 132, kShared, true).cluster, 8);
  EXPECT_EQ(sampling_config(32000, 256, 132, kShared, true).cluster, 2);
  EXPECT_EQ(sampling_config(4096, 256, 132, kShared, true).cluster, 1);
  EXPECT_EQ(sampling_config(500000, 1, 132, kShared, true).cluster, 0);
  EXPECT_EQ(sampling_config(151936, 1, 108, 163 << 10, false).cluster, 0);
  EXPECT_EQ(sampling_config(32000, 1, 108, 163 << 10, false).cluster, 1);
}

TEST(CudaSamplingConfig, GreedyRowsFillTheMultiprocessors) {
  EXPECT_EQ(argmax_cluster(151936, 1, 132, true), 8);
  EXPECT_EQ(argmax_cluster(151936, 256, 132, true), 2);
  EXPECT_EQ(argmax_cluster(151936, 1000, 132, true), 1);
  EXPECT_EQ(argmax_cluster(4096, 1, 132, true), 1);
  EXPECT_EQ(argmax_cluster(151936, 1, 132, false), 1);
}

}  // namespace
}  // namespace miniinfer::cuda
