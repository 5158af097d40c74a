#include "llm/bad_words.h"

#include <algorithm>

#include "miniinfer/error.h"

namespace miniinfer {

std::vector<std::vector<int32_t>> bad_word_tokens(const Tokenizer& tokenizer,
                                                  const std::vector<std::string>& words) {
  std::vector<std::vector<int32_t>> sequences;
  for (const std::string& word : words) {
    const size_t start = word.find_first_not_of(' ');
    if (start == std::string::npos)
      throw Error(ErrorCode::kInvalidArgument, "bad_words: a word is empty", "bad_words");
    const std::string bare = word.substr(start);
    for (const std::string& spelling : {bare, " " + bare}) {
      if (spelling == bare && start > 0) continue;  // written with a space: only that form is meant
      std::vector<int32_t> ids = tokenizer.encode(spelling, false, false);
      if (ids.empty())
        throw Error(ErrorCode::kInvalidArgument, "bad_words: \"" + bare + "\" encodes to no token",
                    "bad_words");
      if (std::find(sequences.begin(), sequences.end(), ids) == sequences.end())
        sequences.push_back(std::move(ids));
    }
  }
  return sequences;
}

}  // namespace miniinfer
