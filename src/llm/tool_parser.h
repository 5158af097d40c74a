#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "miniinfer/structured_output.h"
#include "text/chat_template.h"

namespace miniinfer {

// How a model writes its tool calls.
enum class ToolCallFormat : uint8_t {
  kNone,    // not at all: all text is content
  kHermes,  // <tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>; Qwen, the embedded
            // model
  kLlama3,  // {"name": ..., "parameters": {...}}, with or without <|python_tag|> before it
};

// The value of --tool-call-parser: hermes, llama3_json, none. Throws Error invalid_argument (param
// "tool-call-parser").
ToolCallFormat tool_call_format(std::string_view name);

// The format that the template renders a call in; kNone when it renders none.
ToolCallFormat detect_tool_call_format(const ChatTemplate* chat_template);

// A piece of a tool call. `id` and `name` come in a call's first piece and are empty in others;
// the pieces of `arguments` together are its JSON text as the model wrote it.
struct ToolCallDelta {
  int index = 0;
  std::string id, name, arguments;
};

struct ToolDelta {
  std::string content;
  std::vector<ToolCallDelta> calls;
};

// Splits the text of one continuation into content and tool calls as it comes. Deltas together do
// not depend on how the text was cut; the markers of a call are no part of them, nor is white space
// around it. Text that begins like a call and turns out to be none is content, markers and all.
class ToolParser {
 public:
  // The id of call i is `id_prefix` followed by i. `one_call`: what follows the first is dropped.
  ToolParser(ToolCallFormat format, std::string id_prefix, bool one_call = false);
  ~ToolParser();
  ToolParser(ToolParser&&) noexcept;

  ToolDelta push(std::string_view text);
  ToolDelta finish();  // the text has ended
  int num_calls() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// `tools` and `tool_choice` of a chat request, checked.
struct ToolChoice {
  enum class Mode : uint8_t { kNone, kAuto, kRequired, kNamed };
  Mode mode = Mode::kNone;
  std::string name;  // kNamed
};
// Throws Error invalid_argument naming the field: tools that are no function definitions, two of
// one name, a choice without tools or of a tool that is not there. `tools`, `choice` may be null.
ToolChoice parse_tool_choice(const Json* tools, const Json* choice);

// The constraint that makes the model write calls of the tools (one, when `parallel` is false or a
// tool is named) whose arguments keep to their schemas; nothing for kNone and kAuto. Throws Error
// invalid_argument (param "tool_choice") when the format is kNone.
std::optional<StructuredOutput> tool_choice_grammar(ToolCallFormat format, const Json& tools,
                                                    const ToolChoice& choice, bool parallel);

}  // namespace miniinfer
