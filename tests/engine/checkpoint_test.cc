// The engine over real networks: what a checkpoint says through chunks, batches, preemption and the
// prefix cache.
#include <deque>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/mapped_file.h"
#include "engine_harness.h"
#include "models/config_reader.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> checkpoint_names() {
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(fs::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints"))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class Checkpoint : public testing::TestWithParam<std::string> {
 protected:
  Checkpoint()
      : directory_(fs::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints" / GetParam()) {
    expected_ = parse_json(read_text_file(directory_ / "expected.json", 1 << 24), "expected.json");
  }

  std::shared_ptr<const Model> load(std::optional<DType> dtype) const {
    const ModelConfig config =
        parse_model_config(read_text_file(directory_ / "config.json", 1 << 20), "config.json");
    return load_model(config, WeightStore::open(directory_),
                      dtype.value_or(config.checkpoint_dtype));
  }

  fs::path directory_;
  Json expected_;
};

// Up to the first tie: two logits closer than float32 orders of summation are apart.
void expect_greedy(const Collected& got, const Json& greedy) {
  ASSERT_EQ(got.tokens.size(), greedy["token_ids"].size());
  for (size_t i = 0; i < got.tokens.size(); ++i) {
    if (greedy["margins"][i].get<double>() < 1e-3) return;
    ASSERT_EQ(got.tokens[i], greedy["token_ids"][i].get<int32_t>()) << "token " << i;
    EXPECT_NEAR(got.logprobs[i].logprob, greedy["logprobs"][i].get<double>(), 1e-4);
  }
}

TEST_P(Checkpoint, AnswersEqualTransformersUnderPressure) {
  EngineConfig config;
  config.max_model_len = 128;
  config.max_num_seqs = 6;
  config.max_num_batched_tokens = 24;  // prompts of 40 and 70 come in chunks
  config.num_blocks = 13;              // hardly two long sequences at once
  Engine engine(load(DType::kFloat32), config, ExecContext::cpu(2));
  std::deque<Collector> collectors;
  for (int repeat = 0; repeat < 2; ++repeat)
    for (const Json& prompt : expected_["prompts"]) {
      EngineRequest request =
          greedy_request(prompt["token_ids"].get<std::vector<int32_t>>(),
                         static_cast<int>(prompt["greedy"]["token_ids"].size()));
      request.params.logprobs = 0;
      if (repeat == 0) request.params.prompt_logprobs = 5;
      engine.submit(std::move(request), collectors.emplace_back().sink());
    }
  size_t next = 0;
  for (int repeat = 0; repeat < 2; ++repeat)
    for (const Json& prompt : expected_["prompts"]) {
      const Collected& got = collectors[next++].wait();
      expect_greedy(got, prompt["greedy"]);
      for (size_t i = 1; i < got.prompt_logprobs.size(); ++i)
        EXPECT_NEAR(got.prompt_logprobs[i]->logprob, prompt["prompt_logprobs"][i].get<double>(),
                    1e-4);
    }
  expect_released(engine);
}

// Bit for bit, in the checkpoint's own dtype, whatever shares the batch.
TEST_P(Checkpoint, APrefixHitEqualsAColdRun) {
  EngineConfig config;
  config.max_model_len = 128;
  config.max_num_seqs = 6;
  config.max_num_batched_tokens = 200;
  config.num_blocks = 60;
  Engine engine(load(std::nullopt), config, ExecContext::cpu(2));
  const auto run = [&](std::vector<int32_t> prompt) {
    EngineRequest request = greedy_request(std::move(prompt), 12);
    request.params.logprobs = 5;
    Collector collector;
    engine.submit(std::move(request), collector.sink());
    return collector.wait();
  };
  int64_t cached = 0;
  for (const Json& prompt : expected_["prompts"]) {
    const auto tokens = prompt["token_ids"].get<std::vector<int32_t>>();
    const Collected cold = run(tokens), warm = run(tokens);
    EXPECT_EQ(cold.tokens, warm.tokens);
    for (size_t i = 0; i < cold.logprobs.size(); ++i) {
      EXPECT_EQ(cold.logprobs[i].logprob, warm.logprobs[i].logprob) << "token " << i;
      EXPECT_EQ(cold.logprobs[i].top, warm.logprobs[i].top);
    }
    cached += warm.cached;
  }
  EXPECT_EQ(cached, 16 + 32 + 64);
}

INSTANTIATE_TEST_SUITE_P(Golden, Checkpoint, testing::ValuesIn(checkpoint_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace miniinfer
