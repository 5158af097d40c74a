#include "tensor/numeric.h"

#include <cmath>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(Numeric, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Float16 half{static_cast<uint16_t>(bits)};
    const float value = to_float(half);
    const uint16_t back = from_float<Float16>(value).bits;
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(Float16{back})));
    } else {
      EXPECT_EQ(back, bits);
    }
  }
}

TEST(Numeric, RoundingPicksTheNearestNeighbour) {
  // Between two adjacent finite halves the midpoint goes to the even one and everything else to the
  // nearer.
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = to_float(Float16{static_cast<uint16_t>(bits)});
    const float high = to_float(Float16{static_cast<uint16_t>(bits + 1)});
    const float middle = (low + high) / 2;
    EXPECT_EQ(from_float<Float16>(middle).bits, bits + (bits & 1));
    EXPECT_EQ(from_float<Float16>(std::nextafter(middle, low)).bits, bits);
    EXPECT_EQ(from_float<Float16>(std::nextafter(middle, high)).bits, bits + 1);
  }
  EXPECT_EQ(from_float<Float16>(65519.0F).bits, 0x7bff);
  EXPECT_EQ(from_float<Float16>(65520.0F).bits, 0x7c00);
  EXPECT_EQ(from_float<BFloat16>(1.00390625F).bits, 0x3f80);  // a tie, to even
  EXPECT_EQ(from_float<BFloat16>(1.01171875F).bits, 0x3f82);  // a tie, to even
  EXPECT_EQ(from_float<BFloat16>(INFINITY).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(from_float<BFloat16>(std::nanf("")))));
}

}  // namespace
}  // namespace miniinfer
