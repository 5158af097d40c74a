// No request changes what another is told, whatever it asks for and however many there are.
#include <deque>
#include <filesystem>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "engine_harness.h"
#include "models/config_reader.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

class UnreliableMask : public TokenMask {
 public:
  explicit UnreliableMask(uint32_t word) : word_(word) {}
  void fill(std::span<uint32_t> allowed) override {
    if (word_ % 5 == 0) throw std::runtime_error("no mask");
    allowed[0] = word_;
  }
  bool accept(int32_t) override {
    if (word_ % 7 == 0) throw std::runtime_error("not this token");
    return word_ % 3 != 0;
  }

 private:
  uint32_t word_;
};

EngineRequest attack(std::mt19937& random, const std::vector<int32_t>& victim) {
  EngineRequest request =
      greedy_request(random_prompt(random, 97, 1 + random() % 60), 1 + random() % 60);
  if (random() % 2)
    std::copy_n(victim.begin(), std::min(victim.size(), request.prompt.size()),
                request.prompt.begin());
  if (random() % 4 == 0) request.prompt.back() = 96;  // the model's poison
  SamplingParams& params = request.params;
  params.n = 1 + static_cast<int>(random() % 3);
  params.temperature = random() % 2 ? 1e-5 : 100;
  params.top_p = random() % 2 ? 1 : 1e-9;
  params.top_k = static_cast<int>(random() % 200) - 1;
  params.repetition_penalty = random() % 2 ? 1 : 1000;
  if (random() % 3 == 0) params.logit_bias = {{5, -100.0}, {6, 100.0}};
  if (random() % 3 == 0) params.prompt_logprobs = 20;
  if (random() % 3 == 0) params.logprobs = 20;
  if (random() % 3 == 0)
    request.deadline = Clock::now() + std::chrono::microseconds(random() % 500);
  if (random() % 4 == 0)
    request.make_mask = [word = random()] { return std::make_unique<UnreliableMask>(word); };
  for (int token = 0; token < 97 && random() % 8; ++token) request.bad_words.push_back({token});
  request.priority = static_cast<int>(random() % 3) - 1;
  return request;
}

TEST(Isolation, TenThousandBatchesWithAnAttackerBesideAVictim) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  auto model = std::make_shared<FakeModel>();
  model->poison = 96;
  EngineConfig config = test_config();
  config.num_blocks = 14;  // the attacker preempts and evicts
  config.max_model_len = 14 * 16;
  config.max_num_seqs = 4;
  Engine engine(model, config, ExecContext::cpu(1));
  EngineRequest victim = greedy_request(random_prompt(random, 90, 20), 12);
  victim.params.temperature = 1;
  victim.params.seed = 1;
  victim.bad_words = {{96}};
  victim.params.logprobs = 1;
  Collected alone;
  for (int round = 0; round <= 10'000; ++round) {
    Collector target;
    const EngineRequest hostile = attack(random, victim.prompt);
    Collector attacker(hostile.params.n);
    RequestId id = 0;
    if (round > 0) id = engine.submit(hostile, attacker.sink());
    engine.submit(victim, target.sink());
    if (round > 0 && random() % 3 == 0) engine.cancel(id);
    const Collected& got = target.wait();
    if (round == 0) alone = got;
    ASSERT_EQ(got.finish, FinishReason::kLength) << "round " << round;
    ASSERT_EQ(got.tokens, alone.tokens) << "round " << round;
    for (size_t i = 0; i < got.logprobs.size(); ++i)
      ASSERT_EQ(got.logprobs[i].logprob, alone.logprobs[i].logprob);
    if (round > 0) attacker.wait();
  }
  expect_released(engine);
  EXPECT_TRUE(engine.stats().healthy);
}

// A real network in bfloat16: kernels, chunks and batches of 1 to 256.
TEST(Isolation, AThousandRunsInBatchesOfEverySizeGiveOneAnswer) {
  const std::filesystem::path directory =
      std::filesystem::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints/qwen3-tied-bf16";
  const std::shared_ptr<const Model> model = load_model(
      parse_model_config(read_text_file(directory / "config.json", 1 << 20), "config.json"),
      WeightStore::open(directory), DType::kBFloat16);
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const int64_t vocab = model->config().vocab_size;
  const std::vector<int32_t> prompt = random_prompt(random, vocab, 20);
  std::vector<std::pair<std::vector<int32_t>, std::vector<float>>> answers;
  int runs = 0;
  for (const int batch : {1, 2, 3, 5, 8, 13, 16, 31, 64, 90, 100, 127, 128, 200, 255, 256}) {
    EngineConfig config = test_config();
    config.max_model_len = 64;
    config.max_num_seqs = 256;
    config.num_blocks = 1024;
    config.max_num_batched_tokens = 1 + batch + static_cast<int>(random() % 512);
    Engine engine(model, config, ExecContext::cpu(2));
    std::deque<Collector> copies, others;
    for (int i = 0; i < batch; ++i) {
      const bool copy = i % 5 < 4;
      EngineRequest request =
          greedy_request(copy ? prompt : random_prompt(random, vocab, 1 + random() % 40), 8);
      request.params.temperature = 0.8;
      request.params.seed = copy ? 5 : i;
      request.params.logprobs = 0;
      request.cache_salt = std::to_string(i);  // so that every copy is computed
      engine.submit(std::move(request), (copy ? copies : others).emplace_back().sink());
    }
    for (Collector& collector : copies) {
      const Collected& got = collector.wait();
      std::vector<float> logprobs;
      for (const TokenLogprob& logprob : got.logprobs) logprobs.push_back(logprob.logprob);
      if (answers.empty()) answers.emplace_back(got.tokens, logprobs);
      EXPECT_EQ(got.tokens, answers[0].first) << "batch " << batch;
      EXPECT_EQ(logprobs, answers[0].second) << "batch " << batch;
      ++runs;
    }
    for (Collector& collector : others) collector.wait();
  }
  EXPECT_GE(runs, 1000);
}

}  // namespace
}  // namespace miniinfer
