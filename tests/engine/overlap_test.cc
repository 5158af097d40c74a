// Steps that are planned and launched before the tokens of the one before are known.
#include <atomic>
#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "engine/sampler.h"
#include "engine/sampling_state.h"
#include "engine_harness.h"

namespace miniinfer {
namespace {

constexpr int kVocab = 97;
constexpr int32_t kPoison = 96;

// Allows what depends on the tokens before, and ends after so many of them.
class ChainMask : public TokenMask {
 public:
  explicit ChainMask(int length) : left_(length) {}
  void fill(std::span<uint32_t> allowed) override {
    for (int32_t t = 0; t < kPoison; ++t)
      if ((t + last_) % 3 != 0) allowed[t / 32] |= uint32_t{1} << (t % 32);
  }
  bool accept(int32_t token_id) override {
    last_ = token_id;
    return --left_ > 0;
  }

 private:
  int32_t last_ = 1;
  int left_;
};

struct Case {
  EngineRequest request;
  int cancel_at = 0;  // its sink cancels after so many tokens of a sequence
};

class Workload {
 public:
  explicit Workload(uint32_t seed) : random_(seed) {
    config_ = test_config();
    config_.max_num_seqs = 1 + below(8);
    config_.max_num_batched_tokens = 1 + below(below(2) ? 60 : 8);
    config_.max_model_len = 112;
    config_.num_blocks = 7 + below(below(2) ? 60 : 8);
    config_.enable_prefix_caching = below(4) != 0;
    config_.policy = below(2) ? SchedulingPolicy::kFcfs : SchedulingPolicy::kPriority;
    const int count = 1 + below(12);
    const bool host_side = below(2);  // some want what does not overlap
    for (int i = 0; i < count; ++i) cases_.push_back(random_case(i, host_side));
    model_->poison = kPoison;
  }

  // What each request was told; cancelled ones in part.
  std::vector<std::vector<Collected>> run(bool overlap) {
    config_.async_scheduling = overlap;
    std::deque<Collector> collectors;
    std::vector<std::vector<Collected>> told;
    {
      Engine engine(model_, config_, ExecContext::cpu(1));
      model_->paused = below(2);  // the requests come together, or one after the other
      for (const Case& c : cases_) submit(engine, c, collectors);
      model_->paused = false;
      for (size_t i = 0; i < cases_.size(); ++i) {
        auto& of_request = told.emplace_back();
        for (int k = 0; k < cases_[i].request.params.n; ++k)
          of_request.push_back(collectors[i].wait(k));
      }
      expect_released(engine);
      EXPECT_TRUE(engine.stats().healthy);
    }
    return told;
  }

  const std::vector<Case>& cases() const { return cases_; }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  Case random_case(int index, bool host_side) {
    Case c;
    const bool shared = below(2);
    c.request = greedy_request(random_prompt(random_, kPoison, 1 + below(50)), 1 + below(50));
    if (shared)
      std::fill_n(c.request.prompt.begin(), std::min<size_t>(20, c.request.prompt.size()), 5);
    for (int32_t t = kPoison; t < kVocab; ++t) c.request.bad_words.push_back({t});
    SamplingParams& params = c.request.params;
    params.seed = index;
    params.n = below(4) ? 1 : 1 + below(4);
    if (below(2)) params.temperature = 0.2 + below(10) * 0.1;
    if (below(3) == 0) params.top_p = 0.9;
    if (below(3) == 0) params.top_k = 5;
    if (below(3) == 0) params.repetition_penalty = 1.3;
    if (below(3) == 0) params.presence_penalty = 0.7;
    if (below(3) == 0) params.frequency_penalty = 0.4;
    if (below(3) == 0) params.logit_bias = {{7, 3.0}, {8, -100.0}};
    if (below(2)) c.request.eos_token_ids = {below(kPoison), below(kPoison), below(kPoison)};
    if (below(3) == 0) params.min_tokens = 1 + below(params.max_tokens);
    if (below(2)) params.stop_token_ids = {below(kPoison), below(kPoison)};
    c.request.priority = below(3);
    if (below(4) == 0) c.cancel_at = 1 + below(20);
    if (below(10) == 0) c.request.prompt.back() = kPoison;  // its rows are not finite
    if (!host_side) return c;
    if (below(4) == 0) params.logprobs = below(3);
    if (below(6) == 0) params.prompt_logprobs = 1;
    if (below(4) == 0) c.request.bad_words.push_back({below(kPoison), below(kPoison)});
    if (below(4) == 0)
      c.request.make_mask = [length = 1 + below(30)] {
        return std::make_unique<ChainMask>(length);
      };
    return c;
  }

  static void submit(Engine& engine, const Case& c, std::deque<Collector>& collectors) {
    const int n = c.request.params.n;
    Collector& collector = collectors.emplace_back(n);
    if (c.cancel_at == 0) {
      engine.submit(c.request, collector.sink());
      return;
    }
    struct State {
      std::atomic<RequestId> id{0};
      std::vector<int> tokens;
    };
    auto state = std::make_shared<State>();
    state->tokens.resize(n);
    state->id = engine.submit(
        c.request, [state, &engine, inner = collector.sink(), at = c.cancel_at](EngineEvent&& e) {
          const int index = e.index;
          state->tokens[index] += static_cast<int>(e.token_ids.size());
          const bool cancel = state->tokens[index] == at && !e.finish_reason;
          inner(std::move(e));
          while (state->id == 0) std::this_thread::yield();
          if (cancel) engine.cancel(state->id, index);
        });
  }

  std::mt19937 random_;
  EngineConfig config_;
  std::vector<Case> cases_;
  std::shared_ptr<FakeModel> model_ = std::make_shared<FakeModel>(kVocab);
};

void expect_equal(const Collected& a, const Collected& b, bool cancelled) {
  EXPECT_EQ(a.ends, 1);
  EXPECT_EQ(b.ends, 1);
  if (cancelled && (a.finish == FinishReason::kCancelled || b.finish == FinishReason::kCancelled)) {
    const size_t common = std::min(a.tokens.size(), b.tokens.size());
    for (size_t i = 0; i < common; ++i) EXPECT_EQ(a.tokens[i], b.tokens[i]);
    return;
  }
  EXPECT_EQ(a.finish, b.finish);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.error.has_value(), b.error.has_value());
  if (a.error && b.error) {
    EXPECT_EQ(std::string(a.error->what()), b.error->what());
  }
  ASSERT_EQ(a.logprobs.size(), b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    EXPECT_EQ(a.logprobs[i].token_id, b.logprobs[i].token_id);
    EXPECT_EQ(a.logprobs[i].logprob, b.logprobs[i].logprob);
  }
  ASSERT_EQ(a.prompt_logprobs.size(), b.prompt_logprobs.size());
  for (size_t i = 1; i < a.prompt_logprobs.size(); ++i)
    EXPECT_EQ(a.prompt_logprobs[i]->logprob, b.prompt_logprobs[i]->logprob);
}

TEST(Overlap, TellsEveryRequestWhatTheSynchronousEngineTellsIt) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  size_t tokens = 0;
  for (uint32_t i = 0; i < 1500; ++i) {
    SCOPED_TRACE(testing::Message() << "workload " << i);
    Workload workload(seed + i);
    const auto alone = workload.run(false), overlapped = workload.run(true);
    for (size_t r = 0; r < alone.size(); ++r) {
      SCOPED_TRACE(testing::Message() << "request " << r);
      const bool cancelled = workload.cases()[r].cancel_at > 0;
      for (size_t k = 0; k < alone[r].size(); ++k) {
        expect_equal(alone[r][k], overlapped[r][k], cancelled);
        tokens += alone[r][k].tokens.size();
      }
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(tokens, 50'000U);
}

// Ends from outside may come at any time of a step, while others go on.
TEST(Overlap, CancelsAndDeadlinesAtAnyTimeLeaveNothingBehind) {
  std::mt19937 random(std::random_device{}());
  EngineConfig config = test_config();
  config.async_scheduling = true;
  config.num_blocks = 16;
  config.max_num_seqs = 4;
  auto model = std::make_shared<FakeModel>(kVocab);
  Engine engine(model, config, ExecContext::cpu(1));
  const std::vector<int32_t> prompt = random_prompt(random, kVocab, 20);
  const std::vector<int32_t> expected = model->greedy(prompt, 40);
  for (int round = 0; round < 400; ++round) {
    Collector victim, others(2);
    EngineRequest hostile = greedy_request(random_prompt(random, kVocab, 1 + random() % 60), 60);
    hostile.params.n = 2;
    if (random() % 2) hostile.deadline = Clock::now() + std::chrono::microseconds(random() % 400);
    const RequestId id = engine.submit(hostile, others.sink());
    engine.submit(greedy_request(prompt, 40), victim.sink());
    if (random() % 2) others.wait_tokens(random() % 20);
    engine.cancel(id, random() % 2 ? 0 : -1);
    ASSERT_EQ(victim.wait().tokens, expected);
    engine.cancel(id);
    others.wait();
  }
  expect_released(engine);
  Collector last;
  engine.submit(greedy_request(prompt, 40), last.sink());
  last.wait_tokens(3);  // destroyed with a step in flight
}

TEST(Overlap, ADeviceThatFailsAnswersEverybody) {
  for (int after = 1; after < 12; ++after) {
    auto model = std::make_shared<FakeModel>(kVocab);
    EngineConfig config = test_config();
    config.async_scheduling = true;
    Engine engine(model, config, ExecContext::cpu(1));
    std::mt19937 random(3);
    model->throw_after = after;
    std::deque<Collector> collectors;
    for (int i = 0; i < 10; ++i) try {
        engine.submit(greedy_request(random_prompt(random, kVocab, 30), 30),
                      collectors.emplace_back().sink());
      } catch (const Error&) {
        collectors.pop_back();
      }
    for (Collector& collector : collectors) {
      const Collected& got = collector.wait();
      EXPECT_EQ(got.finish, FinishReason::kError);
      EXPECT_EQ(got.ends, 1);
    }
    for (int i = 0; i < 10'000 && engine.stats().healthy; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_FALSE(engine.stats().healthy);
    expect_released(engine);
  }
}

TEST(Overlap, MemoryThatRunsOutInAStepEndsItsSequencesAfterTheStepBefore) {
  for (int after = 1; after < 12; ++after) {
    auto model = std::make_shared<FakeModel>(kVocab);
    EngineConfig config = test_config();
    config.async_scheduling = true;
    Engine engine(model, config, ExecContext::cpu(1));
    std::mt19937 random(3);
    const std::vector<int32_t> prompt = random_prompt(random, kVocab, 30);
    const std::vector<int32_t> expected = model->greedy(prompt, 30);
    model->short_of_memory_after = after;
    Collector first;
    engine.submit(greedy_request(prompt, 30), first.sink());
    const Collected& got = first.wait();
    EXPECT_EQ(got.finish, FinishReason::kError);
    EXPECT_EQ(got.tokens, std::vector<int32_t>(expected.begin(), expected.begin() + after - 1));
    Collector second;
    engine.submit(greedy_request(prompt, 30), second.sink());
    EXPECT_EQ(second.wait().tokens, expected);
    EXPECT_TRUE(engine.stats().healthy);
    expect_released(engine);
  }
}

TEST(Overlap, WhatTheHostDecidesBetweenTokensDoesNotOverlap) {
  const auto overlaps = [](auto&& change, int num_rows = 1, bool samples = true) {
    EngineRequest input = greedy_request({1, 2, 3}, 5);
    change(input);
    Request request(1, std::move(input), nullptr, 16);
    Sequence& s = request.sequences[0];
    s.sampling = std::make_unique<SamplingState>(s, 0, kVocab);
    StepPlan plan;
    plan.items.push_back({&s, 0, 3, 0, num_rows, samples});
    return can_overlap(plan);
  };
  EXPECT_TRUE(overlaps([](EngineRequest&) {}));
  EXPECT_TRUE(overlaps([](EngineRequest& r) {
    r.params.temperature = 1;
    r.params.top_k = 3;
    r.params.top_p = 0.5;
    r.params.min_p = 0.1;
    r.params.repetition_penalty = 2;
    r.params.presence_penalty = r.params.frequency_penalty = 1;
    r.params.logit_bias = {{1, 1.0}};
    r.params.min_tokens = 4;
    r.params.stop_token_ids = {4};
    r.eos_token_ids = {5};
    r.bad_words = {{1}, {2}};
  }));
  const auto masked = [](EngineRequest& r) {
    r.make_mask = [] { return std::make_unique<ChainMask>(3); };
  };
  EXPECT_FALSE(overlaps(masked));
  EXPECT_FALSE(overlaps([](EngineRequest& r) { r.params.logprobs = 0; }));
  EXPECT_FALSE(overlaps([](EngineRequest& r) { r.bad_words = {{1}, {1, 2}}; }));
  EXPECT_FALSE(overlaps([](EngineRequest&) {}, 2, true));  // a prompt's logprobs
  EXPECT_FALSE(overlaps([](EngineRequest&) {}, 1, false));
  EXPECT_TRUE(overlaps(masked, 0, false));  // a prompt in pieces
}

}  // namespace
}  // namespace miniinfer
