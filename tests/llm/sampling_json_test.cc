#include "llm/sampling_json.h"

#include <gtest/gtest.h>

#include "miniinfer/error.h"

namespace miniinfer {
namespace {

void expect_rejected(const std::string& key, const std::string& value) {
  SamplingParams params;
  try {
    set_sampling_field(params, key, parse_json(value, "value"));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error.param(), key);
    EXPECT_TRUE(error.message().starts_with(key + ": ")) << error.message();
    return;
  }
  ADD_FAILURE() << key << " took " << value;
}

TEST(SamplingJson, SetsEveryField) {
  SamplingParams params;
  const Json fields =
      parse_json(R"({"n": 2, "max_tokens": 7, "min_tokens": 3, "temperature": 0.5, "top_p": 0.9,
    "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": -1, "frequency_penalty": 2,
    "logit_bias": {"5": -100, "7": 2.5}, "bad_words": ["x"], "seed": 18446744073709551615, "stop": "end",
    "stop_token_ids": [1, 2], "ignore_eos": true, "include_stop_str_in_output": true,
    "skip_special_tokens": false, "logprobs": 3, "prompt_logprobs": 0})",
                 "fields");
  for (const auto& [key, value] : fields.items())
    EXPECT_TRUE(set_sampling_field(params, key, value)) << key;
  EXPECT_EQ(params.n, 2);
  EXPECT_EQ(params.max_tokens, 7);
  EXPECT_EQ(params.min_tokens, 3);
  EXPECT_EQ(params.temperature, 0.5);
  EXPECT_EQ(params.top_p, 0.9);
  EXPECT_EQ(params.top_k, 40);
  EXPECT_EQ(params.min_p, 0.1);
  EXPECT_EQ(params.repetition_penalty, 1.1);
  EXPECT_EQ(params.presence_penalty, -1);
  EXPECT_EQ(params.frequency_penalty, 2);
  EXPECT_EQ(params.logit_bias, (std::vector<std::pair<int32_t, double>>{{5, -100}, {7, 2.5}}));
  EXPECT_EQ(params.bad_words, std::vector<std::string>{"x"});
  EXPECT_EQ(params.seed, 18446744073709551615u);
  EXPECT_EQ(params.stop, std::vector<std::string>{"end"});
  EXPECT_EQ(params.stop_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_TRUE(params.ignore_eos);
  EXPECT_TRUE(params.include_stop_str_in_output);
  EXPECT_FALSE(params.skip_special_tokens);
  EXPECT_EQ(params.logprobs, 3);
  EXPECT_EQ(params.prompt_logprobs, 0);
}

TEST(SamplingJson, UnknownFieldsAreTold) {
  SamplingParams params;
  EXPECT_FALSE(set_sampling_field(params, "temprature", Json(1)));
}

TEST(SamplingJson, NullKeepsTheDefault) {
  SamplingParams params;
  EXPECT_TRUE(set_sampling_field(params, "temperature", Json(nullptr)));
  EXPECT_EQ(params.temperature, 1.0);
}

TEST(SamplingJson, WrongTypesNameTheField) {
  expect_rejected("n", "1.5");
  expect_rejected("n", "9223372036854775808");
  expect_rejected("max_tokens", "\"7\"");
  expect_rejected("max_tokens", "9223372036854775808");
  expect_rejected("temperature", "\"hot\"");
  expect_rejected("temperature", "[1]");
  expect_rejected("seed", "-1");
  expect_rejected("seed", "18446744073709551616");
  expect_rejected("stop", "5");
  expect_rejected("stop", "[5]");
  expect_rejected("bad_words", "\"word\"");
  expect_rejected("stop_token_ids", "[2147483648]");
  expect_rejected("stop_token_ids", "[-2147483649]");
  expect_rejected("logit_bias", "[1]");
  expect_rejected("logit_bias", R"({"x": 1})");
  expect_rejected("logit_bias", R"({"5 ": 1})");
  expect_rejected("logit_bias", R"({"5": "1"})");
  expect_rejected("ignore_eos", "1");
}

}  // namespace
}  // namespace miniinfer
