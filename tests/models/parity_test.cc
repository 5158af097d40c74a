#include <filesystem>

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/mapped_file.h"
#include "models/config_reader.h"
#include "models/model_runner.h"
#include "weights/weight_store.h"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

const fs::path kCheckpoints = fs::path(MINIINFER_SOURCE_DIR) / "tests/golden/checkpoints";

std::vector<std::string> checkpoint_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kCheckpoints))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class Parity : public testing::TestWithParam<std::string> {
 protected:
  Parity() : directory_(kCheckpoints / GetParam()) {
    expected_ = parse_json(read_text_file(directory_ / "expected.json", 1 << 24), "expected.json");
  }

  std::unique_ptr<Model> load(const std::string& config_file, DType dtype) const {
    const ModelConfig config =
        parse_model_config(read_text_file(directory_ / config_file, 1 << 20), config_file);
    return load_model(config, WeightStore::open(directory_), dtype);
  }

  // The largest difference of the prompts' log-probabilities from transformers' in float32.
  double prompt_error(const Model& model) const {
    ModelRunnerForTest runner(model, 2);
    double worst = 0;
    for (const Json& prompt : expected_["prompts"]) {
      TestSequence sequence = runner.start(prompt["token_ids"].get<Tokens>());
      const auto logits = runner.step(sequence, sequence.prompt_length, true);
      runner.finish(sequence);
      for (int64_t i = 1; i < sequence.prompt_length; ++i) {
        const double want = prompt["prompt_logprobs"][i].get<double>();
        const double error = std::abs(log_softmax(logits[i - 1])[sequence.tokens[i]] - want);
        if (!(error <= worst)) worst = error;  // NaN counts as the worst
      }
    }
    return worst;
  }

  fs::path directory_;
  Json expected_;
};

TEST_P(Parity, Float32PromptLogprobsInEveryLayout) {
  for (const Json& file : expected_["configs"])
    EXPECT_LE(prompt_error(*load(file.get<std::string>(), DType::kFloat32)), 1e-4) << file;
}

TEST_P(Parity, Float32FinalLogitsAndTop) {
  const auto model = load("config.json", DType::kFloat32);
  ModelRunnerForTest runner(*model, 2);
  for (const Json& prompt : expected_["prompts"]) {
    TestSequence sequence = runner.start(prompt["token_ids"].get<Tokens>());
    const std::vector<float> logits = runner.step(sequence, sequence.prompt_length, false).at(0);
    runner.finish(sequence);
    for (const Json& top : prompt["next_top"])
      EXPECT_NEAR(log_softmax(logits)[top[0].get<size_t>()], top[1].get<double>(), 1e-4);
    if (!prompt.contains("final_logits")) continue;
    for (size_t v = 0; v < logits.size(); ++v)
      EXPECT_NEAR(logits[v], prompt["final_logits"][v].get<double>(), 1e-4);
  }
}

TEST_P(Parity, GreedyTokensAwayFromTies) {
  const auto model = load("config.json", DType::kFloat32);
  ModelRunnerForTest runner(*model, 2);
  for (const Json& prompt : expected_["prompts"]) {
    TestSequence sequence = runner.start(prompt["token_ids"].get<Tokens>());
    std::vector<float> logits = runner.step(sequence, sequence.prompt_length, false).at(0);
    const Json& greedy = prompt["greedy"];
    for (size_t i = 0; i < greedy["token_ids"].size(); ++i) {
      const int32_t want = greedy["token_ids"][i].get<int32_t>();
      if (greedy["margins"][i].get<double>() > 1e-3) {
        EXPECT_EQ(std::ranges::max_element(logits) - logits.begin(), want) << "token " << i;
      }
      EXPECT_NEAR(log_softmax(logits)[want], greedy["logprobs"][i].get<double>(), 1e-4)
          << "token " << i;
      sequence.tokens.push_back(want);
      logits = runner.step(sequence, 1, false).at(0);
    }
    runner.finish(sequence);
  }
}

TEST_P(Parity, SixteenBitErrorWithinTwiceTheReferences) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    const double own =
        expected_["own_error"][std::string(dtype_name(dtype))]["prompt_logprobs_max"].get<double>();
    const double error = prompt_error(*load("config.json", dtype));
    EXPECT_LE(error, 2 * own) << dtype_name(dtype);
    RecordProperty(std::string(dtype_name(dtype)) + "_ratio", std::to_string(error / own));
    std::printf("%-10s error %.5f, the reference's own %.5f, ratio %.2f\n",
                std::string(dtype_name(dtype)).c_str(), error, own, error / own);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Parity, testing::ValuesIn(checkpoint_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace miniinfer
