#include "engine/engine.h"

#include <atomic>
#include <deque>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/thread_pool.h"
#include "engine_harness.h"

namespace miniinfer {
namespace {

using std::chrono::milliseconds;

// Tokens are a function of the prompt alone: chunks, batches, shared prefixes and preemptions
// change nothing.
TEST(Engine, GreedyTextIsTheSameUnderPreemptionChunksAndSharing) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  int64_t preemptions = 0, hits = 0;
  for (int round = 0; round < 12; ++round) {
    auto model = std::make_shared<FakeModel>();
    EngineConfig config = test_config();
    config.num_blocks = round % 3 == 0 ? 8 : 8 + random() % 20;
    config.max_model_len = config.num_blocks * 16;
    config.max_num_batched_tokens = 1 + random() % 60;
    config.max_num_seqs = 1 + random() % 12;
    config.enable_prefix_caching = round % 4 != 0;
    Engine engine(model, config, ExecContext::cpu(1));
    const std::vector<int32_t> common = random_prompt(random, 97, 32);
    std::deque<std::pair<Collector, EngineRequest>> requests;
    for (int i = 0; i < 20; ++i) {
      std::vector<int32_t> prompt = random_prompt(random, 97, 1 + random() % 40);
      if (i % 3 == 0)
        std::copy_n(common.begin(), std::min<size_t>(prompt.size(), 32), prompt.begin());
      requests.emplace_back(Collector(), greedy_request(prompt, 1 + random() % 50));
      engine.submit(requests.back().second, requests.back().first.sink());
    }
    for (auto& [collector, request] : requests) {
      const Collected& got = collector.wait();
      EXPECT_EQ(got.tokens, model->greedy(request.prompt, request.params.max_tokens));
      EXPECT_EQ(got.finish, FinishReason::kLength);
      EXPECT_EQ(got.ends, 1);
    }
    expect_released(engine);
    preemptions += engine.stats().preemptions;
    hits += engine.stats().prefix_hits;
  }
  EXPECT_GT(preemptions, 0);
  EXPECT_GT(hits, 0);
}

TEST(Engine, APrefixHitEqualsAColdRunAndSaltsNeverMeet) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  std::mt19937 random(3);
  EngineRequest request = greedy_request(random_prompt(random, 97, 70), 20);
  request.params.logprobs = 3;
  const auto run = [&](const std::string& salt) {
    Collector collector;
    request.cache_salt = salt;
    engine.submit(request, collector.sink());
    return collector.wait();
  };
  const Collected cold = run(""), warm = run(""), salted = run("a"), salted_again = run("a");
  EXPECT_EQ(cold.cached, 0);
  EXPECT_EQ(warm.cached, 64);
  EXPECT_EQ(salted.cached, 0);
  EXPECT_EQ(salted_again.cached, 64);
  for (const Collected& other : {warm, salted, salted_again}) {
    EXPECT_EQ(other.tokens, cold.tokens);
    ASSERT_EQ(other.logprobs.size(), 20U);
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(other.logprobs[i].logprob, cold.logprobs[i].logprob);
      EXPECT_EQ(other.logprobs[i].top, cold.logprobs[i].top);
    }
  }
}

// A block-aligned prompt that is cached to its end still computes its last token.
TEST(Engine, AFullyCachedPromptIsAnswered) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  std::mt19937 random(4);
  const EngineRequest request = greedy_request(random_prompt(random, 97, 64), 5);
  for (const int cached : {0, 48}) {
    Collector collector;
    engine.submit(request, collector.sink());
    EXPECT_EQ(collector.wait().tokens, model->greedy(request.prompt, 5));
    EXPECT_EQ(collector.wait().cached, cached);
  }
}

// Keys under a length-dependent RoPE fit prompts of the same length only; the fake model stores the
// length it is told.
TEST(Engine, ALengthDependentRopeSharesOnlyWhatIsEqual) {
  auto model = std::make_shared<FakeModel>();
  model->mutable_config().rope.type = RopeType::kDynamic;
  model->mutable_config().rope.original_max_position = 64;
  Engine engine(model, test_config(), ExecContext::cpu(1));
  std::mt19937 random(5);
  const std::vector<int32_t> base = random_prompt(random, 97, 120);
  std::vector<int32_t> cached;
  for (const int length : {50, 100, 120, 100, 60, 40}) {
    const EngineRequest request = greedy_request({base.begin(), base.begin() + length}, 40);
    Collector collector;
    engine.submit(request, collector.sink());
    EXPECT_EQ(collector.wait().tokens, model->greedy(request.prompt, 40)) << length;
    cached.push_back(collector.wait().cached);
  }
  EXPECT_EQ(cached, (std::vector<int32_t>{0, 0, 0, 96, 48, 32}));
}

TEST(Engine, ARequestThatCanNeverRunIsRefusedAtOnce) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.num_blocks = 4;
  Engine engine(model, config, ExecContext::cpu(1));
  const auto code = [&](const EngineRequest& request) {
    try {
      engine.submit(request, nullptr);
    } catch (const Error& error) {
      EXPECT_FALSE(error.param().empty()) << error.what();
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  std::vector<EngineRequest> bad;
  bad.push_back(greedy_request({}, 4));
  bad.push_back(greedy_request({1, 97}, 4));
  bad.push_back(greedy_request({1, -1}, 4));
  bad.push_back(greedy_request({1, 2}, 255));  // longer than the context
  bad.push_back(
      greedy_request(std::vector<int32_t>(40, 1), 26));  // 65 tokens, the last not cached: 5 blocks
  for (int i = 0; i < 14; ++i) bad.push_back(greedy_request({1, 2}, 4));
  bad[5].params.max_tokens = 0;
  bad[6].params.n = 1'000'000'000;
  bad[7].params.temperature = std::nan("");
  bad[8].params.temperature = -0.1;
  bad[9].params.top_p = 0;
  bad[10].params.logprobs = 1'000'000;
  bad[11].params.min_tokens = 5;
  bad[12].params.logit_bias = {{97, 1.0}};
  bad[13].params.logit_bias = {{1, 1e300}};
  bad[14].params.stop_token_ids = {97};
  bad[15].bad_words = {{5, 97}};
  bad[16].params.repetition_penalty = 0;
  bad[17].params.stop = {""};
  bad[18].params.min_p = std::nan("");
  for (size_t i = 0; i < bad.size(); ++i)
    EXPECT_EQ(code(bad[i]), ErrorCode::kInvalidArgument) << "request " << i;
  Collector collector;  // one token less fits
  engine.submit(greedy_request(std::vector<int32_t>(40, 1), 25), collector.sink());
  EXPECT_EQ(collector.wait().tokens.size(), 25U);
}

TEST(Engine, AFullQueueRefusesAndRecovers) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.max_num_seqs = 1;
  config.max_queued_requests = 3;
  model->paused = true;
  Engine engine(model, config, ExecContext::cpu(1));
  std::deque<Collector> accepted;
  int refused = 0;
  for (int i = 0; i < 10; ++i) {
    Collector collector;
    try {
      engine.submit(greedy_request({1, 2, 3}, 4), collector.sink());
      accepted.push_back(collector);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
      ++refused;
    }
  }
  EXPECT_GE(refused, 6);  // one may have left the queue for the step in flight
  model->paused = false;
  for (Collector& collector : accepted) EXPECT_EQ(collector.wait().tokens.size(), 4U);
  Collector late;
  engine.submit(greedy_request({1, 2, 3}, 4), late.sink());
  EXPECT_EQ(late.wait().tokens.size(), 4U);
}

TEST(Engine, CancellingFreesEverythingInEveryState) {
  auto model = std::make_shared<FakeModel>();
  model->step_time = std::chrono::microseconds(50);  // 100 tokens take longer than the sleep below
  EngineConfig config = test_config();
  config.num_blocks = 16;
  config.max_num_seqs = 4;
  config.max_num_batched_tokens = 16;
  Engine engine(model, config, ExecContext::cpu(1));
  std::mt19937 random(std::random_device{}());
  int cancelled = 0;
  for (int round = 0; round < 40; ++round) {
    std::deque<std::pair<Collector, RequestId>> requests;
    for (int i = 0; i < 10; ++i) {  // four run, two of them preempt each other, the others wait
      EngineRequest request = greedy_request(random_prompt(random, 97, 20 + random() % 60), 100);
      request.params.n = 1 + static_cast<int>(random() % 3);
      Collector collector(request.params.n);
      const RequestId id = engine.submit(request, collector.sink());
      requests.emplace_back(collector, id);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    for (auto& [collector, id] : requests) engine.cancel(id);
    for (auto& [collector, id] : requests) {
      const Collected& got = collector.wait();
      EXPECT_EQ(got.ends, 1);
      cancelled += got.finish == FinishReason::kCancelled;
    }
    expect_released(engine);
  }
  EXPECT_GT(cancelled, 350);  // of 400
}

TEST(Engine, OneContinuationCanBeCancelledAlone) {
  auto model = std::make_shared<FakeModel>();
  model->step_time = std::chrono::microseconds(200);
  Engine engine(model, test_config(), ExecContext::cpu(1));
  EngineRequest request = greedy_request({1, 2, 3}, 200);
  request.params.n = 3;
  Collector collector(3);
  const RequestId id = engine.submit(request, collector.sink());
  collector.wait_tokens(5, 1);
  engine.cancel(id, 1);
  engine.cancel(id, 77);
  engine.cancel(id + 1);
  EXPECT_EQ(collector.wait(1).finish, FinishReason::kCancelled);
  for (const int index : {0, 2}) {
    EXPECT_EQ(collector.wait(index).finish, FinishReason::kLength);
    EXPECT_EQ(collector.wait(index).tokens, model->greedy({1, 2, 3}, 200));
  }
}

TEST(Engine, DeadlinesEndRequestsWaitingOrRunning) {
  auto model = std::make_shared<FakeModel>();
  model->step_time = milliseconds(2);
  EngineConfig config = test_config();
  config.max_num_seqs = 1;
  Engine engine(model, config, ExecContext::cpu(1));
  EngineRequest request = greedy_request({1, 2, 3}, 200);
  request.deadline = Clock::now() + milliseconds(60);
  Collector running, waiting, patient;
  engine.submit(request, running.sink());
  engine.submit(request, waiting.sink());
  engine.submit(greedy_request({1, 2, 3}, 3), patient.sink());
  for (Collector* collector : {&running, &waiting}) {
    const Collected& got = collector->wait();
    EXPECT_EQ(got.finish, FinishReason::kError);
    ASSERT_TRUE(got.error);
    EXPECT_EQ(got.error->code(), ErrorCode::kDeadlineExceeded);
  }
  EXPECT_GT(running.wait().tokens.size(), 0U);
  EXPECT_EQ(patient.wait().finish, FinishReason::kLength);
  expect_released(engine);
}

TEST(Engine, DrainingFinishesWhatRunsAndRefusesTheRest) {
  auto model = std::make_shared<FakeModel>();
  model->step_time = milliseconds(1);
  Engine engine(model, test_config(), ExecContext::cpu(1));
  Collector quick;
  engine.submit(greedy_request({1, 2}, 5), quick.sink());
  engine.drain(Clock::now() + std::chrono::seconds(30));
  EXPECT_EQ(quick.wait().finish, FinishReason::kLength);
  EXPECT_TRUE(engine.stats().draining);
  EXPECT_EQ(engine.stats().running, 0);
  EXPECT_THROW(engine.submit(greedy_request({1}, 1), nullptr), Error);

  Engine slow(model, test_config(), ExecContext::cpu(1));
  Collector endless;
  slow.submit(greedy_request({1, 2}, 200), endless.sink());
  slow.drain(Clock::now() + milliseconds(20));
  EXPECT_EQ(endless.wait().finish, FinishReason::kCancelled);
  EXPECT_LT(endless.wait().tokens.size(), 200U);
}

TEST(Engine, DestructionAnswersEverybody) {
  auto model = std::make_shared<FakeModel>();
  model->step_time = milliseconds(1);
  std::deque<Collector> collectors;
  {
    Engine engine(model, test_config(), ExecContext::cpu(1));
    for (int i = 0; i < 20; ++i)
      engine.submit(greedy_request({1, 2, i}, 200), collectors.emplace_back().sink());
  }
  for (Collector& collector : collectors) EXPECT_EQ(collector.wait().ends, 1);
}

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

TEST(Engine, AnIdleEngineSleepsAndStillBeats) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(2));
  Collector collector;
  engine.submit(greedy_request({1, 2}, 5), collector.sink());
  collector.wait();
  std::this_thread::sleep_for(milliseconds(20));
  const Clock::time_point beat = engine.stats().last_step;
  const double cpu = cpu_seconds();
  std::this_thread::sleep_for(milliseconds(1200));
  EXPECT_LT(cpu_seconds() - cpu, 0.05);  // a spinning thread would take 1.2 s
  EXPECT_GT(engine.stats().last_step, beat);
}

// A step that takes long shows that it goes on; one that hangs does not.
TEST(Engine, TheHeartBeatsInsideOfAStep) {
  for (const int threads : {1, 2}) {
    constexpr int kPieces = 40;
    std::atomic<int> pieces{0};
    std::atomic<bool> stuck{true};
    auto model = std::make_shared<FakeModel>();
    model->in_step = [&](ExecContext& context) {
      context.pool().for_each_task(kPieces, [&](int64_t, int) {
        std::this_thread::sleep_for(milliseconds(10));
        ++pieces;
      });
      while (stuck.load()) std::this_thread::sleep_for(milliseconds(1));
    };
    Engine engine(model, test_config(), ExecContext::cpu(threads));
    Collector collector;
    engine.submit(greedy_request({1, 2}, 1), collector.sink());
    std::set<Clock::time_point> beats;
    while (pieces.load() < kPieces) beats.insert(engine.stats().last_step);
    EXPECT_GE(beats.size(), 5u);
    std::this_thread::sleep_for(milliseconds(20));
    const Clock::time_point last = engine.stats().last_step;
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_EQ(engine.stats().last_step, last);
    EXPECT_EQ(engine.stats().steps, 0);
    stuck = false;
    EXPECT_EQ(collector.wait().ends, 1);
    // The answer is out before the step has ended.
    const Clock::time_point patience = Clock::now() + std::chrono::seconds(30);
    while (engine.stats().last_step <= last && Clock::now() < patience)
      std::this_thread::sleep_for(milliseconds(1));
    EXPECT_GT(engine.stats().last_step, last);
  }
}

TEST(Engine, ManyThreadsMaySubmitCancelAndAsk) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.num_blocks = 20;
  Engine engine(model, config, ExecContext::cpu(2));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60; ++i) {
        EngineRequest request = greedy_request(random_prompt(random, 97, 1 + random() % 30), 20);
        request.params.n = 1 + static_cast<int>(random() % 2);
        Collector collector(request.params.n);
        const RequestId id = engine.submit(request, collector.sink());
        if (i % 3 == 0) engine.cancel(id);
        EXPECT_GE(engine.stats().blocks_total, 0);
        EXPECT_EQ(collector.wait().ends, 1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  expect_released(engine);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.finished_stop + stats.finished_error, 0);
  EXPECT_GT(stats.finished_length, 0);
}

TEST(Engine, StatisticsAddUp) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  model->paused = true;
  std::deque<Collector> collectors;
  for (int i = 0; i < 4; ++i)
    engine.submit(greedy_request(std::vector<int32_t>(100, i), 100),
                  collectors.emplace_back().sink());
  model->paused = false;
  collectors[0].wait_tokens(60);
  const EngineStats busy = engine.stats();
  EXPECT_EQ(busy.blocks_free + busy.blocks_cached + busy.blocks_in_use, busy.blocks_total);
  EXPECT_LT(busy.running < 4 ? 0.0 : busy.cache_waste, 0.1);  // at most 15 of 160 slots each
  for (Collector& collector : collectors) collector.wait();
  expect_released(engine);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.prompt_tokens, 400);
  EXPECT_EQ(stats.generated_tokens, 400);
  EXPECT_EQ(stats.finished_length, 4);
  EXPECT_EQ(stats.prefix_queries, 400);
  EXPECT_TRUE(stats.healthy);
}

}  // namespace
}  // namespace miniinfer
