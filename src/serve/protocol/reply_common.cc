#include <algorithm>

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

Json stop_reason_json(const StreamChunk& chunk, const std::vector<int32_t>& stop_token_ids) {
  if (!chunk.stop_reason) return nullptr;
  const int32_t last = chunk.token_ids.empty() ? -1 : chunk.token_ids.back();
  const bool token =
      std::find(stop_token_ids.begin(), stop_token_ids.end(), last) != stop_token_ids.end() &&
      *chunk.stop_reason == std::to_string(last);
  return token ? Json(last) : Json(*chunk.stop_reason);
}

std::string error_event(const Json& error) {
  Json json;
  json["error"] = error;
  return "data: " + to_line(json) + "\n\n";
}

}  // namespace miniinfer
