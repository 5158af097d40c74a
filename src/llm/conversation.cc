#include "llm/conversation.h"

#include <fstream>

namespace miniinfer {
namespace {

Json make_message(const char* role, const std::string& text) {
  if (!is_utf8(text))
    throw Error(ErrorCode::kInvalidArgument, std::string(role) + ": the text is not UTF-8",
                "messages");
  Json message;
  message["role"] = role;
  message["content"] = text;
  return message;
}

}  // namespace

bool Conversation::has_system() const {
  return !messages_.empty() && messages_.front()["role"] == "system";
}

void Conversation::set_system(const std::string& text) {
  if (has_system()) messages_.erase(0);
  if (!text.empty()) messages_.insert(messages_.begin(), make_message("system", text));
}

void Conversation::add(const char* role, const std::string& text) {
  messages_.push_back(make_message(role, text));
}

void Conversation::remove_last() {
  if (!messages_.empty()) messages_.erase(messages_.size() - 1);
}

void Conversation::reset() {
  const Json system = has_system() ? messages_.front() : Json();
  messages_ = Json::array();
  if (!system.is_null()) messages_.push_back(system);
}

void Conversation::save(const std::string& path) const {
  std::ofstream out(path);
  Json json;
  json["messages"] = messages_;
  out << json.dump(2) << "\n";
  out.close();
  if (!out) throw Error(ErrorCode::kInvalidArgument, path + ": cannot be written", "path");
}

}  // namespace miniinfer
