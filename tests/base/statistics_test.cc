#include "base/statistics.h"

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(Statistics, PercentilesAreInterpolated) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(percentile({10, 20, 30, 40, 50}, 0), 10);
  EXPECT_EQ(percentile({50, 10, 20, 30, 40}, 1), 50);
  EXPECT_DOUBLE_EQ(percentile({10, 20, 30, 40, 50}, 0.9), 46);
  EXPECT_EQ(mean({1, 2, 6}), 3);
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(mean({}), 0);
}

}  // namespace
}  // namespace miniinfer
