#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace miniinfer {

enum class GrammarKind : uint8_t {
  kJsonSchema,
  kRegex,  // Rust's syntax, matched as a whole; \d is an ASCII digit
  kLark,   // llguidance's variant of Lark, or GBNF: a text with a line `name ::=`
};

// A model's tokens, prepared for grammars (0.7 s for 128,000 of them). Immutable, usable from any
// thread.
class GrammarVocabulary {
 public:
  // Ids in [0, vocab_size) are the model's; `eos_token_ids` are allowed where a text is complete.
  // Throws Error unsupported for a tokenizer whose tokens have no text of their own (WordPiece).
  GrammarVocabulary(const Tokenizer& tokenizer, int64_t vocab_size,
                    std::span<const int32_t> eos_token_ids);
  ~GrammarVocabulary();
  GrammarVocabulary(const GrammarVocabulary&) = delete;
  GrammarVocabulary& operator=(const GrammarVocabulary&) = delete;

 private:
  friend class Grammar;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A constraint on text, compiled against a vocabulary. Immutable, usable from any thread.
class Grammar {
 public:
  // Bounded whatever the text: 512 KiB of it, 5 s, and 32 MiB when compiled. Throws Error
  // invalid_argument (param: `param`) when it is malformed, matches nothing or is too complex.
  Grammar(const GrammarVocabulary& vocabulary, GrammarKind kind, std::string_view text,
          std::string_view param);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  // Of memory held; what texts teach it adds some.
  size_t bytes() const;

 private:
  friend class GrammarMatcher;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The progress of one text through a grammar; one thread at a time. What it computes is its own:
// no other text of the same grammar can slow or break it. It holds 64 MiB at most, and all of a
// vocabulary 1 GiB: beyond, making or advancing one that holds more than 2 MiB throws Error
// resource_exhausted.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(const Grammar& grammar);
  ~GrammarMatcher();
  GrammarMatcher(const GrammarMatcher&) = delete;
  GrammarMatcher& operator=(const GrammarMatcher&) = delete;

  // Sets bit t of `allowed` (32 a word) for each token allowed next and clears all others. Where
  // the text is complete the end-of-sequence tokens are among them. Some 15 ms at worst. Throws
  // Error invalid_argument when the constraint becomes too complex.
  void fill(std::span<uint32_t> allowed);

  // Hands what was computed for a text that has ended to later texts of the grammar, which begin
  // faster for it. The matcher is not to be used any more.
  void teach(const Grammar& grammar);

  // Takes the next token, one that fill() allowed; returns false when no token can follow.
  bool accept(int32_t token_id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer
