#pragma once

#include <cstdint>
#include <string>

namespace miniinfer {

// Reads the JSON object of one tool call, a character at a time: {"name": ..., "arguments": ...},
// "parameters" standing for "arguments". The arguments are handed out as they are written once the
// name is known.
class ToolCallScanner {
 public:
  enum class Status : uint8_t {
    kMore,       // wants another character
    kDone,       // the object is closed
    kMalformed,  // the character does not fit; it was not taken
  };

  // A call without arguments is one with none when `arguments_optional`, else it is malformed.
  explicit ToolCallScanner(bool arguments_optional) : arguments_optional_(arguments_optional) {}

  Status push(char c);

  // The name is complete and arguments have begun: it is a call.
  bool is_call() const { return is_call_; }
  const std::string& name() const { return name_; }
  // What came of the arguments since the last time; empty before is_call().
  std::string take_arguments();

 private:
  enum class State : uint8_t {
    kOpen,
    kKeyOrClose,
    kKey,
    kInKey,
    kColon,
    kValue,
    kInString,
    kInNested,
    kInScalar,
    kCommaOrClose,
  };
  enum class Field : uint8_t { kName, kArguments, kOther };

  Status begin_key(char c);
  Status begin_value(char c);
  Status in_nested(char c);
  bool end_of_string(char c);
  Status end_key();
  Status end_value();
  Status close();
  void keep(char c);

  const bool arguments_optional_;
  State state_ = State::kOpen;
  Field field_ = Field::kOther;
  int depth_ = 0;
  bool in_string_ = false, escaped_ = false;
  bool has_name_ = false, has_arguments_ = false, is_call_ = false;
  std::string text_;  // of the key or name being read, quotes included
  std::string name_, arguments_;
};

}  // namespace miniinfer
