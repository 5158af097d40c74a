// Counts the heap allocations of the steady state: a decode step of plan, run, sample and commit
// makes none.
#include <atomic>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "engine/model_runner.h"
#include "engine/sampler.h"
#include "engine/sampling_state.h"
#include "engine/scheduler.h"
#include "engine_harness.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

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
  Sampler sampler(512, config);
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
  const int64_t before = allocations.load();
  size_t items = 0;
  for (int i = 0; i < 40; ++i) items += step();
  const int64_t after = allocations.load();  // before the assertions, which allocate
  EXPECT_EQ(items, 40U * 32U);
  EXPECT_EQ(after - before, 0);
  EXPECT_EQ(context.workspace().growths(), 0);
}

}  // namespace
}  // namespace miniinfer
