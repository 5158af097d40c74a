#include "serve/bench/sse_scanner.h"

#include "base/json.h"

namespace miniinfer {
namespace {

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && text[at] == ' ') ++at;
  return at;
}

// Whether `"key"` stands before a string that is not empty. Inside a JSON string the quotes would
// be escaped, so what a model writes cannot pass for a key.
bool has_text(std::string_view json, std::string_view key) {
  for (size_t at = json.find(key); at != std::string_view::npos; at = json.find(key, at + 1)) {
    size_t next = skip_spaces(json, at + key.size());
    if (next >= json.size() || json[next] != ':') continue;
    next = skip_spaces(json, next + 1);
    if (next + 1 < json.size() && json[next] == '"' && json[next + 1] != '"') return true;
  }
  return false;
}

std::optional<int64_t> count(const Json& usage, const char* key) {
  const auto found = usage.find(key);
  if (found == usage.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<int64_t>();
}

Json parse_lenient(std::string_view text) {
  return Json::parse(text, nullptr, false);
}

}  // namespace

int SseScanner::take(std::string_view bytes) {
  int texts = 0;
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
      rest_ += bytes;
      break;
    }
    std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    if (!rest_.empty()) {
      rest_ += line;
      line = rest_;
    }
    if (line.starts_with("data:")) texts += event(line.substr(skip_spaces(line, 5)));
    rest_.clear();
  }
  return texts;
}

bool SseScanner::event(std::string_view data) {
  if (data.ends_with('\r')) data.remove_suffix(1);
  if (data == "[DONE]") {
    done_ = true;
    return false;
  }
  if (data.substr(0, 16).find("\"error\"") != std::string_view::npos) {
    error_ = error_text(data);
    return false;
  }
  if (data.find("\"completion_tokens\"") != std::string_view::npos) {
    const Json json = parse_lenient(data);
    if (json.is_object() && json.contains("usage") && json["usage"].is_object()) {
      prompt_tokens_ = count(json["usage"], "prompt_tokens");
      completion_tokens_ = count(json["usage"], "completion_tokens");
    }
  }
  return has_text(data, "\"text\"") || has_text(data, "\"content\"") ||
         has_text(data, "\"reasoning_content\"") || has_text(data, "\"reasoning\"");
}

std::string error_text(std::string_view body) {
  const Json json = parse_lenient(body);
  if (json.is_object()) {
    const auto error = json.find("error");
    const Json& holder = error != json.end() && error->is_object() ? *error : json;
    const auto message = holder.find("message");
    if (message != holder.end() && message->is_string())
      return printable(message->get<std::string>());
    if (error != json.end() && error->is_string()) return printable(error->get<std::string>());
  }
  return body.empty() ? "the reply has no text" : printable(body);
}

}  // namespace miniinfer
