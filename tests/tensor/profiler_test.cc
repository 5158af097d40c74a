#include "tensor/profiler.h"

#include <thread>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

void work(ExecContext& context, const char* name, double bytes) {
  const OpScope scope(context, name, [&] { return OpCost{.bytes = bytes, .detail = "8"}; });
  std::this_thread::sleep_for(std::chrono::microseconds(50));
}

// A turn of an engine's loop with one step of two layers.
void turn(ExecContext& context, Profiler& profiler, int64_t tokens) {
  const HostPhase whole(&profiler, "step");
  {
    const HostPhase phase(&profiler, "plan");
  }
  {
    const HostPhase phase(&profiler, "run");
    profiler.begin_step(context, tokens, 1);
    for (int layer = 0; layer < 2; ++layer) {
      profile_part(context, "mlp", layer);
      work(context, "linear", 100);
    }
    profiler.step_queued();
  }
  const HostPhase phase(&profiler, "sample");
  profile_part(context, "sampling");
  work(context, "sample", 7);
  profiler.mark_step_end();
}

TEST(Profiler, RecordsNothingBeforeStartAndAfterStop) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  turn(context, profiler, 1);
  profiler.start(Profiler::Mode::kOperators);
  turn(context, profiler, 1);
  EXPECT_EQ(profiler.stop().steps.size(), 1U);
  turn(context, profiler, 1);
  EXPECT_FALSE(profiler.watches_operators());
  profiler.start(Profiler::Mode::kSteps);
  const Profile nothing = profiler.stop();
  EXPECT_TRUE(nothing.steps.empty() && nothing.host.empty() && nothing.ops.empty());
}

TEST(Profiler, OperatorsLieInTheirStepAndStepsInTheirTurn) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  profiler.start(Profiler::Mode::kOperators);
  turn(context, profiler, 5);
  turn(context, profiler, 1);
  const Profile profile = profiler.stop();
  ASSERT_EQ(profile.steps.size(), 2U);
  EXPECT_FALSE(profile.steps[0].decode());
  EXPECT_TRUE(profile.steps[1].decode());
  EXPECT_EQ(profile.steps[0].gap_ns, -1);  // nothing ran before
  EXPECT_EQ(profile.steps[1].gap_ns, profile.steps[1].time.begin_ns - profile.steps[0].time.end_ns);
  ASSERT_EQ(profile.ops.size(), 6U);
  for (size_t i = 0; i < profile.ops.size(); ++i) {
    const Profile::Op& op = profile.ops[i];
    const Profile::Step& step = profile.steps[static_cast<size_t>(op.step)];
    EXPECT_EQ(op.step, static_cast<int32_t>(i / 3));
    EXPECT_GE(op.time.ns(), 50000);
    EXPECT_GE(op.time.begin_ns, step.time.begin_ns);
    EXPECT_LE(op.time.end_ns, step.time.end_ns);
    EXPECT_EQ(profile.names[op.part], i % 3 == 2 ? "sampling" : "mlp");
    EXPECT_EQ(op.layer, i % 3 == 2 ? -1 : static_cast<int>(i % 3));
    EXPECT_EQ(op.bytes, i % 3 == 2 ? 7 : 100);
  }
  EXPECT_EQ(profile.kinds.size(), 2U);
  ASSERT_EQ(profile.host.size(), 8U);
  const std::vector<std::string> phases = {"step", "plan", "run", "sample"};
  for (size_t i = 0; i < profile.host.size(); ++i) {
    const Profile::HostSpan& span = profile.host[i];
    const Profile::HostSpan& whole = profile.host[i / 4 * 4];
    EXPECT_EQ(span.step, static_cast<int32_t>(i / 4)) << "what precedes the step belongs to it too";
    EXPECT_GE(span.time.begin_ns, whole.time.begin_ns);
    EXPECT_LE(span.time.end_ns, whole.time.end_ns);
    EXPECT_EQ(profile.names[span.name], phases[i % 4]);
  }
}

TEST(Profiler, StepsAloneAskNoOperatorForItsCost) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  profiler.start(Profiler::Mode::kSteps);
  {
    const HostPhase whole(&profiler, "step");
    profiler.begin_step(context, 1, 1);
    const OpScope scope(context, "linear", [&]() -> OpCost {
      ADD_FAILURE() << "asked for its cost";
      return {};
    });
    profiler.step_queued();
  }
  const Profile profile = profiler.stop();
  EXPECT_EQ(profile.steps.size(), 1U);
  EXPECT_TRUE(profile.ops.empty());
}

TEST(Profiler, AnIdleEngineLeavesNoGap) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  profiler.start(Profiler::Mode::kSteps);
  turn(context, profiler, 1);
  profiler.idle();
  turn(context, profiler, 1);
  EXPECT_EQ(profiler.stop().steps[1].gap_ns, -1);
}

// What an engine does between turns, while stop() may take the profile away.
TEST(Profiler, RecordsNothingOutsideOfATurn) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  profiler.start(Profiler::Mode::kOperators);
  turn(context, profiler, 1);
  EXPECT_FALSE(profiler.by_operator());
  work(context, "linear", 1);
  profiler.note_graph();
  profiler.step_queued();
  const Profile profile = profiler.stop();
  EXPECT_EQ(profile.ops.size(), 3U);
  EXPECT_FALSE(profile.steps[0].graph);
}

TEST(Profiler, StopWaitsForTheTurnThatRuns) {
  ExecContext context = ExecContext::cpu(1);
  Profiler profiler;
  context.set_profiler(&profiler);
  profiler.start(Profiler::Mode::kOperators);
  std::atomic<bool> stop{false}, turned{false};
  std::thread engine([&] {
    while (!stop) {
      turn(context, profiler, 1);
      turned = true;
    }
  });
  while (!turned) std::this_thread::yield();
  const Profile profile = profiler.stop();
  stop = true;
  engine.join();
  ASSERT_FALSE(profile.steps.empty());
  EXPECT_EQ(profile.ops.size(), 3 * profile.steps.size());
  EXPECT_EQ(profile.host.size(), 4 * profile.steps.size());
  for (const Profile::HostSpan& span : profile.host) EXPECT_GE(span.time.ns(), 0);
}

}  // namespace
}  // namespace miniinfer
