#include "serve/token_api.h"

#include <array>
#include <string_view>
#include <vector>

#include "llm/request_lines.h"
#include "serve/protocol/fields.h"
#include "serve/protocol/logprobs_json.h"
#include "text/chat_encode.h"

namespace miniinfer {
namespace {

template <size_t N>
void check_fields(const Json& body, const std::array<std::string_view, N>& known) {
  for (const auto& [key, value] : body.items()) {
    bool found = value.is_null();
    for (const std::string_view name : known) found = found || key == name;
    if (!found) reject_field(printable(key), "unknown field");
  }
}

const Tokenizer& tokenizer_of(const Services& services) {
  const auto& tokenizer = services.core->text().tokenizer;
  if (!tokenizer) reject_unsupported("prompt", "the model has no tokenizer.json");
  return *tokenizer;
}

std::string dumped(const Json& body, const char* name, bool array) {
  const Json* value = find_field(body, name);
  if (value == nullptr) return {};
  if (array ? !value->is_array() : !value->is_object())
    reject_field(name, array ? "must be an array" : "must be an object");
  return value->dump();
}

std::vector<int32_t> encode_messages(const Services& services, const Json& body) {
  check_fields(body, std::to_array<std::string_view>(
                         {"model", "messages", "tools", "chat_template_kwargs",
                          "add_generation_prompt", "return_token_strs", "add_special_tokens"}));
  if (find_bool(body, "add_special_tokens").value_or(false))
    reject_unsupported("add_special_tokens", "the chat template writes them");
  const auto& chat_template = services.core->text().chat_template;
  if (!chat_template) reject_unsupported("messages", "the model has no chat template");
  const ChatRenderArgs args{
      .messages_json = normalize_messages(body["messages"]).dump(),
      .tools_json = dumped(body, "tools", true),
      .kwargs_json = dumped(body, "chat_template_kwargs", false),
      .add_generation_prompt = find_bool(body, "add_generation_prompt").value_or(true)};
  return encode_chat(tokenizer_of(services), *chat_template, args);
}

std::vector<int32_t> encode_prompt(const Services& services, const Json& body) {
  check_fields(body, std::to_array<std::string_view>(
                         {"model", "prompt", "add_special_tokens", "return_token_strs"}));
  const std::optional<std::string> prompt = find_string(body, "prompt");
  if (!prompt) reject_field("prompt", "is missing");
  return tokenizer_of(services).encode(*prompt,
                                       find_bool(body, "add_special_tokens").value_or(true));
}

}  // namespace

Json tokenize(const Services& services, const Json& body) {
  check_model(body, services.model);
  const bool chat = find_field(body, "messages") != nullptr;
  if (chat && find_field(body, "prompt") != nullptr)
    reject_field("prompt", "is given beside messages");
  const std::vector<int32_t> tokens =
      chat ? encode_messages(services, body) : encode_prompt(services, body);
  Json json;
  json["count"] = tokens.size();
  json["max_model_len"] = services.model.max_model_len;
  json["tokens"] = tokens;
  json["token_strs"] = nullptr;
  if (find_bool(body, "return_token_strs").value_or(false)) {
    Json& strings = json["token_strs"] = Json::array();
    for (const int32_t id : tokens) strings.push_back(token_text(&tokenizer_of(services), id));
  }
  return json;
}

Json detokenize(const Services& services, const Json& body) {
  check_model(body, services.model);
  check_fields(body, std::to_array<std::string_view>({"model", "tokens"}));
  const Json* tokens = find_field(body, "tokens");
  if (tokens == nullptr) reject_field("tokens", "is missing");
  const std::vector<int32_t> ids = token_ids_from_json("tokens", *tokens);
  const int64_t vocab = services.core->config().vocab_size;
  for (const int32_t id : ids)
    if (id >= vocab)
      reject_field("tokens", "token id " + std::to_string(id) + " is not in the vocabulary");
  Json json;
  json["prompt"] = tokenizer_of(services).decode(ids, false);
  return json;
}

}  // namespace miniinfer
