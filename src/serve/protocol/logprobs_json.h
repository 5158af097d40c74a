#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "miniinfer/llm.h"
#include "text/tokenizer.h"

namespace miniinfer {

// What a token spells by itself; empty without a tokenizer.
std::string token_text(const Tokenizer* tokenizer, int32_t id);

// {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}, of chat completions.
Json chat_logprobs(const Tokenizer* tokenizer, std::span<const LogprobEntry> entries);

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}, of completions. `offset` is where
// the first token begins in the choice's text, and is moved behind the last. An empty entry, the
// first of a prompt, has no logprob.
Json completion_logprobs(const Tokenizer* tokenizer,
                         std::span<const std::optional<LogprobEntry>> entries,
                         const std::vector<int32_t>& token_ids, size_t& offset);

// [null, {"ID": {"logprob", "rank", "decoded_token"}}, ..], one a prompt token.
Json prompt_logprobs_json(const Tokenizer* tokenizer,
                          const std::vector<std::optional<LogprobEntry>>& entries);

}  // namespace miniinfer
