#include "serve/protocol/reply_builder.h"

namespace miniinfer {

Json usage_to_json(const Usage& usage) {
  Json json;
  json["prompt_tokens"] = usage.prompt_tokens;
  json["completion_tokens"] = usage.completion_tokens;
  json["total_tokens"] = usage.prompt_tokens + usage.completion_tokens;
  json["prompt_tokens_details"]["cached_tokens"] = usage.cached_tokens;
  return json;
}

std::string error_event(const Json& error) {
  Json json;
  json["error"] = error;
  return "data: " + to_line(json) + "\n\n";
}

}  // namespace miniinfer
