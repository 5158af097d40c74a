#include "tensor/profiler.h"

#include <cmath>
#include <future>

#include "gpu_test.h"
#include "llm/core.h"
#include "llm/profile_report.h"
#include "miniinfer/ops/linear.h"

namespace miniinfer {
namespace {

class DeviceProfile : public GpuTest {};

TEST_F(DeviceProfile, OperatorsTakeWhatEventsAroundThemSayAndFillTheirStep) {
  constexpr int64_t kSize = 4096;
  const Tensor x({kSize, kSize}, DType::kBFloat16, context().device());
  const Tensor weight({kSize, kSize}, DType::kBFloat16, context().device());
  const Tensor out({kSize, kSize}, DType::kBFloat16, context().device());
  const auto product = [&] {
    linear(context(), {.x = x.view(), .weight = weight.view(), .out = out});
  };
  product();
  context().synchronize();
  cuda::Event begin(true), end(true);
  begin.record(context().cuda_state().stream());
  for (int i = 0; i < 20; ++i) product();
  end.record(context().cuda_state().stream());
  end.synchronize();
  const double alone_us = 1e3 * end.milliseconds_since(begin) / 20;

  Profiler profiler;
  context().set_profiler(&profiler);
  profiler.start(Profiler::Mode::kOperators);
  for (int step = 0; step < 3; ++step) {
    const HostPhase turn(&profiler, "step");
    profiler.begin_step(context(), 1, 1);
    for (int i = 0; i < 20; ++i) product();
    profiler.step_queued();
  }
  const Profile profile = profiler.stop();
  context().set_profiler(nullptr);
  ASSERT_EQ(profile.steps.size(), 3U);
  ASSERT_EQ(profile.ops.size(), 60U);
  EXPECT_TRUE(profile.on_device);
  double sum = 0;
  for (const Profile::Op& op : profile.ops) sum += 1e-3 * static_cast<double>(op.time.ns());
  EXPECT_NEAR(sum / 60, alone_us, 0.25 * alone_us + 5);
  for (size_t i = 0; i < 3; ++i) {
    double in_step = 0;
    for (size_t op = 20 * i; op < 20 * (i + 1); ++op)
      in_step += static_cast<double>(profile.ops[op].time.ns());
    EXPECT_NEAR(in_step, static_cast<double>(profile.steps[i].time.ns()), 20'000);
    EXPECT_EQ(profile.steps[i].gap_ns < 0, i == 0);
  }
}

// The same requests through an engine, as graphs and by operator: the tables see every step.
TEST_F(DeviceProfile, AnEngineIsSeenAsItRunsAndByOperator) {
  Profiler profiler;
  LLMOptions options;
  options.device = "cuda";
  options.max_model_len = 256;
  options.max_num_seqs = 4;
  options.enable_prefix_caching = false;
  options.kv_cache_memory_bytes = 64 << 20;
  LlmCore core(ModelSource::from_shape("tiny"), options, &profiler);
  const auto run = [&] {
    EngineRequest request;
    request.prompt.assign(100, 7);
    request.params.max_tokens = 20;
    request.params.ignore_eos = true;
    std::promise<void> ended;
    core.engine().submit(std::move(request), [&](EngineEvent&& event) {
      if (event.finish_reason) ended.set_value();
    });
    ended.get_future().wait();
    return true;
  };
  const auto passes = profile_passes(profiler, /*warm=*/true, run);
  ASSERT_TRUE(passes);
  MachineLimits limits{.device = "gpu",
                       .bytes_per_s = 4e12,
                       .float32_flops_per_s = 5e13,
                       .bfloat16_flops_per_s = 7e14,
                       .on_gpu = true};
  const ProfileReport report = report_profile(*passes, limits);
  ASSERT_EQ(report.steps.size(), 2U);
  EXPECT_FALSE(report.steps[0].graph);
  EXPECT_TRUE(report.steps[1].graph);
  EXPECT_GE(report.steps[1].count, 19);
  ASSERT_EQ(report.operators.size(), 2U);
  for (const OperatorTable& table : report.operators) {
    EXPECT_NEAR(table.operators_us, table.step_us, 0.2 * table.step_us + 30);
    EXPECT_EQ(table.layers.size(), 7U);
  }
}

}  // namespace
}  // namespace miniinfer
