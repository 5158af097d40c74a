#include <gtest/gtest.h>

#include "ops/cuda/row_map.h"

namespace miniinfer::cuda {
namespace {

TEST(CudaRowConfig, RegistersHoldEveryRowThatTheyCan) {
  for (int64_t width = 1; width <= 40000; ++width) {
    const RowConfig config = row_config(width, width % 2 == 0);
    EXPECT_EQ(config.threads * config.rows_per_block % 32, 0);
    EXPECT_GE(config.threads * config.rows_per_block, 128);
    if (config.groups == 0) {
      EXPECT_GT(width, 32768);
      continue;
    }
    EXPECT_GE(int64_t{config.threads} * config.groups * 8, width);
    // Not over four times as many as needed, beyond the smallest row of a warp.
    if (width > 256) {
      EXPECT_LT(int64_t{config.threads} * config.groups * 8, 4 * width) << width;
    }
  }
}

TEST(CudaRowConfig, FullRowsLeaveNoThreadWithoutWork) {
  for (const bool centred : {false, true}) {
    for (int64_t width = 8; width <= 20000; width += 8) {
      const RowConfig config = full_row_config(width, centred);
      if (config.threads == 0) continue;
      EXPECT_EQ(int64_t{config.threads} * config.groups * 8, width);
      EXPECT_EQ(config.threads % 32, 0);
      EXPECT_LE(config.threads, centred ? 256 : 512) << "what the kernel is compiled for";
      EXPECT_EQ(config.groups, centred ? 4 : 2) << "the same";
    }
    EXPECT_GT(full_row_config(4096, centred).threads, 0);
    EXPECT_EQ(full_row_config(4104, centred).threads, 0);
  }
}

TEST(CudaRowMap, FindsTheRowsOfAnyView) {
  char base[1];
  const ConstTensorView view(base, {3, 4, 5, 6}, {1000, 200, 30, 1}, DType::kBFloat16);
  const RowMap map = row_map(view);
  for (int a = 0, row = 0; a < 3; ++a)
    for (int b = 0; b < 4; ++b)
      for (int c = 0; c < 5; ++c, ++row)
        EXPECT_EQ(map.row(row) - base, 2 * (1000 * a + 200 * b + 30 * c));
  EXPECT_EQ(row_map(ConstTensorView(base, {3, 4, 6}, DType::kFloat32)).num, 1);
  EXPECT_EQ(row_map(ConstTensorView(base, {6}, DType::kFloat32)).row(0), base);
  EXPECT_EQ(row_map({}).base, nullptr);
}

TEST(CudaRowMap, AlignmentIsOfEveryRow) {
  alignas(16) char base[32];
  const auto aligned = [&](int64_t offset, int64_t width, int64_t step) {
    return rows_aligned({base + offset, {2, width}, {step, 1}, DType::kBFloat16});
  };
  EXPECT_TRUE(aligned(0, 16, 16));
  EXPECT_TRUE(aligned(16, 8, 24));
  EXPECT_FALSE(aligned(2, 16, 16));
  EXPECT_FALSE(aligned(0, 12, 16));
  EXPECT_FALSE(aligned(0, 16, 20));
  EXPECT_TRUE(rows_aligned({}));
}

}  // namespace
}  // namespace miniinfer::cuda
