#include "llm/tool_parser.h"

#include <gtest/gtest.h>

#include "splits.h"

namespace miniinfer {
namespace {

struct Call {
  std::string name, arguments;
  bool operator==(const Call&) const = default;
};

struct Case {
  const char* name;
  ToolCallFormat format;
  std::string text, content;
  std::vector<Call> calls;
};

std::string hermes(const std::string& body) {
  return "<tool_call>\n" + body + "\n</tool_call>";
}

const std::vector<Case>& cases() {
  constexpr auto kNone = ToolCallFormat::kNone, kHermes = ToolCallFormat::kHermes,
                 kLlama = ToolCallFormat::kLlama3;
  const std::string f = R"({"name": "f", "arguments": {"a": 1}})";
  const std::string p = R"({"name": "f", "parameters": {"a": 1}})";
  static const std::vector<Case> all = {
      {"no format", kNone, hermes(f), hermes(f), {}},
      {"text", kHermes, "Just text.\n", "Just text.\n", {}},
      {"a call", kHermes, hermes(f), "", {{"f", R"({"a": 1})"}}},
      {"compact",
       kHermes,
       R"(<tool_call>{"name":"f","arguments":{}}</tool_call>)",
       "",
       {{"f", "{}"}}},
      {"text first", kHermes, "Sure.\n" + hermes(f), "Sure.", {{"f", R"({"a": 1})"}}},
      {"two",
       kHermes,
       hermes(f) + "\n" + hermes(R"({"name": "g", "arguments": {"b": [1, {"c": "}"}]}})"),
       "",
       {{"f", R"({"a": 1})"}, {"g", R"({"b": [1, {"c": "}"}]})"}}},
      {"text between and after",
       kHermes,
       "a " + hermes(f) + " b " + hermes(f) + "\nc",
       "ab"
       "c",
       {{"f", R"({"a": 1})"}, {"f", R"({"a": 1})"}}},
      {"markers in strings",
       kHermes,
       hermes(R"({"name": "f", "arguments": {"a": "</tool_call>\"<tool_call>"}})"),
       "",
       {{"f", R"({"a": "</tool_call>\"<tool_call>"})"}}},
      {"arguments first",
       kHermes,
       hermes(R"({"arguments": {"a": "x"}, "name": "f"})"),
       "",
       {{"f", R"({"a": "x"})"}}},
      {"other fields",
       kHermes,
       hermes(R"({"id": [1, "]"], "type": null, "name": "f", "arguments": {}, "x": 1.5})"),
       "",
       {{"f", "{}"}}},
      {"no arguments", kHermes, hermes(R"({"name": "f"})"), "", {{"f", "{}"}}},
      {"escaped name",
       kHermes,
       hermes(R"({"na\u006de": "f\u0041", "arguments": {}})"),
       "",
       {{"fA", "{}"}}},
      {"arguments as a string",
       kHermes,
       hermes(R"({"name": "f", "arguments": "{\"a\": 1}"})"),
       "",
       {{"f", R"("{\"a\": 1}")"}}},
      {"never closed",
       kHermes,
       R"(<tool_call>{"name": "f", "arguments": {"a": 1)",
       "",
       {{"f", R"({"a": 1)"}}},
      {"marker missing", kHermes, "<tool_call>\n" + f, "", {{"f", R"({"a": 1})"}}},
      {"closed too early",
       kHermes,
       R"(<tool_call>{"name": "f", "arguments": {"a": 1</tool_call>b)",
       "b",
       {{"f", R"({"a": 1)"}}},
      {"next without a close",
       kHermes,
       "<tool_call>" + f + hermes(f),
       "",
       {{"f", R"({"a": 1})"}, {"f", R"({"a": 1})"}}},
      {"not JSON",
       kHermes,
       "<tool_call>what?</tool_call> ok",
       "<tool_call>what?</tool_call> ok",
       {}},
      {"no name", kHermes, hermes(R"({"arguments": {}})"), hermes(R"({"arguments": {}})"), {}},
      {"name is a number", kHermes, hermes(R"({"name": 5})"), hermes(R"({"name": 5})"), {}},
      {"cut in the name",
       kHermes,
       R"(Hm <tool_call>{"name": "ge)",
       R"(Hm <tool_call>{"name": "ge)",
       {}},
      {"almost a marker", kHermes, "a <tool_cal", "a <tool_cal", {}},
      {"less than", kHermes, "1 < 2 <tool", "1 < 2 <tool", {}},
      {"llama", kLlama, p, "", {{"f", R"({"a": 1})"}}},
      {"llama with its tag", kLlama, "<|python_tag|>" + p, "", {{"f", R"({"a": 1})"}}},
      {"llama, arguments", kLlama, "\n" + f, "", {{"f", R"({"a": 1})"}}},
      {"llama, several", kLlama, p + "; " + p, "", {{"f", R"({"a": 1})"}, {"f", R"({"a": 1})"}}},
      {"llama, text", kLlama, " It is {x}.", " It is {x}.", {}},
      {"llama, other JSON",
       kLlama,
       R"( {"name": "Bob", "age": 5} )",
       R"( {"name": "Bob", "age": 5} )",
       {}},
      {"llama, code", kLlama, "<|python_tag|>print(1)", "print(1)", {}},
      {"llama, cut in the tag", kLlama, "<|python", "<|python", {}},
      {"llama, cut in the name", kLlama, R"({"name": "f)", R"({"name": "f)", {}},
      {"llama, text after", kLlama, p + " done", "done", {{"f", R"({"a": 1})"}}},
      {"llama, space", kLlama, " \n", " \n", {}},
      {"nothing", kHermes, "", "", {}},
  };
  return all;
}

struct Collected {
  std::string content;
  std::vector<Call> calls;

  void add(const ToolDelta& delta) {
    content += delta.content;
    for (const ToolCallDelta& call : delta.calls) {
      if (!call.name.empty()) {
        EXPECT_EQ(call.index, static_cast<int>(calls.size()));
        EXPECT_EQ(call.id, "call_x" + std::to_string(call.index));
        calls.push_back({call.name, ""});
      } else {
        EXPECT_TRUE(call.id.empty());
        EXPECT_FALSE(call.arguments.empty());
      }
      ASSERT_EQ(call.index, static_cast<int>(calls.size()) - 1);
      calls.back().arguments += call.arguments;
    }
  }
};

TEST(ToolParser, EveryCutOfATextGivesTheSame) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    for (int round = 0; round < 200; ++round) {
      ToolParser parser(c.format, "call_x");
      Collected got;
      if (round == 0) {
        got.add(parser.push(c.text));
      } else {
        for (const std::string& piece : random_pieces(c.text, random)) got.add(parser.push(piece));
      }
      got.add(parser.finish());
      ASSERT_EQ(got.content, c.content);
      ASSERT_EQ(got.calls, c.calls);
      ASSERT_EQ(parser.num_calls(), static_cast<int>(c.calls.size()));
    }
  }
}

TEST(ToolParser, ACallIsHandedOutWhileItIsWritten) {
  ToolParser parser(ToolCallFormat::kHermes, "c");
  EXPECT_TRUE(parser.push("<tool_call>\n{\"name\": \"f\", \"arg").calls.empty());
  const ToolDelta first = parser.push("uments\": {\"a\"");
  ASSERT_EQ(first.calls.size(), 1U);
  EXPECT_EQ(first.calls[0].name, "f");
  EXPECT_EQ(first.calls[0].id, "c0");
  EXPECT_EQ(first.calls[0].arguments, "{\"a\"");
  const ToolDelta second = parser.push(": 12");
  ASSERT_EQ(second.calls.size(), 1U);
  EXPECT_EQ(second.calls[0].arguments, ": 12");
  EXPECT_TRUE(second.calls[0].name.empty());
}

// Random text made of what the parser looks for: no crash, no loss of plain content.
TEST(ToolParser, OfSeveralCallsTheFirstAlone) {
  const std::string f = R"({"name": "f", "arguments": {"a": ";{}"}})";
  for (const auto& [format, text] : std::vector<std::pair<ToolCallFormat, std::string>>{
           {ToolCallFormat::kHermes, "Yes. " + hermes(f) + " and " + hermes(f) + " so"},
           {ToolCallFormat::kHermes, "Yes. <tool_call>" + f + "<tool_call>" + f},
           {ToolCallFormat::kLlama3, f + "; " + f + " so"}}) {
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      ToolParser parser(format, "c", /*one_call=*/true);
      std::string content, arguments;
      for (ToolDelta delta :
           {parser.push(text.substr(0, cut)), parser.push(text.substr(cut)), parser.finish()}) {
        content += delta.content;
        for (const ToolCallDelta& call : delta.calls) {
          EXPECT_EQ(call.index, 0);
          arguments += call.arguments;
        }
      }
      EXPECT_EQ(content, format == ToolCallFormat::kHermes ? "Yes." : "");
      EXPECT_EQ(arguments, R"({"a": ";{}"})");
      EXPECT_EQ(parser.num_calls(), 1);
    }
  }
}

TEST(ToolParser, RandomMarkersGiveTheSameHoweverTheyAreCut) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::vector<std::string> parts = {"<tool_call>",
                                          "</tool_call>",
                                          "{",
                                          "}",
                                          "\"name\"",
                                          "\"arguments\"",
                                          "\"parameters\"",
                                          ":",
                                          ",",
                                          "\"f\"",
                                          "{\"name\": \"g\", \"arguments\": ",
                                          "{}",
                                          "[",
                                          "]",
                                          " ",
                                          "\n",
                                          "x",
                                          "<",
                                          "\\",
                                          "\"",
                                          "<|python_tag|>",
                                          ";",
                                          "1"};
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (size_t i = random() % 24; i > 0; --i) text += parts[random() % parts.size()];
    const auto format = random() % 2 ? ToolCallFormat::kHermes : ToolCallFormat::kLlama3;
    ToolParser whole(format, "call_x"), cut(format, "call_x");
    Collected a, b;
    a.add(whole.push(text));
    a.add(whole.finish());
    for (const std::string& piece : random_pieces(text, random)) b.add(cut.push(piece));
    b.add(cut.finish());
    ASSERT_EQ(a.content, b.content) << text;
    ASSERT_EQ(a.calls, b.calls) << text;
  }
}

}  // namespace
}  // namespace miniinfer
