#pragma once

#include <string>

#include "base/json.h"
#include "serve/services.h"

namespace miniinfer {

// POST /tokenize: {"prompt", "add_special_tokens", "return_token_strs"}, or {"messages", "tools",
// "chat_template_kwargs", "add_generation_prompt"} as a chat; gives {"count", "max_model_len",
// "tokens", "token_strs"}. Both throw Error invalid_argument or unsupported.
Json tokenize(const Services& services, const Json& body);
// POST /detokenize: {"tokens"} to {"prompt"}.
Json detokenize(const Services& services, const Json& body);

}  // namespace miniinfer
