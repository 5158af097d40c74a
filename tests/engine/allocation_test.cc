// Counts the heap allocations of the steady state: a decode step of plan, run, sample and commit
// makes none.
#include <gtest/gtest.h>

#include "engine/model_runner.h"
#include "engine/sampler.h"
#include "engine/sampling_state.h"
#include "engine/scheduler.h"
#include "engine_harness.h"
#include "support/failing_new.h"

namespace miniinfer {
namespace {

TEST(Allocation, ADecodeStepMakesNone) {
  auto model = std::make_shared<FakeModel>(512);
  EngineConfig config = test_config();
  config.max_num_seqs = 32;
  config.num_blocks = 400;
  config.max_num_batched_tokens = 512;
  ExecContext context = ExecContext::cpu(2);
  Scheduler scheduler(config);
  ModelRunner runner(model, config, context);
  Sampler sampler(512, config, context);
  std::vector<std::unique_ptr<Request>> requests;
  std::mt19937 random(1);
  for (int i = 0; i < 32; ++i) {
    EngineRequest input = greedy_request(random_prompt(random, 512, 20), 100);
    input.params.temperature = i % 2;
    input.params.top_p = i % 4 == 1 ? 0.9 : 1;
    input.eos_token_ids = {511};
    input.params.min_tokens = 50;
    requests.push_back(std::make_unique<Request>(i + 1, std::move(input), nullptr, 16));
    set_prefix_sharing(model->config(), *requests.back());
    Sequence& sequence = requests.back()->sequences[0];
    sequence.sampling = std::make_unique<SamplingState>(sequence, 0, 512);
    scheduler.submit(*requests.back(), {});
  }
  std::vector<StepResult> results(32);
  const auto step = [&] {
    StepPlan& plan = scheduler.plan({});
    const std::span<StepResult> of_plan(results.data(), plan.items.size());
    sampler.sample(context, plan, runner.run(plan), of_plan);
    scheduler.commit(plan, of_plan);
    return plan.items.size();
  };
  for (int i = 0; i < 6; ++i) step();  // prompts, and scratch vectors that reach their size
  const int64_t before = failing_new::allocations();
  size_t items = 0;
  for (int i = 0; i < 40; ++i) items += step();
  const int64_t after = failing_new::allocations();  // before the assertions, which allocate
  EXPECT_EQ(items, 40U * 32U);
  EXPECT_EQ(after - before, 0);
  EXPECT_EQ(context.workspace().growths(), 0);
}

// What a request was told, without an allocation of its own.
struct Answer {
  std::atomic<int> ended{0}, tokens{0}, faults{0};
  EventSink sink() {
    return [this](EngineEvent&& event) {
      tokens += static_cast<int>(event.token_ids.size());
      faults += event.finish_reason == FinishReason::kError;
      ended += event.finish_reason.has_value();
    };
  }
  void wait(int n) const {
    while (ended.load() < n) std::this_thread::yield();
  }
};

TEST(Allocation, EveryOneThatFailsInTurnIsAnswered) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.num_blocks = 12;  // two such requests preempt each other
  config.max_model_len = 12 * 16;
  Engine engine(model, config, ExecContext::cpu(1));
  std::mt19937 random(1);
  std::vector<EngineRequest> requests;
  for (int i = 0; i < 3; ++i) {
    EngineRequest request = greedy_request(random_prompt(random, 97, 60), 30);
    request.params.n = 2;
    request.params.logprobs = 2;
    request.params.prompt_logprobs = 2;
    request.params.frequency_penalty = 0.1;
    request.params.min_tokens = 3;
    request.eos_token_ids = {1};
    request.bad_words = {{2}, {3, 4}};
    request.deadline = Clock::now() + std::chrono::hours(1);
    requests.push_back(std::move(request));
  }
  int refused = 0, faults = 0;
  bool failed = true;
  for (int64_t nth = 1; failed; ++nth) {
    ASSERT_LT(nth, 100'000);
    std::vector<EngineRequest> copies = requests;
    Answer answers[3];
    EventSink sinks[3] = {answers[0].sink(), answers[1].sink(), answers[2].sink()};
    bool accepted[3] = {};
    failing_new::Armed armed(nth);
    for (int i = 0; i < 3; ++i) {
      try {
        engine.submit(std::move(copies[i]), std::move(sinks[i]));
        accepted[i] = true;
      } catch (const Error&) {
        ++refused;
      }
    }
    for (int i = 0; i < 3; ++i)
      if (accepted[i]) answers[i].wait(2);
    armed.disarm();
    failed = armed.reached();
    for (int i = 0; i < 3; ++i) {
      faults += answers[i].faults.load();
      EXPECT_EQ(answers[i].ended.load(), accepted[i] ? 2 : 0);
    }
    ASSERT_TRUE(engine.stats().healthy) << "allocation " << nth;
  }
  EXPECT_GT(refused, 50);
  EXPECT_GT(faults, 100);
  expect_released(engine);
}

}  // namespace
}  // namespace miniinfer
