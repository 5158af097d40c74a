#include <gtest/gtest.h>

#include "serve/protocol/fields.h"
#include "serve/protocol/generation_request.h"
#include "serve/protocol/json_text.h"
#include "serve/protocol/reply_builder.h"

namespace miniinfer {
namespace {

ServedModel model() {
  return {.names = {"m", "alias"}, .max_model_len = 100};
}

std::string param_of(const std::string& body, bool chat = true) {
  try {
    const Json json = parse_body(body);
    chat ? parse_chat_request(json, model()) : parse_completion_request(json, model());
    return "accepted";
  } catch (const Error& error) {
    return error.param();
  }
}

TEST(ChatRequest, MessagesAreAsTemplatesTakeThem) {
  const Json messages = normalize_messages(Json::parse(R"([
      {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "user", "content": "c", "name": "n"},
      {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
          {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]},
      {"role": "tool", "content": "d", "tool_call_id": "1"}])"));
  EXPECT_EQ(messages[0], Json::parse(R"({"role": "system", "content": "a\nb"})"));
  EXPECT_EQ(messages[1]["name"], "n");
  EXPECT_EQ(messages[2]["content"], "");
  EXPECT_EQ(messages[2]["tool_calls"][0]["function"]["arguments"], Json::parse(R"({"x": 1})"));
  EXPECT_EQ(messages[3]["tool_call_id"], "1");
}

TEST(ChatRequest, FieldsReachTheirPlaces) {
  const GenerationRequest request = parse_chat_request(
      parse_body(
          R"({"model": "alias", "messages": [{"role": "user", "content": "x"}], "stream": true,
          "stream_options": {"include_usage": true}, "max_completion_tokens": 7, "logprobs": true,
          "top_logprobs": 3, "priority": -2, "cache_salt": "s", "user": "u", "seed": 18446744073709551615,
          "service_tier": "auto", "store": false, "best_of": null, "chat_template_kwargs": {"a": 1}})"),
      model());
  EXPECT_TRUE(request.stream && request.include_usage && !request.default_max_tokens);
  EXPECT_EQ(request.params.max_tokens, 7);
  EXPECT_EQ(request.params.logprobs, 3);
  EXPECT_EQ(request.params.seed, 18446744073709551615u);
  EXPECT_EQ(request.prompts[0].priority, -2);
  EXPECT_EQ(request.prompts[0].cache_salt, "s");
  EXPECT_EQ(request.prompts[0].kwargs_json, R"({"a":1})");
  EXPECT_EQ(request.user, "u");
}

TEST(ChatRequest, RefusalsNameTheField) {
  const std::string messages = R"({"messages": [{"role": "user", "content": "x"}], )";
  EXPECT_EQ(param_of(messages + R"("max_tokens": 1, "max_completion_tokens": 1})"), "max_tokens");
  EXPECT_EQ(param_of(messages + R"("max_completion_tokens": 0})"), "max_completion_tokens");
  EXPECT_EQ(param_of(messages + R"("max_completion_tokens": "x"})"), "max_completion_tokens");
  EXPECT_EQ(param_of(messages + R"("service_tier": "flex"})"), "service_tier");
  EXPECT_EQ(param_of(messages + R"("store": true})"), "store");
  EXPECT_EQ(param_of(messages + R"("chat_template_kwargs": []})"), "chat_template_kwargs");
  EXPECT_EQ(param_of(messages + R"("model": "other"})"), "model");
  EXPECT_EQ(param_of(messages + R"("min_tokens": 50})"), "accepted");
  EXPECT_EQ(param_of(messages + R"("min_tokens": 50, "max_tokens": 49})"), "min_tokens");
  EXPECT_EQ(
      param_of(R"({"prompt": "x", "echo": true, "logprobs": 1, "prompt_logprobs": 1})", false),
      "prompt_logprobs");
}

TEST(JsonText, EscapesWhatBreaksStringsAndLines) {
  using namespace std::string_literals;
  const std::string text =
      "a\"\\\n\t\x01\x7F\xC2\x85\xE2\x80\xA8\xE2\x80\xA9\xE2\x82\xAC \xC3\xA9\0z"s;
  std::string out;
  append_json_string(out, text);
  EXPECT_EQ(Json::parse(out).get<std::string>(), text);
  EXPECT_NE(out.find("\\u0085\\u2028\\u2029\xE2\x82\xAC"), std::string::npos) << out;
}

TEST(Replies, AStreamAndAWholeReplySayTheSame) {
  for (const bool chat : {true, false}) {
    GenerationRequest request;
    request.chat = chat;
    request.prompts.resize(1);
    request.params.n = 2;
    const ReplyContext context{.id = "id-1", .model = "m\"", .created = 5};
    const std::vector<int32_t> prompt = {1, 2, 3};
    const std::vector<std::optional<LogprobEntry>> none;
    const auto feed = [&](ReplyBuilder& builder, std::string& events) {
      builder.add(1, {.index = 1, .text = "b\n", .token_ids = {1}}, {prompt, none}, events);
      builder.add(0, {.index = 0, .text = "a", .token_ids = {2}}, {prompt, none}, events);
      builder.add(0, {.index = 0, .text = "", .token_ids = {4}}, {prompt, none}, events);
      builder.add(1, {.index = 1, .text = "c", .token_ids = {3}, .finish_reason = "length"},
                  {prompt, none}, events);
      builder.add(0, {.index = 0, .finish_reason = "stop", .stop_reason = "x\""}, {prompt, none},
                  events);
    };
    const auto make = chat ? make_chat_reply : make_completion_reply;
    std::string events;
    const auto whole = make(request, context);
    feed(*whole, events);
    EXPECT_EQ(events, "");
    const Json reply = Json::parse(whole->whole({3, 4, 0}));
    EXPECT_EQ(reply["usage"]["total_tokens"], 7);

    request.stream = request.include_usage = true;
    const auto stream = make(request, context);
    feed(*stream, events);
    stream->end({3, 4, 0}, events);
    ASSERT_TRUE(events.ends_with("\n\ndata: [DONE]\n\n"));
    std::vector<std::string> texts(2);
    std::vector<Json> reasons(2), stops(2);
    for (size_t at = 0; events.compare(at, 12, "data: [DONE]") != 0;) {
      const size_t end = events.find("\n\n", at);
      const Json event = Json::parse(events.substr(at + 6, end - at - 6));
      at = end + 2;
      EXPECT_EQ(event["id"], "id-1");
      EXPECT_EQ(event["model"], "m\"");
      if (event["choices"].empty()) {
        EXPECT_EQ(event["usage"], reply["usage"]);
        continue;
      }
      EXPECT_TRUE(event["usage"].is_null());
      const Json& choice = event["choices"][0];
      const auto index = choice["index"].get<size_t>();
      texts[index] += chat ? choice["delta"].value("content", "") : choice.value("text", "");
      if (choice["finish_reason"].is_null()) continue;
      reasons[index] = choice["finish_reason"];
      stops[index] = choice["stop_reason"];
    }
    for (size_t i = 0; i < 2; ++i) {
      const Json& choice = reply["choices"][i];
      EXPECT_EQ(chat ? choice["message"]["content"] : choice["text"], texts[i]);
      EXPECT_EQ(choice["finish_reason"], reasons[i]);
      EXPECT_EQ(choice["stop_reason"], stops[i]);
    }
    EXPECT_EQ(texts, (std::vector<std::string>{"a", "b\nc"}));
  }
}

}  // namespace
}  // namespace miniinfer
