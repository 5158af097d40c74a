#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace miniinfer {

// The token sequences that spell each word at the start of a text and after a space, which are
// different tokens in most vocabularies. Throws Error invalid_argument (param "bad_words") for a
// word that encodes to nothing.
std::vector<std::vector<int32_t>> bad_word_tokens(const Tokenizer& tokenizer,
                                                  const std::vector<std::string>& words);

}  // namespace miniinfer
