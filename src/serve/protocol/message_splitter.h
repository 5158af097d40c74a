#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "llm/reasoning_parser.h"
#include "llm/tool_parser.h"

namespace miniinfer {

// A piece of an assistant's message.
struct MessageDelta {
  std::string reasoning, content;
  std::vector<ToolCallDelta> calls;
  bool empty() const { return reasoning.empty() && content.empty() && calls.empty(); }
};

// Takes the text of a chat's continuation apart: thinking, content, tool calls.
class MessageSplitter {
 public:
  MessageSplitter(ReasoningFormat reasoning, bool thinking_opened, ToolCallFormat tools,
                  std::string call_id_prefix, bool one_call) {
    if (reasoning != ReasoningFormat::kNone) reasoning_.emplace(reasoning, thinking_opened);
    if (tools != ToolCallFormat::kNone) tools_.emplace(tools, std::move(call_id_prefix), one_call);
  }

  // `last` ends the text.
  MessageDelta push(std::string text, bool last) {
    MessageDelta delta;
    if (reasoning_) {
      ReasoningDelta split = reasoning_->push(text);
      text = std::move(split.content);
      delta.reasoning = std::move(split.reasoning);
      if (last) {
        split = reasoning_->finish();
        text += split.content;
        delta.reasoning += split.reasoning;
      }
    }
    if (!tools_) {
      delta.content = std::move(text);
      return delta;
    }
    take(tools_->push(text), delta);
    if (last) take(tools_->finish(), delta);
    return delta;
  }
  bool has_calls() const { return tools_ && tools_->num_calls() > 0; }

 private:
  static void take(ToolDelta&& from, MessageDelta& to) {
    to.content += from.content;
    for (ToolCallDelta& call : from.calls) to.calls.push_back(std::move(call));
  }

  std::optional<ReasoningParser> reasoning_;
  std::optional<ToolParser> tools_;
};

}  // namespace miniinfer
