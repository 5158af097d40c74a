#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "llm/reasoning_parser.h"
#include "llm/tool_parser.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// What requests are read against.
struct ServedModel {
  std::vector<std::string> names;  // that requests may ask for; replies carry the first
  SamplingParams defaults;
  int64_t max_model_len = 0;
  ToolCallFormat tool_format = ToolCallFormat::kNone;
  ReasoningFormat reasoning_format = ReasoningFormat::kNone;
};

// A request for text, of /v1/completions or /v1/chat/completions, read and checked as far as it can
// be without tokens.
struct GenerationRequest {
  static constexpr size_t kMaxPrompts = 1024;

  bool chat = false;
  std::vector<Prompt> prompts;  // one of a chat; choices are numbered prompt by prompt
  SamplingParams params;
  bool default_max_tokens = false;  // what the context leaves
  bool stream = false, include_usage = false;
  bool continuous_usage = false;  // every chunk says what its choice has used
  bool return_token_ids = false;
  bool echo = false;  // completions: the text begins with the prompt
  std::string user;   // the caller's label for the log

  // Chat: how the text is taken apart.
  ToolCallFormat tool_format = ToolCallFormat::kNone;  // kNone when no call may come
  bool one_call = false;                               // of several calls only the first counts
  ReasoningFormat reasoning_format = ReasoningFormat::kNone;

  size_t num_choices() const { return prompts.size() * static_cast<size_t>(params.n); }
};

// Throw Error invalid_argument or unsupported with the field at fault as param, not_found for an
// unknown model.
GenerationRequest parse_completion_request(const Json& body, const ServedModel& model);
GenerationRequest parse_chat_request(const Json& body, const ServedModel& model);

// What the two have in common: every field of `body` that `own` does not name is a field that both
// know, or an error.
void read_common_fields(const Json& body, const ServedModel& model,
                        const std::vector<std::string_view>& own, GenerationRequest& request);
void check_model(const Json& body, const ServedModel& model);
// prompt: a string, an array of strings, of token ids, or of arrays of them.
std::vector<Prompt> parse_prompts(const Json& value);
// Messages as the chat template takes them: parts of type text joined, the arguments of calls as
// objects, developer as system.
Json normalize_messages(const Json& messages);

}  // namespace miniinfer
