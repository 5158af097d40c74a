#include "base/task_ranges.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(TaskRanges, AThreadTakesItsRunInOrder) {
  std::vector<TaskRanges::Range> memory(2);
  TaskRanges ranges(memory, 10);
  EXPECT_EQ(ranges.claim(0), 0);
  EXPECT_EQ(ranges.claim(1), 5);
  EXPECT_EQ(ranges.claim(0), 1);
  EXPECT_EQ(ranges.claim(1), 6);
}

TEST(TaskRanges, OneThreadDoesTheTasksOfThoseThatNeverCome) {
  for (int64_t tasks : {0, 1, 2, 7, 64, 1000}) {
    std::vector<TaskRanges::Range> memory(5);
    TaskRanges ranges(memory, tasks);
    std::vector<int> claims(static_cast<size_t>(tasks));
    for (int64_t task; (task = ranges.claim(3)) >= 0;) ++claims[static_cast<size_t>(task)];
    for (int count : claims) EXPECT_EQ(count, 1) << tasks << " tasks";
  }
}

TEST(TaskRanges, EveryTaskIsClaimedOnceByAnyNumberOfThreads) {
  for (int threads : {2, 3, 8}) {
    for (int round = 0; round < 200; ++round) {
      const int64_t tasks = 1 + round * 7;
      std::vector<TaskRanges::Range> memory(static_cast<size_t>(threads));
      TaskRanges ranges(memory, tasks);
      std::vector<std::atomic<int>> claims(static_cast<size_t>(tasks));
      std::vector<std::thread> team;
      for (int i = 0; i < threads; ++i)
        team.emplace_back([&, i] {
          for (int64_t task; (task = ranges.claim(i)) >= 0;) ++claims[static_cast<size_t>(task)];
        });
      for (std::thread& thread : team) thread.join();
      for (const auto& count : claims) ASSERT_EQ(count.load(), 1) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace miniinfer
