#include "nn/parts.h"

#include <array>
#include <atomic>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(Parts, WhatAPartThrowsReachesTheCallerAndEndsTheStages) {
  ExecContext context = ExecContext::cpu(3);
  const std::array<uint8_t, 4> kinds = {ThreadPool::kEven, 1, ThreadPool::kEven, 2};
  for (int thrower = 0; thrower < 3; ++thrower) {
    std::atomic<int> calls{0}, late{0};
    const auto run = [&] {
      run_parts_in_stages(context, 3, kinds,
                          [&](ExecContext& own, int part, int stage, FetchAhead&) {
                            EXPECT_EQ(own.num_threads(), 1);
                            calls.fetch_add(1);
                            if (stage > 1) late.fetch_add(1);
                            if (stage == 1 && part == thrower) throw std::runtime_error("part");
                          });
    };
    EXPECT_THROW(run(), std::runtime_error);
    EXPECT_GE(calls.load(), 4);
    EXPECT_EQ(late.load(), 0);
  }
  std::atomic<int> calls{0};
  run_parts_in_stages(context, 2, kinds,
                      [&](ExecContext&, int, int, FetchAhead&) { calls.fetch_add(1); });
  EXPECT_EQ(calls.load(), 8);
}

TEST(Parts, SharesCoverTheRowsWhateverWasLearned) {
  ThreadPool pool(3);
  const std::array<uint8_t, 1> kinds = {5};
  for (int round = 0; round < 600; ++round) {
    // One part is the slower for a while, then another: the shares move both ways.
    const int slow = round / 200;
    pool.run_stages(3, kinds, [&](int part, int, FetchAhead&) {
      volatile int spins = 0;
      while (spins < (part == slow ? 20000 : 10)) spins = spins + 1;
    });
    for (const int64_t rows : {1, 16, 100, 768, 4096}) {
      for (const int parts : {1, 2, 3}) {
        const RowShares shares(pool, 5, rows, 512, parts);
        int64_t begin = 0;
        for (int i = 0; i < parts; ++i) {
          EXPECT_EQ(shares.of(i).begin, begin);
          EXPECT_GE(shares.of(i).end, begin);
          begin = shares.of(i).end;
        }
        EXPECT_EQ(begin, rows);
      }
    }
  }
}

}  // namespace
}  // namespace miniinfer
