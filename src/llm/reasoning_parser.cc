#include "llm/reasoning_parser.h"

#include <utility>

#include "llm/marker.h"
#include "miniinfer/error.h"

namespace miniinfer {
namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";

void drop_leading_space(std::string& text) {
  size_t count = 0;
  while (count < text.size() && is_json_space(text[count])) ++count;
  text.erase(0, count);
}

}  // namespace

ReasoningFormat reasoning_format(std::string_view name) {
  if (name == "none") return ReasoningFormat::kNone;
  if (name == "qwen3") return ReasoningFormat::kThink;
  if (name == "deepseek_r1") return ReasoningFormat::kAlwaysThink;
  throw Error(ErrorCode::kInvalidArgument, "reasoning-parser: must be qwen3, deepseek_r1 or none",
              "reasoning-parser");
}

ReasoningFormat detect_reasoning_format(const Tokenizer* tokenizer) {
  const bool has_markers =
      tokenizer != nullptr && tokenizer->token_to_id(kOpen) && tokenizer->token_to_id(kClose);
  return has_markers ? ReasoningFormat::kThink : ReasoningFormat::kNone;
}

bool prompt_opens_thinking(std::string_view rendered_prompt) {
  const size_t open = rendered_prompt.rfind(kOpen);
  if (open == std::string_view::npos) return false;
  for (const char c : rendered_prompt.substr(open + kOpen.size()))
    if (!is_json_space(c)) return false;
  return true;
}

ReasoningParser::ReasoningParser(ReasoningFormat format, bool opened)
    : state_(format == ReasoningFormat::kNone ? State::kAnswer : State::kStart),
      opened_(format == ReasoningFormat::kAlwaysThink || opened) {}

ReasoningDelta ReasoningParser::push(std::string_view text) {
  ReasoningDelta delta;
  held_ += text;
  if (state_ == State::kStart) start();
  if (state_ == State::kThinkingStart) {
    drop_leading_space(held_);
    if (!held_.empty()) state_ = State::kThinking;
  }
  if (state_ == State::kThinking) {
    const MarkerCut cut = find_marker(held_, kClose);
    delta.reasoning.assign(held_, 0, cut.settled);
    held_.erase(0, cut.found ? cut.after : cut.settled);
    if (cut.found) state_ = State::kAnswerStart;
  }
  if (state_ == State::kAnswerStart) {
    drop_leading_space(held_);
    if (!held_.empty()) state_ = State::kAnswer;
  }
  if (state_ == State::kAnswer) delta.content = std::exchange(held_, {});
  return delta;
}

// The text may begin with white space and the opening marker, also when the prompt has opened.
void ReasoningParser::start() {
  size_t at = 0;
  while (at < held_.size() && is_json_space(held_[at])) ++at;
  const std::string_view rest = std::string_view(held_).substr(at);
  if (rest.starts_with(kOpen)) {
    held_.erase(0, at + kOpen.size());
    state_ = State::kThinkingStart;
  } else if (!kOpen.starts_with(rest)) {
    state_ = opened_ ? State::kThinkingStart : State::kAnswer;
  }
}

ReasoningDelta ReasoningParser::finish() {
  ReasoningDelta delta;
  if (state_ == State::kStart) state_ = opened_ ? State::kThinkingStart : State::kAnswer;
  if (state_ == State::kThinkingStart) drop_leading_space(held_);
  if (state_ == State::kAnswer) {
    delta.content = std::move(held_);
  } else if (state_ != State::kAnswerStart) {
    const size_t end = held_.find_last_not_of(" \n\r\t");
    delta.reasoning = held_.substr(0, end == std::string::npos ? 0 : end + 1);
  }
  held_.clear();
  state_ = State::kAnswer;
  return delta;
}

}  // namespace miniinfer
