#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace miniinfer {

// Whether and how a model thinks before it answers, between <think> and </think>.
enum class ReasoningFormat : uint8_t {
  kNone,
  kThink,        // thinking begins with <think>, written by the model or by the prompt
  kAlwaysThink,  // the text begins inside the thinking even when nobody wrote <think>
};

// The value of --reasoning-parser: qwen3, deepseek_r1, none. Throws Error invalid_argument (param
// "reasoning-parser").
ReasoningFormat reasoning_format(std::string_view name);

// kThink for a tokenizer with tokens of its own for both markers.
ReasoningFormat detect_reasoning_format(const Tokenizer* tokenizer);

// Whether a rendered prompt ends inside of <think>.
bool prompt_opens_thinking(std::string_view rendered_prompt);

struct ReasoningDelta {
  std::string reasoning;  // reasoning_content
  std::string content;
};

// Splits the text of one continuation as it comes; deltas together do not depend on how the text
// was cut, and no marker is part of one. White space around the markers is dropped.
class ReasoningParser {
 public:
  // `opened`: prompt_opens_thinking of the request's prompt.
  ReasoningParser(ReasoningFormat format, bool opened);

  ReasoningDelta push(std::string_view text);
  ReasoningDelta finish();

 private:
  enum class State : uint8_t { kStart, kThinkingStart, kThinking, kAnswerStart, kAnswer };
  void start();

  State state_;
  const bool opened_;
  std::string held_;  // may still be part of a marker, or white space before one
};

}  // namespace miniinfer
