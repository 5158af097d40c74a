#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine_harness.h"

namespace miniinfer {
namespace {

Collected run(Engine& engine, const EngineRequest& request, int index = 0) {
  Collector collector(request.params.n);
  engine.submit(request, collector.sink());
  return collector.wait(index);
}

EngineRequest sampled_request(std::vector<int32_t> prompt, int max_tokens, uint64_t seed) {
  EngineRequest request = greedy_request(std::move(prompt), max_tokens);
  request.params.temperature = 1.3;
  request.params.seed = seed;
  return request;
}

double log_sum_exp(const std::vector<float>& row) {
  double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<double>(x));
  return std::log(sum);
}

TEST(Sampling, ASeededRequestDrawsTheSameInAnyBatch) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  auto model = std::make_shared<FakeModel>();
  EngineRequest request = sampled_request(random_prompt(random, 97, 30), 40, 7);
  request.params.n = 2;
  request.params.top_p = 0.9;
  request.params.top_k = 40;
  request.params.frequency_penalty = 0.3;
  std::vector<int32_t> alone[2];
  {
    Engine engine(model, test_config(), ExecContext::cpu(1));
    for (int index : {0, 1}) alone[index] = run(engine, request, index).tokens;
  }
  EXPECT_NE(alone[0], alone[1]);
  for (int round = 0; round < 8; ++round) {
    EngineConfig config = test_config();
    config.num_blocks = 16 + random() % 16;
    config.max_num_batched_tokens = 1 + random() % 50;
    config.seed = random();
    Engine engine(model, config, ExecContext::cpu(1 + round % 2));
    std::deque<Collector> others;
    Collector collector(2);
    for (int i = 0; i < 16; ++i) {
      if (i == 8) engine.submit(request, collector.sink());
      engine.submit(sampled_request(random_prompt(random, 97, 1 + random() % 40), 30, random()),
                    others.emplace_back().sink());
    }
    for (int index : {0, 1}) EXPECT_EQ(collector.wait(index).tokens, alone[index]);
    for (Collector& other : others) other.wait();
  }
}

TEST(Sampling, RequestsWithoutASeedDifferAndFollowTheEnginesSeed) {
  const auto texts = [](uint64_t engine_seed) {
    EngineConfig config = test_config();
    config.seed = engine_seed;
    Engine engine(std::make_shared<FakeModel>(), config, ExecContext::cpu(1));
    std::vector<std::vector<int32_t>> result;
    for (int i = 0; i < 3; ++i) {
      EngineRequest request = sampled_request({1, 2, 3}, 20, 0);
      request.params.seed.reset();
      result.push_back(run(engine, request).tokens);
    }
    return result;
  };
  const auto first = texts(1), again = texts(1), other = texts(2);
  EXPECT_EQ(first, again);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first[0], other[0]);
}

// Also while drawing under penalties and a temperature: logprobs are of the raw logits.
TEST(Sampling, LogprobsAreOfTheRawLogits) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  std::mt19937 random(1);
  EngineRequest request = sampled_request(random_prompt(random, 97, 50), 30, 3);
  request.params.logprobs = 5;
  request.params.repetition_penalty = 1.5;
  request.params.logit_bias = {{4, 3.0}};
  const Collected got = run(engine, request);
  ASSERT_EQ(got.logprobs.size(), 30U);
  std::vector<int32_t> tokens = request.prompt;
  for (size_t i = 0; i < 30; ++i) {
    const std::vector<float> row = model->logits(tokens, 50);
    const double norm = log_sum_exp(row);
    EXPECT_EQ(got.logprobs[i].token_id, got.tokens[i]);
    EXPECT_NEAR(got.logprobs[i].logprob, row[got.tokens[i]] - norm, 1e-5);
    ASSERT_EQ(got.logprobs[i].top.size(), 5U);
    EXPECT_NEAR(got.logprobs[i].top[0].second, *std::max_element(row.begin(), row.end()) - norm,
                1e-5);
    for (int k = 0; k < 5; ++k) {
      const auto [id, logprob] = got.logprobs[i].top[k];
      EXPECT_NEAR(logprob, row[id] - norm, 1e-5);
      EXPECT_EQ(
          std::count_if(row.begin(), row.end(), [&, id = id](float x) { return x > row[id]; }), k);
    }
    tokens.push_back(got.tokens[i]);
  }
}

// In chunks of 64 rows and beside requests that evict and preempt.
TEST(Sampling, PromptLogprobsCoverThePromptOnce) {
  auto model = std::make_shared<FakeModel>();
  EngineConfig config = test_config();
  config.max_num_batched_tokens = 100;
  config.num_blocks = 24;
  Engine engine(model, config, ExecContext::cpu(1));
  std::mt19937 random(2);
  const std::vector<int32_t> prompt = random_prompt(random, 97, 200);
  for (int round = 0; round < 3; ++round) {  // the second finds its prompt cached
    std::deque<Collector> others;
    if (round == 2)
      for (int i = 0; i < 6; ++i)
        engine.submit(greedy_request(random_prompt(random, 97, 60), 60),
                      others.emplace_back().sink());
    EngineRequest request = greedy_request(prompt, 5);
    request.params.prompt_logprobs = 2;
    request.params.n = 2;
    Collector collector(2);
    engine.submit(request, collector.sink());
    const Collected& got = collector.wait(0);
    EXPECT_TRUE(collector.wait(1).prompt_logprobs.empty());
    EXPECT_EQ(got.tokens, model->greedy(prompt, 5));
    ASSERT_EQ(got.prompt_logprobs.size(), 200U);
    EXPECT_FALSE(got.prompt_logprobs[0]);
    for (size_t i = 1; i < 200; ++i) {
      const std::vector<float> row = model->logits({prompt.begin(), prompt.begin() + i}, 200);
      ASSERT_TRUE(got.prompt_logprobs[i]);
      EXPECT_EQ(got.prompt_logprobs[i]->token_id, prompt[i]);
      EXPECT_NEAR(got.prompt_logprobs[i]->logprob, row[prompt[i]] - log_sum_exp(row), 1e-5);
      EXPECT_EQ(got.prompt_logprobs[i]->top.size(), 2U);
    }
    for (Collector& other : others) other.wait();
  }
}

TEST(Sampling, APromptOfOneTokenHasNoPromptLogprob) {
  Engine engine(std::make_shared<FakeModel>(), test_config(), ExecContext::cpu(1));
  EngineRequest request = greedy_request({5}, 2);
  request.params.prompt_logprobs = 0;
  const Collected got = run(engine, request);
  ASSERT_EQ(got.prompt_logprobs.size(), 1U);
  EXPECT_FALSE(got.prompt_logprobs[0]);
}

TEST(Sampling, EndTokensStopUnlessIgnoredOrTooEarly) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  const std::vector<int32_t> prompt = {1, 2, 3};
  const std::vector<int32_t> free = model->greedy(prompt, 30);
  const int32_t end = free[12];
  const auto first = std::find(free.begin(), free.end(), end) - free.begin();

  EngineRequest request = greedy_request(prompt, 30);
  request.eos_token_ids = {end, 5000};
  Collected got = run(engine, request);
  EXPECT_EQ(got.finish, FinishReason::kStop);
  EXPECT_EQ(got.tokens, std::vector<int32_t>(free.begin(), free.begin() + first + 1));

  request.params.ignore_eos = true;
  got = run(engine, request);
  EXPECT_EQ(got.finish, FinishReason::kLength);
  EXPECT_EQ(got.tokens, free);

  request.params.stop_token_ids = {end};
  EXPECT_EQ(run(engine, request).finish, FinishReason::kStop);

  request.params.min_tokens = 20;
  got = run(engine, request);
  EXPECT_GE(got.tokens.size(), 20U);
  EXPECT_EQ(std::count(got.tokens.begin(), got.tokens.begin() + 20, end), 0);
}

TEST(Sampling, BadWordsAreNeverCompleted) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  const std::vector<int32_t> prompt = {9, 8, 7};
  const std::vector<int32_t> free = model->greedy(prompt, 10);
  EngineRequest request = greedy_request(prompt, 60);
  request.bad_words = {{free[4]}, {free[1], free[2]}};
  const Collected got = run(engine, request);
  ASSERT_EQ(got.tokens.size(), 60U);
  EXPECT_EQ(got.tokens[1], free[1]);
  EXPECT_NE(got.tokens[2], free[2]);
  EXPECT_EQ(std::count(got.tokens.begin(), got.tokens.end(), free[4]), 0);
}

TEST(Sampling, PenaltiesAndBiasShapeTheText) {
  auto model = std::make_shared<FakeModel>();
  Engine engine(model, test_config(), ExecContext::cpu(1));
  EngineRequest request = greedy_request({1, 2, 3}, 60);
  request.params.logit_bias = {{42, 100.0}};
  EXPECT_EQ(run(engine, request).tokens, std::vector<int32_t>(60, 42));

  // All logits lie in [-4, 4): after four occurrences a penalty of 2 each outweighs any of them.
  request.params.logit_bias.clear();
  request.params.frequency_penalty = 2;
  const Collected got = run(engine, request);
  for (const int32_t token : got.tokens)
    EXPECT_LE(std::count(got.tokens.begin(), got.tokens.end(), token), 4);

  // A strong repetition penalty avoids tokens of the prompt too, as long as others are positive.
  request.params.frequency_penalty = 0;
  request.params.repetition_penalty = 1000;
  const Collected distinct = run(engine, request);
  const std::set<int32_t> unique(distinct.tokens.begin(), distinct.tokens.begin() + 20);
  EXPECT_EQ(unique.size(), 20U);
  for (const int32_t token : request.prompt) EXPECT_FALSE(unique.contains(token));
}

TEST(Sampling, ContinuationsShareOnePrompt) {
  auto model = std::make_shared<FakeModel>();
  for (const bool caching : {true, false}) {
    EngineConfig config = test_config();
    config.enable_prefix_caching = caching;
    Engine engine(model, config, ExecContext::cpu(1));
    std::mt19937 random(9);
    EngineRequest request = sampled_request(random_prompt(random, 97, 100), 20, 5);
    request.params.n = 16;
    Collector collector(16);
    engine.submit(request, collector.sink());
    std::set<std::vector<int32_t>> texts;
    for (int i = 0; i < 16; ++i) texts.insert(collector.wait(i).tokens);
    EXPECT_EQ(texts.size(), 16U);
    for (int i = 1; i < 16; ++i) EXPECT_EQ(collector.wait(i).cached, 96);
    expect_released(engine);
  }
}

}  // namespace
}  // namespace miniinfer
