#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "llm/batch.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// A line of a prompts file: {"prompt"} or {"prompt_token_ids"} or {"messages", "tools",
// "chat_template_kwargs"}, any sampling fields, which replace those of `defaults`, and
// "response_format" or "structured_outputs". What is
// wrong with the line goes into the item's error.
BatchItem parse_request_line(std::string_view line, int64_t line_number, const BatchItem& defaults);

// {"messages": [...], "tools", "chat_template_kwargs"}, or the array of messages alone, as a
// prompt. Throws Error invalid_argument.
Prompt prompt_from_chat_json(const Json& json);

// The object that `run --json` prints for a result; {"error": ...} for one that could not be
// answered.
Json result_to_json(const GenerateResult& result);

// Token ids of a JSON array. Throws Error invalid_argument naming `key`.
std::vector<int32_t> token_ids_from_json(const std::string& key, const Json& value);

}  // namespace miniinfer
