#include <gtest/gtest.h>

#include "ops/cuda/skinny_gemm.h"
#include "ops/op_test.h"

namespace miniinfer::cuda {
namespace {

constexpr int kHopperShared = 232448;

TEST(SkinnyConfig, CoversEveryColumnWithEqualShares) {
  Random random(fresh_seed());
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << fresh_seed() << " round " << round);
    const int m = static_cast<int>(1 + random.below(kSkinnyMaxRows));
    const int64_t most[] = {4, 100, 20000};
    const int n = static_cast<int>(8 * (1 + random.below(most[random.below(3)])));
    const int k = static_cast<int>(8 * (1 + random.below(2000)));
    const bool gated = random.below(2) == 0;
    const int sms = static_cast<int>(1 + random.below(150));
    const int shared = random.below(2) == 0 ? kHopperShared : 101376;
    const SkinnyConfig c = choose_skinny(m, n, k, gated, sms, shared);
    if (shared != kHopperShared && c.blocks == 0) continue;  // two stages do not fit
    EXPECT_GE(c.blocks, 1);
    EXPECT_LE(c.blocks, sms);
    EXPECT_GE(int64_t{c.blocks} * c.block_rows, n);
    EXPECT_LT(int64_t{c.blocks - 1} * c.block_rows, n);
    EXPECT_EQ(c.block_rows % 8, 0);
    EXPECT_EQ(c.pass_rows % 8, 0);
    EXPECT_LE(c.pass_rows, (gated ? 8 : 16) * c.tiles);
    EXPECT_TRUE(c.tiles == 2 || (c.tiles == 1 && m <= 8));
    EXPECT_GE(c.stages, 1);
    EXPECT_LE(c.stages * 16, kSkinnyBarrierBytes);
    EXPECT_LE(c.shared_bytes, shared);
    // Every team has stages of its own.
    EXPECT_EQ(c.stages % (kSkinnyConsumers / c.team), 0);
  }
}

TEST(SkinnyConfig, GivesWholeTilesToTheShapesOfLargeModels) {
  for (const int n : {6144, 4096, 1024, 3072})
    EXPECT_EQ(choose_skinny(1, n, 4096, false, 132, kHopperShared).blocks, 128);
  EXPECT_EQ(choose_skinny(1, 14336, 4096, true, 132, kHopperShared).blocks, 128);
  EXPECT_EQ(choose_skinny(1, 128256, 4096, false, 132, kHopperShared).blocks, 132);
}

// Memory is kept busy by what is in flight: 3 MB over the device hide a microsecond of latency.
TEST(SkinnyConfig, KeepsEnoughInFlight) {
  for (int m = 1; m <= kSkinnyMaxRows; ++m) {
    const SkinnyConfig c = choose_skinny(m, 28672, 4096, false, 132, kHopperShared);
    EXPECT_GE(c.stages * 16 * c.tiles * c.team * kSkinnyShare * 2, 60 << 10) << m;
  }
}

}  // namespace
}  // namespace miniinfer::cuda
