#include "text/grammar.h"

#include <chrono>
#include <random>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "golden.h"
#include "grammar_walk.h"
#include "support/cpu_time.h"

namespace miniinfer {
namespace {

using SortedJson = nlohmann::json;

TEST(Grammar, RandomTextsOfARegexMatchIt) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const char* pattern : {"[a-c]{2,5}-[0-9]+", "(yes|no|maybe)?!", "hello( hello){0,3}",
                              "a*b|c+", "\\d{3}-\\d{4}", "^h(el|al)lo$", "[A-Z ,.]{1,4}x"}) {
    const Grammar grammar(small().vocabulary, GrammarKind::kRegex, pattern, "regex");
    int complete = 0;
    for (int i = 0; i < 40; ++i) {
      const Walk walk = random_walk(grammar, small(), random, 60);
      if (!walk.complete) continue;
      ++complete;
      EXPECT_TRUE(std::regex_match(walk.text, std::regex(pattern))) << pattern << ": " << walk.text;
    }
    EXPECT_GT(complete, 20) << pattern;
  }
}

// Every token of the small vocabulary is part of a character there.
TEST(Grammar, CharactersThatTokensSplitComeOutWhole) {
  std::mt19937 random(3);
  const std::set<std::string> wanted = {"\u00e9\u6f22\U0001F600", "\u00e8\u5b57"};
  std::vector<std::string> texts;
  const Grammar grammar(small().vocabulary, GrammarKind::kRegex,
                        "\u00e9\u6f22\U0001F600|\u00e8\u5b57", "regex");
  for (int i = 0; i < 40; ++i) {
    const Walk walk = random_walk(grammar, small(), random, 20);
    EXPECT_TRUE(walk.complete);
    EXPECT_TRUE(wanted.contains(walk.text)) << walk.text;
    texts.push_back(walk.text);
  }
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()), wanted);
}

// Byte fallback, spaces written as U+2581, stripped first spaces, single digits.
TEST(Grammar, EveryGoldenTokenizerWritesJsonOfTheSchema) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const std::string schema =
      R"({"type": "object", "properties": {"on": {"type": "boolean"}, "kind": {"enum": ["a b", "\u00e9"]},
          "n": {"type": "integer", "minimum": 5, "maximum": 17}},
          "required": ["on", "kind", "n"], "additionalProperties": false})";
  for (const std::filesystem::path& directory : golden_tokenizers()) {
    SCOPED_TRACE(directory.filename());
    const Words words(Tokenizer::from_directory(directory));
    const Grammar grammar(words.vocabulary, GrammarKind::kJsonSchema, schema, "json");
    int complete = 0;
    for (int i = 0; i < 20; ++i) {
      const Walk walk = random_walk(grammar, words, random, 400);
      if (!walk.complete) continue;
      ++complete;
      const SortedJson json = SortedJson::parse(walk.text, nullptr, false);
      ASSERT_TRUE(json.is_object()) << walk.text;
      EXPECT_EQ(json.size(), 3U);
      EXPECT_TRUE(json["on"].is_boolean());
      EXPECT_TRUE(json["kind"] == "a b" || json["kind"] == "\u00e9");
      EXPECT_TRUE(json["n"].is_number_integer() && json["n"] >= 5 && json["n"] <= 17);
    }
    EXPECT_GT(complete, 10);
  }
}

TEST(Grammar, TheEndIsAllowedOnlyWhereTheTextIsComplete) {
  const Grammar grammar(small().vocabulary, GrammarKind::kRegex, "aa?", "regex");
  GrammarMatcher matcher(grammar);
  const int32_t a = *small().tokenizer->token_to_id("a");
  const int32_t aa = *small().tokenizer->token_to_id("aa");
  EXPECT_EQ(allowed(matcher, small()), (std::vector<int32_t>{a, aa}));
  EXPECT_TRUE(matcher.accept(a));
  EXPECT_EQ(allowed(matcher, small()), (std::vector<int32_t>{a, small().eos}));
  EXPECT_FALSE(matcher.accept(a));
  EXPECT_EQ(allowed(matcher, small()), std::vector<int32_t>{small().eos});
}

// What a text computed serves later ones and changes nothing for them.
TEST(Grammar, LearningChangesNoMask) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const char* schema = R"({"type": "array", "items": {"enum": ["hello", "hell", "a", 5, true]}})";
  const Grammar taught(small().vocabulary, GrammarKind::kJsonSchema, schema, "json");
  const Grammar plain(small().vocabulary, GrammarKind::kJsonSchema, schema, "json");
  for (int round = 0; round < 40; ++round) {
    GrammarMatcher a(taught), b(plain);
    for (int i = 0; i < 40; ++i) {
      const std::vector<int32_t> choices = allowed(a, small());
      ASSERT_EQ(choices, allowed(b, small()));
      const int32_t id = choices[random() % choices.size()];
      if (id == small().eos) break;
      const bool more = a.accept(id);
      ASSERT_EQ(more, b.accept(id));
      if (!more) break;
    }
    a.teach(taught);
  }
}

TEST(Grammar, ATokenThatIsNotAllowedEndsThatTextAlone) {
  const Grammar grammar(small().vocabulary, GrammarKind::kRegex, "a+b", "regex");
  GrammarMatcher faulty(grammar), other(grammar);
  const int32_t h = *small().tokenizer->token_to_id("h");
  EXPECT_THROW(faulty.accept(h), Error);
  std::vector<uint32_t> bits(16);
  EXPECT_THROW(faulty.fill(bits), Error);
  EXPECT_TRUE(other.accept(*small().tokenizer->token_to_id("aa")));
  EXPECT_FALSE(other.accept(*small().tokenizer->token_to_id("b")));
}

// A model that falls to writing white space would never end.
TEST(Grammar, WhiteSpaceInJsonIsBounded) {
  const Grammar grammar(small().vocabulary, GrammarKind::kJsonSchema, R"({"type":"object"})", "f");
  GrammarMatcher matcher(grammar);
  const int32_t space = *small().tokenizer->token_to_id("\u0120");
  ASSERT_TRUE(matcher.accept(*small().tokenizer->token_to_id("{")));
  for (int i = 0; i < 64; ++i) {
    const std::vector<int32_t> ids = allowed(matcher, small());
    ASSERT_TRUE(std::find(ids.begin(), ids.end(), space) != ids.end()) << i;
    ASSERT_TRUE(matcher.accept(space));
  }
  const std::vector<int32_t> ids = allowed(matcher, small());
  EXPECT_TRUE(std::find(ids.begin(), ids.end(), space) == ids.end());
}

TEST(Grammar, WhatIsMalformedOrMatchesNothingIsRefused) {
  expect_refused(GrammarKind::kJsonSchema, "");
  expect_refused(GrammarKind::kJsonSchema, "{");
  expect_refused(GrammarKind::kJsonSchema, "3");
  expect_refused(GrammarKind::kJsonSchema, "false");
  expect_refused(GrammarKind::kJsonSchema, R"({"type": "strin"})");
  expect_refused(GrammarKind::kJsonSchema, R"({"not": {}})");
  expect_refused(GrammarKind::kJsonSchema, R"({"$ref": "#/nowhere"})");
  expect_refused(GrammarKind::kJsonSchema, R"({"$ref": "http://example.com/x"})");
  expect_refused(GrammarKind::kJsonSchema, R"({"allOf": [{"$ref": "#"}]})");
  expect_refused(GrammarKind::kJsonSchema, R"({"type":"integer","minimum":3,"maximum":2})");
  // These ran through the whole stack.
  expect_refused(GrammarKind::kJsonSchema, R"({"enum": [-9223372036854775807, "b"]})");
  expect_refused(GrammarKind::kJsonSchema,
                 R"({"type":"integer","minimum":-1e300,"maximum":-1e299})");
  expect_refused(GrammarKind::kLark, R"(start: %json {"enum": [-9223372036854775807]})");
  expect_refused(GrammarKind::kRegex, "(a");
  expect_refused(GrammarKind::kRegex, "a(?=b)");
  expect_refused(GrammarKind::kRegex, "(a)\\1");
  expect_refused(GrammarKind::kRegex, "[^\\s\\S]");
  expect_refused(GrammarKind::kRegex, "\xff");
  expect_refused(GrammarKind::kLark, "");
  expect_refused(GrammarKind::kLark, "start: foo");
  expect_refused(GrammarKind::kLark, "start: start");
  expect_refused(GrammarKind::kLark, "start: \"a\"\nstart: \"b\"");
  expect_refused(GrammarKind::kLark, "start: <foo>");
  std::string chain = "start: T0\n";  // 20,000 ran through the whole stack
  for (int i = 0; i < 20'000; ++i)
    chain.append("T").append(std::to_string(i)).append(": (T").append(std::to_string(i + 1)) +=
        ")\n";
  expect_refused(GrammarKind::kLark, chain + "T20000: \"b\"");
}

std::string repeated(const std::string& text, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// Compiled or refused, and walked or ended with an error: in bounded time.
TEST(Grammar, HostileTextsCostLittle) {
  std::string rules = "start: r0\n", alternatives = "x", products = R"({"allOf":[{}])";
  std::string chain = "start: T0\n";
  for (int i = 0; i < 10000; ++i) {
    const std::string n = std::to_string(i), next = std::to_string((i + 1) % 10000);
    if (i < 3900) chain += "T" + n + ": (\"a\" (T" + std::to_string(i + 1) + ")?)\n";
    rules += "r" + n + ": \"a\" r" + next + " | \"b\"\n";
    alternatives += "|w" + std::to_string(i * 7919) + "q";
    if (i < 25)
      products += R"(,{"oneOf":[{"properties":{"a)" + n +
                  R"(":{"type":"string"}}},{"properties":{"b)" + n + R"(":{"type":"integer"}}}]})";
  }
  const std::vector<std::pair<GrammarKind, std::string>> cases = {
      {GrammarKind::kJsonSchema, products + "]}"},
      {GrammarKind::kJsonSchema, R"({"type":"array","minItems":100000000,"maxItems":1000000000})"},
      {GrammarKind::kJsonSchema, R"({"type":"string","minLength":1000000000})"},
      {GrammarKind::kJsonSchema, R"({"type":"string","pattern":"^((a{1,100}){1,100}){1,100}$"})"},
      {GrammarKind::kJsonSchema, R"({"type":"integer","multipleOf":99999989})"},
      {GrammarKind::kJsonSchema, R"({"allOf":[{"multipleOf":9973},{"multipleOf":9967}]})"},
      {GrammarKind::kJsonSchema, repeated("{\"items\":", 120) + "{}" + repeated("}", 120)},
      {GrammarKind::kJsonSchema, repeated("[", 100000)},
      {GrammarKind::kRegex, "((((a{1,50}){1,50}){1,50}){1,50}){1,50}"},
      {GrammarKind::kRegex, "a{1000000000}"},
      {GrammarKind::kRegex, "(a?){5000}a{5000}"},
      {GrammarKind::kRegex, "(a|b)*a(a|b){25}"},
      {GrammarKind::kRegex, "\\p{L}{1,1000}"},
      {GrammarKind::kRegex, repeated("(", 100000) + "a" + repeated(")", 100000)},
      {GrammarKind::kRegex, alternatives},
      {GrammarKind::kLark, "start: s\ns: s s s | s s | \"a\" | \"\""},
      {GrammarKind::kLark, "start: x\nx: y\ny: x | \"\""},
      {GrammarKind::kLark, "start: x{1000}\nx: y{1000}\ny: z{1000}\nz: \"a\"{1000}"},
      {GrammarKind::kLark, "start: " + repeated("(", 50000) + "\"a\"" + repeated(")", 50000)},
      {GrammarKind::kLark, rules},
      {GrammarKind::kLark, chain + "T3900: \"b\""},
      {GrammarKind::kLark, std::string(600 << 10, ' ')},
  };
  std::mt19937 random(1);
  for (const auto& [kind, text] : cases) {
    const CpuTimer timer;
    try {
      const Grammar grammar(small().vocabulary, kind, text, "field");
      random_walk(grammar, small(), random, 30);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    }
    EXPECT_LT(timer.elapsed(), std::chrono::seconds(5)) << text.substr(0, 40);
  }
}

TEST(Grammar, TokensWithoutATextOfTheirOwnAreUnsupported) {
  auto json = small_tokenizer();
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  const auto tokenizer = Tokenizer::from_json(json.dump(), kSmallConfig);
  try {
    const GrammarVocabulary vocabulary(*tokenizer, tokenizer->vocab_size(), {});
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace miniinfer
