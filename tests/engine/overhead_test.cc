#include "engine/bench/overhead.h"

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

// That the benchmark measures decode steps at all; what it measures is no matter for a test on a
// shared machine.
TEST(EngineOverhead, EveryPartIsMeasured) {
  const EngineOverhead overhead =
      measure_engine_overhead({.batch = 16, .vocab = 64, .prompt_tokens = 20, .steps = 10});
  for (const double us :
       {overhead.plan_us, overhead.layout_us, overhead.sample_us, overhead.commit_us})
    EXPECT_GT(us, 0);
  EXPECT_GE(overhead.total_us, overhead.plan_us + overhead.layout_us);
}

}  // namespace
}  // namespace miniinfer
