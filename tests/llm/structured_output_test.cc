#include "llm/structured_output.h"

#include <atomic>
#include <regex>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "llm/embedded_model.h"
#include "llm/grammar_mask.h"
#include "miniinfer/llm.h"

namespace miniinfer {
namespace {

using Kind = StructuredOutput::Kind;

LLM& embedded() {
  static LLM llm({}, {.threads = 2});
  return llm;
}

GenerateResult generate(Kind kind, const std::string& text, double temperature = 1, int n = 1,
                        int max_tokens = 80) {
  SamplingParams params;
  params.temperature = temperature;
  params.max_tokens = max_tokens;
  params.n = n;
  params.structured_output = {kind, text};
  return embedded().generate(
      Prompt::from_messages(R"([{"role": "user", "content": "What is 7 + 8?"}])"), params);
}

std::string refused(Kind kind, const std::string& text) {
  const GenerateResult result = generate(kind, text);
  if (!result.error) return "(accepted)";
  EXPECT_EQ(result.error->code(), ErrorCode::kInvalidArgument) << result.error->message();
  return result.error->param();
}

std::optional<StructuredOutput> from_json(const char* text) {
  return structured_output_from_json(Json::parse(text));
}

std::string refused_field(const char* text) {
  try {
    from_json(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.param();
  }
  return "(accepted)";
}

TEST(StructuredOutput, TheFieldsOfARequest) {
  EXPECT_FALSE(from_json("{}"));
  EXPECT_FALSE(from_json(R"({"response_format": null, "structured_outputs": null})"));
  EXPECT_FALSE(from_json(R"({"response_format": {"type": "text"}, "structured_outputs": {}})"));
  EXPECT_EQ(from_json(R"({"response_format": {"type": "json_object"}})")->kind, Kind::kJsonObject);
  const auto schema = from_json(
      R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {"b": 1, "a": 2}}}})");
  EXPECT_EQ(schema->kind, Kind::kJsonSchema);
  EXPECT_EQ(schema->text, R"({"b":1,"a":2})");
  EXPECT_EQ(schema->param, "response_format");
  EXPECT_EQ(from_json(R"({"structured_outputs": {"json": {"type": "null"}}})")->text,
            R"({"type":"null"})");
  EXPECT_EQ(from_json(R"({"structured_outputs": {"json": "{\"type\": \"null\"}"}})")->text,
            R"({"type":"null"})");
  EXPECT_EQ(from_json(R"({"structured_outputs": {"json": null, "regex": "a+"}})")->kind,
            Kind::kRegex);
  EXPECT_EQ(from_json(R"({"structured_outputs": {"choice": ["a"]}})")->text, R"(["a"])");
  EXPECT_EQ(from_json(R"({"structured_outputs": {"grammar": "start: \"a\""}})")->kind,
            Kind::kGrammar);
  EXPECT_EQ(from_json(R"({"structured_outputs": {"json_object": true}})")->kind, Kind::kJsonObject);
}

TEST(StructuredOutput, BadFieldsAreNamed) {
  EXPECT_EQ(refused_field(R"({"response_format": "json"})"), "response_format");
  EXPECT_EQ(refused_field(R"({"response_format": {}})"), "response_format");
  EXPECT_EQ(refused_field(R"({"response_format": {"type": "xml"}})"), "response_format");
  EXPECT_EQ(refused_field(R"({"response_format": {"type": "json_schema"}})"), "response_format");
  EXPECT_EQ(refused_field(
                R"({"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}})"),
            "response_format");
  EXPECT_EQ(refused_field(R"({"response_format": {"type": "json_object", "more": 1}})"),
            "response_format");
  EXPECT_EQ(refused_field(R"({"structured_outputs": []})"), "structured_outputs");
  EXPECT_EQ(refused_field(R"({"structured_outputs": {"regex": 5}})"), "structured_outputs");
  EXPECT_EQ(refused_field(R"({"structured_outputs": {"regex": "a", "choice": ["a"]}})"),
            "structured_outputs");
  EXPECT_EQ(refused_field(R"({"structured_outputs": {"json": "{"}})"), "structured_outputs");
  EXPECT_EQ(refused_field(R"({"structured_outputs": {"structural_tag": "x"}})"),
            "structured_outputs");
  EXPECT_EQ(
      refused_field(
          R"({"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}})"),
      "structured_outputs");
}

TEST(StructuredOutput, TheModelWritesWhatItIsHeldTo) {
  const std::regex phone("[0-9]{3}-[0-9]{4}");
  for (const Completion& output : generate(Kind::kRegex, "\\d{3}-\\d{4}", 1, 8).outputs) {
    EXPECT_EQ(output.finish_reason, "stop");
    EXPECT_TRUE(std::regex_match(output.text, phone)) << output.text;
  }
  const std::set<std::string> choices = {"a.b", "no", "15 or *", ""};
  for (const Completion& output :
       generate(Kind::kChoice, R"(["a.b", "no", "15 or *", ""])", 2, 16).outputs)
    EXPECT_TRUE(choices.contains(output.text)) << output.text;
  EXPECT_EQ(generate(Kind::kGrammar, "start: \"7 + 8 = \" /[0-9]{2}/", 0).outputs[0].text,
            "7 + 8 = 15");
  const std::string schema =
      R"({"type":"object","properties":{"sum":{"type":"integer"},"ok":{"type":"boolean"}},"required":["sum","ok"],"additionalProperties":false})";
  for (const Completion& output : generate(Kind::kJsonSchema, schema, 1, 8).outputs) {
    if (output.finish_reason == "length") continue;  // a long number
    const Json json = Json::parse(output.text);
    EXPECT_TRUE(json["sum"].is_number_integer() && json["ok"].is_boolean()) << output.text;
    EXPECT_EQ(json.size(), 2U);
  }
}

TEST(StructuredOutput, TheSameRequestDrawsTheSame) {
  SamplingParams params;
  params.seed = 3;
  params.max_tokens = 60;
  params.structured_output = {Kind::kJsonObject, {}};
  const Prompt prompt = Prompt::from_text("Some JSON:");
  const GenerateResult alone = embedded().generate(prompt, params);
  const auto many = embedded().generate(std::vector<Prompt>(20, prompt), params);
  for (const GenerateResult& result : many)
    EXPECT_EQ(result.outputs[0].token_ids, alone.outputs[0].token_ids);
}

TEST(StructuredOutput, WhatCannotBeWrittenIsRefused) {
  EXPECT_EQ(refused(Kind::kRegex, "(a"), "structured_outputs");
  EXPECT_EQ(refused(Kind::kChoice, "[]"), "structured_outputs");
  EXPECT_EQ(refused(Kind::kChoice, R"(["a", 1])"), "structured_outputs");
  EXPECT_EQ(refused(Kind::kChoice, R"({"a": 1})"), "structured_outputs");
  EXPECT_EQ(refused(Kind::kJsonSchema, R"({"type": "strin"})"), "structured_outputs");
  EXPECT_EQ(refused(Kind::kGrammar, "start: x"), "structured_outputs");
  EXPECT_EQ(generate(Kind::kRegex, "ok").outputs[0].text, "ok");
}

TEST(StructuredOutput, AConstraintThatGrowsTooComplexEndsItsRequestAlone) {
  SamplingParams plain;
  plain.temperature = 0;
  plain.max_tokens = 60;
  const Prompt prompt = Prompt::from_text("Count to ten:");
  const GenerateResult alone = embedded().generate(prompt, plain);
  SamplingParams hostile = plain;
  hostile.structured_output = {Kind::kRegex, "(a?){5000}a{5000}"};
  const auto results = embedded().generate({prompt, prompt, prompt}, {plain, hostile, plain});
  ASSERT_TRUE(results[1].outputs[0].error);
  EXPECT_EQ(results[1].outputs[0].error->code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(results[1].outputs[0].error->param(), "structured_outputs");
  for (const int i : {0, 2}) EXPECT_EQ(results[i].outputs[0].token_ids, alone.outputs[0].token_ids);
}

// Requests of many threads, a few texts, some of them bad: each gets its own answer.
TEST(StructuredOutput, OneTextIsCompiledForAllWhoAsk) {
  const auto tokenizer =
      Tokenizer::from_json(embedded_text("tokenizer.json"), embedded_text("tokenizer_config.json"));
  StructuredOutputCompiler compiler(tokenizer, tokenizer->vocab_size(), {2});
  std::atomic<int> made{0}, refusals{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        const int kind = (i + t) % 3;
        try {
          const std::string text = kind == 0 ? "(bad" : "a{" + std::to_string(1 + i % 7) + "}";
          made += compiler.compile({Kind::kRegex, text})() != nullptr;
        } catch (const Error&) {
          ++refusals;
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made.load(), 160);
  EXPECT_EQ(refusals.load(), 80);
}

// Large grammars push each other out, and ordinary ones stay as long as there is room.
TEST(StructuredOutput, TheConstraintsThatAreKeptAreBoundedInBytes) {
  const auto tokenizer =
      Tokenizer::from_json(embedded_text("tokenizer.json"), embedded_text("tokenizer_config.json"));
  StructuredOutputCompiler compiler(tokenizer, tokenizer->vocab_size(), {2});
  size_t most = 0;
  std::vector<StructuredOutputCompiler::MakeMask> in_use;
  for (int i = 0; i < 5; ++i) {
    const std::string divisor = std::to_string(40'001 + 2 * i);  // some 18 MB each
    in_use.push_back(compiler.compile({Kind::kJsonSchema, R"({"multipleOf":)" + divisor + "}"}));
    most = std::max(most, compiler.cached_bytes());
    EXPECT_LE(compiler.cached_bytes(), size_t{64} << 20);
  }
  EXPECT_GT(most, size_t{40} << 20);
  for (const auto& make : in_use) EXPECT_NE(make(), nullptr);  // also those that are not kept
  for (int i = 0; i < 80; ++i)
    compiler.compile({Kind::kRegex, "[a-z]{" + std::to_string(i + 1) + "}"});
  EXPECT_LT(compiler.cached_bytes(), size_t{64} << 20);
}

// A thousand texts of one costly grammar would hold 20 GB: those that find no room are refused, and
// small ones go on beside them.
TEST(StructuredOutput, TextsOfCostlyConstraintsAreBoundedTogether) {
  const auto tokenizer =
      Tokenizer::from_json(embedded_text("tokenizer.json"), embedded_text("tokenizer_config.json"));
  StructuredOutputCompiler compiler(tokenizer, tokenizer->vocab_size(), {2});
  const auto costly = compiler.compile({Kind::kJsonSchema, R"({"multipleOf":65535})"});
  const auto small = compiler.compile({Kind::kRegex, "[a-z]+"});
  std::vector<std::unique_ptr<TokenMask>> masks;
  const auto add = [&] { masks.push_back(costly()); };
  try {
    for (int i = 0; i < 1000; ++i) add();
    FAIL() << "a thousand of them were made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
  }
  EXPECT_GT(masks.size(), 10u);
  EXPECT_THROW(add(), Error);
  EXPECT_NE(small(), nullptr);
  masks.pop_back();
  masks.pop_back();
  EXPECT_NO_THROW(add());
}

// Masks that go while they are computed, and a compiler that goes before its masks.
TEST(StructuredOutput, AMaskMayGoWhileItIsComputed) {
  const auto tokenizer =
      Tokenizer::from_json(embedded_text("tokenizer.json"), embedded_text("tokenizer_config.json"));
  const int64_t vocab = tokenizer->vocab_size();
  auto compiler =
      std::make_unique<StructuredOutputCompiler>(tokenizer, vocab, std::vector<int32_t>{2});
  const auto make = compiler->compile({Kind::kJsonObject, {}});
  std::vector<std::unique_ptr<TokenMask>> masks;
  for (int i = 0; i < 300; ++i) {
    auto mask = make();
    auto gone = std::make_shared<std::atomic<bool>>(false);
    mask->set_wake([gone] { EXPECT_FALSE(gone->load()); });
    if (i % 3 == 0) {
      masks.push_back(std::move(mask));
    } else {
      mask.reset();
      gone->store(true);
    }
  }
  compiler.reset();
  for (auto& mask : masks) {
    while (mask->state() == TokenMask::State::kPending) std::this_thread::yield();
    std::vector<uint32_t> bits((vocab + 31) / 32);
    mask->fill(bits);
    EXPECT_NE(std::count(bits.begin(), bits.end(), 0U), static_cast<int64_t>(bits.size()));
  }
}

}  // namespace
}  // namespace miniinfer
