#include "base/once.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(Once, RunsUntilItSucceedsAndNeverAgain) {
  Once once;
  int calls = 0;
  const auto failing = [&] {
    ++calls;
    throw std::runtime_error("not yet");
  };
  EXPECT_THROW(once.call(failing), std::runtime_error);
  EXPECT_THROW(once.call(failing), std::runtime_error);
  once.call([&] { ++calls; });
  once.call(failing);
  EXPECT_EQ(calls, 3);
}

TEST(Once, OneOfManyThreadsRunsItAndAllSeeWhatItDid) {
  for (int round = 0; round < 50; ++round) {
    Once once;
    int value = 0;
    std::atomic<int> calls{0}, seen{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        once.call([&] {
          ++calls;
          value = 7;
        });
        seen += value;
      });
    threads.clear();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(seen, 28);
  }
}

}  // namespace
}  // namespace miniinfer
