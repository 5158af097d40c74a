#include "ops/op_cost.h"

#include <algorithm>
#include <array>
#include <random>

#include <gtest/gtest.h>

#include "base/random.h"

namespace miniinfer {
namespace {

// Every pair of a row and a key that it sees, counted one by one.
TEST(OpCost, AttentionCountsThePairsThatTheWindowLeaves) {
  const uint64_t seed = std::random_device{}();
  Random random(seed);
  SCOPED_TRACE(seed);
  for (int i = 0; i < 300; ++i) {
    const int64_t sequences = 1 + random.below(4);
    const int window = random.below(2) == 0 ? 0 : static_cast<int>(1 + random.below(60));
    std::vector<int32_t> starts = {0}, contexts;
    double pairs = 0, keys = 0;
    for (int64_t b = 0; b < sequences; ++b) {
      const int64_t rows = random.below(40), context = rows + random.below(50);
      starts.push_back(starts.back() + static_cast<int32_t>(rows));
      contexts.push_back(static_cast<int32_t>(context));
      std::vector<bool> seen(static_cast<size_t>(context));
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t position = context - rows + row;
        for (int64_t key = 0; key <= position; ++key)
          if (window == 0 || key > position - window) {
            ++pairs;
            seen[static_cast<size_t>(key)] = true;
          }
      }
      keys += static_cast<double>(std::count(seen.begin(), seen.end(), true));
    }
    const int64_t rows = starts.back();
    float nothing[1];
    const TensorView q(nothing, {rows, 6, 8}, DType::kFloat32);
    const OpCost cost = attention_cost(
        {.q = q,
         .cache = {.keys = TensorView(nothing, {1, 2, 128}, DType::kBFloat16), .values = {}},
         .problem = {.query_starts = starts,
                     .context_lens = contexts,
                     .block_tables = {},
                     .num_heads = 6,
                     .num_kv_heads = 2,
                     .head_dim = 8},
         .sliding_window = window,
         .out = q});
    ASSERT_EQ(cost.flops, 4 * pairs * 6 * 8) << window;
    ASSERT_EQ(cost.bytes, 2 * 4.0 * static_cast<double>(rows * 6 * 8) + 2 * keys * 2 * 8 * 2);
  }
}

TEST(OpCost, AGroupOfProjectionsReadsItsInputOnce) {
  uint16_t nothing[1];
  const ConstTensorView x(nothing, {3, 64}, DType::kBFloat16);
  const auto projection = [&](int64_t columns, bool accumulate) {
    return LinearArgs{.x = x,
                      .weight = ConstTensorView(nothing, {columns, 64}, DType::kBFloat16),
                      .bias = {},
                      .out = TensorView(nothing, {3, columns}, DType::kFloat32),
                      .accumulate = accumulate};
  };
  const OpCost cost = linear_cost(std::array{projection(10, false), projection(6, true)});
  EXPECT_EQ(cost.detail, "16 x 64");
  EXPECT_EQ(cost.flops, 2 * 3 * 64 * 16);
  EXPECT_EQ(cost.bytes, 2 * 3 * 64 + 2 * 16 * 64 + 4 * 3 * 10 + 2 * 4 * 3 * 6);
  EXPECT_EQ(cost.dtype, DType::kBFloat16);
}

}  // namespace
}  // namespace miniinfer
