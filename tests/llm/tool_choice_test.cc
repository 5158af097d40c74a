#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "llm/tool_parser.h"
#include "miniinfer/llm.h"

namespace miniinfer {
namespace {

const std::filesystem::path kSource = MINIINFER_SOURCE_DIR;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Json tool(const std::string& name) {
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"parameters",
             {{"type", "object"},
              {"properties", {{"city", {{"type", "string"}}}, {"days", {{"$ref", "#/$defs/n"}}}}},
              {"required", {"city", "days"}},
              {"$defs", {{"n", {{"type", "integer"}, {"minimum", 1}, {"maximum", 9}}}}}}}}}};
}

std::string refused_param(const Json& tools, const Json& choice) {
  try {
    parse_tool_choice(&tools, &choice);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.param();
  }
  return "(accepted)";
}

TEST(ToolChoice, FormatsAreDetectedByHowTemplatesRenderCalls) {
  const std::filesystem::path corpus = kSource / "tests/fuzz/corpus/chat_template";
  const auto detect = [&](const std::filesystem::path& path) {
    return detect_tool_call_format(ChatTemplate::from_source(read_text(path), "").get());
  };
  EXPECT_EQ(detect(kSource / "models/tiny-assistant/chat_template.jinja"), ToolCallFormat::kHermes);
  EXPECT_EQ(detect(corpus / "qwen25-tools.jinja"), ToolCallFormat::kHermes);
  EXPECT_EQ(detect(corpus / "qwen3-thinking.jinja"), ToolCallFormat::kHermes);
  EXPECT_EQ(detect(corpus / "hermes-tools.jinja"), ToolCallFormat::kHermes);
  EXPECT_EQ(detect(corpus / "llama31-tools.jinja"), ToolCallFormat::kLlama3);
  EXPECT_EQ(detect(corpus / "chatml.jinja"), ToolCallFormat::kNone);
  EXPECT_EQ(detect(corpus / "llama2-inst.jinja"), ToolCallFormat::kNone);
  EXPECT_EQ(detect(corpus / "raises.jinja"), ToolCallFormat::kNone);
  EXPECT_EQ(detect_tool_call_format(nullptr), ToolCallFormat::kNone);
}

TEST(ToolChoice, NamesOfTheFormats) {
  EXPECT_EQ(tool_call_format("hermes"), ToolCallFormat::kHermes);
  EXPECT_EQ(tool_call_format("llama3_json"), ToolCallFormat::kLlama3);
  EXPECT_EQ(tool_call_format("none"), ToolCallFormat::kNone);
  EXPECT_THROW(tool_call_format("pythonic"), Error);
}

TEST(ToolChoice, WhatARequestMayAsk) {
  using Mode = ToolChoice::Mode;
  const Json tools = {tool("f"), tool("g")};
  const Json none = Json::array();
  const auto mode = [&](const Json& choice) { return parse_tool_choice(&tools, &choice).mode; };
  EXPECT_EQ(parse_tool_choice(nullptr, nullptr).mode, Mode::kNone);
  EXPECT_EQ(parse_tool_choice(&none, nullptr).mode, Mode::kNone);
  EXPECT_EQ(parse_tool_choice(&tools, nullptr).mode, Mode::kAuto);
  EXPECT_EQ(mode("none"), Mode::kNone);
  EXPECT_EQ(mode("auto"), Mode::kAuto);
  EXPECT_EQ(mode("required"), Mode::kRequired);
  const Json named = {{"type", "function"}, {"function", {{"name", "g"}}}};
  EXPECT_EQ(parse_tool_choice(&tools, &named).mode, Mode::kNamed);
  EXPECT_EQ(parse_tool_choice(&tools, &named).name, "g");

  EXPECT_EQ(refused_param(tools, "always"), "tool_choice");
  EXPECT_EQ(refused_param(tools, 5), "tool_choice");
  EXPECT_EQ(refused_param(none, "required"), "tool_choice");
  EXPECT_EQ(refused_param(tools, {{"type", "function"}, {"function", {{"name", "h"}}}}),
            "tool_choice");
  EXPECT_EQ(refused_param(Json::array({tool("f"), tool("f")}), nullptr), "tools");
  EXPECT_EQ(refused_param(Json::array({tool("two words")}), nullptr), "tools");
  EXPECT_EQ(refused_param(Json::array({{{"type", "retrieval"}}}), nullptr), "tools");
  EXPECT_EQ(refused_param(Json::array({5}), nullptr), "tools");
  EXPECT_EQ(refused_param("f", nullptr), "tools");
  EXPECT_THROW(tool_choice_grammar(ToolCallFormat::kNone, tools, {.mode = Mode::kRequired}, true),
               Error);
  EXPECT_FALSE(tool_choice_grammar(ToolCallFormat::kHermes, tools, {.mode = Mode::kAuto}, true));
}

LLM& embedded() {
  static LLM llm({}, {.threads = 2});
  return llm;
}

struct Answer {
  std::string text, content;
  std::vector<std::pair<std::string, Json>> calls;
};

// What the model answers under a choice, parsed as the server would.
Answer answer(const Json& messages, const Json& tools, const ToolChoice& choice,
              ToolCallFormat format, double temperature, uint64_t seed = 0) {
  SamplingParams params;
  params.temperature = temperature;
  params.seed = seed;
  params.max_tokens = 120;
  params.structured_output = tool_choice_grammar(format, tools, choice, true);
  const GenerateResult result =
      embedded().generate(Prompt::from_messages(messages.dump(), tools.dump()), params);
  Answer got;
  if (result.error || result.outputs[0].finish_reason != "stop") return got;
  got.text = result.outputs[0].text;
  ToolParser parser(format, "");
  std::string arguments;
  for (ToolDelta delta : {parser.push(got.text), parser.finish()}) {
    got.content += delta.content;
    for (const ToolCallDelta& call : delta.calls) {
      if (!call.name.empty())
        got.calls.emplace_back(call.name, call.arguments);
      else
        got.calls.back().second = got.calls.back().second.get<std::string>() + call.arguments;
    }
  }
  for (auto& [name, text] : got.calls) text = Json::parse(text.get<std::string>());
  return got;
}

void expect_valid(const Answer& got, const Json& tools) {
  EXPECT_EQ(got.content, "") << got.text;
  ASSERT_FALSE(got.calls.empty()) << got.text;
  for (const auto& [name, arguments] : got.calls) {
    const Json* parameters = nullptr;
    for (const Json& t : tools)
      if (t["function"]["name"] == name) parameters = &t["function"]["parameters"];
    ASSERT_TRUE(parameters) << name;
    EXPECT_EQ(arguments.size(), (*parameters)["properties"].size()) << got.text;
    for (const auto& [key, schema] : (*parameters)["properties"].items()) {
      ASSERT_TRUE(arguments.contains(key)) << got.text;
      EXPECT_TRUE(schema.value("type", "") != "integer" || arguments[key].is_number_integer());
      EXPECT_TRUE(schema.value("type", "") != "string" || arguments[key].is_string());
    }
  }
}

// On its own tool prompts the constraint must change nothing for the better or worse but validity.
TEST(ToolChoice, RequiredGivesValidCallsOnToolPrompts) {
  std::ifstream file(kSource / "models/tiny-assistant/eval/new_values.jsonl");
  int asked = 0, exact = 0;
  for (std::string line; std::getline(file, line) && asked < 60;) {
    const Json json = Json::parse(line);
    if (json["skill"] != "tools" && json["skill"] != "tools_unseen") continue;
    if (json["messages"].size() != 1 ||
        json["expected"].dump().find("tool_call") == std::string::npos)
      continue;
    const Answer got = answer(json["messages"], json["tools"],
                              {.mode = ToolChoice::Mode::kRequired}, ToolCallFormat::kHermes, 0);
    expect_valid(got, json["tools"]);
    exact += got.text == json["expected"];
    ++asked;
  }
  EXPECT_EQ(asked, 60);
  EXPECT_GE(exact, 57);
  RecordProperty("exact", exact);
}

// Hot sampling on prompts that ask for no tool: validity is the grammar's doing.
TEST(ToolChoice, RequiredAndNamedHoldWhateverTheModelWants) {
  const Json tools = {tool("forecast"), tool("history.of-weather")};
  const Json messages = {{{"role", "user"}, {"content", "Spell the word stream."}}};
  int complete = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto format = seed % 2 ? ToolCallFormat::kHermes : ToolCallFormat::kLlama3;
    ToolChoice choice{.mode = ToolChoice::Mode::kRequired};
    if (seed % 3 == 0) choice = {.mode = ToolChoice::Mode::kNamed, .name = "forecast"};
    const Answer got = answer(messages, tools, choice, format, 1.0, seed);
    if (got.text.empty()) continue;  // a long string took all tokens
    ++complete;
    expect_valid(got, tools);
    for (const auto& [name, arguments] : got.calls) {
      EXPECT_TRUE(seed % 3 != 0 || name == "forecast") << name;
      EXPECT_TRUE(arguments["days"] >= 1 && arguments["days"] <= 9);
    }
    EXPECT_TRUE(seed % 3 != 0 || got.calls.size() == 1U);
  }
  EXPECT_GE(complete, 6);
}

TEST(ToolChoice, ToolsWhoseSchemaIsRefusedNameTheField) {
  Json bad = tool("f");
  bad["function"]["parameters"]["properties"]["city"]["type"] = "text";
  SamplingParams params;
  params.structured_output = tool_choice_grammar(ToolCallFormat::kHermes, Json::array({bad}),
                                                 {.mode = ToolChoice::Mode::kRequired}, true);
  const GenerateResult result = embedded().generate(Prompt::from_text("a"), params);
  ASSERT_TRUE(result.error);
  EXPECT_EQ(result.error->param(), "tools");
}

}  // namespace
}  // namespace miniinfer
