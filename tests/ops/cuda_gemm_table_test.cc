#include <algorithm>

#include <gtest/gtest.h>

#include "op_test.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/gemm_table.h"

namespace miniinfer::cuda {
namespace {

TEST(GemmTable, BucketsAreTwoToAnOctaveAndNeverBelow) {
  int64_t previous = 0;
  for (int64_t m = 1; m <= 20000; ++m) {
    const int64_t bucket = gemm_bucket(m);
    ASSERT_GE(bucket, m);
    ASSERT_GE(bucket, previous);
    ASSERT_EQ(gemm_bucket(bucket), bucket);
    ASSERT_LE(bucket, std::max(m + m / 2, m)) << m;
    previous = bucket;
  }
  EXPECT_EQ(gemm_bucket(5), 6);
  EXPECT_EQ(gemm_bucket(13), 16);
  EXPECT_EQ(gemm_bucket(2049), 3072);
}

GemmKey random_key(Random& random) {
  return {.m = gemm_bucket(1 + random.below(5000)),
          .n = 1 + random.below(200000),
          .k = 1 + random.below(200000),
          .in = kFloatDTypes[random.below(3)],
          .out = kFloatDTypes[random.below(3)],
          .bias = random.below(2) == 1,
          .alignment = 1 << random.below(5)};
}

TEST(GemmTable, ATextHoldsTheWholeTable) {
  Random random(fresh_seed());
  GemmTable table("NVIDIA H200", 130100);
  std::vector<std::pair<GemmKey, GemmChoice>> entries;
  for (int i = 0; i < 200; ++i) {
    GemmChoice choice;
    for (uint64_t& word : choice.words) word = random.next() >> random.below(64);
    entries.emplace_back(random_key(random), choice);
    table.insert(entries.back().first, choice);
  }
  GemmTable copy("NVIDIA H200", 130100);
  EXPECT_EQ(copy.merge(table.to_text()), table.size());
  EXPECT_EQ(copy.to_text(), table.to_text());
  for (const auto& [key, choice] : entries) {
    const GemmChoice* found = copy.find(key);
    ASSERT_NE(found, nullptr);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(found->words[i], table.find(key)->words[i]);
  }
}

TEST(GemmTable, AnotherDeviceVersionOrGarbageBringsNothing) {
  GemmTable table("NVIDIA H200", 130100);
  table.insert({.m = 1, .n = 8, .k = 8}, {});
  const std::string text = table.to_text();
  EXPECT_EQ(GemmTable("NVIDIA H100", 130100).merge(text), 0U);
  EXPECT_EQ(GemmTable("NVIDIA H200", 130000).merge(text), 0U);
  GemmTable target("NVIDIA H200", 130100);
  EXPECT_EQ(target.merge(""), 0U);
  EXPECT_EQ(target.merge("\n\n"), 0U);
  EXPECT_EQ(target.merge("{\"json\": 1}\n1 2 3"), 0U);
  // A file that was cut off gives its whole lines.
  EXPECT_EQ(target.merge(text.substr(0, text.size() - 2)), 0U);
  EXPECT_EQ(target.merge(text + "1 8 x 8\n"), 1U);
}

TEST(GemmTable, AnEntryThatIsThereWins) {
  GemmTable mine("d", 1), shipped("d", 1);
  const GemmKey key = {.m = 2, .n = 8, .k = 8};
  mine.insert(key, {.words = {1}});
  shipped.insert(key, {.words = {2}});
  EXPECT_EQ(mine.merge(shipped.to_text()), 0U);
  EXPECT_EQ(mine.find(key)->words[0], 1U);
}

TEST(GemmTable, ShippedTablesAreWellFormed) {
  for (const std::string_view text : shipped_gemm_tables()) {
    const size_t version_at = text.find(' ') + 1, device_at = text.find(' ', version_at) + 1;
    GemmTable table(std::string(text.substr(device_at, text.find('\n') - device_at)),
                    std::stoull(std::string(text.substr(version_at))));
    const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    EXPECT_EQ(table.merge(text), lines - 1) << text.substr(0, 60);
  }
}

TEST(GemmTable, NeighboursInMemoryBecomeOneProduct) {
  constexpr int64_t kM = 3, kK = 8;
  Tensor x({kM, kK}, DType::kBFloat16), weights({20, kK}, DType::kBFloat16),
      out({kM, 20}, DType::kFloat32), bias({4}, DType::kFloat32);
  const auto part = [&](int64_t begin, int64_t end) {
    return LinearArgs{
        .x = x.view(),
        .weight = weights.view().rows(begin, end),
        .out = {out.data<float>() + begin, {kM, end - begin}, {20, 1}, DType::kFloat32}};
  };
  std::vector<LinearArgs> group = {part(0, 8), part(8, 12), part(12, 20)};
  auto joined = join_adjacent(group);
  ASSERT_EQ(joined.size(), 1U);
  EXPECT_EQ(joined[0].weight.shape(), (Shape{20, kK}));
  EXPECT_EQ(joined[0].out.shape(), (Shape{kM, 20}));
  EXPECT_EQ(joined[0].out.raw(), out.data<void>());
  group[1].bias = bias.view();
  EXPECT_EQ(join_adjacent(group).size(), 3U);
  group = {part(0, 8), part(12, 20)};  // a gap
  EXPECT_EQ(join_adjacent(group).size(), 2U);
  group = {part(8, 20), part(0, 8)};  // the wrong way round
  EXPECT_EQ(join_adjacent(group).size(), 2U);
  Tensor apart({kM, 4}, DType::kFloat32);
  group = {part(0, 8), part(8, 12)};
  group[1].out = apart.view();
  EXPECT_EQ(join_adjacent(group).size(), 2U);
}

TEST(GemmTable, AlignmentIsWhatDividesAddressAndStride) {
  EXPECT_EQ(alignment_of(reinterpret_cast<void*>(4096), 8192), 16);
  EXPECT_EQ(alignment_of(reinterpret_cast<void*>(4096), 24), 8);
  EXPECT_EQ(alignment_of(reinterpret_cast<void*>(4100), 64), 4);
  EXPECT_EQ(alignment_of(reinterpret_cast<void*>(4096), 6), 2);
}

TEST(GemmTable, TheCacheFileIsNamedAfterDeviceAndVersion) {
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(gemm_cache_file("NVIDIA H200", 130100),
            "/somewhere/miniinfer/gemm-NVIDIA-H200-130100.txt");
  unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace miniinfer::cuda
