// Every golden checkpoint on the device against transformers, in the bounds that the CPU keeps.
#include <cmath>
#include <deque>

#include <fmt/format.h>

#include "gpu/checkpoints.h"

namespace miniinfer {
namespace {

class ParityOnGpu : public Gpu, public testing::WithParamInterface<std::string> {
 protected:
  struct Worst {
    double prompt = 0, greedy = 0;  // largest differences of log-probabilities
    int tokens = 0;                 // that were compared
  };

  // All prompts at once: prompt log-probabilities, then the greedy continuation up to the first
  // tie. A difference that is no number counts as infinite.
  static Worst compare(const Json& expected, const std::shared_ptr<const Model>& model,
                       double tie) {
    Engine engine(model, gpu_config(), ExecContext::cuda());
    std::deque<Collector> collectors;
    for (const Json& prompt : expected["prompts"]) {
      EngineRequest request =
          greedy_request(prompt["token_ids"].get<std::vector<int32_t>>(),
                         static_cast<int>(prompt["greedy"]["token_ids"].size()));
      request.params.prompt_logprobs = 0;
      request.params.logprobs = 0;
      engine.submit(std::move(request), collectors.emplace_back().sink());
    }
    Worst worst;
    const auto widen = [](double& most, double got, double want) {
      const double error = std::abs(got - want);
      most = std::max(most, std::isnan(error) ? INFINITY : error);
    };
    for (size_t i = 0; i < collectors.size(); ++i) {
      const Json& prompt = expected["prompts"][i];
      const Collected& got = collectors[i].wait();
      if (got.error) ADD_FAILURE() << got.error->message();
      for (size_t t = 1; t < prompt["token_ids"].size(); ++t, ++worst.tokens)
        widen(worst.prompt, t < got.prompt_logprobs.size() ? got.prompt_logprobs[t]->logprob : NAN,
              prompt["prompt_logprobs"][t].get<double>());
      const Json& greedy = prompt["greedy"];
      for (size_t t = 0; t < greedy["token_ids"].size(); ++t, ++worst.tokens) {
        if (greedy["margins"][t].get<double>() < tie) break;
        EXPECT_LT(t, got.tokens.size());
        if (t >= got.tokens.size()) break;
        EXPECT_EQ(got.tokens[t], greedy["token_ids"][t].get<int32_t>()) << i << " token " << t;
        widen(worst.greedy, got.logprobs[t].logprob, greedy["logprobs"][t].get<double>());
      }
    }
    expect_released(engine);
    return worst;
  }
};

TEST_P(ParityOnGpu, Float32InEveryLayoutOfTheConfig) {
  const Json expected = expected_of(GetParam());
  for (const Json& file : expected["configs"]) {
    const auto model = load_on_device(GetParam(), DType::kFloat32, file.get<std::string>());
    const Worst worst = compare(expected, model, 1e-3);
    EXPECT_LE(worst.prompt, 1e-4) << file;
    EXPECT_LE(worst.greedy, 1e-4) << file;
    EXPECT_GT(worst.tokens, 100);
    if (file == "config.json")
      fmt::print("parity {:<30} float32   prompt {:.1e} greedy {:.1e} of 1e-4, {} tokens\n",
                 GetParam(), worst.prompt, worst.greedy, worst.tokens);
  }
}

TEST_P(ParityOnGpu, SixteenBitErrorWithinTwiceTheReferences) {
  const Json expected = expected_of(GetParam());
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    const std::string type(dtype_name(dtype));
    const double own = expected["own_error"][type]["prompt_logprobs_max"].get<double>();
    // No margin is wide enough here to know a token.
    const double error = compare(expected, load_on_device(GetParam(), dtype), INFINITY).prompt;
    EXPECT_LE(error, 2 * own) << type;
    fmt::print("parity {:<30} {:<9} prompt {:.4f}, transformers' own {:.4f}, ratio {:.2f} of 2\n",
               GetParam(), type, error, own, error / own);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, ParityOnGpu, testing::ValuesIn(checkpoint_names()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace miniinfer
