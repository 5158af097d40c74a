#include "base/thread_pool.h"

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

TEST(ThreadPool, ManyShortRegionsAndSleepsLoseNoWork) {
  ThreadPool pool(4);
  std::atomic<int64_t> sum{0};
  for (int round = 0; round < 5000; ++round) {
    pool.run([&](int worker) { sum.fetch_add(worker + 1); });
    if (round % 1000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(sum.load(), int64_t{5000} * (1 + 2 + 3 + 4));
}

}  // namespace
}  // namespace miniinfer
