#include "llm/tool_call_scanner.h"

#include <utility>

#include "base/json.h"
#include "llm/marker.h"

namespace miniinfer {
namespace {

// Longer names and keys are not a call's.
constexpr size_t kMaxName = 1024;

// The value of a JSON string; false when it is none.
bool decode(const std::string& text, std::string& value) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_string()) return false;
  value = json.get<std::string>();
  return true;
}

}  // namespace

std::string ToolCallScanner::take_arguments() {
  return is_call_ ? std::exchange(arguments_, {}) : std::string();
}

ToolCallScanner::Status ToolCallScanner::push(char c) {
  switch (state_) {
    case State::kInKey:
      text_ += c;
      if (text_.size() > kMaxName) return Status::kMalformed;
      return end_of_string(c) ? end_key() : Status::kMore;
    case State::kInString:
      keep(c);
      if (field_ == Field::kName && text_.size() > kMaxName) return Status::kMalformed;
      return end_of_string(c) ? end_value() : Status::kMore;
    case State::kInNested:
      return in_nested(c);
    case State::kInScalar:
      if (!is_json_space(c) && c != ',' && c != '}') {
        if (c == '<' || c == '"' || c == '{' || c == '[') return Status::kMalformed;
        keep(c);
        return Status::kMore;
      }
      if (end_value() == Status::kMalformed) return Status::kMalformed;
      break;
    default:
      break;
  }
  if (is_json_space(c)) return Status::kMore;
  switch (state_) {
    case State::kOpen:
      state_ = State::kKeyOrClose;
      return c == '{' ? Status::kMore : Status::kMalformed;
    case State::kKeyOrClose:
      return c == '}' ? close() : begin_key(c);
    case State::kKey:
      return begin_key(c);
    case State::kColon:
      state_ = State::kValue;
      return c == ':' ? Status::kMore : Status::kMalformed;
    case State::kValue:
      return begin_value(c);
    default:  // kCommaOrClose
      if (c == '}') return close();
      state_ = State::kKey;
      return c == ',' ? Status::kMore : Status::kMalformed;
  }
}

ToolCallScanner::Status ToolCallScanner::begin_key(char c) {
  if (c != '"') return Status::kMalformed;
  text_ = c;
  state_ = State::kInKey;
  return Status::kMore;
}

ToolCallScanner::Status ToolCallScanner::end_key() {
  std::string key;
  if (!decode(text_, key)) return Status::kMalformed;
  field_ = Field::kOther;
  if (key == "name") field_ = Field::kName;
  if (key == "arguments" || key == "parameters") field_ = Field::kArguments;
  const bool repeated =
      (field_ == Field::kName && has_name_) || (field_ == Field::kArguments && has_arguments_);
  if (repeated) return Status::kMalformed;
  state_ = State::kColon;
  return Status::kMore;
}

ToolCallScanner::Status ToolCallScanner::begin_value(char c) {
  if (field_ == Field::kName && c != '"') return Status::kMalformed;
  if (field_ == Field::kArguments) {
    has_arguments_ = true;
    is_call_ = has_name_;
  }
  text_.clear();
  if (c == '"') {
    state_ = State::kInString;
  } else if (c == '{' || c == '[') {
    state_ = State::kInNested;
    depth_ = 1;
  } else if (c == ',' || c == '}' || c == ']' || c == '<') {
    return Status::kMalformed;
  } else {
    state_ = State::kInScalar;
  }
  keep(c);
  return Status::kMore;
}

ToolCallScanner::Status ToolCallScanner::in_nested(char c) {
  if (in_string_) {
    keep(c);
    if (end_of_string(c)) in_string_ = false;
    return Status::kMore;
  }
  if (c == '<') return Status::kMalformed;  // a marker in the middle of the arguments
  keep(c);
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if (c == '}' || c == ']') --depth_;
  return depth_ > 0 ? Status::kMore : end_value();
}

bool ToolCallScanner::end_of_string(char c) {
  if (escaped_) {
    escaped_ = false;
    return false;
  }
  escaped_ = c == '\\';
  return c == '"';
}

ToolCallScanner::Status ToolCallScanner::end_value() {
  state_ = State::kCommaOrClose;
  if (field_ != Field::kName) return Status::kMore;
  has_name_ = true;
  is_call_ = has_arguments_;
  return decode(text_, name_) && !name_.empty() ? Status::kMore : Status::kMalformed;
}

ToolCallScanner::Status ToolCallScanner::close() {
  if (!has_name_ || (!has_arguments_ && !arguments_optional_)) return Status::kMalformed;
  if (!has_arguments_) arguments_ = "{}";
  is_call_ = true;
  return Status::kDone;
}

void ToolCallScanner::keep(char c) {
  if (field_ == Field::kName) text_ += c;
  if (field_ == Field::kArguments) arguments_ += c;
}

}  // namespace miniinfer
