#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace miniinfer {

// The tokens of a rendered chat, without the tokens that encode() would add around it. Text inside
// the messages, tools and template arguments that spells a special token is encoded as text; only
// what the template itself writes becomes special tokens. All else is tokenized as
// encode(render(args), false, true) does. `rendered`, when not null, gets the rendered text. Throws
// Error invalid_argument (param "messages") as render() does.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                 const ChatRenderArgs& args, std::string* rendered = nullptr);

}  // namespace miniinfer
