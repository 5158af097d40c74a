#include "llm/request_lines.h"

#include <gtest/gtest.h>

#include "llm/error_json.h"

namespace miniinfer {
namespace {

BatchItem parse(std::string_view line, const BatchItem& defaults = {}) {
  return parse_request_line(line, 3, defaults);
}

std::string rejected_param(std::string_view line) {
  const BatchItem item = parse(line);
  if (!item.error) return "(accepted)";
  EXPECT_EQ(item.error->code(), ErrorCode::kInvalidArgument);
  return item.error->param();
}

TEST(RequestLines, TheThreeKindsOfPrompt) {
  EXPECT_EQ(parse(R"({"prompt": "hi"})").prompt.text, "hi");
  EXPECT_EQ(parse(R"({"prompt_token_ids": [1, 2147483647]})").prompt.token_ids,
            (std::vector<int32_t>{1, 2147483647}));
  const BatchItem chat = parse(
      R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"x": 1}], "chat_template_kwargs": {"k": true}})");
  ASSERT_FALSE(chat.error);
  EXPECT_EQ(chat.prompt.kind, Prompt::Kind::kMessages);
  EXPECT_EQ(chat.prompt.messages_json, R"([{"role":"user","content":"a"}])");
  EXPECT_EQ(chat.prompt.tools_json, R"([{"x":1}])");
  EXPECT_EQ(chat.prompt.kwargs_json, R"({"k":true})");
}

TEST(RequestLines, FieldsOfALineReplaceTheDefaults) {
  BatchItem defaults{.default_max_tokens = true};
  defaults.params.temperature = 0;
  const BatchItem item =
      parse(R"({"prompt": "a", "max_tokens": 5, "priority": -2, "cache_salt": "t"})", defaults);
  EXPECT_EQ(item.params.max_tokens, 5);
  EXPECT_FALSE(item.default_max_tokens);
  EXPECT_EQ(item.params.temperature, 0);
  EXPECT_EQ(item.prompt.priority, -2);
  EXPECT_EQ(item.prompt.cache_salt, "t");
  EXPECT_TRUE(parse(R"({"prompt": "a"})", defaults).default_max_tokens);
}

TEST(RequestLines, ALineMayConstrainItsAnswer) {
  const BatchItem item = parse(R"({"prompt": "a", "structured_outputs": {"regex": "b+"}})");
  ASSERT_FALSE(item.error);
  EXPECT_EQ(item.params.structured_output->text, "b+");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "response_format": {"type": "xml"}})"),
            "response_format");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "structured_outputs": {"xml": 1}})"),
            "structured_outputs");
}

TEST(RequestLines, BadLinesNameTheField) {
  EXPECT_EQ(rejected_param("not json"), "");
  EXPECT_EQ(rejected_param("[]"), "");
  EXPECT_EQ(rejected_param("{}"), "prompt");
  EXPECT_EQ(rejected_param(R"({"prompt": 5})"), "prompt");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "prompt_token_ids": [1]})"), "prompt");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "tools": []})"), "tools");
  EXPECT_EQ(rejected_param(R"({"prompt_token_ids": "1"})"), "prompt_token_ids");
  EXPECT_EQ(rejected_param(R"({"prompt_token_ids": [-1]})"), "prompt_token_ids");
  EXPECT_EQ(rejected_param(R"({"prompt_token_ids": [1.5]})"), "prompt_token_ids");
  EXPECT_EQ(rejected_param(R"({"prompt_token_ids": [9223372036854775808]})"), "prompt_token_ids");
  EXPECT_EQ(rejected_param(R"({"messages": "hi"})"), "messages");
  EXPECT_EQ(rejected_param(R"({"messages": [], "tools": {}})"), "tools");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "temprature": 1})"), "temprature");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "temperature": "x"})"), "temperature");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "priority": 1e3})"), "priority");
  EXPECT_EQ(rejected_param("{\"prompt\": \"a\", \"prompt\": \"b\"}"), "");
  EXPECT_EQ(rejected_param(R"({"prompt": "a", "temperature": 1e400})"), "");
  EXPECT_EQ(rejected_param("{\"prompt\": \"\xff\"}"), "");
  EXPECT_TRUE(parse("{").error->message().starts_with("line 3: "));
}

TEST(RequestLines, ResultHasTheContractsKeysInOrder) {
  GenerateResult result;
  result.prompt_token_ids = {1, 2};
  result.prompt_logprobs = {std::nullopt, LogprobEntry{2, -0.5f, {{2, -0.5f}, {7, -1.0f}}}};
  result.outputs.resize(1);
  result.outputs[0].token_ids = {7};
  result.outputs[0].text = "x";
  result.outputs[0].logprobs = {LogprobEntry{7, -0.25f, {}}};
  result.outputs[0].finish_reason = "length";
  result.cached_tokens = 1;
  EXPECT_EQ(
      result_to_json(result).dump(),
      R"({"prompt_token_ids":[1,2],"prompt_logprobs":[null,{"token_id":2,"logprob":-0.5,"top":[[2,-0.5],[7,-1.0]]}],)"
      R"("token_ids":[7],"logprobs":[{"token_id":7,"logprob":-0.25,"top":[]}],"text":"x","finish_reason":"length",)"
      R"("usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":1}}})");
}

TEST(RequestLines, ErrorsHaveTheirOwnObject) {
  GenerateResult result;
  result.error = Error(ErrorCode::kInvalidArgument, "n: too many", "n");
  EXPECT_EQ(
      result_to_json(result).dump(),
      R"({"error":{"message":"n: too many","type":"invalid_request_error","param":"n","code":"invalid_argument"}})");
  result.error = Error(ErrorCode::kInvalidArgument, "context_length_exceeded: 9 tokens");
  EXPECT_EQ(result_to_json(result)["error"]["code"], "context_length_exceeded");
  EXPECT_TRUE(result_to_json(result)["error"]["param"].is_null());
}

}  // namespace
}  // namespace miniinfer
