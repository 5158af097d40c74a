#include "llm/reasoning_parser.h"

#include <gtest/gtest.h>

#include "miniinfer/error.h"
#include "splits.h"

namespace miniinfer {
namespace {

struct Case {
  const char* name;
  ReasoningFormat format;
  bool opened;
  std::string text, reasoning, content;
};

const std::vector<Case>& cases() {
  constexpr auto kNone = ReasoningFormat::kNone, kThink = ReasoningFormat::kThink,
                 kAlways = ReasoningFormat::kAlwaysThink;
  static const std::vector<Case> all = {
      {"none", kNone, false, "<think>a</think>b", "", "<think>a</think>b"},
      {"written", kThink, false, "<think>\nLet me see.\n</think>\n\nIt is 4.", "Let me see.",
       "It is 4."},
      {"space before", kThink, false, " \n<think>a</think>b", "a", "b"},
      {"empty", kThink, false, "<think>\n\n</think>\n\nb", "", "b"},
      {"not thinking", kThink, false, "It is 4.", "", "It is 4."},
      {"space is content", kThink, false, "  4", "", "  4"},
      {"almost a marker", kThink, false, "<thin>k", "", "<thin>k"},
      {"marker later", kThink, false, "a <think>b</think>", "", "a <think>b</think>"},
      {"opened", kThink, true, "Let me\n\nsee. </think> 4", "Let me\n\nsee.", "4"},
      {"opened and written", kThink, true, "<think>\na</think>b", "a", "b"},
      {"cut off", kThink, true, "Let me <b> see </thi", "Let me <b> see </thi", ""},
      {"cut off in space", kThink, true, "Let me \n\n", "Let me", ""},
      {"two ends", kThink, true, "a</think>b</think>c", "a", "b</think>c"},
      {"less than", kThink, true, "1 < 2 <</think>b", "1 < 2 <", "b"},
      {"always", kAlways, false, "a</think>b", "a", "b"},
      {"always and written", kAlways, false, "<think>a</think>b", "a", "b"},
      {"always, never closed", kAlways, false, "just text", "just text", ""},
      {"only a beginning", kThink, false, "<thi", "", "<thi"},
      {"nothing", kThink, false, "", "", ""},
      {"long space", kThink, true, "a" + std::string(600, ' ') + "</think>b",
       "a" + std::string(344, ' '), "b"},
  };
  return all;
}

TEST(ReasoningParser, EveryCutOfATextGivesTheSame) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    for (int round = 0; round < 200; ++round) {
      ReasoningParser parser(c.format, c.opened);
      std::string reasoning, content;
      const auto add = [&](const ReasoningDelta& delta) {
        EXPECT_TRUE(content.empty() || delta.reasoning.empty());
        reasoning += delta.reasoning;
        content += delta.content;
      };
      if (round == 0) {
        add(parser.push(c.text));
      } else {
        for (const std::string& piece : random_pieces(c.text, random)) add(parser.push(piece));
      }
      add(parser.finish());
      ASSERT_EQ(reasoning, c.reasoning);
      ASSERT_EQ(content, c.content);
    }
  }
}

TEST(ReasoningParser, TextIsHandedOutAsSoonAsItIsCertain) {
  ReasoningParser parser(ReasoningFormat::kThink, true);
  EXPECT_EQ(parser.push("One").reasoning, "One");
  EXPECT_EQ(parser.push(" two <").reasoning, " two");
  EXPECT_EQ(parser.push("3").reasoning, " <3");
  EXPECT_EQ(parser.push("</think>Four").content, "Four");
}

TEST(ReasoningParser, PromptsThatOpenTheThinking) {
  EXPECT_TRUE(prompt_opens_thinking("<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(prompt_opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(prompt_opens_thinking("<|im_start|>assistant\n"));
  EXPECT_FALSE(prompt_opens_thinking("what does <think> mean?<|im_start|>assistant\n"));
}

TEST(ReasoningParser, NamesOfTheFormats) {
  EXPECT_EQ(reasoning_format("qwen3"), ReasoningFormat::kThink);
  EXPECT_EQ(reasoning_format("deepseek_r1"), ReasoningFormat::kAlwaysThink);
  EXPECT_EQ(reasoning_format("none"), ReasoningFormat::kNone);
  EXPECT_THROW(reasoning_format("gpt"), Error);
  EXPECT_EQ(detect_reasoning_format(nullptr), ReasoningFormat::kNone);
}

}  // namespace
}  // namespace miniinfer
