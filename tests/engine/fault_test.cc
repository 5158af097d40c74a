#include <deque>
#include <functional>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine_harness.h"

namespace miniinfer {
namespace {

// Eight requests, the last of which is the victim; returns what each was sent.
template <typename F>
std::vector<Collected> run_beside_a_victim(const std::shared_ptr<FakeModel>& model, F&& spoil) {
  EngineConfig config = test_config();
  Engine engine(model, config, ExecContext::cpu(1));
  std::mt19937 random(11);
  std::deque<Collector> collectors;
  for (int i = 0; i < 8; ++i) {
    EngineRequest request = greedy_request(random_prompt(random, 90, 10 + i), 30);
    request.params.temperature = i % 2;
    request.params.seed = i;
    request.params.logprobs = 2;
    request.bad_words = {{95}};  // the poison of one test comes from nowhere else
    Collector& collector = collectors.emplace_back();
    EventSink sink = collector.sink();
    if (i == 7) spoil(request, sink);
    engine.submit(request, sink);
  }
  std::vector<Collected> results;
  for (Collector& collector : collectors) results.push_back(collector.wait());
  expect_released(engine);
  EXPECT_TRUE(engine.stats().healthy);
  return results;
}

void expect_neighbours_equal(const std::vector<Collected>& a, const std::vector<Collected>& b) {
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].tokens.size(), 30U);
    for (size_t t = 0; t < a[i].logprobs.size(); ++t)
      EXPECT_EQ(a[i].logprobs[t].logprob, b[i].logprobs[t].logprob);
  }
}

const auto kUnspoiled = [](EngineRequest&, EventSink&) {};

TEST(Fault, ANanRowEndsItsSequenceAndNoOther) {
  auto model = std::make_shared<FakeModel>();
  model->poison = 95;
  const auto clean = run_beside_a_victim(std::make_shared<FakeModel>(), kUnspoiled);
  const auto got = run_beside_a_victim(
      model, [](EngineRequest& request, EventSink&) { request.prompt.back() = 95; });
  expect_neighbours_equal(clean, got);
  EXPECT_EQ(got[7].finish, FinishReason::kError);
  ASSERT_TRUE(got[7].error);
  EXPECT_EQ(got[7].error->code(), ErrorCode::kInternal);
  EXPECT_TRUE(got[7].tokens.empty());
}

class ScriptedMask : public TokenMask {
 public:
  explicit ScriptedMask(int fault_at) : fault_at_(fault_at) {}
  void fill(std::span<uint32_t> allowed) override {
    if (++fills_ == fault_at_) throw std::runtime_error("the grammar is stuck");
    allowed[0] = 0b1110;
  }
  bool accept(int32_t token_id) override {
    EXPECT_TRUE(token_id >= 1 && token_id <= 3);
    return ++accepts_ < 10;
  }

 private:
  int fault_at_, fills_ = 0, accepts_ = 0;
};

TEST(Fault, AMaskThatThrowsEndsItsSequenceAndNoOther) {
  const auto clean = run_beside_a_victim(std::make_shared<FakeModel>(), kUnspoiled);
  const auto got =
      run_beside_a_victim(std::make_shared<FakeModel>(), [](EngineRequest& request, EventSink&) {
        request.make_mask = [] { return std::make_unique<ScriptedMask>(5); };
      });
  expect_neighbours_equal(clean, got);
  EXPECT_EQ(got[7].finish, FinishReason::kError);
  EXPECT_EQ(got[7].tokens.size(), 4U);
  EXPECT_NE(std::string(got[7].error->what()).find("stuck"), std::string::npos);
}

TEST(Fault, AMaskRestrictsAndStops) {
  const auto got =
      run_beside_a_victim(std::make_shared<FakeModel>(), [](EngineRequest& request, EventSink&) {
        request.make_mask = [] { return std::make_unique<ScriptedMask>(-1); };
      });
  EXPECT_EQ(got[7].finish, FinishReason::kStop);
  EXPECT_EQ(got[7].tokens.size(), 10U);
}

TEST(Fault, ConstraintsThatExcludeEachOtherAreTheRequestsError) {
  const auto clean = run_beside_a_victim(std::make_shared<FakeModel>(), kUnspoiled);
  const auto got =
      run_beside_a_victim(std::make_shared<FakeModel>(), [](EngineRequest& request, EventSink&) {
        request.make_mask = [] { return std::make_unique<ScriptedMask>(-1); };
        request.bad_words = {{1}, {2}, {3}};
      });
  expect_neighbours_equal(clean, got);
  EXPECT_EQ(got[7].finish, FinishReason::kError);
  EXPECT_EQ(got[7].error->code(), ErrorCode::kInvalidArgument);
}

TEST(Fault, AThrowingSinkEndsItsRequestAndNoOther) {
  const auto clean = run_beside_a_victim(std::make_shared<FakeModel>(), kUnspoiled);
  const auto got =
      run_beside_a_victim(std::make_shared<FakeModel>(), [](EngineRequest&, EventSink& sink) {
        sink = [inner = sink, count = 0](EngineEvent&& event) mutable {
          inner(std::move(event));
          if (++count == 3) throw std::runtime_error("the client is gone");
        };
      });
  expect_neighbours_equal(clean, got);
  EXPECT_EQ(got[7].finish, FinishReason::kCancelled);
  EXPECT_EQ(got[7].tokens.size(), 3U);
}

TEST(Fault, AnExceptionInTheStepAnswersEverybodyAndMarksTheEngine) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.max_num_seqs = 2;
  model->throw_after = 10;
  Engine engine(model, config, ExecContext::cpu(1));
  std::deque<Collector> collectors;
  model->paused = true;
  for (int i = 0; i < 6; ++i)
    engine.submit(greedy_request({1, 2, i}, 100), collectors.emplace_back().sink());
  model->paused = false;
  std::map<ErrorCode, int> codes;
  for (Collector& collector : collectors) {
    const Collected& got = collector.wait();
    EXPECT_EQ(got.ends, 1);
    ASSERT_TRUE(got.error);
    ++codes[got.error->code()];
  }
  EXPECT_EQ(codes[ErrorCode::kInternal], 2);
  EXPECT_EQ(codes[ErrorCode::kUnavailable], 4);
  expect_released(engine);
  EXPECT_FALSE(engine.stats().healthy);
  try {
    engine.submit(greedy_request({1}, 1), nullptr);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  }
}

// Requests of one and of three continuations with shared beginnings, two of them in a step at a
// time: memory runs out in every step in turn, and who was not in it is answered as ever.
void check_memory_that_runs_out(const std::function<void()>& out_of_memory) {
  const FakeModel reference;
  std::mt19937 random(3);
  const std::vector<int32_t> shared = random_prompt(random, 97, 40);
  int ended_early = 0, completed = 0;
  for (int step = 1; step <= 24; ++step) {
    auto model = std::make_shared<FakeModel>();
    model->out_of_memory = out_of_memory;
    model->short_of_memory_after = step;
    EngineConfig config = test_config();
    config.max_num_seqs = 2;
    Engine engine(model, config, ExecContext::cpu(1));
    std::vector<std::vector<int32_t>> prompts;
    std::deque<Collector> collectors;
    model->paused = true;
    for (int i = 0; i < 4; ++i) {
      std::vector<int32_t> prompt = shared;
      for (int32_t token : random_prompt(random, 97, 1 + 9 * i)) prompt.push_back(token);
      EngineRequest request = greedy_request(prompt, 6);
      request.params.n = i == 1 ? 3 : 1;
      prompts.push_back(std::move(prompt));
      engine.submit(request, collectors.emplace_back(request.params.n).sink());
    }
    model->paused = false;
    int failed = 0;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < (i == 1 ? 3 : 1); ++j) {
        const Collected& got = collectors[i].wait(j);
        EXPECT_EQ(got.ends, 1);
        const std::vector<int32_t> expected = reference.greedy(prompts[i], 6);
        if (got.finish == FinishReason::kError) {
          ++failed;
          EXPECT_EQ(got.error->code(), ErrorCode::kResourceExhausted);
          EXPECT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(), expected.begin()));
        } else {
          ++completed;
          EXPECT_EQ(got.tokens, expected) << "step " << step << " request " << i;
        }
      }
    }
    EXPECT_LE(failed, 2) << "a step holds two sequences";
    ended_early += failed;
    expect_released(engine);
    EXPECT_TRUE(engine.stats().healthy);
    model->short_of_memory_after = 0;
    // What the failed step wrote is nobody's prefix.
    for (const std::vector<int32_t>& prompt : prompts) {
      Collector again;
      engine.submit(greedy_request(prompt, 6), again.sink());
      EXPECT_EQ(again.wait().tokens, reference.greedy(prompt, 6));
    }
  }
  EXPECT_GT(ended_early, 24);
  EXPECT_GT(completed, 48);
}

TEST(Fault, MemoryThatRunsOutInTheModelEndsTheStepsSequencesAlone) {
  check_memory_that_runs_out([] { throw std::bad_alloc(); });
  check_memory_that_runs_out(
      [] { throw Error(ErrorCode::kResourceExhausted, "workspace: cannot take 8 bytes"); });
}

TEST(Fault, AMaskThatCannotBeMadeIsTheSubmittersError) {
  Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
  EngineRequest request = greedy_request({1}, 1);
  request.make_mask = []() -> std::unique_ptr<TokenMask> {
    throw Error(ErrorCode::kInvalidArgument, "no such rule", "grammar");
  };
  EXPECT_THROW(engine.submit(request, nullptr), Error);
  Collector collector;
  engine.submit(greedy_request({1}, 1), collector.sink());
  EXPECT_EQ(collector.wait().finish, FinishReason::kLength);
}

}  // namespace
}  // namespace miniinfer
