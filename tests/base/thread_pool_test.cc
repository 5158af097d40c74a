#include "base/thread_pool.h"

#include <array>
#include <atomic>
#include <chrono>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(ThreadPool, EveryIndexOfARangeIsVisitedOnce) {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    for (int64_t n : {0, 1, 2, 7, 64, 1001}) {
      std::vector<std::atomic<int>> visits(n);
      pool.parallel_for(n, 3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) visits[i].fetch_add(1);
      });
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(visits[i].load(), 1) << "threads " << threads << " n " << n;
      pool.for_each_task(n, [&](int64_t task, int) { visits[task].fetch_add(1); });
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(visits[i].load(), 2) << "threads " << threads << " n " << n;
    }
  }
}

TEST(ThreadPool, RegionsBeat) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kTick(20);
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.last_beat(), Clock::time_point());
    const Clock::time_point before = Clock::now();
    pool.for_each_task(2, [](int64_t, int) {});
    EXPECT_GE(pool.last_beat(), before - kTick);
    EXPECT_LE(pool.last_beat(), Clock::now());
  }
}

TEST(ThreadPool, ManyShortRegionsAndSleepsLoseNoWork) {
  // More threads than the machine has CPUs: most of them come late to most regions.
  for (int threads : {2, 4, 64}) {
    ThreadPool pool(threads);
    int64_t sum = 0;
    for (int round = 0; round < 5000; ++round) {
      std::atomic<int64_t> next{0}, claimed{0};
      pool.run([&](int worker) {
        EXPECT_LT(worker, threads);
        for (int64_t task; (task = next.fetch_add(1)) < 10;) claimed.fetch_add(task);
      });
      sum += claimed.load();
      if (round % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(sum, int64_t{5000} * 45);
  }
}

TEST(ThreadPool, AStageBeginsWhenAllPartsOfTheOneBeforeHaveEnded) {
  // With 64 threads most workers come too late, and the caller takes their parts.
  for (const int threads : {1, 2, 3, 64}) {
    for (const int parts : {1, 2, threads}) {
      if (parts > threads) continue;
      ThreadPool pool(threads);
      constexpr int kStages = 9;
      std::vector<uint8_t> kinds(kStages, ThreadPool::kEven);
      kinds[3] = 2;
      for (int round = 0; round < 200; ++round) {
        std::vector<int> ended(static_cast<size_t>(parts), 0);
        std::vector<int> wrong(static_cast<size_t>(parts), 0);
        pool.run_stages(parts, kinds, [&](int part, int stage, FetchAhead& ahead) {
          const auto own = static_cast<size_t>(part);
          if (ended[own] != stage) ++wrong[own];
          ahead.set(std::array{MemoryRange{ended.data(), ended.size() * sizeof(int)}});
          ended[own] = stage + 1;
        });
        EXPECT_EQ(ended, std::vector<int>(static_cast<size_t>(parts), kStages));
        EXPECT_EQ(wrong, std::vector<int>(static_cast<size_t>(parts), 0));
        // Workers that slept in between, and regions of the other sort.
        if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        std::atomic<int> visits{0};
        pool.for_each_task(7, [&](int64_t, int) { visits.fetch_add(1); });
        EXPECT_EQ(visits.load(), 7);
      }
    }
  }
}

TEST(ThreadPool, PartsOfAStageReadWhatTheOthersWroteInTheOneBefore) {
  ThreadPool pool(2);
  constexpr int kStages = 1000;
  const std::vector<uint8_t> kinds(kStages, ThreadPool::kEven);
  // Each part writes its own half of one buffer and reads the whole of the other.
  std::vector<int64_t> buffers[2] = {std::vector<int64_t>(64, 1), std::vector<int64_t>(64, 0)};
  pool.run_stages(2, kinds, [&](int part, int stage, FetchAhead&) {
    const std::vector<int64_t>& from = buffers[stage % 2];
    const int64_t sum = std::accumulate(from.begin(), from.end(), int64_t{0});
    for (int i = 32 * part; i < 32 * part + 32; ++i)
      buffers[(stage + 1) % 2][static_cast<size_t>(i)] = (sum + i) % 1009;
  });
  std::vector<int64_t> expected(64, 1);
  for (int stage = 0; stage < kStages; ++stage) {
    const int64_t sum = std::accumulate(expected.begin(), expected.end(), int64_t{0});
    for (int i = 0; i < 64; ++i) expected[static_cast<size_t>(i)] = (sum + i) % 1009;
  }
  EXPECT_EQ(buffers[kStages % 2], expected);
}

TEST(ThreadPool, AllWorkersTakePartInALongRegion) {
  ThreadPool pool(3);
  std::atomic<int> inside{0};
  pool.run([&](int) {
    // Returns only when all three are inside, so it ends if and only if none is left out.
    inside.fetch_add(1);
    while (inside.load() < 3) std::this_thread::yield();
  });
  EXPECT_EQ(inside.load(), 3);
}

}  // namespace
}  // namespace miniinfer
