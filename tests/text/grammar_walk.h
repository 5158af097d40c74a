#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "miniinfer/error.h"
#include "small_tokenizer.h"
#include "text/grammar.h"

namespace miniinfer {

// A vocabulary and what walks need of its tokenizer.
struct Words {
  explicit Words(std::shared_ptr<const Tokenizer> loaded)
      : tokenizer(std::move(loaded)),
        eos(tokenizer->eos_id().value_or(0)),
        vocabulary(*tokenizer, tokenizer->vocab_size(), std::vector<int32_t>{eos}) {}

  std::shared_ptr<const Tokenizer> tokenizer;
  int32_t eos;
  GrammarVocabulary vocabulary;
};

inline Words& small() {
  static Words words(Tokenizer::from_json(small_tokenizer().dump(), kSmallConfig));
  return words;
}

inline std::vector<int32_t> allowed(GrammarMatcher& matcher, const Words& words) {
  const int64_t vocab = words.tokenizer->vocab_size();
  std::vector<uint32_t> bits((vocab + 31) / 32, 0xAAAAAAAA);
  matcher.fill(bits);
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < static_cast<int32_t>(bits.size()) * 32; ++id)
    if (bits[id / 32] >> id % 32 & 1) ids.push_back(id);
  EXPECT_FALSE(ids.empty());
  EXPECT_TRUE(ids.empty() || ids.back() < vocab);
  return ids;
}

struct Walk {
  std::string text;
  bool complete = false;
};

// A random text of the grammar, which ends rather early.
inline Walk random_walk(const Grammar& grammar, const Words& words, std::mt19937& random,
                        int tokens) {
  GrammarMatcher matcher(grammar);
  std::vector<int32_t> ids;
  bool complete = false;
  for (int i = 0; i < tokens && !complete; ++i) {
    const std::vector<int32_t> choices = allowed(matcher, words);
    if (choices.empty()) break;
    int32_t id = choices[random() % choices.size()];
    if (std::find(choices.begin(), choices.end(), words.eos) != choices.end() && random() % 3 == 0)
      id = words.eos;
    EXPECT_TRUE(id == words.eos || !words.tokenizer->is_special(id));
    complete = id == words.eos || !matcher.accept(id);
    if (id != words.eos) ids.push_back(id);
  }
  return {words.tokenizer->decode(ids, true), complete};
}

inline void expect_refused(GrammarKind kind, const std::string& text) {
  try {
    const Grammar grammar(small().vocabulary, kind, text, "field");
    ADD_FAILURE() << "accepted: " << text.substr(0, 60);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    EXPECT_EQ(error.param(), "field");
    EXPECT_EQ(error.message().rfind("field: ", 0), 0U);
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
    EXPECT_LT(error.message().size(), 400U);
  }
}

}  // namespace miniinfer
