#pragma once

#include <cstdint>
#include <string>

namespace miniinfer {

// A constraint on the whole text of a continuation: only tokens that keep to it are sampled, and
// the continuation ends where nothing can follow.
struct StructuredOutput {
  enum class Kind : uint8_t {
    kJsonObject,  // any JSON object; text is empty
    kJsonSchema,  // text: a JSON Schema (the parts that llguidance supports; others are refused)
    kRegex,       // text: a regular expression in Rust's syntax, matched as a whole; \d is 0-9
    kChoice,      // text: a JSON array of at least one string
    kGrammar,  // text: Lark (llguidance's variant) with a rule `start`, or GBNF with a rule `root`
  };
  Kind kind = Kind::kJsonObject;
  std::string text;
  std::string param = "structured_outputs";  // the request's field, for errors
};

}  // namespace miniinfer
