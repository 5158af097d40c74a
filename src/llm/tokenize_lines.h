#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"
#include "llm/checkpoint.h"

namespace miniinfer {

// Answers one line of `tokenize --input-file`:
//   {"text"} -> {"token_ids"};  {"token_ids", "stream"} -> {"text", "pieces"};
//   {"messages", "tools", "chat_template_kwargs", "add_generation_prompt"} -> {"text",
//   "token_ids"}.
// With `special_tokens` false, encoding adds no special tokens and decoding skips them. A line that
// cannot be answered gives {"error": {...}}.
Json tokenize_line(const TextSide& text, std::string_view line, int64_t line_number,
                   bool special_tokens);

// What a stream would show after each token; what only the end reveals joins the last piece.
std::vector<std::string> stream_pieces(const std::shared_ptr<const Tokenizer>& tokenizer,
                                       const std::vector<int32_t>& token_ids,
                                       bool skip_special_tokens);

}  // namespace miniinfer
