#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "grammar_walk.h"
#include "support/cpu_time.h"

namespace miniinfer {
namespace {

// As llama.cpp ships it.
const char* const kJson = R"gbnf(
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
)gbnf";

// As xgrammar's documents write it: rules on a line, the first that is needed last.
const char* const kArithmetic =
    "expr ::= term ((\"+\" | \"-\") term)*\n"
    "term ::= factor | term \"*\" factor\n"
    "factor ::= [0-9]+ | \"(\" expr \")\" | \"\\u00e9\"\n"
    "root ::= expr \"=\" .\n";

// Whether the grammar lets the whole text be written.
bool matches(const Grammar& grammar, const std::string& text) {
  GrammarMatcher matcher(grammar);
  for (const int32_t id : small().tokenizer->encode(text, false)) {
    const std::vector<int32_t> ids = allowed(matcher, small());
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) return false;
    matcher.accept(id);
  }
  const std::vector<int32_t> ids = allowed(matcher, small());
  return std::find(ids.begin(), ids.end(), small().eos) != ids.end();
}

TEST(Gbnf, WhatAGrammarMatches) {
  struct Case {
    const char* grammar;
    std::vector<const char*> good, bad;
  };
  const Case cases[] = {
      {kJson,
       {"{}", R"({"a": [1, -2.5e+3, {"b": null}]})", "{\n\t\"a\":true}", R"({"\u00e9\n": "\""})"},
       {"[]", "{", "{}}", R"({"a": 01})", R"({"a": tru})", "{  }", R"({"a":  1})"}},
      {kArithmetic, {"1=x", "(1+22)*3-\u00e9=\n", "((7))=\u6f22"}, {"1+=x", "1", "()=x", "1=xy"}},
      {"root ::= \"a\" \"b\" | \"ab\" \"c\"", {"ab", "abc"}, {"a", "b", "ac"}},
      {"root ::= (x | y)+\nx ::= \"a\"\ny ::= x x \"b\"",
       {"a", "aab", "aaba", "aaa"},
       {"b", "ab", ""}},
      {"root ::= [a-] [\\]^] [^a-z\\n] \"\\x41\\U0001F600\"",
       {"a]1A\U0001F600", "-^ZA\U0001F600"},
       {"b]1A\U0001F600", "a]aA\U0001F600", "a]\nA\U0001F600"}},
      {"root ::= \"a\"{2} \"b\"{1,2} \"c\"{2,} \"d\"{,0}", {}, {}},
      {"root ::= \"a\"{2} \"b\"{1,2} \"c\"{2,}",
       {"aabcc", "aabbcccc"},
       {"abcc", "aabc", "aabbbcc"}},
      {"root ::= \"(\" root? \")\" tail\ntail ::= \"\" | \"!\" tail",
       {"()", "(()!)!!"},
       {"(", "!", "(()"}},
      {"root::=a-b|\nc_1\na-b::=\"x\"#\"y\"\nc_1::=\"z\"", {"x", "z"}, {"y", "xz", ""}},
      {"root ::= | \"a\" root \"b\"", {"", "ab", "aabb"}, {"a", "aab"}},
  };
  for (const Case& item : cases) {
    if (item.good.empty()) {
      expect_refused(GrammarKind::kLark, item.grammar);
      continue;
    }
    const Grammar grammar(small().vocabulary, GrammarKind::kLark, item.grammar, "grammar");
    for (const char* text : item.good) EXPECT_TRUE(matches(grammar, text)) << item.grammar << text;
    for (const char* text : item.bad) EXPECT_FALSE(matches(grammar, text)) << item.grammar << text;
  }
}

TEST(Gbnf, RandomTextsAreOfTheLanguage) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  // Without what JSON's readers refuse: numbers beyond a double, half a pair of surrogates.
  std::string json = kJson;
  for (const std::string part : {"([eE] [-+]? [0-9] [1-9]{0,15})? ", " | \"u\" [0-9a-fA-F]{4}"})
    json.erase(json.find(part), part.size());
  const Grammar grammar(small().vocabulary, GrammarKind::kLark, json, "grammar");
  int complete = 0;
  for (int i = 0; i < 60; ++i) {
    const Walk walk = random_walk(grammar, small(), random, 200);
    if (!walk.complete) continue;
    ++complete;
    EXPECT_TRUE(nlohmann::json::parse(walk.text, nullptr, false).is_object()) << walk.text;
  }
  EXPECT_GT(complete, 5);
}

TEST(Gbnf, WhatIsMalformedIsRefused) {
  for (const char* text : {"root ::= (",
                           "root ::= )",
                           "root ::= \"a",
                           "root ::= [a",
                           "root ::= []",
                           "root ::= [b-a]",
                           "root ::= nowhere",
                           "start ::= \"a\"",
                           "root ::= \"a\"\nroot ::= \"b\"",
                           "root ::= \"\\q\"",
                           "root ::= \"\\xg0\"",
                           "root ::= \"\\ud800\"",
                           "root ::= \"a\"{2,1}",
                           "root ::= \"a\"{x}",
                           "root ::= \"a\"{99999999999999999999}",
                           "root ::= \"a\" ::= \"b\"",
                           "root ::= (= \"a\")",
                           "root ::= <[5]>",
                           "root ::= root",
                           "root ::= \"a\"*****",
                           "root ::= \"a",
                           "x\nroot ::= \"a\""})
    expect_refused(GrammarKind::kLark, text);
}

TEST(Gbnf, HostileTextsCostLittle) {
  std::string chain = "root ::= r0\n", doubling = "root ::= r0\n", cycle = "root ::= r0\n";
  for (int i = 0; i < 3900; ++i) {
    const std::string n = std::to_string(i), next = std::to_string(i + 1);
    chain += "r" + n + " ::= \"a\" r" + next + "\n";
    cycle += "r" + n + " ::= \"a\" r" + std::to_string((i + 1) % 3900) + " | \"b\"\n";
    if (i < 40) doubling += "r" + n + " ::= r" + next + " r" + next + "\n";
  }
  const auto repeated = [](const std::string& text, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += text;
    return all;
  };
  std::mt19937 random(1);
  for (const std::string& text :
       {chain + "r3900 ::= \"b\"", doubling + "r40 ::= \"a\" | \"b\"", cycle,
        "root ::= " + repeated("(", 200'000) + "\"a\"" + repeated(")", 200'000),
        "root ::= " + repeated("\"a\" | ", 50'000) + "\"b\"",
        std::string("root ::= (((root{10000}){10000}){10000} | \"a\"){10000}")}) {
    const CpuTimer timer;
    try {
      const Grammar grammar(small().vocabulary, GrammarKind::kLark, text, "field");
      random_walk(grammar, small(), random, 30);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    }
    EXPECT_LT(timer.elapsed(), std::chrono::seconds(6)) << text.substr(0, 40);
  }
}

}  // namespace
}  // namespace miniinfer
