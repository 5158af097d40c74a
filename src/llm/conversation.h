#pragma once

#include <string>

#include "base/json.h"
#include "miniinfer/llm.h"

namespace miniinfer {

// The messages of a chat as they grow.
class Conversation {
 public:
  // Both throw Error invalid_argument when the text is no UTF-8.
  void set_system(const std::string& text);  // empty removes it
  void add(const char* role, const std::string& text);
  // Takes the last message back, such as a question that could not be answered.
  void remove_last();
  void reset();  // keeps the system message

  const Json& messages() const { return messages_; }
  Prompt prompt() const { return Prompt::from_messages(messages_.dump()); }
  // Writes {"messages": [...]}, which `run --messages` reads. Throws Error invalid_argument.
  void save(const std::string& path) const;

 private:
  bool has_system() const;
  Json messages_ = Json::array();
};

}  // namespace miniinfer
