#include "serve/health.h"

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

TEST(Health, FollowsTheHeartbeat) {
  EngineStats stats;
  const Clock::time_point now = Clock::now();
  stats.last_step = now - std::chrono::seconds(2);
  EXPECT_EQ(unhealthy_because(stats, now), nullptr);
  // A loop that hangs is known for it within 10 s.
  EXPECT_STREQ(unhealthy_because(stats, stats.last_step + std::chrono::milliseconds(9500)),
               "the engine is stuck");
  stats.healthy = false;
  EXPECT_STREQ(unhealthy_because(stats, now), "the engine has failed");
}

}  // namespace
}  // namespace miniinfer
