#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include <gtest/gtest.h>

#include "golden.h"
#include "miniinfer/error.h"
#include "small_tokenizer.h"
#include "support/cpu_time.h"
#include "text/tokenizer.h"

namespace miniinfer {
namespace {

// Loads and returns the error's code and message.
std::pair<ErrorCode, std::string> load_error(const std::string& json,
                                             const std::string& config = kSmallConfig) {
  try {
    Tokenizer::from_json(json, config);
  } catch (const Error& error) {
    return {error.code(), error.message()};
  }
  ADD_FAILURE() << "loaded: " << json.substr(0, 200);
  return {ErrorCode::kInternal, ""};
}

std::string changed(const std::function<void(Json&)>& change) {
  Json json = small_tokenizer();
  change(json);
  return json.dump();
}

TEST(BadTokenizer, TheUnchangedFileLoads) {
  const auto tokenizer = Tokenizer::from_json(small_tokenizer().dump(), kSmallConfig);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("hello <s>", true), true), "hello ");
  EXPECT_EQ(tokenizer->bos_token(), "<s>");
  EXPECT_EQ(tokenizer->eos_token(), "</s>");
  EXPECT_EQ(tokenizer->eos_id(), tokenizer->token_to_id("</s>"));
}

TEST(BadTokenizer, ContradictionsAreNamed) {
  struct Case {
    std::string name, json, expected;
  };
  const std::vector<Case> cases = {
      {"empty", "", "EOF"},
      {"not JSON", "hello", "expected"},
      {"truncated", small_tokenizer().dump().substr(0, 500), "EOF"},
      {"an array", "[]", "invalid"},
      {"no model", changed([](Json& j) { j.erase("model"); }), "model"},
      {"no merges", changed([](Json& j) { j["model"].erase("merges"); }), "model.merges"},
      {"nested", "{\"normalizer\": " + std::string(100000, '['), "recursion"},
      {"duplicate id", changed([](Json& j) { j["model"]["vocab"]["zz"] = 5; }),
       "id 5 is given to two tokens"},
      {"id too large", changed([](Json& j) { j["model"]["vocab"]["zz"] = 4000000000u; }),
       "too large"},
      {"negative id", changed([](Json& j) { j["model"]["vocab"]["zz"] = -1; }), "integer"},
      {"absent merge", changed([](Json& j) { j["model"]["merges"].push_back({"q", "z"}); }), "qz"},
      {"absent side", changed([](Json& j) { j["model"]["merges"].push_back({"nothing", "z"}); }),
       "nothing"},
      {"long merge", changed([](Json& j) { j["model"]["merges"].push_back({"hello", "hello"}); }),
       "hello"},
      {"three in a merge",
       changed([](Json& j) { j["model"]["merges"].push_back({"a", "b", "c"}); }), "two tokens"},
      {"merge of one", changed([](Json& j) { j["model"]["merges"].push_back("ab"); }),
       "two tokens"},
      {"wrong prefix", changed([](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }),
       "prefix"},
      {"dropout", changed([](Json& j) { j["model"]["dropout"] = 0.5; }), "dropout"},
      {"unknown model", changed([](Json& j) { j["model"]["type"] = "Oracle"; }), "Oracle"},
      {"two added, one id",
       changed([](Json& j) { j["added_tokens"][1]["id"] = j["added_tokens"][0]["id"]; }),
       "given to two tokens"},
      {"added over another", changed([](Json& j) { j["added_tokens"][1]["id"] = 7; }),
       "id 7 of another token"},
      {"bad regex", changed([](Json& j) {
         j["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "(unclosed"}}},
                               {"behavior", "Isolated"},
                               {"invert", false}};
       }),
       "pre_tokenizer"},
      {"unknown normalizer", changed([](Json& j) { j["normalizer"] = {{"type", "Magic"}}; }),
       "ormalizer"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    const auto [code, message] = load_error(test.json);
    EXPECT_EQ(code, ErrorCode::kDataCorrupt) << message;
    EXPECT_TRUE(message.starts_with("tokenizer.json: ")) << message;
    EXPECT_NE(message.find(test.expected), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
  std::string twice = small_tokenizer().dump();
  twice.replace(twice.find("\"b\":"), 4, "\"a\":");
  EXPECT_NE(load_error(twice).second.find("same token"), std::string::npos);
}

TEST(BadTokenizer, ConfigurationsAreChecked) {
  for (const char* config :
       {"{", "[]", R"({"add_bos_token": 3})", R"({"bos_token": 7})", R"({"bos_token": {"a": 1}})",
        R"({"added_tokens_decoder": {"x": "y"}})", R"({"added_tokens_decoder": 3})",
        R"({"extra_special_tokens": 5})"}) {
    SCOPED_TRACE(config);
    const auto [code, message] = load_error(small_tokenizer().dump(), config);
    EXPECT_EQ(code, ErrorCode::kDataCorrupt);
    EXPECT_TRUE(message.starts_with("tokenizer_config.json: ")) << message;
  }
  EXPECT_NO_THROW(Tokenizer::from_json(small_tokenizer().dump(), ""));
}

TEST(BadTokenizer, FilesAreNamed) {
  const auto directory = std::filesystem::path(testing::TempDir()) / "miniinfer_bad_tokenizer";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  const auto error = [&] {
    try {
      Tokenizer::from_directory(directory);
    } catch (const Error& e) {
      return e;
    }
    return Error(ErrorCode::kInternal, "loaded");
  };
  EXPECT_EQ(error().code(), ErrorCode::kNotFound);
  EXPECT_NE(error().message().find((directory / "tokenizer.json").string()), std::string::npos);
  std::ofstream(directory / "tokenizer.json") << "{";
  EXPECT_EQ(error().code(), ErrorCode::kDataCorrupt);
  EXPECT_TRUE(error().message().starts_with((directory / "tokenizer.json").string()))
      << error().message();
  std::filesystem::remove(directory / "tokenizer.json");
  std::filesystem::create_directory(directory / "tokenizer.json");
  EXPECT_NE(error().message().find("not a regular file"), std::string::npos);
  std::filesystem::remove_all(directory);
}

// The limit of a backtracking engine is an error that the caller sees, never another tokenization
// or a hang.
TEST(BadTokenizer, CatastrophicRegexesEnd) {
  for (const char* pattern : {"(a|a)*(?!b)c", "(?:a+)+(?<!x)$b", "(a*)*\\1b", "(?=(a+))a*b\\1"}) {
    SCOPED_TRACE(pattern);
    const auto tokenizer =
        Tokenizer::from_json(changed([&](Json& j) {
                               j["pre_tokenizer"] = {{"type", "Sequence"},
                                                     {"pretokenizers",
                                                      {{{"type", "Split"},
                                                        {"pattern", {{"Regex", pattern}}},
                                                        {"behavior", "Isolated"},
                                                        {"invert", false}},
                                                       {{"type", "ByteLevel"},
                                                        {"add_prefix_space", false},
                                                        {"trim_offsets", true},
                                                        {"use_regex", false}}}}};
                             }),
                             kSmallConfig);
    const auto start = std::chrono::steady_clock::now();
    try {
      const std::string text(20000, 'a');
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      EXPECT_NE(error.message().find("regex"), std::string::npos) << error.what();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  }
}

TEST(BadTokenizer, InvalidTextAndIds) {
  const auto tokenizer = Tokenizer::from_json(small_tokenizer().dump(), kSmallConfig);
  for (const std::string text :
       {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf8\x88\x80\x80\x80"}) {
    try {
      tokenizer->encode(text, true);
      ADD_FAILURE() << "encoded invalid UTF-8";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_EQ(error.param(), "prompt");
    }
  }
  const std::string zeros("a\0b\0", 4);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(zeros, false), false), zeros);
  EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(1 << 30), std::nullopt);
  EXPECT_EQ(tokenizer->token_to_id("\xff"), std::nullopt);
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_FALSE(tokenizer->is_special(INT32_MAX));
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{-1}, false), Error);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{INT32_MAX}, false), "");
}

// 128 KiB of one character in at most a second, whatever the kind of tokenizer.
TEST(BadTokenizer, LongRunsAreQuick) {
  auto directories = golden_tokenizers();
  for (const auto& directory : directories) {
    const auto tokenizer = Tokenizer::from_directory(directory);
    for (const char* unit : {"a", " ", "1", "\n", "!", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xcc\x81",
                             "'", "<", "a ", "\xe2\x96\x81"}) {
      std::string text;
      while (text.size() < 128 * 1024) text += unit;
      const CpuTimer timer;
      tokenizer->encode(text, true, true);
      EXPECT_LT(timer.elapsed(), std::chrono::seconds(1)) << directory << " [" << unit << "]";
    }
  }
}

// Damaged files load or fail with an Error of the caller's making; nothing crashes or reports a
// defect of ours.
TEST(BadTokenizer, MutatedFilesNeverPanic) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string bytes = "{}[]\",:0123456789-.eEnulltruefalsa\\ \n\xc4\xa0\xff";
  const std::string original = small_tokenizer().dump();
  int loaded = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string json = original;
    for (uint32_t edits = 1 + random() % 3; edits > 0 && !json.empty(); --edits) {
      const size_t at = random() % json.size();
      switch (random() % 4) {
        case 0:
          json[at] = bytes[random() % bytes.size()];
          break;
        case 1:
          json.erase(at, 1 + random() % 20);
          break;
        case 2:
          json.insert(at, json.substr(random() % json.size(), 1 + random() % 30));
          break;
        default:
          json.resize(at + 1);
      }
    }
    try {
      const auto tokenizer = Tokenizer::from_json(json, kSmallConfig);
      ++loaded;
      const auto ids = tokenizer->encode("hello </s> w\xc3\xb6rld \xf0\x9f\x98\x80 123", true);
      tokenizer->decode(ids, true);
    } catch (const Error& error) {
      ASSERT_NE(error.code(), ErrorCode::kInternal) << error.what() << "\n" << json;
    }
  }
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace miniinfer
