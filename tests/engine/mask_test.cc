// Masks that are computed elsewhere: late ones delay nobody else, and complete ones end their
// sequence.
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <random>

#include <gtest/gtest.h>

#include "engine_harness.h"

namespace miniinfer {
namespace {

// What a test and its mask share: the test decides when the mask becomes ready.
struct Switch {
  void set(TokenMask::State next) {
    std::function<void()> wake_copy;
    {
      std::lock_guard lock(mutex);
      state = next;
      wake_copy = wake;
    }
    if (wake_copy) wake_copy();
  }
  std::mutex mutex;
  TokenMask::State state = TokenMask::State::kPending;
  std::function<void()> wake;
  std::atomic<int> fills{0};
  bool pending_after_accept = false;
  bool throws = false;
};

class SwitchedMask : public TokenMask {
 public:
  explicit SwitchedMask(std::shared_ptr<Switch> shared) : switch_(std::move(shared)) {}
  void set_wake(std::function<void()> wake) override {
    std::lock_guard lock(switch_->mutex);
    switch_->wake = std::move(wake);
  }
  State state() noexcept override {
    std::lock_guard lock(switch_->mutex);
    return switch_->state;
  }
  void fill(std::span<uint32_t> allowed) override {
    EXPECT_EQ(state(), State::kReady);
    ++switch_->fills;
    if (switch_->throws) throw Error(ErrorCode::kInvalidArgument, "the grammar is stuck");
    allowed[0] = 0b1110;
  }
  bool accept(int32_t) override {
    std::lock_guard lock(switch_->mutex);
    if (switch_->pending_after_accept) switch_->state = State::kPending;
    return true;
  }

 private:
  std::shared_ptr<Switch> switch_;
};

EngineRequest masked_request(const std::shared_ptr<Switch>& shared, int max_tokens) {
  EngineRequest request = greedy_request({1, 2, 3}, max_tokens);
  request.make_mask = [shared] { return std::make_unique<SwitchedMask>(shared); };
  return request;
}

void expect_free_of_masks(Engine& engine) {
  expect_released(engine);
  EXPECT_TRUE(engine.stats().healthy);
}

TEST(Mask, ALateMaskDelaysNobodyElse) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  const auto late = std::make_shared<Switch>();
  Collector masked, first, second;
  engine.submit(masked_request(late, 5), masked.sink());
  engine.submit(greedy_request({4, 5}, 30), first.sink());
  first.wait();
  const int64_t steps = engine.stats().steps;
  engine.submit(greedy_request({6, 7}, 30), second.sink());
  EXPECT_EQ(second.wait().tokens, model->greedy({6, 7}, 30));
  // A token a step, and the steps that were under way when it came.
  EXPECT_LE(engine.stats().steps - steps, 32);
  EXPECT_EQ(masked.num_tokens(), 0U);
  EXPECT_EQ(late->fills.load(), 0);
  late->set(TokenMask::State::kReady);
  EXPECT_EQ(masked.wait().finish, FinishReason::kLength);
  EXPECT_EQ(masked.wait().tokens.size(), 5U);
  expect_free_of_masks(engine);
}

TEST(Mask, LateMasksGiveTheSameTextAsPromptOnes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<Collected> results;
  for (const bool pending : {false, true}) {
    Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
    const auto shared = std::make_shared<Switch>();
    shared->state = TokenMask::State::kReady;
    shared->pending_after_accept = pending;
    EngineRequest request = masked_request(shared, 40);
    request.prompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
    request.params.temperature = 1;
    request.params.seed = 5;
    request.params.logprobs = 2;
    request.params.prompt_logprobs = 1;
    Collector masked, other;
    engine.submit(request, masked.sink());
    engine.submit(greedy_request({4, 5}, 200), other.sink());
    for (size_t i = 1; pending && i < 40; ++i) {
      masked.wait_tokens(i);
      if (random() % 2) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
      shared->set(TokenMask::State::kReady);
    }
    results.push_back(masked.wait());
    EXPECT_EQ(results.back().finish, FinishReason::kLength);
    other.wait();
    expect_free_of_masks(engine);
  }
  EXPECT_EQ(results[0].tokens, results[1].tokens);
  ASSERT_EQ(results[1].prompt_logprobs.size(), 17U);
  for (size_t i = 0; i < results[0].logprobs.size(); ++i)
    EXPECT_EQ(results[0].logprobs[i].logprob, results[1].logprobs[i].logprob);
  for (size_t i = 1; i < 17; ++i)
    EXPECT_EQ(results[0].prompt_logprobs[i]->logprob, results[1].prompt_logprobs[i]->logprob);
}

TEST(Mask, ACompleteTextStopsWithoutAnotherToken) {
  Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
  const auto shared = std::make_shared<Switch>();
  shared->state = TokenMask::State::kReady;
  shared->pending_after_accept = true;
  Collector masked;
  engine.submit(masked_request(shared, 50), masked.sink());
  masked.wait_tokens(1);
  shared->set(TokenMask::State::kReady);
  masked.wait_tokens(2);
  shared->set(TokenMask::State::kComplete);
  EXPECT_EQ(masked.wait().finish, FinishReason::kStop);
  EXPECT_EQ(masked.wait().tokens.size(), 2U);
  expect_free_of_masks(engine);
}

TEST(Mask, ATextCompleteFromTheStartStopsEmpty) {
  Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
  const auto shared = std::make_shared<Switch>();
  shared->state = TokenMask::State::kComplete;
  Collector masked;
  engine.submit(masked_request(shared, 50), masked.sink());
  EXPECT_EQ(masked.wait().finish, FinishReason::kStop);
  EXPECT_TRUE(masked.wait().tokens.empty());
  expect_free_of_masks(engine);
}

TEST(Mask, AFaultyLateMaskEndsItsSequenceAlone) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  const auto shared = std::make_shared<Switch>();
  shared->throws = true;
  Collector masked, other;
  engine.submit(masked_request(shared, 5), masked.sink());
  engine.submit(greedy_request({4, 5}, 200), other.sink());
  other.wait_tokens(10);
  shared->set(TokenMask::State::kReady);
  EXPECT_EQ(masked.wait().finish, FinishReason::kError);
  EXPECT_EQ(masked.wait().error->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(other.wait().tokens, model->greedy({4, 5}, 200));
  expect_free_of_masks(engine);
}

TEST(Mask, WhileAllWaitTheEngineSleepsAndDeadlinesAndCancelsHold) {
  Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
  const auto shared = std::make_shared<Switch>();
  Collector expiring, cancelled;
  EngineRequest request = masked_request(shared, 5);
  const RequestId id = engine.submit(request, cancelled.sink());
  request.deadline = Clock::now() + std::chrono::milliseconds(60);
  engine.submit(request, expiring.sink());
  EXPECT_EQ(expiring.wait().error->code(), ErrorCode::kDeadlineExceeded);
  EXPECT_LE(engine.stats().steps, 4);  // each computed its prompt and found its mask late
  engine.cancel(id);
  EXPECT_EQ(cancelled.wait().finish, FinishReason::kCancelled);
  expect_free_of_masks(engine);
}

}  // namespace
}  // namespace miniinfer
