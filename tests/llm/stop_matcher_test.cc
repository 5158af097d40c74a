#include "llm/stop_matcher.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

struct Cut {
  std::string text;
  std::optional<std::string> stop;
};

// The definition, by brute force: the earliest end of any stop past `armed_from`, the longest of
// those.
Cut reference(const std::string& text, const std::vector<std::string>& stops, bool include,
              size_t armed_from) {
  for (size_t end = armed_from + 1; end <= text.size(); ++end) {
    std::optional<std::string> best;
    for (const std::string& stop : stops)
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0 &&
          (!best || stop.size() > best->size()))
        best = stop;
    if (best) return {text.substr(0, include ? end : end - best->size()), best};
  }
  return {text, std::nullopt};
}

// Bytes at the end of `text` that could begin a stop string.
size_t could_begin(const std::string& text, const std::vector<std::string>& stops) {
  size_t keep = 0;
  for (const std::string& stop : stops)
    for (size_t length = 1; length < stop.size() && length <= text.size(); ++length)
      if (text.compare(text.size() - length, length, stop, 0, length) == 0)
        keep = std::max(keep, length);
  return keep;
}

class StopMatcherRandom : public ::testing::TestWithParam<bool> {};

TEST_P(StopMatcherRandom, EqualsTheDefinitionWhateverThePieces) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto word = [&](int length) {
    std::string text;
    for (int i = 0; i < length; ++i) text += static_cast<char>('a' + below(2));
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (int i = below(3) + 1; i > 0; --i) stops.push_back(word(below(5) + 1));
    const std::string text = word(below(24));
    StopMatcher matcher(stops, GetParam());
    const size_t arming_piece = static_cast<size_t>(below(4));
    std::string shown;
    size_t at = 0, armed_from = text.size();
    for (size_t piece = 0; at < text.size() && !matcher.matched(); ++piece) {
      const size_t length = std::min<size_t>(static_cast<size_t>(below(4)), text.size() - at);
      const bool armed = piece >= arming_piece;
      if (armed) armed_from = std::min(armed_from, at);
      shown += matcher.push(text.substr(at, length), armed);
      at += length;
      if (!matcher.matched()) {
        ASSERT_EQ(shown.size(), at - could_begin(text.substr(0, at), stops))
            << "held back too much or too little";
      }
    }
    shown += matcher.finish();
    const Cut expected = reference(text, stops, GetParam(), armed_from);
    ASSERT_EQ(shown, expected.text) << text;
    ASSERT_EQ(matcher.matched(), expected.stop) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(IncludeStop, StopMatcherRandom, ::testing::Bool());

TEST(StopMatcher, HoldsBackNoMoreThanAStopCouldNeed) {
  StopMatcher matcher({"\nUser:"}, false);
  EXPECT_EQ(matcher.push("Hello\nUs"), "Hello");
  EXPECT_EQ(matcher.push("ually\n"), "\nUsually");
  EXPECT_EQ(matcher.push("User: more"), "");
  EXPECT_EQ(matcher.matched(), "\nUser:");
  EXPECT_EQ(matcher.push("nothing"), "");
}

TEST(StopMatcher, WholeCharactersOnly) {
  StopMatcher matcher({"€uro"}, false);
  EXPECT_EQ(matcher.push("5 €"), "5 ");
  EXPECT_EQ(matcher.push("€"), "€");
  EXPECT_EQ(matcher.push("u"), "");
  EXPECT_EQ(matcher.finish(), "€u");
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({}, false);
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace miniinfer
