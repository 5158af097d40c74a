#include <map>
#include <tuple>

#include <gtest/gtest.h>

#include "ops/cuda/decode_attention.h"
#include "ops/cuda/decode_plan.h"
#include "ops/op_test.h"

namespace miniinfer::cuda {
namespace {

struct Step {
  std::vector<int32_t> starts = {0}, contexts;
  int heads = 8, kv_heads = 8;

  void add(int32_t rows, int32_t context) {
    starts.push_back(starts.back() + rows);
    contexts.push_back(context);
  }
  AttentionProblem problem() const { return {starts, contexts, {}, 4096, heads, kv_heads, 128}; }
  DecodePlan plan(const DecodeSplit& split, int window = 0) const {
    DecodePlan plan;
    plan_decode(problem(), window, split, plan);
    return plan;
  }
};

Step equal_step(int sequences, int32_t context, int heads, int kv_heads) {
  Step step;
  step.heads = heads;
  step.kv_heads = kv_heads;
  for (int b = 0; b < sequences; ++b) step.add(1, context);
  return step;
}

int64_t cache_blocks(const DecodeTask& task) {
  return (task.context_end - task.context_begin + 15) / 16;
}

// The most cache blocks of a slot over the mean.
double imbalance(const DecodePlan& plan) {
  int64_t most = 0, total = 0;
  for (size_t s = 0; s + 1 < plan.starts.size(); ++s) {
    int64_t blocks = 0;
    for (int i = plan.starts[s]; i < plan.starts[s + 1]; ++i) blocks += cache_blocks(plan.tasks[i]);
    most = std::max(most, blocks);
    total += blocks;
  }
  return static_cast<double>(most * static_cast<int64_t>(plan.starts.size() - 1)) /
         static_cast<double>(total);
}

// One unit's pieces follow one another from its first block to its end, and no unit is left out.
void expect_whole(const Step& step, const DecodePlan& plan, int window) {
  const int group = step.heads / step.kv_heads;
  std::map<std::tuple<int, int, int>, std::vector<DecodeTask>> units;
  for (const DecodeTask& t : plan.tasks) units[{t.sequence, t.row_begin, t.kv_head}].push_back(t);
  size_t expected = 0;
  for (size_t b = 0; b < step.contexts.size(); ++b) {
    const int rows = step.starts[b + 1] - step.starts[b];
    if (rows == 0 || !is_decode(rows, group)) continue;
    for (int row = 0; row < rows * group; row += kDecodeRows) {
      const int first = step.contexts[b] - rows + row / group;
      const int last =
          step.contexts[b] - rows + std::min(rows * group - 1, row + kDecodeRows - 1) / group;
      const int begin = window > 0 ? std::max(0, first - window + 1) / 16 * 16 : 0;
      for (int head = 0; head < step.kv_heads; ++head, ++expected) {
        const auto& pieces = units[{static_cast<int>(b), row, head}];
        ASSERT_FALSE(pieces.empty());
        ASSERT_EQ(pieces.front().context_begin, begin);
        ASSERT_EQ(pieces.back().context_end, last + 1);
        for (size_t i = 0; i < pieces.size(); ++i) {
          const DecodeTask& t = pieces[i];
          ASSERT_LT(t.context_begin, t.context_end);
          ASSERT_EQ(t.context_begin % 16, 0);
          if (i > 0) {
            ASSERT_EQ(t.context_begin, pieces[i - 1].context_end);
          }
          ASSERT_EQ(t.num_partials, static_cast<int>(pieces.size()));
          ASSERT_EQ(t.partial, pieces.size() == 1 ? -1 : t.first_partial + static_cast<int>(i));
          ASSERT_LT(t.partial, plan.num_partials);
          ASSERT_EQ(t.query_begin, step.starts[b]);
          ASSERT_EQ(t.query_rows, rows);
          ASSERT_EQ(t.context_len, step.contexts[b]);
        }
      }
    }
  }
  EXPECT_EQ(units.size(), expected);
}

TEST(DecodePlan, CoversEveryContextOnce) {
  Random random(fresh_seed());
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << fresh_seed() << " round " << round);
    Step step;
    const int groups[] = {1, 2, 4, 7, 16, 20, 40};
    const int group = groups[random.below(7)];
    step.kv_heads = static_cast<int>(1 + random.below(9));
    step.heads = group * step.kv_heads;
    int64_t blocks = 0;
    for (int64_t b = random.below(40); b >= 0; --b) {
      const auto rows = static_cast<int32_t>(random.below(4));
      const int64_t longest[] = {1, 40, 900, 30000};
      step.add(rows, rows + static_cast<int32_t>(random.below(longest[random.below(4)])));
      blocks += (step.contexts.back() + 15) / 16;
    }
    const int window = round % 3 == 0 ? static_cast<int>(1 + random.below(300)) : 0;
    DecodeSplit split;
    split.slots = static_cast<int>(1 + random.below(300));
    split.min_blocks = static_cast<int>(1 + random.below(32));
    split.fixed_blocks = round % 4 == 0 ? static_cast<int>(1 + random.below(64)) : 0;
    const DecodePlan plan = step.plan(split, window);
    expect_whole(step, plan, window);
    const int slots = split.slots;
    ASSERT_EQ(plan.starts.size(), static_cast<size_t>(slots + 1));
    EXPECT_EQ(plan.starts.front(), 0);
    EXPECT_EQ(plan.starts.back(), static_cast<int>(plan.tasks.size()));
    EXPECT_TRUE(std::is_sorted(plan.starts.begin(), plan.starts.end()));
    EXPECT_LE(plan.num_partials,
              max_decode_partials(blocks, step.kv_heads, (3 * group + 15) / 16, split));
  }
}

TEST(DecodePlan, LeavesContextsWholeThatFillTheSlots) {
  for (const int sequences : {14, 15, 16}) {
    const DecodePlan plan = equal_step(sequences, 1024, 32, 8).plan({.slots = 132});
    EXPECT_EQ(plan.num_partials, 0);
    EXPECT_EQ(plan.tasks.size(), static_cast<size_t>(8 * sequences));
  }
}

TEST(DecodePlan, SplitsOneLongContextOverAllSlots) {
  const DecodePlan plan = equal_step(1, 8192, 32, 8).plan({.slots = 132});
  EXPECT_EQ(plan.tasks.size(), 128U);  // 16 for each head
  EXPECT_LT(imbalance(plan), 1.05);
  for (size_t s = 0; s + 1 < plan.starts.size(); ++s)
    EXPECT_LE(plan.starts[s + 1] - plan.starts[s], 1);
}

TEST(DecodePlan, DoesNotSplitShortContexts) {
  EXPECT_EQ(equal_step(1, 256, 32, 8).plan({.slots = 132, .min_blocks = 16}).num_partials, 0);
}

TEST(DecodePlan, BalancesRaggedContexts) {
  Random random(fresh_seed());
  for (const int sequences : {3, 10, 20, 64, 256}) {
    SCOPED_TRACE(testing::Message() << "seed " << fresh_seed() << " sequences " << sequences);
    Step step;
    for (int b = 0; b < sequences; ++b)
      step.add(1, static_cast<int32_t>(1000 + random.below(7000)));
    EXPECT_LT(imbalance(step.plan({.slots = 132})), 1.4);
    if (sequences >= 64) {
      EXPECT_LT(imbalance(step.plan({.slots = 132})), 1.12);
    }
  }
}

// With fixed_blocks a sequence is cut alike whatever else the step holds.
TEST(DecodePlan, FixedCutsDoNotDependOnTheStep) {
  const DecodeSplit split{.slots = 132, .fixed_blocks = 32};
  const auto cuts = [&](const Step& step) {
    std::vector<int32_t> ends;
    for (const DecodeTask& t : step.plan(split).tasks)
      if (t.sequence == 0 && t.kv_head == 0) ends.push_back(t.context_end);
    return ends;
  };
  EXPECT_EQ(cuts(equal_step(1, 5000, 32, 8)), cuts(equal_step(200, 5000, 32, 8)));
  EXPECT_EQ(cuts(equal_step(1, 5000, 32, 8)).size(), 10U);
}

// 227 KiB a block on Hopper, 163 on an A100, 99 on a desktop GPU.
TEST(DecodePlan, LaunchesWhatSharedMemoryHolds) {
  for (int dim = 8; dim <= 256; dim += 8) {
    for (const int shared : {232448, 166912, 101376}) {
      for (const int sequences : {1, 256}) {
        const DecodeLaunch launch = choose_decode_launch(sequences, 8, dim, 132, shared);
        const DecodeConfig config = decode_config(dim);
        EXPECT_GE(config.dim, dim);
        EXPECT_EQ(config.exact, config.dim == dim);
        EXPECT_GE(launch.warps, 1);
        EXPECT_LE(launch.warps * config.stages * decode_stage_bytes(config), shared - 2048);
        EXPECT_LE(launch.blocks, kMaxDecodeSlots);
      }
    }
  }
  EXPECT_EQ(choose_decode_launch(1, 8, 128, 132, 232448).warps, 8);
  EXPECT_EQ(choose_decode_launch(256, 8, 128, 132, 232448).blocks, 264);
}

TEST(DecodePlan, AnEmptyStepHasNoTasks) {
  Step step;
  EXPECT_TRUE(step.plan({.slots = 4}).tasks.empty());
  step.add(100, 200);  // prefill
  const DecodePlan plan = step.plan({.slots = 4});
  EXPECT_TRUE(plan.tasks.empty());
  EXPECT_EQ(plan.starts, std::vector<int32_t>(5, 0));
}

}  // namespace
}  // namespace miniinfer::cuda
