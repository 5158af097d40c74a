#include <cstring>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "models/config_reader.h"
#include "models/model_runner.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

// What distinguishes how a model is run: grouped heads, norms, biases, windows, a length-dependent
// rotation.
constexpr const char* kConfigs[] = {
    R"({"architectures":["Qwen3ForCausalLM"],"hidden_size":96,"intermediate_size":200,"num_hidden_layers":3,
        "num_attention_heads":6,"num_key_value_heads":2,"head_dim":24,"vocab_size":333,"max_position_embeddings":512,
        "tie_word_embeddings":true})",
    R"({"architectures":["Qwen2ForCausalLM"],"hidden_size":64,"intermediate_size":136,"num_hidden_layers":4,
        "num_attention_heads":4,"num_key_value_heads":1,"vocab_size":301,"max_position_embeddings":512,
        "use_sliding_window":true,"sliding_window":9,"max_window_layers":2})",
    R"({"architectures":["LlamaForCausalLM"],"hidden_size":80,"intermediate_size":100,"num_hidden_layers":2,
        "num_attention_heads":5,"vocab_size":257,"max_position_embeddings":32,
        "rope_scaling":{"rope_type":"dynamic","factor":4.0}})",
};

class Batching : public testing::TestWithParam<std::tuple<const char*, DType>> {
 protected:
  Batching()
      : seed_(std::random_device{}()),
        random_(seed_),
        model_(load_model(parse_model_config(std::get<0>(GetParam())),
                          WeightStore::dummy(DType::kBFloat16, 7), std::get<1>(GetParam()))) {
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
  }

  Tokens random_tokens(int64_t count) {
    Tokens tokens;
    for (int64_t i = 0; i < count; ++i)
      tokens.push_back(static_cast<int32_t>(random_.below(model_->config().vocab_size)));
    return tokens;
  }

  static void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
  }

  uint64_t seed_;
  Random random_;
  std::unique_ptr<Model> model_;
};

TEST_P(Batching, ChunksEqualTheWholePromptBitForBit) {
  ModelRunnerForTest runner(*model_, 2, seed_);
  for (const int64_t length : {2, 17, 50, 123}) {
    TestSequence whole = runner.start(random_tokens(length)), chunked = runner.start(whole.tokens);
    const auto want = runner.step(whole, length, true);
    while (chunked.computed < length) {
      const int64_t count = std::min<int64_t>(length - chunked.computed, 1 + random_.below(40));
      const int64_t begin = chunked.computed;
      const auto rows = runner.step(chunked, count, true);
      for (int64_t i = 0; i < count; ++i) expect_same_bits(rows[i], want[begin + i]);
    }
    runner.finish(whole);
    runner.finish(chunked);
  }
}

TEST_P(Batching, ASequenceDoesNotDependOnItsBatchOrThreads) {
  ModelRunnerForTest alone(*model_, 1, seed_), together(*model_, 2, seed_ + 1, 256);
  constexpr int kSequences = 7;
  std::vector<TestSequence> sequences, singles;
  std::vector<TestSequence*> pointers;
  std::vector<int64_t> counts;
  for (int s = 0; s < kSequences; ++s) {
    sequences.push_back(together.start(random_tokens(1 + random_.below(90))));
    singles.push_back(alone.start(sequences.back().tokens));
    counts.push_back(sequences.back().prompt_length);
  }
  for (TestSequence& sequence : sequences) pointers.push_back(&sequence);
  for (int step = 0; step < 5; ++step) {
    const auto rows = together.step(pointers, counts, false);
    for (int s = 0; s < kSequences; ++s) {
      expect_same_bits(alone.step(singles[s], counts[s], false).at(0), rows[s]);
      const int32_t next =
          static_cast<int32_t>(std::ranges::max_element(rows[s]) - rows[s].begin());
      sequences[s].tokens.push_back(next);
      singles[s].tokens.push_back(next);
      counts[s] = 1;
    }
  }
}

TEST_P(Batching, LastRowsEqualThoseOfAllRows) {
  ModelRunnerForTest runner(*model_, 2, seed_);
  TestSequence all = runner.start(random_tokens(37)), last = runner.start(all.tokens);
  expect_same_bits(runner.step(all, 37, true).back(), runner.step(last, 37, false).back());
}

TEST_P(Batching, WorkspaceStaysWithinThePlan) {
  for (const int threads : {1, 2, 3}) {
    ModelRunnerForTest runner(*model_, threads, seed_, 512);
    const int64_t max_tokens = 160, max_sequences = 8;
    const size_t planned = model_->workspace_bytes(max_tokens, max_sequences, threads);
    runner.context().workspace().reserve(planned);
    for (int round = 0; round < 4; ++round) {
      std::vector<TestSequence> sequences;
      std::vector<TestSequence*> pointers;
      std::vector<int64_t> counts(max_sequences, max_tokens / max_sequences);
      if (round == 1) counts.assign(max_sequences, 1);
      if (round == 2) counts.assign(1, max_tokens);
      for (const int64_t count : counts) sequences.push_back(runner.start(random_tokens(count)));
      for (TestSequence& sequence : sequences) pointers.push_back(&sequence);
      runner.step(pointers, counts, round == 3);
      for (TestSequence& sequence : sequences) runner.finish(sequence);
    }
    EXPECT_LE(runner.context().workspace().peak(), planned) << threads << " threads";
    EXPECT_EQ(runner.context().workspace().growths(), 0) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Batching,
                         testing::Combine(testing::ValuesIn(kConfigs),
                                          testing::Values(DType::kFloat32, DType::kBFloat16)),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

}  // namespace
}  // namespace miniinfer
