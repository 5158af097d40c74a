#include <algorithm>

#include <gtest/gtest.h>

#include "llm/warm_products.h"

namespace miniinfer {
namespace {

TEST(WarmProducts, EveryBucketOfAStepOnceTheFullStepsFirst) {
  EngineConfig engine;
  engine.max_num_seqs = 256;
  engine.max_num_batched_tokens = 8192;
  const std::vector<int64_t> rows = warm_rows(engine);
  EXPECT_EQ(rows[0], 256);
  EXPECT_EQ(rows[1], 8192);
  for (int64_t power = 32; power <= 8192; power *= 2) {
    EXPECT_EQ(std::ranges::count(rows, power), 1) << power;
    EXPECT_EQ(std::ranges::count(rows, power / 4 * 3), 1) << power / 4 * 3;
  }
  EXPECT_EQ(rows.size(), 18U) << "nothing else";
}

TEST(WarmProducts, SmallStepsAreOtherKernels) {
  EngineConfig engine;
  engine.max_num_seqs = 8;
  engine.max_num_batched_tokens = 16;
  EXPECT_TRUE(warm_rows(engine).empty());
  engine.max_num_batched_tokens = 100;
  for (const int64_t rows : warm_rows(engine)) {
    EXPECT_GT(rows, 16);
    EXPECT_LE(rows, 100);
  }
}

TEST(WarmProducts, SizesAreOfTheJoinedProjections) {
  ModelConfig config;
  config.hidden_size = 4096;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.intermediate_size = 14336;
  config.vocab_size = 128256;
  const int64_t rows[] = {256};
  const auto problems = cuda::layer_problems(layer_sizes(config, DType::kBFloat16), rows);
  const auto has = [&](int64_t n, int64_t k, DType out) {
    return std::ranges::count(problems, cuda::GemmProblem{.m = 256, .n = n, .k = k, .out = out});
  };
  EXPECT_EQ(has(6144, 4096, DType::kBFloat16), 1);
  EXPECT_EQ(has(4096, 4096, DType::kFloat32), 1);
  EXPECT_EQ(has(28672, 4096, DType::kBFloat16), 1);
  EXPECT_EQ(has(4096, 14336, DType::kFloat32), 1);
  EXPECT_EQ(has(128256, 4096, DType::kFloat32), 1);
  EXPECT_EQ(problems.size(), 5U);
}

}  // namespace
}  // namespace miniinfer
