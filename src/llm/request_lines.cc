#include "llm/request_lines.h"

#include <limits>
#include <string>
#include <utility>

#include "llm/error_json.h"
#include "llm/reject.h"
#include "llm/sampling_json.h"
#include "llm/structured_output.h"

namespace miniinfer {
namespace {

// The field as JSON text; empty when absent or null.
std::string json_text(const Json& object, const char* key, bool (Json::*is_type)() const noexcept,
                      const char* type) {
  const Json* found = find_field(object, key);
  if (found == nullptr) return {};
  if (!((*found).*is_type)()) reject(key, std::string("must be ") + type);
  return found->dump();
}

bool present(const Json& object, const char* key) {
  return find_field(object, key) != nullptr;
}

// A template would silently leave out a message whose role it cannot tell.
void check_messages(const Json& messages) {
  for (const Json& message : messages)
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      reject("messages", "each must be an object with a role");
}

Prompt prompt_of(const Json& object) {
  const int sources =
      present(object, "prompt") + present(object, "prompt_token_ids") + present(object, "messages");
  if (sources != 1)
    reject("prompt", "a line needs exactly one of prompt, prompt_token_ids and messages");
  if (present(object, "messages")) return prompt_from_chat_json(object);
  for (const char* key : {"tools", "chat_template_kwargs"})
    if (present(object, key)) reject(key, "is for messages only");
  if (present(object, "prompt_token_ids"))
    return Prompt::from_tokens(token_ids_from_json("prompt_token_ids", object["prompt_token_ids"]));
  if (!object["prompt"].is_string()) reject("prompt", "must be a string");
  return Prompt::from_text(object["prompt"].get<std::string>());
}

void set_field(BatchItem& item, const std::string& key, const Json& value) {
  if (set_sampling_field(item.params, key, value)) {
    if (key == "max_tokens" && !value.is_null()) item.default_max_tokens = false;
  } else if (key == "priority") {
    if (!value.is_number_integer() || value < -1000000000 || value > 1000000000)
      reject(key, "must be an integer of at most nine digits");
    item.prompt.priority = value.get<int>();
  } else if (key == "cache_salt") {
    if (!value.is_string()) reject(key, "must be a string");
    item.prompt.cache_salt = value.get<std::string>();
  } else {
    reject(key, "unknown field");
  }
}

Json entry_to_json(const LogprobEntry& entry) {
  Json top = Json::array();
  for (const auto& [id, logprob] : entry.top) top.push_back(Json::array({id, logprob}));
  Json json;
  json["token_id"] = entry.token_id;
  json["logprob"] = entry.logprob;
  json["top"] = std::move(top);
  return json;
}

void add_completion(Json& json, const Completion& output) {
  json["token_ids"] = output.token_ids;
  json["logprobs"] = nullptr;
  if (!output.logprobs.empty()) {
    json["logprobs"] = Json::array();
    for (const LogprobEntry& entry : output.logprobs)
      json["logprobs"].push_back(entry_to_json(entry));
  }
  json["text"] = output.text;
  json["finish_reason"] = output.finish_reason;
}

}  // namespace

std::vector<int32_t> token_ids_from_json(const std::string& key, const Json& value) {
  if (!value.is_array()) reject(key, "must be an array of token ids");
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const Json& item : value) {
    if (!item.is_number_integer()) reject(key, "must hold integers only");
    if (item.is_number_unsigned() && item.get<uint64_t>() > std::numeric_limits<int32_t>::max())
      reject(key, "token id " + item.dump() + " is out of range");
    if (!item.is_number_unsigned() && item.get<int64_t>() < 0)
      reject(key, "token id " + item.dump() + " is negative");
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

Prompt prompt_from_chat_json(const Json& json) {
  if (json.is_array()) {
    check_messages(json);
    return Prompt::from_messages(json.dump());
  }
  if (!json.is_object()) reject("messages", "must be an array of messages");
  std::string messages = json_text(json, "messages", &Json::is_array, "an array of messages");
  if (messages.empty()) reject("messages", "is missing");
  check_messages(json["messages"]);
  return Prompt::from_messages(
      std::move(messages), json_text(json, "tools", &Json::is_array, "an array of tools"),
      json_text(json, "chat_template_kwargs", &Json::is_object, "an object"));
}

BatchItem parse_request_line(std::string_view line, int64_t line_number,
                             const BatchItem& defaults) {
  BatchItem item = defaults;
  try {
    const Json json = parse_json(line, "line " + std::to_string(line_number),
                                 {.error = ErrorCode::kInvalidArgument, .nul = false});
    if (!json.is_object())
      throw Error(ErrorCode::kInvalidArgument,
                  "line " + std::to_string(line_number) + ": must be a JSON object");
    item.prompt = prompt_of(json);
    for (const auto& [key, value] : json.items()) {
      if (key == "prompt" || key == "prompt_token_ids" || key == "messages" || key == "tools" ||
          key == "chat_template_kwargs" || key == "response_format" || key == "structured_outputs")
        continue;
      set_field(item, key, value);
    }
    if (auto output = structured_output_from_json(json))
      item.params.structured_output = std::move(output);
  } catch (const Error& error) {
    item.error = error;
  }
  return item;
}

Json result_to_json(const GenerateResult& result) {
  Json json;
  const Error* error = result.error ? &*result.error : nullptr;
  for (const Completion& output : result.outputs)
    if (output.error && error == nullptr) error = &*output.error;
  if (error != nullptr) {
    json["error"] = error_to_json(*error);
    return json;
  }
  json["prompt_token_ids"] = result.prompt_token_ids;
  json["prompt_logprobs"] = nullptr;
  if (!result.prompt_logprobs.empty()) {
    json["prompt_logprobs"] = Json::array();
    for (const std::optional<LogprobEntry>& entry : result.prompt_logprobs)
      json["prompt_logprobs"].push_back(entry ? entry_to_json(*entry) : Json(nullptr));
  }
  add_completion(json, result.outputs.at(0));
  int64_t completion_tokens = 0;
  for (const Completion& output : result.outputs)
    completion_tokens += static_cast<int64_t>(output.token_ids.size());
  const auto prompt_tokens = static_cast<int64_t>(result.prompt_token_ids.size());
  json["usage"]["prompt_tokens"] = prompt_tokens;
  json["usage"]["completion_tokens"] = completion_tokens;
  json["usage"]["total_tokens"] = prompt_tokens + completion_tokens;
  json["usage"]["prompt_tokens_details"]["cached_tokens"] = result.cached_tokens;
  if (result.outputs.size() > 1) {
    Json& outputs = json["outputs"] = Json::array();
    for (const Completion& output : result.outputs) {
      Json item;
      item["index"] = output.index;
      add_completion(item, output);
      outputs.push_back(std::move(item));
    }
  }
  return json;
}

}  // namespace miniinfer
