#include <cstring>
#include <map>

#include <gtest/gtest.h>

#include "ops/cuda/attention_work.h"
#include "ops/op_test.h"

namespace miniinfer::cuda {
namespace {

std::vector<PrefillTask> tasks_of(const AttentionWork& work) {
  std::vector<PrefillTask> tasks(work.buffer[kPrefillCount]);
  std::memcpy(tasks.data(), work.buffer.data() + kWorkHeader, tasks.size() * sizeof(PrefillTask));
  return tasks;
}

TEST(AttentionWork, PacksAsManyHeadsAsLeaveFewRowsEmpty) {
  EXPECT_EQ(prefill_pack(1, 128), 1);
  EXPECT_EQ(prefill_pack(3, 128), 3);  // 42 x 3 leaves two rows empty
  EXPECT_EQ(prefill_pack(4, 128), 4);
  EXPECT_EQ(prefill_pack(7, 128), 7);
  EXPECT_EQ(prefill_pack(12, 128), 12);
  EXPECT_EQ(prefill_pack(48, 128), 24);
  EXPECT_EQ(prefill_pack(71, 128), 1);  // 71 would leave 57
  EXPECT_EQ(prefill_pack(32, 128), 32);
  EXPECT_EQ(prefill_pack(256, 128), 128);
}

TEST(AttentionWork, CoversEveryRowAndHeadOnceLongestFirst) {
  Random random(fresh_seed());
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << fresh_seed() << " round " << round);
    const int groups[] = {1, 2, 3, 4, 7, 8, 12, 32}, tile_rows = round % 2 ? 128 : 192;
    const int group = groups[random.below(8)], kv_heads = static_cast<int>(1 + random.below(5));
    const int heads = group * kv_heads, window = round % 3 ? 0 : 1 + random.below(500);
    std::vector<int32_t> starts = {0}, contexts;
    const auto sequences = static_cast<int>(1 + random.below(6));
    for (int b = 0; b < sequences; ++b) {
      const int64_t longest[] = {1, 20, 700, 40000};
      const auto rows = static_cast<int32_t>(1 + random.below(longest[random.below(4)]));
      starts.push_back(starts.back() + rows);
      contexts.push_back(rows + static_cast<int32_t>(random.below(3000)));
    }
    const AttentionProblem problem{starts, contexts, {}, 4096, heads, kv_heads, 128};
    AttentionWork work;
    work.one_kernel = round % 4 == 0;
    plan_attention_work(problem, window, tile_rows, 2, work);
    EXPECT_TRUE(!work.one_kernel || (work.num_decode == 0 && work.num_partials == 0));
    const int pack = prefill_pack(group, tile_rows);
    const std::vector<PrefillTask> tasks = tasks_of(work);
    EXPECT_EQ(work.num_prefill, static_cast<int>(tasks.size()));
    EXPECT_LE(work.num_prefill,
              max_prefill_tasks(starts.back(), sequences, heads, kv_heads, tile_rows));
    EXPECT_EQ(work.buffer[kPrefillNext], 0);
    EXPECT_EQ(work.buffer[kPrefillDone], 0);
    std::vector<int> seen(static_cast<size_t>(starts.back()) * heads, 0);
    std::map<int, int> last_keys;  // of a head
    for (const PrefillTask& t : tasks) {
      ASSERT_GT(t.rows, 0);
      ASSERT_LE(t.rows, prefill_tile_tokens(pack, tile_rows));
      ASSERT_EQ(t.head / group, (t.head + pack - 1) / group);
      ASSERT_EQ(t.context, contexts[t.sequence]);
      ASSERT_GE(t.row, starts[t.sequence]);
      ASSERT_LE(t.row + t.rows, starts[t.sequence + 1]);
      EXPECT_EQ(t.context - t.position, starts[t.sequence + 1] - t.row);
      for (int r = 0; r < t.rows; ++r)
        for (int h = 0; h < pack; ++h) ++seen[static_cast<size_t>(t.row + r) * heads + t.head + h];
      const int keys =
          window > 0 ? std::min(t.position + t.rows, window + t.rows) : t.position + t.rows;
      const auto [at, first] = last_keys.try_emplace(t.head, keys);
      EXPECT_GE(at->second, keys);
      at->second = keys;
    }
    for (int b = 0; b < sequences; ++b) {
      const int rows = starts[b + 1] - starts[b];
      const int expected = is_decode(rows, group) && !work.one_kernel ? 0 : 1;
      for (int64_t i = int64_t{starts[b]} * heads; i < int64_t{starts[b + 1]} * heads; ++i)
        ASSERT_EQ(seen[i], expected);
    }
  }
}

// Tiles that run side by side read the same few heads: 16,384 tokens of one head are 8 MiB.
TEST(AttentionWork, KeepsTheHeadsInFlightWithinTheCache) {
  const std::vector<int32_t> starts = {0, 16384}, contexts = {16384};
  AttentionWork work;
  plan_attention_work({starts, contexts, {}, 1024, 16, 16, 128}, 0, 128, 2, work);
  const std::vector<PrefillTask> tasks = tasks_of(work);
  ASSERT_EQ(tasks.size(), 2048U);
  for (size_t i = 0; i < tasks.size(); ++i) EXPECT_EQ(tasks[i].head / 4, static_cast<int>(i / 512));
}

// Every key of a tile is one piece's, where the tiles alone would leave most thread blocks idle.
TEST(AttentionWork, CutsTheKeysOfFewTilesOverLongContexts) {
  const std::vector<int32_t> starts = {0, 256}, contexts = {32768};
  AttentionWork work;
  work.prefill_slots = 132;
  plan_attention_work({starts, contexts, {}, 4096, 32, 8, 128}, 0, 128, 2, work);
  std::vector<PrefillTask> tasks = tasks_of(work);
  ASSERT_EQ(tasks.size(), 2U * 64);
  EXPECT_EQ(work.num_prefill_partials, 128);
  for (size_t i = 0; i < tasks.size(); ++i) {
    const auto k = static_cast<int>(i);
    EXPECT_EQ(tasks[i].cut, (PrefillCut{k % 2, 2, k / 2 * 2}.packed()));
  }
  for (size_t i = work.buffer[kPrefillCounters]; i < work.buffer.size(); ++i)
    EXPECT_EQ(work.buffer[i], 0);
  EXPECT_EQ(work.buffer.size() - work.buffer[kPrefillCounters], 128U * kPrefillCountersAPartial);
  // 20 rows: eight tiles of 32,768 keys.
  const std::vector<int32_t> few = {0, 20};
  plan_attention_work({few, contexts, {}, 4096, 32, 8, 128}, 0, 128, 2, work);
  tasks = tasks_of(work);
  EXPECT_EQ(tasks.size(), 8U * 16);
  EXPECT_EQ(tasks.back().cut, (PrefillCut{15, 16, 112}.packed()));
  // A window of 1,500 keys is too little to share; and what may not depend on other rows is whole.
  plan_attention_work({few, contexts, {}, 4096, 32, 8, 128}, 1500, 128, 2, work);
  EXPECT_EQ(work.num_prefill_partials, 0);
  work.prefill_slots = 0;
  plan_attention_work({few, contexts, {}, 4096, 32, 8, 128}, 0, 128, 2, work);
  EXPECT_EQ(tasks_of(work).size(), 8U);
}

}  // namespace
}  // namespace miniinfer::cuda
