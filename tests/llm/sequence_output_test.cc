#include "llm/sequence_output.h"

#include <filesystem>
#include <random>

#include <gtest/gtest.h>

namespace miniinfer {
namespace {

std::shared_ptr<const Tokenizer> tokenizer() {
  static const auto loaded = Tokenizer::from_directory(std::filesystem::path(MINIINFER_SOURCE_DIR) /
                                                       "tests/golden/tokenizers/qwen2");
  return loaded;
}

// Feeds tokens in events of random size, the last with `reason`; returns the collected completion.
Completion feed(const SamplingParams& params, const std::vector<int32_t>& ids,
                std::optional<FinishReason> reason, std::mt19937& random,
                const std::vector<int32_t>& eos = {}) {
  SequenceOutput output(0, tokenizer(), params, eos);
  Completion all;
  for (size_t at = 0; at < ids.size() && !output.finished();) {
    EngineEvent event;
    for (size_t count = random() % 3 + 1; count > 0 && at < ids.size(); --count, ++at) {
      event.token_ids.push_back(ids[at]);
      event.logprobs.push_back({ids[at], -1, {}});
    }
    if (at == ids.size()) event.finish_reason = reason;
    StreamChunk chunk = output.take(std::move(event));
    all.text += chunk.text;
    all.token_ids.insert(all.token_ids.end(), chunk.token_ids.begin(), chunk.token_ids.end());
    all.logprobs.insert(all.logprobs.end(), chunk.logprobs.begin(), chunk.logprobs.end());
    if (chunk.finish_reason) all.finish_reason = *chunk.finish_reason;
    if (chunk.stop_reason) all.stop_reason = chunk.stop_reason;
  }
  return all;
}

TEST(SequenceOutput, StreamedTextIsTheDecodedText) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids(random() % 30 + 1);
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % static_cast<uint64_t>(tokenizer()->vocab_size()));
    const Completion all = feed({}, ids, FinishReason::kLength, random);
    EXPECT_EQ(all.text, tokenizer()->decode(ids, true));
    EXPECT_EQ(all.token_ids, ids);
    EXPECT_EQ(all.finish_reason, "length");
    EXPECT_FALSE(all.stop_reason);
  }
}

TEST(SequenceOutput, AStopStringNeverShowsAndCutsTheTokensBehindIt) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string text =
      "The quick brown fox — naïve, 12345 — jumps over the lazy dog again and again.";
  const std::vector<int32_t> ids = tokenizer()->encode(text, false);
  int across_borders = 0;
  for (size_t begin = 1; begin + 2 < text.size(); ++begin) {
    for (const size_t length : {2, 5, 9}) {
      SamplingParams params;
      const std::string stop = text.substr(begin, length);
      // A stop is text: skip cuts through a character.
      if ((text[begin] & 0xc0) == 0x80 || begin + length >= text.size() ||
          (text[begin + length] & 0xc0) == 0x80)
        continue;
      params.stop = {stop};
      const Completion all = feed(params, ids, FinishReason::kLength, random);
      EXPECT_EQ(all.text, text.substr(0, text.find(stop)));
      EXPECT_EQ(all.finish_reason, "stop");
      EXPECT_EQ(all.stop_reason, stop);
      // The tokens end with the one that completed the stop string, however the events fell.
      EXPECT_EQ(all.logprobs.size(), all.token_ids.size());
      const std::string decoded = tokenizer()->decode(all.token_ids, true);
      EXPECT_NE(decoded.find(stop), std::string::npos);
      std::vector<int32_t> shorter = all.token_ids;
      shorter.pop_back();
      EXPECT_EQ(tokenizer()->decode(shorter, true).find(stop), std::string::npos);
      if (!tokenizer()->decode({{all.token_ids.back()}}, true).ends_with(stop)) ++across_borders;

      params.include_stop_str_in_output = true;
      EXPECT_EQ(feed(params, ids, FinishReason::kLength, random).text,
                text.substr(0, text.find(stop) + stop.size()));
    }
  }
  EXPECT_GT(across_borders, 20);
}

TEST(SequenceOutput, NoStopStringBeforeMinTokens) {
  std::mt19937 random(1);
  const std::vector<int32_t> ids = tokenizer()->encode("a b a b a b a b", false);
  SamplingParams params;
  params.stop = {"b"};
  params.min_tokens = 5;
  const Completion all = feed(params, ids, FinishReason::kLength, random);
  EXPECT_EQ(all.finish_reason, "stop");
  EXPECT_GT(all.token_ids.size(), 5u);
  EXPECT_TRUE(all.text.starts_with("a b a b"));
}

TEST(SequenceOutput, TheTokenThatEndsIsReportedButNotShown) {
  std::mt19937 random(2);
  std::vector<int32_t> ids = tokenizer()->encode("one two", false);
  const int32_t last = ids.back();
  const std::string shown = tokenizer()->decode(std::span(ids).first(ids.size() - 1), true);
  SamplingParams params;
  params.stop_token_ids = {last};
  Completion all = feed(params, ids, FinishReason::kStop, random);
  EXPECT_EQ(all.text, shown);
  EXPECT_EQ(all.token_ids, ids);
  EXPECT_EQ(all.stop_reason, std::to_string(last));
  params.include_stop_str_in_output = true;
  EXPECT_EQ(feed(params, ids, FinishReason::kStop, random).text, "one two");

  params = {};
  all = feed(params, ids, FinishReason::kStop, random, {last});  // as end of sequence
  EXPECT_EQ(all.text, shown);
  EXPECT_EQ(all.finish_reason, "stop");
  EXPECT_FALSE(all.stop_reason);
}

TEST(SequenceOutput, AsksToCancelOnlyWhatStillRuns) {
  const std::vector<int32_t> ids = tokenizer()->encode("one two", false);
  SamplingParams params;
  params.stop = {"one"};
  SequenceOutput running(0, tokenizer(), params, {});
  running.take({.token_ids = ids});
  EXPECT_TRUE(running.finished());
  EXPECT_TRUE(running.must_cancel());
  SequenceOutput ended(0, tokenizer(), params, {});
  ended.take({.token_ids = ids, .finish_reason = FinishReason::kLength});
  EXPECT_TRUE(ended.finished());
  EXPECT_FALSE(ended.must_cancel());
}

TEST(SequenceOutput, WithoutATokenizerThereAreTokensOnly) {
  SequenceOutput output(0, nullptr, {}, {});
  const StreamChunk chunk =
      output.take({.token_ids = {5, 6}, .finish_reason = FinishReason::kLength});
  EXPECT_EQ(chunk.text, "");
  EXPECT_EQ(chunk.token_ids, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(chunk.finish_reason, "length");
}

}  // namespace
}  // namespace miniinfer
